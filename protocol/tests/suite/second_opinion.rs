//! The existing Rust ISO 8583 crate reads the CUPS vectors too; what both give is the same. It
//! panics on some damaged messages, so that it is shown only good ones.

use crate::corpus;
use iso8583_rs::iso8583::iso_spec;
use tapswitch_protocol::FieldTable;

#[test]
fn both_read_the_same_from_every_cups_vector() {
    // It finds its specification by the environment variable SPEC_FILE (.cargo/config.toml).
    let spec = iso_spec::spec("");
    let mut table = FieldTable::default();
    let mut compared = 0;
    for vector in corpus::cups() {
        let view = vector.dialect.parse(&vector.message, &mut table).unwrap();
        let mut message = vector.message.clone();
        let second = spec.parse(&mut message);
        let second = second.unwrap_or_else(|error| panic!("{}: {}", vector.id, error.msg));
        let mti = second.get_field_value(&"message type".to_owned());
        assert_eq!(mti.ok(), Some(view.mti().to_string()), "{}", vector.id);
        for field in 2..=128 {
            let place = format!("{} DE {field}", vector.id);
            assert_eq!(second.bmp.is_on(u32::from(field)), view.has(field), "{place}");
            let content = second.fd_map.get(&format!("DE {field}"));
            assert_eq!(content.map(Vec::as_slice), view.raw(field), "{place}");
            compared += u32::from(view.has(field));
        }
    }
    assert!(compared > 41 * 5, "{compared} fields of 41 messages were compared");
}
