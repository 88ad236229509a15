//! A shard's links to the issuers that are reached over TCP, and their news for the driver.
//!
//! Not here: one link's life (`issuer_connection`), issuers whose banks live in this process
//! (`bank_port`).

use super::buffer_pool::BufferPool;
use super::engine::{self, Engine};
use super::issuer_connection::{IssuerConnection, LinkNews, LinkSurroundings};
use super::read_buffer::ReadBuffer;
use super::visits::Visits;
use crate::config::Config;
use crate::limits::FRAME_BYTES_MAX;
use crate::shard::{AcquirerId, IssuerId, ShardId};
use std::collections::VecDeque;
use std::rc::Rc;
use tapswitch_protocol::Framing;

/// Turns of the engine that ending links are waited for: operations that were shut down complete
/// within a few.
const LAST_TURNS_MAX: usize = 1_000;

struct Link {
    connection: IssuerConnection,
    /// As whose messages its answers are read: some acquirer's of its dialect.
    acquirer: Option<AcquirerId>,
    /// By acquirer: whether the dialect is the link's.
    speaks: Vec<bool>,
}

/// What happened on a link, in order.
pub(crate) enum LinkEvent {
    /// It is made.
    Up(IssuerId),
    /// It is lost.
    Down(IssuerId),
    /// Bytes were read. Give them back with [`IssuerLinks::give_back`].
    Read(LinkRead),
}

/// Bytes that an issuer sent.
pub(crate) struct LinkRead {
    pub(crate) issuer: IssuerId,
    /// As whose messages they are read.
    pub(crate) acquirer: AcquirerId,
    pub(crate) framing: Framing,
    pub(crate) buffer: ReadBuffer,
}

/// The links of one shard.
pub(crate) struct IssuerLinks {
    /// By issuer.
    links: Vec<Option<Link>>,
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
        engine: Engine,
        pool: &Rc<BufferPool>,
    ) -> Self {
        let issuers = (0..).zip(&config.issuers);
        let links: Vec<Option<Link>> = issuers
            .map(|(place, issuer)| {
                let link = issuer.link.as_ref()?;
                let name = link.dialect.name();
                let dialects = config.acquirers.iter().map(|acquirer| acquirer.dialect.name());
                let speaks: Vec<bool> = dialects.map(|dialect| dialect == name).collect();
                let same = speaks.iter().position(|&same| same);
                let spread = u64::from(shard.0) << 16 | u64::from(place);
                Some(Link {
                    connection: IssuerConnection::new(place, link, spread),
                    acquirer: same.map(|place| AcquirerId(place as u8)),
                    speaks,
                })
            })
            .collect();
        let around = LinkSurroundings { engine, visits: Rc::default(), pool: Rc::clone(pool) };
        let next_due_ns = links.iter().flatten().next().map(|_| 0);
        let scratch = Box::new([0; FRAME_BYTES_MAX]);
        let (events, visited) = (VecDeque::new(), Vec::new());
        Self { links, around, events, visited, next_due_ns, scratch }
    }

    pub(crate) fn visits(&self) -> &Rc<Visits> {
        &self.around.visits
    }

    /// When something is to be done if nothing happens.
    #[inline]
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.next_due_ns
    }

    /// Sends a message to an issuer; `Some(false)` when it cannot be sent now, `None` when this
    /// issuer is not reached over TCP.
    #[inline]
    pub(crate) fn forward(
        &mut self,
        issuer: IssuerId,
        acquirer: AcquirerId,
        body: &[u8],
    ) -> Option<bool> {
        let link = self.links.get(usize::from(issuer.0))?.as_ref()?;
        let speaks = link.speaks.get(usize::from(acquirer.0)).copied().unwrap_or(false);
        Some(speaks && link.connection.forward(body, &mut self.scratch))
    }

    /// Looks at the links on which something happened or is due.
    pub(crate) fn look(&mut self, now_ns: u64) {
        let is_due = self.next_due_ns.is_some_and(|due_ns| due_ns <= now_ns);
        if self.around.visits.is_empty() && !is_due {
            return;
        }
        self.around.visits.take(&mut self.visited);
        let Self { links, around, events, visited, .. } = self;
        for (slot, link) in (0..).zip(links.iter_mut()) {
            let Some(link) = link else { continue };
            let due = link.connection.due_ns().is_some_and(|due_ns| due_ns <= now_ns);
            if due || visited.contains(&slot) {
                // Below ISSUERS_MAX.
                let (issuer, acquirer) = (IssuerId(slot as u8), link.acquirer.unwrap_or_default());
                let framing = link.connection.framing();
                link.connection.look(now_ns, around, |news| {
                    events.push_back(match news {
                        LinkNews::Up => LinkEvent::Up(issuer),
                        LinkNews::Down => LinkEvent::Down(issuer),
                        LinkNews::Read(buffer) => {
                            LinkEvent::Read(LinkRead { issuer, acquirer, framing, buffer })
                        }
                    });
                });
            }
        }
        self.find_next_due();
    }

    fn find_next_due(&mut self) {
        let due = self.links.iter().flatten().filter_map(|link| link.connection.due_ns());
        self.next_due_ns = due.min();
    }

    /// The oldest event.
    #[inline]
    pub(crate) fn pop_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Gives bytes back, the first `consumed` of them dealt with; `None`: their framing is lost,
    /// and with it the link.
    pub(crate) fn give_back(&mut self, read: LinkRead, consumed: Option<usize>, now_ns: u64) {
        let LinkRead { issuer, buffer, .. } = read;
        let Some(Some(link)) = self.links.get_mut(usize::from(issuer.0)) else { return };
        if link.connection.give_back(buffer, consumed, (now_ns, &self.around)) {
            self.events.push_back(LinkEvent::Down(issuer));
        }
    }

    /// The end: every link is shut down, and waited for.
    pub(crate) async fn end(&mut self) {
        for _ in 0..LAST_TURNS_MAX {
            let mut left = 0;
            for link in self.links.iter_mut().flatten() {
                left += usize::from(!link.connection.end(&self.around));
            }
            if left == 0 {
                return;
            }
            engine::turn(self.around.engine).await;
        }
    }
}
