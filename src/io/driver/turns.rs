//! In which order connections are looked at: acquirers have their turns, and none takes more bytes of a
//! shard than another while both have some waiting. An acquirer with a thousand connections, or one
//! that sends faster than it may, does not slow the others down; its own requests wait in its sockets.
//!
//! Deficit round robin (Shreedhar and Varghese, 1995): an acquirer whose turn it is may read until it
//! has used its quantum up, and pays later what its last read was too long. With each connection stands
//! since when it waits: that counts as waiting in the switch. Not here: reading.

use crate::limits::CONNECTIONS_MAX;
use crate::shard::AcquirerId;
use std::collections::VecDeque;

/// Bytes that an acquirer may read in one turn: some dozens of messages.
const QUANTUM_BYTES: i64 = 16_384;

/// Connections waiting to be looked at, by acquirer.
pub(super) struct Turns {
    acquirers: Vec<Waiting>,
    /// Whose turn it is.
    at: usize,
    waiting: usize,
}

struct Waiting {
    /// With the time since which each waits.
    slots: VecDeque<(u16, u64)>,
    /// Bytes that may still be read in this turn.
    credit_bytes: i64,
}

impl Turns {
    pub(super) fn new(acquirers: usize) -> Self {
        // Room for every connection: nothing is allocated while a shard serves.
        let waiting =
            || Waiting { slots: VecDeque::with_capacity(CONNECTIONS_MAX), credit_bytes: 0 };
        let acquirers = (0..acquirers.max(1)).map(|_| waiting()).collect();
        Self { acquirers, at: 0, waiting: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a connection. One of nobody (it has ended) waits with the first.
    pub(super) fn add(&mut self, acquirer: AcquirerId, slot: u16, since_ns: u64) {
        let place = usize::from(acquirer.0).min(self.acquirers.len() - 1);
        if let Some(waiting) = self.acquirers.get_mut(place) {
            waiting.slots.push_back((slot, since_ns));
            self.waiting += 1;
        }
    }

    /// The connection whose turn it is, and since when it waits.
    pub(super) fn next(&mut self) -> Option<(u16, u64)> {
        if self.waiting == 0 {
            return None;
        }
        loop {
            let own = self.acquirers.get_mut(self.at)?;
            if own.credit_bytes > 0
                && let Some(next) = own.slots.pop_front()
            {
                self.waiting -= 1;
                return Some(next);
            }
            if own.slots.is_empty() {
                // Nothing is saved up for later.
                own.credit_bytes = own.credit_bytes.min(0);
            }
            self.at = (self.at + 1) % self.acquirers.len();
            let next = self.acquirers.get_mut(self.at)?;
            next.credit_bytes = (next.credit_bytes + QUANTUM_BYTES).min(QUANTUM_BYTES);
        }
    }

    /// So much was read of the connection that `next` gave last.
    pub(super) fn spend(&mut self, bytes: usize) {
        if let Some(own) = self.acquirers.get_mut(self.at) {
            own.credit_bytes -= bytes as i64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves so many reads; each connection waits again at once. Bytes read by acquirer.
    fn serve(connections: &[(u8, u16, usize)], reads: usize) -> Vec<usize> {
        let acquirers = 1 + usize::from(connections.iter().map(|it| it.0).max().unwrap());
        let mut turns = Turns::new(acquirers);
        let mut read = vec![0; acquirers];
        connections
            .iter()
            .for_each(|&(acquirer, slot, _)| turns.add(AcquirerId(acquirer), slot, 0));
        for _ in 0..reads {
            let (slot, _) = turns.next().unwrap();
            let &(acquirer, _, bytes) = connections.iter().find(|it| it.1 == slot).unwrap();
            turns.spend(bytes);
            read[usize::from(acquirer)] += bytes;
            turns.add(AcquirerId(acquirer), slot, 0);
        }
        read
    }

    #[test]
    fn an_acquirer_with_many_connections_gets_no_more_than_one_with_few() {
        let mut connections: Vec<_> = (0..100).map(|slot| (0, slot, 65_536)).collect();
        connections.push((1, 100, 65_536));
        connections.push((2, 101, 1_000));
        let read = serve(&connections, 20_000);
        let share = |acquirer: usize| read[acquirer] as f64 / read.iter().sum::<usize>() as f64;
        for acquirer in 0..3 {
            assert!((0.32..0.35).contains(&share(acquirer)), "{read:?}");
        }
    }

    #[test]
    fn one_alone_has_everything_in_the_order_of_its_coming() {
        let mut turns = Turns::new(3);
        assert!(turns.next().is_none() && turns.is_empty());
        for slot in 0..50 {
            turns.add(AcquirerId(1), slot, u64::from(slot) + 7);
        }
        for slot in 0..50 {
            assert_eq!(turns.next(), Some((slot, u64::from(slot) + 7)));
            turns.spend(65_536);
        }
        assert!(turns.next().is_none() && turns.is_empty());
    }

    /// Who comes after others have read for long does not wait for them, nor they for him.
    #[test]
    fn nothing_is_saved_up() {
        let mut turns = Turns::new(2);
        for _ in 0..1_000 {
            turns.add(AcquirerId(0), 1, 0);
            assert_eq!(turns.next(), Some((1, 0)));
            turns.spend(1);
        }
        let read = {
            let mut read = [0, 0];
            turns.add(AcquirerId(0), 1, 0);
            turns.add(AcquirerId(1), 2, 0);
            for _ in 0..64 {
                let (slot, _) = turns.next().unwrap();
                turns.spend(16_384);
                read[usize::from(slot == 2)] += 1;
                turns.add(AcquirerId(u8::from(slot == 2)), slot, 0);
            }
            read
        };
        assert_eq!(read, [32, 32]);
    }
}
