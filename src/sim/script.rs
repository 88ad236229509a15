//! Rows of worlds that once failed, or show something worth keeping: a seed and its options each, run
//! for ever.

use super::options::{Faults, Options};

/// The committed rows.
pub const SEEDS: &str = include_str!("seeds.txt");

/// Reads rows of `seed transactions faults`; `#` begins a remark.
///
/// # Errors
/// A row cannot be read: its number and why.
pub fn parse(text: &str) -> Result<Vec<Options>, String> {
    let rows = text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        (!line.is_empty()).then(|| row(line).map_err(|why| format!("line {}: {why}", at + 1)))
    });
    rows.collect()
}

fn row(line: &str) -> Result<Options, String> {
    let mut words = line.split_whitespace();
    let mut word = |name: &str| words.next().ok_or(format!("{name} is missing"));
    let seed = word("seed")?.parse().map_err(|_| "the seed is no number")?;
    let transactions = word("transactions")?.parse().map_err(|_| "transactions are no number")?;
    let faults: Faults = word("faults")?.parse()?;
    match words.next() {
        None => Ok(Options { faults, ..Options::new(seed, transactions) }),
        Some(more) => Err(format!("{more:?} is too much")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_mistakes_named() {
        let rows = parse("# remark\n\n 7 100 all # why\n8 50 crash,disk\n").unwrap();
        assert_eq!(rows[0], Options::new(7, 100));
        assert_eq!(rows[1].to_string(), "--seed 8 --transactions 50 --faults disk,crash");
        assert_eq!(parse("7 100").unwrap_err(), "line 1: faults is missing");
        assert!(parse("\n7 100 rain").unwrap_err().starts_with("line 2: \"rain\" is no fault"));
        assert_eq!(parse("x 1 all").unwrap_err(), "line 1: the seed is no number");
    }
}
