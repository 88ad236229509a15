//! Stand-in (C20): what is approved while the issuer cannot be reached, what never is, what the issuer
//! is told of it, and in which order.

use super::fixture::{Done, Request, World, config, connection, issuer_answer, pan, with_view};
use super::restart::Journaled;
use crate::config::{
    Config, StandInReasons, StandInRule, TransactionKind, VelocityCondition, VelocityCounter,
    VelocityLimit,
};
use crate::shard::{Configured, Counter, IssuerId};
use tapswitch_protocol::Dialect;

const ABC: IssuerId = IssuerId(0);
const DE60: &[u8] = b"000000060003000000000000000000";

/// 20.00 at once, three and 50.00 a day, of ABC's cards, contactless at shops.
pub(super) fn standing_in(change: impl FnOnce(&mut StandInRule)) -> Config {
    let mut config = config(1);
    let velocity = &mut config.velocity;
    let only = VelocityCondition { stand_in: true, ..VelocityCondition::default() };
    let counter = VelocityCounter {
        name: "stand_in_day".to_owned(),
        when: only,
        ..velocity.counters[0].clone()
    };
    velocity.counters.push(counter);
    let when = VelocityCondition {
        transaction_kinds: vec![TransactionKind::Purchase],
        mccs: vec![5_411],
        entry_modes: vec![7],
        iins: vec![(622_848_000, 622_848_999)],
        stand_in: true,
        ..VelocityCondition::default()
    };
    let floor = VelocityLimit {
        name: "floor".to_owned(),
        counter: None,
        scope_counter: None,
        count_max: None,
        amount_minor_max: Some(2_000),
        when,
        code: None,
    };
    let sums = VelocityLimit {
        name: "floor-sums".to_owned(),
        counter: Some(1),
        count_max: Some(3),
        amount_minor_max: Some(5_000),
        ..floor.clone()
    };
    velocity.limits.extend([floor, sums]);
    velocity.limits[0].count_max = Some(10);
    let mut rule = StandInRule {
        name: "floor".to_owned(),
        window_full: false,
        after_time_out: false,
        reasons: StandInReasons::default(),
        reason_field: 60,
        mark: Some((44, "STAND-IN".to_owned())),
    };
    change(&mut rule);
    velocity.stand_in = vec![rule];
    config
}

fn down(config: &Config) -> World {
    let mut world = World::new(config);
    world.issuer_down(ABC);
    world
}

pub(super) fn buy(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), extra: &[(60, DE60)], ..Request::default() }
}

fn ask(world: &mut World, request: &Request<'_>) -> Vec<Done> {
    world.request(1, &request.message(Dialect::cups()))
}

pub(super) fn texts(done: Vec<Done>) -> Vec<String> {
    done.into_iter().map(|done| done.text).collect()
}

pub(super) fn field(message: &[u8], field: u8) -> String {
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    with_view(message, |view| view.raw(field).map(text).unwrap_or_default())
}

/// The issuer is there again; what it is told first.
fn up(world: &mut World) -> Vec<Done> {
    world.shard.on_issuer_up(world.now, ABC);
    a_little_later(world)
}

/// What waits for its turn goes.
pub(super) fn a_little_later(world: &mut World) -> Vec<Done> {
    world.now.mono_ns += 10_000_000;
    world.now.wall_ms += 10;
    world.tick()
}

pub(super) fn acknowledge(world: &mut World, message: &[u8]) -> Vec<Done> {
    let mut done = world.issuer(ABC, &issuer_answer(message, "00", &[]));
    done.extend(a_little_later(world));
    done
}

pub(super) fn count(world: &World) -> (u64, u64) {
    let counters = world.shard.counters();
    (counters.value(Counter::StandInApproved), counters.value(Counter::StandInDeclined))
}

#[test]
fn c20_approved_within_its_limits_and_the_issuer_is_told() {
    let mut world = down(&standing_in(|_| ()));
    let first = ask(&mut world, &buy(1, 2_000));
    assert_eq!(first.len(), 1, "the issuer cannot be told yet");
    assert_eq!(first[0].text, "A1 0210 00");
    let approval = field(&first[0].bytes, 38);
    assert_eq!((approval.as_str(), field(&first[0].bytes, 44).as_str()), ("S00001", "STAND-IN"));
    assert_eq!(texts(ask(&mut world, &buy(2, 2_001))), ["A1 0210 91"], "above one transaction's");
    let second = ask(&mut world, &buy(3, 2_000));
    assert_eq!(field(&second[0].bytes, 38), "S00002");
    assert_eq!(texts(ask(&mut world, &buy(4, 1_001))), ["A1 0210 91"], "above the day's sum");
    assert_eq!(texts(ask(&mut world, &buy(5, 1_000))), ["A1 0210 00"]);
    assert_eq!(texts(ask(&mut world, &buy(6, 1))), ["A1 0210 91"], "above the day's count");
    assert_eq!(count(&world), (3, 3));
    assert_eq!(world.shard.counters().value(Counter::RefusedIssuerDown), 3);

    // One at a time, in the order in which they were approved.
    let mut told = up(&mut world);
    for (rrn, amount) in [("000000000001", 2_000), ("000000000003", 2_000), ("000000000005", 1_000)]
    {
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].text, "I0 0220");
        let advice = told[0].bytes.clone();
        assert_eq!((field(&advice, 37).as_str(), field(&advice, 39).as_str()), (rrn, "00"));
        assert_eq!(field(&advice, 4), format!("{amount:012}"));
        assert_eq!(field(&advice, 60), "901100060003000000000000000000", "9011: no link");
        assert_eq!(field(&advice, 2), pan("C1"));
        if rrn == "000000000001" {
            assert_eq!(field(&advice, 38), approval);
        }
        told = acknowledge(&mut world, &advice);
    }
    assert_eq!((told.len(), world.shard.owed()), (0, 0));
    assert_eq!(texts(ask(&mut world, &buy(7, 5_000))), ["I0 0200"], "its own limits are others");
    let more = ask(&mut world, &buy(8, 1));
    assert_eq!(texts(more), ["A1 0210 61"], "but what was approved so counts there too");
}

#[test]
fn c20_what_no_rule_means_is_refused_as_ever() {
    let refused: &[(&str, Request<'_>)] = &[
        ("a PIN", Request { extra: &[(52, &[1; 8])], ..buy(1, 1) }),
        ("a PIN was entered", Request { extra: &[(22, b"071")], ..buy(1, 1) }),
        ("PIN capture", Request { extra: &[(26, b"06")], ..buy(1, 1) }),
        ("a PIN by SM4", Request { extra: &[(63, b"SM0021")], ..buy(1, 1) }),
        ("cash", Request { processing: "010000", ..buy(1, 1) }),
        ("cash back", Request { processing: "090000", ..buy(1, 1) }),
        ("a void", Request { processing: "200000", ..buy(1, 1) }),
        ("an inquiry", Request { processing: "300000", ..buy(1, 1) }),
        ("a pre-authorization", Request { mti: 100, processing: "030000", ..buy(1, 1) }),
        ("an authorization", Request { mti: 100, ..buy(1, 1) }),
        ("a completion", Request { extra: &[(25, b"06"), (38, b"A00001")], ..buy(1, 1) }),
        ("another MCC", Request { extra: &[(18, b"7995")], ..buy(1, 1) }),
        ("another entry mode", Request { extra: &[(22, b"052")], ..buy(1, 1) }),
        ("other currency", Request { extra: &[(49, b"840")], ..buy(1, 1) }),
    ];
    for (what, request) in refused {
        let mut world = down(&standing_in(|_| ()));
        let done = texts(ask(&mut world, request));
        assert_eq!(done.len(), 1, "{what}");
        assert!(done[0].ends_with(" 91"), "{what}: {done:?}");
        assert_eq!((count(&world), world.shard.owed()), ((0, 0), 0), "{what}");
    }
    let mut world = World::new(&standing_in(|_| ()));
    world.issuer_down(IssuerId(1));
    let other = Request { pan: pan("C4"), ..buy(1, 1) };
    assert_eq!(texts(ask(&mut world, &other)), ["A1 0210 91"], "another issuer's IIN");
    // Off by default.
    let mut world = down(&config(1));
    assert_eq!(texts(ask(&mut world, &buy(1, 1))), ["A1 0210 91"]);
}

#[test]
fn c20_online_limits_hold_for_it_too() {
    let mut config = standing_in(|_| ());
    config.velocity.limits[0].amount_minor_max = Some(1_500);
    let mut world = down(&config);
    assert_eq!(texts(ask(&mut world, &buy(1, 1_501))), ["A1 0210 91"]);
    assert_eq!(texts(ask(&mut world, &buy(2, 1_500))), ["A1 0210 00"]);
    assert_eq!(texts(ask(&mut world, &buy(3, 1))), ["A1 0210 91"]);
    assert_eq!(count(&world), (1, 2));
}

#[test]
fn c20_a_full_window_only_where_the_rule_says_so() {
    for (window_full, code) in [(false, "A1 0210 91"), (true, "A1 0210 00")] {
        let mut config = standing_in(|rule| rule.window_full = window_full);
        config.issuers[0].in_flight_max = 0;
        let mut world = World::new(&config);
        let done = texts(ask(&mut world, &buy(1, 1_000)));
        assert_eq!(done[0], code);
        // There is room for advices.
        assert_eq!(done.get(1).map(String::as_str), window_full.then_some("I0 0220"));
    }
}

#[test]
fn c20_after_a_time_out_the_reversal_goes_first_and_then_the_advice() {
    let mut world = World::new(&standing_in(|rule| rule.after_time_out = true));
    let forward = ask(&mut world, &buy(1, 2_000)).remove(0);
    assert_eq!(forward.text, "I0 0200");
    world.at_ms(8_001);
    let done = world.tick();
    assert_eq!(done.len(), 2);
    assert_eq!((done[0].text.as_str(), done[1].text.as_str()), ("A1 0210 00", "I0 0420"));
    assert_eq!(field(&done[0].bytes, 38), "S00002", "the reversal was the first");
    let told = with_view(&done[1].bytes, |view| view.raw(90).map(<[u8]>::to_vec)).unwrap();
    let numbers = (field(&forward.bytes, 11), field(&forward.bytes, 7));
    assert_eq!(told[..20], *format!("0200{}{}", numbers.0, numbers.1).as_bytes());
    // Its late answer changes nothing.
    assert!(acknowledge(&mut world, &forward.bytes).is_empty());
    let advice = acknowledge(&mut world, &done[1].bytes.clone());
    assert_eq!(advice.len(), 1);
    assert_eq!(advice[0].text, "I0 0220");
    assert_eq!(&field(&advice[0].bytes, 60)[..4], "9020");
    assert!(acknowledge(&mut world, &advice[0].bytes).is_empty());
    assert_eq!((world.shard.owed(), count(&world)), (0, (1, 0)));
    assert_eq!(world.shard.counters().value(Counter::TimedOut), 1);
    // Counted once: 100.00 less 20.00 are left.
    assert_eq!(texts(ask(&mut world, &buy(2, 8_001))), ["A1 0210 61"]);
    assert_eq!(texts(ask(&mut world, &buy(3, 8_000))), ["I0 0200"]);
}

#[test]
fn c20_after_a_time_out_not_unless_the_rule_says_so_nor_above_it_nor_with_a_pin() {
    let with_pin = Request { extra: &[(52, &[1; 8])], ..buy(1, 1_000) };
    for (after_time_out, request) in
        [(false, buy(1, 1_000)), (true, buy(1, 2_001)), (true, with_pin)]
    {
        let mut world = World::new(&standing_in(|rule| rule.after_time_out = after_time_out));
        ask(&mut world, &request);
        world.at_ms(8_001);
        assert_eq!(texts(world.tick()), ["A1 0210 98", "I0 0420"]);
        assert_eq!(world.shard.owed(), 1);
    }
}

#[test]
fn c20_a_link_that_is_lost_is_a_time_out() {
    let mut world = World::new(&standing_in(|rule| rule.after_time_out = true));
    ask(&mut world, &buy(1, 1_000));
    assert_eq!(texts(world.issuer_down(ABC)), ["A1 0210 00"]);
    let reversal = up(&mut world);
    assert_eq!(reversal[0].text, "I0 0420");
    assert_eq!(texts(acknowledge(&mut world, &reversal[0].bytes)), ["I0 0220"]);
}

#[test]
fn c20_a_repeat_gets_the_same_answer_and_a_reversal_follows_its_advice() {
    let mut world = down(&standing_in(|_| ()));
    let first = ask(&mut world, &buy(1, 2_000)).remove(0);
    let again = ask(&mut world, &buy(1, 2_000)).remove(0);
    assert_eq!(first, again);
    assert_eq!(texts(ask(&mut world, &buy(1, 1_999))), ["A1 0210 94"]);
    assert_eq!((count(&world), world.shard.owed()), ((1, 0), 1));
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(2, 2_000) };
    assert_eq!(texts(ask(&mut world, &reversal)), ["A1 0430 00"]);
    assert_eq!(world.shard.owed(), 2);
    // Released: three times and 50.00 are free again.
    for (stan, amount) in [(3, 2_000), (4, 2_000), (5, 1_000)] {
        assert_eq!(texts(ask(&mut world, &buy(stan, amount))), ["A1 0210 00"]);
    }
    let advice = up(&mut world).remove(0);
    assert_eq!(advice.text, "I0 0220");
    let reversal = acknowledge(&mut world, &advice.bytes).remove(0);
    assert_eq!(reversal.text, "I0 0420");
    let named = field(&reversal.bytes, 90);
    let numbers = (field(&advice.bytes, 11), field(&advice.bytes, 7));
    assert_eq!(named[4..20], format!("{}{}", numbers.0, numbers.1), "as the issuer knows it");
}

#[test]
fn c20_nothing_of_it_is_forgotten_by_a_restart() {
    let mut first = Journaled::of(standing_in(|rule| rule.after_time_out = true));
    first.request(&buy(1, 2_000));
    first.world.at_ms(8_001);
    assert_eq!(first.tick(), ["A1 0210 00", "I0 0420"]);
    first.world.issuer_down(ABC);
    assert_eq!(first.request(&buy(2, 2_000)), ["A1 0210 00"]);
    let (mut second, recovered, mut done) = first.restart_at(10_000);
    assert_eq!((recovered.owed, recovered.in_flight), (3, 0));
    done.extend(a_little_later(&mut second.world));
    assert_eq!(texts(done), ["I0 0420"], "in order, the oldest of the card");
    assert_eq!(second.request(&buy(1, 2_000)), ["A1 0210 00"], "a repeat");
    assert_eq!(second.issuer("00"), ["I0 0220"]);
    assert_eq!(second.issuer("00"), ["I0 0220"]);
    assert_eq!(second.issuer("00"), [""; 0]);
    second.world.issuer_down(ABC);
    assert_eq!(second.request(&buy(3, 1_001)), ["A1 0210 91"], "the counters hold");
    let third = Request { extra: &[(7, b"1122130000"), (60, DE60)], ..buy(4, 1_000) };
    assert_eq!(second.request(&third), ["A1 0210 00"]);
}

#[test]
fn c20_an_approval_that_finds_no_connection_is_reversed_after_its_advice() {
    let mut world = down(&standing_in(|_| ()));
    // The connection goes while the request is decided.
    let message = buy(1, 1_000).message(Dialect::cups());
    let staged = world.shard.stage(connection(1), &message);
    world.shard.on_connection_closed(connection(1));
    world.shard.on_connection_closed(connection(2));
    let header = super::fixture::cups_header();
    world.shard.on_request(world.now, staged, &header, &message, &mut world.outbox);
    assert!(world.drain().is_empty());
    world.at_ms(20_000);
    world.tick();
    let advice = up(&mut world).remove(0);
    assert_eq!(advice.text, "I0 0220");
    assert_eq!(texts(acknowledge(&mut world, &advice.bytes)), ["I0 0420"]);
}

#[test]
fn c20_a_reload_takes_over_rules_and_their_limits() {
    let config = standing_in(|_| ());
    let mut world = down(&config);
    let mut configured = Configured { epoch: 2, ..Configured::of(&config) };
    configured.velocity.limits[1].amount_minor_max = Some(500);
    world.shard.on_config(world.now, &configured, &mut world.outbox);
    assert_eq!(texts(ask(&mut world, &buy(1, 501))), ["A1 0210 91"]);
    assert_eq!(texts(ask(&mut world, &buy(2, 500))), ["A1 0210 00"]);
    configured.velocity.stand_in.clear();
    configured.epoch = 3;
    world.shard.on_config(world.now, &configured, &mut world.outbox);
    assert_eq!(texts(ask(&mut world, &buy(3, 1))), ["A1 0210 91"]);
}

#[test]
fn c20_a_forward_that_could_not_be_handed_over_needs_no_reversal() {
    let mut world = World::new(&standing_in(|_| ()));
    let forward = ask(&mut world, &buy(1, 1_000)).remove(0);
    let World { shard, now, outbox, .. } = &mut world;
    shard.on_forward_refused(*now, ABC, connection(1).acquirer, &forward.bytes, outbox);
    assert_eq!(texts(world.drain()), ["A1 0210 00", "I0 0220"]);
    assert_eq!((world.shard.owed(), count(&world)), (1, (1, 0)));
}
