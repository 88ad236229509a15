//! A dialect: the table by which a peer's messages are read and written. It is data, loaded at
//! start from a text file (see `dialects/`); the parser is one walk over the table.

use crate::field::{FIELDS, FieldSet, FieldSpec};
use crate::row::{Content, Row};
use core::fmt;
use std::sync::LazyLock;

/// Encoding of the MTI and of length prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    /// A character a digit.
    Ascii,
    /// Packed decimal.
    Bcd,
}

/// Encoding of the bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitmapEncoding {
    /// 8 or 16 bytes.
    Binary,
    /// 16 or 32 hexadecimal characters.
    Hex,
}

/// How one family of peers writes ISO 8583.
#[derive(Clone, Debug)]
pub struct Dialect {
    name: String,
    pub(crate) mti: TextEncoding,
    pub(crate) bitmap: BitmapEncoding,
    pub(crate) length: TextEncoding,
    /// Copied from a request into its response.
    pub echo: FieldSet,
    /// Taken from the issuer's response into ours.
    pub issuer_adds: FieldSet,
    /// What a pending request keeps; never sensitive authentication data.
    pub kept: FieldSet,
    /// Made of usages ([`crate::usage`]).
    pub usages: FieldSet,
    fields: [Option<FieldSpec>; 129],
    /// `fields` as the walk reads them, by field number less one.
    pub(crate) rows: [Row; FIELDS],
    /// Fields whose content is checked: digits, packed digits, tracks.
    pub(crate) digits: FieldSet,
    pub(crate) packed: FieldSet,
    pub(crate) tracks: FieldSet,
    names: Vec<String>,
}

/// A dialect file that cannot be used: which line, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectError {
    /// Line number, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

impl fmt::Display for DialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for DialectError {}

/// Sensitive authentication data and MACs: never kept, never echoed (PCI DSS 3.3.1).
const NEVER_KEPT: FieldSet = FieldSet::of(&[35, 36, 45, 52, 55, 64, 128]);

impl Dialect {
    /// Reads a dialect file.
    ///
    /// # Errors
    /// The first line that cannot be used, or line 0 when the file as a whole lacks something.
    pub fn parse_table(name: &str, text: &str) -> Result<Self, DialectError> {
        let mut dialect = Self {
            name: name.to_owned(),
            mti: TextEncoding::Ascii,
            bitmap: BitmapEncoding::Binary,
            length: TextEncoding::Ascii,
            echo: FieldSet::EMPTY,
            issuer_adds: FieldSet::EMPTY,
            kept: FieldSet::EMPTY,
            usages: FieldSet::EMPTY,
            fields: [None; 129],
            rows: [Row::UNKNOWN; FIELDS],
            digits: FieldSet::EMPTY,
            packed: FieldSet::EMPTY,
            tracks: FieldSet::EMPTY,
            names: vec![String::new(); 129],
        };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let number = index + 1;
                dialect
                    .parse_line(line)
                    .map_err(|problem| DialectError { line: number, problem })?;
            }
        }
        dialect.check().map_err(|problem| DialectError { line: 0, problem })?;
        for field in 1..=128 {
            let Some(spec) = dialect.spec(field) else { continue };
            let row = Row::new(spec);
            match row.content {
                Content::Text | Content::Bytes => {}
                Content::Digits => dialect.digits = dialect.digits.with(field),
                Content::PackedLeft | Content::PackedRight => {
                    dialect.packed = dialect.packed.with(field);
                }
                Content::Track | Content::PackedTrack => {
                    dialect.tracks = dialect.tracks.with(field);
                }
            }
            dialect.rows[usize::from(field) - 1] = row;
        }
        Ok(dialect)
    }

    fn parse_line(&mut self, line: &str) -> Result<(), &'static str> {
        let (word, rest) = line.split_once(char::is_whitespace).ok_or("nothing after the key")?;
        let rest = rest.trim();
        match word {
            "mti" => self.mti = parse_text(rest)?,
            "length" => self.length = parse_text(rest)?,
            "bitmap" => {
                self.bitmap = match rest {
                    "binary" => BitmapEncoding::Binary,
                    "hex" => BitmapEncoding::Hex,
                    _ => return Err("bitmap is binary or hex"),
                };
            }
            "echo" => self.echo = parse_set(rest)?,
            "issuer_adds" => self.issuer_adds = parse_set(rest)?,
            "kept" => self.kept = parse_set(rest)?,
            "usages" => self.usages = parse_set(rest)?,
            _ => self.parse_field(word, rest)?,
        }
        Ok(())
    }

    fn parse_field(&mut self, number: &str, rest: &str) -> Result<(), &'static str> {
        let field: u8 = number.parse().map_err(|_| "unknown key, or not a field number")?;
        if !(2..=128).contains(&field) {
            return Err("field numbers are 2 to 128 (1 is the secondary bitmap)");
        }
        if field == 65 {
            return Err("65 is the tertiary bitmap, which is not supported");
        }
        let words = if rest.starts_with("..") { 3 } else { 2 };
        let end = rest
            .match_indices(char::is_whitespace)
            .filter(|(at, _)| !rest[..*at].ends_with(char::is_whitespace))
            .map(|(at, _)| at)
            .nth(words - 1)
            .unwrap_or(rest.len());
        let spec = FieldSpec::parse(&rest[..end]).ok_or("format is not understood")?;
        let index = usize::from(field);
        if self.fields[index].replace(spec).is_some() {
            return Err("field is listed twice");
        }
        rest[end..].trim().clone_into(&mut self.names[index]);
        Ok(())
    }

    fn check(&self) -> Result<(), &'static str> {
        for (field, class) in [(3, "6 n"), (11, "6 n"), (39, "2 an")] {
            let wanted = FieldSpec::parse(class).ok_or("")?;
            let listed = self.spec(field).ok_or("DE 3, 11 and 39 must be in the table")?;
            if listed.prefix_digits != 0 || listed.length_max != wanted.length_max {
                return Err("DE 3 and 11 have 6 digits, DE 39 has 2 characters");
            }
        }
        let used = self.echo.or(self.issuer_adds).or(self.kept).or(self.usages);
        if used.into_iter().any(|field| self.spec(field).is_none()) {
            return Err("echo, issuer_adds, kept and usages name only fields of the table");
        }
        if !self.kept.or(self.echo).and(NEVER_KEPT).is_empty() {
            return Err("DE 35, 36, 45, 52, 55, 64 and 128 are never echoed or kept");
        }
        Ok(())
    }

    /// The dialect's name, as in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table's row for `field`.
    #[inline]
    #[must_use]
    pub fn spec(&self, field: u8) -> Option<FieldSpec> {
        self.fields.get(usize::from(field)).copied().flatten()
    }

    /// The field's name, empty when the dialect does not know it.
    #[must_use]
    pub fn field_name(&self, field: u8) -> &str {
        self.names.get(usize::from(field)).map_or("", String::as_str)
    }

    /// The built-in dialect of this name: `cups`, `iso87-ascii` or `unionpay-pos`.
    #[must_use]
    pub fn built_in(name: &str) -> Option<&'static Self> {
        match name {
            "cups" => Some(Self::cups()),
            "iso87-ascii" => Some(Self::iso87_ascii()),
            "unionpay-pos" => Some(Self::unionpay_pos()),
            _ => None,
        }
    }

    /// Names of the built-in dialects.
    pub const BUILT_IN: [&'static str; 3] = ["cups", "iso87-ascii", "unionpay-pos"];

    /// The UnionPay switch interface.
    #[must_use]
    pub fn cups() -> &'static Self {
        static CUPS: LazyLock<Dialect> =
            LazyLock::new(|| shipped("cups", include_str!("../dialects/cups.txt")));
        &CUPS
    }

    /// ISO 8583:1987, all ASCII with a hexadecimal bitmap.
    #[must_use]
    pub fn iso87_ascii() -> &'static Self {
        static ISO87: LazyLock<Dialect> =
            LazyLock::new(|| shipped("iso87-ascii", include_str!("../dialects/iso87-ascii.txt")));
        &ISO87
    }

    /// UnionPay terminals to their acquirer, packed decimal.
    #[must_use]
    pub fn unionpay_pos() -> &'static Self {
        static POS: LazyLock<Dialect> =
            LazyLock::new(|| shipped("unionpay-pos", include_str!("../dialects/unionpay-pos.txt")));
        &POS
    }
}

#[expect(clippy::panic, reason = "shipped tables are read by a test; a bad one is our own bug")]
fn shipped(name: &str, text: &str) -> Dialect {
    match Dialect::parse_table(name, text) {
        Ok(dialect) => dialect,
        Err(error) => panic!("shipped dialect {name}, {error}"),
    }
}

fn parse_text(word: &str) -> Result<TextEncoding, &'static str> {
    match word {
        "ascii" => Ok(TextEncoding::Ascii),
        "bcd" => Ok(TextEncoding::Bcd),
        _ => Err("encoding is ascii or bcd"),
    }
}

fn parse_set(text: &str) -> Result<FieldSet, &'static str> {
    text.split_whitespace().try_fold(FieldSet::EMPTY, |set, word| match word.parse() {
        Ok(field @ 2..=128) => Ok(set.with(field)),
        _ => Err("field numbers are 2 to 128"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_dialects_load() {
        for name in Dialect::BUILT_IN {
            let dialect = Dialect::built_in(name).unwrap();
            assert_eq!(dialect.name(), name);
            assert_eq!(dialect.field_name(11), "System trace audit number (STAN)");
            assert_eq!(dialect.usages.has(56), name == "cups");
            assert_eq!(dialect.usages.has(63), name == "cups");
        }
        assert!(Dialect::built_in("iso2003").is_none());
    }

    #[test]
    fn mistakes_name_their_line() {
        let cases = [
            ("mti ascii\n2 19 q PAN", 2, "format is not understood"),
            ("mti utf8", 1, "encoding is ascii or bcd"),
            ("3 6 n\n3 6 n", 2, "field is listed twice"),
            ("1 8 b", 1, "field numbers are 2 to 128 (1 is the secondary bitmap)"),
            ("65 8 b", 1, "65 is the tertiary bitmap, which is not supported"),
            ("# nothing", 0, "DE 3, 11 and 39 must be in the table"),
            (
                "3 6 n\n11 6 n\n39 2 an\nkept 4",
                0,
                "echo, issuer_adds, kept and usages name only fields of the table",
            ),
            (
                "3 6 n\n11 6 n\n39 2 an\n35 ..37 LL z\nkept 35",
                0,
                "DE 35, 36, 45, 52, 55, 64 and 128 are never echoed or kept",
            ),
        ];
        for (text, line, problem) in cases {
            let error = Dialect::parse_table("x", text).err().unwrap();
            assert_eq!((error.line, error.problem), (line, problem), "{text}");
        }
    }
}
