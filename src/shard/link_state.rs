//! An issuer's link is lost or made again. A loss ends what was in flight as a time-out does: the
//! reversal is owed first, then the answer leaves. What is owed waits for the link, and is then
//! sent again with pauses, so that an issuer that has just come back is not flooded.
//!
//! Not here: sockets and reconnecting (`io`), sending what is owed (`owed`).

use super::authorization::{Event, State, step};
use super::issuer_answer::Ending;
use super::{Counter, IssuerId, Now, Outbox, Shard};
use std::rc::Rc;

impl Shard {
    /// The issuer's link is down: whatever was in flight on it may have reached the issuer or not.
    /// Until [`Shard::on_issuer_up`] new requests for it are refused. Call again while it returns
    /// true: the outbox is full.
    pub fn on_issuer_down(&mut self, now: Now, issuer: IssuerId, outbox: &mut Outbox) -> bool {
        if self.legs.set_down(issuer, true) {
            self.counters.add(Counter::LinkDown);
        }
        while outbox.has_room() {
            let Some(place) = self.legs.next_lost(issuer) else { return false };
            self.end_lost(now, place, outbox);
        }
        true
    }

    fn end_lost(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        let Some(request) = self.pending.remove(place) else { return };
        self.counters.add(Counter::LinkLost);
        self.deadlines.cancel(place);
        self.legs.quarantine_stan(now, request.issuer, request.stan);
        let profile = Rc::clone(&request.profile);
        let step = step(State::InFlight, Event::Deadline);
        let end = Ending::of(step, profile.codes.time_out, Counter::LinkLost);
        self.end_unanswered(now, request, end, outbox);
    }

    /// The issuer's link is made: requests may go, and what is owed follows shortly.
    pub fn on_issuer_up(&mut self, now: Now, issuer: IssuerId) {
        if self.legs.set_down(issuer, false) {
            self.counters.add(Counter::LinkUp);
        }
        self.catch_up(now, issuer);
    }
}
