//! Sessions of acquirers' connections, as far as the switch begins: echoes, sign-off, and what becomes of
//! an old connection when its acquirer makes a new one.
//!
//! Only a connection that has signed on is told anything: its peer has shown that it speaks network
//! management, and its own message had the header that answers it.
//!
//! Not here: what acquirers ask for (`network_management`), sockets (`io`).

use super::connections::Asked;
use super::delivery::LegNumbers;
use super::link_management::write_order;
use super::network_management::Order;
use super::{Action, ConnectionId, Counter, Incoming, Now, Outbox, Shard};
use crate::limits::{CONNECTIONS_MAX, ISSUERS_MAX, LINKS_MAX};
use tapswitch_protocol::Stan;

const NS_PER_MS: u64 = 1_000_000;
/// How long the answer to an echo is waited for at most.
const ECHO_ANSWER_NS: u64 = 10_000 * NS_PER_MS;

/// Timers of links and of connections, and the one of totals that issuers are to be told.
pub(super) const SESSION_TIMERS: usize = ISSUERS_MAX * LINKS_MAX + CONNECTIONS_MAX + 1;

impl Shard {
    /// A connection of this acquirer was taken. Returns the one that is to go, if there are more than
    /// the acquirer may have: the oldest, or this one where it may not take over.
    pub fn on_connection_open(&mut self, connection: ConnectionId) -> Option<ConnectionId> {
        self.connections.open(connection);
        let session = self.profile(connection)?.session;
        if session.connections_max == 0 {
            return None;
        }
        let (count, oldest) = self.connections.of_acquirer(connection.acquirer);
        if count <= session.connections_max as usize {
            return None;
        }
        if !session.takeover {
            self.counters.add(Counter::ConnectionRefused);
            return Some(connection);
        }
        self.counters.add(Counter::Takeover);
        let oldest = oldest.filter(|&oldest| oldest != connection)?;
        self.connections.set_leaving(oldest);
        Some(oldest)
    }

    fn first_connection_timer(&self) -> Option<u32> {
        Some(self.first_link_timer()? + (ISSUERS_MAX * LINKS_MAX) as u32)
    }

    /// The slot of the connection that a timer is of.
    pub(super) fn connection_of_timer(&self, timer: u32) -> Option<u16> {
        u16::try_from(timer.checked_sub(self.first_connection_timer()?)?).ok()
    }

    /// The last of all.
    pub(super) fn totals_timer(&self) -> Option<u32> {
        Some(self.first_connection_timer()? + CONNECTIONS_MAX as u32)
    }

    fn set_connection_timer(&mut self, slot: u16, at_ns: u64) {
        if let Some(first) = self.first_connection_timer() {
            self.deadlines.set(first + u32::from(slot), at_ns);
        }
    }

    /// A connection has signed on: its peer can be asked for echoes, and told of the end.
    pub(super) fn on_acquirer_signed_on(&mut self, now: Now, incoming: &Incoming<'_>) {
        let connection = incoming.connection;
        self.connections.keep_header(connection, incoming.header);
        let idle_ms = incoming.profile.session.echo_idle_ms;
        if idle_ms != 0 {
            self.connections.on_heard(connection, now.mono_ns);
            self.set_connection_timer(connection.slot, now.mono_ns + idle_ms * NS_PER_MS);
        }
    }

    /// A connection is gone: nothing is asked of it.
    pub(super) fn forget_connection(&mut self, connection: ConnectionId) {
        if self.connections.is_open(connection)
            && let Some(first) = self.first_connection_timer()
        {
            self.deadlines.cancel(first + u32::from(connection.slot));
        }
        self.connections.close(connection);
    }

    /// A message type that is an answer: to an echo of ours, or to nothing.
    pub(super) fn take_acquirer_answer(&mut self, incoming: &Incoming<'_>, outbox: &mut Outbox) {
        let stan = incoming.view.stan();
        let is_asked = stan.is_some_and(|it| self.connections.on_answer(incoming.connection, it));
        let counter =
            if is_asked { Counter::AcquirerAnswered } else { Counter::DroppedResponseMti };
        self.drop_message(incoming.connection, counter, outbox);
    }

    /// The switch is stopping: connections that have signed on are told so shortly.
    pub(super) fn sign_off_acquirers(&mut self) {
        for slot in 0..CONNECTIONS_MAX as u16 {
            if self.connections.signed_on(slot).is_some() {
                self.set_connection_timer(slot, 0);
            }
        }
    }

    /// A connection's timer is over.
    pub(super) fn on_connection_timer(&mut self, now: Now, slot: u16, outbox: &mut Outbox) {
        let Some(connection) = self.connections.signed_on(slot) else { return };
        if self.draining {
            self.counters.add(Counter::AcquirerSignedOff);
            self.tell(now, connection, Order::SignOff, outbox);
            return;
        }
        let Some(session) = self.profile(connection).map(|profile| profile.session) else { return };
        if session.echo_idle_ms == 0 {
            return;
        }
        let idle_ns = session.echo_idle_ms * NS_PER_MS;
        match self.connections.echo_due(connection, now.mono_ns, idle_ns) {
            Asked::NotYet { until_ns } => self.set_connection_timer(slot, until_ns),
            Asked::Missed { misses } if misses >= session.echo_misses => {
                self.counters.add(Counter::AcquirerEchoMissed);
                self.counters.add(Counter::AcquirerEchoTimeout);
                outbox.push(Action::CloseConnection { connection });
            }
            asked @ (Asked::Idle | Asked::Missed { .. }) => {
                if asked != Asked::Idle {
                    self.counters.add(Counter::AcquirerEchoMissed);
                }
                self.tell(now, connection, Order::EchoTest, outbox);
                self.set_connection_timer(slot, now.mono_ns + idle_ns.min(ECHO_ANSWER_NS));
            }
        }
    }

    /// Sends our own 0800 to an acquirer.
    fn tell(&mut self, now: Now, connection: ConnectionId, order: Order, outbox: &mut Outbox) {
        let Some(profile) = self.profile(connection) else { return };
        let stan: Stan = self.connections.ask(connection, now.mono_ns);
        let time = self.legs.transmission_time(now);
        let numbers = LegNumbers::new(time.0, stan.0);
        let header = self.connections.header(connection);
        let frame = super::delivery::write_frame(&profile, header, outbox, |out| {
            write_order(profile.dialect, &numbers, order, out)
        });
        if let Some(bytes) = frame {
            outbox.push(Action::Tell { connection, bytes });
        }
    }
}
