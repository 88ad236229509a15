//! Acquirers: they begin transactions, repeat what is not answered, give up and reverse, take back
//! what was approved, and keep what may not be lost until it is accepted.

use super::book::{Kind, Transaction, View};
use super::clock::transmission_time;
use super::events::Event;
use super::network::Life;
use super::options::FaultKind;
use super::plan::{ANSWER_WITHIN_MS, NS_PER_MS};
use super::wire::Seen;
use super::world::World;

/// Transmissions of a request before it is given up.
const SENT_MAX: u16 = 3;
/// Codes with which an issuer, or the switch, declines a well-formed request.
const DECLINES: [&[u8; 2]; 10] =
    [b"51", b"05", b"12", b"57", b"61", b"65", b"91", b"96", b"98", b"13"];

impl World {
    /// The next transaction begins.
    pub(super) fn on_arrival(&mut self) {
        if self.begun >= self.options.transactions {
            return;
        }
        self.begun += 1;
        self.leave_when_due();
        let wait_ns = self.streams.workload.exponential(self.plan.arrival_ns);
        self.events.at(self.now_ns + wait_ns, Event::Arrival);
        let malformed = self.plan.trouble.malformed;
        if self.streams.acquirer.happens(malformed) {
            return self.send_malformed();
        }
        let draw = &mut self.streams.workload;
        let kind = match draw.below(100) {
            0..=76 => Kind::Purchase,
            77..=85 => Kind::Preauthorization,
            86..=92 => Kind::Advice,
            93..=94 => Kind::Refund,
            95..=97 => Kind::Inquiry,
            _ => Kind::Phantom,
        };
        let (hot, cards) = (self.plan.hot_cards, self.plan.cards);
        let card = if draw.below(2) == 0 { draw.below(hot) } else { draw.below(cards) } as u32;
        let amount = draw.between(1, 10_000);
        let number = self.begin(kind, card, amount, 0);
        if kind == Kind::Phantom {
            // Its reversal is all that anybody gets.
            self.reverse(number, None);
        } else {
            self.send(number, false);
        }
    }

    /// A new message of the books.
    fn begin(&mut self, kind: Kind, card: u32, amount: u64, related: u32) -> u32 {
        let acquirers = self.plan.acquirers as u64;
        let acquirer = match self.book.get(related) {
            Some(related) => related.acquirer,
            None => {
                let drawn = self.streams.workload.below(acquirers) as u8;
                if self.is_gone(drawn) { (drawn + 1) % acquirers as u8 } else { drawn }
            }
        };
        self.begin_of(acquirer, (kind, card, amount), related)
    }

    /// A new message of this acquirer.
    pub(super) fn begin_of(
        &mut self,
        acquirer: u8,
        (kind, card, amount): (Kind, u32, u64),
        related: u32,
    ) -> u32 {
        let time = transmission_time(self.clock.true_ms(self.now_ns));
        let new = Transaction { related, ..Transaction::new(kind, acquirer, card, amount, time) };
        let number = self.book.add(new);
        self.trace.watch_with(number, related);
        if self.options.traced_card == Some(card) {
            self.trace.watch(number);
        }
        self.trace.tell(self.now_ns, number, || {
            format!("begins as {kind:?} of card {card} over {amount}, related {related}")
        });
        number
    }

    /// One transmission, on any connection of the acquirer; and a look whether it was answered.
    pub(super) fn send(&mut self, number: u32, again: bool) {
        let repeated = again && self.plan.marked_repeats;
        let by_advice = self.plan.reverse_by_advice;
        let acquirer = usize::from(self.book.at(number).acquirer);
        let place = self.streams.acquirer.below(self.plan.connections as u64) as usize;
        if let Some(line) = self.lines[acquirer][place] {
            let frame = self.wire.request(&self.book, (number, repeated), by_advice);
            if self.write_to_switch(line, &frame) {
                let entry = self.book.at_mut(number);
                entry.sent += 1;
                entry.connection = line;
                self.trace.tell(self.now_ns, number, || {
                    format!("sent on connection {line}{}", if again { " again" } else { "" })
                });
            }
        }
        self.look_later(number);
    }

    fn look_later(&mut self, number: u32) {
        let entry = self.book.at(number);
        let (round, stored) = (entry.sent, entry.kind.is_stored());
        let impatient = self.plan.trouble.impatient;
        let wait_ms = if stored {
            self.streams.acquirer.between(1_500, 4_000)
        } else if self.strikes(FaultKind::Acquirer, impatient) {
            self.streams.acquirer.between(1, ANSWER_WITHIN_MS)
        } else {
            self.streams.acquirer.between(ANSWER_WITHIN_MS, ANSWER_WITHIN_MS + 1_500)
        };
        self.events.at(self.now_ns + wait_ms * NS_PER_MS, Event::Look { number, round });
    }

    /// Whether a message was answered; if not, it is sent again or given up.
    pub(super) fn on_look(&mut self, number: u32, round: u16) {
        let entry = self.book.at(number);
        if entry.view != View::Waiting || entry.sent != round || self.is_gone(entry.acquirer) {
            return;
        }
        let kind = entry.kind;
        let may_repeat = entry.sent < SENT_MAX && self.streams.acquirer.below(2) == 0;
        match kind {
            Kind::Malformed | Kind::Conflict => self.book.at_mut(number).view = View::Declined,
            Kind::Inquiry => self.book.at_mut(number).view = View::Declined,
            _ if kind.is_stored() || may_repeat => self.send(number, true),
            _ => self.reverse(number, None),
        }
    }

    /// A transaction is taken back, whole or in part.
    fn reverse(&mut self, number: u32, left: Option<u64>) {
        let Transaction { card, amount, .. } = *self.book.at(number);
        let reversal = self.begin(Kind::Reversal { left }, card, amount, number);
        let entry = self.book.at_mut(number);
        entry.undone_by = reversal;
        if left.is_none() {
            entry.view = View::Reversing;
        }
        self.oracle.limits.on_taken_back(number, left);
        self.send(reversal, false);
    }

    /// An acquirer does something about what was approved.
    pub(super) fn on_follow_up(&mut self, number: u32) {
        let entry = self.book.at(number);
        let (kind, card, amount) = (entry.kind, entry.card, entry.amount);
        if entry.view != View::Approved || entry.undone_by != 0 || self.is_gone(entry.acquirer) {
            return;
        }
        let (chatter, conflict) = (self.plan.trouble.chatter, self.plan.trouble.conflict);
        if self.strikes(FaultKind::Acquirer, conflict) && kind == Kind::Purchase {
            let other = self.begin(Kind::Conflict, card, amount + 1, number);
            *self.conflicting.entry(number).or_default() += 1;
            return self.send(other, false);
        }
        if self.strikes(FaultKind::Acquirer, chatter) {
            return self.send(number, true);
        }
        let draw = &mut self.streams.workload;
        match (kind, draw.below(100)) {
            (Kind::Preauthorization, 0..=59) => {
                let amount = amount * draw.between(20, 125) / 100;
                let completion = self.begin(Kind::Completion, card, amount.max(1), number);
                self.oracle.limits.on_completed(number, amount.max(1));
                self.book.at_mut(number).undone_by = completion;
                self.send(completion, false);
            }
            (Kind::Purchase, 0..=7) => {
                let void = self.begin(Kind::Void, card, amount, number);
                self.oracle.limits.on_taken_back(number, None);
                self.book.at_mut(number).undone_by = void;
                self.send(void, false);
            }
            (Kind::Purchase, 8..=11) if !self.plan.is_cups && amount > 1 => {
                let left = self.streams.workload.between(1, amount - 1);
                self.reverse(number, Some(left));
            }
            (
                Kind::Purchase
                | Kind::Preauthorization
                | Kind::Completion
                | Kind::Advice
                | Kind::Refund,
                60..=69,
            ) => {
                self.reverse(number, None);
            }
            _ => {}
        }
    }

    /// Bytes that cannot be a message, or a message without its amount.
    fn send_malformed(&mut self) {
        self.tally.faults[FaultKind::Malformed as usize] += 1;
        let number = self.begin(Kind::Malformed, 0, 1, 0);
        let frame = self.wire.request(&self.book, (number, false), true);
        let body_at = self.wire.body_at();
        let mut body = frame[body_at..].to_vec();
        let draw = &mut self.streams.acquirer;
        match draw.below(3) {
            0 => body.truncate(draw.between(1, body.len() as u64 - 1) as usize),
            1 => body.iter_mut().for_each(|byte| *byte = draw.next() as u8),
            // An amount of letters.
            _ => {
                let at = body.windows(12).position(|digits| digits == b"000000000001");
                body.iter_mut().skip(at.unwrap_or(0)).take(12).for_each(|byte| *byte = b'x');
            }
        }
        let frame = self.wire.framed(&body);
        let acquirer = usize::from(self.book.at(number).acquirer);
        if let Some(line) = self.lines[acquirer][0] {
            self.write_to_switch(line, &frame);
        }
        self.book.at_mut(number).view = View::Declined;
    }

    /// A frame reached an acquirer on this connection.
    pub(super) fn on_answer(&mut self, connection: u32, frame: &[u8]) {
        let Some(seen) = self.wire.read_frame(frame) else {
            return self.fail("I-15", 0, "an acquirer cannot read an answer".to_owned());
        };
        let Some(number) = self.book.of_stan(seen.stan) else {
            // To bytes that said anything.
            return;
        };
        if self.book.at(number).kind == Kind::Malformed {
            return;
        }
        if let Some(text) = self.names_card(self.book.at(number).card, frame, &seen) {
            return self.fail("I-25", number, text.to_owned());
        }
        if let Err((invariant, text)) = self.check_answer(number, connection, &seen) {
            return self.fail(invariant, number, text);
        }
        let code = seen.code.unwrap_or_default();
        self.trace.tell(self.now_ns, number, || {
            format!("answered {:04} {}", seen.mti, String::from_utf8_lossy(&code))
        });
        self.tally.answer(code);
        let now_ns = self.now_ns;
        let entry = self.book.at_mut(number);
        entry.answers += 1;
        if entry.answers == 1 {
            (entry.code, entry.digest, entry.answered_ns) = (code, seen.digest, now_ns);
        }
        if entry.view == View::Waiting {
            self.on_first_answer(number, code);
        }
    }

    fn on_first_answer(&mut self, number: u32, code: [u8; 2]) {
        let Transaction { kind, related, .. } = *self.book.at(number);
        match (kind, &code) {
            (Kind::Reversal { left: None }, b"00" | b"25") => {
                self.book.at_mut(number).view = View::Approved;
                self.book.at_mut(related).view = View::Reversed;
                self.oracle.limits.on_reversed(related);
                if self.book.at(related).kind == Kind::Void {
                    // The void was taken back; its original stands, counted or not.
                    let original = self.book.at(related).related;
                    self.oracle.limits.on_uncertain(original);
                }
            }
            (Kind::Reversal { left: Some(left) }, b"00") => {
                self.book.at_mut(number).view = View::Approved;
                self.book.at_mut(related).amount = left;
            }
            (Kind::Reversal { left: Some(_) }, b"25") => {
                self.book.at_mut(number).view = View::Declined;
            }
            (_, b"00") => {
                self.book.at_mut(number).view = View::Approved;
                self.on_approved(number, kind, related);
            }
            // What may not be lost stays with its acquirer.
            _ if kind.is_stored() => {}
            _ => self.book.at_mut(number).view = View::Declined,
        }
    }

    fn on_approved(&mut self, number: u32, kind: Kind, related: u32) {
        self.oracle.limits.on_received(number);
        self.oracle.order.on_told(number);
        if kind == Kind::Void {
            self.book.at_mut(related).voided = true;
            self.oracle.limits.on_reversed(related);
        }
        if kind.moves_money() && self.streams.workload.below(3) == 0 {
            let wait_ns = self.streams.workload.exponential(1_500 * NS_PER_MS);
            self.events.at(self.now_ns + wait_ns, Event::FollowUp { number });
        }
    }

    /// Whether an answer to a token says what card is behind it.
    fn names_card(&self, card: u32, frame: &[u8], seen: &Seen) -> Option<&'static str> {
        self.wire.token(card)?;
        let pan = self.wire.pan(card);
        let is_named = frame.windows(pan.len()).any(|window| window == pan);
        match (is_named, seen.is_token) {
            (true, _) => Some("its answer has the number of the card behind the token"),
            (false, false) => Some("its answer does not have its token"),
            (false, true) => None,
        }
    }

    /// Whether an answer is one that this message may get, here and now.
    fn check_answer(
        &mut self,
        number: u32,
        connection: u32,
        seen: &Seen,
    ) -> Result<(), (&'static str, String)> {
        let reference = self.book.reference(number);
        let is_decided = self.issuers.knows(reference);
        let entry = self.book.at(number);
        let code = seen.code.unwrap_or_default();
        let text = String::from_utf8_lossy(&code).into_owned();
        let line = &self.network.connections[connection as usize];
        if line.id.acquirer.0 != entry.acquirer {
            return Err(("I-7", format!("its answer went to acquirer {}", line.id.acquirer.0)));
        }
        let conflicts = self.conflicts_of(number);
        if entry.sent == 1 && conflicts == 0 && entry.connection != connection {
            let own = &self.network.connections[entry.connection as usize];
            if own.is_used && own.life == Life::Open {
                return Err(("I-7", format!("its answer went to connection {connection}")));
            }
        }
        let expected = entry.kind.mti(self.plan.reverse_by_advice) + 10;
        if seen.mti / 10 != expected / 10 || seen.reference != reference || seen.card != entry.card
        {
            return Err(("I-23", format!("its answer {:04} says other things", seen.mti)));
        }
        if entry.answers >= entry.sent + conflicts {
            let (answers, sent) = (entry.answers + 1, entry.sent);
            return Err(("I-1", format!("{answers} answers to {sent} transmissions")));
        }
        if code == *b"94" && conflicts > 0 {
            return Ok(());
        }
        let stored = entry.kind.is_stored();
        let is_known = match stored {
            true => matches!(&code, b"00" | b"96" | b"91" | b"25" | b"98"),
            false => code == *b"00" || DECLINES.contains(&&code),
        };
        if !is_known {
            return Err(("I-2", format!("it was answered {text}")));
        }
        let undone = entry.undone_by != 0 || entry.view == View::Reversing;
        if entry.answers > 0
            && !stored
            && !undone
            && entry.code == *b"00"
            && entry.digest != seen.digest
        {
            return Err((
                "I-9",
                format!("it was answered 00, and again with other bytes ({text})"),
            ));
        }
        if entry.answers > 0 && entry.code != *b"00" && code == *b"00" && !undone && !stored {
            return Err(("I-9", format!("it was answered {text} after it had been declined")));
        }
        let is_request = !stored && entry.kind != Kind::Inquiry;
        if is_request && code == *b"00" && !undone && !is_decided && !self.stood_in.has(number) {
            return Err(("I-4", "it was approved, which its issuer never did".to_owned()));
        }
        Ok(())
    }

    /// Messages sent under the key of another one.
    fn conflicts_of(&self, number: u32) -> u16 {
        self.conflicting.get(&number).copied().unwrap_or_default()
    }
}
