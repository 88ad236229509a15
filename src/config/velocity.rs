//! Velocity limits as the configuration says them: what is counted (counters), and how much of it is
//! allowed (limits). Several limits may judge one counter.
//!
//! Not here: how a card's line holds counters (`shard::velocity`).

use super::StandInRule;
use crate::memory::TableMemory;
use serde::{Deserialize, Serialize};
use tapswitch_protocol::ResponseCode;

/// Counters and limits of cards.
#[derive(Clone, Debug, Default)]
pub struct VelocityConfig {
    /// Cards that can be held, per process.
    pub lines: usize,
    /// What is counted.
    pub counters: Vec<VelocityCounter>,
    /// What is counted of terminals, merchants, acquirers and tokens.
    pub scope_counters: Vec<VelocityCounter>,
    /// How many of these each such counter can hold, per shard.
    pub entities: usize,
    /// Transactions of late that can be given back to such counters, per shard.
    pub entity_transactions: usize,
    /// What is allowed, in the order in which limits are tried: those of cards first.
    pub limits: Vec<VelocityLimit>,
    /// When the switch may approve by itself; each rule has a limit of its name.
    pub stand_in: Vec<StandInRule>,
    /// Whether the lines can be given to a process that takes over.
    pub table: TableMemory,
}

/// Transactions and money, counted in windows of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VelocityCounter {
    /// Its name, by which limits and snapshots know it.
    pub name: String,
    /// Whose transactions it counts together.
    pub scope: VelocityScope,
    /// When it begins afresh.
    pub window: VelocityWindow,
    /// Whether the posting of an approval with PIN sets it back. Such a counter sums amounts only.
    pub resets_on_pin: bool,
    /// Which transactions it counts.
    pub when: VelocityCondition,
}

/// Whose transactions are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VelocityScope {
    /// One card.
    Card,
    /// All cards at one terminal: acquirer and DE 41.
    Terminal,
    /// All cards at one merchant: acquirer and DE 42.
    Merchant,
    /// All cards of one acquirer.
    Acquirer,
    /// One token of a card: DE 63, usage TK. Last: digests are of a scope's place here.
    Token,
}

/// When a counter begins afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VelocityWindow {
    /// At midnight, so many minutes east of UTC.
    Day {
        /// East of UTC.
        zone_offset_minutes: i32,
    },
    /// At midnight of the first of a month.
    Month {
        /// East of UTC.
        zone_offset_minutes: i32,
    },
    /// At multiples of so many seconds since 1970 UTC.
    Fixed {
        /// Length.
        window_s: u32,
    },
    /// Never: what is older than the window drops out part by part. Rounded against the card: one
    /// part more than the window is counted.
    Rolling {
        /// Length.
        window_s: u32,
        /// Parts in which it drops out; at least 1.
        sub_windows: u8,
    },
}

/// How much is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VelocityLimit {
    /// Its name in counters and messages.
    pub name: String,
    /// The counter that it judges, by its place; none: each transaction by itself.
    pub counter: Option<usize>,
    /// The counter that it judges, by its place among those of terminals, merchants, acquirers and
    /// tokens.
    pub scope_counter: Option<usize>,
    /// At most this many in a window, this one included.
    pub count_max: Option<u32>,
    /// At most this much in a window, this one included; in minor units.
    pub amount_minor_max: Option<u64>,
    /// Which transactions it judges, of those that its counter counts.
    pub when: VelocityCondition,
    /// What a transaction above it is answered; none: the acquirer's code for amounts or counts.
    pub code: Option<ResponseCode>,
}

/// Which transactions are meant; an empty list, or none, takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VelocityCondition {
    /// What sort of transaction it is.
    pub transaction_kinds: Vec<TransactionKind>,
    /// First two digits of DE 3.
    pub transaction_types: Vec<u8>,
    /// Merchant category codes, DE 18.
    pub mccs: Vec<u16>,
    /// First two digits of DE 22.
    pub entry_modes: Vec<u8>,
    /// Whether a PIN came with it.
    pub pin: Option<PinPresence>,
    /// First nine digits of the PAN, from and to, both included.
    pub iins: Vec<(u32, u32)>,
    /// Numeric currency codes, DE 49.
    pub currencies: Vec<u16>,
    /// What sort of QR code was read; only payments by code have any.
    pub qr_code: Option<QrCode>,
    /// How well the code's requestor knows the payer; only payments by code have any.
    pub qr_levels: Vec<QrLevel>,
    /// Only what the switch approves itself, because its issuer cannot be reached.
    pub stand_in: bool,
}

/// What sort of transaction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TransactionKind {
    /// Goods and services.
    Purchase,
    /// Cash withdrawal.
    Cash,
    /// Pre-authorization.
    PreAuthorization,
    /// Money to another account.
    Transfer,
    /// Money into the card's account.
    Deposit,
    /// Anything else.
    Other,
}

impl TransactionKind {
    /// Kinds by their names in a configuration.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("purchase", Self::Purchase),
        ("cash", Self::Cash),
        ("preauthorization", Self::PreAuthorization),
        ("transfer", Self::Transfer),
        ("deposit", Self::Deposit),
        ("other", Self::Other),
    ];

    /// By the first two digits of DE 3.
    #[inline]
    #[must_use]
    pub const fn of(transaction_type: u8) -> Self {
        match transaction_type {
            // 09: with cash back.
            0 | 9 => Self::Purchase,
            // 17: cash advance.
            1 | 17 => Self::Cash,
            3 => Self::PreAuthorization,
            40..=49 => Self::Transfer,
            21..=29 => Self::Deposit,
            _ => Self::Other,
        }
    }
}

/// Whether a PIN came with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinPresence {
    /// It did.
    Present,
    /// It did not.
    Absent,
}

/// What sort of QR or bar code was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum QrCode {
    /// Printed: anyone can copy it.
    Static,
    /// Made for one payment.
    Dynamic,
}

/// How well the requestor of a code's payment verifies the payer (PBOC risk levels).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum QrLevel {
    /// Digital certificate or electronic signature with others.
    A,
    /// Two factors, of which none is a certificate.
    B,
    /// Less than two factors.
    #[default]
    C,
}

impl VelocityWindow {
    /// Parts of the window that are counted apart.
    #[must_use]
    pub fn parts_counted(self) -> usize {
        match self {
            Self::Day { .. } | Self::Month { .. } | Self::Fixed { .. } => 1,
            Self::Rolling { sub_windows, .. } => usize::from(sub_windows) + 1,
        }
    }
}

impl VelocityConfig {
    /// Bytes of a card's line: the smallest that holds all counters.
    #[must_use]
    pub fn line_bytes(&self) -> usize {
        crate::shard::velocity::line_words(self.words_used()) * 8
    }

    /// Memory that counters of terminals, merchants, acquirers and tokens take in each shard.
    #[must_use]
    pub fn scope_bytes(&self) -> usize {
        crate::shard::velocity::escrow::escrow_bytes(self)
    }

    /// Words of a card's line that the counters take, its key not among them.
    #[must_use]
    pub fn words_used(&self) -> usize {
        crate::shard::velocity::words_needed(&self.counters)
    }
}
