//! Reading records. A journal's blocks are checksummed, so what does not read is a mistake of
//! ours or of another version: told, never guessed.

use super::{
    Answered, Change, Forwarded, HEAD_BYTES, Kind, NO_ISSUER, NO_STAN, OwedId, OwedMessage,
    RECORD_BYTES_MAX, RESERVATION_BYTES, Record, Reinstated, Settlement, Undone,
};
use crate::limits::{ISSUERS_MAX, REMEMBERED_BYTES_MAX};
use crate::shard::duplicate::{DuplicateKey, OriginalKey, OriginalRecord, OriginalState};
use crate::shard::field_list::StoredFields;
use crate::shard::identity::{AcquirerId, CardKey, IssuerId};
use crate::shard::preauthorization::{Hold, HoldName};
use crate::shard::totals::{Entry, Sort};
use crate::shard::velocity::Reservation;
use tapswitch_protocol::{Mti, ResponseCode, Stan, TransmissionTime};

/// A record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends early, or states a length that cannot be.
    #[error("a record of {0} bytes cannot be")]
    Length(usize),
    /// Its kind is not known.
    #[error("a record of unknown kind {0}: written by another version?")]
    Kind(u8),
    /// A part of it has a value that cannot be.
    #[error("a record with an impossible {0}: written by another version?")]
    Value(&'static str),
    /// The tables of this configuration are too small for it.
    #[error("{0}")]
    NoRoom(&'static str),
}

/// A record taken apart, and what of it is not borrowed from the bytes.
pub(in crate::shard) struct Decoded<'a> {
    wall_ms: u64,
    body: Body<'a>,
}

/// As [`Change`], but an answered original is held here.
enum Body<'a> {
    Answered {
        head: (DuplicateKey, u64),
        original: OriginalRecord,
        tail: (Settlement, Option<Entry>, &'a [u8]),
    },
    Other(Change<'a>),
}

impl Decoded<'_> {
    /// The record.
    pub(in crate::shard) fn record(&self) -> Record<'_> {
        let change = match &self.body {
            Body::Other(change) => *change,
            Body::Answered { head: (key, fingerprint), original, tail } => {
                let (settlement, entry, answer) = tail;
                Change::Answered(Answered {
                    key: *key,
                    fingerprint: *fingerprint,
                    original,
                    settlement: *settlement,
                    entry: *entry,
                    answer,
                })
            }
        };
        Record { wall_ms: self.wall_ms, change }
    }
}

/// Takes the first record off `bytes`.
///
/// # Errors
/// See [`RecordError`].
pub(in crate::shard) fn decode<'a>(bytes: &mut &'a [u8]) -> Result<Decoded<'a>, RecordError> {
    let short = RecordError::Length(bytes.len());
    let length = bytes.first_chunk().map(|length| usize::from(u16::from_le_bytes(*length)));
    let length = length.filter(|&length| (HEAD_BYTES..=RECORD_BYTES_MAX).contains(&length));
    let (record, rest) = length.and_then(|at| bytes.split_at_checked(at)).ok_or(short)?;
    *bytes = rest;
    let mut reader = Reader(record.get(2..).unwrap_or_default(), record.len());
    let [kind] = reader.take()?;
    let wall_ms = u64::from_le_bytes(reader.take()?);
    Ok(Decoded { wall_ms, body: reader.body(kind)? })
}

/// Takes the first record off `bytes` as [`decode`] does, but only to see which request and card it
/// is of; `None` when it is of none, or cannot be read.
#[inline]
pub(in crate::shard) fn skim(bytes: &mut &[u8]) -> Option<(DuplicateKey, CardKey)> {
    let length = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
    let (record, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let kind = *record.get(2)?;
    let before_card = match kind {
        kind if kind == Kind::Forwarded as u8 => 8,
        kind if kind == Kind::Answered as u8 || kind == Kind::AnsweredEntered as u8 => 12,
        kind if kind == Kind::Undone as u8 || kind == Kind::UndoneEntered as u8 => 0,
        _ => return None,
    };
    let (key, rest) = record.get(HEAD_BYTES..)?.split_first_chunk()?;
    Some((DuplicateKey(*key), CardKey(*rest.get(before_card..)?.first_chunk()?)))
}

/// A record's bytes, taken from the front; and how many it had.
pub(super) struct Reader<'a>(&'a [u8], usize);

impl<'a> Reader<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(RecordError::Length(self.1))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn number(&mut self) -> Result<u64, RecordError> {
        self.take().map(u64::from_le_bytes)
    }

    fn mti(&mut self) -> Result<Mti, RecordError> {
        let number = u16::from_le_bytes(self.take()?);
        Mti::from_number(number).ok_or(RecordError::Value("type of message"))
    }

    fn reservation(&mut self) -> Result<Reservation, RecordError> {
        self.take::<RESERVATION_BYTES>().map(|bytes| Reservation::from_bytes(&bytes))
    }

    fn numbers(&mut self) -> Result<(Stan, TransmissionTime), RecordError> {
        let stan = u32::from_le_bytes(self.take()?);
        Ok((Stan(stan), TransmissionTime(u32::from_le_bytes(self.take()?))))
    }

    fn id(&mut self) -> Result<OwedId, RecordError> {
        let number = self.number()?;
        Ok(OwedId { number, place: u32::from_le_bytes(self.take()?) })
    }

    fn issuer_and_day(&mut self) -> Result<(IssuerId, u32), RecordError> {
        let [issuer] = self.take()?;
        if usize::from(issuer) >= ISSUERS_MAX {
            return Err(RecordError::Value("issuer"));
        }
        Ok((IssuerId(issuer), u32::from_le_bytes(self.take()?)))
    }

    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    fn body(&mut self, kind: u8) -> Result<Body<'a>, RecordError> {
        let is = |wanted: Kind| kind == wanted as u8;
        let change = if is(Kind::Forwarded) {
            Change::Forwarded(self.forwarded()?)
        } else if is(Kind::Answered) {
            return self.answered(false);
        } else if is(Kind::AnsweredEntered) {
            return self.answered(true);
        } else if is(Kind::Undone) {
            Change::Undone(self.undone()?)
        } else if is(Kind::UndoneEntered) {
            let undone = self.undone()?;
            Change::Undone(Undone { entry: Some(self.entry()?), ..undone })
        } else if is(Kind::SettlementDay) {
            Change::SettlementDay { day: u32::from_le_bytes(self.take()?) }
        } else if is(Kind::Reinstated) {
            Change::Reinstated(Reinstated {
                key: OriginalKey(self.take()?),
                card: CardKey(self.take()?),
                reservation: self.reservation()?,
                entry: self.entry()?,
            })
        } else if is(Kind::IssuerDay) {
            let (issuer, day) = self.issuer_and_day()?;
            Change::IssuerDay { issuer, day }
        } else if is(Kind::IssuerTold) {
            let (issuer, day) = self.issuer_and_day()?;
            Change::IssuerTold { issuer, day }
        } else if is(Kind::Owed) {
            Change::Owed(self.owed()?)
        } else if is(Kind::OwedSent) {
            let id = self.id()?;
            let (stan, time) = self.numbers()?;
            Change::OwedSent { id, stan, time }
        } else if is(Kind::OwedDone) {
            Change::OwedDone { id: self.id()? }
        } else if is(Kind::OwedParked) {
            let id = self.id()?;
            Change::OwedParked { id, code: ResponseCode::new(self.take()?) }
        } else if is(Kind::OwedReleased) {
            Change::OwedReleased { id: self.id()? }
        } else if is(Kind::OwedDropped) {
            Change::OwedDropped { id: self.id()?, note: self.rest() }
        } else if is(Kind::HoldOpened) {
            Change::HoldOpened(self.hold()?)
        } else if is(Kind::HoldOpenedAt) {
            let hold = self.hold()?;
            let [issuer] = self.take()?;
            let issuer = (issuer != NO_ISSUER).then_some(IssuerId(issuer));
            Change::HoldOpened(Hold { issuer, ..hold })
        } else if is(Kind::HoldCompleted) {
            let (key, card) = (DuplicateKey(self.take()?), CardKey(self.take()?));
            let (by, reservation) = (DuplicateKey(self.take()?), self.reservation()?);
            let less_minor = self.number()?;
            Change::HoldCompleted { key, card, by, reservation, less_minor }
        } else if is(Kind::Started) {
            Change::Started
        } else if is(Kind::Configured) {
            Change::Configured { epoch: self.number()? }
        } else {
            self.of_limits_or_tokens(kind)?
        };
        Ok(Body::Other(change))
    }

    fn of_limits_or_tokens(&mut self, kind: u8) -> Result<Change<'a>, RecordError> {
        let is = |wanted: Kind| kind == wanted as u8;
        Ok(if is(Kind::ScopeRow) {
            Change::ScopeRow(self.scope_row()?)
        } else if is(Kind::ScopePool) {
            Change::ScopePool(self.scope_pool()?)
        } else if is(Kind::ScopeHeld) {
            Change::ScopeHeld { key: DuplicateKey(self.take()?), hold: self.scope_hold()? }
        } else if is(Kind::Token) {
            Change::Token(self.token()?)
        } else if is(Kind::TokenUsed) {
            let (token, counter, seen) = self.token_used()?;
            Change::TokenUsed { token, counter, seen }
        } else if is(Kind::WalletRequest) {
            Change::WalletRequest([self.number()?, self.number()?, self.number()?])
        } else {
            return Err(RecordError::Kind(kind));
        })
    }

    fn forwarded(&mut self) -> Result<Forwarded<'a>, RecordError> {
        let key = DuplicateKey(self.take()?);
        let fingerprint = self.number()?;
        let card = CardKey(self.take()?);
        let [acquirer, issuer, moves_money] = self.take()?;
        let mti = self.mti()?;
        let (stan, sent) = self.numbers()?;
        Ok(Forwarded {
            key,
            fingerprint,
            card,
            acquirer: AcquirerId(acquirer),
            issuer: IssuerId(issuer),
            mti,
            stan,
            sent,
            amount_minor: self.number()?,
            reservation: self.reservation()?,
            moves_money: moves_money != 0,
            fields: StoredFields::Listed(self.rest()),
        })
    }

    fn entry(&mut self) -> Result<Entry, RecordError> {
        Entry::decode(&self.take()?).ok_or(RecordError::Value("entry in totals"))
    }

    fn answered(&mut self, is_entered: bool) -> Result<Body<'a>, RecordError> {
        let head = (DuplicateKey(self.take()?), self.number()?);
        let [state, issuer] = self.take()?;
        let response_code = self.take()?;
        let card = CardKey(self.take()?);
        let amount_minor = self.number()?;
        let (stan, time) = self.numbers()?;
        let original = OriginalRecord {
            state: OriginalState::Declined,
            response_code,
            issuer: IssuerId(issuer),
            card,
            amount_minor,
            issuer_stan: stan.0,
            issuer_transmission_time: time.0,
            reservation: Reservation::default(),
            sort: Sort::None,
            voids: None,
        };
        let original = original.with_end(state, &self.take()?);
        let mut original = original.ok_or(RecordError::Value("state"))?;
        let [kind, pin] = self.take()?;
        let (amount_minor, pin) = (self.number()?, pin != 0);
        let settlement = match kind {
            0 => Settlement::None,
            1 => Settlement::Release,
            2 => Settlement::Post { amount_minor, pin },
            3 => Settlement::Count { amount_minor, pin },
            _ => return Err(RecordError::Value("settlement")),
        };
        let entry = if is_entered { Some(self.entry()?) } else { None };
        original.sort = Entry::sort_of_original(entry.as_ref());
        let answer = self.rest();
        if answer.len() > REMEMBERED_BYTES_MAX {
            return Err(RecordError::Value("answer"));
        }
        Ok(Body::Answered { head, original, tail: (settlement, entry, answer) })
    }

    fn undone(&mut self) -> Result<Undone, RecordError> {
        Ok(Undone {
            key: DuplicateKey(self.take()?),
            card: CardKey(self.take()?),
            reservation: self.reservation()?,
            response_code: self.take()?,
            amount_minor: self.number()?,
            less_minor: self.number()?,
            entry: None,
        })
    }

    fn hold(&mut self) -> Result<Hold, RecordError> {
        let key = DuplicateKey(self.take()?);
        let card = CardKey(self.take()?);
        let name = HoldName { card, approval: self.take()?, merchant: self.take()? };
        let (amount_minor, reservation) = (self.number()?, self.reservation()?);
        let opened_ms = self.number()?;
        let [is_completed] = self.take()?;
        let by = DuplicateKey(self.take()?);
        let completed_by = (is_completed != 0).then_some(by);
        Ok(Hold { key, name, amount_minor, reservation, opened_ms, issuer: None, completed_by })
    }

    fn owed(&mut self) -> Result<OwedMessage<'a>, RecordError> {
        let id = self.id()?;
        let [acquirer, issuer] = self.take()?;
        let card = CardKey(self.take()?);
        let mti = self.mti()?;
        let (stan, time) = self.numbers()?;
        let sent = (stan != NO_STAN).then_some((stan, time));
        let fields = StoredFields::Listed(self.rest());
        let (acquirer, issuer) = (AcquirerId(acquirer), IssuerId(issuer));
        Ok(OwedMessage { id, acquirer, issuer, card, mti, sent, fields })
    }
}
