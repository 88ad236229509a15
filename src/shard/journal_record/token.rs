//! The record of a token: written, read, and as an operator reads it, without its number.

use super::decode::{Reader, RecordError};
use super::{Kind, Writer};
use crate::shard::identity::CardKey;
use crate::shard::wallet::{Month, TokenEntry, TokenState};
use core::fmt;
use tapswitch_protocol::TokenRequestor;

const NO_SEQUENCE: u8 = u8::MAX;

impl TokenEntry {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Kind {
        writer.put(self.token.to_le_bytes());
        writer.put(self.card.0);
        writer.put(self.requestor.number().to_le_bytes());
        writer.put(self.expiry.number().to_le_bytes());
        writer.put(self.card_expiry.number().to_le_bytes());
        writer.put(self.counter.to_le_bytes());
        writer.put(self.seen.to_le_bytes());
        let sequence = self.sequence.unwrap_or(NO_SEQUENCE);
        writer.put([self.state as u8, u8::from(self.is_denied), sequence, self.assurance]);
        Kind::Token
    }
}

impl Writer<'_> {
    pub(super) fn token_used(&mut self, token: u64, (counter, seen): (u16, u32)) -> Kind {
        self.put(token.to_le_bytes());
        self.put(counter.to_le_bytes());
        self.put(seen.to_le_bytes());
        Kind::TokenUsed
    }

    pub(super) fn wallet_request(&mut self, numbers: &[u64; 3]) -> Kind {
        numbers.iter().for_each(|number| self.put(number.to_le_bytes()));
        Kind::WalletRequest
    }
}

impl fmt::Display for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requestor, state, counter) = (self.requestor, self.state.name(), self.counter);
        let denied = if self.is_denied { ", denied" } else { "" };
        write!(f, "of requestor {requestor}: {state}{denied}, counter {counter}")
    }
}

impl Reader<'_> {
    pub(super) fn token(&mut self) -> Result<TokenEntry, RecordError> {
        let (token, card) = (self.number()?, CardKey(self.take()?));
        let requestor = TokenRequestor::from_number(self.number()?);
        let (expiry, card_expiry) = (self.month()?, self.month()?);
        let counter = u16::from_le_bytes(self.take()?);
        let seen = u32::from_le_bytes(self.take()?);
        let [state, denied, sequence, assurance] = self.take()?;
        Ok(TokenEntry {
            token,
            card,
            requestor: requestor.ok_or(RecordError::Value("token requestor"))?,
            assurance,
            expiry,
            card_expiry,
            sequence: (sequence != NO_SEQUENCE).then_some(sequence),
            state: TokenState::from_number(state).ok_or(RecordError::Value("state of a token"))?,
            is_denied: denied != 0,
            counter,
            seen,
        })
    }

    /// Token, highest counter, those seen below.
    pub(super) fn token_used(&mut self) -> Result<(u64, u16, u32), RecordError> {
        let token = self.number()?;
        Ok((token, u16::from_le_bytes(self.take()?), u32::from_le_bytes(self.take()?)))
    }

    fn month(&mut self) -> Result<Month, RecordError> {
        Month::from_number(u16::from_le_bytes(self.take()?)).ok_or(RecordError::Value("month"))
    }
}
