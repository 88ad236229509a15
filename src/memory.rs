//! Memory of the tables: huge pages where the kernel gives them, every page touched when the table is
//! made, by all cores. The data path then meets no page fault, each of which can take microseconds on
//! a virtual machine, and a random access misses the address translation less often.
//!
//! A table is this process's alone, or lies in a file of memory without a name (memfd), which another
//! process can be given: it lasts as long as one of them has it, and no crash leaves it behind.
//!
//! Not here: what the tables hold; who shows how far it is; giving it to another process (`io::parting`).

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::ffi::CStr;
use std::hint::black_box;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut, slice_from_raw_parts_mut};
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
static READY: Mutex<Vec<Words>> = Mutex::new(Vec::new());

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

/// Whose the memory of a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableMemory {
    /// This process's alone.
    #[default]
    Private,
    /// Another process can be given it.
    Shared,
}

/// The memory of a table.
pub(crate) struct Words {
    start: NonNull<u64>,
    words: usize,
    /// The file that it is mapped of; none: it was allocated.
    file: Option<OwnedFd>,
}

// SAFETY: they are the only way to their memory in this process, as a box would be.
unsafe impl Send for Words {}
// SAFETY: whoever has them shared can only read.
unsafe impl Sync for Words {}

impl Words {
    /// None at all.
    pub(crate) fn none() -> Self {
        Self::private(Box::default())
    }

    fn private(table: Box<[u64]>) -> Self {
        let words = table.len();
        let start = NonNull::from(Box::leak(table)).cast();
        Self { start, words, file: None }
    }

    /// Whether another process can be given them.
    pub(crate) fn is_shared(&self) -> bool {
        self.file.is_some()
    }

    /// Gives them up here, for another process. `None`: they are this one's alone, and are gone.
    pub(crate) fn into_shared(mut self) -> Option<SharedWords> {
        let (file, words) = (self.file.take()?, self.words);
        self.unmap();
        std::mem::forget(self);
        Some(SharedWords { file, words })
    }

    fn unmap(&mut self) {
        let bytes = self.words * size_of::<u64>();
        // SAFETY: the range is what was mapped, and nobody can reach it but by these words, which are
        // used no more after this.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
    }
}

impl Deref for Words {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        // SAFETY: the memory is there as long as these words, holds so many of them, all of which were
        // zeroed by whoever made it, and changes only by way of them: a process that gave its words
        // away has unmapped them before.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl DerefMut for Words {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if self.file.is_some() {
            self.unmap();
        } else {
            let table = slice_from_raw_parts_mut(self.start.as_ptr(), self.words);
            // SAFETY: it is the box that they were made of.
            drop(unsafe { Box::from_raw(table) });
        }
    }
}

/// Words on their way from one process to another.
#[derive(Debug)]
pub struct SharedWords {
    file: OwnedFd,
    words: usize,
}

impl SharedWords {
    /// Words of a file that another process gave.
    ///
    /// # Errors
    /// It is shorter than that.
    pub fn of(file: OwnedFd, words: usize) -> io::Result<Self> {
        let bytes = u64::try_from(fstat(&file)?.st_size).unwrap_or_default();
        match words.checked_mul(size_of::<u64>()) {
            Some(needed) if needed as u64 <= bytes => Ok(Self { file, words }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the table is cut short")),
        }
    }

    /// How many.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// Makes them this process's, as they are, every page mapped.
    pub(crate) fn map(self) -> io::Result<Words> {
        let mut words = self.map_untouched()?;
        advise_huge_pages(&mut words);
        touch(&mut words);
        Ok(words)
    }

    fn map_untouched(self) -> io::Result<Words> {
        let Self { file, words } = self;
        let bytes = words * size_of::<u64>();
        let (readable, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses where it lies, so no other memory is touched.
        let start = unsafe { mmap(null_mut(), bytes, readable, shared, &file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Words { start, words, file: Some(file) })
    }
}

impl AsFd for SharedWords {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A zeroed table, all of it in memory: one that was made beforehand, if there is.
pub(crate) fn zeroed_words(words: usize, memory: TableMemory) -> Words {
    let is_shared = memory == TableMemory::Shared;
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    let made =
        ready.iter().position(|table| table.len() == words && table.is_shared() == is_shared);
    if let Some(place) = made {
        return ready.swap_remove(place);
    }
    drop(ready);
    new_words(words, memory)
}

/// Makes so many tables before they are needed.
pub(crate) fn make_ready(tables: usize, words: usize, memory: TableMemory) {
    for _ in 0..tables {
        let table = new_words(words, memory);
        READY.lock().unwrap_or_else(PoisonError::into_inner).push(table);
    }
}

fn new_words(words: usize, memory: TableMemory) -> Words {
    let private = || Words::private(vec![0; words].into_boxed_slice());
    let mut table = match memory {
        TableMemory::Private => private(),
        // Where there is no such file, nobody can be given the table; it serves as well.
        TableMemory::Shared => new_shared(words).unwrap_or_else(|_| private()),
    };
    advise_huge_pages(&mut table);
    touch(&mut table);
    table
}

fn new_shared(words: usize) -> io::Result<Words> {
    let file = unnamed_file(c"tapswitch-cards")?;
    ftruncate(&file, (words * size_of::<u64>()) as u64)?;
    SharedWords { file, words }.map_untouched()
}

/// A file of memory, as long as somebody has it open.
///
/// # Errors
/// The kernel has none for us.
pub fn unnamed_file(called: &CStr) -> io::Result<OwnedFd> {
    // Nothing that is started later inherits it, and nothing in it can be run: some kernels ask for
    // that to be said, older ones do not know it.
    let flags = MemfdFlags::CLOEXEC;
    let file = memfd_create(called, flags | MemfdFlags::NOEXEC_SEAL);
    Ok(file.or_else(|_| memfd_create(called, flags))?)
}

/// Whether the kernel gives huge pages to memory that processes share: as
/// `/sys/kernel/mm/transparent_hugepage/shmem_enabled` says. Without them random access is slower.
#[must_use]
pub fn shared_has_huge_pages() -> bool {
    let said = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    said.is_ok_and(|said| !said.contains("[never]") && !said.contains("[deny]"))
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
            for memory in [TableMemory::Private, TableMemory::Shared] {
                let table = zeroed_words(words, memory);
                assert_eq!((table.len(), table.iter().filter(|&&it| it != 0).count()), (words, 0));
            }
        }
    }

    #[test]
    fn a_table_made_beforehand_is_taken_once() {
        // A length that nobody else asks for.
        let words = 12_347;
        make_ready(2, words, TableMemory::Private);
        let kept = || READY.lock().unwrap().iter().filter(|it| it.len() == words).count();
        assert_eq!(kept(), 2);
        let zeroed = |words| zeroed_words(words, TableMemory::Private);
        let (first, other) = (zeroed(words), zeroed(words + 1));
        assert_eq!((first.len(), other.len(), kept()), (words, words + 1, 1));
        assert!(zeroed_words(words, TableMemory::Shared).is_shared());
        assert_eq!(kept(), 1, "of another kind");
        zeroed(words);
        assert_eq!((zeroed(words).len(), kept()), (words, 0));
    }

    #[test]
    fn what_is_shared_is_as_it_was_for_whoever_is_given_it() {
        let words = 10_000;
        let mut table = zeroed_words(words, TableMemory::Shared);
        (0..).zip(table.iter_mut()).for_each(|(number, word)| *word = number);
        let shared = table.into_shared().unwrap();
        assert_eq!(shared.words(), words);
        let given = shared.as_fd().try_clone_to_owned().unwrap();
        drop(shared);
        assert!(SharedWords::of(given.try_clone().unwrap(), words + 512).is_err(), "cut short");
        assert!(SharedWords::of(given.try_clone().unwrap(), usize::MAX).is_err());
        let table = SharedWords::of(given, words).unwrap().map().unwrap();
        assert!(table.iter().copied().eq(0..words as u64));
        assert!(zeroed_words(words, TableMemory::Private).into_shared().is_none());
    }

    #[test]
    fn a_large_table_is_touched_whole_and_reported() {
        let before = Progress::now();
        let words = SHARED_BYTES_MIN / size_of::<u64>() + 3;
        let table = zeroed_words(words, TableMemory::Private);
        assert_eq!((table.len(), table[words - 1]), (words, 0));
        let after = Progress::now();
        let bytes = (words * size_of::<u64>()) as u64;
        assert!(after.touched_bytes >= before.touched_bytes + bytes, "{before:?} {after:?}");
        assert!(after.all_bytes >= after.touched_bytes);
    }
}
