//! Descriptions: what may be seen is as stated, what may not is nowhere in them.

use crate::corpus::{self, Vector};
use tapswitch_protocol::describe::{Row, rows, values};
use tapswitch_protocol::{Class, Dialect, FieldTable, MessageWriter, Mti};

/// Data elements of which something is hidden.
const SENSITIVE: [u8; 11] = [2, 34, 35, 36, 45, 52, 55, 61, 96, 102, 103];

/// Field, tag and text of each row; field and text of each value.
type Described = (Vec<(u8, Option<u32>, String)>, Vec<(u8, String)>);

fn described(vector: &Vector) -> Described {
    let mut table = FieldTable::default();
    let view = vector.dialect.parse(&vector.message, &mut table).unwrap();
    let rows = rows(&view).map(|Row { field, tag, text, .. }| (field, tag, text));
    (rows.collect(), values(&view).collect())
}

#[test]
fn fields_that_hide_nothing_read_as_stated() {
    let mut compared = 0;
    for vector in corpus::all() {
        let (_, values) = described(&vector);
        assert!(values.iter().map(|(field, _)| field).eq(vector.fields.keys()), "{}", vector.id);
        for (field, shown) in values {
            let stated = &vector.fields[&field].value;
            let holds_key = stated.starts_with(b"NK") || stated.starts_with(b"SM") || field == 62;
            let is_printable = stated.iter().all(|byte| (b' '..=b'~').contains(byte));
            let is_binary = vector.dialect.spec(field).unwrap().class == Class::B;
            if SENSITIVE.contains(&field) || holds_key || !(is_printable || is_binary) {
                continue;
            }
            let expected = if is_binary {
                stated.iter().map(|byte| format!("{byte:02X}")).collect()
            } else {
                String::from_utf8(stated.clone()).unwrap()
            };
            assert_eq!(shown, expected, "{} DE {field}", vector.id);
            compared += 1;
        }
    }
    assert!(compared > 900, "{compared} fields");
}

#[test]
fn nothing_secret_is_shown() {
    // The jPOS messages count up to 16 in their security information too.
    for vector in corpus::all().iter().filter(|vector| !vector.id.starts_with("jpos")) {
        let (rows, values) = described(vector);
        let mut texts: Vec<&String> = values.iter().map(|(_, text)| text).collect();
        texts.extend(rows.iter().map(|(_, _, text)| text));
        let secret = |text: &str| {
            let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
            texts.iter().any(|shown| shown.contains(text) || shown.contains(&hex))
        };
        for (field, stated) in &vector.fields {
            let value = String::from_utf8_lossy(&stated.value);
            let hidden = match field {
                2 => value.into_owned(),
                // What follows the account is zeros in these vectors.
                35 => value.split('=').next().unwrap().to_owned(),
                52 => stated.value.iter().map(|byte| format!("{byte:02X}")).collect(),
                48 if value.starts_with("NK") => hex(&stated.value[2..]),
                63 if value.starts_with("SM") => hex(&stated.value[5..]),
                _ => continue,
            };
            assert!(hidden.is_empty() || !secret(&hidden), "{} DE {field}", vector.id);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn a_purchase_by_phone_is_described() {
    let vectors = corpus::cups();
    let vector = vectors.iter().find(|vector| vector.id == "c-0200-nfc-pin-sm4").unwrap();
    let (rows, values) = described(vector);
    let row = |field: u8, tag: Option<u32>| {
        let row = rows.iter().find(|row| (row.0, row.1) == (field, tag));
        row.map(|row| row.2.as_str())
    };
    assert_eq!(row(2, None), Some("621626*********0018"));
    assert_eq!(row(3, None), Some("000000"));
    assert_eq!(row(35, None), Some("621626*********0018******************"));
    assert_eq!(row(52, None), Some("[8 bytes]"));
    assert_eq!(row(55, Some(0x9F36)), Some("0240"));
    assert_eq!(row(55, None), None);
    assert_eq!(row(63, None), Some("534D303136[16 bytes]"));
    assert_eq!(row(128, None), Some("3632373743344136"));
    let chip = &values.iter().find(|(field, _)| *field == 55).unwrap().1;
    assert_eq!(*chip, hex(&vector.fields[&55].raw));
    let shown = (values.len(), rows.len());
    let objects = vector.fields[&55].tlv.len();
    assert_eq!(shown, (vector.fields.len(), vector.fields.len() - 1 + objects));
}

#[test]
fn rows_name_their_fields() {
    let vectors = corpus::cups();
    let mut table = FieldTable::default();
    let view = vectors[2].dialect.parse(&vectors[2].message, &mut table).unwrap();
    let described: Vec<Row<'_>> = rows(&view).collect();
    let find = |field: u8| described.iter().find(|row| row.field == field).unwrap();
    assert_eq!((find(11).name, find(11).is_binary), ("System trace audit number (STAN)", false));
    let chip = find(55);
    assert_eq!((chip.tag, chip.name), (Some(0x9F26), "Application cryptogram"));
    assert!(chip.is_binary && find(128).is_binary);
}

fn one(dialect: &Dialect, mti: u16, field: u8, value: &[u8]) -> String {
    let mut out = [0; 1024];
    let mti = Mti::from_number(mti).unwrap();
    let mut writer = MessageWriter::new(dialect, mti, &mut out).unwrap();
    writer.put(field, value).unwrap();
    let bytes = writer.finish().unwrap();
    let mut table = FieldTable::default();
    let view = dialect.parse(&out[..bytes], &mut table).unwrap();
    values(&view).next().unwrap().1
}

#[test]
fn every_place_for_secrets_is_covered_in_every_dialect() {
    let (cups, iso87, pos) = (Dialect::cups(), Dialect::iso87_ascii(), Dialect::unionpay_pos());
    let cases: [(&Dialect, u16, u8, &[u8], &str); 19] = [
        (pos, 200, 2, b"6216261000000000018", "621626*********0018"),
        (pos, 200, 35, b"6216261000000000018=30122010", "621626*********0018*********"),
        (pos, 200, 2, b"62162610", "********"),
        (cups, 200, 36, b"6216261000000000018=15615", "621626*********0018******"),
        (cups, 200, 45, b"B6216261000000000018^A/B", "*621626*********0018****"),
        (iso87, 200, 52, b"0123456789ABCDEF", "[16 bytes]"),
        (iso87, 200, 96, b"0123456789ABCDEF", "[16 bytes]"),
        (cups, 800, 96, &[7; 8], "[8 bytes]"),
        (cups, 800, 48, b"NK0123456789ABCDEF", "NK[16 bytes]"),
        (cups, 200, 61, b"01310101199001011234123", "[23 bytes]"),
        (pos, 810, 62, &[0xAB; 24], "[24 bytes]"),
        (pos, 200, 62, &[0xAB; 2], "ABAB"),
        (pos, 200, 63, b"SM016\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "SM016[16 bytes]"),
        (
            cups,
            200,
            63,
            b"TK021\x02\x136235360000000000019",
            "544B3032310213363233353336******************30303139",
        ),
        (cups, 200, 103, b"6216261000000000019", "621626*********0019"),
        (cups, 200, 57, b"TO 6216261000000000018", "TO 621626*********0018"),
        (iso87, 200, 55, b"5A0A6216261000000000018F", "5A0A621626*********0018"),
        (iso87, 200, 55, b"003317000394809080646510000000", "003317000394809080646510000000"),
        (cups, 200, 55, b"\x9F\x36\x02\x00\x01\x5A\x0A\x62", "9F36020001[3 bytes]"),
    ];
    for (dialect, mti, field, value, shown) in cases {
        assert_eq!(one(dialect, mti, field, value), shown, "{} DE {field}", dialect.name());
    }
}

#[test]
fn a_partly_read_message_is_described_too() {
    let vector = &corpus::cups()[0];
    let message = &vector.message[..100];
    let mut table = FieldTable::default();
    assert!(vector.dialect.parse(message, &mut table).is_err());
    let view = table.view(vector.dialect, message).unwrap();
    let fields: Vec<u8> = rows(&view).map(|row| row.field).collect();
    assert_eq!(fields, [2, 3, 7, 11, 12, 13, 15, 18, 22, 25, 26, 32]);
}
