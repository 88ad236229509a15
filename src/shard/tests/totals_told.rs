//! Totals that the switch tells issuers by itself after a cut-off, where their links want it.

use super::fixture::{Request, World, issuer_answer, pan, secrets, with_view};
use super::issuer_totals::configured;
use super::mesh::Pair;
use super::restart::Journaled;
use super::settlement::{CUT_OFF_MS, DAY, buy, field, load};
use crate::config::Config;
use crate::shard::{Counter, IssuerId, LinkId, Shard, ShardId};
use tapswitch_protocol::Dialect;

const LINK: LinkId = LinkId { issuer: IssuerId(0), number: 0 };
/// A minute after the cut-off.
const DUE_MS: u64 = CUT_OFF_MS + 60_000;

fn wanting(shards: usize) -> Config {
    let mut config = configured(shards);
    if let Some(link) = &mut config.issuers[0].link {
        link.reconciles = true;
        // Days in which nothing is said: echoes are not what this is about.
        link.echo_idle_ms = 30 * 24 * 3_600_000;
    }
    config
}

/// One purchase of 10.00 on the date that ends at the cut-off.
fn with_purchase() -> World {
    let mut world = World::new(&wanting(1));
    world.shard.on_issuer_up(world.now, LINK);
    world.tick();
    world.done(&buy(1, 1_000), "00");
    world
}

fn texts(world: &mut World, at_ms: u64) -> Vec<String> {
    world.at_ms(at_ms);
    world.tick().into_iter().map(|done| done.text).collect()
}

/// The issuer's answer to what was sent to it last.
fn answer(world: &mut World, code: &str, balance: &[u8]) {
    let sent = world.forwarded.last().unwrap().2.clone();
    let more: &[(u8, &[u8])] = &[(66, balance)];
    let more = if balance.is_empty() { &[] } else { more };
    assert!(world.issuer(LINK.issuer, &issuer_answer(&sent, code, more)).is_empty());
}

#[test]
fn an_issuer_is_told_a_minute_after_the_cut_off_and_once() {
    let mut world = with_purchase();
    for at_ms in [2_000, CUT_OFF_MS - 1, CUT_OFF_MS, DUE_MS - 1] {
        assert_eq!(texts(&mut world, at_ms), [""; 0], "{at_ms}");
    }
    assert_eq!(texts(&mut world, DUE_MS + 10), ["I0 0520"]);
    let sent = world.forwarded.last().unwrap().2.clone();
    for (number, value) in [
        (15, "1122"),
        (33, "00010344"),
        (50, "156"),
        (74, "0000000000"),
        (76, "0000000001"),
        (88, "0000000000001000"),
        (97, "D0000000000001000"),
        (99, "00010344"),
    ] {
        assert_eq!(field(&sent, number), value, "DE {number}");
    }
    with_view(&sent, |view| {
        assert!(!view.has(2) && !view.has(39) && !view.has(66));
        assert!(view.stan().is_some() && view.transmission_time().is_some());
    });
    // Until it answers, the same again; then never.
    assert_eq!(texts(&mut world, DUE_MS + 11_000), ["I0 0520"]);
    assert_eq!(world.forwarded.last().unwrap().2, sent);
    answer(&mut world, "00", b"1");
    assert_eq!(world.shard.owed(), 0);
    assert_eq!(texts(&mut world, DUE_MS + 3_600_000), [""; 0]);
    // The next date.
    assert_eq!(texts(&mut world, DUE_MS + 24 * 3_600_000), ["I0 0520"]);
    assert_eq!(field(&world.forwarded.last().unwrap().2, 15), "1123");
    assert_eq!(field(&world.forwarded.last().unwrap().2, 76), "0000000000");
    answer(&mut world, "95", b"2");
    let count = |counter| world.shard.counters().value(counter);
    assert_eq!(count(Counter::TotalsTold), 2);
    assert_eq!((count(Counter::TotalsToldIn), count(Counter::TotalsToldOut)), (1, 1));
    assert_eq!(world.shard.owed(), 0, "what is not in balance is not sent again");
}

/// Each has its own order: one that never answers keeps no other waiting.
#[test]
fn an_issuer_that_is_silent_keeps_no_other_from_its_totals() {
    let mut config = wanting(1);
    config.issuers[1].link = config.issuers[0].link.clone();
    let mut world = World::new(&config);
    world.shard.on_issuer_up(world.now, LINK);
    world.shard.on_issuer_up(world.now, LinkId { issuer: IssuerId(1), number: 0 });
    world.tick();
    let told: Vec<String> =
        (0..4).flat_map(|s| texts(&mut world, DUE_MS + 10 + s * 1_000)).collect();
    assert_eq!(told[..2], ["I0 0520", "I1 0520"], "{told:?}");
}

#[test]
fn an_issuer_that_cannot_take_totals_has_them_parked_and_one_that_does_not_want_them_gets_none() {
    let mut world = with_purchase();
    assert_eq!(texts(&mut world, DUE_MS + 10), ["I0 0520"]);
    for (refused, at_ms) in [(1, 20_000), (2, 60_000), (3, 200_000)] {
        answer(&mut world, "12", b"");
        let again = texts(&mut world, DUE_MS + at_ms);
        assert_eq!(again.is_empty(), refused == 3, "{again:?}");
    }
    assert_eq!(world.shard.counters().value(Counter::OwedParked), 1);
    let mut config = wanting(1);
    config.issuers[0].link.as_mut().unwrap().reconciles = false;
    let mut world = World::new(&config);
    world.shard.on_issuer_up(world.now, LINK);
    world.tick();
    world.done(&buy(1, 1_000), "00");
    assert_eq!(texts(&mut world, DUE_MS + 10), [""; 0]);
}

fn up(journaled: &mut Journaled) -> Vec<String> {
    journaled.world.shard.on_issuer_up(journaled.world.now, LINK);
    journaled.tick()
}

#[test]
fn what_a_restart_finds_is_told_and_never_twice() {
    let mut first = Journaled::of(wanting(1));
    up(&mut first);
    first.request(&buy(1, 1_000));
    first.issuer("00");
    // It is not there at the cut-off; the next process tells it.
    let (mut second, ..) = first.restart_at(DUE_MS + 600_000);
    up(&mut second);
    second.world.at_ms(DUE_MS + 602_000);
    assert_eq!(second.tick(), ["I0 0520"]);
    let sent = second.world.forwarded.last().unwrap().2.clone();
    assert_eq!((field(&sent, 15), field(&sent, 88)), ("1122".into(), "0000000000001000".into()));
    // The answer is lost with the process: the same is sent again.
    let (mut third, ..) = second.restart_at(DUE_MS + 700_000);
    up(&mut third);
    third.world.at_ms(DUE_MS + 702_000);
    assert_eq!(third.tick(), ["I0 0520"]);
    assert_eq!(third.world.forwarded.last().unwrap().2, sent);
    third.issuer("00");
    assert_eq!(third.world.shard.owed(), 0);
    let (mut fourth, ..) = third.restart_at(DUE_MS + 800_000);
    up(&mut fourth);
    fourth.world.at_ms(DUE_MS + 802_000);
    assert_eq!(fourth.tick(), [""; 0]);
    // A snapshot says so too, also to shards of another layout.
    let mut world = fourth.world;
    let mut same = Shard::new(ShardId(0), &wanting(1), &secrets());
    load(&mut world, (false, 90), &mut same);
    assert_eq!(same.totals().told(LINK.issuer), DAY);
    let mut other = Shard::new(ShardId(1), &wanting(2), &secrets());
    other.begin_recovery();
    load(&mut world, (true, 91), &mut other);
    assert_eq!(other.totals().told(LINK.issuer), DAY);
}

#[test]
fn the_sum_that_is_told_is_over_all_shards() {
    let mut pair = Pair::by(&wanting(2));
    for shard in 0..2 {
        pair.up(shard, LINK);
    }
    for (stan, card) in (1..).zip(["C1", "C2", "C3"]) {
        let request = Request { pan: pan(card), ..buy(stan, 1_000) };
        pair.request(0, &request.message(Dialect::cups()));
        pair.answer("00");
    }
    pair.tick(DUE_MS + 10);
    let [(shard, issuer, message)] = pair.forwards.as_slice() else {
        panic!("one message: {:?}", pair.forwards)
    };
    assert_eq!((*shard, *issuer), (0, LINK.issuer));
    assert_eq!(field(message, 76), "0000000003");
    assert_eq!(field(message, 88), "0000000000003000");
}
