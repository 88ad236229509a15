//! When requests are due, independent of how fast they are answered: the open loop.
//!
//! The schedule is fixed by rate, kind of arrivals and seed before the first request is sent; it is
//! only unrolled one arrival at a time, so that its memory does not grow with the run.

use crate::clock::SECOND_NS;
use crate::plan::Arrivals;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp1};

/// The arrivals of a run, in nanoseconds from its start.
pub(crate) struct Schedule {
    arrivals: Arrivals,
    interval_ns: f64,
    end_ns: u64,
    /// Arrivals taken.
    taken: u64,
    next_ns: f64,
    random: StdRng,
}

impl Schedule {
    /// Arrivals at `rate_per_s` from 0 up to, not including, `end_ns`.
    pub(crate) fn new(rate_per_s: f64, arrivals: Arrivals, end_ns: u64, seed: u64) -> Self {
        assert!(rate_per_s > 0.0, "Invariant: an open loop has a rate");
        let mut schedule = Self {
            arrivals,
            interval_ns: SECOND_NS as f64 / rate_per_s,
            end_ns,
            taken: 0,
            next_ns: 0.0,
            random: StdRng::seed_from_u64(seed),
        };
        if arrivals == Arrivals::Poisson {
            schedule.next_ns = schedule.gap_ns();
        }
        schedule
    }

    /// When the next request is due; `None` when there are no more.
    #[inline]
    pub(crate) fn next_ns(&self) -> Option<u64> {
        // Never negative, and a run is far shorter than 2^53 ns.
        let next_ns = self.next_ns as u64;
        (next_ns < self.end_ns).then_some(next_ns)
    }

    /// Takes the next arrival.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.taken += 1;
        self.next_ns = match self.arrivals {
            // Not summed up, so that rounding does not change the rate.
            Arrivals::Constant => self.taken as f64 * self.interval_ns,
            Arrivals::Poisson => self.next_ns + self.gap_ns(),
        };
    }

    /// How many arrivals before `now_ns` were not taken. Ends the schedule.
    pub(crate) fn overdue(mut self, now_ns: u64) -> u64 {
        let taken = self.taken;
        while self.next_ns().is_some_and(|next_ns| next_ns < now_ns) {
            self.advance();
        }
        self.taken - taken
    }

    #[inline]
    fn gap_ns(&mut self) -> f64 {
        let gap: f64 = Exp1.sample(&mut self.random);
        gap * self.interval_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unroll(mut schedule: Schedule) -> Vec<u64> {
        let mut arrivals = Vec::new();
        while let Some(next_ns) = schedule.next_ns() {
            arrivals.push(next_ns);
            schedule.advance();
        }
        arrivals
    }

    #[test]
    fn a_constant_rate_is_even_and_exact() {
        let arrivals = unroll(Schedule::new(3.0, Arrivals::Constant, 2 * SECOND_NS, 1));
        let expected = [0, 333_333_333, 666_666_666, 1_000_000_000, 1_333_333_333, 1_666_666_666];
        assert_eq!(arrivals, expected);
        let many = unroll(Schedule::new(123_457.0, Arrivals::Constant, 10 * SECOND_NS, 1));
        assert_eq!(many.len(), 1_234_570);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let arrivals = unroll(Schedule::new(10_000.0, Arrivals::Poisson, 20 * SECOND_NS, 7));
        let count = arrivals.len() as f64;
        // Standard deviation of the count is its root, 447: five of them.
        assert!((count - 200_000.0).abs() < 2_236.0, "{count}");
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        let spread = variance.sqrt() / mean;
        assert!((spread - 1.0).abs() < 0.03, "gaps of a Poisson process spread by their mean");
    }

    #[test]
    fn the_seed_fixes_the_arrivals() {
        let poisson = |seed| unroll(Schedule::new(1e3, Arrivals::Poisson, SECOND_NS, seed));
        assert_eq!(poisson(1), poisson(1));
        assert_ne!(poisson(1), poisson(2));
    }

    #[test]
    fn what_was_not_taken_is_known() {
        let mut schedule = Schedule::new(100.0, Arrivals::Constant, SECOND_NS, 1);
        for _ in 0..30 {
            schedule.advance();
        }
        assert_eq!(schedule.overdue(SECOND_NS), 70);
        let late = Schedule::new(100.0, Arrivals::Constant, SECOND_NS, 1);
        assert_eq!(late.overdue(SECOND_NS / 2), 50, "stopped half way");
    }
}
