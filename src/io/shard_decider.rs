//! The shard as what decides: nothing but names.

use super::decider::{ConnectionFault, Decider};
use super::durable::Durable;
use crate::shard::parked::{ParkedOrder, ParkedOutcome};
use crate::shard::recovery::Recovered;
use crate::shard::snapshot::SnapshotStep;
use crate::shard::velocity::PassedTable;
use crate::shard::wallet::{WalletOutcome, WalletRequest};
use crate::shard::{
    AcquirerId, Configured, ConnectionId, Counter, Counters, IssuerId, LinkId, MeshMessage, Now,
    Outbox, Published, Shard, ShardId, Staged, SwitchTime,
};
use tapswitch_protocol::frame::HeaderProblem;

/// What is left of a shard.
pub struct ShardReport {
    /// What it counted.
    pub counters: Counters,
    /// The time that the switch added to transactions.
    pub switch_time: SwitchTime,
    /// Cards that took a line of the velocity table.
    pub cards: usize,
    /// Answers no longer remembered because newer ones took their place.
    pub duplicate_evictions: u64,
    /// Originals no longer remembered because newer ones took their place.
    pub original_evictions: u64,
    /// Requests not answered and messages owed: what a stop within its time leaves at 0.
    pub in_flight: usize,
    /// Of these, messages owed: with a journal the next start sends them.
    pub owed: usize,
}

impl Durable for Shard {
    fn begin_recovery(&mut self) {
        self.begin_recovery();
    }

    fn load_begin(&mut self, header: &[u8]) -> Result<(), String> {
        self.load_begin(header)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.load(bytes)
    }

    fn load_end(&mut self) -> Result<(), String> {
        self.load_end()
    }

    fn replay(&mut self, records: &[u8], known: u64) -> Result<(), String> {
        self.replay(records, known).map_err(|error| error.to_string())
    }

    fn recovered(&self) -> Recovered {
        self.recovered()
    }

    fn on_recovered(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        self.on_recovered(now, outbox)
    }

    fn on_journal_full(&mut self, is_full: bool) {
        self.on_journal_full(is_full);
    }

    fn snapshot_begin(&mut self, now: Now) -> Vec<u8> {
        self.snapshot_begin(now)
    }

    fn carry_begin(&mut self, now: Now) -> Vec<u8> {
        self.carry_begin(now)
    }

    fn part_begin(&mut self, now: Now) -> Option<Vec<u8>> {
        self.part_begin(now)
    }

    fn part_end(&mut self) -> Option<PassedTable> {
        self.part_end()
    }

    fn knows_as(&self, other: &mut Self) -> bool {
        self.knows_as(other)
    }

    fn replay_from_lsn(&self, last_lsn: u64) -> u64 {
        self.replay_from_lsn(last_lsn)
    }

    fn snapshot_next(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> SnapshotStep {
        self.snapshot_next(out, bytes_max)
    }

    fn snapshot_is_behind(&self) -> bool {
        self.snapshot_is_behind()
    }

    fn snapshot_abandon(&mut self) {
        self.snapshot_abandon();
    }
}

impl Decider for Shard {
    type Staged = Staged;
    type Published = Published;
    type Report = ShardReport;

    fn on_connection_open(&mut self, connection: ConnectionId) -> Option<ConnectionId> {
        self.on_connection_open(connection)
    }

    fn on_connection_closed(&mut self, _now: Now, connection: ConnectionId, _: &mut Outbox) {
        self.on_connection_closed(connection);
    }

    #[inline]
    fn stage(&mut self, connection: ConnectionId, body: &[u8]) -> Staged {
        self.stage(connection, body)
    }

    #[inline]
    fn on_arrival(&mut self, arrived_ns: u64) {
        self.on_arrival(arrived_ns);
    }

    fn shed(&self) -> u64 {
        self.shed()
    }

    #[inline]
    fn on_request(
        &mut self,
        now: Now,
        staged: Staged,
        header: &[u8],
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        self.on_request(now, staged, header, body, outbox);
    }

    fn on_fault(&mut self, _connection: ConnectionId, fault: ConnectionFault) {
        match fault {
            ConnectionFault::Framing(error) => self.on_frame_error(error),
            ConnectionFault::Header(HeaderProblem::Malformed) => {
                self.on_counted(Counter::DroppedHeader);
            }
            ConnectionFault::Header(HeaderProblem::Rejected) => {
                self.on_counted(Counter::DroppedRejected);
            }
            ConnectionFault::FrameTimeout => self.on_counted(Counter::FrameTimeout),
            ConnectionFault::SlowConsumer => self.on_counted(Counter::SlowConsumer),
        }
    }

    #[inline]
    fn on_mesh(&mut self, now: Now, from: ShardId, message: MeshMessage<'_>, outbox: &mut Outbox) {
        self.on_mesh(now, from, message, outbox);
    }

    #[inline]
    fn on_issuer_response(
        &mut self,
        now: Now,
        link: LinkId,
        acquirer: AcquirerId,
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        self.on_issuer_response(now, link, acquirer, body, outbox);
    }

    fn on_undeliverable(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: &[u8],
        outbox: &mut Outbox,
    ) {
        self.on_undeliverable(now, connection, frame, outbox);
    }

    fn on_forward_refused(
        &mut self,
        now: Now,
        issuer: IssuerId,
        acquirer: AcquirerId,
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        self.on_forward_refused(now, issuer, acquirer, body, outbox);
    }

    fn on_issuer_down(&mut self, now: Now, link: LinkId, outbox: &mut Outbox) -> bool {
        self.on_issuer_down(now, link, outbox)
    }

    fn on_issuer_up(&mut self, now: Now, link: LinkId) {
        self.on_issuer_up(now, link);
    }

    fn on_leaving(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        self.on_leaving(now, outbox)
    }

    fn on_deadline(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        self.on_deadline(now, outbox)
    }

    #[inline]
    fn next_deadline(&self) -> Option<u64> {
        self.next_deadline()
    }

    #[inline]
    fn take_outcomes(&mut self, out: &mut Vec<u8>) {
        self.take_outcomes(out);
    }

    fn on_batch_end(&mut self, now: Now) {
        self.on_batch_end(now);
    }

    fn on_config(&mut self, now: Now, configured: &Configured, outbox: &mut Outbox) {
        self.on_config(now, configured, outbox);
    }

    fn on_parked_order(
        &mut self,
        now: Now,
        number: u64,
        order: &ParkedOrder,
        outbox: &mut Outbox,
    ) -> ParkedOutcome {
        self.on_parked_order(now, number, order, outbox)
    }

    fn on_wallet_request(
        &mut self,
        now: Now,
        request: &WalletRequest,
        outbox: &mut Outbox,
    ) -> WalletOutcome {
        self.on_wallet_request(now, request, outbox)
    }

    fn on_drain(&mut self) {
        self.on_drain();
    }

    fn in_flight(&self) -> usize {
        self.in_flight()
    }

    fn owed(&self) -> usize {
        self.owed()
    }

    fn publish(&self, published: &Published) -> bool {
        self.publish(published)
    }

    fn into_report(self) -> ShardReport {
        ShardReport {
            counters: self.counters().clone(),
            switch_time: self.switch_time().clone(),
            cards: self.cards(),
            duplicate_evictions: self.duplicate_evictions(),
            original_evictions: self.original_evictions(),
            in_flight: self.in_flight(),
            owed: self.owed(),
        }
    }
}
