//! How groups form: records are appended to one buffer while the other is on its way to the disk.
//!
//! Pure: what shall be written comes out as a [`Commit`], and comes back when it is durable. A
//! record is accepted only when its place on the disk is certain: in the segment in use, or in one
//! that lies ready.
//!
//! Not here: when a commit starts, the disk (`shard_journal`, `device`).

use super::aligned::AlignedBuffer;
use super::layout::{
    BLOCK_BYTES, GROUP_HEADER_BYTES, GroupHeader, SegmentHeader, Stamp, padded_group_bytes,
};

/// A place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of the segment.
    pub(super) segment: u64,
    /// Where the next group begins.
    pub(super) offset: u64,
    /// Bytes of the segment.
    pub(super) bytes: u64,
}

impl Position {
    fn room(&self) -> u64 {
        self.bytes - self.offset
    }
}

/// Where a journal goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) stamp: Stamp,
    /// `None`: with the next segment.
    pub(super) position: Option<Position>,
    pub(super) last_lsn: u64,
    pub(super) chain: u32,
}

/// A group on its way to the disk.
#[derive(Debug)]
pub(super) struct Commit {
    /// A segment begins: this block goes to its start, and is durable before the group is written.
    pub(super) header: Option<AlignedBuffer>,
    pub(super) group: AlignedBuffer,
    /// How much of `group` is to be written.
    pub(super) bytes: usize,
    pub(super) segment: u64,
    /// Where in the segment.
    pub(super) offset: u64,
}

/// A segment that lies ready: zeros on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadySegment {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

/// The groups of one shard.
#[derive(Debug)]
pub(super) struct Groups {
    stamp: Stamp,
    position: Option<Position>,
    /// The records that wait, behind room for their header.
    forming: AlignedBuffer,
    forming_bytes: usize,
    /// The other buffer, unless it is being written.
    spare: Option<AlignedBuffer>,
    /// Bytes of the records being written.
    written_bytes: usize,
    /// For the next segment's header, unless it is being written.
    header: Option<AlignedBuffer>,
    last_lsn: u64,
    written_lsn: u64,
    durable_lsn: u64,
    chain: u32,
}

impl Groups {
    /// `buffer_bytes`: of each of the two buffers, which is what a group takes at most.
    pub(super) fn new(start: &Start, buffer_bytes: usize) -> Self {
        Self {
            stamp: start.stamp,
            position: start.position,
            forming: AlignedBuffer::new(buffer_bytes),
            forming_bytes: 0,
            spare: Some(AlignedBuffer::new(buffer_bytes)),
            written_bytes: 0,
            header: Some(AlignedBuffer::new(BLOCK_BYTES)),
            last_lsn: start.last_lsn,
            written_lsn: start.last_lsn,
            durable_lsn: start.last_lsn,
            chain: start.chain,
        }
    }

    /// Whether records of so many bytes can be appended now. `next_is_ready`: whether there is a
    /// segment to go on with when the one in use is full.
    #[inline]
    pub(super) fn has_room(&self, bytes: usize, next_is_ready: impl FnOnce() -> bool) -> bool {
        let payload = self.forming_bytes + bytes;
        let fits_buffer = GROUP_HEADER_BYTES + payload <= self.forming.len();
        fits_buffer && (self.fits_segment(payload) || next_is_ready())
    }

    fn fits_segment(&self, payload_bytes: usize) -> bool {
        let padded = padded_group_bytes(payload_bytes) as u64;
        self.position.is_some_and(|position| padded <= position.room())
    }

    /// Appends whole records and returns the LSN of the last. The bytes of one call stay in one
    /// group.
    pub(super) fn append(&mut self, records: &[u8], count: u32) -> u64 {
        assert!(count > 0, "Invariant: an LSN is a record's");
        let from = GROUP_HEADER_BYTES + self.forming_bytes;
        let room = self.forming.get_mut(from..from + records.len());
        let room = room.expect("Invariant: the caller asked for room");
        room.copy_from_slice(records);
        self.forming_bytes += records.len();
        self.last_lsn += u64::from(count);
        self.last_lsn
    }

    /// Whether a commit is under way.
    pub(super) fn is_writing(&self) -> bool {
        self.spare.is_none()
    }

    /// Whether records wait for their commit to start.
    pub(super) fn has_waiting(&self) -> bool {
        self.written_lsn < self.last_lsn
    }

    /// Closes the group that forms, when there is one and none is being written. `next` gives the
    /// segment to go on with when the one in use is full; [`Groups::has_room`] saw to it that there
    /// is one.
    pub(super) fn seal(&mut self, next: impl FnOnce() -> Option<ReadySegment>) -> Option<Commit> {
        if !self.has_waiting() {
            return None;
        }
        let spare = self.spare.take()?;
        let header = if self.fits_segment(self.forming_bytes) {
            None
        } else {
            let ready = next().expect("Invariant: no record is accepted without a segment");
            Some(self.begin_segment(ready))
        };
        let position = self.position.as_mut().expect("Invariant: there is a segment now");
        let bytes = padded_group_bytes(self.forming_bytes);
        let group = GroupHeader {
            segment: position.segment,
            first_lsn: self.written_lsn + 1,
            payload_bytes: self.forming_bytes as u32,
            records: (self.last_lsn - self.written_lsn) as u32,
            chain: self.chain,
        };
        let mut forming = std::mem::replace(&mut self.forming, spare);
        forming[GROUP_HEADER_BYTES + self.forming_bytes..bytes].fill(0);
        self.chain = group.write(&self.stamp, &mut forming);
        let (segment, offset) = (position.segment, position.offset);
        position.offset += bytes as u64;
        self.written_lsn = self.last_lsn;
        self.written_bytes = std::mem::take(&mut self.forming_bytes);
        Some(Commit { header, group: forming, bytes, segment, offset })
    }

    fn begin_segment(&mut self, ready: ReadySegment) -> AlignedBuffer {
        let mut block = self.header.take().expect("Invariant: no other segment is beginning");
        let first_lsn = self.written_lsn + 1;
        let ReadySegment { number, bytes } = ready;
        let header = SegmentHeader { number, first_lsn, bytes, chain: self.chain };
        header.write(&self.stamp, &mut block);
        self.position = Some(Position { segment: number, offset: BLOCK_BYTES as u64, bytes });
        block
    }

    /// A commit is durable: its buffers come back. Tells how many bytes of records it had.
    pub(super) fn on_durable(
        &mut self,
        group: AlignedBuffer,
        header: Option<AlignedBuffer>,
    ) -> usize {
        assert!(self.is_writing(), "Invariant: only what was written becomes durable");
        self.spare = Some(group);
        if header.is_some() {
            self.header = header;
        }
        self.durable_lsn = self.written_lsn;
        std::mem::take(&mut self.written_bytes)
    }

    /// I-18, once a cycle: what is durable was written before, and what was written was appended.
    #[inline]
    pub(super) fn assert_in_order(&self) {
        assert!(
            self.durable_lsn <= self.written_lsn && self.written_lsn <= self.last_lsn,
            "Invariant: durable LSN <= written LSN <= last LSN"
        );
    }

    pub(super) fn last_lsn(&self) -> u64 {
        self.last_lsn
    }

    pub(super) fn written_lsn(&self) -> u64 {
        self.written_lsn
    }

    pub(super) fn durable_lsn(&self) -> u64 {
        self.durable_lsn
    }

    /// Bytes of records that are not durable yet.
    pub(super) fn undurable_bytes(&self) -> usize {
        self.forming_bytes + self.written_bytes
    }

    /// Bytes left in the segment in use.
    pub(super) fn segment_room(&self) -> u64 {
        self.position.map_or(0, |position| position.room())
    }
}
