//! What durability costs on the disk of this machine: one commit by its size, and records that
//! arrive at a given rate, with the groups that form by themselves.
//!
//! `journal/arrivals/N` is the mean time from a record's arrival to its being durable when N a
//! second arrive; percentiles and records per commit are printed beside it. Segments are prepared
//! meanwhile, as in the switch. `journal/read` is a start after them. `journal/raw` is the disk alone: one 4 KiB write that is durable
//! when it returns, past the page cache and through it. Where io_uring is refused only that is
//! measured.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hdrhistogram::Histogram;
use rustix::fs::OFlags;
use std::fs::{self, OpenOptions};
use std::future::poll_fn;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tapswitch::config::{Config, Durability, JournalConfig};
use tapswitch::io::engine::probe_io_uring;
use tapswitch::io::journal::{
    BLOCK_BYTES, DataDirectory, JournalError, Resume, SegmentStock, ShardJournal,
};
use tapswitch::io::{Clock, Engine};

/// A record as the switch writes them, about.
const RECORD: [u8; 96] = [0x5a; 96];
/// Arrivals a second.
const RATES: [u64; 4] = [10_000, 50_000, 100_000, 200_000];
/// Records of one commit: 4, 16 and 64 KiB with its header.
const SIZES: [usize; 3] = [42, 170, 682];
/// `O_DSYNC` of Linux on most processors.
const O_DSYNC: i32 = 0o10_000;

/// A journal on the disk that the build is on, and its runtime.
struct Bench {
    runtime: tokio_uring::Runtime,
    journal: ShardJournal,
    clock: Clock,
    stock: Option<SegmentStock>,
    folder: PathBuf,
    directory: DataDirectory,
}

impl Bench {
    fn new() -> Result<Self, JournalError> {
        let folder = folder("journal");
        let directory = DataDirectory::open(&folder, 1, [0; 8], b"bench")?;
        let recovery = directory.recover(0)?;
        let groups = recovery.groups(1)?;
        let resumes: [Resume; 1] = [recovery.resume(groups)?];
        let config = JournalConfig {
            durability: Durability::Strict,
            alarm_free_percent: 0,
            refuse_free_percent: 0,
            ..Config::embedded().journal
        };
        let stock = SegmentStock::start(&config, &resumes)?;
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).expect("a runtime");
        let journal = runtime.block_on(async {
            ShardJournal::new(Engine::TokioUring, &config, &resumes[0], stock.port(0))
        })?;
        let (stock, clock) = (Some(stock), Clock::new());
        Ok(Self { runtime, journal, clock, stock, folder, directory })
    }

    /// One commit after the other; the time of so many.
    fn commits(&mut self, iterations: u64, records: usize) -> Duration {
        let Self { runtime, journal, clock, .. } = self;
        runtime.block_on(async {
            let began_ns = clock.now().mono_ns;
            for _ in 0..iterations {
                // Until the next segment lies ready: that is part of the price.
                while !journal.has_room(records * RECORD.len()) {
                    tokio_uring::no_op().await.expect("a no-op");
                }
                (0..records).for_each(|_| _ = journal.append(&RECORD, 1));
                journal.pump(clock.now().mono_ns);
                poll_fn(|context| journal.poll_progress(context)).await;
                journal.pump(clock.now().mono_ns);
            }
            Duration::from_nanos(clock.now().mono_ns - began_ns)
        })
    }

    /// Lets so many records arrive at a rate, and returns how long all of them waited together.
    fn arrivals(
        &mut self,
        iterations: u64,
        rate: u64,
        latency_ns: &mut Histogram<u64>,
    ) -> Duration {
        let Self { runtime, journal, clock, .. } = self;
        runtime.block_on(async {
            let began_ns = clock.now().mono_ns;
            let due_ns = |record: u64| began_ns + record * 1_000_000_000 / rate;
            let first = journal.last_lsn();
            let (mut appended, mut durable, mut waited_ns) = (0, 0, 0);
            while durable < iterations {
                let now_ns = clock.now().mono_ns;
                while appended < iterations
                    && due_ns(appended) <= now_ns
                    && journal.has_room(RECORD.len())
                {
                    journal.append(&RECORD, 1);
                    appended += 1;
                }
                journal.pump(now_ns);
                let until = journal.durable_lsn() - first;
                for waited in (durable..until).map(|record| now_ns - due_ns(record)) {
                    latency_ns.saturating_record(waited);
                    waited_ns += waited;
                }
                durable = until;
                tokio_uring::no_op().await.expect("a no-op");
            }
            Duration::from_nanos(waited_ns)
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Its thread writes to the folder.
        self.stock.take();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a start does with a journal: every group read and checked, and the rest of its last segment
/// looked through.
fn read(criterion: &mut Criterion) {
    if probe_io_uring().is_err() {
        return;
    }
    const COMMITS: u64 = 400;
    let mut bench = Bench::new().expect("a journal");
    bench.commits(COMMITS, SIZES[2]);
    let mut group = criterion.benchmark_group("journal/read");
    let records = COMMITS * SIZES[2] as u64;
    group.throughput(Throughput::Elements(records));
    group.bench_function(format!("{records} records"), |bencher| {
        bencher.iter(|| {
            let recovery = bench.directory.recover(0).expect("a shard");
            let mut groups = recovery.groups(1).expect("groups");
            let mut count = 0;
            while let Some(group) = groups.next().expect("no damage") {
                count += u64::from(group.count);
            }
            assert_eq!(count, records);
        });
    });
    group.finish();
}

fn folder(name: &str) -> PathBuf {
    let name = format!("bench-{name}-{}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn commits(criterion: &mut Criterion) {
    if probe_io_uring().is_err() {
        return;
    }
    let mut bench = Bench::new().expect("a journal");
    let mut group = criterion.benchmark_group("journal/commit");
    for records in SIZES {
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{records} records")),
            |bencher| {
                bencher.iter_custom(|iterations| bench.commits(iterations, records));
            },
        );
    }
    group.finish();
}

fn arrivals(criterion: &mut Criterion) {
    if probe_io_uring().is_err() {
        return;
    }
    let mut group = criterion.benchmark_group("journal/arrivals");
    for rate in RATES {
        let mut bench = Bench::new().expect("a journal");
        let mut latency_ns = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds");
        group.bench_function(BenchmarkId::from_parameter(format!("{rate} a second")), |bencher| {
            bencher.iter_custom(|iterations| bench.arrivals(iterations, rate, &mut latency_ns));
        });
        report(rate, &bench.journal, &latency_ns);
    }
    group.finish();
}

#[expect(clippy::print_stderr, reason = "figures that criterion has no place for")]
fn report(rate: u64, journal: &ShardJournal, latency_ns: &Histogram<u64>) {
    let counters = journal.counters();
    if counters.commits == 0 {
        // Not asked for.
        return;
    }
    let us = |quantile| latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    eprintln!(
        "{rate} records a second: durable after p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us; {:.1} \
         records a commit; a commit p50 {} us, p99 {} us; {} of {} commits above 10 ms",
        us(0.5),
        us(0.99),
        us(0.999),
        counters.records as f64 / counters.commits.max(1) as f64,
        counters.commit_us.value_at_quantile(0.5),
        counters.commit_us.value_at_quantile(0.99),
        counters.stalls,
        counters.commits,
    );
}

/// The disk alone, into a file full of zeros.
fn raw(criterion: &mut Criterion) {
    const FILE_BYTES: usize = 16 << 20;
    let folder = folder("raw");
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("zeros");
    fs::write(&path, vec![0; FILE_BYTES]).expect("a file");
    let written = OpenOptions::new().write(true).open(&path).and_then(|file| file.sync_all());
    written.expect("it is durable");
    let mut group = criterion.benchmark_group("journal/raw");
    let direct = OFlags::DIRECT.bits() as i32;
    for (name, flags) in [("direct", O_DSYNC | direct), ("buffered", O_DSYNC)] {
        let Some(file) = open(&path, flags) else { continue };
        let memory = vec![0x5a; 2 * BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        let block = &memory[start..start + BLOCK_BYTES];
        let mut offset = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                file.write_all_at(block, offset as u64).expect("a write");
                offset = (offset + BLOCK_BYTES) % FILE_BYTES;
            });
        });
    }
    group.finish();
    fs::remove_dir_all(folder).expect("it is ours");
}

/// `None`: the file system refuses.
fn open(path: &Path, flags: i32) -> Option<fs::File> {
    OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
}

criterion_group!(benches, commits, arrivals, read, raw);
criterion_main!(benches);
