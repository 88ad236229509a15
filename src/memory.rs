//! Memory of the tables: huge pages where the kernel gives them, every page touched when the table is
//! made, by all cores. The data path then meets no page fault, each of which can take microseconds on
//! a virtual machine, and a random access misses the address translation less often.
//!
//! Not here: what the tables hold; who shows how far it is.

use rustix::mm::{Advice, madvise};
use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes of the smallest page of the machines that we run on.
const PAGE_BYTES: usize = 4_096;
/// Bytes of a huge page.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// What one thread touches before it asks for more.
const CHUNK_BYTES: usize = 64 << 20;
/// Smaller tables are touched by the thread that makes them, and are nobody's wait.
const SHARED_BYTES_MIN: usize = 4 * CHUNK_BYTES;

static TO_TOUCH: AtomicU64 = AtomicU64::new(0);
static TOUCHED: AtomicU64 = AtomicU64::new(0);
/// Tables that nobody has taken yet.
static READY: Mutex<Vec<Box<[u64]>>> = Mutex::new(Vec::new());

/// How much of the large tables of this process has been touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of all large tables that were begun so far.
    pub all_bytes: u64,
    /// Of these, what is touched.
    pub touched_bytes: u64,
}

impl Progress {
    /// As of now.
    #[must_use]
    pub fn now() -> Self {
        // In this order, so that never more is touched than there is.
        let touched_bytes = TOUCHED.load(Ordering::Acquire);
        Self { all_bytes: TO_TOUCH.load(Ordering::Acquire), touched_bytes }
    }
}

/// A zeroed table, all of it in memory: one that was made beforehand, if there is.
pub(crate) fn zeroed_words(words: usize) -> Box<[u64]> {
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    let made = ready.iter().position(|table| table.len() == words);
    if let Some(place) = made {
        return ready.swap_remove(place);
    }
    drop(ready);
    new_words(words)
}

/// Makes so many tables before they are needed.
pub(crate) fn make_ready(tables: usize, words: usize) {
    for _ in 0..tables {
        let table = new_words(words);
        READY.lock().unwrap_or_else(PoisonError::into_inner).push(table);
    }
}

fn new_words(words: usize) -> Box<[u64]> {
    let mut table = vec![0u64; words].into_boxed_slice();
    advise_huge_pages(&mut table);
    touch(&mut table);
    table
}

/// Asks for huge pages. What refuses costs speed only.
fn advise_huge_pages(table: &mut [u64]) {
    let bytes = size_of_val(table);
    let start = table.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(HUGE_PAGE_BYTES);
    let whole = bytes.saturating_sub(skipped) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if whole > 0 {
        // SAFETY: the range lies inside a live allocation that this thread alone may use, and this
        // advice changes neither its contents nor whether it is mapped.
        let _ =
            unsafe { madvise(start.wrapping_add(skipped).cast(), whole, Advice::LinuxHugepage) };
    }
}

/// Writes one word of every page, unchanged.
fn touch(table: &mut [u64]) {
    let bytes = size_of_val(table);
    if bytes < SHARED_BYTES_MIN {
        return prefault(table);
    }
    TO_TOUCH.fetch_add(bytes as u64, Ordering::AcqRel);
    let cores = process_cores();
    let threads = cores.as_ref().map_or(1, |cores| cores.count() as usize);
    let chunks = Mutex::new(table.chunks_mut(CHUNK_BYTES / size_of::<u64>()));
    let work = || {
        if let Some(cores) = &cores {
            // A shard's thread is pinned to one core and would pass that on.
            let _ = sched_setaffinity(None, cores);
        }
        loop {
            let chunk = match chunks.lock() {
                Ok(mut chunks) => chunks.next(),
                Err(_) => None,
            };
            let Some(chunk) = chunk else { return };
            prefault(chunk);
            TOUCHED.fetch_add(size_of_val(chunk) as u64, Ordering::AcqRel);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
}

/// Cores of the process as it was started, whatever this thread is pinned to.
fn process_cores() -> Option<CpuSet> {
    sched_getaffinity(Some(getpid())).ok()
}

/// Writes one element of every page, unchanged.
pub(crate) fn prefault<T: Copy>(table: &mut [T]) {
    let step = (PAGE_BYTES / size_of::<T>().max(1)).max(1);
    for element in table.iter_mut().step_by(step) {
        // The kernel maps a page of its own only when it is written.
        *element = black_box(*element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_stay_as_they_are() {
        let mut table: Vec<u32> = (0..5_000).collect();
        prefault(&mut table);
        assert!(table.iter().copied().eq(0..5_000));
        prefault::<[u64; 1_024]>(&mut []);
    }

    #[test]
    fn tables_are_zero_whatever_their_size() {
        for words in [0, 1, 1_000, (HUGE_PAGE_BYTES / 8) * 3 + 5] {
            assert_eq!(zeroed_words(words).iter().filter(|&&word| word != 0).count(), 0);
        }
    }

    #[test]
    fn a_table_made_beforehand_is_taken_once() {
        // A length that nobody else asks for.
        let words = 12_347;
        make_ready(2, words);
        let kept = || READY.lock().unwrap().iter().filter(|it| it.len() == words).count();
        assert_eq!(kept(), 2);
        let (first, other) = (zeroed_words(words), zeroed_words(words + 1));
        assert_eq!((first.len(), other.len(), kept()), (words, words + 1, 1));
        zeroed_words(words);
        assert_eq!((zeroed_words(words).len(), kept()), (words, 0));
    }

    #[test]
    fn a_large_table_is_touched_whole_and_reported() {
        let before = Progress::now();
        let words = SHARED_BYTES_MIN / size_of::<u64>() + 3;
        let table = zeroed_words(words);
        assert_eq!((table.len(), table[words - 1]), (words, 0));
        let after = Progress::now();
        let bytes = (words * size_of::<u64>()) as u64;
        assert!(after.touched_bytes >= before.touched_bytes + bytes, "{before:?} {after:?}");
        assert!(after.all_bytes >= after.touched_bytes);
    }
}
