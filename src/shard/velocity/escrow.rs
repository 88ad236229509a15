//! Limits of what many shards count together (a terminal, a merchant, an acquirer): each shard may use
//! a part of the limit by itself, and asks the shard that owns the limit for more.
//!
//! Half of a limit is divided among the shards in advance, so that nobody asks for what is far from its
//! limit; the other half is the owner's pool, leased in chunks to whoever runs out. What all shards
//! may use together is never more than the limit, whatever they do and however late messages are;
//! what one has leased and not used is lost to the others until the window ends, so a limit may
//! decline early. It holds for windows that do not roll: a lease belongs to one number of a window.
//!
//! Not here: how shards talk to each other; where shares are kept; what a window is.

/// How one limit is divided. All shards reckon with the same terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    limit: u64,
    shards: u64,
}

/// One shard's part of a limit in the window that is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    window: u32,
    used: u64,
    leased: u64,
}

/// The owner's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    window: u32,
    leased: u64,
}

/// A shard's question to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// For which window.
    pub window: u32,
    /// What a transaction lacks.
    pub least: u64,
}

/// The owner's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// For which window.
    pub window: u32,
    /// What may be used besides; 0 when the pool has less than was asked for.
    pub more: u64,
}

/// Why a shard cannot count something by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The owner may have what is lacking.
    Ask(Ask),
    /// It is more than the limit.
    Never,
}

impl Terms {
    /// A limit on a number of transactions or on an amount.
    #[must_use]
    pub fn new(limit: u64, shards: usize) -> Self {
        Self { limit, shards: shards.max(1) as u64 }
    }

    /// What each shard may use in every window without asking.
    #[must_use]
    pub fn entitlement(self) -> u64 {
        match self.shards {
            // Alone it is exact.
            1 => self.limit,
            shards => self.limit / (2 * shards),
        }
    }

    /// What the owner leases in one window, to all together.
    #[must_use]
    pub fn pool(self) -> u64 {
        self.limit - self.entitlement() * self.shards
    }

    /// What it leases at least while it has so much: an asking shard asks only now and then.
    fn chunk(self) -> u64 {
        (self.pool() / (4 * self.shards)).max(1)
    }
}

impl Share {
    /// Counts `units` in a window if this shard may by itself.
    ///
    /// # Errors
    /// What to ask the owner for; nothing is counted then.
    pub fn take(&mut self, terms: Terms, window: u32, units: u64) -> Result<(), Short> {
        self.enter(window);
        if window < self.window || units > terms.limit {
            return Err(Short::Never);
        }
        let allowance = terms.entitlement() + self.leased;
        // The limit is not above 64 bits, and neither are the two together.
        let wanted = self.used.saturating_add(units);
        if wanted <= allowance {
            self.used = wanted;
            return Ok(());
        }
        if terms.shards == 1 {
            return Err(Short::Never);
        }
        Err(Short::Ask(Ask { window, least: wanted - allowance }))
    }

    /// Counts what has happened already, whatever the limit says.
    pub fn take_anyway(&mut self, window: u32, units: u64) {
        self.enter(window);
        if window == self.window {
            self.used = self.used.saturating_add(units);
        }
    }

    /// The owner's answer came.
    pub fn lease(&mut self, grant: Grant) {
        self.enter(grant.window);
        if grant.window == self.window {
            self.leased += grant.more;
        }
    }

    /// What was counted in a window does not count any more.
    pub fn give_back(&mut self, window: u32, units: u64) {
        if window == self.window {
            assert!(self.used >= units, "Invariant: only what was counted is given back");
            self.used -= units;
        }
    }

    /// What is counted in the window that is now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Windows never go back.
    fn enter(&mut self, window: u32) {
        if window > self.window {
            *self = Self { window, ..Self::default() };
        }
    }
}

impl Pool {
    /// Answers a shard: a chunk, or more if more is lacking, or nothing when there is less than that.
    pub fn grant(&mut self, terms: Terms, ask: Ask) -> Grant {
        if ask.window > self.window {
            *self = Self { window: ask.window, leased: 0 };
        }
        // A lease for a window that is over is worth nothing to anyone.
        let left = if ask.window == self.window { terms.pool() - self.leased } else { 0 };
        let more = if ask.least > left { 0 } else { ask.least.max(terms.chunk()).min(left) };
        self.leased += more;
        Grant { window: ask.window, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn one_shard_is_exact() {
        let terms = Terms::new(10, 1);
        let mut share = Share::default();
        assert_eq!((terms.entitlement(), terms.pool()), (10, 0));
        assert_eq!(share.take(terms, 5, 10), Ok(()));
        assert_eq!(share.take(terms, 5, 1), Err(Short::Never));
        share.give_back(5, 3);
        assert_eq!(share.take(terms, 5, 3), Ok(()));
        assert_eq!(share.take(terms, 6, 10), Ok(()), "the next window");
        share.give_back(5, 10);
        assert_eq!(share.used(), 10, "what was counted in a window that is over");
    }

    #[test]
    fn a_shard_that_runs_out_gets_the_owners_half() {
        let terms = Terms::new(1_000, 2);
        assert_eq!((terms.entitlement(), terms.pool()), (250, 500));
        let (mut share, mut pool) = (Share::default(), Pool::default());
        assert_eq!(share.take(terms, 1, 250), Ok(()));
        let mut admitted = 250;
        while let Err(short) = share.take(terms, 1, 1) {
            let Short::Ask(ask) = short else { panic!("it can be asked for") };
            let grant = pool.grant(terms, ask);
            if grant.more == 0 {
                break;
            }
            share.lease(grant);
            while share.take(terms, 1, 1) == Ok(()) {
                admitted += 1;
            }
        }
        assert_eq!(admitted, 750, "all but what the other shard is entitled to");
        assert_eq!(share.take(terms, 1, 1_001), Err(Short::Never));
        // A late lease is worth nothing in another window.
        assert_eq!(share.take(terms, 2, 1), Ok(()));
        share.lease(Grant { window: 1, more: 900 });
        assert!(share.take(terms, 2, 250).is_err());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take {
            shard: usize,
            units: u64,
        },
        GiveBack {
            pick: usize,
        },
        /// The oldest message arrives.
        Deliver,
        /// One shard's clock reaches the next window before the others'.
        Next {
            shard: usize,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..4usize, 1..40u64).prop_map(|(shard, units)| Step::Take { shard, units }),
            2 => any::<usize>().prop_map(|pick| Step::GiveBack { pick }),
            6 => Just(Step::Deliver),
            1 => (0..4usize).prop_map(|shard| Step::Next { shard }),
        ];
        prop::collection::vec(step, 1..300)
    }

    enum Message {
        Ask(usize, Ask),
        Grant(usize, Grant),
    }

    proptest! {
        /// However late messages are and however far apart clocks: in no window is more counted than
        /// the limit.
        #[test]
        fn no_window_is_passed(limit in 1..400u64, shards in 1..5usize, steps in steps()) {
            let terms = Terms::new(limit, shards);
            let mut shares = vec![Share::default(); shards];
            let mut windows = vec![1u32; shards];
            let mut pool = Pool::default();
            let mut wire = VecDeque::new();
            let mut counted: Vec<(u32, usize, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Take { shard, units } if shard < shards => {
                        let window = windows[shard];
                        match shares[shard].take(terms, window, units) {
                            Ok(()) => counted.push((window, shard, units)),
                            Err(Short::Ask(ask)) => wire.push_back(Message::Ask(shard, ask)),
                            Err(Short::Never) => prop_assert!(shards == 1 || units > limit),
                        }
                    }
                    Step::GiveBack { pick } if !counted.is_empty() => {
                        let (window, shard, units) = counted.swap_remove(pick % counted.len());
                        shares[shard].give_back(window, units);
                    }
                    Step::Deliver => match wire.pop_front() {
                        Some(Message::Ask(shard, ask)) => {
                            wire.push_back(Message::Grant(shard, pool.grant(terms, ask)));
                        }
                        Some(Message::Grant(shard, grant)) => shares[shard].lease(grant),
                        None => {}
                    },
                    Step::Next { shard } if shard < shards => windows[shard] += 1,
                    _ => {}
                }
                for window in 1..=windows.iter().copied().max().unwrap_or(1) {
                    let of_window = counted.iter().filter(|(of, ..)| *of == window);
                    let sum: u64 = of_window.map(|(.., units)| units).sum();
                    prop_assert!(sum <= limit, "{sum} of {limit} in window {window}");
                }
                for (shard, share) in shares.iter().enumerate() {
                    let of_share = |&&(window, by, _): &&(u32, usize, u64)| {
                        by == shard && window == share.window
                    };
                    let sum: u64 = counted.iter().filter(of_share).map(|(.., units)| units).sum();
                    prop_assert_eq!(sum, share.used());
                }
            }
        }
    }
}
