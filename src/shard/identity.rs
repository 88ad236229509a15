//! Who and when: the identifiers that cross the seam between deciding and I/O, and time as a value.

/// A moment, given to the shard from outside. Neither part ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic nanoseconds: deadlines.
    pub mono_ns: u64,
    /// UTC milliseconds since 1970: velocity windows, DE 7.
    pub wall_ms: u64,
}

/// A shard of this process, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardId(pub u8);

/// An issuer, by its place in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct IssuerId(pub u8);

/// One of a shard's links to an issuer: its place among them. An issuer whose bank lives in this
/// process has one, number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    /// Whose.
    pub issuer: IssuerId,
    /// Below `limits::LINKS_MAX`.
    pub number: u8,
}

impl From<IssuerId> for LinkId {
    fn from(issuer: IssuerId) -> Self {
        Self { issuer, number: 0 }
    }
}

/// An acquirer profile, by its place in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcquirerId(pub u8);

/// One TCP connection of an acquirer: a slot of its shard, and which use of that slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionId {
    /// The shard that reads and writes it.
    pub shard: ShardId,
    /// Whose listener it came to.
    pub acquirer: AcquirerId,
    /// Its slot there.
    pub slot: u16,
    /// Counts the uses of the slot, so that an answer never reaches a later connection.
    pub generation: u32,
}

/// What stands for a card in memory: its PAN enciphered under the process's key. It is exact (no
/// collisions that an attacker could choose) and not printable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CardKey(pub [u8; 16]);

impl CardKey {
    /// Of [`CardKey::words`].
    pub(in crate::shard) fn of_words([low, high]: [u64; 2]) -> Self {
        Self((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
    }

    /// Bits for placement and table places.
    #[inline]
    #[must_use]
    pub fn hash(&self) -> u64 {
        let [low, _] = self.words();
        low
    }

    /// Both halves.
    #[inline]
    #[must_use]
    pub fn words(&self) -> [u64; 2] {
        let number = u128::from_le_bytes(self.0);
        [number as u64, (number >> 64) as u64]
    }
}
