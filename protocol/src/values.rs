//! Typed values, parsed once at the edge and never checked again.

/// System trace audit number, DE 11: six digits, unique per acquirer in a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stan(pub u32);

/// Transmission date and time, DE 7, held as the number that MMDDhhmmss spells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransmissionTime(pub u32);

/// An amount in minor units of its currency, DE 4 and its kin: at most 12 digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmountMinor(pub u64);

/// ISO 4217 numeric currency code, DE 49 and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CurrencyCode(pub u16);

impl CurrencyCode {
    /// Chinese yuan.
    pub const CNY: Self = Self(156);
}

/// Retrieval reference number, DE 37: 12 characters, the same through a transaction's whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rrn(pub [u8; 12]);

/// Processing code, DE 3: transaction type, from account, to account, two digits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessingCode(pub u32);

impl ProcessingCode {
    /// Goods and services.
    pub const PURCHASE: u8 = 0;
    /// Cash withdrawal.
    pub const CASH: u8 = 1;
    /// Pre-authorization (UnionPay).
    pub const PRE_AUTHORIZATION: u8 = 3;
    /// Refund in an advice, void in a request.
    pub const REFUND_OR_VOID: u8 = 20;
    /// Available balance inquiry.
    pub const AVAILABLE_BALANCE: u8 = 30;
    /// Balance inquiry.
    pub const BALANCE: u8 = 31;
    /// Account verification.
    pub const ACCOUNT_VERIFICATION: u8 = 33;

    /// The first two digits.
    #[inline]
    #[must_use]
    pub const fn transaction_type(self) -> u8 {
        (self.0 / 10_000 % 100) as u8
    }

    /// Whether DE 4 may be absent or zero: inquiries and verifications move no money.
    #[inline]
    #[must_use]
    pub const fn moves_no_money(self) -> bool {
        matches!(
            self.transaction_type(),
            Self::AVAILABLE_BALANCE | Self::BALANCE | Self::ACCOUNT_VERIFICATION
        )
    }
}
