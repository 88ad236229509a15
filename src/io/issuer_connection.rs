//! An issuer's link: a duplex TCP connection of one shard, or a pair of which each carries one
//! direction, made again whenever it is lost. The switch connects, or the issuer does; of a pair both.
//!
//! ```text
//!            due                     made               lost              both tasks ended
//!   ┌──────┐ ────▶ ┌────────────┐ ─────────▶ ┌────┐ ──────────▶ ┌─────────┐ ─────▶ Down
//!   │ Down │       │ Connecting │            │ Up │             │ Closing │
//!   └──────┘ ◀──── └────────────┘            └────┘             └─────────┘
//!           refused, or too slow
//! ```
//!
//! The shard shares its connection with no other, so an answer's trace number is one of its own.
//! Reads and writes are those of acquirers' connections (`duplex`): big reads, one write in flight.
//! A frame that finds too much waiting is refused. Dead peers are found by the kernel (keep-alive,
//! user time-out), lost framing and a peer that ends its half end the link here.
//!
//! Not here: frames that were read (`driver`), what a loss means (`shard`).

use super::buffer_pool::BufferPool;
use super::dial::{CONNECT_MS_MAX, NS_PER_MS, Retries, connect, watch_over};
use super::duplex::{Connection, WriteStage};
use super::engine::{Engine, Stream};
use super::lines::{Lines, discard};
use super::listener::LinkPlaces;
use super::read_buffer::ReadBuffer;
use super::visits::Visits;
use crate::config::IssuerLinkConfig;
use crate::limits::{FRAME_BYTES_MAX, LINK_OUTPUT_BYTES_MAX};
use crate::shard::LinkId;
use socket2::SockRef;
use std::cell::Cell;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use tapswitch_protocol::Framing;
use tapswitch_protocol::header::cups_header;
use tokio::task::{JoinHandle, spawn_local};

/// Four digits that count no bytes.
const CUPS_IDLE_PROBE: &[u8] = b"0000";
/// CUPS (domestic) and the switch as each other's addresses in headers of the link.
pub(crate) const CUPS_ISSUER: &[u8; 11] = b"00010000   ";
pub(crate) const CUPS_SWITCH: &[u8; 11] = b"00010344   ";

/// What a visit found, in the order in which it happened.
pub(crate) enum LinkNews {
    /// The connection is made.
    Up,
    /// Bytes were read; give the buffer back with [`IssuerConnection::give_back`].
    Read(ReadBuffer),
    /// The connection is lost.
    Down,
}

enum Life {
    Down {
        retry_ns: u64,
    },
    Connecting {
        made: Rc<Cell<Option<io::Result<TcpStream>>>>,
        task: JoinHandle<()>,
        give_up_ns: u64,
    },
    /// The issuer is to connect: for the first direction, or, where there is one, for the other.
    Awaiting {
        out: Option<Lines>,
    },
    Up {
        lines: Lines,
        since_ns: u64,
    },
    Closing {
        lines: Lines,
    },
}

/// What the links of one shard share.
pub(crate) struct LinkSurroundings {
    pub(crate) engine: Engine,
    pub(crate) visits: Rc<Visits>,
    pub(crate) pool: Rc<BufferPool>,
}

/// One issuer's link. It visits the driver under its `slot`.
pub(crate) struct IssuerConnection {
    slot: u16,
    config: IssuerLinkConfig,
    header: Vec<u8>,
    life: Life,
    retries: Retries,
    id: LinkId,
    places: Arc<LinkPlaces>,
    /// Whether the acceptor may bring a connection.
    is_offered: bool,
    /// The issuer's connection, while the switch's own is not made.
    arrived: Option<TcpStream>,
    /// When an idle probe is due unless something is sent before.
    probe_at_ns: u64,
    sent: Cell<bool>,
}

impl IssuerConnection {
    /// A link that is to be made at once. `spread` should differ from link to link.
    pub(crate) fn new(
        (slot, id): (u16, LinkId),
        config: &IssuerLinkConfig,
        (spread, places): (u64, Arc<LinkPlaces>),
    ) -> Self {
        let mut link = Self {
            slot,
            config: config.clone(),
            header: link_header(config.framing, (CUPS_ISSUER, CUPS_SWITCH)),
            life: Life::Down { retry_ns: 0 },
            retries: Retries::new(spread),
            id,
            places,
            is_offered: false,
            arrived: None,
            probe_at_ns: u64::MAX,
            sent: Cell::new(false),
        };
        link.begin_anew(0);
        link
    }

    pub(crate) fn link(&self) -> LinkId {
        self.id
    }

    /// Whether the issuer is to connect.
    pub(crate) fn is_offered(&self) -> bool {
        self.is_offered
    }

    /// It is down: the switch connects at that moment, or the issuer does when it likes.
    fn begin_anew(&mut self, retry_ns: u64) {
        self.life = match self.config.connect {
            Some(_) => Life::Down { retry_ns },
            None => Life::Awaiting { out: None },
        };
        if self.config.listen.is_some() && self.arrived.is_none() && !self.is_offered {
            self.is_offered = true;
            self.places.offer(self.id.issuer);
        }
    }

    /// The issuer has connected. Tells whether the link is up with it.
    pub(crate) fn take(
        &mut self,
        stream: TcpStream,
        now_ns: u64,
        around: &LinkSurroundings,
    ) -> bool {
        self.is_offered = false;
        // A peer that is gone already is found by reading.
        let _ = watch_over(SockRef::from(&stream));
        match &self.life {
            Life::Awaiting { out } => {
                let out = out.clone();
                self.join(out, stream, now_ns, around)
            }
            Life::Down { .. }
            | Life::Connecting { .. }
            | Life::Up { .. }
            | Life::Closing { .. } => {
                self.arrived = Some(stream);
                false
            }
        }
    }

    /// The last connection that was missing is there. Tells whether the link is up.
    fn join(
        &mut self,
        out: Option<Lines>,
        stream: TcpStream,
        now_ns: u64,
        around: &LinkSurroundings,
    ) -> bool {
        let Ok(stream) = Stream::from_std(around.engine, stream) else {
            match out {
                Some(lines) => {
                    lines.abort();
                    self.life = Life::Closing { lines };
                }
                None => self.begin_anew(now_ns),
            }
            return false;
        };
        let last = Connection::spawn(self.slot, stream, &around.visits, &around.pool);
        let lines = match out {
            Some(first) => first.with_back(last),
            None => Lines::new(last, None),
        };
        self.go_up(lines, now_ns);
        true
    }

    fn go_up(&mut self, lines: Lines, now_ns: u64) {
        self.probe_at_ns = match self.config.probe_idle_ms {
            0 => u64::MAX,
            idle_ms => now_ns + idle_ms * NS_PER_MS,
        };
        self.life = Life::Up { lines, since_ns: now_ns };
    }

    pub(crate) fn framing(&self) -> Framing {
        self.config.framing
    }

    /// When [`IssuerConnection::look`] is wanted next, if nothing happens.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        match self.life {
            Life::Down { retry_ns } => Some(retry_ns),
            Life::Connecting { give_up_ns, .. } => Some(give_up_ns),
            Life::Up { .. } => (self.probe_at_ns != u64::MAX).then_some(self.probe_at_ns),
            Life::Awaiting { .. } | Life::Closing { .. } => None,
        }
    }

    /// Sends a message; `false` when it cannot: nothing of it has left then.
    #[inline]
    pub(crate) fn forward(&self, body: &[u8], scratch: &mut [u8; FRAME_BYTES_MAX]) -> bool {
        let Life::Up { lines, .. } = &self.life else { return false };
        let connection = lines.out();
        let framing = self.config.framing;
        let frame = framing.begin(&self.header, scratch).and_then(|body_at| {
            let bytes = body_at + body.len();
            scratch.get_mut(body_at..bytes)?.copy_from_slice(body);
            framing.finish(scratch, bytes);
            scratch.get_mut(..bytes)
        });
        let Some(frame) = frame else { return false };
        let has_room = connection.waiting() + frame.len() <= LINK_OUTPUT_BYTES_MAX;
        if has_room {
            connection.append(frame);
            self.sent.set(true);
        }
        frame.fill(0);
        has_room
    }

    /// Looks at what happened, and at what is due.
    pub(crate) fn look(
        &mut self,
        now_ns: u64,
        around: &LinkSurroundings,
        mut news: impl FnMut(LinkNews),
    ) {
        match &self.life {
            Life::Down { retry_ns } if *retry_ns <= now_ns => self.connect(now_ns, around),
            Life::Down { .. } => {}
            Life::Connecting { made, task, give_up_ns } => match made.take() {
                Some(outcome) => {
                    let is_up = self.on_connected(outcome, now_ns, around);
                    if is_up {
                        news(LinkNews::Up);
                    }
                }
                None if *give_up_ns <= now_ns => {
                    task.abort();
                    self.retry_later(now_ns);
                }
                None => {}
            },
            Life::Awaiting { out } => {
                if let Some(lines) = out.clone() {
                    lines.visit_unread();
                    if lines.is_broken() {
                        lines.abort();
                        self.life = Life::Closing { lines };
                    }
                }
            }
            Life::Up { lines, since_ns } => {
                let (lines, since_ns) = (lines.clone(), *since_ns);
                if let Some(buffer) = lines.visit() {
                    news(LinkNews::Read(buffer));
                }
                if lines.is_broken() {
                    news(LinkNews::Down);
                    self.close(now_ns, since_ns);
                } else if self.probe_at_ns <= now_ns {
                    self.probe(&lines, now_ns);
                }
            }
            Life::Closing { lines } => {
                if lines.clone().have_ended(&around.pool) {
                    self.retry_later(now_ns);
                }
            }
        }
    }

    /// Nothing was sent for a while: the idle probe of the framing, which is never answered.
    fn probe(&mut self, lines: &Lines, now_ns: u64) {
        if !self.sent.replace(false) {
            lines.out().append(CUPS_IDLE_PROBE);
        }
        self.probe_at_ns = now_ns + self.config.probe_idle_ms * NS_PER_MS;
    }

    fn connect(&mut self, now_ns: u64, around: &LinkSurroundings) {
        let made = Rc::new(Cell::new(None));
        let (outcome, visits) = (Rc::clone(&made), Rc::clone(&around.visits));
        let Some(address) = self.config.connect else { return };
        let slot = self.slot;
        let task = spawn_local(async move {
            outcome.set(Some(connect(address).await));
            visits.push(slot);
        });
        self.life =
            Life::Connecting { made, task, give_up_ns: now_ns + CONNECT_MS_MAX * NS_PER_MS };
    }

    /// Tells whether the link is up.
    fn on_connected(
        &mut self,
        outcome: io::Result<TcpStream>,
        now_ns: u64,
        around: &LinkSurroundings,
    ) -> bool {
        let stream = outcome.and_then(|stream| Stream::from_std(around.engine, stream));
        let Ok(stream) = stream else {
            self.retry_later(now_ns);
            return false;
        };
        let out = Connection::spawn(self.slot, stream, &around.visits, &around.pool);
        let lines = Lines::new(out, None);
        if self.config.listen.is_none() {
            self.go_up(lines, now_ns);
            return true;
        }
        match self.arrived.take() {
            Some(stream) => self.join(Some(lines), stream, now_ns, around),
            None => {
                self.life = Life::Awaiting { out: Some(lines) };
                false
            }
        }
    }

    /// Ends a link that is up.
    fn close(&mut self, now_ns: u64, since_ns: u64) {
        self.retries.lost(since_ns, now_ns);
        let life = std::mem::replace(&mut self.life, Life::Down { retry_ns: u64::MAX });
        if let Life::Up { lines, .. } = life {
            lines.abort();
            self.life = Life::Closing { lines };
        }
    }

    /// The shard wants it no more. Tells whether this ended it.
    pub(crate) fn give_up(&mut self, now_ns: u64) -> bool {
        let Life::Up { since_ns, .. } = self.life else { return false };
        self.close(now_ns, since_ns);
        true
    }

    /// Gives a buffer back that was read, its first `consumed` bytes dealt with; `None`: framing is
    /// lost, and with it the link. Tells whether this ended it.
    pub(crate) fn give_back(
        &mut self,
        mut buffer: ReadBuffer,
        consumed: Option<usize>,
        (now_ns, around): (u64, &LinkSurroundings),
    ) -> bool {
        match (&self.life, consumed) {
            (Life::Up { lines, .. }, Some(consumed)) => {
                buffer.consume(consumed);
                lines.reader().give(buffer);
                false
            }
            (Life::Up { since_ns, .. }, None) => {
                let since_ns = *since_ns;
                buffer.give(&around.pool);
                self.close(now_ns, since_ns);
                true
            }
            (Life::Closing { lines }, _) => {
                buffer.give(&around.pool);
                lines.reader().stop_reading();
                false
            }
            (Life::Down { .. } | Life::Connecting { .. } | Life::Awaiting { .. }, _) => {
                buffer.give(&around.pool);
                false
            }
        }
    }

    /// The shard ends: no link is made any more. Tells whether nothing of it is left.
    pub(crate) fn end(&mut self, around: &LinkSurroundings) -> bool {
        match &self.life {
            Life::Down { .. } => return true,
            Life::Connecting { task, .. } => task.abort(),
            Life::Awaiting { out: None } => {}
            Life::Awaiting { out: Some(lines) } => {
                let lines = lines.clone();
                lines.abort();
                self.life = Life::Closing { lines };
                return false;
            }
            Life::Up { lines, .. } if lines.out().waiting() > 0 => {
                // The sign-off leaves first.
                lines.out().visited();
                lines.out().finish();
                discard(lines.reader(), &around.pool);
                if lines.out().write_stage() != WriteStage::Finishing {
                    self.close(0, 0);
                }
                return false;
            }
            Life::Up { .. } => {
                self.close(0, 0);
                return false;
            }
            Life::Closing { lines } => {
                if !lines.have_ended(&around.pool) {
                    return false;
                }
            }
        }
        self.life = Life::Down { retry_ns: u64::MAX };
        true
    }

    fn retry_later(&mut self, now_ns: u64) {
        let retry_ns = self.retries.next_ns(now_ns);
        self.begin_anew(retry_ns);
    }
}

/// The header of every message on an issuer's link.
pub(crate) fn link_header(framing: Framing, (to, from): (&[u8; 11], &[u8; 11])) -> Vec<u8> {
    match framing {
        Framing::Cups => cups_header(to, from).to_vec(),
        Framing::Be2 => Vec::new(),
        // TPDU 60 with addresses 0, then application class 60 and nothing more.
        Framing::Be2Tpdu => vec![0x60, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_framing_s_length() {
        for framing in [Framing::Cups, Framing::Be2, Framing::Be2Tpdu] {
            assert_eq!(
                link_header(framing, (CUPS_ISSUER, CUPS_SWITCH)).len(),
                framing.header_bytes()
            );
        }
    }
}
