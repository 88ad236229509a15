//! A whole transaction through a shard, without sockets: 0200 in, 0200 to the issuer, its 0210 in,
//! 0210 out. The issuer's own work and the making of test messages are not timed.
//!
//! Batches of 16, as a driver hands them over: all are staged, then each is decided. What it stands
//! for: the CPU that the switch adds to a transaction beside the kernel's.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tapswitch::config::{Config, OutcomesConfig};
use tapswitch::shard::{
    AcquirerId, Action, ConnectionId, CryptogramKeys, IssuerId, Now, Outbox, Secrets, Shard,
    ShardId,
};
use tapswitch_protocol::{
    Dialect, FieldSet, FieldTable, FrameStep, Framing, MessageWriter, header,
};

const BATCH: usize = 16;

/// A purchase by phone of 473 bytes, as a frame: the size of real ones.
const REQUEST: &str = include_str!("vector/purchase.hex");

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.trim().bytes().collect();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("hexadecimal") as u8;
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Everything that the timed part needs, made beforehand.
struct Bench {
    shard: Shard,
    outbox: Outbox,
    dialect: &'static Dialect,
    header: [u8; 46],
    connection: ConnectionId,
    request: Vec<u8>,
    ranges: Ranges,
    cards: u64,
    sent: u64,
    now: Now,
    /// Entries of the outcome log, as the driver takes them.
    outcomes: Vec<u8>,
}

/// Where the fields that differ lie in the request.
struct Ranges {
    pan: core::ops::Range<usize>,
    track: core::ops::Range<usize>,
    time: core::ops::Range<usize>,
    stan: core::ops::Range<usize>,
    rrn: core::ops::Range<usize>,
}

fn put_number(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl Bench {
    fn new(cards: u64, log: bool) -> Self {
        let mut config = Config::embedded();
        config.switch.shards = 1;
        if log {
            config.outcomes = Some(OutcomesConfig { dir: "unused".into(), bytes_max: 1 << 30 });
        }
        for limit in &mut config.velocity.limits {
            // The path of an approval is measured, so no limit is reached.
            limit.count_max = None;
            limit.amount_minor_max = Some(1 << 40);
        }
        let secrets = Secrets {
            card_key: [7; 32],
            digest_key: [9; 16],
            par_key: [8; 32],
            cryptograms: CryptogramKeys::default(),
        };
        let mut shard = Shard::new(ShardId(0), &config, &secrets);
        let acquirer = AcquirerId(0);
        let connection = ConnectionId { shard: ShardId(0), acquirer, slot: 1, generation: 1 };
        shard.on_connection_open(connection);
        let frame = unhex(REQUEST);
        let Ok(FrameStep::Message { body, .. }) = Framing::Cups.next(&frame, 2_048) else {
            panic!("the vector is a frame");
        };
        let dialect = Dialect::cups();
        let mut table = FieldTable::default();
        let view = dialect.parse(body, &mut table).expect("the vector parses");
        let range = |field| view.range(field).expect("the vector has the field");
        let ranges = Ranges {
            pan: range(2),
            track: range(35),
            time: range(7),
            stan: range(11),
            rrn: range(37),
        };
        Self {
            shard,
            outbox: Outbox::new(),
            dialect,
            header: header::cups_header(b"00010000   ", b"03330000   "),
            connection,
            request: body.to_vec(),
            ranges,
            cards,
            sent: 0,
            outcomes: Vec::with_capacity(1 << 16),
            now: Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 },
        }
    }

    /// The next request: another card, another number.
    fn next_request(&mut self) -> Vec<u8> {
        self.sent += 1;
        let mut request = self.request.clone();
        // Cards spread by a full-period step, so that neighbours are far apart in the table.
        let card = self.sent.wrapping_mul(0x9E37_79B1) % self.cards;
        put_number(&mut request[self.ranges.pan.clone()][6..], card);
        let track = self.ranges.track.start;
        put_number(&mut request[track + 6..track + 19], card);
        put_number(&mut request[self.ranges.stan.clone()], self.sent % 1_000_000);
        let time = 101_000_000 + self.sent / 1_000_000;
        put_number(&mut request[self.ranges.time.clone()], time);
        put_number(&mut request[self.ranges.rrn.clone()], self.sent);
        request
    }

    /// What the issuer answers to a forwarded message.
    fn answer(&self, forward: &[u8]) -> Vec<u8> {
        let mut table = FieldTable::default();
        let view = self.dialect.parse(forward, &mut table).expect("a forward parses");
        let mut out = vec![0; 2_048];
        let mti = view.mti().response().expect("a request was forwarded");
        let mut writer = MessageWriter::new(self.dialect, mti, &mut out).expect("room");
        let added = FieldSet::of(&[15, 38, 39]);
        for field in view.present().and(self.dialect.echo).or(added) {
            match field {
                15 => writer.put(15, b"1122"),
                38 => writer.put(38, b"A00001"),
                39 => writer.put(39, b"00"),
                _ => writer.copy(field, &view),
            }
            .expect("the answer is written");
        }
        let bytes = writer.finish().expect("the answer ends");
        out.truncate(bytes);
        out
    }

    /// One batch; the time that the shard took.
    #[expect(clippy::disallowed_methods, reason = "a bench measures")]
    fn batch(&mut self) -> Duration {
        self.now.mono_ns += 100_000;
        self.now.wall_ms = 1_795_348_800_000 + self.now.mono_ns / 1_000_000;
        let requests: Vec<_> = (0..BATCH).map(|_| self.next_request()).collect();
        let began = Instant::now();
        let staged: [_; BATCH] =
            core::array::from_fn(|place| self.shard.stage(self.connection, &requests[place]));
        for (staged, request) in staged.into_iter().zip(&requests) {
            self.shard.on_request(self.now, staged, &self.header, request, &mut self.outbox);
        }
        self.shard.on_batch_end(self.now);
        let mut spent = began.elapsed();
        let answers = self.outbox.actions().iter().map(|action| match action {
            Action::Forward { issuer, bytes, .. } => {
                (*issuer, self.answer(self.outbox.bytes(bytes)))
            }
            other => panic!("every request is forwarded, not {other:?}"),
        });
        let answers: Vec<(IssuerId, Vec<u8>)> = answers.collect();
        assert_eq!(answers.len(), BATCH, "every request is forwarded");
        self.outbox.clear();
        let began = Instant::now();
        for (issuer, answer) in &answers {
            let acquirer = self.connection.acquirer;
            self.shard.on_issuer_response(self.now, *issuer, acquirer, answer, &mut self.outbox);
        }
        self.shard.on_deadline(self.now, &mut self.outbox);
        self.shard.on_batch_end(self.now);
        self.shard.take_outcomes(&mut self.outcomes);
        spent += began.elapsed();
        black_box(&self.outcomes);
        self.outcomes.clear();
        assert_eq!(self.outbox.actions().len(), BATCH, "every request is answered");
        black_box(self.outbox.actions());
        self.outbox.clear();
        spent
    }
}

fn transaction(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transaction");
    for (name, cards, log) in [
        ("1k cards", 1_000, false),
        ("1M cards", 1_000_000, false),
        ("1M cards, outcomes logged", 1_000_000, true),
    ] {
        let mut bench = Bench::new(cards, log);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let batches = iterations.div_ceil(BATCH as u64);
                let spent: Duration = (0..batches).map(|_| bench.batch()).sum();
                // Per transaction, whatever the iterations left of the last batch.
                spent.mul_f64(iterations as f64 / (batches * BATCH as u64) as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, transaction);
criterion_main!(benches);
