//! An issuer's link is lost or made again. A loss ends what was in flight on it as a time-out does: the
//! reversal is owed first, then the answer leaves; nothing is sent again on another link. What is owed
//! waits for a link that is ready, and is then sent with pauses, so that an issuer that has just come
//! back is not flooded.
//!
//! Not here: sockets and reconnecting (`io`), sign-on (`link_management`), sending what is owed
//! (`owed`).

use super::authorization::{Event, State, step};
use super::issuer_answer::Ending;
use super::links::{LinkState, Refused};
use super::own_answer::Reason;
use super::{Counter, IssuerId, LinkId, Now, Outbox, Shard};
use std::rc::Rc;
use tapswitch_protocol::Dialect;

impl Shard {
    /// An issuer's link is down: whatever was in flight on it may have reached the issuer or not.
    /// Until [`Shard::on_issuer_up`] it takes no requests. Call again while it returns true: the
    /// outbox is full.
    pub fn on_issuer_down(
        &mut self,
        now: Now,
        link: impl Into<LinkId>,
        outbox: &mut Outbox,
    ) -> bool {
        let link = link.into();
        if self.legs.links(link.issuer).is_some_and(|links| links.lose(link.number)) {
            self.counters.add(Counter::LinkDown);
            if let Some(timer) = self.link_timer(link) {
                self.deadlines.cancel(timer);
            }
        }
        while outbox.has_room() {
            let Some(place) = self.legs.next_lost(link) else { return false };
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

    /// An issuer's link is made: the sign-on goes with the next [`Shard::on_deadline`], which is due
    /// at once. Where none is needed requests may go, and what is owed follows shortly.
    pub fn on_issuer_up(&mut self, now: Now, link: impl Into<LinkId>) {
        let link = link.into();
        let Some(links) = self.legs.links(link.issuer) else { return };
        let was_down = links.is_down();
        if !links.make(link.number, now.mono_ns) {
            return;
        }
        let is_ready = links.state(link.number) == LinkState::Ready;
        self.counters.add(Counter::LinkUp);
        if is_ready {
            self.on_link_ready(now, link, was_down);
        } else if let Some(timer) = self.link_timer(link) {
            self.deadlines.set(timer, 0);
        }
    }

    /// A link takes requests from now on; `was_down`: before it no link of the issuer did.
    pub(super) fn on_link_ready(&mut self, now: Now, link: LinkId, was_down: bool) {
        let echo_at_ns = self.legs.links(link.issuer).and_then(|it| it.echo_at_ns(now.mono_ns));
        if let (Some(timer), Some(at_ns)) = (self.link_timer(link), echo_at_ns) {
            self.deadlines.set(timer, at_ns);
        }
        if was_down {
            self.catch_up(now, link.issuer);
        }
    }

    /// Who is to be asked: the issuer of the card, or its second route while it cannot be reached. An
    /// issuer that has too much to do already is not helped by another. `holder` has what the request is
    /// about: nobody else is asked.
    #[inline]
    pub(super) fn choose_route(
        &mut self,
        now: Now,
        (first, holder): (IssuerId, Option<IssuerId>),
        dialect: &Dialect,
    ) -> Result<IssuerId, Reason> {
        let (first, is_free) = (holder.unwrap_or(first), holder.is_none());
        let refused = match self.admits(now, first, dialect) {
            Ok(()) => return Ok(first),
            Err(Refused::Full) => return Err(Reason::IssuerWindow),
            Err(refused) => refused,
        };
        if let Some(second) = self.legs.failover(first).filter(|_| is_free)
            && self.admits(now, second, dialect).is_ok()
        {
            self.counters.add(Counter::FailedOver);
            return Ok(second);
        }
        Err(match refused {
            Refused::Down => Reason::IssuerDown,
            Refused::SignedOff => Reason::IssuerSignedOff,
            Refused::Open => Reason::CircuitOpen,
            Refused::Full => Reason::IssuerWindow,
        })
    }

    #[inline]
    fn admits(&self, now: Now, issuer: IssuerId, dialect: &Dialect) -> Result<(), Refused> {
        if self.legs.speaks(issuer, dialect) {
            self.legs.admits(issuer, now)
        } else {
            Err(Refused::Down)
        }
    }

    /// A request timed out: too many in a row, and the issuer is not asked for a while.
    pub(super) fn on_silence(&mut self, now: Now, issuer: IssuerId) {
        if self.legs.links(issuer).is_some_and(|links| links.on_time_out(now.mono_ns)) {
            self.counters.add(Counter::CircuitOpened);
        }
    }

    /// A request was answered in time.
    #[inline]
    pub(super) fn on_voice(&mut self, issuer: IssuerId) {
        if self.legs.links(issuer).is_some_and(|links| links.on_answer()) {
            self.counters.add(Counter::CircuitClosed);
        }
    }
}
