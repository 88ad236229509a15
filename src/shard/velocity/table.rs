//! The lines of the cards: 64 bytes each, found by card key, in memory that is only touched when a
//! card needs it.
//!
//! A card's line is in one of two groups of four neighbours, both drawn from its key. In a group the
//! search begins at a place that is drawn too, so most cards are found in the first line looked at,
//! and no search reads more than `VELOCITY_PROBE_MAX` lines. A card whose groups are both taken gets
//! a line by moving others to their second group (cuckoo hashing), which is what lets the table be
//! filled to 80 % and more without refusing anyone.
//!
//! A line that has held a card is never emptied again, only given to another card. Hence an empty
//! line ends a search: had the card been there, it would have taken the empty line.
//!
//! Not here: what the words of a line mean.

use super::prefetch::prefetch;
use crate::limits::{
    VELOCITY_GROUP_LINES, VELOCITY_LINE_BYTES, VELOCITY_LINES_MAX, VELOCITY_PROBE_MAX,
    VELOCITY_SEARCH_GROUPS_MAX, VELOCITY_WORDS,
};
use crate::prefault::prefault;
use crate::shard::CardKey;

/// What a line counts, without its card key.
pub(super) type Words = [u64; VELOCITY_WORDS];

/// Words of the card key, at the head of the line.
const KEY_WORDS: usize = 2;
const LINE_WORDS: usize = KEY_WORDS + VELOCITY_WORDS;
type Line = [u64; LINE_WORDS];

const _: () = assert!(size_of::<Line>() == VELOCITY_LINE_BYTES);

/// Lines by card key. The key of all zeros marks an empty line; a card has that key with a
/// probability of 2^-128 and would then be counted afresh at each transaction.
pub(super) struct Table {
    /// Allocated zeroed, so that pages that no card has touched take no memory.
    words: Box<[u64]>,
    /// Words before the first one that begins a cache line.
    skipped: usize,
    group_mask: usize,
    occupied: usize,
}

/// A group that was looked through for a free line, and how the search came to it.
#[derive(Clone, Copy, Default)]
struct Visit {
    group: usize,
    /// The visit and the line whose card has `group` as its other group; none for the first two.
    from: Option<(u8, u8)>,
}

impl Table {
    pub(super) fn new(lines: usize) -> Self {
        assert!(lines.is_power_of_two(), "Invariant: velocity lines are a power of two");
        assert!(
            (VELOCITY_GROUP_LINES..=VELOCITY_LINES_MAX).contains(&lines),
            "Invariant: velocity lines are within their limits"
        );
        // Alignment by hand: a zeroed allocation of an aligned type would need unsafe code.
        let mut words = vec![0u64; (lines + 1) * LINE_WORDS].into_boxed_slice();
        prefault(&mut words);
        let skipped = words.as_ptr().align_offset(VELOCITY_LINE_BYTES);
        assert!(skipped < LINE_WORDS, "Invariant: a cache line begins within the first 64 bytes");
        Self { words, skipped, group_mask: lines / VELOCITY_GROUP_LINES - 1, occupied: 0 }
    }

    pub(super) fn lines(&self) -> usize {
        (self.group_mask + 1) * VELOCITY_GROUP_LINES
    }

    /// Lines that hold a card, whether anything is still counted there or not.
    pub(super) fn occupied(&self) -> usize {
        self.occupied
    }

    #[inline]
    pub(super) fn prefetch(&self, card: CardKey) {
        let place = self.probe(card.words()).next().unwrap_or_default();
        prefetch(&self.words[self.at(place)]);
    }

    /// Where the card's line is.
    #[inline]
    pub(super) fn find(&self, card: CardKey) -> Option<usize> {
        let key = card.words();
        for place in self.probe(key) {
            let held = self.key(place);
            if held == key {
                return Some(place);
            }
            if held == [0, 0] {
                return None;
            }
        }
        None
    }

    #[inline]
    pub(super) fn words(&self, place: usize) -> &Words {
        let start = self.at(place) + KEY_WORDS;
        self.words[start..].first_chunk().expect("Invariant: a place is inside the table")
    }

    #[inline]
    pub(super) fn words_mut(&mut self, place: usize) -> &mut Words {
        let start = self.at(place) + KEY_WORDS;
        self.words[start..].first_chunk_mut().expect("Invariant: a place is inside the table")
    }

    /// A line for a card that has none: one where `is_over` says that nothing is counted, as it
    /// must of an empty one. Its words are whatever they were. `None` when there is no such line
    /// in reach.
    pub(super) fn claim(
        &mut self,
        card: CardKey,
        is_over: impl Fn(&Words) -> bool,
    ) -> Option<usize> {
        let key = card.words();
        let [first, second] = self.groups(key);
        let place = self
            .free_line(first, key, &is_over)
            .or_else(|| self.free_line(second, key, &is_over))
            .or_else(|| self.free_by_moving([first, second], &is_over))?;
        if self.key(place) == [0, 0] {
            self.occupied += 1;
        }
        let start = self.at(place);
        self.words[start..start + KEY_WORDS].copy_from_slice(&key);
        Some(place)
    }

    /// The first line of `group`, in the order in which the card's search reads it, that is free.
    fn free_line(
        &self,
        group: usize,
        key: [u64; 2],
        is_over: impl Fn(&Words) -> bool,
    ) -> Option<usize> {
        in_group(group, key).find(|&place| is_over(self.words(place)))
    }

    /// Frees a line of one of `roots`, which are full, by moving its card to that card's other
    /// group, if need be after moving one from there, and so on: breadth first, so that as few lines
    /// as possible move.
    fn free_by_moving(
        &mut self,
        roots: [usize; 2],
        is_over: impl Fn(&Words) -> bool,
    ) -> Option<usize> {
        let mut visits = [Visit::default(); VELOCITY_SEARCH_GROUPS_MAX];
        let mut seen = 0;
        for group in roots {
            if seen == 0 || group != roots[0] {
                visits[seen] = Visit { group, from: None };
                seen += 1;
            }
        }
        let mut next = 0;
        while next < seen {
            let group = visits[next].group;
            for line in 0..VELOCITY_GROUP_LINES {
                let key = self.key(group * VELOCITY_GROUP_LINES + line);
                let [first, second] = self.groups(key);
                let other = if first == group { second } else { first };
                // Fewer than 256 visits, four lines.
                let from = (next as u8, line as u8);
                if let Some(free) = self.free_line(other, key, &is_over) {
                    return Some(self.shift(&visits, from, free));
                }
                let known = visits[..seen].iter().any(|visit| visit.group == other);
                if !known && seen < VELOCITY_SEARCH_GROUPS_MAX {
                    visits[seen] = Visit { group: other, from: Some(from) };
                    seen += 1;
                }
            }
            next += 1;
        }
        None
    }

    /// Moves the line that `from` names into `free`, the line that leads to it into its place, and
    /// so on; returns the place that is free at the end.
    fn shift(
        &mut self,
        visits: &[Visit; VELOCITY_SEARCH_GROUPS_MAX],
        from: (u8, u8),
        mut free: usize,
    ) -> usize {
        let mut step = Some(from);
        if self.key(free) == [0, 0] {
            self.occupied += 1;
        }
        while let Some((visit, line)) = step {
            let visit = &visits[usize::from(visit)];
            let place = visit.group * VELOCITY_GROUP_LINES + usize::from(line);
            let start = self.at(place);
            self.words.copy_within(start..start + LINE_WORDS, self.at(free));
            free = place;
            step = visit.from;
        }
        free
    }

    /// Every place where the card's line may be, in the order in which they are read.
    #[inline]
    fn probe(&self, key: [u64; 2]) -> impl Iterator<Item = usize> + use<> {
        let [first, second] = self.groups(key);
        in_group(first, key).chain(in_group(second, key))
    }

    /// The two groups of a card. Drawn from the half of the key that placement on shards does not
    /// use: the cards of one shard would otherwise share some of these bits.
    #[inline]
    fn groups(&self, [_, bits]: [u64; 2]) -> [usize; 2] {
        let first = bits as usize & self.group_mask;
        // An odd difference, so that the two differ wherever there are two groups.
        let second = first ^ ((bits >> 32) as usize | 1) & self.group_mask;
        [first, second]
    }

    #[inline]
    fn key(&self, place: usize) -> [u64; 2] {
        let start = self.at(place);
        *self.words[start..].first_chunk().expect("Invariant: a place is inside the table")
    }

    #[inline]
    fn at(&self, place: usize) -> usize {
        self.skipped + place * LINE_WORDS
    }

    /// Checks every line, and calls `check` with what each card's line counts.
    pub(super) fn assert_invariants(&self, check: impl Fn(&Words)) {
        assert_eq!(
            self.words[self.at(0)..].as_ptr().align_offset(VELOCITY_LINE_BYTES),
            0,
            "Invariant: a line is one cache line"
        );
        let mut occupied = 0;
        for place in 0..self.lines() {
            let key = self.key(place);
            if key == [0, 0] {
                assert_eq!(*self.words(place), [0; VELOCITY_WORDS], "Invariant: empty is zero");
                continue;
            }
            occupied += 1;
            let steps = self.probe(key).position(|probed| probed == place);
            assert!(
                steps.is_some_and(|steps| steps < VELOCITY_PROBE_MAX),
                "Invariant: a card's line is in one of the card's two groups"
            );
            assert_eq!(
                self.find(CardKey((u128::from(key[1]) << 64 | u128::from(key[0])).to_le_bytes())),
                Some(place),
                "Invariant: a card has one line, and no empty line comes before it"
            );
            check(self.words(place));
        }
        assert_eq!(occupied, self.occupied, "Invariant: occupied lines are counted");
    }
}

/// The lines of a group, beginning with the one that the card's key names.
#[inline]
fn in_group(group: usize, [_, bits]: [u64; 2]) -> impl Iterator<Item = usize> {
    let begin = (bits >> 62) as usize;
    (0..VELOCITY_GROUP_LINES).map(move |step| {
        group * VELOCITY_GROUP_LINES + ((begin + step) & (VELOCITY_GROUP_LINES - 1))
    })
}
