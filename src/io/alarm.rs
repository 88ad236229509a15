//! The one timer of a shard: a timerfd, so that it is exact to the microsecond in both engines.
//!
//! Arming for an earlier moment costs a system call, for a later one nothing: an alarm that comes
//! too early only makes the driver look and arm again. Not here: what is due.

use super::watched_fd::watch;
use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// A timer inside a tokio runtime, either engine's.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    armed_for_ns: Option<u64>,
}

impl Alarm {
    /// Must be made inside the runtime.
    ///
    /// # Errors
    /// No file descriptor is left, or the runtime cannot watch it.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { timer: watch(timer)?, armed_for_ns: None })
    }

    /// Makes sure that the alarm comes at `at_ns` or before; `now_ns` is the same clock's.
    pub(crate) fn arm(&mut self, now_ns: u64, at_ns: u64) {
        if self.armed_for_ns.is_some_and(|armed| armed <= at_ns) {
            return;
        }
        // Zero would disarm it.
        let in_ns = at_ns.saturating_sub(now_ns).max(1);
        let after = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: (in_ns / 1_000_000_000) as i64,
                tv_nsec: (in_ns % 1_000_000_000) as i64,
            },
        };
        let armed = timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &after);
        assert!(armed.is_ok(), "Invariant: a timer of valid times can be set");
        self.armed_for_ns = Some(at_ns);
    }

    /// Ready once after each alarm.
    pub(crate) fn poll_fired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.timer.poll_read_ready(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut guard)) => {
                let mut expirations = [0; 8];
                let _ = read(self.timer.get_ref(), &mut expirations);
                guard.clear_ready();
                self.armed_for_ns = None;
                Poll::Ready(())
            }
            // The runtime is shutting down.
            Poll::Ready(Err(_)) => Poll::Ready(()),
        }
    }
}
