//! What a link is made of: one connection for both directions, or one for each, which live and die
//! together. The switch's end and the bank's are the same, turned round.

use crate::io::buffer_pool::BufferPool;
use crate::io::duplex::{Connection, WriteStage};
use crate::io::read_buffer::ReadBuffer;
use std::rc::Rc;

/// The connections of one link.
#[derive(Clone)]
pub(crate) struct Lines {
    /// What this end says leaves by it.
    out: Rc<Connection>,
    /// What the other end says comes by it; `None`: by the same.
    back: Option<Rc<Connection>>,
}

impl Lines {
    pub(crate) fn new(out: Rc<Connection>, back: Option<Rc<Connection>>) -> Self {
        Self { out, back }
    }

    /// The other direction is made too.
    pub(crate) fn with_back(self, back: Rc<Connection>) -> Self {
        Self { back: Some(back), ..self }
    }

    /// While the other direction is missing nothing is read.
    pub(crate) fn visit_unread(&self) {
        self.out.visited();
        self.drop_read();
    }

    /// What comes by the direction that is not read is no message of this link.
    fn drop_read(&self) {
        if let Some(mut buffer) = self.out.take_filled() {
            buffer.consume(buffer.filled().len());
            self.out.give(buffer);
        }
    }

    pub(crate) fn out(&self) -> &Connection {
        &self.out
    }

    /// The connection that is read.
    pub(crate) fn reader(&self) -> &Connection {
        self.back.as_ref().unwrap_or(&self.out)
    }

    fn each(&self) -> impl Iterator<Item = &Rc<Connection>> {
        std::iter::once(&self.out).chain(&self.back)
    }

    /// The visit takes place. Bytes that were read, if there are any.
    pub(crate) fn visit(&self) -> Option<ReadBuffer> {
        self.each().for_each(|connection| connection.visited());
        if self.back.is_some() {
            self.drop_read();
        }
        self.reader().take_filled()
    }

    /// Whether one of them has ended, and with it the link.
    pub(crate) fn is_broken(&self) -> bool {
        self.each().any(|it| it.read_end().is_some() || it.write_stage() != WriteStage::Open)
    }

    pub(crate) fn abort(&self) {
        self.each().for_each(|connection| connection.abort());
    }

    /// The end: what waits is written; what still comes is dropped.
    pub(crate) fn finish(&self, pool: &BufferPool) {
        for connection in self.each() {
            connection.visited();
            discard(connection, pool);
        }
        self.out.finish();
    }

    /// After the abort: drops what still comes, and what was never written. Whether both have ended.
    pub(crate) fn have_ended(&self, pool: &BufferPool) -> bool {
        for connection in self.each() {
            connection.visited();
            discard(connection, pool);
        }
        let ended = self.each().all(|connection| connection.has_ended());
        if ended {
            for connection in self.each() {
                for (buffer, _) in connection.take_unwritten().into_iter().flatten() {
                    pool.give_after_writing(buffer);
                }
            }
        }
        ended
    }
}

/// What a closing link still brings is of no use: the shard has been told that it is lost.
pub(crate) fn discard(connection: &Connection, pool: &BufferPool) {
    if let Some(buffer) = connection.take_filled() {
        buffer.give(pool);
        connection.stop_reading();
    }
}
