//! Sleeps that end on time: the kernel may lengthen a thread's sleep by its timer slack, 50 us
//! unless told otherwise, to wake several threads at once.

use rustix::thread::{current_timer_slack, set_current_timer_slack};
use std::num::NonZeroU64;

/// Timer slack of a thread that has to be on time.
const SLACK_NS: NonZeroU64 = NonZeroU64::MIN;

/// While this lives, sleeps of the thread that made it are not lengthened.
pub(crate) struct Punctual {
    before_ns: Option<NonZeroU64>,
}

impl Punctual {
    /// Asks for it. Where it is refused, requests are sent some tens of microseconds late, which
    /// their latencies show.
    pub(crate) fn new() -> Self {
        let before_ns = current_timer_slack().ok().and_then(NonZeroU64::new);
        let _ = set_current_timer_slack(Some(SLACK_NS));
        Self { before_ns }
    }
}

impl Drop for Punctual {
    fn drop(&mut self) {
        // None resets it to what the thread began with.
        let _ = set_current_timer_slack(self.before_ns);
    }
}
