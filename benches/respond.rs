//! What answering costs: a response is the request's echoed fields bit for bit, its own MTI and
//! bitmap, and what the answer adds. This is the last step of each message's way through a shard,
//! and all that a bank simulator writes.

mod vector;

use criterion::{Criterion, criterion_group, criterion_main};
use iso8583_rs::iso8583::iso_spec::{self, IsoMsg};
use std::hint::black_box;
use tapswitch_protocol::{Addition, Dialect, FieldTable, MessageWriter, Mti, respond};

const OUTPUT_BYTES: usize = 1024;

/// What an approval adds: DE 38 and 39.
const APPROVAL: [Addition<'static>; 2] =
    [Addition { field: 38, value: b"123456" }, Addition { field: 39, value: b"00" }];

/// Parsing a chip card's balance inquiry (29 fields, 482 bytes) and writing its response, beside the
/// existing Rust library doing the same: unpack, echo, set, pack.
fn cups_beside_iso8583_rs(criterion: &mut Criterion) {
    let message = vector::cups_inquiry();
    let mut group = criterion.benchmark_group("respond/cups-test03");
    group.bench_function("tapswitch", |bencher| {
        let mut table = FieldTable::default();
        let mut out = [0; OUTPUT_BYTES];
        bencher.iter(|| parse_and_respond(Dialect::cups(), &message, &mut table, &mut out));
    });
    group.bench_function("iso8583_rs", |bencher| {
        let echoed = echoed_fields(Dialect::cups(), &message);
        let mut table = FieldTable::default();
        let mut out = [0; OUTPUT_BYTES];
        let bytes = parse_and_respond(Dialect::cups(), &message, &mut table, &mut out).unwrap_or(0);
        let mut message = message.clone();
        let second = second_opinion(&mut message, &echoed);
        assert_eq!(second.as_deref(), out.get(..bytes), "both write the same response");
        bencher.iter(|| second_opinion(black_box(&mut message), &echoed));
    });
    group.finish();
}

/// The same in the other dialects.
fn other_dialects(criterion: &mut Criterion) {
    let cases = [
        ("iso87-ascii", vector::iso87_reversal(), Dialect::iso87_ascii()),
        ("unionpay-pos", vector::pos_purchase(), Dialect::unionpay_pos()),
    ];
    for (name, message, dialect) in cases {
        let mut table = FieldTable::default();
        let mut out = [0; OUTPUT_BYTES];
        assert!(parse_and_respond(dialect, &message, &mut table, &mut out).is_some(), "{name}");
        let mut group = criterion.benchmark_group(format!("respond/{name}"));
        group.bench_function("tapswitch", |bencher| {
            bencher.iter(|| parse_and_respond(dialect, &message, &mut table, &mut out));
        });
        group.finish();
    }
}

/// The response alone, its request parsed before: what is left when a shard releases an answer.
fn response_alone(criterion: &mut Criterion) {
    let message = vector::cups_inquiry();
    let dialect = Dialect::cups();
    let mut table = FieldTable::default();
    let mut out = [0; OUTPUT_BYTES];
    let request = dialect.parse(&message, &mut table).expect("a vector");
    let mti = request.mti().response().expect("a request");
    let mut group = criterion.benchmark_group("respond/response-alone");
    group.bench_function("tapswitch", |bencher| {
        bencher.iter(|| respond(black_box(&request), mti, dialect.echo, &APPROVAL, &mut out));
    });
    group.finish();
}

/// A message written from values, field by field: what a load tool pays for a request.
fn written_from_values(criterion: &mut Criterion) {
    let message = vector::cups_inquiry();
    let dialect = Dialect::cups();
    let mut table = FieldTable::default();
    let request = dialect.parse(&message, &mut table).expect("a vector");
    let values: Vec<(u8, Vec<u8>)> = request
        .present()
        .into_iter()
        .filter_map(|field| Some((field, request.raw(field)?.to_vec())))
        .collect();
    let mut out = [0; OUTPUT_BYTES];
    let mut group = criterion.benchmark_group("respond/written-from-values");
    group.bench_function("tapswitch", |bencher| {
        bencher.iter(|| {
            let mut writer = MessageWriter::new(dialect, Mti::FINANCIAL_REQUEST, &mut out).ok()?;
            for (field, value) in black_box(&values) {
                writer.put(*field, value).ok()?;
            }
            writer.finish().ok()
        });
    });
    group.finish();
}

fn parse_and_respond(
    dialect: &Dialect,
    message: &[u8],
    table: &mut FieldTable,
    out: &mut [u8],
) -> Option<usize> {
    let request = dialect.parse(black_box(message), table).ok()?;
    let mti = request.mti().response()?;
    respond(&request, mti, dialect.echo, &APPROVAL, out).ok()
}

fn echoed_fields(dialect: &Dialect, message: &[u8]) -> Vec<u32> {
    let mut table = FieldTable::default();
    let request = dialect.parse(message, &mut table).expect("a vector");
    request.present().and(dialect.echo).into_iter().map(u32::from).collect()
}

fn second_opinion(message: &mut Vec<u8>, echoed: &[u32]) -> Option<Vec<u8>> {
    let spec = iso_spec::spec("");
    let request: IsoMsg = spec.parse(message).ok()?;
    let mut response = iso_spec::new_msg(spec, request.msg);
    response.set("message type", "0210").ok()?;
    response.echo_from(&request, echoed).ok()?;
    response.set_on(38, "123456").ok()?;
    response.set_on(39, "00").ok()?;
    response.assemble().ok()
}

criterion_group!(
    responses,
    cups_beside_iso8583_rs,
    other_dialects,
    response_alone,
    written_from_values
);
criterion_main!(responses);
