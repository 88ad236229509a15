//! Network management on issuers' links: the switch's own sign-on, sign-off and echoes, and what
//! issuers ask for.
//!
//! A link is of use once the issuer has answered the switch's sign-on with 00. Where nothing has come
//! for a while an echo is asked for; a link on which several in a row stay unanswered is closed, and so
//! is one whose sign-on is refused or not answered: `io` makes it again after a pause.
//!
//! An issuer's sign-off is meant for all its links, of every shard: each shard hands it on to the next
//! until it comes back to the first.
//!
//! Not here: states and rules (`links`), network management of acquirers (`network_management`).

use super::delivery::{LegNumbers, copy_in};
use super::links::{Due, LinkState};
use super::network_management::{IssuerOrder, Order, issuer_order};
use super::{
    Action, Counter, IssuerId, LinkId, MeshKind, MeshMessage, Now, Outbox, Shard, ShardId,
};
use crate::limits::{ISSUERS_MAX, LINKS_MAX, UNDELIVERED_MAX};
use tapswitch_protocol::{
    Addition, Dialect, MessageView, MessageWriter, Mti, MtiClass, ResponseCode, Stan, respond,
};

/// The switch as institution, DE 33: what headers of the link call it too.
pub(super) const SWITCH_INSTITUTION: &[u8] = b"00010344";
/// No link of this shard: the message came on another's.
const ELSEWHERE: u8 = u8::MAX;

const _: () = assert!(LINKS_MAX <= ELSEWHERE as usize);

impl Shard {
    /// Timers of links follow those of what is owed.
    pub(super) fn link_timer(&self, link: LinkId) -> Option<u32> {
        let place = u32::from(link.issuer.0) * LINKS_MAX as u32 + u32::from(link.number);
        Some(self.first_link_timer()? + place)
    }

    /// Links' timers come after those of answers that nobody got.
    pub(super) fn first_link_timer(&self) -> Option<u32> {
        u32::try_from(self.pending.capacity() + self.saf.capacity() + UNDELIVERED_MAX).ok()
    }

    /// The link that a timer is of.
    pub(super) fn link_of_timer(&self, timer: u32) -> Option<LinkId> {
        let place = timer.checked_sub(self.first_link_timer()?)?;
        if place as usize >= ISSUERS_MAX * LINKS_MAX {
            return None;
        }
        // Below ISSUERS_MAX.
        let issuer = IssuerId((place / LINKS_MAX as u32) as u8);
        Some(LinkId { issuer, number: (place % LINKS_MAX as u32) as u8 })
    }

    /// A link's timer is over.
    pub(super) fn on_link_timer(&mut self, now: Now, link: LinkId, outbox: &mut Outbox) {
        let Some(links) = self.legs.links(link.issuer) else { return };
        match links.due(link.number, now) {
            Due::Nothing => {}
            Due::Wait(until_ns) => {
                if let Some(timer) = self.link_timer(link) {
                    self.deadlines.set(timer, until_ns);
                }
            }
            Due::SignOn => self.ask(now, link, Order::SignOn, outbox),
            Due::Echo { missed } => {
                if missed {
                    self.counters.add(Counter::EchoMissed);
                }
                self.ask(now, link, Order::EchoTest, outbox);
            }
            Due::Silent => self.give_up(link, Counter::SignOnSilent, outbox),
            Due::Dead => {
                self.counters.add(Counter::EchoMissed);
                self.give_up(link, Counter::EchoTimeout, outbox);
            }
        }
    }

    /// `io` is to close the link; that it is lost comes back as any loss does.
    fn give_up(&mut self, link: LinkId, why: Counter, outbox: &mut Outbox) {
        self.counters.add(why);
        if let Some(links) = self.legs.links(link.issuer) {
            links.leave(link.number);
        }
        outbox.push(Action::CloseLink { link });
    }

    /// Sends our own 0800 (0820 where the dialect is UnionPay's), and waits for its answer.
    fn ask(&mut self, now: Now, link: LinkId, order: Order, outbox: &mut Outbox) {
        let Some(dialect) = self.legs.dialect(link.issuer) else { return };
        let Some(stan) = self.legs.next_management_stan(link.issuer) else { return };
        let time = self.legs.transmission_time(now);
        let numbers = LegNumbers::new(time.0, stan.0);
        let Some(bytes) = write_order(dialect, &numbers, order, outbox.room()) else { return };
        let bytes = outbox.claim(bytes);
        outbox.push(Action::Manage { link, bytes });
        let until_ns =
            self.legs.links(link.issuer).map(|it| it.ask(link.number, stan, now.mono_ns));
        if let (Some(timer), Some(until_ns)) = (self.link_timer(link), until_ns) {
            self.deadlines.set(timer, until_ns);
        }
    }

    /// The end: signs off from issuers, one link after the other. Call again while it returns true:
    /// the outbox is full.
    pub fn on_leaving(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        for issuer in self.legs.issuers() {
            while let Some(number) = self.legs.links(issuer).and_then(|it| it.next_to_leave()) {
                if !outbox.has_room() {
                    return true;
                }
                let link = LinkId { issuer, number };
                self.ask(now, link, Order::SignOff, outbox);
                self.counters.add(Counter::LinkSignedOff);
                if let Some(links) = self.legs.links(issuer) {
                    links.leave(number);
                }
            }
        }
        false
    }

    /// What comes on a link and is no answer to a request of this shard: network management, totals,
    /// and answers whose number is another shard's. Tells whether it was dealt with.
    #[inline]
    pub(super) fn take_from_link(
        &mut self,
        now: Now,
        link: LinkId,
        (view, is_well_formed): (&MessageView<'_>, bool),
        outbox: &mut Outbox,
    ) -> bool {
        if let Some(links) = self.legs.links(link.issuer) {
            links.on_heard(link.number, now.mono_ns);
        }
        let is_management = view.mti().class() == MtiClass::NetworkManagement;
        if is_management && view.mti().expects_response() {
            self.answer_issuer(now, link, view, outbox);
            return true;
        }
        if view.mti().class() == MtiClass::Reconciliation
            && view.mti().expects_response()
            && self.legs.dialect(link.issuer).is_some()
        {
            self.reconcile_issuer(now, link, (view, is_well_formed), outbox);
            return true;
        }
        let stan = view.stan().filter(|_| !view.mti().expects_response());
        let owner = stan.map(|stan| self.legs.owner(stan));
        let is_elsewhere = owner
            .is_some_and(|owner| owner != u32::from(self.id.0) && (owner as usize) < self.shards);
        if is_management && !is_elsewhere {
            self.on_management_answer(now, link, view, outbox);
            return true;
        }
        let (Some(stan), Some(owner), true) = (stan, owner, is_elsewhere) else { return false };
        if self.legs.waiting(link.issuer, stan).is_some() {
            return false;
        }
        // Below SHARDS_MAX.
        self.hand_over_answer(ShardId(owner as u8), link.issuer, view.bytes(), outbox);
        true
    }

    /// An answer goes to the shard whose number it has.
    fn hand_over_answer(
        &mut self,
        to: ShardId,
        issuer: IssuerId,
        message: &[u8],
        outbox: &mut Outbox,
    ) {
        if !self.credits.take(to) {
            // As if it had been lost on the way: the request times out and is reversed.
            return self.counters.add(Counter::IssuerMessageDropped);
        }
        self.credits.count_notice();
        self.counters.add(Counter::IssuerCrossed);
        let from = copy_in(&[issuer.0], outbox);
        let message = copy_in(message, outbox);
        outbox.push(Action::Mesh {
            to,
            kind: MeshKind::IssuerMessage,
            connection: super::ConnectionId::default(),
            header_bytes: 1,
            bytes: from.start..message.end,
        });
    }

    /// A message that another shard's link brought.
    pub(super) fn on_crossed_issuer_message(
        &mut self,
        now: Now,
        from: ShardId,
        message: MeshMessage<'_>,
        outbox: &mut Outbox,
    ) {
        outbox.push(Action::Mesh {
            to: from,
            kind: MeshKind::Returned,
            connection: message.connection,
            header_bytes: 0,
            bytes: 0..0,
        });
        let Some((&issuer, rest)) = message.bytes.split_first() else { return };
        let issuer = IssuerId(issuer);
        match (message.kind, rest) {
            (MeshKind::SignedOff, &[signed_off, first]) => {
                self.set_signed_off(now, (issuer, signed_off != 0), ShardId(first), outbox);
            }
            (MeshKind::IssuerDate, &[first, a, b, c, d]) => {
                let day = u32::from_le_bytes([a, b, c, d]);
                self.begin_date_of(now, (issuer, day), ShardId(first), outbox);
            }
            (MeshKind::SignedOff | MeshKind::IssuerDate, _) => {}
            _ => {
                if let Some(acquirer) = self.speaker(issuer) {
                    let link = LinkId { issuer, number: ELSEWHERE };
                    self.on_issuer_response(now, link, acquirer, rest, outbox);
                }
            }
        }
    }

    /// An acquirer that speaks as an issuer's link does.
    pub(super) fn speaker(&self, issuer: IssuerId) -> Option<super::AcquirerId> {
        let spoken = self.legs.dialect(issuer)?.name();
        let place = self.profiles.iter().position(|it| it.dialect.name() == spoken)?;
        // Below ACQUIRERS_MAX.
        Some(super::AcquirerId(place as u8))
    }

    /// The answer to our own 0800.
    fn on_management_answer(
        &mut self,
        now: Now,
        link: LinkId,
        view: &MessageView<'_>,
        outbox: &mut Outbox,
    ) {
        let Some(links) = self.legs.links(link.issuer) else { return };
        let was_down = links.is_down();
        let asked = view.stan().and_then(|stan| links.on_management_answer(stan, now.mono_ns));
        let link = LinkId { number: asked.map_or(link.number, |(number, _)| number), ..link };
        let is_granted = view.response_code().is_some_and(ResponseCode::is_approval);
        match asked {
            None => self.counters.add(Counter::Unmatched),
            Some((_, LinkState::SigningOn)) if is_granted => {
                links.sign_on(link.number);
                self.counters.add(Counter::LinkSignedOn);
                self.on_link_ready(now, link, was_down);
            }
            Some((_, LinkState::SigningOn)) => self.give_up(link, Counter::SignOnRefused, outbox),
            Some((_, LinkState::Ready | LinkState::Leaving | LinkState::Down)) => {}
        }
    }

    /// What an issuer asks for is always answered.
    fn answer_issuer(
        &mut self,
        now: Now,
        link: LinkId,
        view: &MessageView<'_>,
        outbox: &mut Outbox,
    ) {
        let Some(dialect) = self.legs.dialect(link.issuer) else {
            return self.counters.add(Counter::Unmatched);
        };
        let order = issuer_order(view);
        let code = match order {
            Ok(IssuerOrder::CutOff) => self.cut_off(now, link.issuer, view, outbox),
            Ok(_) => ResponseCode::APPROVED,
            Err(code) => code,
        };
        let added = [Addition { field: 39, value: code.bytes() }];
        let written = view
            .mti()
            .response()
            .and_then(|mti| respond(view, mti, dialect.echo, &added, outbox.room()).ok());
        let Some(bytes) = written else { return self.counters.add(Counter::Unmatched) };
        let bytes = outbox.claim(bytes);
        let manage = Action::Manage { link, bytes };
        match order {
            // An issuer that has been told so counts on it.
            Ok(IssuerOrder::CutOff) => outbox.push_gated(manage),
            _ => outbox.push(manage),
        }
        self.counters.add(Counter::LinkManaged);
        if let Ok(IssuerOrder::SignOn | IssuerOrder::SignOff) = order {
            let signed_off = order == Ok(IssuerOrder::SignOff);
            self.set_signed_off(now, (link.issuer, signed_off), self.id, outbox);
        }
    }

    /// An issuer signs off or on: here, then on the next shard, until all know.
    fn set_signed_off(
        &mut self,
        now: Now,
        (issuer, signed_off): (IssuerId, bool),
        first: ShardId,
        outbox: &mut Outbox,
    ) {
        let changed = self.legs.links(issuer).is_some_and(|it| it.set_signed_off(signed_off));
        if changed && signed_off && first == self.id {
            self.counters.add(Counter::IssuerSignedOff);
        }
        if changed && !signed_off {
            self.catch_up(now, issuer);
        }
        // Below SHARDS_MAX.
        let next = ShardId(((usize::from(self.id.0) + 1) % self.shards) as u8);
        if next == first || next == self.id || !self.credits.take_reserved(next) {
            return;
        }
        self.credits.count_notice();
        let bytes = copy_in(&[issuer.0, u8::from(signed_off), first.0], outbox);
        outbox.push(Action::Mesh {
            to: next,
            kind: MeshKind::SignedOff,
            connection: super::ConnectionId::default(),
            header_bytes: 0,
            bytes,
        });
    }

    /// An answer that nothing waits for here. One that another issuer was asked for is never taken.
    pub(super) fn count_unmatched(&mut self, issuer: IssuerId, stan: Stan, view: &MessageView<'_>) {
        let sent = view.transmission_time();
        let is_asked = |other: IssuerId, shard: &mut Self| match shard.legs.waiting(other, stan) {
            Some(super::issuer_link::Waiting::Request(place)) => {
                shard.pending.get(place).is_some_and(|request| Some(request.sent) == sent)
            }
            Some(super::issuer_link::Waiting::Owed(_)) | None => false,
        };
        let is_foreign = self.legs.issuers().any(|other| other != issuer && is_asked(other, self));
        self.counters.add(if is_foreign { Counter::CrossIssuer } else { Counter::Unmatched });
    }
}

/// UnionPay's members send network management as 0820, with the institution in DE 33; others 0800.
pub(super) fn write_order(
    dialect: &Dialect,
    numbers: &LegNumbers,
    order: Order,
    out: &mut [u8],
) -> Option<usize> {
    let is_unionpay = dialect.name() == Dialect::cups().name();
    let mti = if is_unionpay { Mti::NETWORK_ADVICE } else { Mti::NETWORK_REQUEST };
    let mut writer = MessageWriter::new(dialect, mti, out).ok()?;
    writer.put(7, numbers.time().wire).ok()?;
    writer.put(11, numbers.stan().wire).ok()?;
    if is_unionpay {
        writer.put(33, SWITCH_INSTITUTION).ok()?;
    }
    writer.put(70, order.digits()).ok()?;
    writer.finish().ok()
}
