//! What shards say to each other about one terminal, merchant or acquirer: more is asked for, and lent.
//!
//! Not here: whether it may be lent.

use super::{Entity, Tally};

/// Bytes of either message.
pub(in crate::shard) const LEASE_BYTES: usize = 1 + 16 + 4 + 4 * 8;

/// A shard's question to the owner: it needs so much more in this part of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Ask {
    pub(super) counter: u8,
    pub(super) entity: Entity,
    pub(super) number: u32,
    pub(super) least: Tally,
    /// Less than that is worth having too: it is used already.
    pub(super) or_less: bool,
}

/// The owner's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Grant {
    pub(super) counter: u8,
    pub(super) entity: Entity,
    pub(super) number: u32,
    /// What may be used besides; nothing when there is not enough.
    pub(super) more: Tally,
    /// The limit that it is a part of: lent under another one it is worth nothing.
    pub(super) limit: Tally,
}

impl Ask {
    pub(in crate::shard) fn to_bytes(self) -> [u8; LEASE_BYTES] {
        let or_less = Tally { count: u64::from(self.or_less), amount_minor: 0 };
        write((self.counter, self.entity, self.number), self.least, or_less)
    }

    pub(in crate::shard) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ((counter, entity, number), least, or_less) = read(bytes)?;
        Some(Self { counter, entity, number, least, or_less: or_less.count != 0 })
    }
}

impl Grant {
    pub(in crate::shard) fn to_bytes(self) -> [u8; LEASE_BYTES] {
        write((self.counter, self.entity, self.number), self.more, self.limit)
    }

    /// Whether it is all that was asked for.
    pub(in crate::shard) fn satisfies(&self, ask: &Ask) -> bool {
        ask.or_less || ask.least.less(self.more).is_zero()
    }

    pub(in crate::shard) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ((counter, entity, number), more, limit) = read(bytes)?;
        Some(Self { counter, entity, number, more, limit })
    }
}

type Head = (u8, Entity, u32);

fn write((counter, entity, number): Head, first: Tally, second: Tally) -> [u8; LEASE_BYTES] {
    let mut bytes = [0; LEASE_BYTES];
    bytes[0] = counter;
    bytes[1..17].copy_from_slice(&entity.0);
    bytes[17..21].copy_from_slice(&number.to_le_bytes());
    let numbers = [first.count, first.amount_minor, second.count, second.amount_minor];
    for (room, number) in bytes[21..].chunks_exact_mut(8).zip(numbers) {
        room.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn read(bytes: &[u8]) -> Option<(Head, Tally, Tally)> {
    let (&[counter], rest) = bytes.split_first_chunk()?;
    let (entity, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (numbers, _) = rest.as_chunks::<8>();
    let &[count, amount, second_count, second_amount] = numbers.first_chunk()?;
    let tally = |count, amount| Tally {
        count: u64::from_le_bytes(count),
        amount_minor: u64::from_le_bytes(amount),
    };
    let head = (counter, Entity(*entity), u32::from_le_bytes(*number));
    Some((head, tally(count, amount), tally(second_count, second_amount)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let tally = |count, amount_minor| Tally { count, amount_minor };
        let (entity, number) = (Entity([7; 16]), 4_000_000_000);
        let ask = Ask { counter: 3, entity, number, least: tally(1, u64::MAX), or_less: false };
        for ask in [ask, Ask { or_less: true, ..ask }] {
            assert_eq!(Ask::from_bytes(&ask.to_bytes()), Some(ask));
        }
        let (more, limit) = (tally(2, 5), tally(60_000, 1 << 40));
        let grant = Grant { counter: 3, entity, number, more, limit };
        assert_eq!(Grant::from_bytes(&grant.to_bytes()), Some(grant));
        assert_eq!(Grant::from_bytes(&grant.to_bytes()[1..]), None);
    }
}
