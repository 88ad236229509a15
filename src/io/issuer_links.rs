//! A shard's links to the issuers that are reached over TCP, and their news for the driver.
//!
//! Not here: one link's life (`issuer_connection`), issuers whose banks live in this process
//! (`bank_port`).

use super::buffer_pool::BufferPool;
use super::engine::{self, Engine};
use super::issuer_connection::{IssuerConnection, LinkNews, LinkSurroundings};
use super::listener::LinkPlaces;
use super::read_buffer::ReadBuffer;
use super::visits::Visits;
use crate::config::Config;
use crate::limits::{FRAME_BYTES_MAX, LINKS_MAX};
use crate::shard::{AcquirerId, IssuerId, LinkId, ShardId};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use tapswitch_protocol::Framing;

/// Turns of the engine that ending links are waited for: operations that were shut down complete
/// within a few.
const LAST_TURNS_MAX: usize = 1_000;

/// The links of one issuer.
struct Group {
    connections: Vec<IssuerConnection>,
    /// As whose messages its answers are read: some acquirer's of its dialect.
    acquirer: Option<AcquirerId>,
    /// By acquirer: whether the dialect is the link's.
    speaks: Vec<bool>,
}

/// What happened on a link, in order.
pub(crate) enum LinkEvent {
    /// It is made.
    Up(LinkId),
    /// It is lost.
    Down(LinkId),
    /// Bytes were read. Give them back with [`IssuerLinks::give_back`].
    Read(LinkRead),
}

/// Bytes that an issuer sent.
pub(crate) struct LinkRead {
    pub(crate) link: LinkId,
    /// As whose messages they are read.
    pub(crate) acquirer: AcquirerId,
    pub(crate) framing: Framing,
    pub(crate) buffer: ReadBuffer,
}

/// The links of one shard.
pub(crate) struct IssuerLinks {
    /// By issuer.
    groups: Vec<Option<Group>>,
    around: LinkSurroundings,
    events: VecDeque<LinkEvent>,
    visited: Vec<u16>,
    next_due_ns: Option<u64>,
    scratch: Box<[u8; FRAME_BYTES_MAX]>,
}

impl IssuerLinks {
    /// Every link is down and to be made at once.
    pub(crate) fn new(
        config: &Config,
        shard: ShardId,
        (engine, places): (Engine, &Arc<LinkPlaces>),
        pool: &Rc<BufferPool>,
    ) -> Self {
        let issuers = (0..).zip(&config.issuers);
        let groups: Vec<Option<Group>> = issuers
            .map(|(place, issuer)| {
                let link = issuer.link.as_ref()?;
                let name = link.dialect.name();
                let dialects = config.acquirers.iter().map(|acquirer| acquirer.dialect.name());
                let speaks: Vec<bool> = dialects.map(|dialect| dialect == name).collect();
                let same = speaks.iter().position(|&same| same);
                let connections = (0..link.connections.max(1)).map(|number| {
                    let slot = slot_of(LinkId { issuer: IssuerId(place), number });
                    let spread = u64::from(shard.0) << 16 | u64::from(slot);
                    let id = LinkId { issuer: IssuerId(place), number };
                    IssuerConnection::new((slot, id), link, (spread, Arc::clone(places)))
                });
                Some(Group {
                    connections: connections.collect(),
                    acquirer: same.map(|place| AcquirerId(place as u8)),
                    speaks,
                })
            })
            .collect();
        let around = LinkSurroundings { engine, visits: Rc::default(), pool: Rc::clone(pool) };
        let next_due_ns = groups.iter().flatten().next().map(|_| 0);
        let scratch = Box::new([0; FRAME_BYTES_MAX]);
        let (events, visited) = (VecDeque::new(), Vec::new());
        Self { groups, around, events, visited, next_due_ns, scratch }
    }

    pub(crate) fn visits(&self) -> &Rc<Visits> {
        &self.around.visits
    }

    /// When something is to be done if nothing happens.
    #[inline]
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.next_due_ns
    }

    /// An issuer has connected. A link that waits for it takes it; there is one, or the connection is
    /// closed.
    pub(crate) fn take(&mut self, issuer: IssuerId, stream: TcpStream, now_ns: u64) {
        let group = self.groups.get_mut(usize::from(issuer.0)).and_then(Option::as_mut);
        let waiting =
            group.and_then(|group| group.connections.iter_mut().find(|it| it.is_offered()));
        let Some(connection) = waiting else { return };
        let link = connection.link();
        if connection.take(stream, now_ns, &self.around) {
            self.events.push_back(LinkEvent::Up(link));
        }
        self.find_next_due();
    }

    fn connection(&mut self, link: LinkId) -> Option<&mut IssuerConnection> {
        let group = self.groups.get_mut(usize::from(link.issuer.0))?.as_mut()?;
        group.connections.get_mut(usize::from(link.number))
    }

    /// Sends a message on an issuer's link; `Some(false)` when it cannot be sent now, `None` when this
    /// issuer is not reached over TCP.
    #[inline]
    pub(crate) fn forward(
        &mut self,
        link: LinkId,
        acquirer: AcquirerId,
        body: &[u8],
    ) -> Option<bool> {
        let group = self.groups.get(usize::from(link.issuer.0))?.as_ref()?;
        let speaks = group.speaks.get(usize::from(acquirer.0)).copied().unwrap_or(false);
        let connection = group.connections.get(usize::from(link.number));
        Some(speaks && connection.is_some_and(|it| it.forward(body, &mut self.scratch)))
    }

    /// Sends a network-management message. When it cannot be sent, nobody will answer it.
    pub(crate) fn manage(&mut self, link: LinkId, body: &[u8]) {
        let group = self.groups.get(usize::from(link.issuer.0)).and_then(Option::as_ref);
        if let Some(it) = group.and_then(|it| it.connections.get(usize::from(link.number))) {
            it.forward(body, &mut self.scratch);
        }
    }

    /// Ends a link; it is made again after a pause.
    pub(crate) fn close(&mut self, link: LinkId, now_ns: u64) {
        if self.connection(link).is_some_and(|connection| connection.give_up(now_ns)) {
            self.events.push_back(LinkEvent::Down(link));
        }
    }

    /// Looks at the links on which something happened or is due.
    pub(crate) fn look(&mut self, now_ns: u64) {
        let is_due = self.next_due_ns.is_some_and(|due_ns| due_ns <= now_ns);
        if self.around.visits.is_empty() && !is_due {
            return;
        }
        self.around.visits.take(&mut self.visited);
        let Self { groups, around, events, visited, .. } = self;
        for (issuer, group) in (0..).map(IssuerId).zip(groups.iter_mut()) {
            let Some(Group { connections, acquirer, .. }) = group else { continue };
            for (number, connection) in (0..).zip(connections) {
                let link = LinkId { issuer, number };
                let due = connection.due_ns().is_some_and(|due_ns| due_ns <= now_ns);
                if !due && !visited.contains(&slot_of(link)) {
                    continue;
                }
                let (acquirer, framing) = (acquirer.unwrap_or_default(), connection.framing());
                connection.look(now_ns, around, |news| {
                    events.push_back(match news {
                        LinkNews::Up => LinkEvent::Up(link),
                        LinkNews::Down => LinkEvent::Down(link),
                        LinkNews::Read(buffer) => {
                            LinkEvent::Read(LinkRead { link, acquirer, framing, buffer })
                        }
                    });
                });
            }
        }
        self.find_next_due();
    }

    fn find_next_due(&mut self) {
        let connections = self.groups.iter().flatten().flat_map(|group| &group.connections);
        self.next_due_ns = connections.filter_map(IssuerConnection::due_ns).min();
    }

    /// The oldest event.
    #[inline]
    pub(crate) fn pop_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Gives bytes back, the first `consumed` of them dealt with; `None`: their framing is lost,
    /// and with it the link.
    pub(crate) fn give_back(&mut self, read: LinkRead, consumed: Option<usize>, now_ns: u64) {
        let LinkRead { link, buffer, .. } = read;
        let Self { groups, around, events, .. } = self;
        let Some(Some(group)) = groups.get_mut(usize::from(link.issuer.0)) else { return };
        let Some(connection) = group.connections.get_mut(usize::from(link.number)) else { return };
        if connection.give_back(buffer, consumed, (now_ns, around)) {
            events.push_back(LinkEvent::Down(link));
        }
    }

    /// The end: every link is shut down, and waited for.
    pub(crate) async fn end(&mut self) {
        for _ in 0..LAST_TURNS_MAX {
            let mut left = 0;
            let groups = self.groups.iter_mut().flatten();
            for connection in groups.flat_map(|group| &mut group.connections) {
                left += usize::from(!connection.end(&self.around));
            }
            if left == 0 {
                return;
            }
            engine::turn(self.around.engine).await;
        }
    }
}

/// Under which number a link visits the driver.
fn slot_of(link: LinkId) -> u16 {
    u16::from(link.issuer.0) * LINKS_MAX as u16 + u16::from(link.number)
}
