//! Trace numbers: DE 11 counts 1 to 999,999 and begins again; with DE 7 it is unique for an
//! acquirer.

/// How many trace numbers there are, and one for 0, which is not used.
pub(crate) const STAN_COUNT: u32 = 1_000_000;

/// Gives out trace numbers.
pub(crate) struct Numbers {
    next: u32,
    second: u64,
    given_in_second: u32,
}

impl Numbers {
    /// Begins at 1.
    pub(crate) const fn new() -> Self {
        Self { next: 1, second: 0, given_in_second: 0 }
    }

    /// The next number that is not in flight; `None` when every number has been used with this
    /// second's DE 7 already, or all are in flight.
    #[inline]
    pub(crate) fn next(&mut self, unix_s: u64, in_flight: impl Fn(u32) -> bool) -> Option<u32> {
        if unix_s != self.second {
            self.second = unix_s;
            self.given_in_second = 0;
        }
        while self.given_in_second < STAN_COUNT - 1 {
            let number = self.next;
            self.next = if number + 1 == STAN_COUNT { 1 } else { number + 1 };
            self.given_in_second += 1;
            if !in_flight(number) {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_comes_once_in_a_second() {
        let mut numbers = Numbers::new();
        let given: BTreeSet<u32> =
            std::iter::from_fn(|| numbers.next(7, |number| number == 5)).collect();
        assert_eq!(given.len(), 999_998);
        assert!(!given.contains(&5), "it is in flight");
        assert_eq!((given.first(), given.last()), (Some(&1), Some(&999_999)));
        assert_eq!(numbers.next(7, |_| false), None);
        assert!(numbers.next(8, |_| false).is_some());
    }
}
