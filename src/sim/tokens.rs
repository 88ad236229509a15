//! Tokens of a world: which cards have one, and the records by which its switch knows them from the
//! first moment on, as if a process before had made them.
//!
//! Acquirers know such a card by its token only, issuers by its number only; that is checked of every
//! message (`acquirer`, `issuer`). Not here: orders about tokens, which tests of the shard give.

use super::plan::Plan;
use super::wire::{TOKEN_PREFIX, Wire};
use crate::shard::Secrets;
use crate::shard::card_cipher::CardCipher;
use crate::shard::journal_record::{Change, RECORD_BYTES_MAX, Record};
use crate::shard::wallet::{Month, TokenEntry, TokenState, WalletKeys};
use std::fmt::Write as _;
use tapswitch_protocol::{Pan, TokenRequestor};

/// A token, and digits of its card's number.
pub(super) type Token = (u64, Vec<u8>);

/// All tokens of a world.
pub(super) fn token_records(plan: &Plan, wire: &Wire) -> Vec<Token> {
    let cards = 0..plan.cards.max(plan.hot_cards) as u32;
    cards.filter_map(|card| Some((wire.token(card)?, wire.pan(card)))).collect()
}

/// Who gave them, in the configuration.
pub(super) fn write_requestor(text: &mut String) {
    let _ = writeln!(
        text,
        "[wallet]\ntokens = 65_536\n[requestor.phone]\nid = \"00012345678\"\n\
         token_prefixes = [\"{TOKEN_PREFIX}\"]"
    );
}

/// The records of those on one shard of so many, and how many.
pub(super) fn records(
    tokens: &[Token],
    secrets: &Secrets,
    (shard, shards): (usize, usize),
) -> (Vec<u8>, u32) {
    let (keys, cipher) = (WalletKeys::new(secrets, shards), CardCipher::new(&secrets.card_key));
    let (mut records, mut count) = (Vec::new(), 0);
    for (token, pan) in tokens.iter().filter(|(token, _)| keys.shard_of(*token) == shard) {
        let Some(entry) = entry(*token, pan, &cipher) else { continue };
        let mut bytes = [0; RECORD_BYTES_MAX];
        let used = Record { wall_ms: 1, change: Change::Token(entry) }.encode(&mut bytes);
        records.extend_from_slice(&bytes[..used]);
        count += 1;
    }
    (records, count)
}

fn entry(token: u64, pan: &[u8], cipher: &CardCipher) -> Option<TokenEntry> {
    let last = Month::from_yymm(b"6012")?;
    Some(TokenEntry {
        token,
        card: cipher.key(&Pan::from_digits(pan).ok()?),
        requestor: TokenRequestor::from_number(12_345_678)?,
        assurance: 0,
        expiry: last,
        card_expiry: last,
        sequence: None,
        state: TokenState::Active,
        is_denied: false,
        counter: 0,
        seen: 0,
    })
}
