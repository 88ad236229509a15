//! `tapswitch journal verify --state CONFIG DIR`: whether every way from the files to a shard's state
//! leads to the same one. A disk that lost what it said was durable, or a change that was never
//! recorded, shows here.
//!
//! Not here: reading the files (`io::recover`).

use super::CommandError;
use super::quantity::grouped;
use super::switch::{load, load_keys, refused};
use crate::io::journal::DataDirectory;
use crate::io::recover::recover_each;
use crate::shard::state_layout::StateLayout;
use crate::shard::{Shard, ShardId};
use std::io::{self, Write};
use std::path::Path;

/// A state, and how it was come by.
struct Way {
    snapshot_bytes: u64,
    records: u64,
    money: u64,
    whole: u64,
}

/// Rebuilds each shard from each of its snapshots and compares.
pub(super) fn verify(
    folder: &Path,
    config: &Path,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let config = load(Some(config))?;
    let secrets = load_keys(&config)?.secrets;
    let [a, b, c, d] = secrets.key_check();
    let wanted = StateLayout::of(&config);
    // Of a directory that is not there yet; this one is.
    let made_for = (u32::try_from(wanted.shards).unwrap_or_default(), wanted.to_bytes());
    let key_check = [a, b, c, d, 0, 0, 0, 0];
    let opened = DataDirectory::open(folder, made_for.0, key_check, &made_for.1);
    let directory = opened.map_err(|error| refused(error.exit_code(), &error))?;
    let layout = StateLayout::from_bytes(directory.layout())
        .map_err(|what| refused(65, &format!("{}: {what}", directory.folder().display())))?;
    // As the switch that wrote it was, whatever the next one will be.
    let config = layout.config(&config.in_order(&layout.issuers, &layout.acquirers));
    let mut differ = 0;
    for shard in 0..layout.shards {
        // At most SHARDS_MAX, which fits a byte.
        let id = ShardId(shard as u8);
        let mut ways = Vec::new();
        recover_each(
            || Shard::new(id, &config, &secrets),
            &directory,
            id,
            |shard, report| {
                ways.push(Way {
                    snapshot_bytes: report.snapshot_bytes,
                    records: report.recovered.records,
                    money: shard.money_hash(),
                    whole: shard.state_hash(),
                });
            },
        )
        .map_err(|error| refused(error.exit_code(), &error))?;
        differ += u32::from(!show(out, shard, &ways)?);
    }
    if differ > 0 {
        let what =
            format!("{differ} shards have more than one state; the oldest way is the safest");
        return Err(refused(65, &what));
    }
    Ok(())
}

/// Tells the ways of a shard. `false`: they do not lead to the same state.
fn show(out: &mut dyn Write, shard: usize, ways: &[Way]) -> io::Result<bool> {
    for way in ways {
        writeln!(
            out,
            "state     shard {shard}: {:016x} from {} bytes of a snapshot and {} records",
            way.money,
            grouped(way.snapshot_bytes),
            grouped(way.records),
        )?;
    }
    let is_one = |of: fn(&Way) -> u64| ways.windows(2).all(|two| of(&two[0]) == of(&two[1]));
    let verdict = match (ways.len(), is_one(|way| way.money), is_one(|way| way.whole)) {
        (0 | 1, ..) => "one way only: nothing to compare",
        (_, true, true) => "the same by every way",
        (_, true, false) => "the same but for the oldest answers that are remembered",
        (_, false, _) => "DIFFERENT",
    };
    writeln!(out, "state     shard {shard}: {verdict}")?;
    Ok(is_one(|way| way.money))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(money: u64, whole: u64) -> Way {
        Way { snapshot_bytes: 4_096, records: 17, money, whole }
    }

    fn shown(ways: &[Way]) -> (bool, String) {
        let mut out = Vec::new();
        let is_same = show(&mut out, 3, ways).unwrap();
        (is_same, String::from_utf8(out).unwrap())
    }

    #[test]
    fn ways_that_differ_are_told() {
        let (is_same, text) = shown(&[way(1, 5), way(2, 5)]);
        assert!(!is_same && text.contains("shard 3: DIFFERENT"), "{text}");
        assert!(text.contains("0000000000000002 from 4,096 bytes of a snapshot and 17 records"));
        let (is_same, text) = shown(&[way(1, 5), way(1, 6), way(1, 5)]);
        assert!(is_same && text.contains("but for the oldest answers"), "{text}");
        let (is_same, text) = shown(&[way(1, 5), way(1, 5)]);
        assert!(is_same && text.contains("the same by every way"), "{text}");
        let (is_same, text) = shown(&[way(1, 5)]);
        assert!(is_same && text.contains("nothing to compare"), "{text}");
    }
}
