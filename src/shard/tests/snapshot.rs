//! Snapshots taken while the shard serves: with the records after the cut they are the shard again.

use super::fixture::{Request, World, config, connection, cups_header, issuer_answer, secrets};
use crate::memory::TableMemory;
use crate::shard::snapshot::SnapshotStep;
use crate::shard::velocity::PassedTable;
use crate::shard::{AcquirerId, IssuerId, Outbox, Shard, ShardId};
use proptest::prelude::*;
use tapswitch_protocol::Dialect;

/// Digits of an account, completed to a PAN of issuer 0.
fn pan(card: u32) -> String {
    format!("622848{card:012}8")
}

/// A shard with a journal that never loses anything, and a snapshot that may be under way.
struct Rig {
    world: World,
    /// Each record by itself: its number is its place and one.
    records: Vec<Vec<u8>>,
    stan: u32,
    header: Vec<u8>,
    pieces: Vec<u8>,
    cut_lsn: usize,
    replay_from: usize,
    step: SnapshotStep,
}

impl Rig {
    fn new() -> Self {
        Self::of(TableMemory::Private)
    }

    fn of(table: TableMemory) -> Self {
        let mut config = config(1);
        config.velocity.table = table;
        config.velocity.limits[0].count_max = None;
        config.velocity.limits[0].amount_minor_max = Some(1 << 40);
        let mut world = World::new(&config);
        world.outbox = Outbox::journaling();
        Self {
            world,
            records: Vec::new(),
            stan: 0,
            header: Vec::new(),
            pieces: Vec::new(),
            cut_lsn: 0,
            replay_from: 0,
            step: SnapshotStep::Done,
        }
    }

    fn take(&mut self) {
        let mut bytes = self.world.outbox.records().0;
        while !bytes.is_empty() {
            let (record, rest) =
                bytes.split_at(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
            self.records.push(record.to_vec());
            bytes = rest;
        }
        let lsn = self.records.len() as u64;
        self.world.outbox.on_appended(lsn);
        self.world.drain();
    }

    fn send(&mut self, request: &Request<'_>) {
        let message = request.message(Dialect::cups());
        let World { shard, now, outbox, .. } = &mut self.world;
        let staged = shard.stage(connection(1), &message);
        shard.on_request(*now, staged, &cups_header(), &message, outbox);
        self.take();
    }

    /// One transaction: what happens to it is drawn from `draw`.
    fn transact(&mut self, draw: u32) {
        self.stan += 1;
        let (stan, card) = (self.stan, pan(draw % 37));
        let amount = Some(u64::from(draw % 5_000) + 1);
        let buy = Request { stan, pan: &card, amount, ..Request::default() };
        let buy = match draw % 11 {
            0 => Request { mti: 100, processing: "030000", ..buy },
            1 => Request { mti: 220, ..buy },
            _ => buy,
        };
        self.send(&buy);
        let code = ["00", "00", "00", "51", "", "00"][(draw / 11 % 6) as usize];
        if !code.is_empty()
            && let Some((_, _, forward)) = self.world.forwarded.last().cloned()
        {
            let World { shard, now, outbox, .. } = &mut self.world;
            let answer = issuer_answer(&forward, code, &[]);
            shard.on_issuer_response(*now, IssuerId(0), AcquirerId(0), &answer, outbox);
            self.take();
        }
        if (draw / 66).is_multiple_of(5) {
            let original_stan = Some(stan);
            self.stan += 1;
            let reversal = Request { mti: 420, stan: self.stan, original_stan, ..buy };
            self.send(&reversal);
        }
    }

    fn cut(&mut self) {
        let lsn = self.records.len();
        self.replay_from = self.world.shard.replay_from_lsn(lsn as u64) as usize;
        self.cut_lsn = lsn;
        self.header = self.world.shard.snapshot_begin(self.world.now);
        self.step = SnapshotStep::More;
    }

    fn step(&mut self, bytes_max: usize) {
        if self.step == SnapshotStep::More {
            self.step = self.world.shard.snapshot_next(&mut self.pieces, bytes_max);
        }
    }

    /// What a restart makes of it, its snapshot read in parts of so many bytes.
    fn restored(&self, part: usize) -> Shard {
        self.restored_on(None, part)
    }

    fn restored_on(&self, table: Option<PassedTable>, part: usize) -> Shard {
        let mut shard = new_shard(table);
        shard.begin_recovery();
        shard.load_begin(&self.header).unwrap();
        for part in self.pieces.chunks(part) {
            shard.load(part).unwrap();
        }
        shard.load_end().unwrap();
        let first = self.replay_from - 1;
        let known = self.cut_lsn - first;
        shard.replay(&self.records[first..].concat(), known as u64).unwrap();
        shard
    }

    /// Hands all over that it knows.
    fn part(&mut self) -> Option<PassedTable> {
        let shard = &mut self.world.shard;
        shard.snapshot_abandon();
        self.cut_lsn = self.records.len();
        self.replay_from = shard.replay_from_lsn(self.cut_lsn as u64) as usize;
        self.header = shard.part_begin(self.world.now)?;
        self.pieces.clear();
        while shard.snapshot_next(&mut self.pieces, 512) == SnapshotStep::More {}
        shard.part_end()
    }
}

fn new_shard(table: Option<PassedTable>) -> Shard {
    let mut config = config(1);
    config.velocity.limits[0].amount_minor_max = Some(1 << 40);
    Shard::with_table(ShardId(0), &config, &secrets(), table)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_snapshot_and_what_came_after_are_the_shard(
        before in prop::collection::vec(any::<u32>(), 0..120),
        during in prop::collection::vec(any::<u32>(), 0..120),
        after in prop::collection::vec(any::<u32>(), 0..40),
        bytes_max in 64usize..4_096,
        part in 1usize..3_000,
    ) {
        let mut rig = Rig::new();
        before.iter().for_each(|&draw| rig.transact(draw));
        rig.cut();
        for &draw in &during {
            rig.step(bytes_max);
            rig.transact(draw);
            rig.world.shard.on_batch_end(rig.world.now);
        }
        while rig.step == SnapshotStep::More {
            rig.step(bytes_max);
        }
        prop_assert_eq!(rig.step, SnapshotStep::Done);
        after.iter().for_each(|&draw| rig.transact(draw));
        let shard = rig.restored(part);
        prop_assert_eq!(shard.state_hash(), rig.world.shard.state_hash());
        prop_assert_eq!(shard.owed(), rig.world.shard.owed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_shard_that_parts_is_the_same_where_it_is_passed_to(
        draws in prop::collection::vec(any::<u32>(), 0..200),
        is_cut: bool,
        part in 1usize..3_000,
    ) {
        let mut rig = Rig::of(TableMemory::Shared);
        draws.iter().for_each(|&draw| rig.transact(draw));
        if is_cut {
            // It is given up for this.
            rig.cut();
            rig.step(64);
        }
        let before = (rig.world.shard.state_hash(), rig.world.shard.cards());
        let table = rig.part();
        prop_assert!(table.is_some());
        let shard = rig.restored_on(table, part);
        prop_assert_eq!((shard.state_hash(), shard.cards()), before);
        let mut read = new_shard(None);
        read.begin_recovery();
        read.replay(&rig.records.concat(), 0).unwrap();
        prop_assert!(shard.knows_as(&mut read));
        let [passed, read] = [shard.recovered(), read.recovered()];
        prop_assert_eq!((passed.in_flight, passed.owed), (read.in_flight, read.owed));
    }
}

/// What a debug build asks of what it was passed finds a transaction that is missing, of lines or rest.
#[test]
fn a_shard_that_knows_less_money_is_told_from_one_that_knows_all() {
    let mut rig = Rig::of(TableMemory::Shared);
    (0..9).for_each(|draw| rig.transact(draw * 66 + 11));
    let table = rig.part();
    let shard = rig.restored_on(table, 512);
    let read = |records: &[Vec<u8>]| {
        let mut read = new_shard(None);
        read.begin_recovery();
        read.replay(&records.concat(), 0).unwrap();
        read
    };
    assert!(shard.knows_as(&mut read(&rig.records)));
    for last in 1..=3 {
        let fewer = &rig.records[..rig.records.len() - last];
        assert!(!shard.knows_as(&mut read(fewer)), "{last} records fewer");
    }
}

/// The rest is worth nothing without the lines, and the lines without the rest.
#[test]
fn what_is_passed_is_used_whole_or_not_at_all() {
    let mut private = Rig::new();
    private.transact(1);
    assert!(private.part().is_none());
    let mut rig = Rig::of(TableMemory::Shared);
    rig.transact(1);
    rig.cut();
    let whole = rig.header.clone();
    let table = rig.part();
    assert!(new_shard(None).load_begin(&rig.header).is_err(), "without the lines");
    let mut passed = new_shard(table);
    assert!(passed.load_begin(&whole).is_err(), "a snapshot that has lines of its own");
    assert!(passed.load_begin(&rig.header).is_ok());
    // One of another size is none.
    let mut other = Rig::of(TableMemory::Shared).part().unwrap();
    other.occupied = usize::MAX;
    assert!(new_shard(Some(other)).load_begin(&rig.header).is_err());
}

/// Its lines are of windows that were open at its cut, also when no record follows.
#[test]
fn a_snapshot_that_nothing_follows_brings_its_time_along() {
    let mut rig = Rig::new();
    rig.world.at_ms(3 * 86_400_000);
    rig.transact(1);
    rig.cut();
    while rig.step == SnapshotStep::More {
        rig.step(512);
    }
    rig.records.truncate(rig.cut_lsn);
    rig.replay_from = rig.cut_lsn + 1;
    assert_eq!(rig.restored(512).state_hash(), rig.world.shard.state_hash());
}

/// Holds are read after the cut: the records between must not be applied to them twice.
#[test]
fn a_hold_completed_after_the_cut_counts_once_what_it_is_less() {
    for is_reversed in [false, true] {
        let mut rig = Rig::new();
        let card = pan(1);
        let approve = |rig: &mut Rig, request: &Request<'_>| {
            rig.send(request);
            let forward = rig.world.forwarded.last().unwrap().2.clone();
            let World { shard, now, outbox, .. } = &mut rig.world;
            let answer = issuer_answer(&forward, "00", &[]);
            shard.on_issuer_response(*now, IssuerId(0), AcquirerId(0), &answer, outbox);
            rig.take();
        };
        let hold = Request { pan: &card, amount: Some(5_000), ..Request::default() };
        approve(&mut rig, &Request { mti: 100, processing: "030000", stan: 1, ..hold });
        rig.cut();
        let extra: &[(u8, &[u8])] = &[(25, b"06"), (38, b"A00001")];
        let completion =
            Request { pan: &card, stan: 2, amount: Some(3_000), extra, ..Request::default() };
        approve(&mut rig, &completion);
        if is_reversed {
            let original_stan = Some(2);
            rig.send(&Request { mti: 420, stan: 3, original_stan, ..completion });
        }
        while rig.step == SnapshotStep::More {
            rig.step(512);
        }
        let shard = rig.restored(512);
        assert_eq!(shard.state_hash(), rig.world.shard.state_hash(), "{is_reversed}");
    }
}

#[test]
fn a_damaged_snapshot_is_told_and_never_panics() {
    let mut rig = Rig::new();
    (0..40).for_each(|draw| rig.transact(draw * 7_919));
    rig.cut();
    while rig.step == SnapshotStep::More {
        rig.step(512);
    }
    let mut told = 0;
    for at in (0..rig.pieces.len()).step_by(rig.pieces.len() / 50) {
        let mut bytes = rig.pieces.clone();
        bytes[at] ^= 0x5A;
        let mut shard = Shard::new(ShardId(0), &config(1), &secrets());
        shard.begin_recovery();
        shard.load_begin(&rig.header).unwrap();
        let loaded = shard.load(&bytes).and_then(|()| shard.load_end());
        told += usize::from(loaded.is_err());
    }
    assert!(told > 5, "{told}");
    let mut shard = Shard::new(ShardId(0), &config(1), &secrets());
    assert!(shard.load_begin(b"{}").is_err());
    assert!(shard.load_begin(b"not a header").is_err());
}
