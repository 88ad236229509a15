//! How much of a shard's time may go into refusing. Work that is under way comes first: when a fifth of
//! the time has gone into requests that were refused for want of room, reading pauses, their
//! connections' buffers fill, and TCP pushes back. A shard that has nothing else to do refuses as fast
//! as it can.
//!
//! Refusing earns a fifth of all time that passes, saved up for a few milliseconds at most, and pays
//! for each refusal what the inputs of its cycle took on average; refusals cost less than most. A cycle
//! in which nothing else came (no answers, no messages of other shards) reads in debt too.
//!
//! Not here: which requests are refused (`shard`), and the order of reading (`turns`).

/// One part in so many of the time may go into refusing.
const PARTS: i64 = 5;
/// What is saved up at most.
const SAVED_NS_MAX: i64 = 1_000_000;
/// The largest debt: a batch that took very long does not stop the reading for long.
const DEBT_NS_MAX: i64 = 10_000_000;

/// What is left of the time for refusing.
pub(super) struct Refusing {
    left_ns: i64,
    /// Until when time was earned.
    earned_ns: u64,
    /// Requests refused, when last looked at.
    refused: u64,
}

impl Refusing {
    pub(super) const fn new() -> Self {
        Self { left_ns: SAVED_NS_MAX, earned_ns: 0, refused: 0 }
    }

    /// Whether a cycle that began now, in which so much else came, takes reads.
    #[inline]
    pub(super) fn may_read(&mut self, now_ns: u64, others: usize) -> bool {
        let passed_ns = i64::try_from(now_ns - self.earned_ns.min(now_ns)).unwrap_or(i64::MAX);
        self.earned_ns = now_ns;
        self.left_ns = self.left_ns.saturating_add(passed_ns / PARTS).min(SAVED_NS_MAX);
        self.left_ns >= 0 || others == 0
    }

    /// A cycle's inputs took so long; of them so many were refused since the start.
    #[inline]
    pub(super) fn spend(&mut self, refused: u64, inputs: usize, took_ns: u64) {
        let new = refused - self.refused.min(refused);
        self.refused = refused;
        if new == 0 {
            return;
        }
        // Both far below what 63 bits hold: a cycle is seconds at most.
        let spent_ns = (took_ns.saturating_mul(new) / (inputs as u64).max(new)) as i64;
        self.left_ns = self.left_ns.saturating_sub(spent_ns).max(-DEBT_NS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cycles of one millisecond of other work each; a batch of reads is all refused and takes half
    /// a millisecond. Which part of the time goes into refusing.
    fn part_refusing(others: usize) -> f64 {
        let mut refusing = Refusing::new();
        let (mut now_ns, mut refused, mut refusing_ns) = (1_000_000_000_u64, 0, 0_u64);
        let began_ns = now_ns;
        for _ in 0..10_000 {
            let cycle_ns = now_ns;
            now_ns += if others > 0 { 1_000_000 } else { 1_000 };
            if refusing.may_read(cycle_ns, others) {
                now_ns += 500_000;
                refusing_ns += 500_000;
                refused += 1_000;
                refusing.spend(refused, 1_000, 500_000);
            }
        }
        refusing_ns as f64 / (now_ns - began_ns) as f64
    }

    #[test]
    fn beside_other_work_it_is_a_fifth() {
        let part = part_refusing(100);
        assert!((0.19..0.21).contains(&part), "{part}");
    }

    #[test]
    fn without_other_work_it_is_all_that_is_wanted() {
        assert!(part_refusing(0) > 0.99);
    }

    #[test]
    fn who_refuses_little_or_nothing_always_reads() {
        let mut refusing = Refusing::new();
        for cycle in 1..10_000 {
            assert!(refusing.may_read(cycle * 100_000, 10));
            // One of sixteen inputs.
            refusing.spend(cycle, 16, 100_000);
        }
    }

    #[test]
    fn a_debt_is_paid_and_bounded() {
        let mut refusing = Refusing::new();
        assert!(refusing.may_read(0, 1));
        refusing.spend(10, 10, 60_000_000_000);
        assert!(!refusing.may_read(49_000_000, 1));
        assert!(refusing.may_read(49_000_000, 0), "there is nothing else to do");
        assert!(refusing.may_read(50_000_000, 1));
    }
}
