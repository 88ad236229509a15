//! What happened to one message, in 128 bytes: the entries of the outcome log, from which an
//! operator learns why a transaction was declined.
//!
//! An entry names its card by the first six and the last four digits only; neither the PAN nor the
//! card key nor anything made of them is in it. What happened is a [`Counter`]: every way that a
//! transaction can go is counted, so every way has a name.
//!
//! Not here: when an entry is made (`outcomes`), and where it is written to.

use super::Counter;
use tapswitch_protocol::Pan;

/// Bytes of an entry.
pub const OUTCOME_BYTES: usize = 128;
/// Bytes of an entry before the check that whoever writes it down adds.
pub const OUTCOME_BODY_BYTES: usize = OUTCOME_BYTES - 4;
/// No issuer was asked.
pub const NO_ISSUER: u8 = u8::MAX;
/// Where the time after the issuer's answer stands: it is known only when the batch has ended.
const AFTER: usize = 28;

/// First six and last four digits of a PAN, and how many it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardMask {
    /// Digits of the PAN; 0: the message named no card.
    pub count: u8,
    /// The ten digits that may be shown.
    pub digits: [u8; 10],
}

impl CardMask {
    /// Of a card.
    #[inline]
    #[must_use]
    pub fn of(pan: &Pan) -> Self {
        let all = pan.digits();
        let mut mask = Self::default();
        if let (Some(first), Some(last)) = (all.first_chunk::<6>(), all.last_chunk::<4>()) {
            let (front, back) = mask.digits.split_at_mut(6);
            front.copy_from_slice(first);
            back.copy_from_slice(last);
            // At most 19.
            mask.count = all.len() as u8;
        }
        mask
    }
}

impl core::fmt::Display for CardMask {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = |bytes: &[u8], f: &mut core::fmt::Formatter<'_>| {
            bytes.iter().try_for_each(|&digit| write!(f, "{}", char::from(digit)))
        };
        let (front, back) = self.digits.split_at(6);
        if self.count == 0 {
            return f.write_str("no card");
        }
        text(front, f)?;
        (10..self.count).try_for_each(|_| f.write_str("*"))?;
        text(back, f)
    }
}

/// What happened to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When, in UTC milliseconds since 1970.
    pub wall_ms: u64,
    /// DE 4.
    pub amount_minor: u64,
    /// Time that the issuer took.
    pub issuer_ns: u64,
    /// Time in the switch until the forward was handed over.
    pub before_ns: u32,
    /// Time in the switch from the issuer's answer, or from the message that the switch answered
    /// itself, until the answer was handed over.
    pub after_ns: u32,
    /// DE 37; zeros when it was not there.
    pub rrn: [u8; 12],
    /// DE 41; zeros when it was not there.
    pub terminal: [u8; 8],
    /// DE 42; zeros when it was not there.
    pub merchant: [u8; 15],
    /// The card.
    pub card: CardMask,
    /// What happened, by the number of its [`Counter`].
    pub what: u8,
    /// The limit that refused, or the data element at fault, from 1; 0: neither.
    pub detail: u8,
    /// DE 39 of the answer; zeros when there was none.
    pub code: [u8; 2],
    /// DE 11.
    pub stan: u32,
    /// DE 11 that DE 90 names; 0: none.
    pub original_stan: u32,
    /// DE 7.
    pub transmission_time: u32,
    /// DE 11 on the issuer's side; 0: nothing was sent.
    pub issuer_stan: u32,
    /// DE 7 on the issuer's side.
    pub issuer_transmission_time: u32,
    /// Type of the message.
    pub mti: u16,
    /// DE 49; 0: none.
    pub currency: u16,
    /// Its acquirer.
    pub acquirer: u8,
    /// Its issuer, or [`NO_ISSUER`].
    pub issuer: u8,
    /// The shard that decided.
    pub shard: u8,
}

impl Default for Outcome {
    fn default() -> Self {
        Self::decode(&[0; OUTCOME_BYTES])
    }
}

/// Puts fields one after another.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let (head, rest) = core::mem::take(&mut self.0).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// Takes them again.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) =
            self.0.split_first_chunk().expect("Invariant: an entry has all its fields");
        self.0 = rest;
        *head
    }
}

impl Outcome {
    /// What happened.
    #[must_use]
    pub fn counter(&self) -> Option<Counter> {
        Counter::ALL.get(usize::from(self.what)).copied()
    }

    /// As an entry; its last four bytes are left as they are.
    #[inline]
    pub fn encode(&self, out: &mut [u8; OUTCOME_BYTES]) {
        let mut writer = Writer(out);
        writer.put(&self.wall_ms.to_le_bytes());
        writer.put(&self.amount_minor.to_le_bytes());
        writer.put(&self.issuer_ns.to_le_bytes());
        writer.put(&self.before_ns.to_le_bytes());
        writer.put(&self.after_ns.to_le_bytes());
        writer.put(&self.rrn);
        writer.put(&self.terminal);
        writer.put(&self.merchant);
        writer.put(&[self.card.count]);
        writer.put(&self.card.digits);
        writer.put(&[self.what, self.detail]);
        writer.put(&self.code);
        writer.put(&self.stan.to_le_bytes());
        writer.put(&self.original_stan.to_le_bytes());
        writer.put(&self.transmission_time.to_le_bytes());
        writer.put(&self.issuer_stan.to_le_bytes());
        writer.put(&self.issuer_transmission_time.to_le_bytes());
        writer.put(&self.mti.to_le_bytes());
        writer.put(&self.currency.to_le_bytes());
        writer.put(&[self.acquirer, self.issuer, self.shard]);
    }

    /// What [`Outcome::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8; OUTCOME_BYTES]) -> Self {
        let mut reader = Reader(bytes);
        Self {
            wall_ms: u64::from_le_bytes(reader.take()),
            amount_minor: u64::from_le_bytes(reader.take()),
            issuer_ns: u64::from_le_bytes(reader.take()),
            before_ns: u32::from_le_bytes(reader.take()),
            after_ns: u32::from_le_bytes(reader.take()),
            rrn: reader.take(),
            terminal: reader.take(),
            merchant: reader.take(),
            card: CardMask { count: reader.take::<1>()[0], digits: reader.take() },
            what: reader.take::<1>()[0],
            detail: reader.take::<1>()[0],
            code: reader.take(),
            stan: u32::from_le_bytes(reader.take()),
            original_stan: u32::from_le_bytes(reader.take()),
            transmission_time: u32::from_le_bytes(reader.take()),
            issuer_stan: u32::from_le_bytes(reader.take()),
            issuer_transmission_time: u32::from_le_bytes(reader.take()),
            mti: u16::from_le_bytes(reader.take()),
            currency: u16::from_le_bytes(reader.take()),
            acquirer: reader.take::<1>()[0],
            issuer: reader.take::<1>()[0],
            shard: reader.take::<1>()[0],
        }
    }

    /// Writes the time after into an entry.
    #[inline]
    pub(super) fn set_after_ns(entry: &mut [u8; OUTCOME_BYTES], after_ns: u32) {
        let place = entry[AFTER..].first_chunk_mut();
        *place.expect("Invariant: an entry has all its fields") = after_ns.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_is_what_it_was(bytes in prop::array::uniform32(any::<u32>()), after: u32) {
            let mut entry = [0; OUTCOME_BYTES];
            for (out, word) in entry.as_chunks_mut().0.iter_mut().zip(bytes) {
                *out = word.to_le_bytes();
            }
            let outcome = Outcome::decode(&entry);
            let mut again = [0; OUTCOME_BYTES];
            outcome.encode(&mut again);
            prop_assert_eq!(Outcome::decode(&again), outcome);
            Outcome::set_after_ns(&mut again, after);
            prop_assert_eq!(Outcome::decode(&again), Outcome { after_ns: after, ..outcome });
            prop_assert_eq!(&again[OUTCOME_BODY_BYTES..], &[0; 4]);
        }
    }

    #[test]
    fn a_card_shows_six_and_four() {
        let pan = Pan::from_digits(b"6228480000000000011").ok().unwrap();
        assert_eq!(CardMask::of(&pan).to_string(), "622848*********0011");
        assert_eq!(CardMask::of(&pan).to_string(), pan.masked().to_string());
        assert_eq!(CardMask::default().to_string(), "no card");
    }
}
