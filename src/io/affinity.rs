//! Pinning the calling thread to a core.

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// Pins the calling thread.
///
/// # Errors
/// The core does not exist or is not allowed to this process.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)?;
    Ok(())
}

/// Undoes for the calling thread what it has from a pinned one. What refuses costs speed only.
pub(crate) fn run_on_any_core() {
    if let Ok(cores) = sched_getaffinity(Some(getpid())) {
        let _ = sched_setaffinity(None, &cores);
    }
}

/// Cores that the calling thread may run on.
///
/// # Errors
/// The kernel does not tell.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let cores = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| cores.is_set(core)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_to_an_allowed_core_and_to_no_other() {
        let allowed = allowed_cores().unwrap();
        let &core = allowed.last().unwrap();
        // A thread of its own: the test's thread belongs to the harness.
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| pin_to_core(core).and_then(|()| allowed_cores())).join().unwrap()
        });
        assert_eq!(seen.unwrap(), [core]);
        assert!(pin_to_core(CpuSet::MAX_CPU).is_err());
        assert_eq!(allowed_cores().unwrap(), allowed, "a refused pin changes nothing");
    }
}
