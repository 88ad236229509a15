//! What a shard's thread does now, for whoever watches it: one word, written by the shard with plain
//! stores between the steps of its duty cycle.
//!
//! Not here: who looks, and what becomes of a shard that does not come back (`watchdog`).

use crossbeam_utils::CachePadded;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Below the count of turns: the phase.
const PHASE_BITS: u32 = 8;

/// What a shard's thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It has not begun, sleeps, or has ended: nobody waits for it.
    #[default]
    Away,
    /// It finishes what the process before left.
    Recovering,
    /// Commits, and what they let leave.
    Journal,
    /// What came from other shards and issuers, and what is due.
    Inputs,
    /// What acquirers have sent.
    Reading,
    /// Their requests.
    Deciding,
    /// The banks that live on its thread.
    Banks,
    /// Answers and forwards are handed over.
    Writing,
    /// A step of a snapshot.
    Snapshot,
    /// The engine has its turn, and the connections' tasks.
    Engine,
    /// What was recorded last becomes durable.
    Leaving,
}

impl Phase {
    const ALL: [Self; 11] = [
        Self::Away,
        Self::Recovering,
        Self::Journal,
        Self::Inputs,
        Self::Reading,
        Self::Deciding,
        Self::Banks,
        Self::Writing,
        Self::Snapshot,
        Self::Engine,
        Self::Leaving,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "away",
            Self::Recovering => "finishing what the process before left",
            Self::Journal => "at its journal",
            Self::Inputs => "taking what other shards and issuers sent",
            Self::Reading => "reading",
            Self::Deciding => "deciding",
            Self::Banks => "at its simulated banks",
            Self::Writing => "writing",
            Self::Snapshot => "taking a snapshot",
            Self::Engine => "in the engine's turn",
            Self::Leaving => "committing what was recorded last",
        })
    }
}

/// Written by one shard's thread, read by the watchdog.
#[derive(Debug, Default)]
pub(crate) struct Pulse(CachePadded<AtomicU64>);

/// What a pulse was at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Duty cycles begun.
    pub(crate) turns: u64,
    pub(crate) phase: Phase,
}

impl Pulse {
    /// Owner: the next step of the same cycle.
    #[inline]
    pub(crate) fn enter(&self, phase: Phase) {
        let turns = self.0.load(Ordering::Relaxed) >> PHASE_BITS << PHASE_BITS;
        self.0.store(turns | phase as u64, Ordering::Relaxed);
    }

    /// Owner: another cycle begins, with this step.
    #[inline]
    pub(crate) fn turn(&self, phase: Phase) {
        let turns = (self.0.load(Ordering::Relaxed) >> PHASE_BITS).wrapping_add(1) << PHASE_BITS;
        self.0.store(turns | phase as u64, Ordering::Relaxed);
    }

    /// As of now.
    pub(crate) fn beat(&self) -> Beat {
        let word = self.0.load(Ordering::Relaxed);
        let phase = (word & ((1 << PHASE_BITS) - 1)) as usize;
        Beat {
            turns: word >> PHASE_BITS,
            phase: Phase::ALL.get(phase).copied().unwrap_or_default(),
        }
    }
}

/// How a shard has kept others waiting, as the watchdog saw it.
#[derive(Debug, Default)]
pub struct StallLevels {
    /// Times that it did not come back for a second.
    pub stalls: AtomicU64,
    /// Milliseconds of the present or the last time.
    pub stalled_ms: AtomicU64,
    /// What it was doing then.
    phase: AtomicU64,
}

impl StallLevels {
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u64, Ordering::Relaxed);
    }

    /// What it was doing the last time.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Relaxed) as usize;
        Phase::ALL.get(phase).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_tells_its_turns_and_every_phase() {
        let (pulse, levels) = (Pulse::default(), StallLevels::default());
        assert_eq!(pulse.beat(), Beat::default());
        for (number, phase) in (0..).zip(Phase::ALL) {
            pulse.turn(Phase::Journal);
            assert_eq!(pulse.beat(), Beat { turns: number + 1, phase: Phase::Journal });
            pulse.enter(phase);
            assert_eq!(pulse.beat(), Beat { turns: number + 1, phase });
            levels.set_phase(phase);
            assert_eq!(levels.phase(), phase);
        }
    }
}
