//! I-19: which configuration each shard judges by, and that its journal says so. Kept from what shards are
//! offered and take, and from the bytes of their journals: a configuration is in force on a shard from
//! the record of its number on, and after a restart the number is that of the last record on the disk.
//!
//! Not here: what limits a configuration has (`limits`), and where it sends requests (`sim::routes`).

use crate::sim::plan::ISSUERS;

/// The record of a configuration's number: length, kind and time come before the number.
const CONFIGURED: u8 = 10;
const KIND_AT: usize = 2;
const NUMBER_AT: usize = 11;

/// What a configuration says besides limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Rules {
    /// With which code its limits decline; none: 61 or 65.
    pub(in crate::sim) code: Option<[u8; 2]>,
    /// The issuer that each IIN is routed to.
    pub(in crate::sim) routes: [u8; ISSUERS],
}

impl Default for Rules {
    fn default() -> Self {
        Self { code: None, routes: core::array::from_fn(|issuer| issuer as u8) }
    }
}

/// All configurations there were, and which one is in force where.
pub(in crate::sim) struct Epochs {
    rules: Vec<Rules>,
    in_force: Vec<usize>,
    /// Numbers in each shard's journal, with the place of their records.
    recorded: Vec<Vec<(u64, u64)>>,
    /// The number that shards of the layout before left.
    carried: u64,
}

impl Epochs {
    pub(in crate::sim) fn new(shards: usize) -> Self {
        Self {
            rules: vec![Rules::default()],
            in_force: vec![0; shards],
            recorded: vec![Vec::new(); shards],
            carried: 0,
        }
    }

    pub(in crate::sim) fn add(&mut self, rules: Rules) {
        self.rules.push(rules);
    }

    pub(in crate::sim) fn newest(&self) -> Rules {
        self.rules[self.rules.len() - 1]
    }

    /// What a shard goes by now.
    pub(in crate::sim) fn rules(&self, shard: usize) -> Rules {
        self.rules[self.in_force[shard]]
    }

    /// Whether an earlier configuration was so.
    pub(in crate::sim) fn was(&self, shard: usize, so: impl Fn(&Rules) -> bool) -> bool {
        self.rules[..self.in_force[shard]].iter().any(so)
    }

    /// Whether any configuration was so.
    pub(in crate::sim) fn any(&self, so: impl Fn(&Rules) -> bool) -> bool {
        self.rules.iter().any(so)
    }

    /// A shard takes the configuration `set` under this number, and wrote these records up to `lsn`.
    /// Says so if the number is not recorded, or is none.
    pub(in crate::sim) fn on_taken(
        &mut self,
        shard: usize,
        (set, epoch): (usize, u64),
        (records, lsn): (&[u8], u64),
    ) -> Option<String> {
        self.in_force[shard] = set;
        let last = self.last(shard);
        let found = numbers(records);
        self.recorded[shard].extend(found.iter().map(|number| (lsn, *number)));
        if found != [epoch] {
            return Some(format!(
                "shard {shard} takes configuration {epoch}, and records {found:?}"
            ));
        }
        (epoch <= last).then(|| format!("configuration {epoch} of shard {shard} follows {last}"))
    }

    fn last(&self, shard: usize) -> u64 {
        self.recorded[shard].last().map_or(self.carried, |(_, number)| *number)
    }

    /// The process is gone; of each journal so much is left.
    pub(in crate::sim) fn on_crash(&mut self, left: impl Iterator<Item = u64>) {
        for (recorded, lsn) in self.recorded.iter_mut().zip(left) {
            recorded.retain(|(at, _)| *at <= lsn);
        }
    }

    /// A shard of a new process has read its disk. Says so if it knows another number.
    pub(in crate::sim) fn on_recovered(&mut self, shard: usize, epoch: u64) -> Option<String> {
        // Every process begins with the newest.
        self.in_force.fill(self.rules.len() - 1);
        let last = self.last(shard);
        (epoch != last).then(|| {
            format!("shard {shard} comes back with configuration {epoch}, its disk says {last}")
        })
    }

    /// Other shards begin with what those before left.
    pub(in crate::sim) fn on_layout(&mut self) {
        let last = (0..self.recorded.len()).map(|shard| self.last(shard)).max();
        self.carried = last.unwrap_or_default();
        self.recorded.iter_mut().for_each(Vec::clear);
    }
}

/// Numbers of configurations among records.
fn numbers(mut records: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(length) = records.first_chunk().map(|it| usize::from(u16::from_le_bytes(*it)))
        && let Some((record, rest)) = records.split_at_checked(length)
        && length > KIND_AT
    {
        records = rest;
        let number = record.get(NUMBER_AT..).and_then(<[u8]>::first_chunk);
        if record[KIND_AT] == CONFIGURED {
            found.extend(number.map(|number| u64::from_le_bytes(*number)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, number: u64) -> Vec<u8> {
        let mut record = vec![19, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(number.to_le_bytes());
        record
    }

    #[test]
    fn what_is_taken_is_recorded_and_a_crash_forgets_what_was_not_durable() {
        let mut epochs = Epochs::new(1);
        let other = Rules { code: Some(*b"57"), ..Rules::default() };
        assert_eq!(epochs.on_taken(0, (0, 1), (&record(10, 1), 4)), None);
        epochs.add(other);
        assert_eq!(epochs.rules(0), Rules::default());
        let both = [record(3, 9), record(10, 2)].concat();
        assert_eq!(epochs.on_taken(0, (1, 2), (&both, 8)), None);
        assert_eq!(epochs.rules(0), other);
        assert!(epochs.was(0, |rules| rules.code.is_none()));
        epochs.on_crash([7].into_iter());
        assert_eq!(epochs.on_recovered(0, 1), None);
        assert!(epochs.on_recovered(0, 2).is_some());
        assert!(epochs.on_taken(0, (1, 2), (&[], 8)).is_some(), "not recorded");
        assert!(epochs.on_taken(0, (1, 1), (&record(10, 1), 9)).is_some(), "not a later one");
    }
}
