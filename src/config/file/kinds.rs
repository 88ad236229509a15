//! The types that a key of the file can have, and how TOML values become them. Not here: ranges.

use toml::de::DeValue;

/// A type that a key can have.
pub(super) trait Kind: Sized {
    /// What the operator is told to write.
    const WANTED: &'static str;
    fn read(value: &DeValue<'_>) -> Option<Self>;
}

impl Kind for i64 {
    const WANTED: &'static str = "a whole number";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        Self::from_str_radix(integer.as_str(), integer.radix()).ok()
    }
}

impl Kind for bool {
    const WANTED: &'static str = "true or false";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl Kind for String {
    const WANTED: &'static str = "text in quotes";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(Self::from)
    }
}

impl Kind for Vec<i64> {
    const WANTED: &'static str = "a list of whole numbers, as in [1, 2]";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|item| i64::read(item.get_ref())).collect()
    }
}

/// A number or a name of one.
#[derive(Clone, Debug)]
pub(in crate::config) enum Word {
    Number(i64),
    Name(String),
}

impl Kind for Vec<Word> {
    const WANTED: &'static str = "a list of whole numbers and names, as in [5, \"qr\"]";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let word = |item: &DeValue<'_>| match i64::read(item) {
            Some(number) => Some(Word::Number(number)),
            None => String::read(item).map(Word::Name),
        };
        value.as_array()?.iter().map(|item| word(item.get_ref())).collect()
    }
}

impl Kind for Vec<String> {
    const WANTED: &'static str = "a list of texts, as in [\"a\", \"b\"]";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|item| String::read(item.get_ref())).collect()
    }
}

pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(integer)
            if i64::from_str_radix(integer.as_str(), integer.radix()).is_err() =>
        {
            "a number beyond 64 bits"
        }
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "such a list",
        DeValue::Table(_) => "a section",
    }
}
