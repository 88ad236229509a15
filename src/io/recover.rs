//! A shard's start on a data directory: the newest whole snapshot, the records after it, and then the
//! journal goes on where they end.
//!
//! ```text
//!   shard threads   recover, each its own ──▶ Resume ─┐                    ┌─▶ driver
//!   starting thread                                   └─▶ stock, snapshots ┘
//! ```
//!
//! Not here: what records mean (the decider), files (`journal`).

use super::affinity::run_on_any_core;
use super::clock::Clock;
use super::config_offer::Offers;
use super::decider::Decider;
use super::journal::{
    AlignedBuffer, Chunk, DataDirectory, GroupReader, JournalError, Recovery, Resume, SegmentStock,
    SnapshotReader, SnapshotThread, SnapshotWriter, StockPort,
};
use super::parting::{Parting, load_rest};
use crate::config::JournalConfig;
use crate::shard::ShardId;
use crate::shard::recovery::Recovered;
use crate::shard::velocity::PassedTable;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

const NS_PER_MS: u64 = 1_000_000;
/// Chunks of a snapshot that are read before they are needed.
const CHUNKS_AHEAD: usize = 4;

/// Why a shard cannot start from its data directory.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The files.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Their contents.
    #[error("{}: {what}", .file.display())]
    Contents {
        /// The shard's folder.
        file: std::path::PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl RecoveryError {
    /// The process's exit code for it, after sysexits.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Journal(error) => error.exit_code(),
            Self::Contents { .. } => 65,
        }
    }
}

/// What a shard found.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// What was replayed.
    pub recovered: Recovered,
    /// Bytes of a commit that a crash cut short.
    pub torn_bytes: u64,
    /// Bytes of the snapshot that was used.
    pub snapshot_bytes: u64,
    /// Milliseconds that it took to load.
    pub snapshot_ms: u64,
    /// Milliseconds that the records after it took.
    pub replay_ms: u64,
    /// Snapshots that were passed over, each in a sentence: an alarm.
    pub rejected: Vec<String>,
    /// LSN of the last durable record: the journal goes on after it.
    pub last_lsn: u64,
    /// Whether the cards' lines are those of the process before, as they were.
    pub is_passed: bool,
    /// Why they are not, although they were passed: an alarm.
    pub not_passed: Option<String>,
}

/// A decider that knows what its shard knew, and where its journal goes on.
pub struct RecoveredShard<D> {
    /// What decides, as it was.
    pub decider: D,
    /// Where its journal goes on.
    pub resume: Resume,
    /// What was found.
    pub report: RecoveryReport,
}

/// Reads what a shard left. `make` makes the decider, again for each snapshot that turns out damaged.
///
/// # Errors
/// The files or their contents are damaged, or were made for something else.
pub fn recover<D: Decider>(
    make: impl Fn() -> D,
    directory: &DataDirectory,
    shard: ShardId,
) -> Result<RecoveredShard<D>, RecoveryError> {
    let mut recovery = directory.recover(u32::from(shard.0))?;
    let (decider, groups, mut report) = read_newest(make, directory, &mut recovery)?;
    let resume = recovery.resume(groups)?;
    report.torn_bytes = resume.torn_bytes();
    report.last_lsn = resume.last_lsn();
    Ok(RecoveredShard { decider, resume, report })
}

/// Goes on with what a shard has left in memory. What does not fit the journal is not used: all is read
/// from the disk then, as after any end of a process.
fn recover_parted<D: Decider>(
    make: impl Fn(Option<PassedTable>) -> D,
    (directory, shard): (&DataDirectory, ShardId),
    parting: Option<Parting>,
) -> Result<RecoveredShard<D>, RecoveryError> {
    let cold = || recover(|| make(None), directory, shard);
    let Some(parting) = parting else { return cold() };
    let mut parted = match go_on(&make, (directory, shard), parting) {
        Ok(parted) => parted,
        Err(error) => {
            let mut recovered = cold()?;
            recovered.report.not_passed = Some(error.to_string());
            return Ok(recovered);
        }
    };
    if cfg!(debug_assertions) {
        let mut recovery = directory.recover(u32::from(shard.0))?;
        let (mut read, ..) = read_newest(|| make(None), directory, &mut recovery)?;
        assert!(
            parted.decider.knows_as(&mut read),
            "Invariant: what was passed is what the disk makes"
        );
    }
    parted.report.is_passed = true;
    Ok(parted)
}

fn go_on<D: Decider>(
    make: impl Fn(Option<PassedTable>) -> D,
    (directory, shard): (&DataDirectory, ShardId),
    parting: Parting,
) -> Result<RecoveredShard<D>, RecoveryError> {
    let unfit = |what: String| contents(directory, what);
    let (mut report, mut clock) = (RecoveryReport::default(), Clock::new());
    let mut recovery = directory.recover(u32::from(shard.0))?;
    // Not read: it only says which part of the journal is kept for it.
    let _ = recovery.next_snapshot()?;
    let Parting { lsn, replay_from_lsn, table, mut rest, .. } = parting;
    let loading_ns = clock.now().mono_ns;
    let mut decider = make(Some(table));
    decider.begin_recovery();
    report.snapshot_bytes = load_rest(&mut decider, &mut rest).map_err(unfit)?;
    let replaying_ns = clock.now().mono_ns;
    let mut groups = recovery.groups(replay_from_lsn)?;
    while let Some(group) = groups.next()? {
        // All are known; of these only is learnt what was under way.
        let replayed = decider.replay(group.records, u64::from(group.count));
        replayed.map_err(|what| unfit(format!("LSN {}: {what}", group.first_lsn)))?;
    }
    if groups.last_lsn() != lsn {
        let found = groups.last_lsn();
        return Err(unfit(format!("it was left at LSN {lsn}, the journal ends at {found}")));
    }
    report.recovered = decider.recovered();
    report.snapshot_ms = (replaying_ns - loading_ns) / NS_PER_MS;
    report.replay_ms = (clock.now().mono_ns - replaying_ns) / NS_PER_MS;
    report.rejected.extend(recovery.rejected().iter().map(JournalError::to_string));
    let resume = recovery.resume(groups)?;
    report.last_lsn = resume.last_lsn();
    Ok(RecoveredShard { decider, resume, report })
}

/// Reads what a shard left by every way that there is: from each of its snapshots, and from the first
/// record if that is there still. All deciders must know the same; nothing is changed.
///
/// # Errors
/// The files or their contents are damaged, or were made for something else.
pub fn recover_each<D: Decider>(
    make: impl Fn() -> D,
    directory: &DataDirectory,
    shard: ShardId,
    mut each: impl FnMut(&D, &RecoveryReport),
) -> Result<(), RecoveryError> {
    let open = || directory.recover(u32::from(shard.0));
    let first = open()?;
    let ways = first.snapshots() + usize::from(first.has_first_record());
    for passed_over in 0..ways {
        let mut recovery = open()?;
        for _ in 0..passed_over {
            recovery.next_snapshot()?;
        }
        let (decider, _, report) = read_newest(&make, directory, &mut recovery)?;
        each(&decider, &report);
    }
    Ok(())
}

/// The newest snapshot that was not passed over, and the records after it.
fn read_newest<D: Decider>(
    make: impl Fn() -> D,
    directory: &DataDirectory,
    recovery: &mut Recovery,
) -> Result<(D, GroupReader, RecoveryReport), RecoveryError> {
    let (mut report, mut clock) = (RecoveryReport::default(), Clock::new());
    loop {
        let mut decider = make();
        decider.begin_recovery();
        let (mut from_lsn, mut known_lsn) = (1, 0);
        let loading_ns = clock.now().mono_ns;
        if let Some(mut reader) = recovery.next_snapshot()? {
            let mark = reader.mark();
            match load(&mut decider, &mut reader) {
                Ok(()) => (from_lsn, known_lsn) = (mark.replay_from_lsn, mark.lsn),
                Err(RecoveryError::Journal(damaged @ JournalError::Damaged { .. })) => {
                    report.rejected.push(damaged.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            }
            report.snapshot_bytes = reader.bytes_read();
        } else {
            // Nothing but what shards of another layout left.
            for mut reader in directory.carried()? {
                load(&mut decider, &mut reader)?;
                report.snapshot_bytes += reader.bytes_read();
            }
        }
        report.rejected.extend(recovery.rejected().iter().map(JournalError::to_string));
        let replaying_ns = clock.now().mono_ns;
        let mut groups = recovery.groups(from_lsn)?;
        while let Some(group) = groups.next()? {
            let known = (known_lsn + 1).saturating_sub(group.first_lsn).min(u64::from(group.count));
            let replayed = decider.replay(group.records, known);
            replayed
                .map_err(|what| contents(directory, format!("LSN {}: {what}", group.first_lsn)))?;
        }
        report.recovered = decider.recovered();
        report.snapshot_ms = (replaying_ns - loading_ns) / NS_PER_MS;
        report.replay_ms = (clock.now().mono_ns - replaying_ns) / NS_PER_MS;
        return Ok((decider, groups, report));
    }
}

fn load<D: Decider>(decider: &mut D, reader: &mut SnapshotReader) -> Result<(), RecoveryError> {
    let file = reader.path().to_owned();
    let unusable = |what: String| RecoveryError::Contents { file: file.clone(), what };
    decider.load_begin(reader.header()).map_err(unusable)?;
    let (chunks, read) = sync_channel(CHUNKS_AHEAD);
    let (give, spares) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || read_ahead(reader, &chunks, &spares));
        for chunk in read {
            let chunk = chunk?;
            decider.load(chunk.payload()).map_err(unusable)?;
            // The thread may be done already.
            let _ = give.send(chunk.into_spare());
        }
        Ok::<(), RecoveryError>(())
    })?;
    decider.load_end().map_err(unusable)
}

/// Reads and checks chunks on another core while the shard puts those before them into its tables.
fn read_ahead(
    reader: &mut SnapshotReader,
    chunks: &SyncSender<Result<Chunk, JournalError>>,
    spares: &Receiver<AlignedBuffer>,
) {
    run_on_any_core();
    loop {
        let spare = spares.try_recv().unwrap_or_else(|_| Chunk::spare());
        let Some(chunk) = reader.take_chunk(spare).transpose() else { return };
        let is_last = chunk.is_err();
        if chunks.send(chunk).is_err() || is_last {
            return;
        }
    }
}

fn contents(directory: &DataDirectory, what: String) -> RecoveryError {
    RecoveryError::Contents { file: directory.folder().to_owned(), what }
}

/// What a shard's driver needs to go on with its journal.
pub(crate) struct JournalParts {
    pub(crate) resume: Resume,
    pub(crate) stock: StockPort,
    pub(crate) writer: SnapshotWriter,
    /// UTC milliseconds of the latest record: no clock is behind it.
    pub(crate) wall_ms: u64,
}

/// What a process before left.
pub struct Kept {
    /// On the disk: all of it.
    pub directory: DataDirectory,
    /// In memory, where another process handed over: of the same state.
    pub partings: Vec<Parting>,
}

/// One shard's end while all recover.
pub(crate) struct RecoveryDoor {
    pub(crate) directory: Arc<DataDirectory>,
    pub(crate) tell: Sender<(usize, Resume, RecoveryReport)>,
    pub(crate) parts: Receiver<JournalParts>,
    /// What the shard of the process before left in memory.
    pub(crate) parting: Option<Parting>,
}

impl RecoveryDoor {
    /// Recovers a shard, and waits for what it goes on with. `None`: another shard could not recover.
    pub(crate) fn pass<D: Decider>(
        self,
        shard: ShardId,
        make: impl Fn(Option<PassedTable>) -> D,
    ) -> Result<Option<(D, JournalParts)>, RecoveryError> {
        let Self { directory, tell, parts, parting } = self;
        let recovered = recover_parted(make, (&directory, shard), parting)?;
        let RecoveredShard { decider, resume, report } = recovered;
        let _ = tell.send((usize::from(shard.0), resume, report));
        // Nobody waits for this shard any more.
        drop(tell);
        Ok(parts.recv().ok().map(|parts| (decider, parts)))
    }
}

/// What the process keeps for its journals.
pub(crate) struct Journals {
    /// What each shard found, by shard.
    pub(crate) reports: Vec<RecoveryReport>,
    pub(crate) stock: SegmentStock,
    pub(crate) _snapshots: SnapshotThread,
    /// Holds the lock.
    pub(crate) _directory: Arc<DataDirectory>,
}

/// The starting thread's end.
pub(crate) struct RecoveryHall {
    told: Receiver<(usize, Resume, RecoveryReport)>,
    parts: Vec<Sender<JournalParts>>,
    directory: Arc<DataDirectory>,
}

impl RecoveryHall {
    /// Doors for so many shards.
    pub(crate) fn new(kept: Kept, shards: usize) -> (Self, Vec<RecoveryDoor>) {
        let Kept { directory, mut partings } = kept;
        let directory = Arc::new(directory);
        let (tell, told) = channel();
        let (mut senders, mut doors) = (Vec::new(), Vec::new());
        for shard in 0..shards {
            let left = partings.iter().position(|it| usize::from(it.shard) == shard);
            let parting = left.map(|place| partings.swap_remove(place));
            let (sender, parts) = channel();
            senders.push(sender);
            let directory = Arc::clone(&directory);
            doors.push(RecoveryDoor { directory, tell: tell.clone(), parts, parting });
        }
        (Self { told, parts: senders, directory }, doors)
    }

    /// Waits until every shard has recovered, then lets them go on. `None`: one of them could not,
    /// and has told why.
    pub(crate) fn open(
        self,
        config: &JournalConfig,
        offers: &Offers,
    ) -> Result<Option<Journals>, JournalError> {
        let mut found: Vec<Option<(Resume, RecoveryReport)>> =
            self.parts.iter().map(|_| None).collect();
        for _ in 0..found.len() {
            let Ok((shard, resume, report)) = self.told.recv() else { return Ok(None) };
            if let Some(slot) = found.get_mut(shard) {
                *slot = Some((resume, report));
            }
        }
        let (resumes, reports): (Vec<_>, Vec<_>) = found.into_iter().flatten().unzip();
        let latest = reports.iter().map(|report| report.recovered.wall_ms).max();
        let latest_ms = latest.unwrap_or_default();
        self.directory.complete()?;
        if resumes.iter().all(Resume::has_two_snapshots) {
            self.directory.remove_carried()?;
        }
        let epoch = reports.iter().map(|report| report.recovered.epoch).max();
        offers.begin_after(epoch.unwrap_or_default());
        let stock = SegmentStock::start(config, &resumes)?;
        let snapshots = SnapshotThread::start(&self.directory, &resumes)?;
        for (shard, (resume, parts)) in resumes.into_iter().zip(&self.parts).enumerate() {
            let (stock, writer) = (stock.port(shard), snapshots.writer(shard));
            // A shard that is gone has told why.
            let wall_ms = latest_ms;
            let _ = parts.send(JournalParts { resume, stock, writer, wall_ms });
        }
        let _directory = self.directory;
        Ok(Some(Journals { reports, stock, _snapshots: snapshots, _directory }))
    }
}
