//! The table of issuer identification numbers: which issuer a prefix belongs to, and how long its
//! PANs are. The default is the table that the switch routes by.
//!
//! Not here: making PANs out of it (see `cards`).

use std::fmt;

/// What kind of account a prefix stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// A current account.
    Debit,
    /// A credit line.
    Credit,
    /// Anything else: known to the table, not held by a phone wallet.
    Other,
}

/// One prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IinRow {
    /// Its digits, 5 to 9.
    pub prefix: String,
    /// Place of its issuer in [`IinTable::issuers`].
    pub issuer: u16,
    /// Kind of account.
    pub kind: AccountKind,
    /// Digits of a PAN.
    pub pan_length: u8,
}

/// A table of prefixes. Rows are in ascending order of prefix and no prefix stands twice.
#[derive(Clone, Debug)]
pub struct IinTable {
    rows: Vec<IinRow>,
    issuers: Vec<String>,
}

/// A table that cannot be used: which line (0: as a whole), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IinTableError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

impl fmt::Display for IinTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for IinTableError {}

impl IinTable {
    /// The shipped table: 20 banks of China.
    #[must_use]
    #[expect(clippy::panic, reason = "the shipped table is read by a test; a bad one is our bug")]
    pub fn shipped() -> Self {
        match Self::parse(include_str!("../../tuning/profiles/iins_cn.csv")) {
            Ok(table) => table,
            Err(error) => panic!("shipped IIN table, {error}"),
        }
    }

    /// Reads lines of `prefix,issuer,kind,pan_length`; `#` begins a comment.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn parse(text: &str) -> Result<Self, IinTableError> {
        let mut named = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            named.push(
                parse_row(line).map_err(|problem| IinTableError { line: index + 1, problem })?,
            );
        }
        let whole = |problem| IinTableError { line: 0, problem };
        if named.is_empty() {
            return Err(whole("the table has no rows"));
        }
        let mut issuers: Vec<String> = named.iter().map(|(name, _)| (*name).to_owned()).collect();
        issuers.sort_unstable();
        issuers.dedup();
        let mut rows = Vec::with_capacity(named.len());
        for (name, mut row) in named {
            let place = issuers.binary_search_by(|known| known.as_str().cmp(name)).unwrap_or(0);
            row.issuer = u16::try_from(place).map_err(|_| whole("more than 65,535 issuers"))?;
            rows.push(row);
        }
        rows.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix));
        if rows.windows(2).any(|pair| matches!(pair, [a, b] if a.prefix == b.prefix)) {
            return Err(whole("a prefix stands twice"));
        }
        Ok(Self { rows, issuers })
    }

    /// The prefixes, ascending.
    #[must_use]
    pub fn rows(&self) -> &[IinRow] {
        &self.rows
    }

    /// Names of the issuers, ascending.
    #[must_use]
    pub fn issuers(&self) -> &[String] {
        &self.issuers
    }

    /// Only the prefixes of these issuers.
    ///
    /// # Errors
    /// An issuer that the table does not have.
    pub fn only(mut self, names: &[String]) -> Result<Self, IinTableError> {
        if names.iter().any(|name| !self.issuers.contains(name)) {
            return Err(IinTableError { line: 0, problem: "no issuer has that name" });
        }
        let Self { rows, issuers } = &mut self;
        rows.retain(|row| {
            issuers.get(usize::from(row.issuer)).is_some_and(|it| names.contains(it))
        });
        Ok(self)
    }

    /// The row of the longest prefix of a PAN.
    #[must_use]
    pub fn route(&self, pan: &[u8]) -> Option<&IinRow> {
        (1..=pan.len().min(9)).rev().find_map(|length| {
            let prefix = pan.get(..length)?;
            let place = self.rows.binary_search_by(|row| row.prefix.as_bytes().cmp(prefix)).ok()?;
            self.rows.get(place)
        })
    }
}

fn parse_row(line: &str) -> Result<(&str, IinRow), &'static str> {
    let mut cells = line.split(',').map(str::trim);
    let (Some(prefix), Some(issuer), Some(kind), Some(length), None) =
        (cells.next(), cells.next(), cells.next(), cells.next(), cells.next())
    else {
        return Err("a row is prefix,issuer,kind,pan_length");
    };
    if !(5..=9).contains(&prefix.len()) || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a prefix is 5 to 9 digits");
    }
    if issuer.is_empty() {
        return Err("the issuer has no name");
    }
    let pan_length: u8 = length.parse().map_err(|_| "the PAN length is not a number")?;
    if !(13..=19).contains(&pan_length) {
        return Err("the PAN length is 13 to 19");
    }
    let kind = match kind {
        "debit" => AccountKind::Debit,
        "credit" => AccountKind::Credit,
        _ => AccountKind::Other,
    };
    Ok((issuer, IinRow { prefix: prefix.to_owned(), issuer: 0, kind, pan_length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_has_twenty_issuers_and_the_longest_prefix_wins() {
        let table = IinTable::shipped();
        assert_eq!(table.issuers().len(), 20);
        let route = |pan: &str| table.route(pan.as_bytes()).map(|row| row.prefix.as_str());
        assert_eq!(route("6212751411111111111"), Some("621275141"));
        assert_eq!(route("6212751421111111111"), Some("621275"));
        assert_eq!(route("6222302111111111"), Some("62223"));
        assert_eq!(route("4111111111111111"), None);
    }

    #[test]
    fn mistakes_name_their_line() {
        let cases = [
            ("# only a comment", 0, "the table has no rows"),
            ("622848,ABC,debit", 1, "a row is prefix,issuer,kind,pan_length"),
            ("# x\n6228,ABC,debit,19", 2, "a prefix is 5 to 9 digits"),
            ("622848,ABC,debit,20", 1, "the PAN length is 13 to 19"),
            ("622848,,debit,19", 1, "the issuer has no name"),
            ("622848,ABC,debit,19\n622848,BOC,debit,19", 0, "a prefix stands twice"),
        ];
        for (text, line, problem) in cases {
            let error = IinTable::parse(text).err().unwrap();
            assert_eq!((error.line, error.problem), (line, problem), "{text}");
        }
    }
}
