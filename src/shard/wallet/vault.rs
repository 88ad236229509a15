//! The table of tokens: lines of 32 bytes in one run of memory, found by a keyed hash of the token's
//! number and walked on from there (linear probing: four fifths full at most, so a walk is mostly within
//! the cache line where it begins). Its size is fixed at the start; no token is ever moved.
//!
//! Tokens of a card hang together in buckets by the card's key, so that all of them can be found.
//!
//! Not here: what a line says (`line`), how it changes (`life_cycle`, `tap`).

use super::line::{LINE_WORDS, Month, TokenEntry, TokenState};
use crate::memory::{TableMemory, Words, zeroed_words};
use crate::shard::identity::CardKey;
use crate::shard::velocity::prefetch;
use core::ops::Range;
use tapswitch_protocol::TokenRequestor;

/// Tokens for each bucket, on average, when the table is full.
const TOKENS_PER_BUCKET: usize = 8;
/// A deleted token's line can be taken by another one so long after it expired, in months: by then
/// nothing of it can be reversed any more.
const KEPT_MONTHS: u16 = 3;
/// Words of a cache line.
const CACHE_WORDS: usize = 8;
/// Requestors that a byte can name.
const REQUESTORS_MAX: usize = 256;
/// Ends a bucket.
const END: u32 = 0;

/// There is no line for another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultFull;

/// What a place for a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Free {
    /// Never taken.
    Empty,
    /// Of a token that is of no use to anybody any more.
    GivenUp,
}

/// The tokens of one shard.
pub struct Vault {
    lines: Words,
    /// Words before the first line, which begins a cache line.
    skipped: usize,
    /// Of each line: counters that were seen below the highest, and the next line of its bucket.
    cold: Words,
    /// The first line of each bucket, counted from 1.
    buckets: Box<[u32]>,
    places: usize,
    occupied: usize,
    tokens_max: usize,
    /// Who ever asked for a token, by the places that lines name.
    requestors: Vec<TokenRequestor>,
}

impl Vault {
    /// For so many tokens, at most 2^31. Allocates and touches all that it will ever use.
    #[must_use]
    pub fn new(tokens_max: usize) -> Self {
        let tokens_max = tokens_max.min(1 << 31);
        // One is always empty, so that every walk ends.
        let places = if tokens_max == 0 { 0 } else { tokens_max * 5 / 4 + 1 };
        let buckets = tokens_max.div_ceil(TOKENS_PER_BUCKET);
        let lines = zeroed_words(places * LINE_WORDS + CACHE_WORDS, TableMemory::Private);
        let skipped = lines.as_ptr().align_offset(CACHE_WORDS * 8);
        assert!(skipped < CACHE_WORDS, "Invariant: a cache line begins within the first 64 bytes");
        Self {
            lines,
            skipped,
            cold: zeroed_words(places, TableMemory::Private),
            buckets: vec![END; buckets].into_boxed_slice(),
            places,
            occupied: 0,
            tokens_max,
            requestors: Vec::new(),
        }
    }

    /// Tokens in it, deleted ones too.
    #[must_use]
    pub fn occupied(&self) -> usize {
        self.occupied
    }

    /// Bytes of all its memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.places * (LINE_WORDS + 1) * 8 + self.buckets.len() * 4
    }

    /// Asks the processor to fetch the line where a token's search begins. Changes nothing.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let at = self.word(self.start(hash));
        if let Some(word) = self.lines.get(at) {
            prefetch(word);
        }
        // A search that begins in the second half of a cache line often needs the next one.
        if let Some(word) = self.lines.get(at + 2 * LINE_WORDS) {
            prefetch(word);
        }
    }

    /// The place of a token.
    #[inline]
    #[must_use]
    pub fn find(&self, token: u64, hash: u64) -> Option<u32> {
        if self.places == 0 {
            return None;
        }
        let mut place = self.start(hash);
        loop {
            match *self.lines.get(self.word(place))? {
                0 => return None,
                // At most 2^32 places.
                found if found == token => return Some(place as u32),
                _ => place = self.after(place),
            }
        }
    }

    /// What is known of the token at a place.
    #[inline]
    #[must_use]
    pub fn get(&self, place: u32) -> Option<TokenEntry> {
        let seen = *self.cold.get(place as usize)? as u32;
        self.line(place).map(|entry| TokenEntry { seen, ..entry })
    }

    /// The same from its line alone, which saves a miss of the cache: all counters below the highest count
    /// as seen.
    #[inline]
    #[must_use]
    pub fn line(&self, place: u32) -> Option<TokenEntry> {
        let at = self.word(place as usize);
        let line = self.lines.get(at..at + LINE_WORDS)?.first_chunk().copied()?;
        // A line that is empty has no state.
        TokenEntry::unpack(line, u32::MAX, |requestor| {
            self.requestors.get(usize::from(requestor)).copied()
        })
    }

    /// Puts a token in, or what is known of it now. A token keeps its place.
    ///
    /// # Errors
    /// [`VaultFull`]: no line, or too many requestors.
    pub fn put(&mut self, entry: &TokenEntry, hash: u64, now: Month) -> Result<u32, VaultFull> {
        let requestor = self.requestor(entry.requestor)?;
        let place = match self.find(entry.token, hash) {
            Some(place) => place,
            None => self.take(hash, now)?,
        };
        if self.get(place).is_some_and(|before| before.card != entry.card) {
            self.unchain(place);
        }
        let is_chained = self.get(place).is_some();
        self.write(place, entry.pack(requestor), entry.seen);
        if !is_chained {
            self.chain(place, entry.card);
        }
        Ok(place)
    }

    /// What is known of a token's counters from now on, if it is there.
    pub fn set_counter(&mut self, (token, hash): (u64, u64), (counter, seen): (u16, u32)) {
        let place = self.find(token, hash);
        let entry = place.and_then(|place| self.get(place));
        if let (Some(place), Some(entry)) = (place, entry)
            && let Ok(requestor) = self.requestor(entry.requestor)
        {
            self.write(place, TokenEntry { counter, ..entry }.pack(requestor), seen);
        }
    }

    /// Whether a new token is to be taken: there are fewer than it was made for, or one was given up
    /// where this one would be.
    #[must_use]
    pub fn wants(&self, hash: u64, now: Month) -> bool {
        match self.free(hash, now) {
            Some((_, Free::Empty)) => self.occupied < self.tokens_max,
            Some((_, Free::GivenUp)) => true,
            None => false,
        }
    }

    /// Whether [`Vault::put`] would find a line for another token. What another process had can be more
    /// than is wanted: it may have found a line given up that lies elsewhere here.
    #[must_use]
    pub fn has_room(&self, requestor: TokenRequestor) -> bool {
        self.occupied + 1 < self.places
            && (self.requestors.len() < REQUESTORS_MAX || self.requestors.contains(&requestor))
    }

    /// The tokens of a card.
    pub fn of_card(&self, card: CardKey) -> impl Iterator<Item = TokenEntry> {
        let first = self.bucket(card).and_then(|bucket| self.buckets.get(bucket)).copied();
        let mut next = first.unwrap_or(END);
        let walk = core::iter::from_fn(move || {
            let place = next.checked_sub(1)?;
            next = self.next_of(place);
            self.get(place)
        });
        walk.filter(move |entry| entry.card == card)
    }

    /// Places that there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places
    }

    /// The tokens at these places.
    pub fn within(&self, places: Range<usize>) -> impl Iterator<Item = TokenEntry> {
        let places = places.start..places.end.min(self.places);
        places.filter_map(|place| self.get(place as u32))
    }

    #[inline]
    fn start(&self, hash: u64) -> usize {
        // Other bits than those that choose the shard.
        ((u128::from(hash.swap_bytes()) * self.places as u128) >> 64) as usize
    }

    #[inline]
    fn word(&self, place: usize) -> usize {
        self.skipped + place * LINE_WORDS
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 < self.places { place + 1 } else { 0 }
    }

    /// A place for a token that has none: the first that is empty, or was given up long ago.
    fn free(&self, hash: u64, now: Month) -> Option<(u32, Free)> {
        if self.places == 0 {
            return None;
        }
        let mut place = self.start(hash);
        loop {
            let at = place as u32;
            match self.line(at) {
                None => return Some((at, Free::Empty)),
                Some(entry) if is_given_up(&entry, now) => return Some((at, Free::GivenUp)),
                Some(_) => place = self.after(place),
            }
        }
    }

    fn take(&mut self, hash: u64, now: Month) -> Result<u32, VaultFull> {
        match self.free(hash, now) {
            Some((place, Free::GivenUp)) => {
                self.unchain(place);
                Ok(place)
            }
            // One stays empty.
            Some((place, Free::Empty)) if self.occupied + 1 < self.places => {
                self.occupied += 1;
                Ok(place)
            }
            _ => Err(VaultFull),
        }
    }

    fn requestor(&mut self, id: TokenRequestor) -> Result<u8, VaultFull> {
        let known = self.requestors.iter().position(|known| *known == id);
        let place = match known {
            Some(place) => place,
            None if self.requestors.len() < REQUESTORS_MAX => {
                self.requestors.push(id);
                self.requestors.len() - 1
            }
            None => return Err(VaultFull),
        };
        // Below 256.
        Ok(place as u8)
    }

    fn write(&mut self, place: u32, line: [u64; LINE_WORDS], seen: u32) {
        let at = self.word(place as usize);
        if let Some(words) = self.lines.get_mut(at..at + LINE_WORDS) {
            words.copy_from_slice(&line);
        }
        if let Some(cold) = self.cold.get_mut(place as usize) {
            *cold = *cold & !u64::from(u32::MAX) | u64::from(seen);
        }
    }

    fn bucket(&self, card: CardKey) -> Option<usize> {
        let [_, high] = card.words();
        let bucket = ((u128::from(high) * self.buckets.len() as u128) >> 64) as usize;
        (bucket < self.buckets.len()).then_some(bucket)
    }

    fn next_of(&self, place: u32) -> u32 {
        self.cold.get(place as usize).map_or(END, |cold| (cold >> 32) as u32)
    }

    fn set_next(&mut self, place: u32, next: u32) {
        if let Some(cold) = self.cold.get_mut(place as usize) {
            *cold = *cold & u64::from(u32::MAX) | u64::from(next) << 32;
        }
    }

    fn chain(&mut self, place: u32, card: CardKey) {
        let Some(bucket) = self.bucket(card) else { return };
        let Some(first) = self.buckets.get_mut(bucket) else { return };
        let next = core::mem::replace(first, place + 1);
        self.set_next(place, next);
    }

    /// Takes a token out of its card's bucket; its line is empty afterwards.
    fn unchain(&mut self, place: u32) {
        let bucket = self.get(place).and_then(|entry| self.bucket(entry.card));
        let Some(bucket) = bucket else { return };
        let next = self.next_of(place);
        let mut at = self.buckets.get(bucket).copied().unwrap_or(END);
        if at == place + 1 {
            if let Some(first) = self.buckets.get_mut(bucket) {
                *first = next;
            }
        } else {
            while let Some(before) = at.checked_sub(1) {
                at = self.next_of(before);
                if at == place + 1 {
                    self.set_next(before, next);
                    break;
                }
            }
        }
        // Not the number: whoever walks on from before must still walk over this line.
        let packed = self.word(place as usize) + LINE_WORDS - 1;
        if let Some(word) = self.lines.get_mut(packed) {
            *word = 0;
        }
    }
}

fn is_given_up(entry: &TokenEntry, now: Month) -> bool {
    entry.state == TokenState::Deleted && entry.expiry.number() + KEPT_MONTHS < now.number()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn hash(token: u64) -> u64 {
        super::super::hash(&[9; 16], token)
    }

    fn entry(token: u64, card: u8, state: TokenState, expiry: u16) -> TokenEntry {
        TokenEntry {
            token,
            card: CardKey([card; 16]),
            requestor: TokenRequestor::from_digits(format!("{:011}", token % 5).as_bytes())
                .unwrap(),
            assurance: 10,
            expiry: Month::from_number(expiry).unwrap(),
            card_expiry: Month::from_number(400).unwrap(),
            sequence: Some(1),
            state,
            is_denied: false,
            counter: 0,
            seen: 0,
        }
    }

    #[test]
    fn as_many_tokens_fit_as_it_was_made_for() {
        let now = Month::from_number(320).unwrap();
        let mut vault = Vault::new(1_000);
        for token in 1..=1_000 {
            vault.put(&entry(token, 1, TokenState::Active, 330), hash(token), now).unwrap();
        }
        assert!(!vault.wants(hash(1_001), now));
        assert!((1..=1_000).all(|token| vault.find(token, hash(token)).is_some()));
        assert!(vault.find(1_001, hash(1_001)).is_none());
        assert_eq!(vault.of_card(CardKey([1; 16])).count(), 1_000);
        assert_eq!(vault.within(0..vault.places()).count(), 1_000);
        let nothing = Vault::new(0);
        assert!(
            nothing.find(1, hash(1)).is_none() && nothing.of_card(CardKey([1; 16])).count() == 0
        );
    }

    #[test]
    fn a_line_of_long_ago_is_taken_again() {
        let (then, now) = (Month::from_number(310).unwrap(), Month::from_number(320).unwrap());
        let mut vault = Vault::new(64);
        for token in 1..=64 {
            let state = if token % 2 == 0 { TokenState::Deleted } else { TokenState::Active };
            vault.put(&entry(token, 1, state, 312), hash(token), then).unwrap();
        }
        let taken = (65..=200).filter(|&token| {
            let is_wanted = vault.wants(hash(token), now);
            let entry = entry(token, 2, TokenState::Active, 400);
            is_wanted && vault.put(&entry, hash(token), now).is_ok()
        });
        let taken = taken.count();
        assert!((20..=32).contains(&taken), "{taken}");
        assert!((1..=64).step_by(2).all(|token| vault.find(token, hash(token)).is_some()));
        assert_eq!(vault.of_card(CardKey([2; 16])).count(), taken);
        assert_eq!(vault.of_card(CardKey([1; 16])).count(), 64 - taken);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            puts in proptest::collection::vec((1u64..60, 1u8..6, 1u8..5, 0u16..20), 1..300)
        ) {
            let now = Month::from_number(1).unwrap();
            let mut vault = Vault::new(40);
            let mut map: BTreeMap<u64, TokenEntry> = BTreeMap::new();
            for (token, card, state, counter) in puts {
                let state = TokenState::from_number(state).unwrap();
                let entry = TokenEntry { counter, seen: u32::from(counter), ..entry(token, card, state, 500) };
                match vault.put(&entry, hash(token), now) {
                    Ok(_) => { map.insert(token, entry); }
                    Err(VaultFull) => prop_assert!(map.len() == 50 && !map.contains_key(&token)),
                }
            }
            prop_assert_eq!(vault.occupied(), map.len());
            for token in 1..60 {
                let found = vault.find(token, hash(token)).and_then(|place| vault.get(place));
                prop_assert!(found == map.get(&token).copied());
            }
            for card in 1..6 {
                let mut tokens: Vec<u64> =
                    vault.of_card(CardKey([card; 16])).map(|entry| entry.token).collect();
                tokens.sort_unstable();
                let expected = map.values().filter(|entry| entry.card == CardKey([card; 16]));
                prop_assert_eq!(tokens, expected.map(|entry| entry.token).collect::<Vec<_>>());
            }
        }
    }
}
