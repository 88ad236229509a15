//! What a run is asked to do, and which sorts of faults there are.

use crate::named_list::named_list;
use std::fmt;
use std::str::FromStr;

named_list! {
    /// A sort of fault; names are those of the command line.
    FaultKind:
    Network "network" "acquirers' bytes split, delayed, cut off; half-closed and slow connections";
    Issuer "issuer" "late, silent, doubled, mis-echoed and garbled answers; brown-outs";
    Link "link" "issuers' links go down and come back";
    Disk "disk" "slow commits and stalls";
    Crash "crash" "the switch dies and starts again";
    Clock "clock" "the wall clock steps";
    Reload "reload" "limits change while the switch serves";
    Acquirer "acquirer" "impatient acquirers, repeats, other contents under the same key";
    Malformed "malformed" "messages that cannot be read or lack something";
    Shared "shared" "no fault: limits of merchants, terminals and acquirers, over all shards";
    Layout "layout" "another number of shards at a restart";
    Stop "stop" "the switch stops in order and starts again";
    StandIn "stand-in" "no fault: issuers that let the switch stand in for them";
    Failover "failover" "no fault: issuers with a second route";
    Gone "gone" "an acquirer goes away for good";
    Rules "rules" "codes and routes change while the switch serves, not only limits";
    Token "token" "no fault: cards that are paid with by token";
}

/// Which faults, and how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    kinds: u32,
    /// Few of each.
    pub light: bool,
}

impl Faults {
    /// None at all.
    pub const NONE: Self = Self { kinds: 0, light: false };
    /// Everything, at strengths drawn by the seed.
    pub const ALL: Self = Self { kinds: u32::MAX, light: false };
    /// A little of everything.
    pub const LIGHT: Self = Self { kinds: u32::MAX, light: true };

    /// Whether there are faults of this kind.
    #[must_use]
    pub const fn has(self, kind: FaultKind) -> bool {
        self.kinds & (1 << kind as u16) != 0
    }
}

impl FromStr for Faults {
    type Err = String;

    /// `none`, `light`, `all`, or kinds with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::NONE),
            "light" => return Ok(Self::LIGHT),
            "all" => return Ok(Self::ALL),
            _ => {}
        }
        let mut faults = Self::NONE;
        for name in text.split(',') {
            let kind = FaultKind::ALL.iter().find(|kind| kind.name() == name);
            let kind = kind.ok_or_else(|| {
                let names: Vec<_> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
                format!("{name:?} is no fault: none, light, all, or some of {}", names.join(","))
            })?;
            faults.kinds |= 1 << *kind as u16;
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("none"),
            Self::LIGHT => f.write_str("light"),
            Self::ALL => f.write_str("all"),
            faults => {
                let names = FaultKind::ALL.iter().filter(|kind| faults.has(**kind));
                let names: Vec<_> = names.map(|kind| kind.name()).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// All that is drawn follows from it.
    pub seed: u64,
    /// Transactions that acquirers begin.
    pub transactions: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// Crashes also lose records that the disk had said were durable: a disk that lies. The oracle
    /// must find what that does, or it would find nothing else either.
    pub lying_disk: bool,
    /// Tell what happened to this transaction.
    pub traced: Option<u32>,
    /// Tell what happened to this card: its number in the world.
    pub traced_card: Option<u32>,
}

impl Options {
    /// A run with all faults.
    #[must_use]
    pub fn new(seed: u64, transactions: u32) -> Self {
        Self {
            seed,
            transactions,
            faults: Faults::ALL,
            lying_disk: false,
            traced: None,
            traced_card: None,
        }
    }
}

impl fmt::Display for Options {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, transactions, faults, lying_disk, .. } = self;
        write!(f, "--seed {seed} --transactions {transactions} --faults {faults}")?;
        if *lying_disk { f.write_str(" --lying-disk") } else { Ok(()) }
    }
}
