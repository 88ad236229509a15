//! Whose card it is: issuer and kind by the longest issuer identification number (IIN) that begins
//! the PAN.
//!
//! The prefixes are laid out once as intervals of the first nine digits that do not overlap, so that
//! finding a card's is one binary search in a few kilobytes.
//!
//! Not here: reading the table; whether the issuer can be reached.

use crate::config::{CardKind, IinRow};
use crate::shard::IssuerId;
use tapswitch_protocol::Pan;

/// Digits that prefixes have at most, and that PANs are compared by.
const DIGITS: u32 = 9;
/// Numbers of so many digits.
const NUMBERS: u32 = 10u32.pow(DIGITS);

/// Issuer and kind of a range of cards; nobody's cards have none.
type Owner = Option<(IssuerId, CardKind)>;

/// Issuers by IIN.
pub struct Routing {
    /// First numbers of the intervals, ascending; the first is 0.
    starts: Box<[u32]>,
    /// Whose each interval is.
    owners: Box<[Owner]>,
}

impl Routing {
    /// Lays out the rows of a checked table: 1 to 9 digits, no prefix twice.
    #[must_use]
    pub fn new(rows: &[IinRow]) -> Self {
        // By first number, and the shorter prefix first: an interval then comes right after those
        // that contain it.
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| (range(row).0, row.digits));
        let mut starts = vec![0];
        let mut owners = vec![None];
        let mut open: Vec<(u32, Owner)> = Vec::new();
        let mut enter = |start: u32, owner: Owner| {
            if starts.last() == Some(&start) {
                owners.pop();
            } else {
                starts.push(start);
            }
            owners.push(owner);
        };
        for row in &rows {
            let (first, end) = range(row);
            close_until(first, &mut open, &mut enter);
            let owner = Some((row.issuer, row.kind));
            enter(first, owner);
            open.push((end, owner));
        }
        close_until(NUMBERS, &mut open, &mut enter);
        assert!(starts.is_sorted_by(|a, b| a < b), "Invariant: intervals ascend");
        Self { starts: starts.into_boxed_slice(), owners: owners.into_boxed_slice() }
    }

    /// Issuer and kind of a card; `None` when its IIN belongs to no issuer.
    #[inline]
    #[must_use]
    pub fn route(&self, pan: &Pan) -> Option<(IssuerId, CardKind)> {
        let number = pan.first_nine();
        // The first start is 0, so at least one is not above the number.
        let after = self.starts.partition_point(|&start| start <= number);
        self.owners[after - 1]
    }
}

/// The numbers that begin with a prefix, the end excluded.
fn range(row: &IinRow) -> (u32, u32) {
    let digits = u32::from(row.digits);
    assert!((1..=DIGITS).contains(&digits), "Invariant: a prefix has 1 to 9 digits");
    assert!(row.prefix < 10u32.pow(digits), "Invariant: a prefix is as long as it says");
    let width = 10u32.pow(DIGITS - digits);
    (row.prefix * width, (row.prefix + 1) * width)
}

/// Ends the open intervals that end at or before `number`; what contains them goes on behind them.
fn close_until(number: u32, open: &mut Vec<(u32, Owner)>, enter: &mut impl FnMut(u32, Owner)) {
    while let Some((end, _)) = open.pop_if(|(end, _)| *end <= number) {
        let around = open.last().and_then(|&(_, owner)| owner);
        if end < NUMBERS {
            enter(end, around);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// The rows of the table that ships, issuers numbered in the order in which they appear.
    fn shipped() -> Vec<IinRow> {
        let mut names: Vec<&str> = Vec::new();
        let text = include_str!("../../tuning/profiles/iins_cn.csv");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut row = |line: &'static str| {
            let parts: Vec<&'static str> = line.split(',').collect();
            let place = names.iter().position(|&name| name == parts[1]).unwrap_or_else(|| {
                names.push(parts[1]);
                names.len() - 1
            });
            IinRow {
                prefix: parts[0].parse().unwrap(),
                digits: parts[0].len() as u8,
                issuer: IssuerId(place as u8),
                kind: match parts[2] {
                    "debit" => CardKind::Debit,
                    "credit" | "quasi-credit" => CardKind::Credit,
                    "prepaid" => CardKind::Prepaid,
                    other => panic!("{other}"),
                },
                pan_digits: parts[3].parse().unwrap(),
            }
        };
        lines.map(&mut row).collect()
    }

    /// Looks at every row.
    fn longest_prefix(rows: &[IinRow], digits: &str) -> Owner {
        let matching = rows.iter().filter(|row| {
            let length = usize::from(row.digits);
            digits.as_bytes()[..length].iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'))
                == row.prefix
        });
        matching.max_by_key(|row| row.digits).map(|row| (row.issuer, row.kind))
    }

    fn route(routing: &Routing, digits: &str) -> Owner {
        routing.route(&Pan::from_digits(digits.as_bytes()).ok().unwrap())
    }

    fn row(prefix: &str, issuer: u8) -> IinRow {
        IinRow {
            prefix: prefix.parse().unwrap(),
            digits: prefix.len() as u8,
            issuer: IssuerId(issuer),
            kind: CardKind::Debit,
            pan_digits: 19,
        }
    }

    #[test]
    fn every_shipped_prefix_leads_to_its_issuer_at_both_ends() {
        let rows = shipped();
        assert_eq!(rows.len(), 560);
        assert_eq!(rows.iter().map(|row| row.issuer.0).max(), Some(19));
        let routing = Routing::new(&rows);
        for row in &rows {
            let (first, end) = range(row);
            for number in [first.saturating_sub(1), first, end - 1, end.min(NUMBERS - 1)] {
                let digits = format!("{number:09}0000000");
                assert_eq!(route(&routing, &digits), longest_prefix(&rows, &digits), "{digits}");
            }
            assert!(route(&routing, &format!("{first:09}0000000")).is_some());
        }
    }

    #[test]
    fn the_vectors_cards_are_routed_or_not() {
        let routing = Routing::new(&shipped());
        for known in ["6226010000000000", "6216260000000000000"] {
            assert!(route(&routing, known).is_some(), "{known}");
        }
        for unknown in ["6251880000000000", "6224240000000000", "0000000000000", "999999999999"] {
            assert_eq!(route(&routing, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn prefixes_in_prefixes_and_at_the_ends() {
        let rows = [
            row("0", 1),
            row("000000000", 2),
            row("6", 3),
            row("62", 4),
            row("620", 5),
            row("62999", 6),
            row("629999999", 7),
            row("9", 8),
            row("999999999", 9),
        ];
        let routing = Routing::new(&rows);
        let cases = [
            ("000000000", Some(2)),
            ("000000001", Some(1)),
            ("099999999", Some(1)),
            ("100000000", None),
            ("619999999", Some(3)),
            ("620000000", Some(5)),
            ("621000000", Some(4)),
            ("629990000", Some(6)),
            ("629999999", Some(7)),
            ("630000000", Some(3)),
            ("700000000", None),
            ("999999998", Some(8)),
            ("999999999", Some(9)),
        ];
        for (nine, issuer) in cases {
            let expected = issuer.map(|issuer| (IssuerId(issuer), CardKind::Debit));
            assert_eq!(route(&routing, &format!("{nine}0000")), expected, "{nine}");
        }
        assert_eq!(route(&Routing::new(&[]), "6226010000000000"), None);
    }

    static SHIPPED: LazyLock<(Vec<IinRow>, Routing)> = LazyLock::new(|| {
        let rows = shipped();
        let routing = Routing::new(&rows);
        (rows, routing)
    });

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 256 } else { 4_000 }))]

        /// Most cards begin with 62; of those a good part belong to somebody.
        #[test]
        fn a_route_is_the_longest_prefix(
            cards in prop::collection::vec(("62[0-9]{14,17}", "[0-9]{12,19}"), 10),
        ) {
            let (rows, routing) = &*SHIPPED;
            for digits in cards.iter().flat_map(|(card, any)| [card, any]) {
                prop_assert_eq!(route(routing, digits), longest_prefix(rows, digits));
            }
        }

        #[test]
        fn any_table_is_laid_out_right(
            prefixes in prop::collection::btree_set("[0-2]{1,9}", 0..40)
                .prop_map(|prefixes| prefixes.into_iter().collect::<Vec<_>>())
                .prop_shuffle(),
            digits in prop::collection::vec("[0-3]{12}", 20),
        ) {
            let rows: Vec<IinRow> = prefixes
                .iter()
                .enumerate()
                .map(|(place, prefix)| row(prefix, place as u8))
                .collect();
            let routing = Routing::new(&rows);
            for digits in digits {
                prop_assert_eq!(route(&routing, &digits), longest_prefix(&rows, &digits));
            }
        }
    }
}
