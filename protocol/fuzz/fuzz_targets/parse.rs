//! Any bytes as a message of each dialect: no panic, every accessor callable, and what was read can
//! be answered, described, and written again to a message that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tapswitch_protocol::chip::{ChipData, PanSequence};
use tapswitch_protocol::tlv::TlvReader;
use tapswitch_protocol::{
    Addition, Dialect, FieldTable, MessageView, MessageWriter, Par, TokenData, TokenDetails,
    describe, respond,
};

/// Above the largest message that a fuzzer makes by default.
const OUTPUT_BYTES: usize = 65_536;

fuzz_target!(|bytes: &[u8]| {
    for name in Dialect::BUILT_IN {
        if let Some(dialect) = Dialect::built_in(name) {
            let mut table = FieldTable::default();
            let is_whole = dialect.parse(bytes, &mut table).is_ok();
            if let Some(view) = table.view(dialect, bytes) {
                read_everything(&view);
                answer(&view);
                if is_whole {
                    write_again(&view);
                }
            }
        }
    }
});

fn read_everything(view: &MessageView<'_>) {
    let mut scratch = [0; 999];
    for field in 0..=255 {
        let there = view.has(field);
        assert_eq!(view.raw(field).is_some(), there);
        assert_eq!(view.wire(field).is_some(), there);
        assert_eq!(view.text(field, &mut scratch).is_some(), there);
        assert!(there || view.number(field).is_none());
        TlvReader::new(view.raw(field).unwrap_or_default()).for_each(drop);
        let _ = TokenData::read(view.raw(field).unwrap_or_default());
        let _ = TokenDetails::read(view.raw(field).unwrap_or_default());
        let _ = Par::read(view.raw(field).unwrap_or_default());
        if let Ok(chip) = ChipData::parse(view.raw(field).unwrap_or_default()) {
            assert!(chip.objects().all(|object| chip.get(object.tag).is_some()));
            let _ = (chip.issuer_application_data(), PanSequence::of(&chip, view));
        }
    }
    assert!(view.stan().is_none_or(|stan| stan.0 <= 999_999));
    assert!(view.amount().is_none_or(|amount| amount.0 < 1_000_000_000_000));
    assert!(view.pan().is_ok_and(|pan| pan.digits().len() >= 12) || view.pan().is_err());
    assert!(describe::rows(view).map(|row| row.field).is_sorted());
    assert!(describe::values(view).map(|(field, _)| field).eq(view.present()));
}

fn answer(view: &MessageView<'_>) {
    let Some(mti) = view.mti().response() else { return };
    let additions = [Addition { field: 39, value: b"96" }];
    let mut out = vec![0; OUTPUT_BYTES];
    let echo = view.dialect().echo;
    let bytes = respond(view, mti, echo, &additions, &mut out).expect("room for a response");
    let mut table = FieldTable::default();
    let response = view.dialect().parse(&out[..bytes], &mut table).expect("a response reads");
    assert_eq!(response.present(), view.present().and(echo).with(39));
}

fn write_again(view: &MessageView<'_>) {
    let mut out = vec![0; OUTPUT_BYTES];
    let mut writer =
        MessageWriter::new(view.dialect(), view.mti(), &mut out).expect("room for a message");
    let (mut first, mut second) = ([0; 999], [0; 999]);
    for field in view.present() {
        let value = view.text(field, &mut first).expect("it is there");
        writer.put(field, value).expect("what was read can be written");
    }
    let bytes = writer.finish().expect("room for a message");
    let mut table = FieldTable::default();
    let again = view.dialect().parse(&out[..bytes], &mut table).expect("what was written reads");
    assert_eq!(again.present(), view.present());
    for field in view.present() {
        assert_eq!(again.text(field, &mut first), view.text(field, &mut second));
    }
}
