//! How long a shard takes from its snapshot and journal back to what it knew, by the path that a
//! start takes.
//!
//! Cards are drawn and counted by replaying records that the journal could hold, a snapshot of them
//! is written by the thread that writes snapshots, more records are appended to the journal, and all
//! is recovered from the files: the state must be the same. Small by default; for a large wallet's
//! cards and a minute of journal, in 9 GB of memory and as much on the disk:
//!
//! ```sh
//! RECOVERY_CARDS=100000000 RECOVERY_RECORDS=12000000 cargo bench --bench recovery
//! ```
//!
//! Snapshot and journal are written past the page cache, so they are read from the disk. Where
//! io_uring is refused nothing is measured.

use rustix::fs::statvfs;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use tapswitch::config::{Config, Durability, TransactionKind};
use tapswitch::io::engine::probe_io_uring;
use tapswitch::io::journal::{
    DataDirectory, Resume, SegmentStock, ShardJournal, SnapshotMark, SnapshotThread,
};
use tapswitch::io::recover::{RecoveredShard, recover};
use tapswitch::io::{Clock, Engine};
use tapswitch::shard::duplicate::{DuplicateKey, OriginalRecord, OriginalState};
use tapswitch::shard::journal_record::{Answered, Change, Record, Settlement};
use tapswitch::shard::snapshot::SnapshotStep;
use tapswitch::shard::totals::{Entry, Sort};
use tapswitch::shard::velocity::{Reservation, Velocity, VelocityTransaction};
use tapswitch::shard::{AcquirerId, CardKey, IssuerId, Secrets, Shard, ShardId};

/// 2026-01-01 00:00 UTC.
const NOW_MS: u64 = 1_767_225_600_000;
/// Cards with a line, and records after the snapshot, unless the environment says otherwise.
const CARDS: u64 = 200_000;
const RECORDS: u64 = 200_000;
/// How full the table is.
const PERCENT: u64 = 80;
/// Records that become durable together or not at all.
const BATCH: u64 = 64;
/// Room on the disk that a card and a record take, with segments that lie ready.
const CARD_BYTES: u64 = 80;
const RECORD_BYTES: u64 = 160;
const SPARE_BYTES: u64 = 1 << 30;
/// Bytes of a snapshot that are made at once, as in the switch.
const STEP_BYTES: usize = 131_072;
/// A tap at a gate: two counters of the shipped profile.
const TAP: VelocityTransaction = VelocityTransaction {
    amount_minor: 400,
    iin: 622_848_000,
    currency: 156,
    mcc: 4_111,
    entry_mode: 7,
    transaction_type: 0,
    kind: TransactionKind::Purchase,
    pin_present: false,
    qr: None,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[expect(clippy::print_stdout, reason = "the figures")]
fn main() -> Outcome<()> {
    if let Err(reason) = probe_io_uring() {
        println!("recovery: nothing measured, io_uring is refused: {reason:?}");
        return Ok(());
    }
    let (cards, records) = (number("RECOVERY_CARDS", CARDS)?, number("RECOVERY_RECORDS", RECORDS)?);
    let folder = Folder::new(2 * (cards * CARD_BYTES + records * RECORD_BYTES + SPARE_BYTES))?;
    let mut config = Config::embedded();
    config.switch.shards = 1;
    config.velocity.lines = (cards * 100 / PERCENT).next_multiple_of(4) as usize;
    config.journal.durability = Durability::Strict;
    (config.journal.alarm_free_percent, config.journal.refuse_free_percent) = (0, 0);
    let secrets = Secrets::of_card_key([1; 32]);
    let make = || Shard::new(ShardId(0), &config, &secrets);
    let before = write(&config, make(), &folder.0, (cards, records))?;

    let directory = DataDirectory::open(&folder.0, 1, [0; 8], b"bench")?;
    let mut clock = Clock::new();
    let began_ns = clock.now().mono_ns;
    let RecoveredShard { decider, report, .. } = recover(make, &directory, ShardId(0))?;
    let all_s = seconds(clock.now().mono_ns - began_ns);
    let (load_s, replay_s) = (report.snapshot_ms as f64 / 1e3, report.replay_ms as f64 / 1e3);
    let replayed = report.recovered.records;
    println!(
        "recovered: {cards} cards of a snapshot of {:.2} GB in {load_s:.2} s, {replayed} records in \
         {replay_s:.2} s, memory in {:.2} s, {all_s:.2} s in all",
        report.snapshot_bytes as f64 / 1e9,
        all_s - load_s - replay_s,
    );
    assert_eq!(replayed, records, "every record after the snapshot is replayed");
    assert_eq!(decider.state_hash(), before, "the state is what it was");
    println!("recovered: the state is what it was ({before:016x})");
    Ok(())
}

/// Fills a shard and writes all of it down. Returns its digest.
#[expect(clippy::print_stdout, reason = "the figures")]
fn write(
    config: &Config,
    mut shard: Shard,
    folder: &Path,
    (cards, records): (u64, u64),
) -> Outcome<u64> {
    let directory = DataDirectory::open(folder, 1, [0; 8], b"bench")?;
    let recovery = directory.recover(0)?;
    let groups = recovery.groups(1)?;
    let resumes: [Resume; 1] = [recovery.resume(groups)?];
    let snapshots = SnapshotThread::start(&directory, &resumes)?;
    let stock = SegmentStock::start(&config.journal, &resumes)?;
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
    let journal = runtime.block_on(async {
        ShardJournal::new(Engine::TokioUring, &config.journal, &resumes[0], stock.port(0))
    })?;
    let mut files = Files { runtime, journal, clock: Clock::new() };
    let mut source = Source::new(config);

    // A snapshot knows no more than the journal: this record is in both.
    let first = source.records(0..1, |number| number).to_vec();
    shard.begin_recovery();
    shard.replay(&first, 0)?;
    files.append(&first, 1);
    files.settle();
    let began_ns = files.clock.now().mono_ns;
    for from in (1..cards).step_by(BATCH as usize) {
        shard.replay(source.records(from..(from + BATCH).min(cards), |number| number), 0)?;
    }
    let took_s = seconds(files.clock.now().mono_ns - began_ns);
    println!("enrolled: {cards} cards, {:.0} records replayed a second", cards as f64 / took_s);

    let (snapshot_s, longest_us) = take_snapshot(&mut shard, &snapshots, &mut files.clock);
    println!("snapshot: written in {snapshot_s:.2} s, longest step {longest_us} us");

    let began_ns = files.clock.now().mono_ns;
    let end = cards + records;
    for from in (cards..end).step_by(BATCH as usize) {
        let until = (from + BATCH).min(end);
        // Cards at random among those that are there.
        let bytes = source.records(from..until, |number| mix(number, 7) % cards);
        shard.replay(bytes, 0)?;
        files.append(bytes, (until - from) as u32);
    }
    files.settle();
    let (took_s, counters) =
        (seconds(files.clock.now().mono_ns - began_ns), files.journal.counters());
    let rate = records as f64 / took_s;
    println!(
        "appended: {records} records, {} bytes, {rate:.0} a second; a commit p50 {} us",
        counters.bytes,
        counters.commit_us.value_at_quantile(0.5),
    );
    Ok(shard.state_hash())
}

/// Through the thread that writes them. Returns seconds, and microseconds of the longest step.
fn take_snapshot(shard: &mut Shard, snapshots: &SnapshotThread, clock: &mut Clock) -> (f64, u64) {
    let mut writer = snapshots.writer(0);
    let (began, mut longest_ns) = (clock.now(), 0);
    let header = shard.snapshot_begin(began);
    assert!(writer.begin(SnapshotMark { lsn: 1, replay_from_lsn: 2 }, &header), "the first one");
    let (mut bytes, mut step) = (Vec::new(), SnapshotStep::More);
    while step == SnapshotStep::More {
        bytes.clear();
        let since_ns = clock.now().mono_ns;
        step = shard.snapshot_next(&mut bytes, STEP_BYTES);
        longest_ns = longest_ns.max(clock.now().mono_ns - since_ns);
        assert_ne!(step, SnapshotStep::Abandoned, "nothing changes meanwhile");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(writer.room().min(rest.len()));
            match some {
                // The disk is behind.
                [] => std::thread::yield_now(),
                some => writer.push(some),
            }
            rest = others;
        }
    }
    assert!(writer.finish(1), "its record is durable");
    while writer.take_end().is_none() {
        std::thread::yield_now();
    }
    (seconds(clock.now().mono_ns - began.mono_ns), longest_ns / 1_000)
}

/// A journal and its runtime.
struct Files {
    runtime: tokio_uring::Runtime,
    journal: ShardJournal,
    clock: Clock,
}

impl Files {
    fn append(&mut self, records: &[u8], count: u32) {
        let Self { runtime, journal, clock } = self;
        if !journal.has_room(records.len()) {
            runtime.block_on(async {
                while !journal.has_room(records.len()) {
                    journal.pump(clock.now().mono_ns);
                    tokio_uring::no_op().await.expect("a no-op");
                }
            });
        }
        journal.append(records, count);
    }

    /// Waits until all is durable.
    fn settle(&mut self) {
        let Self { runtime, journal, clock } = self;
        runtime.block_on(async {
            journal.pump(clock.now().mono_ns);
            while !journal.is_idle() {
                tokio_uring::no_op().await.expect("a no-op");
                journal.pump(clock.now().mono_ns);
            }
        });
    }
}

/// Makes records: approved taps.
struct Source {
    reservation: Reservation,
    bytes: Vec<u8>,
}

impl Source {
    fn new(config: &Config) -> Self {
        let mut velocity = Velocity::new(&config.velocity, 1 << 10);
        let judged = velocity.judge(NOW_MS, CardKey([1; 16]), &TAP);
        let reservation = judged.expect("the table has room");
        Self { reservation, bytes: vec![0; BATCH as usize * 1_024] }
    }

    fn records(&mut self, numbers: std::ops::Range<u64>, card: impl Fn(u64) -> u64) -> &[u8] {
        let mut at = 0;
        for number in numbers {
            let original = OriginalRecord {
                state: OriginalState::Approved,
                response_code: *b"00",
                issuer: IssuerId(3),
                card: CardKey(spread(card(number), 1)),
                amount_minor: TAP.amount_minor,
                issuer_stan: (number % 999_999) as u32 + 1,
                issuer_transmission_time: 101_120_000,
                reservation: self.reservation,
                sort: Sort::Debit,
                voids: None,
            };
            let answered = Answered {
                key: DuplicateKey(spread(number, 3)),
                fingerprint: mix(number, 5),
                original: &original,
                settlement: Settlement::Count { amount_minor: TAP.amount_minor, pin: false },
                entry: Some(Entry {
                    acquirer: AcquirerId(0),
                    issuer: IssuerId(3),
                    sort: Sort::Debit,
                    is_reversal: false,
                    amount_minor: TAP.amount_minor,
                }),
                answer: b"\x26\x06123456",
            };
            let record = Record { wall_ms: NOW_MS, change: Change::Answered(answered) };
            at += record.encode(&mut self.bytes[at..]);
        }
        &self.bytes[..at]
    }
}

/// Spread as a cipher does, but quickly.
fn spread(number: u64, seed: u64) -> [u8; 16] {
    (u128::from(mix(number, seed)) | u128::from(mix(number, seed << 40)) << 64).to_le_bytes()
}

/// SplitMix64.
fn mix(number: u64, seed: u64) -> u64 {
    let mixed = number.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// A folder among the system's temporary ones, removed at the end.
struct Folder(PathBuf);

impl Folder {
    /// Refuses when the disk has less room than `bytes`.
    fn new(bytes: u64) -> Outcome<Self> {
        let temporary = std::env::temp_dir();
        let stat = statvfs(&temporary)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < bytes {
            let there = temporary.display();
            return Err(format!("{free} bytes are free in {there}, {bytes} are needed").into());
        }
        Ok(Self(temporary.join(format!("tapswitch-recovery-{}", std::process::id()))))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn number(name: &str, otherwise: u64) -> Outcome<u64> {
    match std::env::var(name) {
        Ok(text) => Ok(text.parse::<u64>().map_err(|error| format!("{name}: {error}"))?.max(BATCH)),
        Err(_) => Ok(otherwise),
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
