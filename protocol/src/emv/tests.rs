use super::vectors::Vector;
use super::*;
use crate::chip::{ChipData, PanSequence};
use crate::pan::Pan;

#[test]
fn keys_that_are_none_are_refused_by_why() {
    let refused = |algorithm, key: &[u8]| Imk::new(algorithm, key).err();
    let half = *b"\x01\x23\x45\x67\x89\xAB\xCD\xEF";
    let other = *b"\xFE\xDC\xBA\x98\x76\x54\x32\x10";
    let key = |left: [u8; 8], right: [u8; 8]| [left, right].concat();
    for algorithm in [Algorithm::TripleDes, Algorithm::Sm4] {
        assert_eq!(refused(algorithm, &half), Some(ImkError::Length));
        assert_eq!(refused(algorithm, &[7; 24]), Some(ImkError::Length));
        assert_eq!(refused(algorithm, &[0; 16]), Some(ImkError::Weak));
        assert_eq!(refused(algorithm, &key(half, other)), None);
    }
    let triple = Algorithm::TripleDes;
    assert_eq!(refused(triple, &key(half, half)), Some(ImkError::HalvesAreEqual));
    let same_but_parity = half.map(|byte| byte ^ 1);
    assert_eq!(refused(triple, &key(half, same_but_parity)), Some(ImkError::HalvesAreEqual));
    for weak in [
        [0x01; 8],
        [0xFE; 8],
        *b"\x1F\x1F\x1F\x1F\x0E\x0E\x0E\x0E",
        *b"\xE0\xE0\xE0\xE0\xF1\xF1\xF1\xF1",
    ] {
        assert_eq!(refused(triple, &key(half, weak)), Some(ImkError::Weak));
        assert_eq!(refused(triple, &key(weak, half)), Some(ImkError::Weak));
    }
    assert_eq!(refused(Algorithm::Sm4, &key(half, half)), None, "nothing is halved there");
}

fn imk(algorithm: Algorithm) -> Imk {
    Imk::new(algorithm, &0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes()).unwrap()
}

#[test]
fn schemes_and_keys_that_do_not_fit_are_refused() {
    let new = |scheme, algorithm| Verifier::new(scheme, imk(algorithm)).err();
    let sm4 = Scheme::union_pay(Algorithm::Sm4);
    assert_eq!(new(sm4, Algorithm::Sm4), None);
    assert_eq!(new(sm4, Algorithm::TripleDes), Some(SchemeError::Algorithm));
    assert_eq!(new(Scheme::VISA_18, Algorithm::Sm4), Some(SchemeError::Algorithm));
    let common = Scheme { session: SessionMethod::Csk, ..sm4 };
    assert_eq!(new(common, Algorithm::Sm4), Some(SchemeError::CommonSessionKey));
}

#[test]
fn named_schemes_are_those_of_the_examples() {
    let scheme = |id: &str| Vector::named(id).scheme();
    assert_eq!(Scheme::union_pay(Algorithm::TripleDes), scheme("pboc-3des-2"));
    assert_eq!(Scheme::union_pay(Algorithm::Sm4), scheme("pboc-sm4-1"));
    assert_eq!(Scheme::VISA_10, scheme("visa-cvn10"));
    assert_eq!(Scheme::VISA_18, scheme("visa-cvn18"));
}

/// A card that makes its own cryptogram, by every scheme there is.
#[test]
fn what_a_card_makes_is_verified_by_every_scheme() {
    let pan = Pan::from_digits(b"6216261000000000018").ok().unwrap();
    let sequence = PanSequence::from_number(1).unwrap();
    let chip = |cryptogram: [u8; 8]| {
        let rest = b"\x9F\x10\x08\x07\x01\x17\x03\xA0\x00\x00\x01\x9F\x36\x02\x00\x07\x9F\x37\x04\
            \x01\x02\x03\x04\x9F\x02\x06\x00\x00\x00\x00\x12\x34";
        [&b"\x9F\x26\x08"[..], &cryptogram, rest].concat()
    };
    let mut seen = Vec::new();
    for algorithm in [Algorithm::TripleDes, Algorithm::Sm4] {
        for derivation in [Derivation::A, Derivation::B] {
            for session in [SessionMethod::None, SessionMethod::Pboc, SessionMethod::Csk] {
                for padding in [Padding::Marked, Padding::Zeros] {
                    let scheme = Scheme {
                        derivation,
                        session,
                        padding,
                        data: DataList::SHORT,
                        ..Scheme::union_pay(algorithm)
                    };
                    let Ok(verifier) = Verifier::new(scheme, imk(algorithm)) else { continue };
                    let empty = chip([0; 8]);
                    let empty = ChipData::parse(&empty).unwrap();
                    let made = verifier.cryptogram(&pan, sequence, &empty).unwrap();
                    let right = chip(made);
                    let right = ChipData::parse(&right).unwrap();
                    let verified =
                        |chip| verifier.verify(&pan, sequence, chip).unwrap().is_verified();
                    assert!(verified(&right) && !verified(&empty), "{scheme:?}");
                    assert!(!seen.contains(&made), "{scheme:?} makes what another one made");
                    seen.push(made);
                }
            }
        }
    }
    assert_eq!(seen.len(), 20);
}

#[test]
fn answers_are_of_the_sizes_that_a_card_takes() {
    let vector = Vector::named("pboc-3des-2");
    let (pan, sequence) = vector.card().unwrap();
    let responder = vector.verifier().unwrap().responder(&pan, sequence, 7, [1; 8]);
    let (approved, declined) = (responder.method_1(*b"00"), responder.method_1(*b"05"));
    assert_ne!(approved.as_bytes()[..8], declined.as_bytes()[..8]);
    assert_eq!(declined.as_bytes()[8..], *b"05");
    let count = |own: &[u8]| responder.method_2([0; 4], own).map(|answer| answer.as_bytes().len());
    assert_eq!((count(&[]), count(&[1; 8]), count(&[1; 9])), (Some(8), Some(16), None));
}

#[test]
fn no_key_can_be_printed() {
    let vector = Vector::named("pboc-3des-2");
    let (pan, sequence) = vector.card().unwrap();
    let bytes = vector.chip_data().unwrap();
    let chip = ChipData::parse(&bytes).unwrap();
    let imk = vector.imk().unwrap();
    let card = imk.card_key(Derivation::A, &pan, sequence);
    assert_eq!(format!("{imk:?} {card:?}"), "Imk(hidden) CardKey(hidden)");
    let session = card.session_key(SessionMethod::Pboc, 1);
    assert_eq!(format!("{session:?}"), "SessionKey(hidden)");
    let verifier = vector.verifier().unwrap();
    let printed = format!("{verifier:?}");
    assert!(printed.contains("9F02 9F03") && !printed.contains("imk"), "{printed}");
    let cryptogram = verifier.verify(&pan, sequence, &chip).unwrap();
    let printed = format!("{cryptogram:?}");
    assert_eq!(printed, "Cryptogram { is_verified: true, responder: Responder(hidden) }");
}
