//! Any message that can be written is read as it was meant, and written again to the same bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;
use tapswitch_protocol::{
    Class, Dialect, FieldSet, FieldSpec, FieldTable, MessageWriter, Mti, Packing,
};

/// Most characters of a variable value, so that messages stay of a plausible size; a few are longer.
const PLAUSIBLE: usize = 40;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 400,
        rng_seed: RngSeed::Fixed(8583),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A value of the field's class and length.
fn value(spec: FieldSpec) -> BoxedStrategy<Vec<u8>> {
    let max = usize::from(spec.length_max);
    let length = match (spec.prefix_digits, spec.class) {
        (0, Class::B | Class::Z) => max..=max,
        (0, _) => 0..=max,
        _ => 0..=max.min(PLAUSIBLE),
    };
    let packed = spec.packing != Packing::Plain;
    match spec.class {
        Class::N => vec(b'0'..=b'9', length).boxed(),
        Class::Z if packed => vec(prop_oneof![9 => b'0'..=b'9', 1 => Just(b'=')], length).boxed(),
        Class::Z => vec(prop_oneof![9 => b'0'..=b'?', 1 => Just(b'D')], length).boxed(),
        Class::An | Class::Ans | Class::B => vec(any::<u8>(), length).boxed(),
    }
}

fn fields(dialect: &'static Dialect) -> impl Strategy<Value = BTreeMap<u8, Vec<u8>>> {
    let known: Vec<u8> = (2..=128).filter(|&field| dialect.spec(field).is_some()).collect();
    let field = proptest::sample::select(known)
        .prop_flat_map(move |field| (Just(field), value(dialect.spec(field).unwrap())));
    vec(field, 0..60).prop_map(BTreeMap::from_iter)
}

/// The value as it must be read: filled by class.
fn filled(spec: FieldSpec, value: &[u8]) -> Vec<u8> {
    let spare = usize::from(spec.length_max) - value.len();
    match (spec.prefix_digits, spec.class) {
        (0, Class::N) => [vec![b'0'; spare], value.to_vec()].concat(),
        (0, Class::An | Class::Ans) => [value.to_vec(), vec![b' '; spare]].concat(),
        _ => value.to_vec(),
    }
}

fn write(dialect: &Dialect, mti: Mti, fields: &BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
    let mut out = vec![0xAA; 16_384];
    let mut writer = MessageWriter::new(dialect, mti, &mut out).unwrap();
    for (&field, value) in fields {
        writer.put(field, value).unwrap();
    }
    let bytes = writer.finish().unwrap();
    out.truncate(bytes);
    out
}

fn round_trip(
    dialect: &Dialect,
    mti: u16,
    fields: &BTreeMap<u8, Vec<u8>>,
) -> Result<(), TestCaseError> {
    let mti = Mti::from_number(mti).unwrap();
    let message = write(dialect, mti, fields);
    let mut table = FieldTable::default();
    let view = dialect.parse(&message, &mut table).unwrap();
    prop_assert_eq!(view.mti(), mti);
    let numbers: Vec<u8> = fields.keys().copied().collect();
    prop_assert_eq!(view.present(), FieldSet::of(&numbers));
    let mut read = BTreeMap::new();
    for (&field, value) in fields {
        let mut scratch = [0; 999];
        let expected = filled(dialect.spec(field).unwrap(), value);
        let text = view.text(field, &mut scratch).unwrap();
        prop_assert_eq!(text, expected, "DE {}", field);
        read.insert(field, text.to_vec());
    }
    prop_assert_eq!(write(dialect, mti, &read), message);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cups(mti in 0..10_000u16, fields in fields(Dialect::cups())) {
        round_trip(Dialect::cups(), mti, &fields)?;
    }

    #[test]
    fn iso87_ascii(mti in 0..10_000u16, fields in fields(Dialect::iso87_ascii())) {
        round_trip(Dialect::iso87_ascii(), mti, &fields)?;
    }

    #[test]
    fn unionpay_pos(mti in 0..10_000u16, fields in fields(Dialect::unionpay_pos())) {
        round_trip(Dialect::unionpay_pos(), mti, &fields)?;
    }
}

/// Every variable field at its longest, each alone: the length prefix has all its digits.
#[test]
fn longest_values() {
    for name in Dialect::BUILT_IN {
        let dialect = Dialect::built_in(name).unwrap();
        for field in 2..=128 {
            let Some(spec) = dialect.spec(field) else { continue };
            let longest = vec![b'7'; usize::from(spec.length_max)];
            round_trip(dialect, 200, &BTreeMap::from([(field, longest)])).unwrap();
        }
    }
}
