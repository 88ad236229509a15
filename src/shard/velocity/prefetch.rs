//! The hint that a line of memory will be read soon. The one unsafe line of the tables.

/// Asks the processor to fetch the cache line of `item`. Changes nothing that a program can see; on
/// processors other than x86-64 it does nothing at all.
#[inline(always)]
pub(in crate::shard) fn prefetch<T>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads and writes no memory that the program can observe and faults on
        // no address; this address is moreover that of a live reference.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(item).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}
