//! DE 55 as recorded, and mutated: whatever bytes come, reading them does not panic, every value lies in
//! the bytes given, and no cryptogram is right over other data than the card's.
//!
//! `cargo test` runs 50,000 mutations in a debug build and a million in a release build; the environment
//! variable `MUTATIONS` sets another number.

use crate::random::Random;
use serde_json::Value;
use tapswitch_protocol::chip::ChipData;
use tapswitch_protocol::tlv::TlvReader;

fn mutations() -> u64 {
    let default = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    std::env::var("MUTATIONS").map_or(default, |text| text.parse().expect("MUTATIONS is a number"))
}

fn file() -> Value {
    serde_json::from_str(include_str!("../vectors/emv.json")).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Every recorded DE 55.
fn recorded() -> Vec<Vec<u8>> {
    let file = file();
    let entries = ["cryptograms", "chip_data"].map(|key| file[key].as_array().unwrap());
    let entries = entries.into_iter().flatten();
    entries.filter_map(|entry| entry["de55"].as_str()).map(hex).collect()
}

#[test]
fn recorded_chip_data_are_read_object_by_object() {
    let file = file();
    for entry in file["chip_data"].as_array().unwrap() {
        let bytes = hex(entry["de55"].as_str().unwrap());
        let chip = ChipData::parse(&bytes).unwrap();
        let found: Vec<_> = chip.objects().map(|object| (object.tag, object.value)).collect();
        let expected = entry["tlv"].as_array().unwrap().iter().map(|object| {
            let tag = u32::from_str_radix(object["tag"].as_str().unwrap(), 16).unwrap();
            (tag, hex(object["value"].as_str().unwrap()))
        });
        assert!(expected.eq(found.into_iter().map(|(tag, value)| (tag, value.to_vec()))));
        assert!(chip.transaction_counter().is_ok() && chip.cryptogram_kind().is_ok());
        let is_mastercard = entry["id"] == "de55-ebcdic-mc";
        assert_eq!(chip.issuer_application_data().is_ok(), !is_mastercard);
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.byte()),
        2 if !bytes.is_empty() => {
            bytes.remove(at);
        }
        3 | 4 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        5 if !bytes.is_empty() => bytes[at] = random.byte(),
        _ => {
            // A piece of it once more, as a damaged length makes others read it.
            let piece = bytes[at..(at + random.below(20)).min(bytes.len())].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

fn mutated(from: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(from).clone();
    for _ in 0..=random.below(3) {
        mutate(&mut bytes, random);
    }
    bytes
}

/// Every accessor; values lie in the bytes given.
fn call_everything(bytes: &[u8], chip: &ChipData<'_>) {
    let within = bytes.as_ptr_range();
    for object in chip.objects() {
        let value = object.value.as_ptr_range();
        assert!(within.start <= value.start && value.end <= within.end);
        assert!(chip.get(object.tag).is_some());
        assert_eq!(chip.require(object.tag).is_err(), chip.get(object.tag) == Some(&[]));
    }
    let numbers = (chip.transaction_counter().is_ok(), chip.cryptogram().is_ok());
    let kinds = (chip.cryptogram_kind().is_ok(), chip.pan_sequence().is_ok());
    let data = chip.issuer_application_data();
    assert!(data.is_err() || chip.require(0x9F10).is_ok(), "{numbers:?} {kinds:?}");
    assert!(data.is_ok_and(|data| data.discretionary.len() <= 25) || data.is_err());
}

#[test]
fn mutated_chip_data_never_panic_and_stay_in_their_bytes() {
    let recorded = recorded();
    let mut random = Random::new(55);
    let (mut read, mut refused) = (0u64, 0u64);
    for _ in 0..mutations() {
        let bytes = mutated(&recorded, &mut random);
        match ChipData::parse(&bytes) {
            Ok(chip) => {
                read += 1;
                assert_eq!(chip.objects().count(), TlvReader::new(&bytes).count());
                call_everything(&bytes, &chip);
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().len() > 10);
            }
        }
    }
    assert!(read * 20 > refused && refused * 20 > read, "{read} read, {refused} refused");
}

#[cfg(feature = "crypto")]
mod cryptograms {
    use super::*;
    use tapswitch_protocol::Pan;
    use tapswitch_protocol::chip::PanSequence;
    use tapswitch_protocol::emv::{Algorithm, Imk, Scheme, Verifier};

    /// What the published example's cryptogram covers, and itself.
    fn covered<'a>(chip: &ChipData<'a>) -> Option<[&'a [u8]; 12]> {
        let tags = [0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36, 0x9F26];
        let mut values = [&[][..]; 12];
        for (out, tag) in values.iter_mut().zip(tags) {
            *out = chip.get(tag)?;
        }
        values[11] = chip.get(0x9F10)?.get(3..7)?;
        Some(values)
    }

    #[test]
    fn mutated_data_have_no_right_cryptogram() {
        let file = file();
        let examples = file["cryptograms"].as_array().unwrap();
        let example = examples.iter().find(|entry| entry["id"] == "pboc-3des-2").unwrap();
        let text = |key: &str| example[key].as_str().unwrap();
        let imk = Imk::new(Algorithm::TripleDes, &hex(text("imk_ac"))).unwrap();
        let verifier = Verifier::new(Scheme::union_pay(Algorithm::TripleDes), imk).unwrap();
        let pan = Pan::from_digits(text("pan").as_bytes()).ok().unwrap();
        let sequence = PanSequence::from_number(text("psn").parse().unwrap()).unwrap();
        let original = [hex(text("de55"))];
        let expected = covered(&ChipData::parse(&original[0]).unwrap()).unwrap();
        let mut random = Random::new(926);
        let (mut right, mut wrong, mut unusable) = (0u64, 0u64, 0u64);
        for _ in 0..mutations() {
            let bytes = mutated(&original, &mut random);
            let Ok(chip) = ChipData::parse(&bytes) else { continue };
            match verifier.verify(&pan, sequence, &chip) {
                Err(error) => {
                    unusable += 1;
                    assert!(error.to_string().starts_with("tag "));
                }
                Ok(cryptogram) => {
                    let is_same = covered(&chip) == Some(expected);
                    assert_eq!(cryptogram.is_verified(), is_same, "{bytes:02X?}");
                    *if is_same { &mut right } else { &mut wrong } += 1;
                }
            }
        }
        assert!(right.min(wrong).min(unusable) > 100, "{right} right, {wrong}, {unusable}");
    }
}
