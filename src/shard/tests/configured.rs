//! Another configuration while requests are under way, and which one is in force after a restart.

use super::fixture::{Request, World, config, issuer_answer, secrets};
use crate::shard::{Configured, IssuerId, Outbox, Shard, ShardId};
use tapswitch_protocol::{Dialect, ResponseCode};

fn buy(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), ..Request::default() }
}

fn ask(world: &mut World, request: &Request<'_>) -> Vec<String> {
    let done = world.request(1, &request.message(Dialect::cups()));
    done.into_iter().map(|done| done.text).collect()
}

fn approve(world: &mut World, place: usize) -> Vec<String> {
    let answer = issuer_answer(&world.forwarded[place].2.clone(), "00", &[]);
    world.issuer(IssuerId(0), &answer).into_iter().map(|done| done.text).collect()
}

/// The test configuration with another daily amount, code and name.
fn configured(epoch: u64, amount_minor_max: u64) -> Configured {
    let mut velocity = config(1).velocity;
    velocity.limits[0].amount_minor_max = Some(amount_minor_max);
    velocity.limits[0].code = Some(ResponseCode::NOT_PERMITTED);
    Configured { epoch, velocity, limit_numbers: vec![0], ..Configured::default() }
}

fn configure(world: &mut World, configured: &Configured) {
    let World { shard, now, outbox, .. } = world;
    shard.on_config(*now, configured, outbox);
}

#[test]
fn what_is_pending_completes_when_a_limit_is_lowered_and_what_comes_is_judged_by_the_new_one() {
    let mut world = World::new(&config(1));
    assert_eq!(ask(&mut world, &buy(1, 6_000)), ["I0 0200"]);
    assert_eq!(ask(&mut world, &buy(2, 3_000)), ["I0 0200"]);
    configure(&mut world, &configured(2, 5_000));
    assert_eq!(world.shard.epoch(), 2);
    assert_eq!(approve(&mut world, 0), ["A1 0210 00"], "held before the change");
    assert_eq!(ask(&mut world, &buy(3, 1)), ["A1 0210 57"], "more is counted than is allowed now");
    // What the declined one held comes free; the rest still counts.
    let declined = issuer_answer(&world.forwarded[1].2.clone(), "51", &[]);
    world.issuer(IssuerId(0), &declined);
    assert_eq!(ask(&mut world, &buy(4, 1)), ["A1 0210 57"]);
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(5, 6_000) };
    assert_eq!(ask(&mut world, &reversal), ["A1 0430 00", "I0 0420"]);
    assert_eq!(ask(&mut world, &buy(6, 5_001)), ["A1 0210 57"]);
    assert_eq!(ask(&mut world, &buy(7, 5_000)), ["I0 0200"]);
    // Raised again: what was counted meanwhile was counted once.
    configure(&mut world, &configured(3, 8_000));
    assert_eq!(ask(&mut world, &buy(8, 3_001)), ["A1 0210 57"]);
    assert_eq!(ask(&mut world, &buy(9, 3_000)), ["I0 0200"]);
}

#[test]
fn the_number_of_the_configuration_is_recorded_and_outlives_the_process() {
    let mut world = World::new(&config(1));
    world.outbox = Outbox::journaling();
    configure(&mut world, &configured(7, 5_000));
    let records = world.outbox.records().0.to_vec();
    let mut shard = Shard::new(ShardId(0), &config(1), &secrets());
    assert_ne!(shard.state_hash(), world.shard.state_hash());
    shard.begin_recovery();
    shard.replay(&records, 0).unwrap();
    assert_eq!(
        (shard.recovered().epoch, shard.recovered().records),
        (7, 2),
        "and a settlement date"
    );
    assert_eq!(shard.state_hash(), world.shard.state_hash());
    // A snapshot has it too.
    let header = world.shard.snapshot_begin(world.now);
    let mut next = Shard::new(ShardId(0), &config(1), &secrets());
    next.begin_recovery();
    next.load_begin(&header).unwrap();
    assert_eq!(next.recovered().epoch, 7);
}

#[test]
fn timers_and_codes_are_new_for_what_comes_and_old_for_what_is_under_way() {
    let mut before = config(1);
    before.velocity.limits.clear();
    let mut world = World::new(&before);
    assert_eq!(ask(&mut world, &buy(1, 100)), ["I0 0200"]);
    let mut after = before.clone();
    after.acquirers[0].answer_within_ms = before.acquirers[0].answer_within_ms + 10_000;
    after.acquirers[0].codes.time_out = ResponseCode::new(*b"91");
    after.acquirers[0].codes.mis_echoed = ResponseCode::new(*b"06");
    configure(&mut world, &Configured { epoch: 2, ..Configured::of(&after) });
    assert_eq!(ask(&mut world, &buy(2, 100)), ["I0 0200"]);
    // The first has the time that it came with, and the code.
    let wait_ms = before.acquirers[0].answer_within_ms - before.acquirers[0].answer_margin_ms;
    world.at_ms(wait_ms + 500);
    let done: Vec<String> = world.tick().into_iter().map(|done| done.text).collect();
    assert_eq!(done, ["A1 0210 98", "I0 0420"]);
    world.at_ms(wait_ms + 10_500);
    let done: Vec<String> = world.tick().into_iter().map(|done| done.text).collect();
    assert!(done.contains(&"A1 0210 91".to_owned()), "{done:?}");
    assert_eq!(done.iter().filter(|it| it.starts_with("A1")).count(), 1, "{done:?}");
}

#[test]
fn cards_go_to_another_issuer_and_what_is_under_way_stays_with_its_own() {
    let mut before = config(1);
    before.velocity.limits.clear();
    let mut world = World::new(&before);
    assert_eq!(ask(&mut world, &buy(1, 100)), ["I0 0200"]);
    let mut after = before.clone();
    for row in &mut after.iins {
        row.issuer.0 = 1 - row.issuer.0;
    }
    configure(&mut world, &Configured { epoch: 2, ..Configured::of(&after) });
    assert_eq!(ask(&mut world, &buy(2, 100)), ["I1 0200"]);
    assert_eq!(approve(&mut world, 0), ["A1 0210 00"], "its own issuer answers");
    // A reversal goes where its original went.
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(3, 100) };
    assert_eq!(ask(&mut world, &reversal), ["A1 0430 00", "I0 0420"]);
    after.iins.retain(|row| row.prefix == 622_575);
    configure(&mut world, &Configured { epoch: 3, ..Configured::of(&after) });
    assert_eq!(ask(&mut world, &buy(4, 100)), ["A1 0210 15"]);
}

#[test]
fn a_smaller_window_takes_nothing_more_until_there_is_room() {
    let mut before = config(1);
    before.velocity.limits.clear();
    let mut world = World::new(&before);
    for stan in 1..=3 {
        assert_eq!(ask(&mut world, &buy(stan, 100)), ["I0 0200"]);
    }
    let mut after = before.clone();
    after.issuers[0].in_flight_max = 2;
    configure(&mut world, &Configured { epoch: 2, ..Configured::of(&after) });
    assert_eq!(ask(&mut world, &buy(4, 100)), ["A1 0210 91"]);
    assert_eq!(approve(&mut world, 0), ["A1 0210 00"]);
    assert_eq!(ask(&mut world, &buy(5, 100)), ["A1 0210 91"], "still two under way");
    assert_eq!(approve(&mut world, 1), ["A1 0210 00"]);
    assert_eq!(ask(&mut world, &buy(6, 100)), ["I0 0200"]);
}
