//! The lines of the cards, found by card key, in memory of a fixed size.
//!
//! A card's line is in one of two groups of four neighbours, both drawn from its key. A new card takes
//! the first free line of its first group, beginning at a place that is drawn too, and one of its
//! second group only when the first is full. A card whose groups are both full gets a line by moving
//! others to their second group (cuckoo hashing), which is what lets the table be filled to 80 % and
//! more without refusing anyone.
//!
//! A search looks at all lines of a group, which are fetched together: at 80 % three in five cards are
//! in the line where their group's search begins, but 85 % are in the first group.
//!
//! A line that has held a card is never emptied again, only given to another card. Hence an empty
//! line in the first group ends a search: a card of the second would have taken it.
//!
//! Not here: what the words of a line mean.

use super::capture::{Capture, SnapshotGivenUp, read_piece};
use super::prefetch::prefetch;
use crate::limits::{
    CARD_KEY_BYTES, VELOCITY_GROUP_LINES, VELOCITY_LINE_WORDS, VELOCITY_LINES_MAX,
    VELOCITY_PROBE_MAX, VELOCITY_SEARCH_GROUPS_MAX,
};
use crate::memory::{self, SharedWords, TableMemory, Words, zeroed_words};
use crate::shard::CardKey;

/// Words of the card key, at the head of the line.
const KEY_WORDS: usize = CARD_KEY_BYTES / 8;
/// Words of a line, each of the sizes that there are.
const HALF: usize = VELOCITY_LINE_WORDS[0];
const WHOLE: usize = VELOCITY_LINE_WORDS[1];
const DOUBLE: usize = VELOCITY_LINE_WORDS[2];
/// Cards of which it is remembered where they were found: more than a batch has.
const SEEN: usize = 64;
/// Words of a cache line.
const CACHE_WORDS: usize = 8;

/// Lines by card key. The key of all zeros marks an empty line; a card has that key with a
/// probability of 2^-128 and would then be counted afresh at each transaction.
pub(super) struct Table {
    words: Words,
    /// Words before the first one that begins a cache line.
    skipped: usize,
    /// Words of a line are two to this power.
    line_shift: u32,
    groups: usize,
    occupied: usize,
    /// How often a line was given to a card.
    claims: u64,
    /// Where cards were found of late, by bits of their keys.
    seen: [u32; SEEN],
    capture: Capture,
    /// Whether another process filled it.
    is_passed: bool,
}

/// The lines of the cards on their way from one process to another.
#[derive(Debug)]
pub struct PassedTable {
    /// All of them.
    pub words: SharedWords,
    /// How many hold a card.
    pub occupied: usize,
}

/// What a group holds of a card.
enum Looked {
    /// Its line.
    Found(usize),
    /// Not its line, but one that has held no card yet.
    HasEmpty,
    /// Lines of others only.
    Full,
}

/// A group that was looked through for a free line, and how the search came to it.
#[derive(Clone, Copy, Default)]
struct Visit {
    group: usize,
    /// The visit and the line whose card has `group` as its other group; none for the first two.
    from: Option<(u8, u8)>,
}

/// How a line gets free for a card: by itself, or by moving others.
struct Claim {
    visits: [Visit; VELOCITY_SEARCH_GROUPS_MAX],
    /// The line that is to move first; none when `free` itself is for the card.
    from: Option<(u8, u8)>,
    free: usize,
}

/// Makes the memory of so many tables before them: each takes it when it is made.
pub fn make_ready(tables: usize, (lines, line_words): (usize, usize), memory: TableMemory) {
    memory::make_ready(tables, words_of(lines, line_words), memory);
}

/// Words of a table, wherever its first cache line begins.
const fn words_of(lines: usize, line_words: usize) -> usize {
    lines * line_words + CACHE_WORDS
}

impl Table {
    /// Lines of `line_words` words: those that another process passed, or new ones where it passed
    /// none that fit.
    pub(super) fn new(
        (lines, line_words): (usize, usize),
        memory: TableMemory,
        passed: Option<PassedTable>,
    ) -> Self {
        let needed = words_of(lines, line_words);
        let passed = passed.filter(|it| it.words.words() == needed && it.occupied <= lines);
        let mapped = passed.and_then(|it| Some((it.words.map().ok()?, it.occupied)));
        match mapped {
            Some((words, occupied)) => {
                let table = Self::of((lines, line_words), words);
                Self { occupied, is_passed: true, ..table }
            }
            None => Self::of((lines, line_words), zeroed_words(needed, memory)),
        }
    }

    fn of((lines, line_words): (usize, usize), words: Words) -> Self {
        assert!(
            VELOCITY_LINE_WORDS.contains(&line_words),
            "Invariant: a line is a half, one or two cache lines"
        );
        assert!(
            lines.is_multiple_of(VELOCITY_GROUP_LINES),
            "Invariant: velocity lines are whole groups"
        );
        assert!(
            (VELOCITY_GROUP_LINES..=VELOCITY_LINES_MAX).contains(&lines),
            "Invariant: velocity lines are within their limits"
        );
        // Alignment by hand, whoever made the words.
        let skipped = words.as_ptr().align_offset(CACHE_WORDS * 8);
        assert!(skipped < CACHE_WORDS, "Invariant: a cache line begins within the first 64 bytes");
        let groups = lines / VELOCITY_GROUP_LINES;
        Self {
            words,
            skipped,
            line_shift: line_words.trailing_zeros(),
            groups,
            occupied: 0,
            claims: 0,
            seen: [0; SEEN],
            capture: Capture::new(groups),
            is_passed: false,
        }
    }

    /// Whether another process filled it.
    pub(super) fn is_passed(&self) -> bool {
        self.is_passed
    }

    /// Whether another process can be passed it.
    pub(super) fn is_shared(&self) -> bool {
        self.words.is_shared()
    }

    /// Gives the lines up for another process. What is left is of no use.
    pub(super) fn pass(&mut self) -> Option<PassedTable> {
        self.capture.give_up();
        // It begins with a cache line in every process: it is mapped from a page's start.
        let words = std::mem::replace(&mut self.words, Words::none()).into_shared()?;
        Some(PassedTable { words, occupied: self.occupied })
    }

    pub(super) fn lines(&self) -> usize {
        self.groups * VELOCITY_GROUP_LINES
    }

    pub(super) fn line_words(&self) -> usize {
        1 << self.line_shift
    }

    /// Lines that hold a card, whether anything is still counted there or not.
    pub(super) fn occupied(&self) -> usize {
        self.occupied
    }

    pub(super) fn claims(&self) -> u64 {
        self.claims
    }

    /// Whether the line at `place` holds a card.
    pub(super) fn is_held(&self, place: usize) -> bool {
        self.key(place) != [0, 0]
    }

    #[inline]
    pub(super) fn prefetch(&self, card: CardKey) {
        self.prefetch_group(self.first_group(card.words()));
    }

    /// The same once more, when that line may have come: fetches the card's second group where the
    /// first one is others'. Changes nothing but what the next search is faster by.
    #[inline]
    pub(super) fn prefetch_again(&mut self, card: CardKey) {
        let key = card.words();
        match self.look(self.first_group(key), key) {
            Looked::Found(place) => self.remember(key, place),
            Looked::HasEmpty => {}
            Looked::Full => self.prefetch_group(self.groups(key)[1]),
        }
    }

    #[inline]
    fn prefetch_group(&self, group: usize) {
        let (from, to) = self.group_at(group);
        self.words[from..to].iter().step_by(CACHE_WORDS).for_each(prefetch);
    }

    /// Where the card's line is; the next search for it is faster.
    #[inline]
    pub(super) fn find_and_remember(&mut self, card: CardKey) -> Option<usize> {
        let place = self.find(card)?;
        self.remember(card.words(), place);
        Some(place)
    }

    #[inline]
    fn remember(&mut self, key: [u64; 2], place: usize) {
        // A table has at most 2^30 lines.
        self.seen[Self::seen_at(key)] = place as u32;
    }

    #[inline]
    fn seen_at([low, _]: [u64; 2]) -> usize {
        low as usize % SEEN
    }

    /// Where the card's line is.
    #[inline]
    pub(super) fn find(&self, card: CardKey) -> Option<usize> {
        let key = card.words();
        // Most are looked for several times in a row. What is there now decides.
        let place = self.seen[Self::seen_at(key)] as usize;
        if self.key(place) == key {
            return Some(place);
        }
        match self.look(self.first_group(key), key) {
            Looked::Found(place) => Some(place),
            // The card would have taken that line.
            Looked::HasEmpty => None,
            Looked::Full => match self.look(self.groups(key)[1], key) {
                Looked::Found(place) => Some(place),
                Looked::HasEmpty | Looked::Full => None,
            },
        }
    }

    #[inline]
    fn look(&self, group: usize, key: [u64; 2]) -> Looked {
        let (from, to) = self.group_at(group);
        let words = &self.words[from..to];
        let looked = match self.line_words() {
            HALF => look_at::<HALF>(words, key),
            WHOLE => look_at::<WHOLE>(words, key),
            _ => look_at::<DOUBLE>(words, key),
        };
        match looked {
            Looked::Found(line) => Looked::Found(group * VELOCITY_GROUP_LINES + line),
            other => other,
        }
    }

    #[inline]
    pub(super) fn words(&self, place: usize) -> &[u64] {
        let start = self.at(place);
        &self.words[start + KEY_WORDS..start + self.line_words()]
    }

    #[inline]
    pub(super) fn words_mut(&mut self, place: usize) -> &mut [u64] {
        self.before_change(place);
        let start = self.at(place);
        let end = start + self.line_words();
        &mut self.words[start + KEY_WORDS..end]
    }

    /// What a group was belongs to a snapshot that is under way.
    #[inline]
    fn before_change(&mut self, place: usize) {
        let group = place / VELOCITY_GROUP_LINES;
        if self.capture.wants(group) {
            let (from, to) = self.group_at(group);
            let line_words = self.line_words();
            self.capture.put_aside(group, &self.words[from..to], line_words);
        }
    }

    /// First word of a group, and of what follows it.
    fn group_at(&self, group: usize) -> (usize, usize) {
        let first = group * VELOCITY_GROUP_LINES;
        (self.at(first), self.at(first + VELOCITY_GROUP_LINES))
    }

    /// Makes a cut here, which [`Table::snapshot_next`] reads.
    pub(super) fn snapshot_begin(&mut self) {
        self.capture.begin();
    }

    /// Appends at most about `bytes_max` bytes of the cut; false when these were the last.
    pub(super) fn snapshot_next(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<bool, SnapshotGivenUp> {
        let line_words = self.line_words();
        let Self { capture, words, skipped, line_shift, .. } = self;
        let group_words = VELOCITY_GROUP_LINES << *line_shift;
        let group_of = |group: usize| &words[*skipped + group * group_words..][..group_words];
        capture.next(out, bytes_max, group_of, line_words)
    }

    /// Whether the cut must be hurried on.
    pub(super) fn snapshot_is_behind(&self) -> bool {
        self.capture.is_behind()
    }

    /// Gives the cut up.
    pub(super) fn snapshot_abandon(&mut self) {
        self.capture.give_up();
    }

    /// Clears a little of what a cut that was given up left behind.
    pub(super) fn tidy(&mut self) {
        self.capture.clear_some();
    }

    /// Puts lines where they were; a group that holds cards already stays as it is. False when the
    /// bytes are not whole pieces of a table like this one. `visit`: key and words of each of them.
    pub(super) fn load(
        &mut self,
        mut pieces: &[u8],
        mut visit: impl FnMut([u64; 2], &[u64]),
    ) -> bool {
        let line_words = self.line_words();
        while !pieces.is_empty() {
            let Some(piece) = read_piece(&mut pieces, line_words) else { return false };
            if piece.group >= self.groups || !piece.is_within(VELOCITY_GROUP_LINES) {
                return false;
            }
            let first = piece.group * VELOCITY_GROUP_LINES;
            if (first..first + VELOCITY_GROUP_LINES).any(|place| self.key(place) != [0, 0]) {
                continue;
            }
            piece.lines(|at, bytes| {
                let start = self.at(first + at);
                let line = &mut self.words[start..start + line_words];
                for (word, bytes) in line.iter_mut().zip(bytes.as_chunks().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
                self.occupied += 1;
                if let Some((key, words)) = line.split_first_chunk() {
                    visit(*key, words);
                }
            });
        }
        true
    }

    /// Whether [`Table::claim`] would find a line. Changes nothing.
    pub(super) fn has_claim(&self, card: CardKey, is_over: impl Fn(&[u64]) -> bool) -> bool {
        self.search(card, is_over).is_some()
    }

    /// A line for a card that has none: one where `is_over` says that nothing is counted, as it
    /// must of an empty one. Its words are whatever they were. `None` when there is no such line
    /// in reach.
    pub(super) fn claim(
        &mut self,
        card: CardKey,
        is_over: impl Fn(&[u64]) -> bool,
    ) -> Option<usize> {
        let claim = self.search(card, is_over)?;
        if self.key(claim.free) == [0, 0] {
            self.occupied += 1;
        }
        self.claims += 1;
        let place = self.shift(&claim);
        self.before_change(place);
        let start = self.at(place);
        self.words[start..start + KEY_WORDS].copy_from_slice(&card.words());
        Some(place)
    }

    fn search(&self, card: CardKey, is_over: impl Fn(&[u64]) -> bool) -> Option<Claim> {
        let key = card.words();
        let [first, second] = self.groups(key);
        let free =
            self.free_line(first, key, &is_over).or_else(|| self.free_line(second, key, &is_over));
        match free {
            Some(free) => {
                let visits = [Visit::default(); VELOCITY_SEARCH_GROUPS_MAX];
                Some(Claim { visits, from: None, free })
            }
            None => self.free_by_moving([first, second], &is_over),
        }
    }

    /// The first line of `group`, in the order in which the card's search reads it, that is free.
    fn free_line(
        &self,
        group: usize,
        key: [u64; 2],
        is_over: impl Fn(&[u64]) -> bool,
    ) -> Option<usize> {
        in_group(group, key).find(|&place| is_over(self.words(place)))
    }

    /// Frees a line of one of `roots`, which are full, by moving its card to that card's other
    /// group, if need be after moving one from there, and so on: breadth first, so that as few lines
    /// as possible move.
    fn free_by_moving(&self, roots: [usize; 2], is_over: impl Fn(&[u64]) -> bool) -> Option<Claim> {
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
                    return Some(Claim { visits, from: Some(from), free });
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

    /// Moves the line that is to move first into the free one, the line that leads to it into its
    /// place, and so on; returns the place that is free at the end.
    fn shift(&mut self, claim: &Claim) -> usize {
        let (mut free, mut step) = (claim.free, claim.from);
        while let Some((visit, line)) = step {
            let visit = &claim.visits[usize::from(visit)];
            let place = visit.group * VELOCITY_GROUP_LINES + usize::from(line);
            self.before_change(free);
            let start = self.at(place);
            let (end, to) = (start + self.line_words(), self.at(free));
            self.words.copy_within(start..end, to);
            free = place;
            step = visit.from;
        }
        free
    }

    /// Calls `visit` with key and words of every line that holds a card.
    pub(super) fn for_each(&self, mut visit: impl FnMut([u64; 2], &[u64])) {
        for place in 0..self.lines() {
            let key = self.key(place);
            if key != [0, 0] {
                visit(key, self.words(place));
            }
        }
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
    fn groups(&self, key: [u64; 2]) -> [usize; 2] {
        let [first, second] = [self.first_group(key), self.spread(key[1].rotate_left(32))];
        if first != second {
            return [first, second];
        }
        [first, if first + 1 < self.groups { first + 1 } else { 0 }]
    }

    #[inline]
    fn first_group(&self, [_, bits]: [u64; 2]) -> usize {
        self.spread(bits)
    }

    /// The high half of the product spreads evenly over any number of groups.
    #[inline]
    fn spread(&self, bits: u64) -> usize {
        ((u128::from(bits) * self.groups as u128) >> 64) as usize
    }

    #[inline]
    fn key(&self, place: usize) -> [u64; 2] {
        let start = self.at(place);
        *self.words[start..].first_chunk().expect("Invariant: a place is inside the table")
    }

    #[inline]
    fn at(&self, place: usize) -> usize {
        self.skipped + (place << self.line_shift)
    }

    /// Checks every line, and calls `check` with what each card's line counts.
    pub(super) fn assert_invariants(&self, check: impl Fn(&[u64])) {
        assert_eq!(
            self.words[self.at(0)..].as_ptr().align_offset(CACHE_WORDS * 8),
            0,
            "Invariant: lines begin with cache lines"
        );
        let mut occupied = 0;
        for place in 0..self.lines() {
            let key = self.key(place);
            if key == [0, 0] {
                let is_zero = self.words(place).iter().all(|&word| word == 0);
                assert!(is_zero, "Invariant: empty is zero");
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
    // Bits that choose a group only in tables of more than 2^30 groups.
    let begin = bits as usize;
    (0..VELOCITY_GROUP_LINES).map(move |step| {
        let line = begin.wrapping_add(step) & (VELOCITY_GROUP_LINES - 1);
        group * VELOCITY_GROUP_LINES + line
    })
}

/// All keys of a group of lines of `WORDS` words, without a branch at each: in which line a card is
/// cannot be guessed, so to stop there costs more than to look at the others.
#[inline]
fn look_at<const WORDS: usize>(group: &[u64], key: [u64; 2]) -> Looked {
    let Some(lines) = group.as_chunks::<WORDS>().0.first_chunk::<VELOCITY_GROUP_LINES>() else {
        return Looked::HasEmpty;
    };
    let mask = |key: [u64; 2]| {
        let is = |line: &[u64; WORDS]| (line[0] ^ key[0]) | (line[1] ^ key[1]) == 0;
        (0..).zip(lines).fold(0u32, |mask, (at, line)| mask | u32::from(is(line)) << at)
    };
    match mask(key) {
        0 if mask([0, 0]) == 0 => Looked::Full,
        0 => Looked::HasEmpty,
        held => Looked::Found(held.trailing_zeros() as usize),
    }
}
