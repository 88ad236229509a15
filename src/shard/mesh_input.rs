//! Messages between shards: requests handed to the shard of their card, and what comes back.

use super::delivery::copy_in;
use super::intake::Kind;
use super::own_answer::Reason;
use super::undelivered::Home;
use super::wallet::Translated;
use super::{Action, Counter, Incoming, MeshKind, MeshMessage, Now, Outbox, Shard, ShardId};

impl Shard {
    /// Hands a request to the shard that holds its card; without a credit it is refused, or dropped if
    /// it says that it was sent before.
    pub(super) fn hand_over(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (to, asked): (ShardId, (MeshKind, Option<&Translated>)),
        outbox: &mut Outbox,
    ) {
        let mti = incoming.view.mti();
        let is_request = Kind::of(mti) == Some(Kind::Request);
        let is_repeat = is_request && mti != mti.without_repeat();
        let taken = if is_request && !is_repeat {
            self.credits.take_for_new(to)
        } else {
            self.credits.take(to)
        };
        if !taken && is_repeat {
            // Its first transmission may have been approved: a refusal could be taken for its answer.
            return self.drop_message(incoming.connection, Counter::DroppedRepeat, outbox);
        }
        if !taken {
            return self.answer_own(now, incoming, Reason::NoCredit, outbox);
        }
        self.counters.add(Counter::CrossedOut);
        self.push_request(now, incoming, (to, asked), outbox);
    }

    /// Writes a request for another shard, with what is known of its token.
    pub(super) fn push_request(
        &self,
        now: Now,
        incoming: &Incoming<'_>,
        (to, (kind, translated)): (ShardId, (MeshKind, Option<&Translated>)),
        outbox: &mut Outbox,
    ) {
        let (header, message) = (incoming.header, incoming.view.bytes());
        let arrival_at = copy_in(&self.arrival_ns(now).to_le_bytes(), outbox);
        if let Some(translated) = translated {
            copy_in(&translated.to_bytes(), outbox);
        }
        copy_in(header, outbox);
        let message_at = copy_in(message, outbox);
        outbox.push(Action::Mesh {
            to,
            kind,
            connection: incoming.connection,
            // At most 46.
            header_bytes: header.len() as u8,
            bytes: arrival_at.start..message_at.end,
        });
    }

    /// A message from another shard.
    pub fn on_mesh(
        &mut self,
        now: Now,
        from: ShardId,
        message: MeshMessage<'_>,
        outbox: &mut Outbox,
    ) {
        self.batch_began_ns = now.mono_ns;
        self.keep_date(now, outbox);
        match message.kind {
            MeshKind::Request | MeshKind::TokenAsk => self.on_crossed_request(now, message, outbox),
            MeshKind::Translated | MeshKind::TokenRequest => {
                self.on_crossed_tap(now, from, message, outbox);
            }
            MeshKind::Response => {
                self.credits.give(from);
                let connection = message.connection;
                if self.connections.is_open(connection) {
                    let bytes = copy_in(message.bytes, outbox);
                    outbox.push(Action::Respond { connection, bytes });
                } else {
                    self.redeliver(now, (connection, Home::Of(from)), message.bytes, outbox);
                }
            }
            MeshKind::Credit => {
                self.credits.give(from);
                self.answer_nothing(message.connection, outbox);
            }
            MeshKind::IssuerMessage | MeshKind::SignedOff | MeshKind::IssuerDate => {
                self.on_crossed_issuer_message(now, from, message, outbox);
            }
            MeshKind::Returned => self.credits.give_notice(from),
            MeshKind::Undeliverable => {
                self.redeliver(now, (message.connection, Home::Here), message.bytes, outbox);
                self.answer_nothing(message.connection, outbox);
            }
            MeshKind::NotHere => {
                self.credits.give(from);
                self.on_not_here(now, from, message, outbox);
            }
            MeshKind::Offer => {
                let offered = (message.connection, message.header_bytes);
                self.on_offer(from, offered, message.bytes, outbox);
            }
            MeshKind::OfferTaken | MeshKind::OfferRefused => {
                self.credits.give(from);
                self.on_offered(now, message.header_bytes, message.kind == MeshKind::OfferTaken);
            }
            MeshKind::TotalsAsk => self.on_totals_ask(from, message, outbox),
            MeshKind::TotalsTold => {
                self.credits.give(from);
                self.on_totals_told(now, from, message, outbox);
            }
            MeshKind::LeaseAsk => self.on_lease_ask(now, from, message.bytes, outbox),
            MeshKind::LeaseGrant => self.on_lease_grant(now, from, message.bytes, outbox),
        }
    }

    fn on_crossed_request(&mut self, now: Now, message: MeshMessage<'_>, outbox: &mut Outbox) {
        self.counters.add(Counter::CrossedIn);
        let Some((arrived_ns, bytes)) = message.bytes.split_first_chunk() else { return };
        let split = bytes.split_at_checked(usize::from(message.header_bytes));
        let Some((header, body)) = split else { return };
        // What it waited on the other shard and on the ring counts.
        self.on_arrival(u64::from_le_bytes(*arrived_ns));
        let staged = self.stage(message.connection, body);
        let Some(request) = self.staged.take(staged) else { return };
        if let Some(profile) = self.profile(request.connection) {
            self.intake(now, &request, &profile, (header, body), outbox);
        }
        self.on_arrival(u64::MAX);
        self.staged.give(staged, request);
    }
}
