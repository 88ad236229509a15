//! Placement: which shard holds a card, and the credits for messages between shards.
//!
//! A request crosses only with a credit; the credit comes back with its answer, so the way back
//! never fills. An answer that comes home to a closed connection goes back once more and holds the
//! credit on; a small reserve covers those whose credit was lent out meanwhile.

use super::identity::{CardKey, ShardId};
use crate::limits::{MESH_CREDITS, MESH_CREDITS_KEPT_BACK, MESH_CREDITS_RESERVED, SHARDS_MAX};

/// The shard that holds this card.
#[inline]
pub(super) fn owner(card: CardKey, shards: usize) -> ShardId {
    let [low, _] = card.words();
    spread(low, shards)
}

/// The shard that holds what has this hash.
#[inline]
pub(super) fn spread(hash: u64, shards: usize) -> ShardId {
    // The high half of the product spreads evenly over the shards; at most SHARDS_MAX of them.
    ShardId(((u128::from(hash) * shards as u128) >> 64) as u8)
}

/// Credits towards every other shard.
pub(super) struct Credits {
    left: [i32; SHARDS_MAX],
    /// Of those that are out: messages that nobody waits for.
    notices: usize,
}

impl Credits {
    pub(super) fn new() -> Self {
        Self { left: [MESH_CREDITS as i32; SHARDS_MAX], notices: 0 }
    }

    /// For a new request: a part is left for what may not be refused.
    #[inline]
    pub(super) fn take_for_new(&mut self, to: ShardId) -> bool {
        self.take_above(to, MESH_CREDITS_KEPT_BACK as i32)
    }

    /// For any other message.
    #[inline]
    pub(super) fn take(&mut self, to: ShardId) -> bool {
        self.take_above(to, 0)
    }

    /// For an answer that must go back.
    pub(super) fn take_reserved(&mut self, to: ShardId) -> bool {
        self.take_above(to, -(MESH_CREDITS_RESERVED as i32))
    }

    #[inline]
    fn take_above(&mut self, to: ShardId, floor: i32) -> bool {
        match self.left.get_mut(usize::from(to.0)) {
            Some(left) if *left > floor => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    #[inline]
    pub(super) fn give(&mut self, to: ShardId) {
        if let Some(left) = self.left.get_mut(usize::from(to.0)) {
            *left += 1;
            assert!(*left <= MESH_CREDITS as i32, "Invariant: a credit comes back once");
        }
    }

    /// What a credit was taken for is what a link brought, for another shard: whoever waits for it
    /// waits there. A stop does not wait for it here.
    pub(super) fn count_notice(&mut self) {
        self.notices += 1;
    }

    /// Such a message has been taken.
    pub(super) fn give_notice(&mut self, to: ShardId) {
        self.give(to);
        assert!(self.notices > 0, "Invariant: a credit comes back once");
        self.notices -= 1;
    }

    /// Messages on other shards that have not come back, and are waited for.
    pub(super) fn out(&self) -> usize {
        let out = |&left: &i32| usize::try_from(MESH_CREDITS as i32 - left).unwrap_or_default();
        self.left.iter().map(out).sum::<usize>() - self.notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_gets_its_share() {
        let mut counts = [0; 3];
        for card in 0..3_000u64 {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&card.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            counts[usize::from(owner(CardKey(key), 3).0)] += 1;
        }
        assert!(counts.iter().all(|&count| (900..1_100).contains(&count)), "{counts:?}");
        assert_eq!(owner(CardKey([0xFF; 16]), 1), ShardId(0));
    }

    #[test]
    fn credits_run_out_and_come_back() {
        let mut credits = Credits::new();
        let to = ShardId(1);
        assert!((0..MESH_CREDITS - MESH_CREDITS_KEPT_BACK).all(|_| credits.take_for_new(to)));
        assert!(!credits.take_for_new(to));
        assert!((0..MESH_CREDITS_KEPT_BACK).all(|_| credits.take(to)));
        assert!(!credits.take(to));
        assert!((0..MESH_CREDITS_RESERVED).all(|_| credits.take_reserved(to)));
        assert!(!credits.take_reserved(to));
        assert_eq!(credits.out(), MESH_CREDITS + MESH_CREDITS_RESERVED);
        credits.give(to);
        assert!(!credits.take(to), "the reserve is filled first");
        assert!(credits.take_reserved(to));
    }
}
