//! A thread that watches the shards: one that does not come back from a step is told of after a second,
//! and ends the process when it stays away. Its cards get no answer here; another process may serve
//! them.
//!
//! A shard that sleeps is not blamed, nor is any when the whole process stood still (SIGSTOP, a virtual
//! machine that was paused): time counts by this thread's own looks, of which each is worth little,
//! however long it was until it could look.
//!
//! Not here: telling operators (`cli::alarms`). Not seen: a task beside the driver that spins while
//! that sleeps.

use super::clock::Clock;
use super::counters::{IoCounters, add};
use super::pulse::{Beat, Phase};
use super::wake::Wake;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// Between two looks.
const LOOK_NS: u64 = 100_000_000;
/// What a look is worth at most.
const LOOK_WORTH_NS: u64 = 2 * LOOK_NS;
/// A shard that is away for so long has stalled.
const STALLED_NS: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// The thread that watches. Dropping it ends it.
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches these shards, in their order. One that is away for `abort_ms` ends the process; 0: none
    /// does.
    pub(crate) fn start(shards: Vec<Arc<IoCounters>>, abort_ms: u64) -> io::Result<Self> {
        let (stop, wake) = (Arc::new(AtomicBool::new(false)), Wake::new()?);
        let (stopped, own_wake) = (Arc::clone(&stop), Arc::clone(&wake));
        let thread = Builder::new().name("watchdog".into()).spawn(move || {
            let mut watched: Vec<_> = shards.into_iter().map(Watched::new).collect();
            let mut clock = Clock::new();
            let mut looked_ns = clock.now().mono_ns;
            while !stopped.load(Ordering::Acquire) {
                own_wake.sleep(Some(LOOK_NS));
                let now_ns = clock.now().mono_ns;
                let worth_ns = (now_ns - looked_ns).min(LOOK_WORTH_NS);
                looked_ns = now_ns;
                for (shard, watched) in watched.iter_mut().enumerate() {
                    let (stuck_ns, phase) = watched.look(worth_ns);
                    if abort_ms > 0 && stuck_ns >= abort_ms * NS_PER_MS {
                        abort(shard, abort_ms, phase);
                    }
                }
            }
        })?;
        Ok(Self { stop, wake, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake.signal();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing else.
            let _ = thread.join();
        }
    }
}

/// One shard as it was at the last look.
struct Watched {
    counters: Arc<IoCounters>,
    turns: u64,
    /// For how long it has been away from its next turn.
    stuck_ns: u64,
}

impl Watched {
    fn new(counters: Arc<IoCounters>) -> Self {
        let turns = counters.pulse.beat().turns;
        Self { counters, turns, stuck_ns: 0 }
    }

    /// Another look, which is worth so much time. Tells for how long the shard is away, and where.
    fn look(&mut self, worth_ns: u64) -> (u64, Phase) {
        let Beat { turns, phase } = self.counters.pulse.beat();
        let is_fine = phase == Phase::Away || turns != self.turns;
        self.turns = turns;
        if is_fine {
            self.stuck_ns = 0;
            return (0, phase);
        }
        let before_ns = self.stuck_ns;
        self.stuck_ns += worth_ns;
        if self.stuck_ns >= STALLED_NS {
            let levels = &self.counters.stalls;
            levels.set_phase(phase);
            levels.stalled_ms.store(self.stuck_ns / NS_PER_MS, Ordering::Relaxed);
            if before_ns < STALLED_NS {
                add(&levels.stalls, 1);
            }
        }
        (self.stuck_ns, phase)
    }
}

/// Ends the process at once.
fn abort(shard: usize, ms: u64, phase: Phase) -> ! {
    #[expect(clippy::print_stderr, reason = "the last words of a process that aborts")]
    {
        eprintln!(
            "tapswitch: shard {shard} has not come back for {ms} ms (stall_abort_ms), last seen \
             {phase}; stopping at once, so that its cards can be served elsewhere"
        );
    }
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(watched: &Watched) -> (u64, u64) {
        let levels = &watched.counters.stalls;
        let read = |level: &std::sync::atomic::AtomicU64| level.load(Ordering::Relaxed);
        (read(&levels.stalls), read(&levels.stalled_ms))
    }

    #[test]
    fn a_shard_that_does_not_come_back_is_told_of_once_and_for_how_long() {
        let mut watched = Watched::new(Arc::default());
        let pulse = Arc::clone(&watched.counters);
        pulse.pulse.turn(Phase::Reading);
        assert_eq!(watched.look(LOOK_NS), (0, Phase::Reading), "seen for the first time");
        // Another step of the same turn is none.
        pulse.pulse.enter(Phase::Deciding);
        for look in 1..10 {
            assert_eq!(watched.look(LOOK_NS), (look * LOOK_NS, Phase::Deciding));
        }
        assert_eq!(seen(&watched), (0, 0));
        for look in 10..50 {
            assert_eq!(watched.look(LOOK_NS), (look * LOOK_NS, Phase::Deciding));
            assert_eq!(seen(&watched), (1, look * 100));
        }
        assert_eq!(watched.counters.stalls.phase(), Phase::Deciding);
        pulse.pulse.turn(Phase::Journal);
        assert_eq!(watched.look(LOOK_NS), (0, Phase::Journal));
        for _ in 0..10 {
            watched.look(LOOK_NS);
        }
        assert_eq!(seen(&watched), (2, 1_000));
    }

    #[test]
    fn a_shard_that_sleeps_or_goes_on_is_not_blamed() {
        let mut watched = Watched::new(Arc::default());
        let pulse = Arc::clone(&watched.counters);
        for _ in 0..100 {
            assert_eq!(watched.look(LOOK_NS), (0, Phase::Away), "not begun");
        }
        for _ in 0..100 {
            pulse.pulse.turn(Phase::Engine);
            assert_eq!(watched.look(LOOK_NS).0, 0);
        }
        for _ in 0..9 {
            watched.look(LOOK_NS);
        }
        pulse.pulse.enter(Phase::Away);
        for _ in 0..100 {
            assert_eq!(watched.look(LOOK_NS).0, 0);
        }
        assert_eq!(seen(&watched), (0, 0));
    }
}
