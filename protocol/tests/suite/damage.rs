//! Damaged messages: the first field at fault is named, and what can be read all the same is there.

use crate::corpus::{self, Vector};
use tapswitch_protocol::FormatReason::{
    BadBitmap, BadContent, BadLength, BadMti, PastEnd, TooLong, Trailing, Truncated, UnknownField,
};
use tapswitch_protocol::{
    Class, Dialect, FieldSet, FieldTable, FormatError, MessageWriter, Mti, Packing, PanError,
};

const MTI: Mti = Mti::FINANCIAL_REQUEST;

/// Field numbers and values.
type Fields<'a> = &'a [(u8, &'a [u8])];

fn write(dialect: &Dialect, fields: Fields<'_>) -> Vec<u8> {
    let mut out = [0; 4096];
    let mut writer = MessageWriter::new(dialect, MTI, &mut out).unwrap();
    for (field, value) in fields {
        writer.put(*field, value).unwrap();
    }
    let bytes = writer.finish().unwrap();
    out[..bytes].to_vec()
}

/// A CUPS message of this primary bitmap and body.
fn cups(fields: &[u8], body: &[u8]) -> Vec<u8> {
    let (primary, secondary) = FieldSet::of(fields).to_bitmap();
    let mut message = [b"0200".as_slice(), &primary.to_be_bytes()].concat();
    if secondary != 0 {
        message.extend(secondary.to_be_bytes());
    }
    message.extend(body);
    message
}

fn refused(field: u8, reason: tapswitch_protocol::FormatReason) -> Option<FormatError> {
    Some(FormatError { field, reason })
}

/// The error and the fields that can be read all the same.
fn outcome(dialect: &Dialect, message: &[u8]) -> (Option<FormatError>, Vec<u8>) {
    let mut table = FieldTable::default();
    let error = dialect.parse(message, &mut table).err();
    let view = table.view(dialect, message);
    (error, view.map_or_else(Vec::new, |view| view.present().into_iter().collect()))
}

#[test]
fn a_message_cut_anywhere_is_refused_and_keeps_the_fields_before_the_cut() {
    for vector in corpus::all() {
        for cut in 0..vector.message.len() {
            let message = &vector.message[..cut];
            let mut table = FieldTable::default();
            let error = vector.dialect.parse(message, &mut table).err().unwrap();
            let place = format!("{} cut at {cut}: {error}", vector.id);
            let reason = if error.field == 0 { Truncated } else { PastEnd };
            assert_eq!(error.reason, reason, "{place}");
            let Some(view) = table.view(vector.dialect, message) else {
                assert!(cut < 4, "{place}");
                continue;
            };
            let before = vector.fields.keys().filter(|&&field| field < error.field);
            assert!(view.present().into_iter().eq(before.copied()), "{place}");
            for field in view.present() {
                assert_eq!(view.raw(field), Some(vector.fields[&field].raw.as_slice()), "{place}");
            }
        }
    }
}

#[test]
fn bytes_behind_the_last_field_are_refused_and_every_field_can_be_read() {
    for vector in corpus::all() {
        let message = [vector.message.as_slice(), b"0"].concat();
        let (error, present) = outcome(vector.dialect, &message);
        assert_eq!(error, refused(0, Trailing), "{}", vector.id);
        assert!(present.iter().eq(vector.fields.keys()), "{}", vector.id);
    }
}

#[test]
fn a_wrong_character_in_any_checked_field_names_that_field_and_leaves_the_others() {
    let mut tried = 0;
    for vector in corpus::all() {
        for (&field, stated) in &vector.fields {
            let spec = vector.dialect.spec(field).unwrap();
            if !matches!(spec.class, Class::N | Class::Z) {
                continue;
            }
            for place in 0..stated.raw.len() {
                let message = with_wrong_byte(&vector, field, place, spec.packing);
                let (error, present) = outcome(vector.dialect, &message);
                assert_eq!(error, refused(field, BadContent), "{} DE {field}", vector.id);
                let others = vector.fields.keys().filter(|&&other| other != field);
                assert!(present.iter().eq(others), "{} DE {field}", vector.id);
                tried += 1;
            }
        }
    }
    assert!(tried > 5_000, "{tried} places");
}

/// Row A10: from a peer that took this line for one of its host's.
#[test]
fn a10_ebcdic_is_neither_digits_nor_a_type_and_goes_through_where_anything_may_stand() {
    let cups_dialect = Dialect::cups();
    let ebcdic = |digits: &[u8]| digits.iter().map(|digit| digit + 0xC0).collect::<Vec<u8>>();
    let fields: Fields<'_> = &[(4, b"000000000100"), (11, b"000001"), (37, b"093015000042")];
    let message = write(cups_dialect, fields);
    let mut type_in_ebcdic = message.clone();
    type_in_ebcdic[..4].copy_from_slice(&ebcdic(b"0200"));
    assert_eq!(outcome(cups_dialect, &type_in_ebcdic), (refused(0, BadMti), vec![]));
    let (head, amount) = (4 + 8, 12);
    let mut digits_in_ebcdic = message.clone();
    digits_in_ebcdic[head..head + amount].copy_from_slice(&ebcdic(b"000000000100"));
    assert_eq!(outcome(cups_dialect, &digits_in_ebcdic), (refused(4, BadContent), vec![11, 37]));
    // Text is bytes to a switch: what they mean is between acquirer and issuer.
    let mut text_in_ebcdic = message.clone();
    let end = message.len();
    text_in_ebcdic[end - 12..].copy_from_slice(&ebcdic(b"093015000042"));
    assert_eq!(outcome(cups_dialect, &text_in_ebcdic), (None, vec![4, 11, 37]));
}

fn with_wrong_byte(vector: &Vector, field: u8, place: usize, packing: Packing) -> Vec<u8> {
    let mut table = FieldTable::default();
    let view = vector.dialect.parse(&vector.message, &mut table).unwrap();
    let at = view.range(field).unwrap().start + place;
    let mut message = vector.message.clone();
    // Both nibbles, as one of them may be padding.
    message[at] = if packing == Packing::Plain { b'G' } else { 0xBB };
    message
}

#[test]
fn length_prefixes_must_be_digits_in_range() {
    let cups_dialect = Dialect::cups();
    for prefix in [b"1x", b"x1", b" 8", b"-1"] {
        let message = cups(&[2, 11], &[prefix.as_slice(), b"00000000000000001"].concat());
        assert_eq!(outcome(cups_dialect, &message), (refused(2, BadLength), vec![]));
    }
    for prefix in [b"00x", b"0x0", b"x00"] {
        let message = cups(&[11, 60], &[b"000001".as_slice(), prefix, b"000"].concat());
        assert_eq!(outcome(cups_dialect, &message), (refused(60, BadLength), vec![11]));
    }
    let mut message =
        write(Dialect::unionpay_pos(), &[(2, b"6216261000000000018"), (11, b"000001")]);
    for wrong in [0x1A, 0xA1] {
        message[10] = wrong;
        let found = outcome(Dialect::unionpay_pos(), &message);
        assert_eq!(found, (refused(2, BadLength), vec![]));
    }
}

#[test]
fn a_field_too_long_is_refused_and_the_fields_behind_it_are_read() {
    let pan = b"2000000000000000000000";
    let message = cups(&[2, 7, 11], &[pan.as_slice(), b"0704093015", b"000123"].concat());
    let mut table = FieldTable::default();
    let error = Dialect::cups().parse(&message, &mut table).err();
    assert_eq!(error, refused(2, TooLong));
    let view = table.view(Dialect::cups(), &message).unwrap();
    assert_eq!(view.present(), FieldSet::of(&[7, 11]));
    assert_eq!(view.stan().unwrap().0, 123);
    assert_eq!(view.transmission_time().unwrap().0, 704_093_015);
    assert_eq!(view.raw(2), None);
    assert!(matches!(view.pan(), Err(PanError::Missing)));
}

#[test]
fn the_first_field_at_fault_is_named() {
    let cases: [(&[u8], &[u8], _, &[u8]); 6] = [
        // Wrong digits, then a field that is too long.
        (&[3, 32, 70], b"00x00012123456789012001", refused(3, BadContent), &[70]),
        (&[2, 3, 70], b"200000000000000000000000x000001", refused(2, TooLong), &[70]),
        // Wrong digits, then the end.
        (&[3, 11, 37], b"00x000000001abc", refused(3, BadContent), &[11]),
        // Too long, and past the end as well.
        (&[3, 32], b"0000009912345", refused(32, TooLong), &[3]),
        // Wrong digits, and bytes left.
        (&[3, 11], b"00000000000x!", refused(11, BadContent), &[3]),
        // A field of the second half.
        (&[3, 70, 128], b"0000003x112345678", refused(70, BadContent), &[3, 128]),
    ];
    for (fields, body, error, readable) in cases {
        let found = outcome(Dialect::cups(), &cups(fields, body));
        assert_eq!(found, (error, readable.to_vec()), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn fields_that_the_dialect_does_not_know_end_the_walk() {
    let message = cups(&[3, 8, 11], b"00000000000001000001");
    assert_eq!(outcome(Dialect::cups(), &message), (refused(8, UnknownField), vec![3]));
    // A third bitmap.
    let message = cups(&[3, 65, 70], b"00000000000000301");
    assert_eq!(outcome(Dialect::cups(), &message), (refused(65, UnknownField), vec![3]));
    for name in Dialect::BUILT_IN {
        assert_eq!(Dialect::built_in(name).unwrap().spec(65), None, "{name}");
    }
}

#[test]
fn mti_and_bitmap_must_be_well_formed() {
    let cases: [(&Dialect, &[u8], _); 8] = [
        (Dialect::cups(), b"", Truncated),
        (Dialect::cups(), b"020", Truncated),
        (Dialect::cups(), b"02 0\0\0\0\0\0\0\0\0", BadMti),
        (Dialect::cups(), b"0200\0\0\0\0\0\0\0", Truncated),
        (Dialect::cups(), b"0200\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0", Truncated),
        (Dialect::unionpay_pos(), b"\x0A\x00\0\0\0\0\0\0\0\0", BadMti),
        (Dialect::iso87_ascii(), b"0200000000000000000", Truncated),
        (Dialect::iso87_ascii(), b"0200000000000000000G", BadBitmap),
    ];
    for (dialect, message, reason) in cases {
        assert_eq!(outcome(dialect, message), (refused(0, reason), vec![]), "{message:?}");
    }
    // Lower case is taken.
    assert_eq!(outcome(Dialect::iso87_ascii(), b"0800002000000000000a").0, refused(11, PastEnd));
}

#[test]
fn messages_above_65535_bytes_are_refused() {
    let mut message = cups(&[3], b"000000");
    message.resize(65_536, b'0');
    assert_eq!(outcome(Dialect::cups(), &message), (refused(0, Trailing), vec![]));
}

#[test]
fn a_table_forgets_the_message_before() {
    let mut table = FieldTable::default();
    let good = cups(&[3, 11], b"000000000001");
    assert!(Dialect::cups().parse(&good, &mut table).is_ok());
    assert!(Dialect::cups().parse(b"x", &mut table).is_err());
    assert!(table.mti().is_none() && table.view(Dialect::cups(), b"x").is_none());
    assert!(Dialect::cups().parse(b"0200", &mut table).is_err());
    assert!(table.view(Dialect::cups(), b"0200").unwrap().present().is_empty());
}

#[test]
fn variable_fields_may_be_empty() {
    let message = cups(&[2, 35, 55, 60], b"0000000000");
    let mut table = FieldTable::default();
    let view = Dialect::cups().parse(&message, &mut table).unwrap();
    for field in [2, 35, 55, 60] {
        assert_eq!(view.raw(field), Some(&b""[..]), "DE {field}");
    }
    assert_eq!(view.number(2), None);
    assert!(matches!(view.pan(), Err(PanError::Length)));
}

#[test]
fn the_account_comes_from_de_2_or_track_2() {
    let cases: [(Fields<'_>, Result<&[u8], PanError>); 8] = [
        (&[(2, b"6216261000000000018")], Ok(b"6216261000000000018")),
        (&[(35, b"6216261000000000018=30122010")], Ok(b"6216261000000000018")),
        (&[(35, b"6216261000000000018D30122010")], Ok(b"6216261000000000018")),
        (
            &[(2, b"6216261000000000018"), (35, b"6216261000000000018=3")],
            Ok(b"6216261000000000018"),
        ),
        (&[(2, b"6216261000000000018"), (35, b"6216261000000000026=3")], Err(PanError::Conflict)),
        (&[(2, b"62162610000")], Err(PanError::Length)),
        (&[(35, b"62162610000=3")], Err(PanError::Length)),
        (&[(3, b"000000")], Err(PanError::Missing)),
    ];
    for name in Dialect::BUILT_IN {
        let dialect = Dialect::built_in(name).unwrap();
        for (fields, expected) in cases {
            let message = write(dialect, fields);
            let mut table = FieldTable::default();
            let view = dialect.parse(&message, &mut table).unwrap();
            let pan = view.pan();
            assert_eq!(pan.as_ref().map(|pan| pan.digits()).map_err(|error| *error), expected);
        }
    }
}

#[test]
fn packed_tracks_hold_a_separator_and_odd_counts() {
    let dialect = Dialect::unionpay_pos();
    for track in ["6216261000000000018=30122010000000000", "6216261000000000018=3012201000000000"] {
        let message = write(dialect, &[(11, b"000001"), (35, track.as_bytes())]);
        let mut table = FieldTable::default();
        let view = dialect.parse(&message, &mut table).unwrap();
        let mut scratch = [0; 40];
        assert_eq!(view.text(35, &mut scratch), Some(track.as_bytes()));
        let raw = view.raw(35).unwrap();
        assert_eq!(raw.len(), track.len().div_ceil(2));
        assert_eq!(raw[9], 0x8D);
    }
}

#[test]
fn numbers_have_at_most_19_digits() {
    for dialect in [Dialect::cups(), Dialect::unionpay_pos()] {
        for (field, digits, number) in [
            (11, "000123", Some(123)),
            (32, "00000000007", Some(7)),
            (2, "9999999999999999999", Some(9_999_999_999_999_999_999)),
            (53, "0000000000000010", Some(10)),
            (48, "1", Some(1)),
            (48, "00000000000000000001", None),
            (48, "", None),
            (37, "00000000000A", None),
        ] {
            let message = write(dialect, &[(field, digits.as_bytes())]);
            let mut table = FieldTable::default();
            let view = dialect.parse(&message, &mut table).unwrap();
            assert_eq!(view.number(field), number, "{} DE {field}", dialect.name());
        }
    }
}
