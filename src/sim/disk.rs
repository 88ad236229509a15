//! The disk of one shard: records go to it in group commits, one at a time, and snapshots beside them.
//! A crash keeps what was durable, and the commit under way whole or not at all (its checksum cuts
//! what is torn); a lying disk loses commits that it had called durable.

use super::random::Stream;

/// Records that were written together.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) first_lsn: u64,
    pub(super) count: u64,
    pub(super) records: Vec<u8>,
}

impl Group {
    fn last_lsn(&self) -> u64 {
        self.first_lsn + self.count - 1
    }
}

/// A shard's state in pieces, cut at a record.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    pub(super) lsn: u64,
    pub(super) replay_from_lsn: u64,
    pub(super) header: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// A shard's journal and snapshots.
#[derive(Default)]
pub(super) struct Disk {
    groups: Vec<Group>,
    under_way: Option<Group>,
    forming: Vec<u8>,
    forming_count: u64,
    last_lsn: u64,
    durable_lsn: u64,
    /// Newest last; at most two.
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) writing: Option<Snapshot>,
}

impl Disk {
    /// One that a process before wrote these records to.
    pub(super) fn holding(records: &(Vec<u8>, u32)) -> Self {
        let mut disk = Self::default();
        disk.append(&records.0, records.1);
        if disk.commit().is_some() {
            disk.on_committed();
        }
        disk
    }

    /// Takes records; the last of them has the number that is returned.
    pub(super) fn append(&mut self, records: &[u8], count: u32) -> u64 {
        self.forming.extend_from_slice(records);
        self.forming_count += u64::from(count);
        self.last_lsn += u64::from(count);
        self.last_lsn
    }

    pub(super) fn last_lsn(&self) -> u64 {
        self.last_lsn
    }

    pub(super) fn durable_lsn(&self) -> u64 {
        self.durable_lsn
    }

    /// The last record that is on its way to the disk or there.
    pub(super) fn written_lsn(&self) -> u64 {
        self.last_lsn - self.forming_count
    }

    pub(super) fn is_idle(&self) -> bool {
        self.durable_lsn == self.last_lsn
    }

    /// Starts the next commit if none is under way. Tells whether one began.
    pub(super) fn commit(&mut self) -> Option<&[u8]> {
        if self.under_way.is_some() || self.forming_count == 0 {
            return None;
        }
        let first_lsn = self.last_lsn - self.forming_count + 1;
        let records = core::mem::take(&mut self.forming);
        let count = core::mem::take(&mut self.forming_count);
        let group = self.under_way.insert(Group { first_lsn, count, records });
        Some(&group.records)
    }

    /// The commit under way is on the disk.
    pub(super) fn on_committed(&mut self) {
        if let Some(group) = self.under_way.take() {
            self.durable_lsn = group.last_lsn();
            self.groups.push(group);
        }
    }

    /// The snapshot that was being written counts from now on; of the journal what it and the one
    /// before it need is left.
    pub(super) fn on_snapshot_written(&mut self) {
        let Some(snapshot) = self.writing.take() else { return };
        self.snapshots.push(snapshot);
        if self.snapshots.len() > 2 {
            self.snapshots.remove(0);
        }
        if let [older, _] = &self.snapshots[..] {
            let from = older.replay_from_lsn;
            self.groups.retain(|group| group.last_lsn() >= from);
        }
    }

    /// The process ends. Returns how many records are lost that were called durable.
    pub(super) fn crash(&mut self, draw: &mut Stream, lies: bool) -> u64 {
        let survives = draw.below(2) == 0;
        if let Some(group) = self.under_way.take().filter(|_| survives) {
            self.groups.push(group);
        }
        self.forming.clear();
        self.forming_count = 0;
        self.writing = None;
        let mut lost = 0;
        if lies {
            for _ in 0..draw.below(4) {
                // A snapshot is not newer than the journal that it stands on.
                let kept = self.snapshots.last().map_or(0, |snapshot| snapshot.lsn);
                if self.groups.last().is_some_and(|group| group.first_lsn > kept + 1) {
                    lost += self.groups.pop().map_or(0, |group| group.count);
                }
            }
        }
        let end = self.groups.last().map(Group::last_lsn);
        let kept = self.snapshots.last().map_or(0, |snapshot| snapshot.lsn);
        self.last_lsn = end.unwrap_or(0).max(kept);
        self.durable_lsn = self.last_lsn;
        lost
    }

    /// The groups that have records from this one on.
    pub(super) fn groups_from(&self, lsn: u64) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.last_lsn() >= lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_follow_each_other_and_a_crash_cuts_the_end() {
        let mut disk = Disk::default();
        assert_eq!(disk.append(b"ab", 2), 2);
        assert!(disk.commit().is_some());
        assert_eq!(disk.append(b"c", 1), 3);
        assert!(disk.commit().is_none(), "one at a time");
        assert_eq!((disk.written_lsn(), disk.durable_lsn()), (2, 0));
        disk.on_committed();
        assert_eq!(disk.durable_lsn(), 2);
        assert_eq!(disk.commit(), Some(&b"c"[..]));
        let mut kept = [0; 4];
        for seed in 0..100 {
            let mut draw = Stream::new(seed, "disk");
            let mut crashed = Disk { groups: disk.groups.clone(), ..Disk::default() };
            crashed.under_way = disk.under_way.clone();
            assert_eq!(crashed.crash(&mut draw, false), 0);
            kept[crashed.last_lsn() as usize] += 1;
        }
        assert_eq!(kept[0] + kept[1], 0);
        assert!(kept[2] > 20 && kept[3] > 20, "{kept:?}");
    }
}
