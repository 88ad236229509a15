//! The bytes of a data directory: names, headers, checks. Numbers are little-endian.
//!
//! ```text
//!   DIR/lock                     held by the process that writes
//!   DIR/generation-0001          all that was written under one layout (GEN)
//!   GEN/identity                 one block: version, id, shards, key check; then the layout
//!   GEN/shard-00/N.journal       a header block, then groups, each from a block's start
//!   GEN/shard-00/LSN.snapshot    a header block, then chunks, each from a block's start
//!   GEN/carried-00/0.snapshot    what shard 00 of the generation before left
//! ```
//!
//! A log sequence number (LSN) is the ordinal of a record: the first is 1, none is left out. A
//! group is one commit. Its check covers header and payload, and it names the check of the group
//! before it (`chain`), so that groups cannot be exchanged, left out or taken from elsewhere.
//!
//! Not here: reading and writing files.

use crc32c::{crc32c, crc32c_append};

/// Unit of every write: what direct I/O and the page cache agree on.
pub const BLOCK_BYTES: usize = 4_096;
/// Version of everything described here.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of a group's header; the payload follows.
pub(super) const GROUP_HEADER_BYTES: usize = 64;
/// Bytes of a snapshot chunk's header; the payload follows.
pub(super) const CHUNK_HEADER_BYTES: usize = 32;
/// Bytes of a snapshot chunk at most, its header included.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// How the names of files end.
pub(super) const SEGMENT_ENDING: &str = ".journal";
pub(super) const SNAPSHOT_ENDING: &str = ".snapshot";
/// What is being written, and is worth nothing until it is renamed.
pub(super) const UNFINISHED_ENDING: &str = ".unfinished";

const SEGMENT_MAGIC: [u8; 8] = *b"TAPSWSEG";
const GROUP_MAGIC: [u8; 8] = *b"TAPSWGRP";
const SNAPSHOT_MAGIC: [u8; 8] = *b"TAPSWSNP";
const IDENTITY_MAGIC: [u8; 8] = *b"TAPSWDIR";
const CHUNK_MAGIC: [u8; 4] = *b"CHNK";

/// Whose a file is. All of it must agree before a byte is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Drawn at random when the directory was made.
    pub directory: [u8; 16],
    /// What the caller derives from its card key.
    pub key_check: [u8; 8],
    /// The shard.
    pub shard: u32,
}

/// Why a block is not the header that it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotOurs {
    /// No header, or a damaged one.
    Invalid,
    /// A valid header of somebody else.
    Foreign(String),
}

/// Writes fields one after the other.
struct Fields<'b> {
    block: &'b mut [u8],
    at: usize,
}

impl<'b> Fields<'b> {
    fn new(block: &'b mut [u8]) -> Self {
        block.fill(0);
        Self { block, at: 0 }
    }

    fn put(&mut self, field: &[u8]) -> &mut Self {
        self.block[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
        self
    }

    /// The check of all that was put, after it.
    fn seal(&mut self) {
        let check = crc32c(&self.block[..self.at]);
        self.put(&check.to_le_bytes());
    }
}

fn array<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    let field = block.get(at..at + N).and_then(|field| field.try_into().ok());
    field.unwrap_or([0; N])
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(block, at))
}

fn u64_at(block: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(block, at))
}

/// Whether the check after `bytes` bytes is theirs.
fn sealed(block: &[u8], bytes: usize) -> bool {
    block.get(..bytes).is_some_and(|covered| crc32c(covered) == u32_at(block, bytes))
}

/// What segment and snapshot headers begin with: magic, version, shard, directory, key check.
const STAMPED_BYTES: usize = 40;

fn put_stamp(fields: &mut Fields<'_>, magic: [u8; 8], stamp: &Stamp) {
    fields.put(&magic).put(&FORMAT_VERSION.to_le_bytes()).put(&stamp.shard.to_le_bytes());
    fields.put(&stamp.directory).put(&stamp.key_check);
}

/// `bytes`: of the whole header, its check excluded.
fn check_stamp(block: &[u8], magic: [u8; 8], stamp: &Stamp, bytes: usize) -> Result<(), NotOurs> {
    if array::<8>(block, 0) != magic {
        return Err(NotOurs::Invalid);
    }
    // Asked before the check: another version may have it elsewhere.
    let version = u32_at(block, 8);
    if version != FORMAT_VERSION && sealed_anywhere(block) {
        let what = format!("format version {version}, this program writes {FORMAT_VERSION}");
        return Err(NotOurs::Foreign(what));
    }
    if !sealed(block, bytes) {
        return Err(NotOurs::Invalid);
    }
    let shard = u32_at(block, 12);
    let what = if array::<16>(block, 16) != stamp.directory {
        "written for another data directory".to_owned()
    } else if shard != stamp.shard {
        format!("written by shard {shard}")
    } else if array::<8>(block, 32) != stamp.key_check {
        "written with another card key".to_owned()
    } else {
        return Ok(());
    };
    Err(NotOurs::Foreign(what))
}

/// Whether some place of the block's start holds the check of what is before it: then another
/// version wrote it, and no bit was flipped in the version's number.
fn sealed_anywhere(block: &[u8]) -> bool {
    (STAMPED_BYTES..256).step_by(4).any(|bytes| sealed(block, bytes))
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u64,
    /// LSN of its first record.
    pub(super) first_lsn: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Check of the last group before it; 0 when there is none.
    pub(super) chain: u32,
}

impl SegmentHeader {
    const CHECKED_BYTES: usize = STAMPED_BYTES + 28;

    pub(super) fn write(&self, stamp: &Stamp, block: &mut [u8]) {
        let mut fields = Fields::new(block);
        put_stamp(&mut fields, SEGMENT_MAGIC, stamp);
        fields.put(&self.number.to_le_bytes()).put(&self.first_lsn.to_le_bytes());
        fields.put(&self.bytes.to_le_bytes()).put(&self.chain.to_le_bytes()).seal();
    }

    pub(super) fn read(stamp: &Stamp, block: &[u8]) -> Result<Self, NotOurs> {
        check_stamp(block, SEGMENT_MAGIC, stamp, Self::CHECKED_BYTES)?;
        Ok(Self {
            number: u64_at(block, 40),
            first_lsn: u64_at(block, 48),
            bytes: u64_at(block, 56),
            chain: u32_at(block, 64),
        })
    }
}

/// The start of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// Number of the segment that it is in.
    pub(super) segment: u64,
    /// LSN of its first record.
    pub(super) first_lsn: u64,
    /// Bytes of its records.
    pub(super) payload_bytes: u32,
    /// How many records.
    pub(super) records: u32,
    /// Check of the group before it.
    pub(super) chain: u32,
}

impl GroupHeader {
    const CHECKED_BYTES: usize = 60;

    /// Writes the header before its payload, which stands in `group` already, and returns the
    /// group's check.
    pub(super) fn write(&self, stamp: &Stamp, group: &mut [u8]) -> u32 {
        let (head, rest) = group.split_at_mut(GROUP_HEADER_BYTES);
        let mut fields = Fields::new(head);
        fields.put(&GROUP_MAGIC);
        fields.put(&self.payload_bytes.to_le_bytes()).put(&self.records.to_le_bytes());
        fields.put(&self.first_lsn.to_le_bytes()).put(&self.segment.to_le_bytes());
        fields.put(&stamp.directory).put(&stamp.shard.to_le_bytes());
        fields.put(&self.chain.to_le_bytes()).put(&[0; 4]);
        let payload = &rest[..self.payload_bytes as usize];
        let check = crc32c_append(crc32c(&head[..Self::CHECKED_BYTES]), payload);
        head[Self::CHECKED_BYTES..].copy_from_slice(&check.to_le_bytes());
        check
    }

    /// The header of a block that seems to begin a group of this shard. Nothing is proved yet: see
    /// [`GroupHeader::check_of`].
    pub(super) fn read(stamp: &Stamp, block: &[u8]) -> Option<Self> {
        let ours = block.len() >= GROUP_HEADER_BYTES
            && array::<8>(block, 0) == GROUP_MAGIC
            && array::<16>(block, 32) == stamp.directory
            && u32_at(block, 48) == stamp.shard;
        ours.then(|| Self {
            payload_bytes: u32_at(block, 8),
            records: u32_at(block, 12),
            first_lsn: u64_at(block, 16),
            segment: u64_at(block, 24),
            chain: u32_at(block, 52),
        })
    }

    /// Bytes of the group in its file, padding included.
    pub(super) fn padded_bytes(&self) -> u64 {
        padded_group_bytes(self.payload_bytes as usize) as u64
    }

    /// The check of a whole group when it is the one that it carries.
    pub(super) fn check_of(&self, group: &[u8]) -> Option<u32> {
        let head = group.get(..Self::CHECKED_BYTES)?;
        let end = GROUP_HEADER_BYTES + self.payload_bytes as usize;
        let payload = group.get(GROUP_HEADER_BYTES..end)?;
        let check = crc32c_append(crc32c(head), payload);
        (check == u32_at(group, Self::CHECKED_BYTES)).then_some(check)
    }
}

/// Bytes in a segment of a group with so much payload.
pub(super) fn padded_group_bytes(payload_bytes: usize) -> usize {
    (GROUP_HEADER_BYTES + payload_bytes).next_multiple_of(BLOCK_BYTES)
}

/// The first block of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMark {
    /// LSN of the last record whose effect is in it.
    pub lsn: u64,
    /// LSN of the first record that must be replayed over it.
    pub replay_from_lsn: u64,
}

impl SnapshotMark {
    const CHECKED_BYTES: usize = STAMPED_BYTES + 16;

    pub(super) fn write(&self, stamp: &Stamp, block: &mut [u8]) {
        let mut fields = Fields::new(block);
        put_stamp(&mut fields, SNAPSHOT_MAGIC, stamp);
        fields.put(&self.lsn.to_le_bytes()).put(&self.replay_from_lsn.to_le_bytes()).seal();
    }

    pub(super) fn read(stamp: &Stamp, block: &[u8]) -> Result<Self, NotOurs> {
        check_stamp(block, SNAPSHOT_MAGIC, stamp, Self::CHECKED_BYTES)?;
        Ok(Self { lsn: u64_at(block, 40), replay_from_lsn: u64_at(block, 48) })
    }
}

/// What a chunk of a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkKind {
    /// What the caller says of the whole; the first chunk.
    Header,
    /// A part of the table.
    Data,
    /// Nothing: the snapshot is complete.
    End,
}

/// The start of a chunk. Its check begins with the chunk before it, so that chunks cannot be
/// exchanged or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    pub(super) kind: ChunkKind,
    pub(super) payload_bytes: u32,
}

impl ChunkHeader {
    const CHECKED_BYTES: usize = CHUNK_HEADER_BYTES - 4;

    /// Writes the header before its payload and returns the check.
    pub(super) fn write(&self, before: u32, chunk: &mut [u8]) -> u32 {
        let (head, rest) = chunk.split_at_mut(CHUNK_HEADER_BYTES);
        let kind: u32 = match self.kind {
            ChunkKind::Header => 1,
            ChunkKind::Data => 2,
            ChunkKind::End => 3,
        };
        let mut fields = Fields::new(head);
        fields.put(&CHUNK_MAGIC).put(&kind.to_le_bytes());
        fields.put(&self.payload_bytes.to_le_bytes()).put(&before.to_le_bytes());
        let payload = &rest[..self.payload_bytes as usize];
        let check = crc32c_append(crc32c(&head[..Self::CHECKED_BYTES]), payload);
        head[Self::CHECKED_BYTES..].copy_from_slice(&check.to_le_bytes());
        check
    }

    pub(super) fn read(before: u32, block: &[u8]) -> Option<Self> {
        let kind = match u32_at(block, 4) {
            1 => ChunkKind::Header,
            2 => ChunkKind::Data,
            3 => ChunkKind::End,
            _ => return None,
        };
        let payload_bytes = u32_at(block, 8);
        let fits = payload_bytes as usize <= CHUNK_BYTES - CHUNK_HEADER_BYTES;
        let ours = fits && array::<4>(block, 0) == CHUNK_MAGIC && u32_at(block, 12) == before;
        ours.then_some(Self { kind, payload_bytes })
    }

    pub(super) fn padded_bytes(&self) -> usize {
        (CHUNK_HEADER_BYTES + self.payload_bytes as usize).next_multiple_of(BLOCK_BYTES)
    }

    pub(super) fn check_of(&self, chunk: &[u8]) -> Option<u32> {
        let head = chunk.get(..Self::CHECKED_BYTES)?;
        let end = CHUNK_HEADER_BYTES + self.payload_bytes as usize;
        let check = crc32c_append(crc32c(head), chunk.get(CHUNK_HEADER_BYTES..end)?);
        (check == u32_at(chunk, Self::CHECKED_BYTES)).then_some(check)
    }
}

/// What a data directory says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn at random when it was made.
    pub directory: [u8; 16],
    /// What its maker derived from its card key.
    pub key_check: [u8; 8],
    /// Shards that write to it.
    pub shards: u32,
}

impl Identity {
    pub(super) fn write(&self, block: &mut [u8]) {
        let mut fields = Fields::new(block);
        let stamp = self.stamp(self.shards);
        put_stamp(&mut fields, IDENTITY_MAGIC, &stamp);
        fields.seal();
    }

    pub(super) fn read(block: &[u8]) -> Result<Self, NotOurs> {
        let identity = Self {
            shards: u32_at(block, 12),
            directory: array(block, 16),
            key_check: array(block, 32),
        };
        let stamp = identity.stamp(identity.shards);
        check_stamp(block, IDENTITY_MAGIC, &stamp, STAMPED_BYTES).map(|()| identity)
    }

    /// Whose the files of a shard are.
    #[must_use]
    pub fn stamp(&self, shard: u32) -> Stamp {
        Stamp { directory: self.directory, key_check: self.key_check, shard }
    }
}

/// The name of a segment or snapshot.
pub(super) fn file_name(number: u64, ending: &str) -> String {
    format!("{number:020}{ending}")
}

/// The number in a name that ends so; `None` for other files.
pub(super) fn number_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The folder of a shard inside a generation.
pub(super) fn shard_folder(shard: u32) -> String {
    format!("shard-{shard:02}")
}

/// The folder of what a shard of the generation before left.
pub(super) fn carried_folder(shard: u32) -> String {
    format!("carried-{shard:02}")
}

const GENERATION: &str = "generation-";

/// The folder of a generation inside the data directory.
pub(super) fn generation_folder(number: u64) -> String {
    format!("{GENERATION}{number:04}")
}

/// The number of the generation of this name; `None` for other names.
pub(super) fn generation_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(GENERATION)?.parse().ok()?;
    (generation_folder(number) == name).then_some(number)
}
