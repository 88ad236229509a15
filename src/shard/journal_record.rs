//! Records: every change of what must outlive the process, as a value. A [`Record`] is made where
//! something is decided, applied by [`Shard::apply`](super::Shard::apply), and written to the
//! journal; at a restart it is read again and applied again, by the same function.
//!
//! What a record does to velocity counters is exact and must be applied once; what it does to the
//! other tables is absolute (a keyed entry, as it shall be), so those may be read from a snapshot that
//! was taken a little later. No record can hold a PAN, a track or a PIN: the card is its key, and of
//! messages only `StoredFields` enter.
//!
//! Bytes of a record: length of all of it (2), kind (1), UTC milliseconds (8), then the change. All
//! numbers little-endian. Not here: blocks, checksums and files (`io::journal`).

pub(in crate::shard) mod decode;
mod describe;
mod scope;
mod token;

pub use decode::RecordError;
pub use describe::read_records;

use super::duplicate::{DuplicateKey, OriginalKey, OriginalRecord};
use super::field_list::StoredFields;
use super::identity::{AcquirerId, CardKey, IssuerId};
use super::preauthorization::Hold;
use super::totals::Entry;
use super::velocity::escrow::{ScopeHold, ScopePool, ScopeRow};
use super::velocity::{RESERVATION_BYTES, Reservation};
use super::wallet::TokenEntry;
use tapswitch_protocol::{Mti, ResponseCode, Stan, TransmissionTime};

/// Longest record: a whole message's elements and the rest.
pub const RECORD_BYTES_MAX: usize = 2_560;
/// Length, kind, time.
const HEAD_BYTES: usize = 11;

/// One change, and when.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// UTC milliseconds at which it was decided; never less than the record's before it.
    pub wall_ms: u64,
    /// What changes.
    pub change: Change<'a>,
}

/// What changes.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    /// A request goes to its issuer: what it reserves counts from now on. Without an
    /// [`Change::Answered`] after it, the issuer is owed a reversal.
    Forwarded(Forwarded<'a>),
    /// A request is answered, or an advice accepted.
    Answered(Answered<'a>),
    /// An answered request is undone, or its amount becomes less.
    Undone(Undone),
    /// What was undone by a void stands again, because the void is undone.
    Reinstated(Reinstated),
    /// A reversal or advice is owed to an issuer.
    Owed(OwedMessage<'a>),
    /// It got its numbers on the issuer leg only now: it is sent with these and no others.
    OwedSent {
        /// Which.
        id: OwedId,
        /// DE 11.
        stan: Stan,
        /// DE 7.
        time: TransmissionTime,
    },
    /// Its issuer has it, or it was given up.
    OwedDone {
        /// Which.
        id: OwedId,
    },
    /// Its issuer refuses it again and again: it is kept for an operator, and sent no more.
    OwedParked {
        /// Which.
        id: OwedId,
        /// What the issuer said last.
        code: ResponseCode,
    },
    /// A pre-authorization is approved: it may be completed.
    HoldOpened(Hold),
    /// It is completed.
    HoldCompleted {
        /// Which.
        key: DuplicateKey,
        /// Its card.
        card: CardKey,
        /// By which request.
        by: DuplicateKey,
        /// What was counted for it until now: a snapshot may have it as it was later.
        reservation: Reservation,
        /// How much of its reservation is taken back, in the currency of the limits.
        less_minor: u64,
    },
    /// The switch started here: what was not in the journal before may have been lost.
    Started,
    /// From here on transactions are judged by another configuration.
    Configured {
        /// Its number; they only grow, also over restarts.
        epoch: u64,
    },
    /// What a terminal, merchant, acquirer or token used here, and was lent, in one part of a window.
    ScopeRow(ScopeRow),
    /// What this shard lent of its limit, to all together.
    ScopePool(ScopePool),
    /// What is counted for a request at its terminal, merchant and acquirer, and for its token.
    ScopeHeld {
        /// Which.
        key: DuplicateKey,
        /// From now on; nothing: it is forgotten.
        hold: ScopeHold,
    },
    /// A settlement date begins: what follows counts on it.
    SettlementDay {
        /// Days since 1970.
        day: u32,
    },
    /// An issuer announced its cut-off: what follows counts for it on this date.
    IssuerDay {
        /// Which.
        issuer: IssuerId,
        /// Days since 1970.
        day: u32,
    },
    /// An operator has a parked message sent again.
    OwedReleased {
        /// Which.
        id: OwedId,
    },
    /// An operator drops a parked message.
    OwedDropped {
        /// Which.
        id: OwedId,
        /// Why, in his words.
        note: &'a [u8],
    },
    /// A token, as it is from now on.
    Token(TokenEntry),
    /// A token was used: its highest counter, and which below were seen.
    TokenUsed {
        /// Which.
        token: u64,
        /// The highest.
        counter: u16,
        /// As in [`TokenEntry::seen`].
        seen: u32,
    },
    /// An order about a token was done: its identification, its contents, both hashed, the token.
    WalletRequest([u64; 3]),
    /// An issuer is owed the totals of a settlement date.
    IssuerTold {
        /// Which.
        issuer: IssuerId,
        /// Days since 1970.
        day: u32,
    },
}

/// A request on its way to its issuer.
#[derive(Clone, Copy)]
pub struct Forwarded<'a> {
    /// Under which it is remembered.
    pub key: DuplicateKey,
    /// What it asks, hashed.
    pub fingerprint: u64,
    /// Its card.
    pub card: CardKey,
    /// Whose it is.
    pub acquirer: AcquirerId,
    /// Where it goes.
    pub issuer: IssuerId,
    /// Its type.
    pub mti: Mti,
    /// DE 11 towards the issuer.
    pub stan: Stan,
    /// DE 7 towards the issuer.
    pub sent: TransmissionTime,
    /// DE 4.
    pub amount_minor: u64,
    /// What it reserves.
    pub reservation: Reservation,
    /// Whether the issuer may hold money for it.
    pub moves_money: bool,
    /// What a reversal repeats of it.
    pub fields: StoredFields<'a>,
}

/// What becomes of the limits with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing was reserved.
    None,
    /// What was reserved is taken back.
    Release,
    /// What was reserved stays counted, with this amount.
    Post {
        /// In the currency of the limits.
        amount_minor: u64,
        /// The cardholder proved himself with a PIN.
        pin: bool,
    },
    /// Counted without having been reserved: it has happened already.
    Count {
        /// In the currency of the limits.
        amount_minor: u64,
        /// As above.
        pin: bool,
    },
}

/// A request with its answer.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    /// Under which it is remembered.
    pub key: DuplicateKey,
    /// What it asks, hashed.
    pub fingerprint: u64,
    /// What became of it; its reservation is the one that was forwarded.
    pub original: &'a OriginalRecord,
    /// What becomes of that reservation.
    pub settlement: Settlement,
    /// What it adds to the totals.
    pub entry: Option<Entry>,
    /// What the answer adds to the request, besides DE 39.
    pub answer: &'a [u8],
}

/// An answered request that is undone or made less.
#[derive(Clone, Copy)]
pub struct Undone {
    /// Which.
    pub key: DuplicateKey,
    /// Its card.
    pub card: CardKey,
    /// What was counted for it until now.
    pub reservation: Reservation,
    /// What a repeat of it is answered from now on.
    pub response_code: [u8; 2],
    /// What is left of its amount; 0: it is undone.
    pub amount_minor: u64,
    /// How much of the reservation is taken back, in the currency of the limits.
    pub less_minor: u64,
    /// What it adds to the totals.
    pub entry: Option<Entry>,
}

/// An original that stands again.
#[derive(Clone, Copy)]
pub struct Reinstated {
    /// Which.
    pub key: OriginalKey,
    /// Its card.
    pub card: CardKey,
    /// What was counted for it before it was undone.
    pub reservation: Reservation,
    /// What it adds to the totals.
    pub entry: Entry,
}

/// A message owed to an issuer, by number; and where it lies, which finds it faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwedId {
    /// Counts what this shard ever owed.
    pub number: u64,
    /// Its place.
    pub place: u32,
}

/// A message owed to an issuer.
#[derive(Clone, Copy)]
pub struct OwedMessage<'a> {
    /// Its number.
    pub id: OwedId,
    /// Whose dialect it is written in.
    pub acquirer: AcquirerId,
    /// Who gets it.
    pub issuer: IssuerId,
    /// Its card.
    pub card: CardKey,
    /// Its type.
    pub mti: Mti,
    /// DE 11 and 7 towards the issuer, unless no number was free.
    pub sent: Option<(Stan, TransmissionTime)>,
    /// Its elements, without those of the card and DE 7 and 11.
    pub fields: StoredFields<'a>,
}

/// No trace number: 0 is never given out.
const NO_STAN: Stan = Stan(0);
/// Nobody is known to hold the money: there are fewer issuers.
const NO_ISSUER: u8 = u8::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Forwarded = 1,
    Answered = 2,
    Undone = 3,
    Owed = 4,
    OwedSent = 5,
    OwedDone = 6,
    Started = 7,
    HoldOpened = 8,
    Configured = 10,
    OwedParked = 11,
    // 9 named its hold's reservation by the hold alone.
    HoldCompleted = 12,
    ScopeRow = 13,
    ScopePool = 14,
    ScopeHeld = 15,
    SettlementDay = 16,
    // As 2 and 3, with what they add to the totals.
    AnsweredEntered = 17,
    UndoneEntered = 18,
    IssuerDay = 19,
    Reinstated = 20,
    OwedReleased = 21,
    OwedDropped = 22,
    IssuerTold = 23,
    Token = 24,
    WalletRequest = 25,
    TokenUsed = 26,
    // As 8, with who holds the money.
    HoldOpenedAt = 27,
}

impl Record<'_> {
    /// Writes the record at the start of `out`; returns its bytes.
    ///
    /// Every record fits [`RECORD_BYTES_MAX`].
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let mut writer = Writer { out, at: HEAD_BYTES };
        let kind = self.change.encode(&mut writer);
        let bytes = writer.at;
        let [low, high] = (bytes as u16).to_le_bytes();
        out[..3].copy_from_slice(&[low, high, kind as u8]);
        out[3..HEAD_BYTES].copy_from_slice(&self.wall_ms.to_le_bytes());
        bytes
    }
}

impl Change<'_> {
    fn encode(&self, writer: &mut Writer<'_>) -> Kind {
        match self {
            Self::Forwarded(forwarded) => {
                forwarded.encode(writer);
                Kind::Forwarded
            }
            Self::Answered(answered) => {
                answered.encode(writer);
                if answered.entry.is_some() { Kind::AnsweredEntered } else { Kind::Answered }
            }
            Self::Undone(undone) => {
                undone.encode(writer);
                if undone.entry.is_some() { Kind::UndoneEntered } else { Kind::Undone }
            }
            Self::Reinstated(reinstated) => reinstated.encode(writer),
            Self::Owed(owed) => {
                owed.encode(writer);
                Kind::Owed
            }
            Self::OwedSent { id, stan, time } => {
                id.encode(writer);
                writer.put(stan.0.to_le_bytes());
                writer.put(time.0.to_le_bytes());
                Kind::OwedSent
            }
            Self::OwedDone { id } => id.encode_as(Kind::OwedDone, writer),
            Self::OwedParked { id, code } => {
                id.encode(writer);
                writer.put(*code.bytes());
                Kind::OwedParked
            }
            Self::OwedReleased { id } => id.encode_as(Kind::OwedReleased, writer),
            Self::OwedDropped { id, note } => {
                id.encode(writer);
                writer.bytes(note);
                Kind::OwedDropped
            }
            Self::HoldOpened(hold) => {
                hold.encode(writer);
                Kind::HoldOpenedAt
            }
            Self::HoldCompleted { key, card, by, reservation, less_minor } => {
                writer.put(key.0);
                writer.put(card.0);
                writer.put(by.0);
                writer.put(reservation.to_bytes());
                writer.put(less_minor.to_le_bytes());
                Kind::HoldCompleted
            }
            Self::Started => Kind::Started,
            Self::Configured { epoch } => {
                writer.put(epoch.to_le_bytes());
                Kind::Configured
            }
            Self::SettlementDay { day } => writer.day(*day, Kind::SettlementDay),
            Self::IssuerDay { issuer, day } => writer.day_of(*issuer, *day, Kind::IssuerDay),
            Self::IssuerTold { issuer, day } => writer.day_of(*issuer, *day, Kind::IssuerTold),
            Self::Token(entry) => entry.encode(writer),
            Self::WalletRequest(numbers) => writer.wallet_request(numbers),
            Self::TokenUsed { token, counter, seen } => {
                writer.token_used(*token, (*counter, *seen))
            }
            Self::ScopeRow(row) => row.encode(writer),
            Self::ScopePool(pool) => pool.encode(writer),
            Self::ScopeHeld { key, hold } => {
                writer.put(key.0);
                hold.encode(writer)
            }
        }
    }
}

impl Forwarded<'_> {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.put(self.key.0);
        writer.put(self.fingerprint.to_le_bytes());
        writer.put(self.card.0);
        writer.put([self.acquirer.0, self.issuer.0, u8::from(self.moves_money)]);
        writer.put(self.mti.number().to_le_bytes());
        writer.put(self.stan.0.to_le_bytes());
        writer.put(self.sent.0.to_le_bytes());
        writer.put(self.amount_minor.to_le_bytes());
        writer.put(self.reservation.to_bytes());
        writer.fields(&self.fields);
    }
}

impl Answered<'_> {
    fn encode(&self, writer: &mut Writer<'_>) {
        let original = self.original;
        writer.put(self.key.0);
        writer.put(self.fingerprint.to_le_bytes());
        let (state, end) = original.end();
        writer.put([state, original.issuer.0]);
        writer.put(original.response_code);
        writer.put(original.card.0);
        writer.put(original.amount_minor.to_le_bytes());
        writer.put(original.issuer_stan.to_le_bytes());
        writer.put(original.issuer_transmission_time.to_le_bytes());
        writer.put(end);
        let (kind, amount, pin) = match self.settlement {
            Settlement::None => (0, 0, false),
            Settlement::Release => (1, 0, false),
            Settlement::Post { amount_minor, pin } => (2, amount_minor, pin),
            Settlement::Count { amount_minor, pin } => (3, amount_minor, pin),
        };
        writer.put([kind, u8::from(pin)]);
        writer.put(amount.to_le_bytes());
        if let Some(entry) = &self.entry {
            writer.put(entry.encode());
        }
        writer.bytes(self.answer);
    }
}

impl Undone {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.put(self.key.0);
        writer.put(self.card.0);
        writer.put(self.reservation.to_bytes());
        writer.put(self.response_code);
        writer.put(self.amount_minor.to_le_bytes());
        writer.put(self.less_minor.to_le_bytes());
        if let Some(entry) = &self.entry {
            writer.put(entry.encode());
        }
    }
}

impl Reinstated {
    fn encode(&self, writer: &mut Writer<'_>) -> Kind {
        writer.put(self.key.0);
        writer.put(self.card.0);
        writer.put(self.reservation.to_bytes());
        writer.put(self.entry.encode());
        Kind::Reinstated
    }
}

impl Hold {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.put(self.key.0);
        writer.put(self.name.card.0);
        writer.put(self.name.approval);
        writer.put(self.name.merchant);
        writer.put(self.amount_minor.to_le_bytes());
        writer.put(self.reservation.to_bytes());
        writer.put(self.opened_ms.to_le_bytes());
        writer.put([u8::from(self.completed_by.is_some())]);
        writer.put(self.completed_by.map_or([0; 16], |by| by.0));
        writer.put([self.issuer.map_or(NO_ISSUER, |issuer| issuer.0)]);
    }
}

impl OwedId {
    fn encode(self, writer: &mut Writer<'_>) {
        writer.put(self.number.to_le_bytes());
        writer.put(self.place.to_le_bytes());
    }

    /// All of a record that only names it.
    fn encode_as(self, kind: Kind, writer: &mut Writer<'_>) -> Kind {
        self.encode(writer);
        kind
    }
}

impl OwedMessage<'_> {
    fn encode(&self, writer: &mut Writer<'_>) {
        self.id.encode(writer);
        writer.put([self.acquirer.0, self.issuer.0]);
        writer.put(self.card.0);
        writer.put(self.mti.number().to_le_bytes());
        let (stan, time) = self.sent.unwrap_or((NO_STAN, TransmissionTime(0)));
        writer.put(stan.0.to_le_bytes());
        writer.put(time.0.to_le_bytes());
        writer.fields(&self.fields);
    }
}

/// Fills a record.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes(&bytes);
    }

    fn day_of(&mut self, issuer: IssuerId, day: u32, kind: Kind) -> Kind {
        self.put([issuer.0]);
        self.day(day, kind)
    }

    fn day(&mut self, day: u32, kind: Kind) -> Kind {
        self.put(day.to_le_bytes());
        kind
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn fields(&mut self, fields: &StoredFields<'_>) {
        let written = fields.write(&mut self.out[self.at..]);
        self.at += written.expect("Invariant: elements of one frame fit a record");
    }
}
