//! A place at the desk: one link to a switch, from the moment at which its first connection is wanted.
//!
//! ```text
//!   Listens    accepted ──────────────────────────▶ serves ──lost──▶ closing ──▶ the place is free
//!   Pairs      accepted ──▶ calls for the answers ─▶ serves ──lost──▶ closing ──▶ the place is free
//!   Connects   calls ─────────────────────────────▶ serves ──lost──▶ closing ──▶ calls again
//! ```
//!
//! Not here: frames and answers (`desk`).

use super::accepting::Site;
use super::call::Call;
use super::session::Session;
use super::waiting::Tenant;
use crate::io::buffer_pool::BufferPool;
use crate::io::duplex::{Connection, WriteStage};
use crate::io::lines::Lines;
use crate::io::read_buffer::ReadBuffer;
use std::rc::Rc;

/// A link that is served, or is to be.
pub(super) struct Served {
    pub(super) site: Rc<Site>,
    /// Which bank's, by its site's place.
    pub(super) place: usize,
    pub(super) tenant: Tenant,
    /// It serves: answers leave by the first line, requests come by the other. `None`: something of it
    /// is still to be made.
    lines: Option<Lines>,
    /// Requests will come by it, once there is a connection for their answers.
    accepted: Option<Rc<Connection>>,
    /// The connection that the bank makes for it.
    pub(super) call: Option<Call>,
    /// What was read and must wait.
    pub(super) parked: Option<ReadBuffer>,
    pub(super) session: Session,
    is_closing: bool,
}

impl Served {
    /// A place for a link of this bank that is still to be made.
    pub(super) fn new(
        (site, place): (Rc<Site>, usize),
        tenant: Tenant,
        call: Option<Call>,
    ) -> Self {
        Self {
            site,
            place,
            tenant,
            lines: None,
            accepted: None,
            call,
            parked: None,
            session: Session::default(),
            is_closing: false,
        }
    }

    /// The switch has connected. What is asked on it waits for the line that its answers need.
    pub(super) fn accept(&mut self, connection: Rc<Connection>) {
        match self.call {
            Some(_) => self.accepted = Some(connection),
            None => self.lines = Some(Lines::new(connection, None)),
        }
    }

    /// The bank's own connection is made: it serves.
    pub(super) fn join(&mut self, made: Rc<Connection>) {
        self.lines = Some(Lines::new(made, self.accepted.take()));
    }

    /// Its lines, while it serves.
    pub(super) fn serving(&self) -> Option<&Lines> {
        self.lines.as_ref().filter(|_| !self.is_closing)
    }

    /// The visit takes place. What was read, if anything.
    pub(super) fn visit(&mut self, pool: &BufferPool) -> Option<ReadBuffer> {
        if let Some(accepted) = &self.accepted {
            accepted.visited();
            let is_broken =
                accepted.read_end().is_some() || accepted.write_stage() != WriteStage::Open;
            if is_broken {
                self.close(pool);
            }
            return None;
        }
        let lines = self.serving()?;
        let read = lines.visit();
        if !lines.is_broken() {
            return read;
        }
        // A switch that ends its half has ended: nobody reads answers any more.
        if let Some(buffer) = read {
            buffer.give(pool);
        }
        self.close(pool);
        None
    }

    /// Ends what there is of it.
    pub(super) fn close(&mut self, pool: &BufferPool) {
        if let Some(buffer) = self.parked.take() {
            buffer.give(pool);
        }
        if let Some(accepted) = self.accepted.take() {
            self.lines = Some(Lines::new(accepted, None));
        }
        if let Some(lines) = &self.lines {
            lines.abort();
            self.is_closing = true;
        }
    }

    /// After the end: whether nothing of it is left. What was never written is dropped.
    pub(super) fn has_ended(&mut self, pool: &BufferPool) -> bool {
        let ended =
            self.is_closing && self.lines.as_ref().is_none_or(|lines| lines.have_ended(pool));
        if ended {
            self.lines = None;
        }
        ended
    }

    /// It has ended: whether the bank makes it again, which this begins. `tenant`: whose place it is from
    /// now on.
    pub(super) fn begin_anew(&mut self, now_ns: u64, tenant: Tenant) -> bool {
        let Some(call) = self.call.as_mut().filter(|_| self.site.calls > 0) else { return false };
        call.lost(now_ns);
        (self.tenant, self.session, self.is_closing) = (tenant, Session::default(), false);
        true
    }

    /// The last turns: what waits is written, then it is ended. Whether nothing of it is left.
    pub(super) fn end(&mut self, may_write: bool, pool: &BufferPool) -> bool {
        self.call = None;
        if let Some(buffer) = self.parked.take() {
            buffer.give(pool);
        }
        let may_write = may_write && !self.is_closing;
        match self.serving().filter(|lines| may_write && lines.out().waiting() > 0) {
            Some(lines) => {
                lines.finish(pool);
                false
            }
            None => {
                self.close(pool);
                self.lines.is_none() || self.has_ended(pool)
            }
        }
    }
}
