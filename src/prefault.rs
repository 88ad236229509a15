//! Touching the pages of a table when it is made, so that the data path meets no page fault: on a
//! virtual machine the first touch of a page can take microseconds, and thousands of them seconds.
//!
//! Not here: huge pages and locking, which need system calls.

use std::hint::black_box;

/// Bytes of the smallest page of the machines that we run on.
const PAGE_BYTES: usize = 4_096;

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
    #[test]
    fn contents_stay_as_they_are() {
        let mut table: Vec<u32> = (0..5_000).collect();
        super::prefault(&mut table);
        assert!(table.iter().copied().eq(0..5_000));
        super::prefault::<[u64; 1_024]>(&mut []);
    }
}
