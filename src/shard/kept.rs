//! Slots for what a pending request or an owed reversal keeps of its message: three sizes, bounded,
//! allocated at start. Slots are reused last in, first out, so few pages are ever touched.

/// Bytes of the slots of each size class.
pub(super) const SLOT_BYTES: [usize; 3] = [256, 512, 2_048];

/// Which slot, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeptRef {
    class: u8,
    bytes: u16,
    slot: u32,
}

impl KeptRef {
    /// Nothing is kept yet.
    pub(super) const NONE: Self = Self { class: u8::MAX, bytes: 0, slot: 0 };
}

struct Class {
    slots: Vec<u8>,
    free: Vec<u32>,
    untouched: u32,
    count: u32,
}

/// The slots.
pub(super) struct Kept {
    classes: [Class; 3],
}

impl Kept {
    /// Room for `count` messages of any size. The memory is zeroed by the system on first touch.
    pub(super) fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let class = |bytes: usize| Class {
            slots: vec![0; bytes * count as usize],
            free: Vec::with_capacity(count as usize),
            untouched: 0,
            count,
        };
        Self { classes: SLOT_BYTES.map(class) }
    }

    /// Keeps these bytes (the parts one after another); `None` when full or longer than any slot.
    pub(super) fn store(&mut self, head: &[u8], tail: &[u8]) -> Option<KeptRef> {
        let bytes = head.len() + tail.len();
        let class = SLOT_BYTES.iter().position(|&size| bytes <= size)?;
        let size = *SLOT_BYTES.get(class)?;
        let pool = self.classes.get_mut(class)?;
        let slot = match pool.free.pop() {
            Some(slot) => slot,
            None if pool.untouched < pool.count => {
                pool.untouched += 1;
                pool.untouched - 1
            }
            None => return None,
        };
        let start = slot as usize * size;
        let room = pool.slots.get_mut(start..start + bytes)?;
        let (first, second) = room.split_at_mut(head.len());
        first.copy_from_slice(head);
        second.copy_from_slice(tail);
        Some(KeptRef { class: class as u8, bytes: bytes as u16, slot })
    }

    /// The bytes.
    #[inline]
    pub(super) fn get(&self, kept: KeptRef) -> &[u8] {
        let class = usize::from(kept.class);
        let start = kept.slot as usize * SLOT_BYTES.get(class).copied().unwrap_or_default();
        let end = start + usize::from(kept.bytes);
        self.classes.get(class).and_then(|pool| pool.slots.get(start..end)).unwrap_or_default()
    }

    /// Overwrites the first bytes.
    pub(super) fn patch(&mut self, kept: KeptRef, head: &[u8]) {
        let class = usize::from(kept.class);
        let start = kept.slot as usize * SLOT_BYTES.get(class).copied().unwrap_or_default();
        let end = start + head.len().min(usize::from(kept.bytes));
        if let Some(room) =
            self.classes.get_mut(class).and_then(|pool| pool.slots.get_mut(start..end))
            && room.len() == head.len()
        {
            room.copy_from_slice(head);
        }
    }

    /// Gives the slot back. Each kept message is freed once, by whoever holds its reference.
    pub(super) fn free(&mut self, kept: KeptRef) {
        if let Some(pool) = self.classes.get_mut(usize::from(kept.class)) {
            assert!(
                pool.free.len() < pool.count as usize,
                "Invariant: a kept message is freed at most once"
            );
            pool.free.push(kept.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_chosen_by_size_and_reused() {
        let mut kept = Kept::new(2);
        let small = kept.store(b"ab", &[1; 200]).unwrap();
        assert_eq!(kept.get(small).len(), 202);
        assert_eq!(kept.get(small)[..3], [b'a', b'b', 1]);
        let large = kept.store(&[2; 300], &[]).unwrap();
        assert_eq!(kept.get(large), [2; 300]);
        kept.store(b"x", b"y").unwrap();
        assert!(kept.store(b"x", b"y").is_none(), "both small slots are taken");
        assert!(kept.store(&[0; 2049], &[]).is_none());
        kept.free(small);
        let again = kept.store(b"x", b"y").unwrap();
        assert_eq!(kept.get(again), b"xy");
    }
}
