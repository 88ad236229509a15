//! The published examples of `tests/vectors/emv.json`, step by step: card's key, session key,
//! cryptogram, answer; and in one call where an example says which objects are covered.

use super::*;
use crate::chip::{ChipData, ObjectProblem, PanSequence};
use crate::pan::Pan;
use crate::tlv::TlvWriter;
use serde_json::Value;

pub(super) struct Vector(Value);

impl Vector {
    pub(super) fn all() -> Vec<Self> {
        let text = include_str!("../../tests/vectors/emv.json");
        let file: Value = serde_json::from_str(text).unwrap();
        file["cryptograms"].as_array().unwrap().iter().cloned().map(Self).collect()
    }

    pub(super) fn named(id: &str) -> Self {
        Self::all().into_iter().find(|vector| vector.id() == id).unwrap()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str()
    }

    fn id(&self) -> &str {
        self.text("id").unwrap()
    }

    pub(super) fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let pairs = self.text(key)?.as_bytes().chunks(2);
        Some(
            pairs
                .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect(),
        )
    }

    fn array<const BYTES: usize>(&self, key: &str) -> Option<[u8; BYTES]> {
        Some(self.bytes(key)?.try_into().unwrap())
    }

    pub(super) fn scheme(&self) -> Scheme {
        Scheme {
            algorithm: match self.text("algorithm").unwrap() {
                "3des" => Algorithm::TripleDes,
                "sm4" => Algorithm::Sm4,
                other => panic!("{other}"),
            },
            derivation: match self.text("derivation").unwrap() {
                "A" => Derivation::A,
                "B" => Derivation::B,
                other => panic!("{other}"),
            },
            session: match self.text("session").unwrap() {
                "none" => SessionMethod::None,
                "pboc" => SessionMethod::Pboc,
                "csk" => SessionMethod::Csk,
                other => panic!("{other}"),
            },
            data: self
                .text("data_fields")
                .map_or(DataList::LONG, |list| DataList::parse(list).unwrap()),
            padding: match self.text("padding").unwrap() {
                "80" => Padding::Marked,
                "00" => Padding::Zeros,
                other => panic!("{other}"),
            },
            arpc_key: match self.text("arpc_key").unwrap() {
                "session" => ArpcKey::Session,
                "card" => ArpcKey::Card,
                other => panic!("{other}"),
            },
        }
    }

    pub(super) fn imk(&self) -> Option<Imk> {
        let key = self.bytes("imk_ac")?;
        Some(Imk::new(self.scheme().algorithm, &key).unwrap())
    }

    pub(super) fn card(&self) -> Option<(Pan, PanSequence)> {
        let pan = Pan::from_digits(self.text("pan")?.as_bytes()).ok().unwrap();
        let sequence = PanSequence::from_number(self.text("psn")?.parse().unwrap()).unwrap();
        Some((pan, sequence))
    }

    /// The card's key, compared with what the example says of it.
    fn card_key(&self) -> CardKey {
        let scheme = self.scheme();
        let derived = self.imk().zip(self.card()).map(|(imk, (pan, sequence))| {
            let key = imk.card_key_bytes(scheme.derivation, &pan, sequence);
            if let Some(udk) = self.array("udk") {
                assert_eq!(without_parity(*key), without_parity(udk), "{}", self.id());
            }
            let key = imk.card_key(scheme.derivation, &pan, sequence);
            self.check("udk_check", &key.0);
            key
        });
        derived.unwrap_or_else(|| CardKey::new(scheme.algorithm, &self.array("udk").unwrap()))
    }

    fn session_key_beside(&self, card: &CardKey) -> Option<SessionKey> {
        let counter = self.array("atc").map(u16::from_be_bytes);
        let key = match (self.array("diversification_r"), counter) {
            (Some(r), _) => Some(card.common_session_key_bytes(r)),
            (None, counter) => card.session_key_bytes(self.scheme().session, counter.unwrap_or(0)),
        }?;
        if let Some(session) = self.array("session_key") {
            assert_eq!(without_parity(*key), without_parity(session), "{}", self.id());
        }
        let key = card.session_of(&key);
        self.check("session_check", &key.0);
        Some(key)
    }

    fn check(&self, key: &str, cipher: &cipher::Cipher) {
        if let Some(check) = self.array::<2>(key) {
            assert_eq!(cipher.encipher_eight([0; 8])[..2], check, "{}: {key}", self.id());
        }
    }

    fn check_answer(&self, responder: &Responder) {
        let Some(arpc) = self.bytes("arpc") else { return };
        let (answer, tail) = if let Some(code) = self.array::<2>("arc") {
            (responder.method_1(code), code.to_vec())
        } else {
            let csu = self.array("csu").unwrap();
            let proprietary = self.bytes("proprietary").unwrap_or_default();
            let tail = [&csu[..], &proprietary].concat();
            (responder.method_2(csu, &proprietary).unwrap(), tail)
        };
        assert_eq!(answer.as_bytes(), [arpc, tail].concat(), "{}", self.id());
    }

    /// DE 55 of this example: recorded, or made of the data, which say what they are.
    pub(super) fn chip_data(&self) -> Option<Vec<u8>> {
        if let Some(recorded) = self.bytes("de55") {
            return Some(recorded);
        }
        let (data, cryptogram) = (self.bytes("data")?, self.bytes("arqc")?);
        let mut rest = &data[..];
        let mut out = [0; 255];
        let mut writer = TlvWriter::new(&mut out);
        writer.put(0x9F26, &cryptogram).unwrap();
        for item in self.text("data_fields")?.split(' ') {
            let count = match item {
                "9F02" | "9F03" => 6,
                "95" => 5,
                "9F37" => 4,
                "9A" => 3,
                "9C" => 1,
                "CVR" | "9F10" => rest.len(),
                _ => 2,
            };
            let value = rest.split_off(..count).unwrap();
            if item == "CVR" {
                writer.put(0x9F10, &[&[6, 1, 0x0A], value].concat()).unwrap();
            } else {
                writer.put(u32::from_str_radix(item, 16).unwrap(), value).unwrap();
            }
        }
        let count = writer.finish();
        Some(out[..count].to_vec())
    }

    pub(super) fn verifier(&self) -> Option<Verifier> {
        Some(Verifier::new(self.scheme(), self.imk()?).unwrap())
    }
}

/// The low bit of each byte is none of the key, and some derivations set it.
fn without_parity(key: [u8; 16]) -> [u8; 16] {
    key.map(|byte| byte & 0xFE)
}

#[test]
fn every_step_of_every_example() {
    let vectors = Vector::all();
    assert_eq!(vectors.len(), 18);
    for vector in vectors {
        let scheme = vector.scheme();
        if let (Some(imk), Some(check)) = (vector.imk(), vector.array::<2>("imk_check")) {
            assert_eq!(imk.check_value()[..2], check, "{}", vector.id());
        }
        let card = vector.card_key();
        let session = vector.session_key_beside(&card);
        let cipher = session.as_ref().map_or(&card.0, |session| &session.0);
        let cryptogram = cipher.authenticate(&vector.bytes("data").unwrap(), scheme.padding);
        assert_eq!(cryptogram, vector.array("arqc").unwrap(), "{}", vector.id());
        let key = match (session, scheme.arpc_key) {
            (Some(session), ArpcKey::Session) => session.0,
            _ => card.0,
        };
        vector.check_answer(&Responder { cryptogram, key });
    }
}

#[test]
fn examples_that_name_their_objects_are_verified_in_one_call() {
    let mut verified = 0;
    for vector in Vector::all() {
        let (Some(bytes), Some(verifier)) = (vector.chip_data(), vector.verifier()) else {
            continue;
        };
        let (pan, sequence) = vector.card().unwrap();
        let chip = ChipData::parse(&bytes).unwrap();
        let cryptogram = verifier.verify(&pan, sequence, &chip).unwrap();
        assert!(cryptogram.is_verified(), "{}", vector.id());
        vector.check_answer(cryptogram.responder().unwrap());
        let (arqc, counter) = (chip.cryptogram().unwrap(), chip.transaction_counter().unwrap());
        vector.check_answer(&verifier.responder(&pan, sequence, counter, arqc));
        assert_eq!(verifier.cryptogram(&pan, sequence, &chip), Ok(arqc));
        verified += 1;
    }
    assert_eq!(verified, 5, "pboc-3des-2, pboc-sm4-1, visa-cvn10, visa-cvn18, option B");
}

#[test]
fn a_recorded_request_is_of_this_card_only() {
    for id in ["pboc-3des-2", "pboc-sm4-1"] {
        let vector = Vector::named(id);
        let (bytes, verifier) = (vector.chip_data().unwrap(), vector.verifier().unwrap());
        let chip = ChipData::parse(&bytes).unwrap();
        let (pan, sequence) = vector.card().unwrap();
        let is_verified = |pan: &Pan, sequence| {
            let cryptogram = verifier.verify(pan, sequence, &chip).unwrap();
            assert_eq!(cryptogram.responder().is_some(), cryptogram.is_verified());
            cryptogram.is_verified()
        };
        assert!(is_verified(&pan, sequence));
        assert!(!is_verified(&pan, PanSequence::from_number(98).unwrap()));
        let mut digits = pan.digits().to_vec();
        digits[11] ^= 1;
        assert!(!is_verified(&Pan::from_digits(&digits).ok().unwrap(), sequence));
    }
}

#[test]
fn each_object_that_is_covered_must_be_there_whole_and_as_it_was() {
    let vector = Vector::named("pboc-3des-2");
    let (bytes, verifier) = (vector.chip_data().unwrap(), vector.verifier().unwrap());
    let (pan, sequence) = vector.card().unwrap();
    let chip = ChipData::parse(&bytes).unwrap();
    let verify = |changed: u32, change: &dyn Fn(&mut Vec<u8>)| {
        let mut out = [0; 300];
        let mut writer = TlvWriter::new(&mut out);
        for object in chip.objects() {
            let mut value = object.value.to_vec();
            if object.tag == changed {
                change(&mut value);
            }
            writer.put(object.tag, &value).unwrap();
        }
        let count = writer.finish();
        let chip = ChipData::parse(&out[..count]).unwrap();
        let result = verifier.verify(&pan, sequence, &chip);
        result.map(|cryptogram| cryptogram.is_verified()).map_err(|e| (e.tag, e.problem))
    };
    let covered =
        [0x9F26, 0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36, 0x9F10];
    for tag in covered {
        assert_eq!(verify(tag, &Vec::clear), Err((tag, ObjectProblem::Missing)));
        // Of 9F10 the results are covered, not the key index before them.
        let at = if tag == 0x9F10 { 6 } else { 0 };
        assert_eq!(verify(tag, &|value| value[at] ^= 1), Ok(false), "{tag:X}");
        let other_length = verify(tag, &|value| match value.len() {
            1 => value.push(0),
            _ => value.truncate(at.max(1)),
        });
        assert_eq!(other_length, Err((tag, ObjectProblem::Length)), "{tag:X}");
    }
    for object in chip.objects().filter(|object| !covered.contains(&object.tag)) {
        assert_eq!(verify(object.tag, &Vec::clear), Ok(true), "{:X} is not covered", object.tag);
    }
}
