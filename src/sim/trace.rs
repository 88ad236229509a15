//! What happened, as one number (the same seed makes the same), and in words where they are wanted.

use std::collections::BTreeSet;

/// A digest of bytes, eight at a time.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut hash = 0x51_7C_C1_B7_27_22_0A_95 ^ bytes.len() as u64;
    for chunk in &mut chunks {
        let word = chunk.try_into().map_or(0, u64::from_le_bytes);
        hash = mix(hash, word);
    }
    chunks.remainder().iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(27)
}

/// The trace of a run.
pub(super) struct Trace {
    hash: u64,
    watched: BTreeSet<u32>,
    lines: Vec<String>,
}

impl Trace {
    pub(super) fn new(traced: Option<u32>) -> Self {
        Self { hash: 0, watched: traced.into_iter().collect(), lines: Vec::new() }
    }

    /// Something happened.
    pub(super) fn add(&mut self, at_ns: u64, what: u64) {
        self.hash = mix(mix(self.hash, at_ns), what);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn watch(&mut self, number: u32) {
        self.watched.insert(number);
    }

    /// What belongs to a watched transaction is watched too.
    pub(super) fn watch_with(&mut self, number: u32, of: u32) {
        if self.watched.contains(&of) {
            self.watched.insert(number);
        }
    }

    /// Tells of a transaction, if it is watched; of the whole world for number 0.
    pub(super) fn tell(&mut self, at_ns: u64, number: u32, text: impl FnOnce() -> String) {
        if !self.watched.is_empty() && (number == 0 || self.watched.contains(&number)) {
            let (s, us) = (at_ns / 1_000_000_000, at_ns / 1_000 % 1_000_000);
            self.lines.push(format!("{s:>5}.{us:06} {number:>8}  {}", text()));
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}
