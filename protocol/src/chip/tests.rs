use super::*;
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<Vec<u32>, ChipDataError> {
    ChipData::parse(bytes).map(|chip| chip.objects().map(|object| object.tag).collect())
}

fn problem<T: fmt::Debug>(result: Result<T, ObjectError>) -> (u32, ObjectProblem) {
    let error = result.unwrap_err();
    (error.tag, error.problem)
}

#[test]
fn objects_come_in_any_order_and_may_be_empty() {
    let bytes =
        b"\x9F\x36\x02\x02\x40\x9F\x09\x00\x9F\x26\x08ABCDEFGH\x9F\x27\x01\x80\x5F\x34\x01\x12";
    let chip = ChipData::parse(bytes).unwrap();
    assert_eq!(chip.transaction_counter(), Ok(0x0240));
    assert_eq!(chip.cryptogram(), Ok(*b"ABCDEFGH"));
    assert_eq!(chip.cryptogram_kind(), Ok(CryptogramKind::Request));
    assert_eq!(chip.pan_sequence().unwrap().map(PanSequence::number), Some(12));
    assert_eq!(chip.get(0x9F09), Some(&[][..]));
    assert_eq!(chip.get(0x95), None);
    assert_eq!(problem(chip.require(0x9F09)), (0x9F09, ObjectProblem::Missing));
    assert_eq!(parse(bytes), Ok(vec![0x9F36, 0x9F09, 0x9F26, 0x9F27, 0x5F34]));
    assert_eq!(parse(b""), Ok(vec![]));
}

#[test]
fn what_can_be_taken_in_two_ways_is_refused_by_why() {
    let wrong: [(&[u8], ChipDataError); 7] = [
        (b"\x9F\x36\x02\x00\x01\x9F\x36\x02\x00\x02", ChipDataError::Twice(0x9F36)),
        (b"\x95\x00\x95\x00", ChipDataError::Twice(0x95)),
        (b"\x95\x05\x00", ChipDataError::Tlv(TlvError::Truncated)),
        (b"\x95\x80\x00\x00", ChipDataError::Tlv(TlvError::Length)),
        (b"\x9F\xFF\xFF\xFF\x01\x00", ChipDataError::Tlv(TlvError::Tag)),
        (b"\x9A\x00\x00\x00", ChipDataError::Padding),
        (b"\x9A\x00\x00", ChipDataError::Tlv(TlvError::Truncated)),
    ];
    for (bytes, error) in wrong {
        assert_eq!(parse(bytes), Err(error), "{error}");
    }
}

#[test]
fn scripts_may_come_more_than_once() {
    let chip = ChipData::parse(b"\x72\x01A\x72\x01B\x71\x01C\x71\x00").unwrap();
    assert_eq!(chip.get(tag::SCRIPT_2), Some(&b"A"[..]));
    assert_eq!(chip.objects().count(), 4);
}

#[test]
fn objects_are_bounded() {
    let bytes = |count: u8| (1..=count).flat_map(|tag| [0xDF, tag, 0]).collect::<Vec<_>>();
    assert_eq!(parse(&bytes(64)).map(|tags| tags.len()), Ok(OBJECTS_MAX));
    assert_eq!(parse(&bytes(65)), Err(ChipDataError::TooMany));
    let long = |count: u16| {
        let mut bytes = vec![0x71, 0x82];
        bytes.extend(count.to_be_bytes());
        bytes.resize(bytes.len() + usize::from(count), 0);
        bytes
    };
    assert_eq!(parse(&long(65_531)), Ok(vec![0x71]));
    assert_eq!(parse(&long(65_532)), Err(ChipDataError::TooLong));
}

#[test]
fn objects_of_wrong_size_or_content_are_named() {
    let of = |bytes: &'static [u8]| ChipData::parse(bytes).unwrap();
    let counter = tag::TRANSACTION_COUNTER;
    let short = problem(of(b"\x9F\x36\x01\x00").transaction_counter());
    assert_eq!(short, (counter, ObjectProblem::Length));
    assert_eq!(problem(of(b"").transaction_counter()), (counter, ObjectProblem::Missing));
    let kind = problem(of(b"\x9F\x27\x01\xC0").cryptogram_kind());
    assert_eq!(kind, (tag::CRYPTOGRAM_INFORMATION, ObjectProblem::Content));
    assert_eq!(of(b"\x9F\x27\x01\x00").cryptogram_kind(), Ok(CryptogramKind::Declined));
    assert_eq!(of(b"\x9F\x27\x01\x40").cryptogram_kind(), Ok(CryptogramKind::Approved));
    let sequence = |bytes| of(bytes).pan_sequence().map_err(|error| error.problem);
    assert_eq!(sequence(b"\x5F\x34\x01\x1A"), Err(ObjectProblem::Content));
    assert_eq!(sequence(b"\x5F\x34\x02\x00\x01"), Err(ObjectProblem::Length));
    assert_eq!(sequence(b"\x5F\x34\x00"), Ok(None));
    assert_eq!(problem(of(b"").issuer_application_data()).1, ObjectProblem::Missing);
}

#[test]
fn sequence_numbers_are_of_the_chip_before_the_message() {
    let dialect = crate::Dialect::built_in("cups").unwrap();
    let of = |de_23: Option<&[u8]>, chip: &'static [u8]| {
        let mut out = [0; 128];
        let mti = crate::Mti::from_number(200).unwrap();
        let mut writer = crate::MessageWriter::new(dialect, mti, &mut out).unwrap();
        if let Some(value) = de_23 {
            writer.put(23, value).unwrap();
        }
        writer.put(55, chip).unwrap();
        let bytes = writer.finish().unwrap();
        let mut table = crate::FieldTable::default();
        let view = dialect.parse(&out[..bytes], &mut table).unwrap();
        let chip = ChipData::of(&view).unwrap().unwrap();
        PanSequence::of(&chip, &view).map(PanSequence::number).map_err(|error| error.problem)
    };
    assert_eq!(of(Some(b"001"), b"\x5F\x34\x01\x02"), Ok(2));
    assert_eq!(of(Some(b"001"), b"\x5F\x34\x00"), Ok(1));
    assert_eq!(of(None, b""), Ok(0));
    assert_eq!(of(Some(b"100"), b""), Err(ObjectProblem::Content));
    assert_eq!(of(Some(b"001"), b"\x5F\x34\x01\xFF"), Err(ObjectProblem::Content));
}

#[test]
fn an_object_is_put_among_others() {
    let chip = ChipData::parse(b"\x91\x02AB\x71\x01S\x71\x01T").unwrap();
    let write = |tag, value: &[u8]| {
        let mut out = [0; 16];
        chip.write_with(tag, value, &mut out).map(|bytes| out[..bytes].to_vec())
    };
    let replaced = write(tag::ISSUER_AUTHENTICATION, b"123").unwrap();
    assert_eq!(replaced, b"\x91\x03123\x71\x01S\x71\x01T");
    assert_eq!(write(0x8A, b"00").unwrap(), b"\x91\x02AB\x71\x01S\x71\x01T\x8A\x0200");
    assert_eq!(write(0x8A, b"00000"), Err(WriteError::NoRoom));
}

#[test]
fn values_cannot_be_printed() {
    let chip = ChipData::parse(b"\x5A\x08\x62\x16\x26\x10\x00\x00\x00\x01").unwrap();
    assert_eq!(format!("{chip:?}"), "ChipData(1 objects)");
}

proptest! {
    /// What is accepted is what the reader reads, and every value lies in the bytes given.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let read: Vec<_> = TlvReader::new(&bytes).collect();
        match ChipData::parse(&bytes) {
            Ok(chip) => {
                let read = read.into_iter().map(|object| object.map_err(|_| ()));
                prop_assert!(read.eq(chip.objects().map(Ok)));
            }
            Err(ChipDataError::Tlv(error)) => {
                prop_assert!(matches!(read.last(), Some(Err(last)) if *last == error));
            }
            Err(_) => prop_assert!(!read.is_empty()),
        }
    }
}
