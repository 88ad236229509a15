//! What is to happen, in the order of time; of one moment, in the order in which it was arranged.

use super::links::Line;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Something that happens at a moment.
#[derive(Debug)]
pub(super) enum Event {
    /// The next transaction begins.
    Arrival,
    /// An acquirer looks whether a message of its was answered.
    Look {
        number: u32,
        round: u16,
    },
    /// An acquirer does something about a transaction that was approved.
    FollowUp {
        number: u32,
    },
    /// The next bytes of a connection reach the switch.
    ToSwitch {
        connection: u32,
    },
    /// The end of the acquirer's stream reaches the switch; or the connection is broken.
    EndToSwitch {
        connection: u32,
        broken: bool,
    },
    /// The next bytes of a connection reach its acquirer.
    ToAcquirer {
        connection: u32,
    },
    /// An acquirer sees that its connection is gone.
    EndToAcquirer {
        connection: u32,
    },
    /// An acquirer reads on.
    ReadOn {
        connection: u32,
    },
    /// The switch looks whether a connection's answers are being read.
    Patience {
        connection: u32,
    },
    /// An acquirer connects.
    Connect {
        acquirer: u8,
        place: u8,
    },
    /// A duty cycle of a shard.
    Cycle {
        shard: u8,
        life: u32,
    },
    /// A shard's commit is on the disk.
    Committed {
        shard: u8,
        life: u32,
    },
    /// A shard's snapshot is on the disk.
    SnapshotWritten {
        shard: u8,
        life: u32,
    },
    /// A message reaches an issuer, on the link that had this number.
    ToIssuer {
        line: Line,
        message: Vec<u8>,
    },
    /// An issuer's answer reaches a shard.
    FromIssuer {
        line: Line,
        message: Vec<u8>,
    },
    /// An issuer's link is made.
    LinkUp {
        line: Line,
        process: u32,
    },
    /// An issuer signs off, comes back, and says so until it is answered.
    SignOff,
    Return {
        issuer: u8,
    },
    Say {
        issuer: u8,
    },
    /// The next link somewhere fails.
    Flap,
    /// An issuer stops answering, and answers again.
    BrownOut,
    Recovered {
        issuer: u8,
    },
    Crash,
    Start,
    ClockStep,
    Reload,
    /// An acquirer's connections end, and it never comes back.
    Gone,
    /// What shards have counted together is looked at.
    Audit,
    /// The switch is asked to stop, and looked at until it has.
    Drain,
    Stopping {
        life: u32,
    },
}

impl Event {
    /// What it is and to whom it happens, for the trace's hash.
    pub(super) fn digest(&self) -> u64 {
        let (what, whom, bytes) = match self {
            Self::Arrival => (1, 0, 0),
            Self::Look { number, round } => (2, u64::from(*number), u64::from(*round)),
            Self::FollowUp { number } => (3, u64::from(*number), 0),
            Self::ToSwitch { connection } => (4, u64::from(*connection), 0),
            Self::EndToSwitch { connection, broken } => {
                (5, u64::from(*connection), u64::from(*broken))
            }
            Self::ToAcquirer { connection } => (6, u64::from(*connection), 0),
            Self::EndToAcquirer { connection } => (7, u64::from(*connection), 0),
            Self::ReadOn { connection } => (8, u64::from(*connection), 0),
            Self::Patience { connection } => (9, u64::from(*connection), 0),
            Self::Connect { acquirer, place } => (10, u64::from(*acquirer), u64::from(*place)),
            Self::Cycle { shard, life } => (11, u64::from(*shard), u64::from(*life)),
            Self::Committed { shard, life } => (12, u64::from(*shard), u64::from(*life)),
            Self::SnapshotWritten { shard, life } => (13, u64::from(*shard), u64::from(*life)),
            Self::ToIssuer { line, message } => (14, line.digest(), super::trace::digest(message)),
            Self::FromIssuer { line, message } => {
                (15, line.digest(), super::trace::digest(message))
            }
            Self::LinkUp { line, .. } => (17, line.digest(), 0),
            Self::SignOff => (25, 0, 0),
            Self::Return { issuer } => (26, u64::from(*issuer), 0),
            Self::Say { issuer } => (27, u64::from(*issuer), 0),
            Self::Flap => (18, 0, 0),
            Self::BrownOut => (19, 0, 0),
            Self::Recovered { issuer } => (20, u64::from(*issuer), 0),
            Self::Crash => (21, 0, 0),
            Self::Start => (22, 0, 0),
            Self::ClockStep => (23, 0, 0),
            Self::Reload => (24, 0, 0),
            Self::Audit => (28, 0, 0),
            Self::Gone => (31, 0, 0),
            Self::Drain => (29, 0, 0),
            Self::Stopping { life } => (30, u64::from(*life), 0),
        };
        (what << 56 | whom) ^ bytes.rotate_left(17)
    }
}

struct Due {
    at_ns: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest: it comes out of the heap first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.order).cmp(&(self.at_ns, self.order))
    }
}

/// All that is to happen.
#[derive(Default)]
pub(super) struct Events {
    heap: BinaryHeap<Due>,
    arranged: u64,
}

impl Events {
    pub(super) fn at(&mut self, at_ns: u64, event: Event) {
        self.arranged += 1;
        self.heap.push(Due { at_ns, order: self.arranged, event });
    }

    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|due| (due.at_ns, due.event))
    }
}
