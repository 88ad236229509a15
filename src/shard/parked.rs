//! What waits for an operator: messages owed that their issuers refuse, and reversals of which no
//! issuer can be told. They are shown without card numbers, and sent again or dropped when an operator
//! says so.
//!
//! A message that is sent again has the numbers that its issuer knows it by, and its old place among
//! those of its card. One that was sent while it was parked has overtaken it; that is for whoever
//! releases it to know. Not here: why something is parked (`acknowledgement`, `unnamed_reversal`), who
//! may decide that (`admin`).

use super::journal_record::{Change, OwedId};
use super::saf::Owed;
use super::{AcquirerId, Counter, IssuerId, Now, Outbox, Shard, field_list};

/// Longest reason for dropping a message, in bytes.
pub const NOTE_BYTES_MAX: usize = 120;
/// So many digits in a row may be a card number.
const CARD_DIGITS_MIN: usize = 12;

/// Why an operator drops a message, in his words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DropNote {
    text: [u8; NOTE_BYTES_MAX],
    bytes: u8,
}

/// Why a note cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// There is none.
    #[error("say why it is dropped: the note is empty")]
    Empty,
    /// There is too much.
    #[error("the note has {0} bytes; at most {NOTE_BYTES_MAX}")]
    TooLong(usize),
    /// It would break lines.
    #[error("the note has characters that cannot be shown in a line")]
    Control,
    /// It must not be written down.
    #[error("the note has a number like a card's: name the message by its number")]
    CardNumber,
}

impl DropNote {
    /// Takes an operator's words.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn new(text: &str) -> Result<Self, NoteError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NoteError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(NoteError::Control);
        }
        // Digits of one number may stand in groups.
        let mut digits = 0;
        for char in text.chars() {
            digits = match char {
                char if char.is_numeric() => digits + 1,
                char if char.is_alphabetic() => 0,
                _ => digits,
            };
            if digits >= CARD_DIGITS_MIN {
                return Err(NoteError::CardNumber);
            }
        }
        Self::of_bytes(text.as_bytes()).ok_or(NoteError::TooLong(text.len()))
    }

    fn of_bytes(from: &[u8]) -> Option<Self> {
        let mut text = [0; NOTE_BYTES_MAX];
        text.get_mut(..from.len())?.copy_from_slice(from);
        // At most NOTE_BYTES_MAX.
        Some(Self { text, bytes: from.len() as u8 })
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.bytes)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl core::fmt::Debug for DropNote {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What an operator wants of a parked message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedOrder {
    /// It is to be sent again.
    Release,
    /// It is to be forgotten.
    Drop(DropNote),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedOutcome {
    /// It is owed again.
    Released,
    /// It is gone.
    Dropped,
    /// No message of this number is parked here.
    NotParked,
    /// It names neither card nor known original: there is nobody to send it to.
    NoIssuer,
}

/// A parked message, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Its number, on its shard.
    pub number: u64,
    /// Whom it is owed to; none: nobody can be told of it.
    pub issuer: Option<IssuerId>,
    /// Whose message it was, or whose request it reverses.
    pub acquirer: AcquirerId,
    /// Its type.
    pub mti: u16,
    /// Six and four digits of its card.
    pub card: Option<String>,
    /// DE 4.
    pub amount_minor: Option<u64>,
    /// DE 37.
    pub rrn: Option<String>,
    /// DE 11 towards the issuer.
    pub stan: Option<u32>,
    /// What the issuer said last.
    pub code: [u8; 2],
    /// The minute since 1970 in which it became owed.
    pub since_min: u32,
}

impl Shard {
    /// An operator decides about a parked message of this shard.
    pub fn on_parked_order(
        &mut self,
        now: Now,
        number: u64,
        order: &ParkedOrder,
        outbox: &mut Outbox,
    ) -> ParkedOutcome {
        let id = OwedId { number, place: u32::MAX };
        let Some(place) = self.saf.find(id) else { return ParkedOutcome::NotParked };
        let id = OwedId { number, place };
        let Some(owed) = self.saf.get_mut(place).filter(|owed| owed.parked.is_some()) else {
            return ParkedOutcome::NotParked;
        };
        let issuer = owed.issuer;
        match order {
            ParkedOrder::Release if usize::from(issuer.0) >= self.legs.len() => {
                ParkedOutcome::NoIssuer
            }
            ParkedOrder::Release => {
                let released = self.commit(now, Change::OwedReleased { id }, outbox);
                self.counters.add(Counter::OwedReleased);
                self.resume_owed(place);
                if released.is_some_and(|(_, is_oldest)| is_oldest) {
                    self.send_next(now, place, outbox);
                }
                ParkedOutcome::Released
            }
            ParkedOrder::Drop(note) => {
                let note = note.as_str().as_bytes();
                self.commit(now, Change::OwedDropped { id, note }, outbox);
                // Nothing waited for it.
                self.next_owed = None;
                self.counters.add(Counter::OwedDropped);
                ParkedOutcome::Dropped
            }
        }
    }

    /// All that is parked here, the oldest first.
    #[must_use]
    pub fn parked(&self) -> Vec<ParkedMessage> {
        let all = self.saf.within(0..self.saf.taken_below());
        let mut parked: Vec<ParkedMessage> =
            all.filter_map(|(_, owed)| self.parked_message(owed)).collect();
        parked.sort_unstable_by_key(|message| message.number);
        parked
    }

    fn parked_message(&self, owed: &Owed) -> Option<ParkedMessage> {
        let code = *owed.parked?.bytes();
        let issuer = (usize::from(owed.issuer.0) < self.legs.len()).then_some(owed.issuer);
        let pan = issuer.and_then(|_| self.cipher.pan(&owed.card));
        let list = self.kept.get(owed.fields);
        let wire = |wanted: u8| {
            let wire = field_list::fields(list).find(|it| it.field == wanted)?.wire;
            core::str::from_utf8(wire)
                .ok()
                .filter(|text| text.bytes().all(|it| it.is_ascii_graphic()))
        };
        Some(ParkedMessage {
            number: owed.number,
            issuer,
            acquirer: owed.acquirer,
            mti: owed.mti.number(),
            card: pan.map(|pan| pan.masked().to_string()),
            amount_minor: wire(4).and_then(|digits| digits.parse().ok()),
            rrn: wire(37).map(str::to_owned),
            stan: owed.sent.map(|(stan, _)| stan.0),
            code,
            since_min: owed.since_min,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_words_and_no_card_numbers() {
        let note = DropNote::new("  booked by hand, ticket 4711 \u{94f6} ").unwrap();
        assert_eq!(note.as_str(), "booked by hand, ticket 4711 \u{94f6}");
        assert_eq!(DropNote::new(" "), Err(NoteError::Empty));
        assert_eq!(DropNote::new("a\nb"), Err(NoteError::Control));
        assert_eq!(DropNote::new(&"x".repeat(120)).unwrap().as_str().len(), 120);
        assert_eq!(DropNote::new(&"x".repeat(121)), Err(NoteError::TooLong(121)));
        for number in ["6226019000000000018", "card 6226 0190 0000 0000 018", "6226-0190-0000"] {
            assert_eq!(DropNote::new(number), Err(NoteError::CardNumber), "{number}");
        }
        assert!(DropNote::new("12345678901 and 12345678901").is_ok(), "two numbers");
    }
}
