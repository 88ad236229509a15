//! Whose limits they are, and what is counted of them for one request.
//!
//! Not here: who may count it.

use crate::limits::SCOPE_COUNTERS_MAX;
use crate::shard::{AcquirerId, CardKey, ShardId};
use tapswitch_protocol::Token;

/// A terminal, a merchant, an acquirer or a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entity(pub [u8; 16]);

impl Entity {
    /// A token is on the shard of its card, over however many shards: half of it says where that is.
    pub(super) fn of_token(card: CardKey, digest: u128) -> Self {
        let [place, _] = card.words();
        Self((u128::from(place) | digest << 64).to_le_bytes())
    }

    /// The shard that lends what its limits allow; of a token the one that counts it.
    pub(super) fn owner(self, shards: usize) -> ShardId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        // At most SHARDS_MAX.
        ShardId(((u128::from(low) * shards as u128) >> 64) as u8)
    }
}

/// Transactions and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// How much.
    pub amount_minor: u64,
}

impl Tally {
    /// Both halves by themselves.
    pub(super) fn with(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            count: of(self.count, other.count),
            amount_minor: of(self.amount_minor, other.amount_minor),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    pub(super) fn less(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// What one shard used and was lent in one part of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Counted here.
    pub used: Tally,
    /// Lent for this part.
    pub leased: Tally,
}

/// Who takes part in a transaction, as its message says.
#[derive(Clone, Copy)]
pub(in crate::shard) struct Parties<'a> {
    pub(in crate::shard) acquirer: AcquirerId,
    /// DE 42; transactions without one count as of one merchant.
    pub(in crate::shard) merchant: &'a [u8],
    /// DE 41; as above.
    pub(in crate::shard) terminal: &'a [u8],
    /// By which it was paid; transactions without one are counted by no counter of tokens.
    pub(in crate::shard) token: Option<Token>,
}

/// What is, or is to be, counted for one request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ScopeHold {
    /// Its card, whose shard keeps this.
    pub card: CardKey,
    /// Acquirer, merchant, terminal, token: those that a counter counts.
    pub entities: [Entity; 4],
    /// When it was counted.
    pub at_ms: u64,
    /// How much of it counts.
    pub amount_minor: u64,
    /// The counters that count it, as a mask.
    pub counters: u8,
    /// Whether it counts as a transaction, or its amount only.
    pub is_transaction: bool,
    /// Whether the amount is in the currency of DE 4, so that a part of one is a part of the other.
    pub is_same_currency: bool,
}

impl Default for ScopeHold {
    fn default() -> Self {
        Self {
            card: CardKey([0; 16]),
            entities: [Entity::default(); 4],
            at_ms: 0,
            amount_minor: 0,
            counters: 0,
            is_transaction: false,
            is_same_currency: false,
        }
    }
}

impl ScopeHold {
    /// Whether no counter counts it.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters == 0
    }

    pub(super) fn units(&self) -> Tally {
        Tally { count: u64::from(self.is_transaction), amount_minor: self.amount_minor }
    }

    /// The counters that count it.
    pub(in crate::shard) fn each_counter(&self) -> impl Iterator<Item = u8> + use<> {
        let counters = self.counters;
        (0..SCOPE_COUNTERS_MAX as u8).filter(move |counter| counters & 1 << counter != 0)
    }
}
