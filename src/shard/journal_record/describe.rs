//! Records as an operator reads them: what happened, to which message, with which amounts. Cards are
//! told apart by three bytes of a digest of their keys, and of stored elements only the numbers are
//! shown.

use super::Undone;
use super::decode::decode;
use super::{Answered, Change, Forwarded, OwedId, OwedMessage, Record, RecordError, Settlement};
use crate::shard::duplicate::{DuplicateKey, OriginalState};
use crate::shard::field_list::{self, StoredFields};
use crate::shard::identity::CardKey;
use crate::shard::preauthorization::Hold;
use crate::shard::settlement_day;
use core::fmt;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Reads records one after another; returns how many.
///
/// # Errors
/// One cannot be read.
pub fn read_records(
    mut bytes: &[u8],
    mut each: impl FnMut(&Record<'_>),
) -> Result<u64, RecordError> {
    let mut count = 0;
    while !bytes.is_empty() {
        let decoded = decode(&mut bytes)?;
        each(&decoded.record());
        count += 1;
    }
    Ok(count)
}

/// What a card is called here: a digest of its key, which is worth nothing without the card key.
struct Card(CardKey);

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hasher = SipHasher13::new();
        hasher.write(&self.0.0);
        write!(f, "card #{:06x}", hasher.finish() >> 40)
    }
}

/// The first bytes of the digest under which a message is remembered.
struct Key(DuplicateKey);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0.0;
        write!(f, "key {a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// The data elements that are stored, by number.
struct Elements<'a>(&'a StoredFields<'a>);

impl fmt::Display for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keeps DE")?;
        let StoredFields::Listed(list) = self.0 else { return f.write_str(" of its message") };
        field_list::fields(list).try_for_each(|field| write!(f, " {}", field.field))
    }
}

fn code(code: [u8; 2]) -> impl fmt::Display {
    let shown = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '.' };
    let [a, b] = code.map(shown);
    format!("{a}{b}")
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::Forwarded(forwarded) => forwarded.fmt(f),
            Change::Answered(answered) => answered.fmt(f),
            Change::Undone(undone) => undone.fmt(f),
            Change::Reinstated(reinstated) => {
                let (card, amount) = (Card(reinstated.card), reinstated.entry.amount_minor);
                let [a, b, c, d, ..] = reinstated.key.0;
                let key = format_args!("key ..{a:02x}{b:02x}{c:02x}{d:02x}");
                write!(f, "reinstated     {key} {card}, DE 4 {amount}: its void is undone")
            }
            Change::Owed(owed) => owed.fmt(f),
            Change::OwedSent { id, stan, time } => {
                write!(f, "owed-sent      {id}: DE 11 {:06}, DE 7 {:010}", stan.0, time.0)
            }
            Change::OwedDone { id } => write!(f, "owed-done      {id}"),
            Change::OwedParked { id, code } => {
                write!(f, "owed-parked    {id}: its issuer answers {}", self::code(*code.bytes()))
            }
            Change::OwedReleased { id } => write!(f, "owed-released  {id}: by an operator"),
            Change::OwedDropped { id, note } => {
                write!(f, "owed-dropped   {id}: {:?}", String::from_utf8_lossy(note))
            }
            Change::HoldOpened(hold) => hold.fmt(f),
            Change::HoldCompleted { key, card, by, less_minor, .. } => {
                let (key, by, card) = (Key(*key), Key(*by), Card(*card));
                write!(f, "hold-completed {key} {card} by {by}, {less_minor} less counted")
            }
            Change::Started => f.write_str("started"),
            Change::Configured { epoch } => write!(f, "configured     epoch {epoch}"),
            Change::Token(entry) => write!(f, "token          {} {entry}", Card(entry.card)),
            Change::TokenUsed { counter, .. } => write!(f, "token-used     counter {counter}"),
            Change::WalletRequest([id, ..]) => write!(f, "wallet-request {id:016x}"),
            Change::ScopeRow(row) => row.fmt(f),
            Change::ScopePool(pool) => pool.fmt(f),
            Change::SettlementDay { day } => {
                let date = settlement_day::digits_of(*day);
                let [a, b, c, d] = date.map(char::from);
                write!(f, "settlement-day {a}{b}{c}{d}, day {day}")
            }
            Change::IssuerDay { issuer, day } => {
                let [a, b, c, d] = settlement_day::digits_of(*day).map(char::from);
                write!(f, "issuer-day     issuer {}: {a}{b}{c}{d}, day {day}", issuer.0)
            }
            Change::IssuerTold { issuer, day } => {
                let [a, b, c, d] = settlement_day::digits_of(*day).map(char::from);
                write!(f, "issuer-told    issuer {}: totals of {a}{b}{c}{d}, day {day}", issuer.0)
            }
            Change::ScopeHeld { key, hold } if hold.is_empty() => {
                write!(f, "scope-held     {}: nothing", Key(*key))
            }
            Change::ScopeHeld { key, hold } => {
                let (key, card) = (Key(*key), Card(hold.card));
                write!(f, "scope-held     {key} {card}: {hold}")
            }
        }
    }
}

impl fmt::Display for OwedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {}", self.number)
    }
}

impl fmt::Display for Forwarded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, card, fields) = (Key(self.key), Card(self.card), Elements(&self.fields));
        let Self { mti, acquirer, issuer, stan, sent, amount_minor, .. } = self;
        write!(
            f,
            "forwarded      {key} {card} {mti} of acquirer {} to issuer {}: DE 11 {:06}, DE 7 \
             {:010}, DE 4 {amount_minor}, reserves {}{}; {fields}",
            acquirer.0,
            issuer.0,
            stan.0,
            sent.0,
            self.reservation.amount_minor(),
            if self.moves_money { "" } else { ", moves no money" },
        )
    }
}

impl fmt::Display for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let original = self.original;
        let (key, card) = (Key(self.key), Card(original.card));
        let state = match original.state {
            OriginalState::Declined => "nothing stands",
            OriginalState::Approved => "stands",
            OriginalState::Reversed => "reversed",
        };
        let (code, amount) = (code(original.response_code), original.amount_minor);
        write!(f, "answered       {key} {card} {code} {state}, DE 4 {amount}; ")?;
        let by_pin = |pin: bool| if pin { " with PIN" } else { "" };
        match self.settlement {
            Settlement::None => f.write_str("nothing reserved"),
            Settlement::Release => f.write_str("released"),
            Settlement::Post { amount_minor, pin } => {
                write!(f, "posted {amount_minor}{}", by_pin(pin))
            }
            Settlement::Count { amount_minor, pin } => {
                write!(f, "counted {amount_minor}{}", by_pin(pin))
            }
        }
    }
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, card, code) = (Key(self.key), Card(self.card), code(self.response_code));
        let (left, less) = (self.amount_minor, self.less_minor);
        match left {
            0 => write!(f, "undone         {key} {card}, repeats are answered {code}"),
            _ => write!(f, "reduced        {key} {card}, {left} left, {less} less counted"),
        }
    }
}

impl fmt::Display for OwedMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, acquirer, issuer, mti, .. } = self;
        let (card, fields) = (Card(self.card), Elements(&self.fields));
        let (acquirer, issuer) = (acquirer.0, issuer.0);
        write!(f, "owed           {id} {card} {mti} of acquirer {acquirer} to issuer {issuer}")?;
        match self.sent {
            Some((stan, time)) => write!(f, ": DE 11 {:06}, DE 7 {:010}", stan.0, time.0)?,
            None => f.write_str(": no number yet")?,
        }
        write!(f, "; {fields}")
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, card, amount) = (Key(self.key), Card(self.name.card), self.amount_minor);
        let counted = self.reservation.amount_minor();
        write!(f, "hold-opened    {key} {card} for {amount}, {counted} counted")
    }
}
