//! Another layout at a restart: other shards, other counters. What shards of the layout before left
//! is finished by them and taken over by the shards of now, card by card.

use super::fixture::{Request, World, config, connection, issuer_answer, pan, secrets};
use crate::config::{Config, VelocityCounter, VelocityLimit, VelocityWindow};
use crate::shard::snapshot::SnapshotStep;
use crate::shard::state_layout::StateLayout;
use crate::shard::{
    AcquirerId, ConnectionId, IssuerId, Now, Outbox, Shard, ShardId, card_cipher, placement,
};
use proptest::prelude::*;
use tapswitch_protocol::{Dialect, Pan};

const CARDS: [&str; 4] = ["C1", "C2", "C3", "C4"];

/// The shards of a process, each with its journal.
struct Process {
    config: Config,
    shards: Vec<World>,
    records: Vec<Vec<u8>>,
    /// What the process before left.
    base: Vec<(Vec<u8>, Vec<u8>)>,
    at_ms: u64,
}

impl Process {
    fn new(config: Config) -> Self {
        let shards = (0..config.switch.shards).map(|id| world(&config, id)).collect::<Vec<_>>();
        let records = vec![Vec::new(); shards.len()];
        Self { config, shards, records, base: Vec::new(), at_ms: 0 }
    }

    /// The shard of a card.
    fn owner(&self, card: &str) -> usize {
        owner(card, self.shards.len())
    }

    fn owner_of(&self, request: &Request<'_>) -> usize {
        self.owner(CARDS.iter().find(|card| pan(card) == request.pan).unwrap())
    }

    fn request(&mut self, request: &Request<'_>) -> Vec<String> {
        let owner = self.owner_of(request);
        let world = &mut self.shards[owner];
        let message = request.message(Dialect::cups());
        let connection = on(owner);
        let staged = world.shard.stage(connection, &message);
        let header = super::fixture::cups_header();
        let World { shard, now, outbox, .. } = world;
        shard.on_request(*now, staged, &header, &message, outbox);
        self.take(owner)
    }

    /// The issuer answers what this shard forwarded last.
    fn issuer(&mut self, owner: usize, code: &str) -> Vec<String> {
        let World { shard, now, outbox, forwarded, .. } = &mut self.shards[owner];
        let (issuer, _, forward) = forwarded.last().unwrap().clone();
        let answer = issuer_answer(&forward, code, &[]);
        shard.on_issuer_response(*now, issuer, AcquirerId(0), &answer, outbox);
        self.take(owner)
    }

    /// A purchase that is approved.
    fn buy(&mut self, request: &Request<'_>) {
        let owner = self.owner_of(request);
        assert_eq!(self.request(request).len(), 1);
        assert_eq!(self.issuer(owner, "00"), ["A1 0210 00"]);
    }

    fn take(&mut self, owner: usize) -> Vec<String> {
        let world = &mut self.shards[owner];
        self.records[owner].extend_from_slice(world.outbox.records().0);
        world.drain().into_iter().map(|done| done.text).collect()
    }

    /// What is sent after a restart: all that is owed.
    fn resent(&mut self) -> Vec<(String, Vec<u8>)> {
        self.at_ms += 500;
        let mut sent = Vec::new();
        for owner in 0..self.shards.len() {
            self.shards[owner].at_ms(self.at_ms);
            let done = self.shards[owner].tick();
            sent.extend(done.into_iter().map(|done| (done.text, done.bytes)));
        }
        sent
    }

    /// The process ends; shards of its layout read their journals and leave what is carried over.
    fn carried(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let before = StateLayout::of(&self.config).config(&self.config);
        let now = self.shards[0].now;
        let now = Now { mono_ns: now.mono_ns + 1_000_000_000, wall_ms: now.wall_ms + 1_000 };
        let left = self.records.iter().enumerate().map(|(id, records)| {
            let mut shard = Shard::new(ShardId(id as u8), &before, &secrets());
            load(&mut shard, &self.base).unwrap();
            shard.replay(records, 0).unwrap();
            let living = &self.shards[id].shard;
            assert_eq!(shard.state_hash(), living.state_hash(), "what it knew at its end");
            assert!(!shard.on_recovered(now, &mut Outbox::new()));
            let header = shard.carry_begin(now);
            let mut bytes = Vec::new();
            while shard.snapshot_next(&mut bytes, 1_000) == SnapshotStep::More {}
            (header, bytes)
        });
        left.collect()
    }

    /// The next process has another layout.
    fn restart(self, config: Config) -> Self {
        let carried = self.carried();
        let mut next = Self::new(config);
        next.at_ms = self.at_ms + 2_000;
        for (id, world) in next.shards.iter_mut().enumerate() {
            load(&mut world.shard, &carried).unwrap();
            world.at_ms(next.at_ms);
            let World { shard, now, outbox, .. } = world;
            assert!(!shard.on_recovered(*now, outbox), "nothing is left under way");
            assert!(outbox.actions().is_empty());
            shard.on_connection_open(on(id));
        }
        next.base = carried;
        for owner in 0..next.shards.len() {
            next.take(owner);
        }
        next
    }
}

fn load(shard: &mut Shard, carried: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
    shard.begin_recovery();
    for (header, bytes) in carried {
        shard.load_begin(header)?;
        bytes.chunks(777).try_for_each(|part| shard.load(part))?;
        shard.load_end()?;
    }
    Ok(())
}

/// What one shard knows, in shards of another layout.
pub(super) fn carried_over(before: &mut Shard, config: &Config, shards: usize) -> Vec<Shard> {
    let now = Now { mono_ns: 1, wall_ms: 1_795_348_800_000 };
    let (header, mut pieces) = (before.carry_begin(now), Vec::new());
    while before.snapshot_next(&mut pieces, 1_000) == SnapshotStep::More {}
    let carried = [(header, pieces)];
    let after = (0..shards).map(|id| {
        let mut shard = Shard::new(ShardId(id as u8), config, &secrets());
        load(&mut shard, &carried).unwrap();
        shard
    });
    after.collect()
}

fn world(config: &Config, id: usize) -> World {
    let mut world = World::new(config);
    world.shard = Shard::new(ShardId(id as u8), config, &secrets());
    world.shard.on_connection_open(on(id));
    world.outbox = Outbox::journaling();
    world
}

/// A connection of that shard.
fn on(owner: usize) -> ConnectionId {
    ConnectionId { shard: ShardId(owner as u8), ..connection(1) }
}

fn owner(card: &str, shards: usize) -> usize {
    let key = card_cipher::CardCipher::new(&secrets().card_key);
    let pan = Pan::from_digits(pan(card).as_bytes()).unwrap();
    usize::from(placement::owner(key.key(&pan), shards).0)
}

fn buy(card: &str, stan: u32, amount: u64) -> Request<'static> {
    Request { pan: pan(card), stan, amount: Some(amount), ..Request::default() }
}

/// Made after all restarts: no process before can have lost it.
fn later(card: &str, stan: u32, amount: u64) -> Request<'static> {
    Request { extra: &[(7, b"1122130000")], ..buy(card, stan, amount) }
}

/// The counter of the fixture and others, each with a limit of so many transactions.
fn with_counters(shards: usize, counters: &[(&str, VelocityWindow, u32)]) -> Config {
    let mut config = config(shards);
    let day = config.velocity.counters[0].clone();
    let daily = config.velocity.limits[0].clone();
    config.velocity.counters.clear();
    config.velocity.limits.clear();
    for (place, (name, window, count_max)) in counters.iter().enumerate() {
        let name = (*name).to_owned();
        config.velocity.counters.push(VelocityCounter {
            name: name.clone(),
            window: *window,
            ..day.clone()
        });
        config.velocity.limits.push(VelocityLimit {
            name,
            counter: Some(place),
            count_max: Some(*count_max),
            amount_minor_max: None,
            ..daily.clone()
        });
    }
    config
}

const DAY: VelocityWindow = VelocityWindow::Fixed { window_s: 86_400 };
const HOUR: VelocityWindow = VelocityWindow::Rolling { window_s: 3_600, sub_windows: 4 };

#[test]
fn cards_of_the_tests_live_on_both_of_two_shards() {
    let owners = CARDS.map(|card| owner(card, 2));
    assert!(owners.contains(&0) && owners.contains(&1), "{owners:?}");
}

#[test]
fn counters_answers_and_originals_go_with_their_cards_to_more_shards_and_back() {
    let mut process = Process::new(config(1));
    for (card, stan) in CARDS.into_iter().zip(1..) {
        process.buy(&buy(card, stan, 6_000));
    }
    assert_eq!(process.request(&buy("C1", 9, 4_001)), ["A1 0210 61"]);
    for shards in [2, 3, 1] {
        process = process.restart(config(shards));
        for (card, stan) in CARDS.into_iter().zip(1..) {
            assert_eq!(process.request(&buy(card, stan, 6_000)), ["A1 0210 00"], "as before");
            assert_eq!(process.request(&later(card, 50 + stan, 4_001)), ["A1 0210 61"], "counted");
        }
        assert_eq!(process.request(&buy("C1", 9, 4_001)), ["A1 0210 61"], "a decline too");
    }
    // The originals came along: what is reversed counts no more.
    for (card, stan) in CARDS.into_iter().zip(1..) {
        let original =
            Request { mti: 420, original_stan: Some(stan), ..buy(card, 20 + stan, 6_000) };
        assert_eq!(process.request(&original)[0], "A1 0430 00");
        let owner = process.owner(card);
        process.issuer(owner, "00");
        process.buy(&later(card, 30 + stan, 10_000));
    }
}

#[test]
fn what_was_under_way_is_reversed_once_by_the_new_owner() {
    let mut process = Process::new(config(1));
    for (card, stan) in CARDS.into_iter().zip(1..) {
        assert_eq!(process.request(&buy(card, stan, 6_000)).len(), 1);
    }
    process = process.restart(config(2));
    let sent = process.resent();
    assert_eq!(sent.len(), CARDS.len(), "{sent:?}");
    assert!(sent.iter().all(|(text, _)| text.ends_with(" 0420")));
    for (card, stan) in CARDS.into_iter().zip(1..) {
        assert_eq!(process.request(&buy(card, stan, 6_000)), ["A1 0210 98"], "as after a time-out");
    }
    // Their issuers have them; nothing is owed after the next restart.
    for (_, message) in sent {
        let answer = issuer_answer(&message, "00", &[]);
        for owner in 0..2 {
            let issuers = if process.owner("C4") == owner { 0..2 } else { 0..1 };
            for issuer in issuers {
                let World { shard, now, outbox, .. } = &mut process.shards[owner];
                let (issuer, acquirer) = (IssuerId(issuer), AcquirerId(0));
                shard.on_issuer_response(*now, issuer, acquirer, &answer, outbox);
                process.take(owner);
            }
        }
    }
    assert_eq!(process.shards.iter().map(|world| world.shard.owed()).sum::<usize>(), 0);
}

#[test]
fn a_message_owed_keeps_the_numbers_that_its_issuer_may_know() {
    for (from, to) in [(1, 2), (2, 1), (3, 2)] {
        let mut process = Process::new(config(from));
        let mut sent_before = Vec::new();
        for (card, stan) in CARDS.into_iter().zip(1..) {
            process.buy(&buy(card, stan, 6_000));
            let reversal =
                Request { mti: 420, original_stan: Some(stan), ..buy(card, 20 + stan, 6_000) };
            assert_eq!(process.request(&reversal).len(), 2);
            let owner = process.owner(card);
            sent_before.push(process.shards[owner].forwarded.last().unwrap().2.clone());
        }
        let process_config = config(to);
        let mut process = process.restart(process_config);
        let mut sent: Vec<_> = process.resent().into_iter().map(|(_, bytes)| bytes).collect();
        sent.sort();
        sent_before.sort();
        assert!(sent == sent_before, "byte for byte, {from} to {to}");
        for (card, stan) in CARDS.into_iter().zip(40..) {
            process.buy(&later(card, stan, 1));
        }
        assert_eq!(process.shards.iter().map(|world| world.shard.owed()).sum::<usize>(), 4);
    }
}

#[test]
fn what_an_issuer_refuses_stays_parked_in_another_layout() {
    for (from, to) in [(1, 2), (2, 1), (1, 1)] {
        let mut process = Process::new(config(from));
        for (card, stan) in CARDS.into_iter().zip(1..) {
            process.buy(&buy(card, stan, 6_000));
            let reversal =
                Request { mti: 420, original_stan: Some(stan), ..buy(card, 20 + stan, 6_000) };
            process.request(&reversal);
            let owner = process.owner(card);
            // Every second one is refused three times.
            for _ in 0..3 * (stan % 2) {
                process.issuer(owner, "30");
            }
        }
        let totals = |process: &Process| {
            let counts = (0..2).flat_map(|issuer| {
                process.shards.iter().map(move |it| it.shard.owed_to(IssuerId(issuer)))
            });
            counts.fold((0, 0), |sum, counts| (sum.0 + counts.owed, sum.1 + counts.parked))
        };
        assert_eq!(totals(&process), (2, 2));
        let mut process = process.restart(config(to));
        assert_eq!(totals(&process), (2, 2), "{from} to {to}");
        assert_eq!(process.resent().len(), 2);
    }
}

#[test]
fn a_counter_that_is_kept_counts_on_and_a_new_one_begins_empty() {
    let mut process = Process::new(with_counters(1, &[("day", DAY, 3), ("gone", HOUR, 9)]));
    process.buy(&buy("C1", 1, 100));
    process.buy(&buy("C1", 2, 100));
    // Under way at the end: reversed, and counted by nothing.
    assert_eq!(process.request(&buy("C2", 3, 100)), ["I0 0200"]);
    // Another place, another stride.
    let after = with_counters(2, &[("new", HOUR, 2), ("other", HOUR, 9), ("day", DAY, 3)]);
    let mut process = process.restart(after);
    process.buy(&later("C1", 11, 100));
    assert_eq!(
        process.request(&later("C1", 12, 100)),
        ["A1 0210 65"],
        "the day's third was the last"
    );
    process.buy(&later("C2", 21, 100));
    process.buy(&later("C2", 22, 100));
    assert_eq!(process.request(&later("C2", 23, 100)), ["A1 0210 65"], "the hour's second was");
    // A reversal of what was counted before takes it back from the day alone.
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy("C1", 13, 100) };
    assert_eq!(process.request(&reversal)[0], "A1 0430 00");
    process.buy(&later("C1", 14, 100));
    assert_eq!(process.request(&later("C1", 15, 100)), ["A1 0210 65"]);
}

#[test]
fn a_counter_of_another_window_is_a_new_one() {
    let mut process = Process::new(with_counters(1, &[("day", DAY, 2)]));
    process.buy(&buy("C1", 1, 100));
    process.buy(&buy("C1", 2, 100));
    let mut process = process.restart(with_counters(1, &[("day", HOUR, 2)]));
    process.buy(&later("C1", 3, 100));
    process.buy(&later("C1", 4, 100));
    assert_eq!(process.request(&later("C1", 5, 100)), ["A1 0210 65"]);
}

#[test]
fn what_becomes_of_a_layout_is_said() {
    let before = StateLayout::of(&with_counters(1, &[("a", DAY, 1), ("b", DAY, 1), ("c", DAY, 1)]));
    let after = StateLayout::of(&with_counters(2, &[("d", DAY, 1), ("b", HOUR, 1), ("a", DAY, 1)]));
    assert_eq!(StateLayout::from_bytes(&before.to_bytes()).unwrap(), before);
    assert_eq!(
        before.changes_to(&after),
        [
            "shards: 1 before, 2 now",
            "lines of each shard's table: 1024 before, 512 now",
            "counter d is new and begins empty",
            "counter b counts otherwise and begins empty",
            "counter a is carried over",
            "counter c is gone and left behind",
        ]
    );
    // Issuers and acquirers have their places in what is kept: new ones come last.
    let more = |issuers: &[&str]| StateLayout {
        issuers: issuers.iter().map(ToString::to_string).collect(),
        ..before.clone()
    };
    let kept = more(&["ABC", "CMB"]);
    for (now, displaced) in [
        (&["ABC", "CMB", "NEW"][..], None),
        (&["CMB", "ABC"], Some("issuer ABC")),
        (&["ABC", "NEW", "CMB"], Some("issuer CMB")),
        (&["ABC"], Some("issuer CMB")),
    ] {
        assert_eq!(kept.displaced_in(&more(now)).as_deref(), displaced);
    }
    assert!(kept.changes_to(&more(&["ABC", "CMB", "NEW"])).contains(&"issuer NEW is new".into()));
    let old: StateLayout = StateLayout::from_bytes(&more(&[]).to_bytes()).unwrap();
    assert_eq!(old.displaced_in(&kept), None, "an older version did not say");
    assert!(StateLayout::from_bytes(b"{}").unwrap_err().contains("cannot be read"));
}

/// Nothing is dropped silently.
#[test]
fn more_holds_than_fit_are_refused_in_a_sentence() {
    let mut process = Process::new(config(2));
    for (card, stan) in ["C1", "C2"].into_iter().zip(1..) {
        let hold = Request { mti: 100, processing: "030000", ..buy(card, stan, 5_000) };
        assert_eq!(process.request(&hold), ["I0 0100"]);
        let owner = process.owner(card);
        let World { shard, now, outbox, forwarded, .. } = &mut process.shards[owner];
        let answer = issuer_answer(&forwarded.last().unwrap().2, "00", &[(38, b"123456")]);
        shard.on_issuer_response(*now, IssuerId(0), AcquirerId(0), &answer, outbox);
        assert_eq!(process.take(owner), ["A1 0110 00"]);
    }
    let carried = process.carried();
    let load_into = |holds: usize| {
        let mut config = config(1);
        config.switch.preauthorizations_max = holds;
        load(&mut Shard::new(ShardId(0), &config, &secrets()), &carried)
    };
    assert_eq!(load_into(2), Ok(()));
    assert!(load_into(1).unwrap_err().contains("preauthorizations_max must be larger"));
}

/// What a card and its issuer are told, kept without any table.
#[derive(Default)]
struct Model {
    /// By card: STAN, amount, and whether it still counts.
    bought: [Vec<(u32, u64, bool)>; 4],
    under_way: usize,
    owed: usize,
    stan: u32,
}

const LIMIT_MINOR: u64 = 1_000_000;

impl Model {
    fn counted(&self, card: usize) -> u64 {
        self.bought[card].iter().filter(|it| it.2).map(|it| it.1).sum()
    }

    /// One transaction of the process; what happens to it is drawn.
    fn transact(&mut self, process: &mut Process, draw: u32) {
        let place = draw as usize % 4;
        let (card, amount) = (CARDS[place], u64::from(draw / 4 % 4_999) + 1);
        self.stan += 1;
        let request = buy(card, self.stan, amount);
        let owner = process.owner(card);
        match draw / 20_000 % 8 {
            0 => {
                assert_eq!(process.request(&request).len(), 1);
                self.under_way += 1;
            }
            1 => {
                assert_eq!(process.request(&request).len(), 1);
                assert_eq!(process.issuer(owner, "51"), ["A1 0210 51"]);
            }
            2 => {
                let Some(last) = self.bought[place].iter_mut().rev().find(|it| it.2) else {
                    return;
                };
                let original_stan = Some(last.0);
                let reversal = Request { mti: 420, original_stan, ..buy(card, self.stan, last.1) };
                assert_eq!(process.request(&reversal)[0], "A1 0430 00");
                last.2 = false;
                self.owed += 1;
            }
            _ => {
                process.buy(&request);
                self.bought[place].push((self.stan, amount, true));
            }
        }
    }

    /// All that was said before is still so.
    fn check(&mut self, process: &mut Process) {
        let owed: usize = process.shards.iter().map(|world| world.shard.owed()).sum();
        assert_eq!(owed, self.owed);
        for (place, card) in CARDS.into_iter().enumerate() {
            for &(stan, amount, counts) in &self.bought[place] {
                let code = if counts { "A1 0210 00" } else { "A1 0210 98" };
                assert_eq!(process.request(&buy(card, stan, amount)), [code], "{card} {stan}");
            }
            let left = LIMIT_MINOR - self.counted(place);
            self.stan += 2;
            let above = later(card, self.stan, left + 1);
            assert_eq!(process.request(&above), ["A1 0210 61"], "{card}");
            let all = later(card, self.stan - 1, left);
            assert_eq!(process.request(&all).len(), 1, "{card}");
            let owner = process.owner(card);
            assert_eq!(process.issuer(owner, "51"), ["A1 0210 51"]);
        }
    }
}

/// One counter that stays, and others beside it.
fn layout(draw: u32) -> Config {
    let others: &[(&str, VelocityWindow, u32)] =
        &[("hour", HOUR, 9_999), ("day", DAY, 9_999), ("more", DAY, 9_999)];
    let from = (draw / 3 % 2) as usize;
    let until = 2 + (draw / 6 % 2) as usize;
    let mut config = with_counters(draw as usize % 3 + 1, &others[from..until]);
    let limit = config.velocity.limits.iter_mut().find(|limit| limit.name == "day").unwrap();
    limit.amount_minor_max = Some(LIMIT_MINOR);
    config
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_layouts_nothing_is_forgotten_and_nothing_counts_twice(
        lives in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u32>(), 0..60)), 2..4),
    ) {
        let mut model = Model::default();
        let mut process = Process::new(layout(0));
        for (next, draws) in lives {
            draws.iter().for_each(|&draw| model.transact(&mut process, draw));
            process = process.restart(layout(next));
            model.owed += std::mem::take(&mut model.under_way);
            model.check(&mut process);
        }
    }
}
