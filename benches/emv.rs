//! What verifying one card's cryptogram costs, keys and all, by triple DES and by SM4, beside what
//! reading its DE 55 costs.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use tapswitch_protocol::chip::{ChipData, PanSequence};
use tapswitch_protocol::emv::{Algorithm, Imk, Scheme, Verifier};
use tapswitch_protocol::{Pan, tlv::TlvReader, tlv::TlvWriter};

/// DE 55 of a purchase by phone as it comes, its cryptogram left open.
const CHIP_DATA: &[u8] = b"\x9F\x26\x08\0\0\0\0\0\0\0\0\x9F\x27\x01\x80\
    \x9F\x10\x13\x07\x01\x03\x03\xA0\x40\x02\x01\x0A\x01\0\0\0\x10\0\xD1\xF6\x11\x52\
    \x9F\x37\x04\x1E\x78\xEE\xBC\x9F\x36\x02\x02\x40\x95\x05\0\x80\x04\x60\0\x9A\x03\x26\x07\x01\
    \x9C\x01\0\x9F\x02\x06\0\0\0\0\x12\x34\x5F\x2A\x02\x01\x56\x82\x02\x7D\0\x9F\x1A\x02\x01\x56\
    \x9F\x03\x06\0\0\0\0\0\0\x9F\x33\x03\x60\xE1\xC8\x9F\x34\x03\x02\x03\0\x9F\x35\x01\x22\
    \x9F\x1E\x0812345678\x84\x08\xA0\0\0\x03\x33\x01\x01\x01\x9F\x09\x02\0\x20\x9F\x41\x04\0\0\0\x07";

fn verifier(algorithm: Algorithm) -> Verifier {
    let key = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes();
    let imk = Imk::new(algorithm, &key).expect("two halves that differ");
    Verifier::new(Scheme::union_pay(algorithm), imk).expect("the key is for the scheme")
}

/// DE 55 with the cryptogram that the card makes.
fn signed(verifier: &Verifier, pan: &Pan, sequence: PanSequence) -> Vec<u8> {
    let open = ChipData::parse(CHIP_DATA).expect("it is whole");
    let made = verifier.cryptogram(pan, sequence, &open).expect("all objects are there");
    let mut out = vec![0; CHIP_DATA.len()];
    let mut writer = TlvWriter::new(&mut out);
    for object in TlvReader::new(CHIP_DATA) {
        let object = object.expect("it is whole");
        let value = if object.tag == 0x9F26 { &made } else { object.value };
        writer.put(object.tag, value).expect("it is as long as before");
    }
    out
}

fn cryptograms(c: &mut Criterion) {
    let pan = Pan::from_digits(b"6216261000000000018").expect("19 digits are a PAN");
    let sequence = PanSequence::from_number(1).expect("below 100");
    assert!(ChipData::parse(CHIP_DATA).is_ok(), "it is whole");
    c.bench_function("emv/read DE 55", |b| {
        b.iter(|| ChipData::parse(black_box(CHIP_DATA)).is_ok())
    });
    for (name, algorithm) in [("3des", Algorithm::TripleDes), ("sm4", Algorithm::Sm4)] {
        let verifier = verifier(algorithm);
        let bytes = signed(&verifier, &pan, sequence);
        let chip = ChipData::parse(&bytes).expect("it is whole");
        let verify = || verifier.verify(black_box(&pan), sequence, black_box(&chip));
        assert!(verify().expect("all objects are there").is_verified());
        c.bench_function(&format!("emv/verify {name}"), |b| {
            b.iter(|| verify().is_ok_and(|cryptogram| cryptogram.is_verified()));
        });
        c.bench_function(&format!("emv/verify and answer {name}"), |b| {
            b.iter(|| {
                let cryptogram = verify().expect("all objects are there");
                cryptogram.responder().map(|responder| responder.method_1(*b"00"))
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = cryptograms
}
criterion_main!(benches);
