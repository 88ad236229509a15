//! Which cards the banks issue: the IIN table, flattened so that one binary search finds a PAN's
//! longest prefix, and what stands behind a card of each kind.

use super::behaviour::CardDraw;
use crate::config::{BankProducts, CardKind, IinRow};
use crate::shard::IssuerId;
use tapswitch_protocol::Pan;

/// Prefixes are compared as numbers of nine digits.
const PREFIX_DIGITS: u8 = 9;

/// What stands behind a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountKind {
    /// A balance: debit and prepaid cards.
    Deposit,
    /// A credit line.
    Credit,
    /// Units of a money-market fund.
    Fund,
    /// The line of a consumer loan.
    Loan,
}

impl AccountKind {
    pub(super) const COUNT: usize = 4;
    pub(super) const ALL: [Self; Self::COUNT] =
        [Self::Deposit, Self::Credit, Self::Fund, Self::Loan];

    /// Drawn for each card, the same at every run.
    #[inline]
    pub(super) fn of(card: CardKind, products: &BankProducts, draw: &CardDraw) -> Self {
        match card {
            CardKind::Prepaid => Self::Deposit,
            CardKind::Debit if draw.is_among(products.fund_share_ppm) => Self::Fund,
            CardKind::Debit => Self::Deposit,
            CardKind::Credit if draw.is_among(products.loan_share_ppm) => Self::Loan,
            CardKind::Credit => Self::Credit,
        }
    }

    /// Whether what is available is a line that the bank lends from, not money of the customer.
    #[inline]
    pub(super) const fn has_line(self) -> bool {
        match self {
            Self::Credit | Self::Loan => true,
            Self::Deposit | Self::Fund => false,
        }
    }

    /// Its place in arrays of [`AccountKind::COUNT`].
    #[inline]
    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

/// What a bank says of a range of its cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) issuer: IssuerId,
    pub(super) kind: CardKind,
    /// Bit n: PANs of n digits exist.
    lengths: u32,
}

/// All products of all banks.
#[derive(Debug)]
pub(super) struct Products {
    /// First numbers of the ranges, ascending; a range ends where the next begins.
    starts: Vec<u32>,
    /// What each range is.
    ranges: Vec<Option<Product>>,
}

/// First number of a prefix, and the first one after it.
fn bounds(row: &IinRow) -> (u32, u32) {
    let scale = 10u64.pow(u32::from(PREFIX_DIGITS.saturating_sub(row.digits)));
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    (clamp(u64::from(row.prefix) * scale), clamp((u64::from(row.prefix) + 1) * scale))
}

impl Products {
    pub(super) fn new(rows: &[IinRow]) -> Self {
        let mut starts: Vec<u32> = rows
            .iter()
            .flat_map(|row| {
                let (from, to) = bounds(row);
                [from, to]
            })
            .chain([0])
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let ranges = starts.iter().map(|&start| longest(rows, start)).collect();
        Self { starts, ranges }
    }

    /// The product of a PAN; `None` when no bank issues such a one.
    #[inline]
    pub(super) fn of(&self, pan: &Pan) -> Option<Product> {
        let number = pan.first_nine();
        let after = self.starts.partition_point(|&start| start <= number);
        let product = self.ranges.get(after.checked_sub(1)?).copied().flatten()?;
        (product.lengths & 1 << pan.digits().len() != 0).then_some(product)
    }
}

/// The longest prefix that holds `number`; of equal ones, all lengths together.
fn longest(rows: &[IinRow], number: u32) -> Option<Product> {
    let holds = |row: &&IinRow| {
        let (from, to) = bounds(row);
        (from..to).contains(&number)
    };
    let digits = rows.iter().filter(holds).map(|row| row.digits).max()?;
    rows.iter().filter(holds).filter(|row| row.digits == digits).fold(None, |found, row| {
        let length = 1u32.checked_shl(u32::from(row.pan_digits)).unwrap_or(0);
        let first = Product { issuer: row.issuer, kind: row.kind, lengths: 0 };
        let product = found.unwrap_or(first);
        Some(Product { lengths: product.lengths | length, ..product })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prefix: u32, digits: u8, issuer: u8, pan_digits: u8) -> IinRow {
        let kind = if issuer == 0 { CardKind::Debit } else { CardKind::Credit };
        IinRow { prefix, digits, issuer: IssuerId(issuer), kind, pan_digits }
    }

    #[test]
    fn the_longest_prefix_wins() {
        let rows = [
            row(62127, 5, 0, 16),
            row(621_275_101, 9, 1, 16),
            row(621_626, 6, 2, 19),
            row(621_626, 6, 2, 16),
        ];
        let products = Products::new(&rows);
        for (pan, issuer) in [
            ("6212700000000000", Some(0)),
            ("6212751000000000", Some(0)),
            ("6212751010000000", Some(1)),
            ("6212751019999999", Some(1)),
            ("6212751020000000", Some(0)),
            ("6212799999999999", Some(0)),
            ("6212800000000000", None),
            ("6212699999999999", None),
            ("6212700000000000000", None),
            ("6216261000000000018", Some(2)),
            ("6216261000000018", Some(2)),
            ("621626100000001", None),
            ("999999999999", None),
            ("000000000000", None),
        ] {
            let pan = Pan::from_digits(pan.as_bytes()).ok().unwrap();
            let found = products.of(&pan).map(|product| product.issuer.0);
            assert_eq!(found, issuer, "{}", pan.masked());
        }
        assert_eq!(
            products.of(&Pan::from_digits(b"6216261000000018").ok().unwrap()).unwrap().kind,
            CardKind::Credit
        );
    }
}
