//! Writing: order, filling, packing, the bitmap that comes late, and what is refused.

use crate::corpus;
use tapswitch_protocol::{Dialect, FieldTable, MessageWriter, Mti, WriteError};

/// The body of a message of one field, or why it is not written.
fn body(dialect: &Dialect, field: u8, value: &[u8]) -> Result<Vec<u8>, WriteError> {
    let mut out = [0xAA; 2048];
    let mut writer = MessageWriter::new(dialect, Mti::FINANCIAL_REQUEST, &mut out)?;
    writer.put(field, value)?;
    let bytes = writer.finish()?;
    let head = match dialect.name() {
        "cups" => 4 + 8,
        "iso87-ascii" => 4 + 16,
        _ => 2 + 8,
    };
    Ok(out[head..bytes].to_vec())
}

#[test]
fn short_values_are_filled_by_class() {
    let cups = Dialect::cups();
    assert_eq!(body(cups, 11, b"7").unwrap(), b"000007");
    assert_eq!(body(cups, 11, b"").unwrap(), b"000000");
    assert_eq!(body(cups, 39, b"5").unwrap(), b"5 ");
    assert_eq!(body(cups, 41, b"AB").unwrap(), b"AB      ");
    assert_eq!(body(cups, 2, b"621626").unwrap(), b"06621626");
    assert_eq!(body(cups, 60, b"").unwrap(), b"000");
    assert_eq!(body(cups, 52, b"12345678").unwrap(), b"12345678");
    assert_eq!(body(cups, 52, b"1234567"), Err(WriteError::BadValue(52)));
}

#[test]
fn packed_digits_are_padded_on_their_side() {
    let pos = Dialect::unionpay_pos();
    let cases: [(u8, &[u8], &[u8]); 14] = [
        (11, b"123456", &[0x12, 0x34, 0x56]),
        (11, b"7", &[0x00, 0x00, 0x07]),
        (11, b"42", &[0x00, 0x00, 0x42]),
        (11, b"", &[0x00, 0x00, 0x00]),
        (22, b"071", &[0x07, 0x10]),
        (22, b"71", &[0x07, 0x10]),
        (22, b"1", &[0x00, 0x10]),
        (22, b"", &[0x00, 0x00]),
        (23, b"123", &[0x01, 0x23]),
        (23, b"12", &[0x00, 0x12]),
        (23, b"1", &[0x00, 0x01]),
        (23, b"", &[0x00, 0x00]),
        (2, b"62162", &[0x05, 0x62, 0x16, 0x20]),
        (
            60,
            b"22000727000600070",
            &[0x00, 0x17, 0x22, 0x00, 0x07, 0x27, 0x00, 0x06, 0x00, 0x07, 0x00],
        ),
    ];
    for (field, value, wire) in cases {
        let text = String::from_utf8_lossy(value);
        assert_eq!(body(pos, field, value).unwrap(), wire, "DE {field} {text}");
    }
    assert_eq!(body(pos, 35, b"12=4").unwrap(), [0x04, 0x12, 0xD4]);
    assert_eq!(body(pos, 35, b"12D45").unwrap(), [0x05, 0x12, 0xD4, 0x50]);
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let (cups, pos) = (Dialect::cups(), Dialect::unionpay_pos());
    assert_eq!(body(cups, 11, b"12345x"), Err(WriteError::BadValue(11)));
    assert_eq!(body(cups, 4, b"-1"), Err(WriteError::BadValue(4)));
    assert_eq!(body(cups, 35, b"12A"), Err(WriteError::BadValue(35)));
    assert_eq!(body(pos, 11, b"12345A"), Err(WriteError::BadValue(11)));
    assert_eq!(body(pos, 2, b"6=1"), Err(WriteError::BadValue(2)));
    assert_eq!(body(pos, 35, b"12?"), Err(WriteError::BadValue(35)));
}

#[test]
fn long_values_and_unknown_fields_are_refused() {
    let cups = Dialect::cups();
    assert_eq!(body(cups, 11, b"1234567"), Err(WriteError::TooLong(11)));
    assert_eq!(body(cups, 2, b"12345678901234567890"), Err(WriteError::TooLong(2)));
    assert_eq!(body(cups, 52, b"123456789"), Err(WriteError::TooLong(52)));
    assert_eq!(body(Dialect::unionpay_pos(), 22, b"1234"), Err(WriteError::TooLong(22)));
    for field in [0, 1, 8, 65, 127, 129, 255] {
        assert_eq!(body(cups, field, b""), Err(WriteError::UnknownField(field)));
    }
    let mut out = [0; 100];
    let mut writer = MessageWriter::new(cups, Mti::FINANCIAL_REQUEST, &mut out).unwrap();
    assert_eq!(writer.put_number(11, 1_000_000), Err(WriteError::TooLong(11)));
}

#[test]
fn fields_come_in_ascending_order_once() {
    let mut out = [0; 100];
    let mut writer = MessageWriter::new(Dialect::cups(), Mti::FINANCIAL_REQUEST, &mut out).unwrap();
    writer.put(11, b"1").unwrap();
    assert_eq!(writer.put(11, b"1"), Err(WriteError::OutOfOrder(11)));
    assert_eq!(writer.put(3, b"1"), Err(WriteError::OutOfOrder(3)));
}

#[test]
fn numbers_are_written_as_digits() {
    let mut out = [0; 100];
    let mut writer = MessageWriter::new(Dialect::cups(), Mti::FINANCIAL_REQUEST, &mut out).unwrap();
    writer.put_number(4, 12_345).unwrap();
    writer.put_number(11, 0).unwrap();
    writer.put_number(32, 3_330_000).unwrap();
    let bytes = writer.finish().unwrap();
    assert_eq!(&out[12..bytes], b"000000012345000000073330000");
}

/// The secondary bitmap is there only when needed, wherever the first field above 64 comes.
#[test]
fn a_late_secondary_bitmap_moves_what_was_written() {
    type Case<'a> = (&'a Dialect, &'a [(u8, &'a [u8])], &'a [u8]);
    let cases: [Case<'_>; 4] = [
        (Dialect::cups(), &[(11, b"1")], b"0200\0\x20\0\0\0\0\0\x00000001"),
        (
            Dialect::cups(),
            &[(11, b"1"), (70, b"301")],
            b"0200\x80\x20\0\0\0\0\0\0\x04\0\0\0\0\0\0\x00000001301",
        ),
        (Dialect::cups(), &[(70, b"1")], b"0200\x80\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\x00001"),
        (
            Dialect::iso87_ascii(),
            &[(11, b"1"), (64, b"0123456789ABCDEF"), (70, b"301")],
            b"020080200000000000010400000000000000\
              0000010123456789ABCDEF301",
        ),
    ];
    for (dialect, fields, expected) in cases {
        let mut out = [0xAA; 256];
        let mut writer = MessageWriter::new(dialect, Mti::FINANCIAL_REQUEST, &mut out).unwrap();
        for (field, value) in fields {
            writer.put(*field, value).unwrap();
        }
        let bytes = writer.finish().unwrap();
        assert_eq!(&out[..bytes], expected, "{}", dialect.name());
    }
}

#[test]
fn a_message_needs_exactly_its_room() {
    let mut table = FieldTable::default();
    for vector in corpus::all() {
        let view = vector.dialect.parse(&vector.message, &mut table).unwrap();
        let write = |room: usize| {
            let mut out = vec![0; room];
            let mut writer = MessageWriter::new(vector.dialect, vector.mti, &mut out)?;
            for (field, stated) in &vector.fields {
                if field % 2 == 0 {
                    writer.put(*field, &stated.value)?;
                } else {
                    writer.copy(*field, &view)?;
                }
            }
            writer.copy(128, &view).or_else(|error| match error {
                WriteError::OutOfOrder(128) => Ok(()),
                other => Err(other),
            })?;
            writer.finish()
        };
        let bytes = vector.message.len();
        assert_eq!(write(bytes), Ok(bytes), "{}", vector.id);
        for room in 0..bytes {
            assert_eq!(write(room), Err(WriteError::NoRoom), "{} in {room}", vector.id);
        }
    }
}
