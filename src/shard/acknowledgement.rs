//! What issuers say to what they are owed (0430, 0130, 0230): it is done, it shall come again, or it is
//! refused. What is refused three times would be refused for ever: it is parked for an operator, and
//! the next of its card goes on.
//!
//! Not here: what is owed, and how it is sent (`owed`, `saf`).

use super::journal_record::{Change, OwedId};
use super::outcomes::Note;
use super::{AcquirerId, Counter, IssuerId, Now, Outbox, Shard};
use tapswitch_protocol::{MessageView, MtiClass, ResponseCode, Stan};

/// Refusals after which a message is parked.
const REFUSALS_MAX: u8 = 3;

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The issuer has it, or has nothing to undo.
    Done,
    /// It could not be looked at now.
    Again,
    /// It was looked at and not taken.
    Refused,
}

impl Meaning {
    fn of(code: Option<ResponseCode>) -> Self {
        // No code at all: the answer is broken, not the message.
        let Some(code) = code else { return Self::Again };
        if code.is_approval() {
            return Self::Done;
        }
        match code.bytes() {
            // No action taken; not found; known already.
            b"21" | b"25" | b"94" => Self::Done,
            // In progress; late; cut-off; unavailable; no route; malfunction; no answer; MAC and key
            // faults of the link.
            b"09" | b"68" | b"90" | b"91" | b"92" | b"96" | b"98" | b"A0" | b"A7" => Self::Again,
            _ => Self::Refused,
        }
    }
}

impl Shard {
    /// An answer under the number of an owed message.
    pub(super) fn on_acknowledgement(
        &mut self,
        now: Now,
        (issuer, acquirer, stan): (IssuerId, AcquirerId, Stan),
        place: u32,
        answer: &MessageView<'_>,
        outbox: &mut Outbox,
    ) {
        let Some(owed) = self.saf.get_mut(place) else { return };
        let id = OwedId { number: owed.number, place };
        let answers = owed.sent.map(|(_, time)| time) == answer.transmission_time()
            && owed.mti.response() == Some(answer.mti());
        if !answers {
            return self.counters.add(Counter::Unmatched);
        }
        let code = answer.response_code();
        if owed.mti.class() == MtiClass::Reconciliation
            && let Some(what) = Self::balance_of(answer)
        {
            self.legs.release_stan(issuer, stan);
            self.commit(now, Change::OwedDone { id }, outbox);
            self.counters.add(what);
            self.counters.add(Counter::OwedDone);
            return self.leave(now, place, outbox);
        }
        match Meaning::of(code) {
            Meaning::Done => {
                self.legs.release_stan(issuer, stan);
                self.commit(now, Change::OwedDone { id }, outbox);
                self.counters.add(Counter::OwedDone);
                self.leave(now, place, outbox);
            }
            // Its timer is set since it was sent.
            Meaning::Again => self.counters.add(Counter::OwedRetried),
            Meaning::Refused => {
                owed.refusals = owed.refusals.saturating_add(1);
                let is_poison = owed.refusals >= REFUSALS_MAX;
                self.counters.add(Counter::OwedRefused);
                if let Some(code) = code
                    && is_poison
                    && self.saf.has_room_to_park()
                {
                    self.legs.quarantine_stan(now, issuer, stan);
                    self.commit(now, Change::OwedParked { id, code }, outbox);
                    self.counters.add(Counter::OwedParked);
                    let note = Note { code: Some(code), ..Note::only(Counter::OwedParked) };
                    self.note_of_issuer(now, (issuer, acquirer), answer, note);
                    self.leave(now, place, outbox);
                }
            }
        }
    }

    /// An entry is under way no more: the next of its card may go.
    fn leave(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        self.deadlines.cancel(self.first_owed_timer() + place);
        if let Some(next) = self.next_owed.take() {
            self.send_next(now, next, outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_codes_mean() {
        let of = |code: &[u8; 2]| Meaning::of(Some(ResponseCode::new(*code)));
        for done in [b"00", b"10", b"11", b"A2", b"21", b"25", b"94"] {
            assert_eq!(of(done), Meaning::Done, "{done:?}");
        }
        for again in [b"91", b"96", b"98", b"90", b"68"] {
            assert_eq!(of(again), Meaning::Again, "{again:?}");
        }
        for refused in [b"30", b"12", b"14", b"05", b"ZZ"] {
            assert_eq!(of(refused), Meaning::Refused, "{refused:?}");
        }
        assert_eq!(Meaning::of(None), Meaning::Again);
    }
}
