//! Responses: what is echoed is echoed bit for bit, what is added replaces, nothing else is there.

use crate::corpus;
use crate::random::Random;
use tapswitch_protocol::{
    Addition, Dialect, FieldSet, FieldTable, MessageWriter, Mti, WriteError, respond,
};

#[test]
fn a_response_is_the_echoed_fields_bit_for_bit_and_the_additions() {
    let additions =
        [Addition { field: 38, value: b"A1B2C3" }, Addition { field: 39, value: b"00" }];
    let (mut request_table, mut response_table) = (FieldTable::default(), FieldTable::default());
    for vector in corpus::all() {
        let Some(mti) = vector.mti.response() else { continue };
        let request = vector.dialect.parse(&vector.message, &mut request_table).unwrap();
        let mut out = [0xAA; 2048];
        let bytes = respond(&request, mti, vector.dialect.echo, &additions, &mut out).unwrap();
        let response = vector.dialect.parse(&out[..bytes], &mut response_table).unwrap();
        assert_eq!(response.mti().number(), vector.mti.without_repeat().number() + 10);
        let echoed = request.present().and(vector.dialect.echo).without(38).without(39);
        assert_eq!(response.present(), echoed.with(38).with(39), "{}", vector.id);
        for field in echoed {
            assert_eq!(response.wire(field), request.wire(field), "{} DE {field}", vector.id);
        }
        assert_eq!(response.raw(38), Some(&b"A1B2C3"[..]), "{}", vector.id);
        assert_eq!(response.raw(39), Some(&b"00"[..]), "{}", vector.id);
    }
}

/// Any echo set and any additions: the same message as one written field by field.
#[test]
fn a_response_is_what_the_writer_would_write_field_by_field() {
    let vectors = corpus::all();
    let mut random = Random::new(39);
    for _ in 0..5_000 {
        let vector = random.pick(&vectors);
        let mut table = FieldTable::default();
        let request = vector.dialect.parse(&vector.message, &mut table).unwrap();
        let some = |random: &mut Random, most: usize| -> FieldSet {
            (0..random.below(most))
                .map(|_| random.byte() % 128 + 1)
                .fold(FieldSet::EMPTY, FieldSet::with)
        };
        let echo = some(&mut random, 300);
        let added = some(&mut random, 8);
        let values: Vec<(u8, Vec<u8>)> = added
            .into_iter()
            .filter_map(|field| Some((field, addition(vector.dialect, field, &mut random)?)))
            .collect();
        let additions: Vec<Addition<'_>> =
            values.iter().map(|(field, value)| Addition { field: *field, value }).collect();
        let mut out = [0xAA; 4096];
        let bytes = respond(&request, Mti::FINANCIAL_REQUEST, echo, &additions, &mut out).unwrap();

        let mut plain = [0x55; 4096];
        let mut writer =
            MessageWriter::new(vector.dialect, Mti::FINANCIAL_REQUEST, &mut plain).unwrap();
        for field in 2..=128 {
            if let Some((_, value)) = values.iter().find(|(added, _)| *added == field) {
                writer.put(field, value).unwrap();
            } else if echo.has(field) {
                writer.copy(field, &request).unwrap();
            }
        }
        let plain_bytes = writer.finish().unwrap();
        assert_eq!(out[..bytes], plain[..plain_bytes], "{}", vector.id);
    }
}

/// A value of digits that any field but a long `b` takes; `None` for a field that is not known.
fn addition(dialect: &Dialect, field: u8, random: &mut Random) -> Option<Vec<u8>> {
    let spec = dialect.spec(field)?;
    let fixed = spec.prefix_digits == 0;
    let length = if fixed { spec.length_max } else { spec.length_max.min(30) };
    Some((0..length).map(|_| b'0' + random.byte() % 10).collect())
}

#[test]
fn additions_replace_what_would_be_echoed() {
    let vectors = corpus::cups();
    let vector = vectors.iter().find(|vector| vector.id == "c-0200-nfc-nopin").unwrap();
    let mut table = FieldTable::default();
    let request = vector.dialect.parse(&vector.message, &mut table).unwrap();
    let additions = [4, 15, 39, 100].map(|field| Addition { field, value: b"7" });
    let mut out = [0; 2048];
    let mti = vector.mti.response().unwrap();
    let bytes = respond(&request, mti, FieldSet::of(&[3, 4, 11]), &additions, &mut out).unwrap();
    let mut table = FieldTable::default();
    let response = vector.dialect.parse(&out[..bytes], &mut table).unwrap();
    assert_eq!(response.present(), FieldSet::of(&[3, 4, 11, 15, 39, 100]));
    assert_eq!(response.amount().unwrap().0, 7);
    assert_eq!(response.raw(39), Some(&b"7 "[..]));
    assert_eq!(response.raw(100), Some(&b"7"[..]));
}

#[test]
fn additions_out_of_order_are_refused() {
    let vectors = corpus::cups();
    let vector = &vectors[0];
    let mut table = FieldTable::default();
    let request = vector.dialect.parse(&vector.message, &mut table).unwrap();
    let mut out = [0; 2048];
    for fields in [[39, 38], [39, 39]] {
        let additions = fields.map(|field| Addition { field, value: b"00" });
        let result =
            respond(&request, Mti::FINANCIAL_REQUEST, FieldSet::EMPTY, &additions, &mut out);
        assert_eq!(result, Err(WriteError::OutOfOrder(fields[1])));
    }
}

#[test]
fn a_response_needs_exactly_its_room() {
    let mut table = FieldTable::default();
    for vector in corpus::all() {
        let request = vector.dialect.parse(&vector.message, &mut table).unwrap();
        let additions = [Addition { field: 39, value: b"00" }];
        let mut out = [0; 2048];
        let mut write = |room: usize| {
            let out = &mut out[..room];
            respond(&request, Mti::FINANCIAL_REQUEST, vector.dialect.echo, &additions, out)
        };
        let bytes = write(2048).unwrap();
        assert_eq!(write(bytes), Ok(bytes));
        for room in 0..bytes {
            assert_eq!(write(room), Err(WriteError::NoRoom), "{} in {room}", vector.id);
        }
    }
}

/// A request with a field at fault is answered too: its bytes stand between others that are echoed.
#[test]
fn a_refused_field_is_not_echoed() {
    let dialect = Dialect::cups();
    let (primary, _) = FieldSet::of(&[3, 7, 11, 12, 13]).to_bitmap();
    let body = b"0000000704093015x00123120000070400".as_slice();
    let message = [b"0200".as_slice(), &primary.to_be_bytes(), &body[..32]].concat();
    let mut table = FieldTable::default();
    assert_eq!(dialect.parse(&message, &mut table).err().unwrap().field, 11);
    let request = table.view(dialect, &message).unwrap();
    let additions = [Addition { field: 39, value: b"30" }];
    let mut out = [0; 256];
    let mti = request.mti().response().unwrap();
    let bytes = respond(&request, mti, dialect.echo, &additions, &mut out).unwrap();
    let mut table = FieldTable::default();
    let response = dialect.parse(&out[..bytes], &mut table).unwrap();
    assert_eq!(response.present(), FieldSet::of(&[3, 7, 12, 13, 39]));
    assert_eq!(response.raw(7), Some(&b"0704093015"[..]));
    assert_eq!(response.raw(12), Some(&b"120000"[..]));
    assert_eq!(response.raw(13), Some(&b"0704"[..]));
}
