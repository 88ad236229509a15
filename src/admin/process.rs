//! What the kernel says of this process: memory, open files, age.

use serde::{Deserialize, Serialize};

/// This process, as the kernel sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Its number.
    pub pid: u32,
    /// Memory that it takes up.
    pub resident_bytes: u64,
    /// Files, sockets and rings that it has open.
    pub open_files: u64,
    /// How many it may have.
    pub open_files_max: u64,
}

impl ProcessFacts {
    /// As they are now; 0 where the kernel does not say.
    #[must_use]
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            pid: std::process::id(),
            resident_bytes: resident_bytes(&status).unwrap_or_default(),
            // One of them is the folder that was just read.
            open_files: (files as u64).saturating_sub(1),
            open_files_max: limit.current.unwrap_or(u64::MAX),
        }
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_files() {
        let facts = ProcessFacts::now();
        assert_eq!(facts.pid, std::process::id());
        assert!(facts.resident_bytes > 100_000 && facts.open_files >= 3, "{facts:?}");
        assert!(facts.open_files_max >= facts.open_files);
    }

    #[test]
    fn memory_is_read_from_its_line() {
        let text = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t   1234 kB\n";
        assert_eq!(resident_bytes(text), Some(1_234 * 1_024));
        assert_eq!(resident_bytes("VmRSS: lots"), None);
    }
}
