//! A file descriptor that the runtime watches, in either engine.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Must be called inside the runtime.
///
/// # Errors
/// The runtime cannot watch such a descriptor.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open for as long as it exists, always has the same number, and
    // `AsyncFd` hands it out only by shared reference or after it has stopped watching.
    let watched = unsafe { AsyncFd::register(fd) };
    Ok(watched?)
}
