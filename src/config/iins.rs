//! The table of issuer identification numbers: a text file with a line a prefix,
//! `prefix,issuer,kind,PAN digits`, comments after `#`. Issuers count in order of appearance.
//!
//! Not here: looking an IIN up (`shard`).

use super::problem::{Problem, nearest_cause, quoted};
use super::{CardKind, IinRow};
use crate::limits::ISSUERS_MAX;
use crate::shard::IssuerId;
use std::collections::BTreeMap;
use tapswitch_protocol::pan::{PAN_DIGITS_MAX, PAN_DIGITS_MIN};

/// Prefixes of one table; some 600 are known of 20 banks.
const ROWS_MAX: usize = 100_000;
/// Characters of an issuer's name.
const ISSUER_NAME_CHARS_MAX: usize = 16;
/// What the fields of a line are.
const LINE_FORM: &str = "a line is prefix,issuer,kind,PAN digits, as in 622848,ABC,debit,19";
/// Card kinds; quasi-credit cards have a credit line.
const KINDS: [(&str, CardKind); 4] = [
    ("debit", CardKind::Debit),
    ("credit", CardKind::Credit),
    ("quasi-credit", CardKind::Credit),
    ("prepaid", CardKind::Prepaid),
];

/// A table that can be used.
#[derive(Debug)]
pub(super) struct IinTable {
    /// Issuers in order of first appearance; `IssuerId` is the place here.
    pub(super) issuers: Vec<String>,
    pub(super) rows: Vec<IinRow>,
}

/// Reads a table; `file` names it in problems.
pub(super) fn parse(file: &str, text: &str) -> Result<IinTable, Vec<Problem>> {
    let mut table = IinTable { issuers: Vec::new(), rows: Vec::new() };
    let mut problems = Vec::new();
    let mut lines_of_prefixes = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            continue;
        }
        let number = index + 1;
        let read = table.read_line(content).and_then(|row| {
            match lines_of_prefixes.insert((row.digits, row.prefix), number) {
                None => Ok(row),
                Some(first) => Err(Mistake {
                    message: format!("prefix {} is already on line {first}", row.prefix),
                    likely_cause: "a prefix belongs to one issuer and kind; delete one".to_owned(),
                }),
            }
        });
        match read {
            Ok(row) => table.rows.push(row),
            Err(mistake) => problems.push(mistake.at(file, number)),
        }
    }
    if table.rows.is_empty() && problems.is_empty() {
        let mistake = Mistake {
            message: "holds no prefix: no request would have a route".to_owned(),
            likely_cause: LINE_FORM.to_owned(),
        };
        problems.push(mistake.at(file, 0));
    }
    if problems.is_empty() { Ok(table) } else { Err(problems) }
}

/// What is wrong with a line.
struct Mistake {
    message: String,
    likely_cause: String,
}

impl Mistake {
    fn new(message: impl Into<String>, likely_cause: impl Into<String>) -> Self {
        Self { message: message.into(), likely_cause: likely_cause.into() }
    }

    fn at(self, file: &str, line: usize) -> Problem {
        Problem {
            file: file.to_owned(),
            line,
            column: usize::from(line > 0),
            key: String::new(),
            message: self.message,
            likely_cause: self.likely_cause,
        }
    }
}

impl IinTable {
    fn read_line(&mut self, line: &str) -> Result<IinRow, Mistake> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let &[prefix, issuer, kind, pan_digits] = fields.as_slice() else {
            let message = format!("has {} fields, 4 are wanted", fields.len());
            return Err(Mistake::new(message, LINE_FORM));
        };
        if self.rows.len() == ROWS_MAX {
            return Err(Mistake::new(format!("more than {ROWS_MAX} prefixes"), ""));
        }
        let digits = u8::try_from(prefix.len()).ok().filter(|digits| (5..=9).contains(digits));
        let number = prefix.bytes().all(|byte| byte.is_ascii_digit()).then(|| prefix.parse().ok());
        let (Some(digits), Some(Some(number))) = (digits, number) else {
            let message = format!("prefix `{}` is not 5 to 9 digits", quoted(prefix));
            return Err(Mistake::new(message, LINE_FORM));
        };
        let Some(&(_, card_kind)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            let message = format!("unknown kind `{}`", quoted(kind));
            return Err(Mistake::new(message, nearest_cause(kind, &KINDS.map(|(name, _)| name))));
        };
        let range = PAN_DIGITS_MIN..=PAN_DIGITS_MAX;
        let pan_digits = match pan_digits.parse::<u8>() {
            Ok(count) if range.contains(&usize::from(count)) => count,
            _ => {
                let message = format!(
                    "PAN digits `{}` are outside {PAN_DIGITS_MIN} to {PAN_DIGITS_MAX}",
                    quoted(pan_digits)
                );
                return Err(Mistake::new(message, LINE_FORM));
            }
        };
        let issuer = self.issuer(issuer)?;
        Ok(IinRow { prefix: number, digits, issuer, kind: card_kind, pan_digits })
    }

    fn issuer(&mut self, name: &str) -> Result<IssuerId, Mistake> {
        let place = match self.issuers.iter().position(|known| known == name) {
            Some(place) => place,
            None => {
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
                let length = (1..=ISSUER_NAME_CHARS_MAX).contains(&name.len());
                if !length || !name.bytes().all(legal) {
                    let message = format!("issuer name `{}` cannot be used", quoted(name));
                    return Err(Mistake::new(message, "1 to 16 letters, digits, - and _"));
                }
                if self.issuers.len() == ISSUERS_MAX {
                    let message = format!("more than {ISSUERS_MAX} issuers");
                    return Err(Mistake::new(message, "names that differ by a slip of the pen"));
                }
                self.issuers.push(name.to_owned());
                self.issuers.len() - 1
            }
        };
        // Below ISSUERS_MAX.
        Ok(IssuerId(place as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::super::default::IINS_CN;
    use super::*;

    #[test]
    fn the_shipped_table_has_twenty_issuers() {
        let table = parse("iins_cn.csv", IINS_CN).unwrap();
        assert_eq!((table.issuers.len(), table.rows.len()), (20, 560));
        let row = table.rows.iter().find(|row| row.prefix == 621626).unwrap();
        assert_eq!(table.issuers[usize::from(row.issuer.0)], "SPABANK");
        assert_eq!(row.pan_digits, 19);
    }

    #[test]
    fn a_broken_line_is_named() {
        let cases = [
            ("# only a comment\n", 0, "holds no prefix"),
            ("622848,ABC,debit", 1, "has 3 fields, 4 are wanted"),
            ("622848,ABC,debit,19\n\n6228,ABC,debit,19", 3, "prefix `6228` is not 5 to 9 digits"),
            ("62284x,ABC,debit,19", 1, "prefix `62284x` is not 5 to 9 digits"),
            ("6228481234,ABC,debit,19", 1, "prefix `6228481234` is not 5 to 9 digits"),
            ("622848,ABC,debbit,19", 1, "unknown kind `debbit`"),
            ("622848,ABC,debit,20", 1, "PAN digits `20` are outside 12 to 19"),
            ("622848,ABC,debit,x", 1, "PAN digits `x` are outside 12 to 19"),
            ("622848,A B,debit,19", 1, "issuer name `A B` cannot be used"),
            ("622848,ABC,debit,19\n622848,BOC,debit,19", 2, "prefix 622848 is already on line 1"),
        ];
        for (text, line, message) in cases {
            let problems = parse("t.csv", text).unwrap_err();
            assert_eq!(problems.len(), 1, "{text}");
            assert_eq!(problems[0].line, line, "{text}");
            assert!(problems[0].message.contains(message), "{}", problems[0].message);
        }
    }

    #[test]
    fn all_broken_lines_are_named_at_once() {
        let problems = parse("t.csv", "1,2\n622848,ABC,debit,19\n3,4\n").unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn issuers_are_bounded() {
        let text: String = (0..65).map(|n| format!("{},B{n},debit,16\n", 62_0000 + n)).collect();
        let problems = parse("t.csv", &text).unwrap_err();
        assert_eq!((problems.len(), problems[0].line), (1, 65));
    }

    #[test]
    fn a_leading_zero_is_part_of_the_prefix() {
        let table = parse("t.csv", "00001,A,debit,16\n000001,A,prepaid,16 # longer\n").unwrap();
        let prefixes: Vec<_> = table.rows.iter().map(|row| (row.prefix, row.digits)).collect();
        assert_eq!(prefixes, [(1, 5), (1, 6)]);
    }
}
