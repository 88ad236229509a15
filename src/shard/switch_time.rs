//! The time that the switch itself adds to a transaction, the issuer's time excluded: from the
//! batch that took the request to the end of that batch (the forward is handed over), and from the
//! batch that took the issuer's answer to its end (the response is in the output buffer).

use super::AcquirerId;
use super::levels::AcquirerTimes;
use hdrhistogram::Histogram;

/// Transactions of one batch whose times are recorded; further ones of a larger batch are not.
const RECORDED_PER_BATCH_MAX: usize = 4_096;
/// Times above this are recorded as this.
const SWITCH_TIME_NS_MAX: u64 = 60_000_000_000;

/// Histogram of switch times in nanoseconds, and what waits for its batch to end.
#[derive(Clone)]
pub struct SwitchTime {
    histogram: Histogram<u64>,
    answered: Vec<Answered>,
}

#[derive(Clone, Copy)]
struct Answered {
    started_ns: u64,
    before_ns: u64,
    acquirer: AcquirerId,
}

impl Default for SwitchTime {
    #[expect(clippy::expect_used, reason = "constant bounds, checked by every test that runs")]
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, SWITCH_TIME_NS_MAX, 2)
            .expect("bounds of the switch-time histogram");
        Self { histogram, answered: Vec::with_capacity(RECORDED_PER_BATCH_MAX) }
    }
}

impl SwitchTime {
    /// An answer made in the batch that began at `started_ns`, and to whom; `before_ns` is the first
    /// part.
    #[inline]
    pub(super) fn answered(&mut self, started_ns: u64, before_ns: u64, acquirer: AcquirerId) {
        if self.answered.len() < RECORDED_PER_BATCH_MAX {
            self.answered.push(Answered { started_ns, before_ns, acquirer });
        }
    }

    /// The batch is over. Each acquirer's are counted too.
    #[inline]
    pub(super) fn end_batch(&mut self, end_ns: u64, acquirers: &mut AcquirerTimes) {
        for answered in self.answered.drain(..) {
            let spent = end_ns.saturating_sub(answered.started_ns) + answered.before_ns;
            self.histogram.saturating_record(spent.max(1));
            acquirers.record_switch(answered.acquirer, spent);
        }
    }

    /// Takes over what another recorded. Allocates nothing: the bounds are the same.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.histogram.reset();
        let added = self.histogram.add(&other.histogram);
        assert!(added.is_ok(), "Invariant: switch times have the same bounds everywhere");
    }

    /// All recorded so far.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}
