//! What a shard decides, shown to the oracle at the moment of the decision.

use super::book::{Book, Kind};
use super::oracle::{Forwarded, Violation};
use super::wire::Seen;
use super::world::World;
use crate::shard::{Action, MeshKind, Now};
use core::ops::Range;

impl World {
    /// An action of a shard; `relays`: an answer in it was decided by another shard; `unwritten`: it
    /// leaves although records before it are not durable.
    pub(super) fn on_decided<'b>(
        &mut self,
        shard: usize,
        now: Now,
        (action, relays, unwritten): (&Action, bool, bool),
        bytes_of: impl Fn(&Range<usize>) -> &'b [u8],
    ) {
        match action {
            Action::Respond { bytes, .. }
            | Action::Mesh { kind: MeshKind::Response, bytes, .. } => {
                if let Some(seen) = self.wire.read_frame(bytes_of(bytes))
                    && !relays
                {
                    self.trace.add(now.mono_ns, seen.digest);
                    self.on_answer_decided((shard, now), &seen, unwritten);
                }
            }
            Action::Forward { issuer, bytes, .. } => {
                if let Some(seen) = self.wire.read(bytes_of(bytes)) {
                    self.trace.add(now.mono_ns, seen.digest);
                    self.on_forward_decided((shard, now), issuer.0, &seen);
                }
            }
            // Links' and sessions' own messages move no money.
            Action::NoAnswer { .. }
            | Action::Mesh { .. }
            | Action::Tell { .. }
            | Action::CloseConnection { .. }
            | Action::Manage { .. }
            | Action::CloseLink { .. } => {}
        }
    }

    fn on_answer_decided(&mut self, (shard, now): (usize, Now), seen: &Seen, unwritten: bool) {
        let Some(number) = self.book.of_stan(seen.stan) else { return };
        let entry = self.book.at(number);
        if matches!(entry.kind, Kind::Malformed | Kind::Phantom) {
            return;
        }
        let (kind, acquirer) = (entry.kind, entry.acquirer);
        let (card, amount) = (entry.card, entry.amount);
        let code = seen.code.unwrap_or_default();
        self.trace.tell(self.now_ns, number, || {
            format!("shard {shard} answers {:04} {}", seen.mti, String::from_utf8_lossy(&code))
        });
        if unwritten && (code == *b"00" || code == *b"98") {
            let text = "an answer that follows a forward waits for no record".to_owned();
            return self.fail("I-5", number, text);
        }
        let is_request = kind.is_limited() || matches!(kind, Kind::Completion | Kind::Void);
        if is_request && code == *b"00" && seen.is_marked {
            self.on_stood_in((shard, now), number);
        } else if is_request && code == *b"00" && !self.is_vouched(number) {
            let text = "approved, but no answer of its issuer says so of it".to_owned();
            return self.fail("I-4", number, text);
        }
        let is_first = self.decided.insert(number, code).is_none();
        match kind {
            Kind::Advice if code == *b"00" => {
                self.oracle.order.on_accepted(number, card);
                if is_first || self.decided_by.get(&number) != Some(&self.switch.life) {
                    let advice = Forwarded {
                        number,
                        acquirer,
                        card,
                        amount,
                        is_limited: false,
                        is_advice: true,
                        issuer: 0,
                    };
                    self.oracle.limits.on_let_through(now, shard, &advice);
                }
            }
            _ if kind.is_stored() => {}
            _ if matches!(&code, b"57" | b"61" | b"65") && kind.is_limited() => {
                self.on_limit_decided((shard, now), (number, is_first), code);
            }
            _ if code != *b"00" && code != *b"94" => self.oracle.limits.on_reversed(number),
            _ => {}
        }
        self.decided_by.insert(number, self.switch.life);
    }

    /// A shard declines for a limit, and by the code of the configuration that is in force there. What
    /// it answers again was judged before.
    fn on_limit_decided(
        &mut self,
        (shard, now): (usize, Now),
        (number, is_first): (u32, bool),
        code: [u8; 2],
    ) {
        if !is_first {
            return;
        }
        let entry = self.book.at(number);
        let (acquirer, card, amount) = (entry.acquirer, entry.card, entry.amount);
        let rules = self.oracle.epochs.rules(shard);
        let is_in_force = match rules.code {
            Some(own) => code == own,
            None => matches!(&code, b"61" | b"65"),
        };
        if !is_in_force {
            let text = String::from_utf8_lossy(&code);
            let text = format!("declined with {text}, shard {shard} goes by {rules:?}");
            return self.fail("I-19", number, text);
        }
        let whose = (shard, acquirer, card);
        if let Some((invariant, text)) = self.oracle.limits.on_declined(now, whose, amount)
            && !self.may_have_stood_in_unseen(card)
        {
            self.fail(invariant, number, text);
        }
    }

    fn on_forward_decided(&mut self, (shard, now): (usize, Now), issuer: u8, seen: &Seen) {
        let number = seen.reference;
        if seen.class() == 42
            && let Some(text) = self.oracle.names_another(seen, self.switch.life)
        {
            return self.fail("I-8", number, text);
        }
        let is_purchase = self.book.get(number).is_some_and(|it| it.kind == Kind::Purchase);
        if seen.class() == 22 && is_purchase {
            // The switch has stood in for it, seen or not: from now on its issuer knows it by these.
            self.oracle.on_forwarded((number, (seen.stan, seen.time)), self.switch.life);
        }
        if let Some((invariant, text)) = self.wrong_route((shard, now), issuer, seen) {
            return self.fail(invariant, number, text);
        }
        if !matches!(seen.class(), 10 | 20) {
            return;
        }
        let Some(entry) = self.book.get(number) else { return };
        let (kind, acquirer) = (entry.kind, entry.acquirer);
        let (card, amount) = (entry.card, entry.amount);
        self.trace.tell(self.now_ns, number, || {
            format!("shard {shard} forwards {:04} as {:06}", seen.mti, seen.stan)
        });
        self.check_taken(number, shard);
        if seen.amount != amount && kind != Kind::Inquiry {
            return self.fail("I-1", number, "forwarded with another amount".to_owned());
        }
        let numbers = (seen.stan, seen.time);
        if self.oracle.on_forwarded((number, numbers), self.switch.life) {
            return self.fail("I-1", number, "forwarded twice by one process".to_owned());
        }
        if let Some(before) = self.shard_of_card[card as usize].replace(shard as u8)
            && usize::from(before) != shard
        {
            return self.fail("I-21", number, format!("its card was on shard {before}"));
        }
        let amount = if kind.moves_money() { amount } else { 0 };
        let is_limited = kind.is_limited();
        let is_advice = false;
        let forwarded = Forwarded { number, acquirer, card, amount, is_limited, is_advice, issuer };
        if let Some((invariant, text)) = self.oracle.limits.on_let_through(now, shard, &forwarded) {
            self.fail(invariant, number, text);
        }
    }

    /// An invariant does not hold.
    pub(super) fn fail(&mut self, invariant: &'static str, number: u32, text: String) {
        let card = self.book.get(number).map(|entry| entry.card);
        let masked = card.and_then(|card| {
            let pan = tapswitch_protocol::Pan::from_digits(&self.wire.pan(card)).ok()?;
            Some(format!(" (card {}, trace number {:06})", pan.masked(), Book::stan(number)))
        });
        let text = format!("{text}{}", masked.unwrap_or_default());
        self.trace.tell(self.now_ns, number, || format!("{invariant}: {text}"));
        self.oracle.fail(Violation { invariant, number, card, at_ns: self.now_ns, text });
    }
}
