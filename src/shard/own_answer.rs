//! Answers that the switch gives by itself: why, with which code, counted as what.

use super::counters::Counter;
use super::wallet::TokenRefusal;
use crate::config::OwnCodes;
use tapswitch_protocol::ResponseCode;

/// Why a request is answered without its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// MTI or network management code that is not served.
    UnknownMti,
    /// Not well-formed, or this mandatory data element is missing (0: none in particular).
    Format(u8),
    /// No sign-on on this connection.
    NotSignedOn,
    /// PAN of an impossible length.
    InvalidCard,
    /// Amount zero.
    InvalidAmount,
    /// The amount is in no currency that the limits can be held against.
    Currency,
    /// The token may not be used.
    Token(TokenRefusal),
    /// IIN of no issuer.
    NoRoute,
    /// The issuer's window is full.
    IssuerWindow,
    /// Its acquirer has its share of the issuer's window, and others want theirs.
    AcquirerShare,
    /// Its acquirer has its share of the pending table.
    TableShare,
    /// It waited too long before it was decided.
    TooLate,
    /// The issuer's link is down, or does not speak the acquirer's dialect.
    IssuerDown,
    /// The issuer has signed off.
    IssuerSignedOff,
    /// The issuer has not answered for long.
    CircuitOpen,
    /// A process before may have asked its issuer's other route.
    OtherRoute,
    /// No trace number is free.
    NoStan,
    /// The switch is stopping.
    Draining,
    /// Velocity by amount.
    AmountLimit {
        /// By its number in the outcome log.
        limit: u8,
        /// Its own code, if it has one.
        code: Option<ResponseCode>,
    },
    /// Velocity by count.
    CountLimit {
        /// As above.
        limit: u8,
        /// As above.
        code: Option<ResponseCode>,
    },
    /// No velocity line for a new card.
    VelocityFull,
    /// No row for a new terminal, merchant, acquirer or token.
    EntitiesFull,
    /// No room for another request in flight.
    PendingFull,
    /// Too many pre-authorizations are open.
    HoldsFull,
    /// Too much is owed to issuers.
    SafFull,
    /// No slot to the card's shard.
    NoCredit,
    /// The journal's disk takes no more.
    JournalFull,
    /// Same key, other contents.
    Conflict,
    /// What it is about is not known, or does not stand.
    OriginalNotFound,
    /// It takes back another amount than stands.
    OriginalAmount,
}

impl Reason {
    /// DE 39 by the acquirer's profile.
    pub(super) const fn code(self, codes: &OwnCodes) -> ResponseCode {
        match self {
            Self::UnknownMti => codes.unknown_mti,
            Self::Format(_) => codes.format,
            Self::NotSignedOn => codes.not_signed_on,
            Self::InvalidCard => codes.invalid_card,
            Self::InvalidAmount => codes.invalid_amount,
            Self::Currency => ResponseCode::NOT_PERMITTED,
            Self::Token(TokenRefusal::Unknown) => ResponseCode::INVALID_CARD,
            Self::Token(TokenRefusal::NotActive | TokenRefusal::Denied) => {
                ResponseCode::RESTRICTED_CARD
            }
            Self::Token(TokenRefusal::Expired) => ResponseCode::EXPIRED_CARD,
            Self::Token(TokenRefusal::ChipData) => codes.format,
            Self::Token(
                TokenRefusal::NotHere | TokenRefusal::Counter | TokenRefusal::Cryptogram,
            ) => ResponseCode::NOT_PERMITTED,
            Self::NoRoute => codes.no_route,
            Self::IssuerWindow
            | Self::AcquirerShare
            | Self::IssuerDown
            | Self::IssuerSignedOff
            | Self::CircuitOpen
            | Self::OtherRoute
            | Self::NoStan
            | Self::Draining => codes.issuer_unavailable,
            Self::AmountLimit { code: Some(code), .. }
            | Self::CountLimit { code: Some(code), .. } => code,
            Self::AmountLimit { code: None, .. } => codes.amount_limit,
            Self::CountLimit { code: None, .. } => codes.count_limit,
            Self::VelocityFull
            | Self::EntitiesFull
            | Self::PendingFull
            | Self::TableShare
            | Self::TooLate
            | Self::HoldsFull
            | Self::SafFull
            | Self::NoCredit
            | Self::JournalFull => codes.overload,
            Self::Conflict => codes.duplicate,
            Self::OriginalNotFound => codes.original_not_found,
            Self::OriginalAmount => ResponseCode::ORIGINAL_AMOUNT,
        }
    }

    /// What it is counted as.
    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::UnknownMti => Counter::RefusedMti,
            Self::Format(_) => Counter::RefusedFormat,
            Self::NotSignedOn => Counter::RefusedNotSignedOn,
            Self::InvalidCard => Counter::RefusedCard,
            Self::InvalidAmount => Counter::RefusedAmount,
            Self::Currency => Counter::RefusedCurrency,
            Self::Token(TokenRefusal::Unknown) => Counter::RefusedTokenUnknown,
            Self::Token(TokenRefusal::NotActive) => Counter::RefusedTokenNotActive,
            Self::Token(TokenRefusal::Expired) => Counter::RefusedTokenExpired,
            Self::Token(TokenRefusal::NotHere) => Counter::RefusedTokenNotHere,
            Self::Token(TokenRefusal::Denied) => Counter::RefusedTokenDenied,
            Self::Token(TokenRefusal::ChipData) => Counter::RefusedFormat,
            Self::Token(TokenRefusal::Counter) => Counter::RefusedTokenCounter,
            Self::Token(TokenRefusal::Cryptogram) => Counter::RefusedTokenCryptogram,
            Self::NoRoute => Counter::RefusedNoRoute,
            Self::IssuerWindow => Counter::RefusedIssuerWindow,
            Self::AcquirerShare => Counter::ShedAcquirerShare,
            Self::TableShare => Counter::ShedTableShare,
            Self::TooLate => Counter::ShedTooLate,
            Self::IssuerDown => Counter::RefusedIssuerDown,
            Self::IssuerSignedOff => Counter::RefusedSignedOff,
            Self::CircuitOpen => Counter::RefusedCircuitOpen,
            Self::OtherRoute => Counter::RefusedOtherRoute,
            Self::NoStan => Counter::RefusedNoStan,
            Self::Draining => Counter::RefusedDraining,
            Self::AmountLimit { .. } => Counter::RefusedAmountLimit,
            Self::CountLimit { .. } => Counter::RefusedCountLimit,
            Self::VelocityFull => Counter::RefusedVelocityFull,
            Self::EntitiesFull => Counter::RefusedEntitiesFull,
            Self::PendingFull => Counter::RefusedPendingFull,
            Self::HoldsFull => Counter::RefusedHoldsFull,
            Self::SafFull => Counter::RefusedSafFull,
            Self::JournalFull => Counter::RefusedJournalFull,
            Self::NoCredit => Counter::RefusedNoCredit,
            Self::Conflict => Counter::Conflict,
            Self::OriginalNotFound => Counter::RefusedOriginal,
            Self::OriginalAmount => Counter::RefusedOriginalAmount,
        }
    }

    /// Whether it is no fault of the request: there is too much to do, or no way to the issuer.
    pub(super) const fn is_shed(self) -> bool {
        matches!(
            self,
            Self::IssuerWindow
                | Self::AcquirerShare
                | Self::IssuerDown
                | Self::IssuerSignedOff
                | Self::CircuitOpen
                | Self::NoStan
                | Self::Draining
                | Self::VelocityFull
                | Self::EntitiesFull
                | Self::PendingFull
                | Self::TableShare
                | Self::TooLate
                | Self::HoldsFull
                | Self::SafFull
                | Self::NoCredit
                | Self::JournalFull
        )
    }

    /// For the outcome log: the limit, or the data element, from 1; 0 is neither.
    pub(super) const fn detail(self) -> u8 {
        match self {
            Self::AmountLimit { limit, .. } | Self::CountLimit { limit, .. } => {
                limit.saturating_add(1)
            }
            Self::Format(field) => field,
            _ => 0,
        }
    }

    /// The data element that DE 44 names, as three digits.
    pub(super) const fn field(self) -> Option<[u8; 3]> {
        match self {
            Self::Format(field) if field != 0 => {
                Some([b'0' + field / 100, b'0' + field / 10 % 10, b'0' + field % 10])
            }
            _ => None,
        }
    }
}
