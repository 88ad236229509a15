//! What reading one request costs: MTI, bitmap, every length and every digit checked, offsets
//! recorded. This is the first step of each message's way through a shard.

mod vector;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tapswitch_protocol::{Dialect, FieldTable, FrameStep, Framing};

/// A chip card's balance inquiry as the UnionPay simulator sends it (29 fields, 482 bytes), beside
/// the existing Rust parser, which validates less. Goal: at most 300 ns, at least 40 times faster.
fn cups_beside_iso8583_rs(criterion: &mut Criterion) {
    let message = vector::cups_inquiry();
    let mut group = criterion.benchmark_group("parse/cups-test03");
    group.throughput(Throughput::Bytes(message.len() as u64));
    let mut table = FieldTable::default();
    group.bench_function("tapswitch", |bencher| {
        let dialect = Dialect::cups();
        bencher.iter(|| dialect.parse(black_box(&message), &mut table).is_ok());
    });
    group.bench_function("iso8583_rs", |bencher| {
        let spec = iso8583_rs::iso8583::iso_spec::spec("");
        let mut message = message.clone();
        bencher.iter(|| spec.parse(black_box(&mut message)).is_ok());
    });
    group.finish();
}

/// Eight different CUPS messages in turn: what the same walk costs when the branch predictor cannot
/// learn one message by heart. The time is for all eight.
fn cups_in_turn(criterion: &mut Criterion) {
    let names = ["01", "02", "03", "04", "05", "06", "07", "10"];
    let messages =
        names.map(|name| vector::bytes("cups_unionpay_switch", &format!("cups-test{name}")));
    let mut group = criterion.benchmark_group("parse/cups-in-turn");
    group.throughput(Throughput::Elements(messages.len() as u64));
    let mut table = FieldTable::default();
    group.bench_function("tapswitch", |bencher| {
        let dialect = Dialect::cups();
        bencher.iter(|| {
            messages.iter().all(|message| dialect.parse(black_box(message), &mut table).is_ok())
        });
    });
    group.finish();
}

/// A framed purchase by phone as it stands in a connection's read buffer (24 fields, 473 bytes):
/// frame, header, message.
fn cups_frame(criterion: &mut Criterion) {
    let frame = vector::bytes("cups_constructed", "c-0200-nfc-nopin");
    let mut group = criterion.benchmark_group("parse/cups-frame");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    let mut table = FieldTable::default();
    group.bench_function("tapswitch", |bencher| {
        let dialect = Dialect::cups();
        bencher.iter(|| match Framing::Cups.next(black_box(&frame), 2048) {
            Ok(FrameStep::Message { body, .. }) => dialect.parse(body, &mut table).is_ok(),
            _ => false,
        });
    });
    group.finish();
}

/// The other dialects: hexadecimal bitmap (an acquirer of the 1987 edition) and packed decimal (a
/// terminal).
fn other_dialects(criterion: &mut Criterion) {
    let cases = [
        ("iso87-ascii", vector::iso87_reversal(), Dialect::iso87_ascii()),
        ("unionpay-pos", vector::pos_purchase(), Dialect::unionpay_pos()),
    ];
    for (name, message, dialect) in cases {
        let mut group = criterion.benchmark_group(format!("parse/{name}"));
        group.throughput(Throughput::Bytes(message.len() as u64));
        let mut table = FieldTable::default();
        assert!(dialect.parse(&message, &mut table).is_ok(), "a vector of {name}");
        group.bench_function("tapswitch", |bencher| {
            bencher.iter(|| dialect.parse(black_box(&message), &mut table).is_ok());
        });
        group.finish();
    }
}

criterion_group!(parse, cups_beside_iso8583_rs, cups_in_turn, cups_frame, other_dialects);
criterion_main!(parse);
