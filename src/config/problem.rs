//! What is wrong with a configuration: where, which key, and what probably caused it.
//!
//! Problems are collected, so that one run of `check` names all of them. Not here: deciding what is
//! wrong.

use core::fmt;

/// Problems kept; a file with more is not a configuration at all.
const PROBLEMS_MAX: usize = 100;
/// Characters of the operator's own text that a problem repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in.
    pub file: String,
    /// Line, from 1; 0 when no line is to blame.
    pub line: usize,
    /// Character of the line, from 1; 0 when no line is to blame.
    pub column: usize,
    /// The key with its section, as in `acquirer.cups.listen`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What probably caused it, or what to do; may be empty.
    pub likely_cause: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.likely_cause.is_empty() {
            write!(f, "; likely cause: {}", self.likely_cause)?;
        }
        Ok(())
    }
}

/// A configuration that cannot be used: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, in the order of the file's lines.
    pub problems: Vec<Problem>,
    /// Further ones that are not listed.
    pub unlisted: usize,
}

impl ConfigError {
    /// A file that cannot be read at all.
    pub(super) fn unreadable(file: &str, reason: String) -> Self {
        let problem = Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            message: reason,
            likely_cause: "a wrong path, or no permission to read it".to_owned(),
        };
        Self { problems: vec![problem], unlisted: 0 }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        if self.unlisted > 0 {
            write!(f, "\nand {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Line and column of byte offsets of one text.
#[derive(Debug)]
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: core::iter::once(0).chain(after_breaks).collect() }
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|&start| start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied();
        let before = start.and_then(|start| self.text.get(start..offset));
        (line, before.map_or(1, |before| before.chars().count() + 1))
    }
}

/// Collects what is wrong with one text, or merely doubtful.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    file: String,
    lines: Lines<'t>,
    errors: Vec<Problem>,
    unlisted: usize,
    warnings: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Self {
        Self {
            file: file.to_owned(),
            lines: Lines::new(text),
            errors: Vec::new(),
            unlisted: 0,
            warnings: Vec::new(),
        }
    }

    /// Something that forbids to start, at a byte offset of the text (`None`: a default).
    pub(super) fn error(
        &mut self,
        at: Option<usize>,
        key: &str,
        message: impl Into<String>,
        likely_cause: impl Into<String>,
    ) {
        let problem = self.problem(at, key, message.into(), likely_cause.into());
        self.push(problem);
    }

    /// Something that works, but probably not as meant.
    pub(super) fn warning(
        &mut self,
        at: Option<usize>,
        key: &str,
        message: impl Into<String>,
        likely_cause: impl Into<String>,
    ) {
        if self.warnings.len() < PROBLEMS_MAX {
            let problem = self.problem(at, key, message.into(), likely_cause.into());
            self.warnings.push(problem);
        }
    }

    /// A problem of another file.
    pub(super) fn push(&mut self, problem: Problem) {
        if self.errors.len() < PROBLEMS_MAX {
            self.errors.push(problem);
        } else {
            self.unlisted += 1;
        }
    }

    fn problem(
        &self,
        at: Option<usize>,
        key: &str,
        message: String,
        likely_cause: String,
    ) -> Problem {
        let (line, column) = at.map_or((0, 0), |offset| self.lines.place(offset));
        Problem {
            file: self.file.clone(),
            line,
            column,
            key: key.to_owned(),
            message,
            likely_cause,
        }
    }

    pub(super) fn error_count(&self) -> usize {
        self.errors.len() + self.unlisted
    }

    /// All errors, in the order of the file's lines; other files come last.
    pub(super) fn into_error(mut self) -> ConfigError {
        self.errors.sort_by_key(|problem| (problem.file != self.file, problem.line));
        ConfigError { problems: self.errors, unlisted: self.unlisted }
    }

    pub(super) fn into_warnings(self) -> Vec<Problem> {
        self.warnings
    }
}

/// The operator's own words, cut and without control characters, as they may appear in a problem.
pub(super) fn quoted(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(QUOTED_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// The likely cause of an unknown word: a slip of the pen, or what the words are.
pub(super) fn nearest_cause(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(best) => format!("did you mean `{best}`?"),
        None if known.is_empty() => String::new(),
        None => format!("known are {}", known.join(", ")),
    }
}

/// The known word that a few slips of the pen turn into `word`.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.chars().count() > QUOTED_CHARS_MAX {
        return None;
    }
    let word = word.to_lowercase();
    known
        .iter()
        .map(|&candidate| (edit_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= 1.max(candidate.len() / 3))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two words (optimal string
/// alignment).
fn edit_distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut above_two: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let cell = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    for (line, a) in from.iter().enumerate() {
        let mut row = vec![line + 1];
        for (column, b) in to.iter().enumerate() {
            let mut best = (cell(&above, column) + usize::from(a != b))
                .min(cell(&above, column + 1) + 1)
                .min(cell(&row, column) + 1);
            let swapped = line > 0
                && column > 0
                && from.get(line - 1) == Some(b)
                && to.get(column - 1) == Some(a);
            if swapped {
                best = best.min(cell(&above_two, column - 1) + 1);
            }
            row.push(best);
        }
        above_two = core::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_slips_of_the_pen() {
        for (from, to, distance) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
            ("cusp", "cups", 1),
            ("abcd", "badc", 2),
        ] {
            assert_eq!(edit_distance(from, to), distance, "{from} {to}");
        }
    }

    #[test]
    fn suggestions_are_near_or_none() {
        let known = ["answer_within_ms", "answer_margin_ms", "listen"];
        assert_eq!(nearest("anwser_within_ms", &known), Some("answer_within_ms"));
        assert_eq!(nearest("LISTEN", &known), Some("listen"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest(&"x".repeat(5_000), &known), None);
        assert_eq!(nearest_cause("x", &known), format!("known are {}", known.join(", ")));
    }

    #[test]
    fn places_count_lines_and_characters() {
        let lines = Lines::new("ab\n\né=1\n");
        let places: Vec<_> = [0, 1, 3, 4, 6, 9].into_iter().map(|at| lines.place(at)).collect();
        assert_eq!(places, [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2), (4, 1)]);
    }
}
