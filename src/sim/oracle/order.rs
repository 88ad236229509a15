//! Advices of a card reach an issuer in the order in which they were accepted. After its route has
//! changed another issuer may get the next one first.

use std::collections::BTreeMap;

#[derive(Clone, Copy)]
struct Accepted {
    place: u64,
    card: u32,
    /// Its acquirer was told, so that it is on the disk.
    told: bool,
    received: bool,
    /// Accepted by a process that ended before its acquirer was told: that may be lost, and it may be
    /// accepted anew.
    uncertain: bool,
}

/// Advices by number.
#[derive(Default)]
pub(in crate::sim) struct Order {
    accepted: BTreeMap<u32, Accepted>,
    /// The place of the newest that an issuer received, by it and the card.
    received: BTreeMap<(u8, u32), (u64, u32)>,
    next: u64,
}

impl Order {
    /// A shard accepts an advice.
    pub(in crate::sim) fn on_accepted(&mut self, number: u32, card: u32) {
        self.next += 1;
        let new =
            Accepted { place: self.next, card, told: false, received: false, uncertain: false };
        self.accepted.entry(number).or_insert(new);
    }

    /// Its acquirer was told.
    pub(in crate::sim) fn on_told(&mut self, number: u32) {
        if let Some(accepted) = self.accepted.get_mut(&number) {
            accepted.told = true;
        }
    }

    /// What nobody was told of may be lost, and be accepted anew.
    pub(in crate::sim) fn on_crash(&mut self) {
        for accepted in self.accepted.values_mut() {
            accepted.uncertain |= !accepted.told;
        }
    }

    /// Its issuer has it. Says so if one accepted later came before it.
    pub(in crate::sim) fn on_received(&mut self, issuer: u8, number: u32) -> Option<String> {
        let accepted = self.accepted.get_mut(&number)?;
        if core::mem::replace(&mut accepted.received, true) {
            return None;
        }
        if accepted.uncertain {
            return None;
        }
        let newest = self.received.entry((issuer, accepted.card)).or_default();
        let place = accepted.place;
        if place < newest.0 {
            return Some(format!(
                "advice {} of its card was accepted later and came first",
                newest.1
            ));
        }
        *newest = (place, number);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ones_do_not_come_first() {
        let mut order = Order::default();
        for number in [5, 6, 7, 8] {
            order.on_accepted(number, u32::from(number == 8));
        }
        assert_eq!(order.on_received(0, 8), None, "another card");
        assert_eq!(order.on_received(0, 5), None);
        assert_eq!(order.on_received(0, 7), None);
        assert_eq!(order.on_received(0, 5), None, "again");
        assert!(order.on_received(0, 6).is_some());
        order.on_accepted(9, 0);
        order.on_crash();
        order.on_accepted(10, 0);
        order.on_accepted(9, 0);
        assert_eq!(order.on_received(0, 10), None);
        assert_eq!(order.on_received(0, 9), None, "accepted anew");
    }
}
