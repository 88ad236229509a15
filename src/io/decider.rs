//! What the kernel side asks of a shard: values in, actions out.
//!
//! [`Decider`] is the seam's shape. Production implements it for the shard; the socket tests
//! implement it with an echo, so that what they test is the kernel side alone. Dispatch is static.

use super::durable::Durable;
use crate::shard::parked::{ParkedOrder, ParkedOutcome};
use crate::shard::wallet::{WalletOutcome, WalletRequest};
use crate::shard::{
    AcquirerId, Configured, ConnectionId, IssuerId, LinkId, MeshMessage, Now, Outbox, ShardId,
};
use tapswitch_protocol::FrameError;
use tapswitch_protocol::frame::HeaderProblem;

/// What a connection did wrong below the level of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFault {
    /// Framing is lost: the connection is being closed.
    Framing(FrameError),
    /// A whole frame was skipped for its header.
    Header(HeaderProblem),
    /// A frame was begun and not ended in time: the connection is being closed.
    FrameTimeout,
    /// Answers were not read: the connection is being closed.
    SlowConsumer,
}

/// A shard, as the kernel side sees it. It is made on its own thread and never leaves it.
///
/// After every call that has an outbox the caller does what the outbox says before it waits, and
/// before the next such call when [`Outbox::has_room`] says no.
pub trait Decider: Durable {
    /// A request that was parsed and prefetched, on its way to being decided.
    type Staged: Copy;
    /// Counters that other threads read while the shard runs.
    type Published: Default + Send + Sync + 'static;
    /// What is left at the end.
    type Report: Send + 'static;

    /// A connection was placed on this shard. The one that has to go for it, or it itself.
    fn on_connection_open(&mut self, connection: ConnectionId) -> Option<ConnectionId>;

    /// Nothing can be delivered to this connection any more.
    fn on_connection_closed(&mut self, now: Now, connection: ConnectionId, outbox: &mut Outbox);

    /// Parses, hashes and prefetches a request; changes nothing that decides. At most
    /// `limits::STAGED_MAX` are staged before the first of them is decided.
    fn stage(&mut self, connection: ConnectionId, body: &[u8]) -> Self::Staged;

    /// What is decided from here on, until the next call or the batch's end, was there at this moment.
    fn on_arrival(&mut self, arrived_ns: u64) {
        let _ = arrived_ns;
    }

    /// Requests refused so far for want of room.
    fn shed(&self) -> u64 {
        0
    }

    /// Decides a staged request; the bytes are those that were staged.
    fn on_request(
        &mut self,
        now: Now,
        staged: Self::Staged,
        header: &[u8],
        body: &[u8],
        outbox: &mut Outbox,
    );

    /// A connection did something wrong; to be counted.
    fn on_fault(&mut self, connection: ConnectionId, fault: ConnectionFault);

    /// A message from another shard.
    fn on_mesh(&mut self, now: Now, from: ShardId, message: MeshMessage<'_>, outbox: &mut Outbox);

    /// What an issuer sent: an answer, or network management.
    fn on_issuer_response(
        &mut self,
        now: Now,
        link: LinkId,
        acquirer: AcquirerId,
        body: &[u8],
        outbox: &mut Outbox,
    );

    /// An answer could not be delivered: its connection is gone. The frame is the one to be sent.
    fn on_undeliverable(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: &[u8],
        outbox: &mut Outbox,
    );

    /// A forward found no buffer or no place on the issuer's ring.
    fn on_forward_refused(
        &mut self,
        now: Now,
        issuer: IssuerId,
        acquirer: AcquirerId,
        body: &[u8],
        outbox: &mut Outbox,
    );

    /// An issuer's link is down: what was in flight on it is unanswered, and forwards on it will be
    /// refused. `true` when the outbox had no room for all that follows: call again.
    fn on_issuer_down(&mut self, now: Now, link: LinkId, outbox: &mut Outbox) -> bool;

    /// An issuer's link, which was down, is made; the decider signs on.
    fn on_issuer_up(&mut self, now: Now, link: LinkId);

    /// All is answered, and connections are about to be closed: sign off. `true` when the outbox had
    /// no room for all of it: call again.
    fn on_leaving(&mut self, now: Now, outbox: &mut Outbox) -> bool;

    /// Expires what is due; `true` when the outbox had no room for all of it.
    fn on_deadline(&mut self, now: Now, outbox: &mut Outbox) -> bool;

    /// When [`Decider::on_deadline`] is wanted next, in monotonic nanoseconds.
    fn next_deadline(&self) -> Option<u64>;

    /// Moves entries of the outcome log to `out`, whole ones, as many as it has room for.
    fn take_outcomes(&mut self, out: &mut Vec<u8>);

    /// A batch has been decided and its answers handed over; `now` is read after it.
    fn on_batch_end(&mut self, now: Now);

    /// Between two batches: what comes is judged by this from now on. Its counters are those of the
    /// configuration before.
    fn on_config(&mut self, now: Now, configured: &Configured, outbox: &mut Outbox) {
        let _ = (now, configured, outbox);
    }

    /// Between two batches: an operator decides about a message that this shard has parked.
    fn on_parked_order(
        &mut self,
        now: Now,
        number: u64,
        order: &ParkedOrder,
        outbox: &mut Outbox,
    ) -> ParkedOutcome {
        let _ = (now, number, order, outbox);
        ParkedOutcome::NotParked
    }

    /// Between two batches: something is ordered of a token of this shard.
    fn on_wallet_request(
        &mut self,
        now: Now,
        request: &WalletRequest,
        outbox: &mut Outbox,
    ) -> WalletOutcome {
        let _ = (now, request, outbox);
        WalletOutcome::NotFound
    }

    /// From now on new requests are refused.
    fn on_drain(&mut self);

    /// Requests not answered yet and reversals owed.
    fn in_flight(&self) -> usize;

    /// Of these, messages owed to issuers: a next process on the same journal goes on with them.
    fn owed(&self) -> usize {
        0
    }

    /// Copies counters to where other threads read them. False when a reader held some of them: to be
    /// tried again.
    fn publish(&self, published: &Self::Published) -> bool;

    /// The end: what is to be reported.
    fn into_report(self) -> Self::Report;
}
