//! The wallet: phones hold tokens, banks know cards. A token is a number like a card's, of a range that
//! a requestor (a wallet, a shop) was given; behind it is a card.
//!
//! A token lives on the shard that its number is hashed to, its card on the shard of the card. A request
//! with a token in DE 2 goes to the token's shard first, which says which card it is and whether the token
//! may be used here (`tap`), and then to the card's shard, where everything else happens as for any other
//! card: repeats, limits, routing. The message itself is carried on as it came, so nothing that answers
//! its acquirer can hold the card's number; only what is written for the issuer gets that, from the
//! card's key (`issuer_leg`).
//!
//! Whether a token may be used is asked of new requests only: reversals, advices, voids, completions and
//! repeats are about something that has happened.
//!
//! Not here: the table of tokens (`vault`), orders about tokens (`life_cycle`), requestors' settings
//! (`config`), levels of payments by code (`requestors`).

mod cryptogram;
mod issuer_leg;
mod keys;
mod life_cycle;
mod line;
mod par;
mod tap;
mod vault;

pub use keys::WalletKeys;
pub use life_cycle::{
    Identification, Provision, TokenAction, TokenView, WalletCard, WalletOrder, WalletOutcome,
    WalletRequest,
};
pub use line::{Month, TokenEntry, TokenState};
pub use tap::{TRANSLATED_BYTES, TokenRefusal, Translated};
pub use vault::{Vault, VaultFull};

pub(super) use issuer_leg::TokenLeg;
pub(super) use tap::Tap;

use life_cycle::Requests;
use par::ParCipher;

use super::identity::ShardId;
use super::{CryptogramKeys, Secrets, placement};
use crate::config::{Config, RequestorConfig};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use tapswitch_protocol::{Pan, TokenRequestor};

/// A part of all tokens.
pub(super) struct Wallet {
    vault: Vault,
    requests: Requests,
    requestors: Vec<RequestorConfig>,
    /// First digits of tokens, and whose they are; sorted, none begins another.
    ranges: Vec<(Range, u8)>,
    hash_key: [u8; 16],
    cryptograms: CryptogramKeys,
    pars: ParCipher,
}

/// The numbers that begin with some digits, as 19 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
}

impl Range {
    fn of(prefix: &str) -> Self {
        let digits = prefix.bytes().filter(u8::is_ascii_digit).take(19);
        let (number, count) = digits
            .fold((0u64, 0), |(number, count), it| (number * 10 + u64::from(it - b'0'), count + 1));
        let scale = 10u64.pow(19 - count);
        let first = number.saturating_mul(scale);
        Self { first, last: first.saturating_add(scale - 1) }
    }
}

impl Wallet {
    pub(super) fn new(config: &Config, secrets: &Secrets) -> Self {
        let shards = config.switch.shards.max(1);
        let mut this = Self {
            vault: Vault::new(config.wallet.tokens.div_ceil(shards)),
            requests: Requests::new(config.wallet.tokens.div_ceil(shards)),
            requestors: Vec::new(),
            ranges: Vec::new(),
            hash_key: secrets.digest_key,
            cryptograms: secrets.cryptograms.clone(),
            pars: ParCipher::new(&secrets.par_key, &config.wallet),
        };
        this.on_config(&config.requestors);
        this
    }

    /// Other requestors from now on.
    pub(super) fn on_config(&mut self, requestors: &[RequestorConfig]) {
        self.requestors = requestors.to_vec();
        let mut ranges: Vec<(Range, u8)> = Vec::new();
        for (place, requestor) in requestors.iter().enumerate() {
            let own = requestor.token_prefixes.iter().map(|prefix| Range::of(prefix));
            // At most REQUESTORS_MAX.
            ranges.extend(own.map(|range| (range, place as u8)));
        }
        ranges.sort_unstable_by_key(|(range, _)| range.first);
        self.ranges = ranges;
    }

    /// The number, if it lies in a requestor's range.
    #[inline]
    pub(super) fn token_of(&self, pan: &Pan) -> Option<u64> {
        if self.ranges.is_empty() {
            return None;
        }
        let digits = pan.digits();
        let number = number_of(digits);
        let scaled = number.saturating_mul(10u64.pow(19u32.saturating_sub(digits.len() as u32)));
        let behind = self.ranges.partition_point(|(range, _)| range.first <= scaled);
        let (range, _) = self.ranges.get(behind.checked_sub(1)?)?;
        (scaled <= range.last).then_some(number)
    }

    /// The shard that holds this token.
    #[inline]
    pub(super) fn owner(&self, token: u64, shards: usize) -> ShardId {
        placement::spread(self.hash(token), shards)
    }

    #[inline]
    fn hash(&self, token: u64) -> u64 {
        hash(&self.hash_key, token)
    }

    /// Asks the processor to fetch the token's line. Changes nothing.
    #[inline]
    pub(super) fn prefetch(&self, token: u64) {
        self.vault.prefetch(self.hash(token));
    }

    fn find(&self, token: u64) -> Option<u32> {
        self.vault.find(token, self.hash(token))
    }

    fn requestor(&self, id: TokenRequestor) -> Option<&RequestorConfig> {
        self.requestors.iter().find(|requestor| requestor.id == id)
    }

    /// All tokens at these places, for a snapshot; `None` behind the last place.
    pub(super) fn within(
        &self,
        places: core::ops::Range<usize>,
    ) -> Option<impl Iterator<Item = TokenEntry>> {
        (places.start < self.vault.places()).then(|| self.vault.within(places))
    }

    /// Orders that were done, from a place on, the oldest first: identification, contents, token.
    pub(super) fn requests(&self, from: usize) -> impl Iterator<Item = [u64; 3]> {
        self.requests.from(from)
    }

    /// Whether a number is in a range of this requestor.
    fn is_of(&self, token: u64, id: TokenRequestor) -> bool {
        let Some(place) = self.requestors.iter().position(|it| it.id == id) else { return false };
        let digits = token.checked_ilog10().map_or(1, |power| power + 1);
        let scaled = token.saturating_mul(10u64.pow(19u32.saturating_sub(digits)));
        let is_in = |range: &Range| range.first <= scaled && scaled <= range.last;
        self.ranges.iter().any(|(range, of)| usize::from(*of) == place && is_in(range))
    }
}

fn hash(key: &[u8; 16], token: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write_u64(token);
    hasher.finish()
}

/// The number that these ASCII digits write; at most 19 of them.
#[inline]
fn number_of(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit & 0x0F))
}
