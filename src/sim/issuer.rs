//! Issuing banks with books of their own: they know a transaction by DE 37 whatever its trace number
//! is, and the original of a void by DE 90. They answer late, never, twice or wrongly.
//!
//! Not here: limits and repeats of acquirers, of which an issuer knows nothing; its links (`links`).

use super::book::{Kind, STANS};
use super::events::Event;
use super::links::Line;
use super::options::FaultKind;
use super::plan::{ISSUER_WAIT_MS, ISSUERS, NS_PER_MS, NS_PER_US};
use super::wire::Seen;
use super::world::World;
use std::collections::BTreeMap;

/// How a transaction stands at its issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    Unknown,
    /// Money is held or booked.
    Held,
    Declined,
    /// Taken back; or never seen and not to be taken any more.
    Reversed,
}

/// One transaction in an issuer's books.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) standing: Standing,
    pub(super) amount: u64,
    code: [u8; 2],
    /// What a void takes back.
    pub(super) voids: u32,
    /// An approval with the transaction's own card, amount and reference went into a shard.
    pub(super) is_vouched: bool,
}

/// All issuers.
#[derive(Default)]
pub(super) struct Issuers {
    /// The books of each, by number of the transaction.
    entries: [Vec<Entry>; ISSUERS],
    /// (issuer, trace number, DE 7) of every message, and what it was.
    numbers: BTreeMap<(u8, u32, u32), (u16, u32)>,
    pub(super) is_brown: [bool; ISSUERS],
}

impl Issuers {
    /// What an issuer has of a transaction.
    pub(super) fn entry(&mut self, issuer: u8, number: u32) -> &mut Entry {
        let entries = &mut self.entries[usize::from(issuer)];
        let number = number as usize;
        if number >= entries.len() {
            entries.resize(number + 1_024, Entry::default());
        }
        &mut entries[number]
    }

    /// What all of them have of it.
    pub(super) fn all(&self, number: u32) -> impl Iterator<Item = Entry> {
        self.entries.iter().map(move |of| of.get(number as usize).copied().unwrap_or_default())
    }

    /// Whether an issuer has approved it, or taken it back, or said no.
    pub(super) fn knows(&self, number: u32) -> bool {
        self.all(number).any(|entry| entry.standing != Standing::Unknown)
    }
}

impl World {
    pub(super) fn on_to_issuer(&mut self, line: Line, message: &[u8]) {
        let issuer = line.issuer;
        if !self.links.is_current(line) && self.streams.issuer.below(2) == 0 {
            // Cut off on its way.
            return;
        }
        let Some(seen) = self.wire.read(message) else {
            return self.fail("I-15", 0, format!("issuer {issuer} cannot read a message"));
        };
        if seen.mti / 100 == 8 {
            return self.on_management(line, message);
        }
        let number = seen.reference;
        if seen.is_token {
            return self.fail("I-25", number, format!("issuer {issuer} got a token for a card"));
        }
        self.trace.tell(self.now_ns, number, || format!("issuer {issuer} gets {:04}", seen.mti));
        if self.book.get(number).is_none() || !self.may_have(issuer, seen.card) {
            let text = format!("{:04} reached issuer {issuer}, whose it is not", seen.mti);
            return self.fail("I-7", number, text);
        }
        let is_repeat = self.check_numbers(issuer, &seen);
        match seen.class() {
            10 | 20 => self.on_issuer_request(line, &seen, message),
            12 | 22 => {
                self.on_issuer_advice(issuer, &seen);
                self.acknowledge(line, message);
            }
            42 => {
                // One that was long on its way may come after what followed it.
                if !is_repeat {
                    self.on_issuer_reversal(issuer, &seen);
                }
                self.acknowledge(line, message);
            }
            _ => self.fail("I-7", number, format!("an issuer got a {:04}", seen.mti)),
        }
    }

    /// A trace number with its time names one message for ever. Whether it came before.
    fn check_numbers(&mut self, issuer: u8, seen: &Seen) -> bool {
        let key = (issuer, seen.stan, seen.time);
        let what = (seen.class(), seen.reference);
        let is_repeat = self.issuers.numbers.contains_key(&key);
        let known = *self.issuers.numbers.entry(key).or_insert(what);
        if known != what {
            let text = format!(
                "trace number {:06} of {:010} is of {:03}x {} and of {:03}x {}",
                seen.stan, seen.time, known.0, known.1, what.0, what.1
            );
            self.fail("I-8", seen.reference, text);
        }
        if let Some((stan, time)) = seen.original
            && let Some((_, named)) = self.issuers.numbers.get(&(issuer, stan, time)).copied()
            && seen.class() == 42
            && named != seen.reference
            && !self.is_as_its_acquirer_wrote((stan, time), seen.reference)
        {
            let text = format!("DE 90 of its reversal names transaction {named}");
            self.fail("I-8", seen.reference, text);
        }
        is_repeat
    }

    /// What this switch never forwarded, or does not know any more, is named in DE 90 as its acquirer
    /// named it. That these are the switch's numbers for another transaction is chance: an issuer
    /// compares card and DE 37 too.
    fn is_as_its_acquirer_wrote(&self, (stan, time): (u32, u32), number: u32) -> bool {
        let original = self.book.get(number);
        original.is_some_and(|original| (stan, time) == (number % STANS, original.time))
    }

    fn on_issuer_request(&mut self, to: Line, seen: &Seen, message: &[u8]) {
        let trouble = self.plan.trouble.clone();
        if self.strikes_issuer(trouble.issuer_lost) {
            return;
        }
        let code = self.decide_at_issuer(to.issuer, seen);
        let brown = self.issuers.is_brown[usize::from(to.issuer)];
        if brown && self.streams.issuer.below(4) > 0 || self.strikes_issuer(trouble.issuer_silent) {
            return;
        }
        let mut delay_ns = self.streams.issuer.exponential(8 * NS_PER_MS);
        if brown || self.strikes_issuer(trouble.issuer_late) {
            delay_ns +=
                self.streams.issuer.between(ISSUER_WAIT_MS - 300, 2 * ISSUER_WAIT_MS) * NS_PER_MS;
        }
        let mut answer = self.wire.answer(message, code, seen.reference);
        self.stray(to, &answer);
        if self.strikes_issuer(trouble.issuer_mis_echoed) {
            let field = self.streams.issuer.pick(&[2, 4, 37]);
            self.wire.mis_echo(&mut answer, field);
        }
        if self.strikes_issuer(trouble.issuer_garbage) {
            let bytes = self.streams.issuer.between(1, 300);
            let garbage = (0..bytes).map(|_| self.streams.issuer.next() as u8).collect();
            self.answer_later(to, garbage, delay_ns / 2);
        }
        if self.strikes_issuer(trouble.issuer_twice) {
            let again_ns = self.streams.issuer.exponential(ISSUER_WAIT_MS * NS_PER_MS);
            self.answer_later(to, answer.clone(), delay_ns + again_ns);
        }
        self.answer_later(to, answer, delay_ns);
    }

    fn strikes_issuer(&mut self, ppm: u32) -> bool {
        let strikes = !self.is_quiet && self.streams.issuer.happens(ppm);
        self.tally.faults[FaultKind::Issuer as usize] += u64::from(strikes);
        strikes
    }

    fn answer_later(&mut self, asked: Line, message: Vec<u8>, delay_ns: u64) {
        let line = self.answering_line(asked);
        let at_ns = self.now_ns + delay_ns + 20 * NS_PER_US;
        self.events.at(at_ns, Event::FromIssuer { line, message });
    }

    /// What the issuer decides, once for each transaction.
    fn decide_at_issuer(&mut self, issuer: u8, seen: &Seen) -> [u8; 2] {
        let number = seen.reference;
        let entry = *self.issuers.entry(issuer, number);
        if entry.standing != Standing::Unknown {
            return if entry.standing == Standing::Reversed { *b"05" } else { entry.code };
        }
        let declines = self.streams.issuer.happens(self.plan.declines);
        let mut code = if declines { *b"51" } else { *b"00" };
        let mut voids = 0;
        if seen.is_void {
            let key = seen.original.map(|(stan, time)| (issuer, stan, time));
            let original =
                key.and_then(|key| self.issuers.numbers.get(&key)).map(|(_, number)| *number);
            let held =
                original.filter(|it| self.issuers.entry(issuer, *it).standing == Standing::Held);
            match held {
                Some(original) if code == *b"00" => voids = original,
                Some(_) => {}
                None => code = *b"12",
            }
        }
        let approved = code == *b"00";
        if voids > 0 {
            self.issuers.entry(issuer, voids).standing = Standing::Reversed;
        }
        let standing = match approved {
            true => Standing::Held,
            false => Standing::Declined,
        };
        *self.issuers.entry(issuer, number) =
            Entry { standing, amount: seen.amount, code, voids, is_vouched: false };
        self.trace.tell(self.now_ns, number, || {
            format!("issuer {issuer} decides {}", String::from_utf8_lossy(&code))
        });
        code
    }

    fn on_issuer_advice(&mut self, issuer: u8, seen: &Seen) {
        let number = seen.reference;
        if self.book.at(number).kind == Kind::Purchase {
            self.on_stand_in_advice(issuer, seen);
        }
        let entry = self.issuers.entry(issuer, number);
        let is_new = entry.standing == Standing::Unknown;
        if is_new {
            *entry =
                Entry { standing: Standing::Held, amount: seen.amount, code: *b"00", ..*entry };
        }
        let text = self.oracle.order.on_received(issuer, number);
        if let Some(text) = text {
            self.fail("I-6", number, text);
        }
    }

    fn on_issuer_reversal(&mut self, issuer: u8, seen: &Seen) {
        let entry = self.issuers.entry(issuer, seen.reference);
        match seen.left {
            Some(left) if left > 0 => {
                if entry.standing == Standing::Held {
                    entry.amount = entry.amount.min(left);
                }
            }
            _ => {
                let voided = core::mem::take(&mut entry.voids);
                entry.standing = Standing::Reversed;
                if voided > 0 {
                    // The void is taken back: its original stands again.
                    self.issuers.entry(issuer, voided).standing = Standing::Held;
                }
            }
        }
    }

    fn acknowledge(&mut self, to: Line, message: &[u8]) {
        let lost = self.plan.trouble.acknowledgement_lost;
        if self.strikes_issuer(lost) || self.issuers.is_brown[usize::from(to.issuer)] {
            return;
        }
        let answer = self.wire.answer(message, *b"00", 0);
        let delay_ns = self.streams.issuer.exponential(5 * NS_PER_MS);
        self.answer_later(to, answer, delay_ns);
    }

    /// Whose answer a message of an issuer is, by its numbers. It goes into a shard now.
    pub(super) fn answered(&mut self, issuer: u8, message: &[u8]) -> Option<u32> {
        let seen = self.wire.read(message)?;
        let (_, number) = *self.issuers.numbers.get(&(issuer, seen.stan, seen.time))?;
        if let Some(entry) = self.book.get(number)
            && (seen.reference, seen.card, seen.amount) == (number, entry.card, entry.amount)
            && seen.code == Some(*b"00")
        {
            self.issuers.entry(issuer, number).is_vouched = true;
        }
        Some(number)
    }
}
