//! Random bytes from the kernel: the only randomness of the process, drawn once at start.

use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

/// Fills all of `bytes`.
///
/// # Errors
/// The kernel gives no random bytes.
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(())
}
