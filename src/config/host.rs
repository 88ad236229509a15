//! What a configuration is checked against besides its own text: the cores of this machine.

/// The machine that the switch shall run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Cores that this process may use, ascending.
    pub cores: Vec<usize>,
}

impl Host {
    /// This machine, as far as this process may use it.
    #[must_use]
    pub fn here() -> Self {
        let Ok(set) = rustix::thread::sched_getaffinity(None) else {
            let count = std::thread::available_parallelism().map_or(1, usize::from);
            return Self { cores: (0..count).collect() };
        };
        Self {
            cores: (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        }
    }

    /// Shards when the operator leaves it to us: below four cores the load, the banks and the
    /// kernel need the others.
    pub(super) fn shards_automatic(&self) -> usize {
        match self.cores.len() {
            0..4 => 1,
            cores => (cores - 1).min(crate::limits::SHARDS_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_core() {
        assert!(!Host::here().cores.is_empty());
    }

    #[test]
    fn automatic_shards_leave_a_core_free() {
        for (cores, shards) in [(0, 1), (1, 1), (3, 1), (4, 3), (16, 15), (256, 64)] {
            assert_eq!(Host { cores: (0..cores).collect() }.shards_automatic(), shards);
        }
    }
}
