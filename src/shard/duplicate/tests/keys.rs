//! Keys and fingerprints: what they tell apart, and what they do not.

use super::super::{DuplicateHasher, DuplicateKey};
use crate::shard::AcquirerId;
use crate::shard::card_cipher::CardCipher;
use tapswitch_protocol::{Dialect, FieldSet, FieldTable, MessageView, MessageWriter, Mti};

const FIELDS: FieldSet = FieldSet::of(&[7, 11, 32, 33]);

/// A request with these contents, parsed again, given to `look`.
fn with_request<T>(
    dialect: &Dialect,
    contents: &[(u8, &[u8])],
    look: impl FnOnce(&MessageView<'_>) -> T,
) -> T {
    let mut bytes = [0; 2_048];
    let mut writer = MessageWriter::new(dialect, Mti::FINANCIAL_REQUEST, &mut bytes).unwrap();
    for (field, content) in contents {
        writer.put(*field, content).unwrap();
    }
    let written = writer.finish().unwrap();
    let mut table = FieldTable::default();
    look(&dialect.parse(&bytes[..written], &mut table).unwrap())
}

fn hasher() -> DuplicateHasher {
    DuplicateHasher::new(*b"sixteen key byte")
}

fn cups_key(contents: &[(u8, &[u8])]) -> DuplicateKey {
    with_request(Dialect::cups(), contents, |view| hasher().key(AcquirerId(0), 2, FIELDS, view))
}

const FIRST: [(u8, &[u8]); 5] = [
    (2, b"6216261000000000018"),
    (4, b"000000001000"),
    (7, b"0101120000"),
    (11, b"000001"),
    (32, b"48020000"),
];

#[test]
fn a_key_is_the_listed_fields_and_nothing_else() {
    let first = cups_key(&FIRST);
    let mut other_card = FIRST;
    other_card[0].1 = b"6228480402564890018";
    other_card[1].1 = b"000000002000";
    assert_eq!(cups_key(&other_card), first, "neither card nor amount name a request");
    for (place, content) in [(2, &b"0101120001"[..]), (3, b"000002"), (4, b"48020001")] {
        let mut other = FIRST;
        other[place].1 = content;
        assert_ne!(cups_key(&other), first);
    }
    let mut without_institution = FIRST.to_vec();
    without_institution.pop();
    assert_ne!(cups_key(&without_institution), first);
}

#[test]
fn acquirer_class_and_secret_are_in_a_key() {
    let key = |hasher: DuplicateHasher, acquirer, class| {
        hasher.key_of_parts(AcquirerId(acquirer), class, &FIRST[2..])
    };
    let first = key(hasher(), 0, 2);
    assert_ne!(key(hasher(), 1, 2), first);
    assert_ne!(key(hasher(), 0, 1), first);
    assert_ne!(key(DuplicateHasher::new([0; 16]), 0, 2), first);
}

#[test]
fn an_original_is_found_by_its_parts() {
    let parts = hasher().key_of_parts(AcquirerId(0), 2, &FIRST[2..]);
    assert_eq!(parts, cups_key(&FIRST));
    // Contents cannot move from one field to the next.
    let split = hasher().key_of_parts(AcquirerId(0), 2, &[(7, b"01"), (11, b"0203")]);
    let other = hasher().key_of_parts(AcquirerId(0), 2, &[(7, b"0102"), (11, b"03")]);
    assert_ne!(split, other);
}

#[test]
fn packed_digits_and_long_fields_have_the_key_of_their_characters() {
    let (merchant, batch) = (*b"898440112340001", vec![b'7'; 11]);
    let long = vec![b'5'; 104];
    let contents = [(11, &b"000123"[..]), (36, &long), (42, &merchant), (60, &batch)];
    let fields = FieldSet::of(&[11, 36, 41, 42, 60]);
    let from_message = with_request(Dialect::unionpay_pos(), &contents, |view| {
        hasher().key(AcquirerId(3), 2, fields, view)
    });
    assert_eq!(from_message, hasher().key_of_parts(AcquirerId(3), 2, &contents));
}

#[test]
fn contents_of_every_length_differ() {
    let mut keys = Vec::new();
    // Zeros are also what the last word is filled up with.
    let zeros = [0; 40];
    for length in 0..zeros.len() {
        let contents = [(7, &zeros[..length]), (11, &zeros[length..])];
        keys.push(hasher().key_of_parts(AcquirerId(0), 2, &contents));
        keys.push(hasher().key_of_parts(AcquirerId(0), 2, &contents[..1]));
    }
    keys.sort();
    assert!(keys.is_sorted_by(|a, b| a < b), "no two are the same");
}

#[test]
fn a_fingerprint_is_account_processing_code_and_amount() {
    let print = |contents: &[(u8, &[u8])]| {
        let cipher = CardCipher::new(&[1; 32]);
        with_request(Dialect::cups(), contents, |view| {
            let card = view.pan().ok().map(|pan| cipher.key(&pan));
            hasher().fingerprint(card.as_ref(), view)
        })
    };
    let pan = b"6216261000000000018";
    let first = print(&[(2, pan), (3, b"000000"), (4, b"000000001000"), (11, b"000001")]);
    let same = print(&[(2, pan), (3, b"000000"), (4, b"000000001000"), (11, b"000002")]);
    assert_eq!(same, first);
    let track = b"6216261000000000018=30122010000000000000";
    let swiped = print(&[(3, b"000000"), (4, b"000000001000"), (35, &track[..37])]);
    assert_eq!(swiped, first, "the account may come from the track");
    for other in [
        print(&[(2, b"6216261000000000026"), (3, b"000000"), (4, b"000000001000")]),
        print(&[(2, pan), (3, b"200000"), (4, b"000000001000")]),
        print(&[(2, pan), (3, b"000000"), (4, b"000000001001")]),
        print(&[(2, pan), (4, b"000000001000")]),
        print(&[(2, pan), (3, b"000000")]),
        print(&[(3, b"000000"), (4, b"000000001000")]),
    ] {
        assert_ne!(other, first);
    }
}
