//! Waking a thread that sleeps: an eventfd, written only when its owner has announced that it
//! sleeps.
//!
//! Whoever gives the owner work publishes it first and calls [`Wake::wake`] then. The owner
//! announces its sleep first ([`Wake::announce_sleep`]) and looks for work then. The fences order
//! "work, then flag" against "flag, then look", so at least one side sees the other, and only the
//! first of many wakers pays for the system call.
//!
//! Not here: queues; what an owner does when it wakes.

use super::watched_fd::watch;
use crossbeam_utils::CachePadded;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{read, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// How other threads wake one thread.
#[derive(Debug)]
pub(crate) struct Wake {
    asleep: CachePadded<AtomicBool>,
    event: OwnedFd,
}

impl Wake {
    /// An owner that is awake.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self { asleep: CachePadded::new(AtomicBool::new(false)), event }))
    }

    /// After work was published: wakes the owner if it sleeps. Tells whether it did.
    #[inline]
    pub(crate) fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        if !self.asleep.load(Ordering::Relaxed) || !self.asleep.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.signal();
        true
    }

    /// Makes the owner's next or present sleep end, whether announced or not.
    pub(crate) fn signal(&self) {
        // Only a counter at its maximum refuses, and that one is readable already.
        let _ = write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Owner: announces a sleep. Look for work after this, before sleeping.
    #[inline]
    pub(crate) fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Owner: awake again, for whatever reason. A waker that saw the announcement may still
    /// signal; that ends the next sleep early and harms nothing.
    #[inline]
    pub(crate) fn on_wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Takes what was signalled, so that the next sleep is one.
    fn clear(&self) {
        let mut count = [0; 8];
        let _ = read(&self.event, &mut count);
    }

    /// Owner, on a thread without a runtime: sleeps until signalled, or until the time is over.
    pub(crate) fn sleep(&self, timeout_ns: Option<u64>) {
        let timeout = timeout_ns.map(|ns| Timespec {
            tv_sec: (ns / 1_000_000_000) as i64,
            tv_nsec: (ns % 1_000_000_000) as i64,
        });
        let mut fds = [PollFd::new(&self.event, PollFlags::IN)];
        // Interrupted is as good as over: the owner looks for work in any case.
        if poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
            self.clear();
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Owner's end of a [`Wake`] inside a tokio runtime, either engine's.
#[derive(Debug)]
pub(crate) struct WakeListener {
    wake: Arc<Wake>,
    /// The same event under a number of its own.
    event: AsyncFd<OwnedFd>,
}

impl WakeListener {
    /// Must be made inside the runtime.
    ///
    /// # Errors
    /// The runtime cannot watch the descriptor, or none is left.
    pub(crate) fn new(wake: Arc<Wake>) -> io::Result<Self> {
        let event = watch(wake.event.try_clone()?)?;
        Ok(Self { wake, event })
    }

    /// What others wake this thread with.
    #[inline]
    #[must_use]
    pub(crate) fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    /// Ready once after each signal.
    pub(crate) fn poll_signalled(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.event.poll_read_ready(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut guard)) => {
                self.wake.clear();
                guard.clear_ready();
                Poll::Ready(())
            }
            // The runtime is shutting down.
            Poll::Ready(Err(_)) => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_queue::ArrayQueue;

    #[test]
    fn only_an_announced_sleep_is_woken_and_only_once() {
        let wake = Wake::new().unwrap();
        assert!(!wake.wake(), "awake: nothing to do");
        wake.announce_sleep();
        assert!(wake.wake());
        assert!(!wake.wake(), "already woken");
        wake.sleep(None);
        wake.on_wake();
        wake.announce_sleep();
        wake.on_wake();
        assert!(!wake.wake(), "woke by itself");
    }

    /// Every item arrives although the consumer sleeps, without a time limit, whenever it finds
    /// nothing: one lost wake-up would hang here.
    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        const ITEMS: u64 = 20_000;
        let wake = Wake::new().unwrap();
        let queue = ArrayQueue::new(4);
        let signals = std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                let mut signals = 0;
                for item in 0..ITEMS {
                    while queue.push(item).is_err() {
                        std::thread::yield_now();
                    }
                    signals += u64::from(wake.wake());
                }
                signals
            });
            let mut expected = 0;
            while expected < ITEMS {
                while let Some(item) = queue.pop() {
                    assert_eq!(item, expected);
                    expected += 1;
                }
                wake.announce_sleep();
                if queue.is_empty() && expected < ITEMS {
                    wake.sleep(None);
                }
                wake.on_wake();
            }
            producer.join().unwrap()
        });
        assert!(signals <= ITEMS);
    }
}
