//! What a running switch and the process that takes its place say to each other, and what both must
//! have in common.
//!
//! ```text
//!   successor (`run --take-over`)            running switch
//!     POST /take-over ──────────────────────▶ may he? a socket for him alone
//!     Terms ────────────────────────────────▶ do they fit? Refused, and serves on
//!            ◀──────────────── Passed + descriptor, for each socket; AllPassed
//!            ◀──────────── TablesFollow, before it, if cards' tables can be passed
//!     makes its tables, if they do not        serves on
//!     Prepared ─────────────────────────────▶ accepts no more, signs off, answers, closes its journal
//!            ◀──── Passed + descriptor, for each shard's table and the rest; LetGo  and its data directory
//!     recovers, serves                        waits
//!     Serving ──────────────────────────────▶ ends
//! ```
//!
//! Whoever connects after Prepared waits with the kernel: the sockets are open in one of the two all the
//! while. A successor that dies before LetGo changes nothing; one that dies after it is replaced by the
//! switch that let go, which starts again on what it left.
//!
//! Not here: either side (`running`, `take_over`), the line (`io::hand_over`).

pub(super) mod running;

use crate::config::{Config, Durability};
use crate::io::journal::FORMAT_VERSION;
use crate::memory::TableMemory;
use crate::shard::snapshot;
use crate::shard::state_layout::StateLayout;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Version of what is said here.
const PROTOCOL: u32 = 1;
/// Of how a table of cards lies in memory: where a card's line is, and what its words are.
const TABLE_VERSION: u32 = 1;

/// What a process that wants to take over says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromSuccessor {
    /// First: what it is.
    Terms(Box<Terms>),
    /// It has all that it needs but the data directory.
    Prepared,
    /// It takes requests.
    Serving,
}

/// What the running switch says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromRunning {
    /// It serves on. Why, in a sentence.
    Refused(String),
    /// A socket that it listens at, or memory, comes with this.
    Passed(Passed),
    /// The cards' tables will be passed when it lets go: no others need to be made.
    TablesFollow,
    /// These were all.
    AllPassed,
    /// It holds nothing any more.
    LetGo(LetGo),
}

/// What a descriptor is for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Passed {
    /// Acquirers, or an issuer.
    Listener {
        /// As in `acquirer.cups`.
        name: String,
        /// As it is configured.
        configured: SocketAddr,
    },
    /// Operators of this machine.
    OperatorsSocket(PathBuf),
    /// Operators who speak HTTP.
    OperatorsHttp(SocketAddr),
    /// The cards' lines of a shard, in memory.
    Table(TableIs),
    /// All else that this shard knows, in memory; after its lines.
    Rest,
}

/// What a shard has left in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableIs {
    /// Which.
    pub(super) shard: u8,
    /// LSN of its last record.
    pub(super) lsn: u64,
    /// From here on records say which requests were under way.
    pub(super) replay_from_lsn: u64,
    /// Words of its table.
    pub(super) words: usize,
    /// Lines that hold a card.
    pub(super) occupied: usize,
}

/// How a switch has let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LetGo {
    /// Its process.
    pub(super) pid: u32,
    /// Of its program.
    pub(super) version: String,
    /// By shard, the LSN of the last durable record: the successor goes on after it.
    pub(super) durable_lsns: Vec<u64>,
    /// Messages owed to issuers, which the successor sends.
    pub(super) owed: u64,
}

/// What both must have in common, for the one to go on where the other stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    protocol: u32,
    pid: u32,
    version: String,
    /// Of journal files, and of snapshots.
    formats: (u32, u32),
    /// Which data directory; none: nothing is kept.
    data_dir: Option<FolderIs>,
    /// Tells one card key from another.
    key_check: [u8; 4],
    layout: StateLayout,
    /// How cards' tables lie in memory that can be passed; none: they do not, or it knows nothing of it.
    #[serde(default)]
    table: Option<u32>,
}

/// A folder, whatever it is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FolderIs {
    path: PathBuf,
    /// Device and number in it; `None`: it is not there.
    identity: Option<(u64, u64)>,
}

impl PartialEq for FolderIs {
    fn eq(&self, other: &Self) -> bool {
        self.identity.is_some() && self.identity == other.identity
    }
}

impl Eq for FolderIs {}

impl Terms {
    /// Of a process with this configuration.
    pub(super) fn of(config: &Config, key_check: [u8; 4]) -> Self {
        let kept = config.journal.durability != Durability::Off;
        let folder = config.journal.data_dir.as_ref().filter(|_| kept);
        let data_dir = folder.map(|path| {
            let metadata = std::fs::metadata(path).ok();
            FolderIs { path: path.clone(), identity: metadata.map(|it| (it.dev(), it.ino())) }
        });
        Self {
            protocol: PROTOCOL,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            formats: (FORMAT_VERSION, snapshot::VERSION),
            data_dir,
            key_check,
            layout: StateLayout::of(config),
            table: (config.velocity.table == TableMemory::Shared).then_some(TABLE_VERSION),
        }
    }

    /// Whether a successor of those terms, which fits, can be passed the tables of cards as they are.
    pub(super) fn passes_tables_to(&self, successor: &Self) -> bool {
        self.table.is_some() && self.table == successor.table && self.layout == successor.layout
    }

    /// Why a process of these terms, which runs, cannot hand over to one of those; nothing: it can.
    pub(super) fn misfits(&self, successor: &Self) -> Vec<String> {
        let mut misfits = Vec::new();
        if self.protocol != successor.protocol {
            let (its, own) = (successor.protocol, self.protocol);
            return vec![format!("it hands over in another way (version {its}, here {own})")];
        }
        match (&self.data_dir, &successor.data_dir) {
            (None, _) => misfits.push(
                "the running switch has no data directory: what it knows would end with it".into(),
            ),
            (Some(_), None) => misfits.push("it has no data directory".to_owned()),
            (Some(own), Some(its)) if own != its => {
                let (own, its) = (own.path.display(), its.path.display());
                misfits.push(format!("data directory: {own} here, {its} there"));
            }
            (Some(_), Some(_)) => {}
        }
        if self.key_check != successor.key_check {
            misfits.push("it has another card key".to_owned());
        }
        if self.formats != successor.formats {
            let ((own, own_snapshot), (its, its_snapshot)) = (self.formats, successor.formats);
            misfits.push(format!(
                "format of journal and snapshots: {own} and {own_snapshot} here, {its} and \
                 {its_snapshot} there"
            ));
        }
        if self.layout != successor.layout {
            let changes = self.layout.changes_to(&successor.layout);
            misfits.extend(changes.into_iter().filter(|it| !it.ends_with("is carried over")));
        }
        misfits
    }

    /// What an operator is told who wanted it all the same.
    fn refusal(&self, misfits: &[String]) -> String {
        format!(
            "{}; the running switch (pid {}) serves on. What cannot be handed over needs a cold start: \
             `tapswitch ctl drain`, which signs off and finishes, then `tapswitch run` without \
             --take-over; connections are refused in between",
            misfits.join("; "),
            self.pid
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn config() -> Config {
        let mut config = Config::embedded();
        config.journal.durability = Durability::Strict;
        config.journal.data_dir = Some(std::env::temp_dir());
        config
    }

    fn misfits(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut other = config();
        change(&mut other);
        Terms::of(&config(), KEY).misfits(&Terms::of(&other, KEY))
    }

    #[test]
    fn what_lasts_must_be_the_same() {
        assert_eq!(misfits(|_| {}), [""; 0]);
        // By whatever name.
        assert_eq!(
            misfits(|it| it.journal.data_dir = Some(std::env::temp_dir().join("."))),
            [""; 0]
        );
        let shards = config().switch.shards;
        let other = misfits(|it| it.switch.shards = shards + 1);
        assert!(other[0].starts_with(&format!("shards: {shards} before, ")), "{other:?}");
        let counter = misfits(|it| it.velocity.counters.truncate(1));
        assert!(counter.iter().any(|it| it.ends_with("is gone and left behind")), "{counter:?}");
        assert!(!counter.iter().any(|it| it.contains("carried over")), "{counter:?}");
        // What is kept names them by their places.
        let fewer = misfits(|it| it.acquirers.truncate(1));
        assert_eq!(fewer, ["acquirer iso87-ascii is gone"]);
        let nowhere = misfits(|it| it.journal.data_dir = Some("/nonexistent".into()));
        assert!(nowhere[0].starts_with("data directory: "), "{nowhere:?}");
        let none = misfits(|it| it.journal.durability = Durability::Off);
        assert_eq!(none, ["it has no data directory"]);
    }

    #[test]
    fn limits_listeners_and_timers_may_be_others() {
        let allowed = misfits(|it| {
            it.velocity.limits.clear();
            it.acquirers[0].listen.set_port(1_234);
            it.switch.drain_ms += 1;
            it.journal.durability = Durability::Relaxed { ms: 5 };
        });
        assert_eq!(allowed, [""; 0]);
    }

    #[test]
    fn tables_are_passed_where_both_have_the_same_that_can_be() {
        let with = |table, change: fn(&mut Config)| {
            let mut config = config();
            config.velocity.table = table;
            change(&mut config);
            Terms::of(&config, KEY)
        };
        let (shared, private) = (TableMemory::Shared, TableMemory::Private);
        let running = with(shared, |_| {});
        assert!(running.passes_tables_to(&with(shared, |it| it.velocity.limits.clear())));
        assert!(!running.passes_tables_to(&with(private, |_| {})));
        assert!(!with(private, |_| {}).passes_tables_to(&running));
        assert!(!running.passes_tables_to(&with(shared, |it| it.velocity.lines *= 2)));
        // Of a version that knows nothing of it.
        let mut old = serde_json::to_value(&running).unwrap();
        old.as_object_mut().unwrap().remove("table").unwrap();
        assert!(!running.passes_tables_to(&serde_json::from_value(old).unwrap()));
    }

    #[test]
    fn a_switch_that_keeps_nothing_hands_nothing_over() {
        let running = Terms::of(&Config::embedded(), KEY);
        let misfits = running.misfits(&Terms::of(&config(), KEY));
        assert!(misfits[0].starts_with("the running switch has no data directory"), "{misfits:?}");
    }

    #[test]
    fn another_key_format_or_protocol_is_refused() {
        let running = Terms::of(&config(), KEY);
        let other_key = Terms::of(&config(), [1, 2, 3, 5]);
        assert_eq!(running.misfits(&other_key), ["it has another card key"]);
        let mut newer = running.clone();
        newer.formats.1 += 1;
        assert_eq!(running.misfits(&newer).len(), 1);
        newer.protocol += 1;
        let misfits = running.misfits(&newer);
        assert!(misfits[0].starts_with("it hands over in another way"), "{misfits:?}");
        let said = running.refusal(&misfits);
        assert!(said.contains("serves on") && said.contains("ctl drain"), "{said}");
    }
}
