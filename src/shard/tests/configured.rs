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
    Configured { epoch, velocity, limit_numbers: vec![0] }
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
    assert_eq!((shard.recovered().epoch, shard.recovered().records), (7, 1));
    assert_eq!(shard.state_hash(), world.shard.state_hash());
    // A snapshot has it too.
    let header = world.shard.snapshot_begin(world.now);
    let mut next = Shard::new(ShardId(0), &config(1), &secrets());
    next.begin_recovery();
    next.load_begin(&header).unwrap();
    assert_eq!(next.recovered().epoch, 7);
}
