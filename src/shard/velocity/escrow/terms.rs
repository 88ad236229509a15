//! How one limit is divided among shards: a share of each that needs no asking, and the owner's pool.
//!
//! Not here: what is used, and windows.

/// A limit on a number of transactions, or on an amount. All shards reckon with the same terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Terms {
    /// `u64::MAX` where there is none.
    limit: u64,
    shards: u64,
}

impl Terms {
    pub(in crate::shard) fn new(limit: u64, shards: usize) -> Self {
        Self { limit, shards: shards.max(1) as u64 }
    }

    pub(in crate::shard) fn limit(self) -> u64 {
        self.limit
    }

    /// What each shard may use in every window without asking: all of it where there is one shard, else
    /// half of the limit divided among them, and one whole unit wherever there is one for each.
    pub(in crate::shard) fn entitlement(self) -> u64 {
        match (self.limit, self.shards) {
            (u64::MAX, _) => u64::MAX,
            (limit, 1) => limit,
            (limit, shards) => (limit / (2 * shards)).max((limit / shards).min(1)),
        }
    }

    /// What the owner lends in one window, to all together.
    pub(in crate::shard) fn pool(self) -> u64 {
        match self.limit {
            u64::MAX => 0,
            limit => limit - self.entitlement() * self.shards,
        }
    }

    /// What the owner lends, of `left`, to a shard that needs `least`: a good part at once, so that it
    /// asks only now and then; nothing where `left` is not enough, because another may need less.
    pub(in crate::shard) fn lend(self, left: u64, least: u64) -> u64 {
        match least {
            0 => 0,
            least if least > left => 0,
            least => least.max(left / (2 * self.shards)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_pool_together_are_the_limit() {
        for shards in 1..=64 {
            for limit in (1..300).chain([1_000_000, (1 << 47) - 1]) {
                let terms = Terms::new(limit, shards);
                let shares = terms.entitlement() * shards as u64;
                assert_eq!(shares + terms.pool(), limit, "{shards} shards");
                assert!(terms.entitlement() > 0 || limit < shards as u64);
            }
        }
        assert_eq!((Terms::new(9, 1).entitlement(), Terms::new(9, 1).pool()), (9, 0));
        assert_eq!((Terms::new(1_000, 2).entitlement(), Terms::new(1_000, 2).pool()), (250, 500));
        assert_eq!((Terms::new(3, 2).entitlement(), Terms::new(3, 2).pool()), (1, 1));
        let none = Terms::new(u64::MAX, 4);
        assert_eq!((none.entitlement(), none.pool()), (u64::MAX, 0));
    }

    #[test]
    fn the_owner_lends_what_is_needed_or_more_or_nothing() {
        let terms = Terms::new(1_000, 2);
        assert_eq!(terms.lend(500, 0), 0);
        assert_eq!(terms.lend(500, 10), 125);
        assert_eq!(terms.lend(500, 300), 300);
        assert_eq!(terms.lend(500, 501), 0);
    }
}
