//! How far the memory of large tables is, on standard error, while a switch starts. A start without
//! large tables shows nothing.

use super::quantity::bytes;
use crate::memory::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{Write, stderr};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

const REDRAWN_EVERY: Duration = Duration::from_millis(100);
/// Less memory than this is there at once, and not worth a word.
const SHOWN_BYTES_MIN: u64 = 1 << 30;

/// Runs `start` on a thread of its own, and shows meanwhile how much memory it has touched. This thread
/// shows, because it may have standard error to itself.
pub(super) fn while_shown<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let (ended, ending) = (Mutex::new(false), Condvar::new());
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            // Also when `start` panics.
            let _notice = Notice { ended: &ended, ending: &ending };
            start()
        });
        show_until(&ended, &ending);
        match starting.join() {
            Ok(started) => started,
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    })
}

/// Says that the start is over when it is dropped.
struct Notice<'a> {
    ended: &'a Mutex<bool>,
    ending: &'a Condvar,
}

impl Drop for Notice<'_> {
    fn drop(&mut self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ending.notify_all();
    }
}

fn show_until(ended: &Mutex<bool>, ending: &Condvar) {
    let before = Progress::now();
    let mut bar: Option<ProgressBar> = None;
    let (mut took, mut is_whole) = (Duration::ZERO, false);
    let mut end = ended.lock().unwrap_or_else(PoisonError::into_inner);
    while !*end {
        let waited = ending.wait_timeout(end, REDRAWN_EVERY);
        (end, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let now = Progress::now();
        let (all, touched) = since(before, now);
        if all >= SHOWN_BYTES_MIN {
            let bar = bar.get_or_insert_with(new_bar);
            bar.set_length(all);
            bar.set_position(touched);
            // The start goes on when all is touched; another shard's table may still come.
            if !is_whole || touched < all {
                took = bar.elapsed();
            }
            is_whole = touched == all;
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
        let (all, _) = since(before, Progress::now());
        let seconds = took.as_secs_f64();
        // When standard error is gone, the switch starts all the same.
        let _ = writeln!(stderr(), "memory      {} of tables in {seconds:.1} s", bytes(all));
    }
}

/// Bytes of tables begun since then, and touched.
fn since(before: Progress, now: Progress) -> (u64, u64) {
    (now.all_bytes - before.all_bytes, now.touched_bytes - before.touched_bytes)
}

fn new_bar() -> ProgressBar {
    let template = "memory      {bar:40} {bytes} of {total_bytes}, {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_started_is_returned() {
        assert_eq!(super::while_shown(|| 7), 7);
    }
}
