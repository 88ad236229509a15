//! How many lines still count something. Lines are given away only when another card needs one, so
//! this is not known by itself: the table is looked through a few lines at a time, again and again.
//!
//! Not here: the lines.

/// Where looking through the table stands.
#[derive(Default)]
pub(super) struct Occupancy {
    /// The next line to look at.
    next: usize,
    /// Lines that count, among those before it.
    live: usize,
    /// Lines that were given to cards until this round began.
    claims_before: u64,
    /// The same of the last whole round, and how many lines counted.
    last: Option<(usize, u64)>,
}

impl Occupancy {
    /// Looks at `lines_at_once` lines more of `lines`.
    pub(super) fn look(
        &mut self,
        lines_at_once: usize,
        (lines, claims): (usize, u64),
        is_live: impl Fn(usize) -> bool,
    ) {
        if self.next == 0 {
            self.claims_before = claims;
        }
        let end = lines.min(self.next + lines_at_once);
        self.live += (self.next..end).filter(|&place| is_live(place)).count();
        self.next = end;
        if end == lines {
            self.last = Some((self.live, self.claims_before));
            (self.next, self.live) = (0, 0);
        }
    }

    /// At most so many lines count, of `occupied` that hold a card: those of the last whole round and
    /// those given away since it began.
    pub(super) fn lines(&self, occupied: usize, claims: u64) -> usize {
        match self.last {
            None => occupied,
            Some((live, claims_before)) => {
                let since = usize::try_from(claims - claims_before).unwrap_or(usize::MAX);
                occupied.min(live.saturating_add(since))
            }
        }
    }
}
