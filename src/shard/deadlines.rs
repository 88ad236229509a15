//! Deadlines of numbered things: a timer wheel of ticks of about four milliseconds.
//!
//! A deadline is rounded up to its tick, so nothing fires early and nothing later than one tick. The
//! wheel spans more than 30 seconds; a later deadline waits in its last slot and is filed again when
//! that comes up. Setting and cancelling are a few writes, whatever the number of deadlines; an
//! occupancy bitmap finds the next one.
//!
//! Not here: what a deadline means; the clock.

/// Nanoseconds of a tick: 2^22, about 4.2 milliseconds.
const TICK_NS: u64 = 1 << TICK_BITS;
const TICK_BITS: u32 = 22;
/// Slots of the wheel, one a tick: about 34 seconds.
const SLOTS: usize = 8_192;
const SLOT_MASK: u64 = SLOTS as u64 - 1;
/// Words of the occupancy bitmap; a bit of the summary stands for each.
const WORDS: usize = SLOTS / 64;

const _: () = assert!(SLOTS as u64 * TICK_NS > 30_000_000_000);
const _: () = assert!(WORDS == u128::BITS as usize);

/// No entry.
const NONE: u32 = u32::MAX;

/// A deadline, in the ring of those of its slot.
#[derive(Clone, Copy)]
struct Entry {
    next: u32,
    previous: u32,
    /// When it is due.
    tick: u64,
    /// The slot it is filed in; [`NONE`] when it is not set.
    slot: u32,
}

const UNSET: Entry = Entry { next: NONE, previous: NONE, tick: 0, slot: NONE };

/// At most one deadline for each id below a capacity.
pub struct Deadlines {
    entries: Box<[Entry]>,
    /// The first entry of each slot; its previous one is the slot's last.
    heads: Box<[u32]>,
    occupied: Box<[u64; WORDS]>,
    /// Which words of `occupied` are not zero.
    summary: u128,
    /// Every deadline is filed at this tick or later. Never beyond the tick of `now_ns`.
    cursor: u64,
    /// The latest time seen.
    now_ns: u64,
    set: usize,
}

impl Deadlines {
    /// For the ids below `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        assert!(capacity < NONE as usize, "Invariant: ids are 32 bits");
        Self {
            entries: vec![UNSET; capacity].into_boxed_slice(),
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            occupied: Box::new([0; WORDS]),
            summary: 0,
            cursor: 0,
            now_ns: 0,
            set: 0,
        }
    }

    /// Sets the deadline of `id`, in place of a former one. One that is past fires at once.
    #[inline]
    pub fn set(&mut self, id: u32, at_ns: u64) {
        self.cancel(id);
        // Rounded up; what is past already must not wait for the end of its tick.
        let tick = if at_ns <= self.now_ns { self.cursor } else { at_ns.div_ceil(TICK_NS) };
        self.file(id, tick);
        self.set += 1;
    }

    /// Takes the deadline of `id` away, if it has one.
    #[inline]
    pub fn cancel(&mut self, id: u32) {
        if self.entries[id as usize].slot != NONE {
            self.unfile(id);
            self.set -= 1;
        }
    }

    /// Takes out one id whose deadline is over, the earliest tick first. To be called until there is
    /// none. Time that goes back stands still instead.
    #[inline]
    pub fn pop_due(&mut self, now_ns: u64) -> Option<u32> {
        self.now_ns = self.now_ns.max(now_ns);
        let now_tick = self.now_ns >> TICK_BITS;
        loop {
            let Some(tick) = self.first_occupied() else {
                self.cursor = now_tick;
                return None;
            };
            if tick > now_tick {
                self.cursor = now_tick;
                return None;
            }
            self.cursor = tick;
            let id = self.heads[(tick & SLOT_MASK) as usize];
            let due = self.entries[id as usize].tick;
            self.unfile(id);
            if due <= tick {
                self.set -= 1;
                return Some(id);
            }
            // It lay beyond the wheel's span.
            self.file(id, due);
        }
    }

    /// When [`Deadlines::pop_due`] is to be called again: then, or up to one tick earlier, the next
    /// deadline is over. Earlier than that only for deadlines beyond the wheel's span. `None` when
    /// there are none.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.first_occupied().map(|tick| tick << TICK_BITS)
    }

    /// How many ids have a deadline.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set
    }

    /// Whether no id has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Files an unset entry at the end of its slot.
    #[inline]
    fn file(&mut self, id: u32, tick: u64) {
        let filed = tick.clamp(self.cursor, self.cursor + SLOT_MASK);
        let slot = (filed & SLOT_MASK) as usize;
        let head = self.heads[slot];
        let mut entry = Entry { next: id, previous: id, tick, slot: slot as u32 };
        if head == NONE {
            self.heads[slot] = id;
            self.occupied[slot / 64] |= 1 << (slot % 64);
            self.summary |= 1 << (slot / 64);
        } else {
            let last = self.entries[head as usize].previous;
            entry.next = head;
            entry.previous = last;
            self.entries[last as usize].next = id;
            self.entries[head as usize].previous = id;
        }
        self.entries[id as usize] = entry;
    }

    /// Takes a filed entry out of its slot.
    #[inline]
    fn unfile(&mut self, id: u32) {
        let Entry { next, previous, slot, .. } = self.entries[id as usize];
        self.entries[id as usize] = UNSET;
        let slot = slot as usize;
        if next == id {
            self.heads[slot] = NONE;
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            if self.occupied[slot / 64] == 0 {
                self.summary &= !(1 << (slot / 64));
            }
            return;
        }
        self.entries[previous as usize].next = next;
        self.entries[next as usize].previous = previous;
        if self.heads[slot] == id {
            self.heads[slot] = next;
        }
    }

    /// The tick of the first occupied slot, from the cursor on.
    #[inline]
    fn first_occupied(&self) -> Option<u64> {
        let begin = (self.cursor & SLOT_MASK) as usize;
        let (word, bit) = (begin / 64, begin % 64);
        let here = self.occupied[word] >> bit;
        if here != 0 {
            return Some(self.cursor + u64::from(here.trailing_zeros()));
        }
        // The words behind it, round the end, and at last the first bits of its own.
        let words = self.summary.rotate_right(word as u32 + 1);
        if words == 0 {
            return None;
        }
        let further = words.trailing_zeros() as usize + 1;
        let found = self.occupied[(word + further) % WORDS];
        let steps = further * 64 - bit + found.trailing_zeros() as usize;
        Some(self.cursor + steps as u64)
    }
}

#[cfg(test)]
mod tests;
