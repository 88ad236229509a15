//! Sessions of acquirers' connections: sign-on, sign-off, echoes, takeover, the end.

use super::fixture::{Request, World, config, connection, issuer_answer};
use super::links::managed;
use crate::config::{AcquirerSession, Config};
use crate::shard::{AcquirerId, ConnectionId, Counter, IssuerId, ShardId};
use tapswitch_protocol::Dialect;

fn texts(done: Vec<super::fixture::Done>) -> Vec<String> {
    done.into_iter().map(|done| done.text).collect()
}

fn buy(world: &mut World, slot: u16, stan: u32) -> Vec<String> {
    let request = Request { stan, amount: Some(100), ..Request::default() };
    texts(world.request(slot, &request.message(Dialect::cups())))
}

fn with(session: AcquirerSession) -> Config {
    let mut config = config(1);
    config.velocity.limits.clear();
    config.acquirers[0].session = session;
    config.acquirers[0].sign_on_required = true;
    config
}

/// B9, and B10's acquirer side: 58 before sign-on and after sign-off; what is in flight completes.
#[test]
fn transactions_are_taken_between_sign_on_and_sign_off() {
    let mut world = World::new(&with(AcquirerSession::default()));
    assert_eq!(buy(&mut world, 1, 1), ["A1 0210 58"]);
    assert_eq!(texts(world.request(1, &managed("001", 2))), ["A1 0830 00"]);
    assert_eq!(buy(&mut world, 2, 3), ["A2 0210 58"], "each connection by itself");
    for stan in 10..20 {
        assert_eq!(buy(&mut world, 1, stan), ["I0 0200"]);
    }
    assert_eq!(texts(world.request(1, &managed("002", 4))), ["A1 0830 00"]);
    assert_eq!(buy(&mut world, 1, 5), ["A1 0210 58"]);
    for place in 0..10 {
        let answer = issuer_answer(&world.forwarded[place].2.clone(), "00", &[]);
        assert_eq!(texts(world.issuer(IssuerId(0), &answer)), ["A1 0210 00"]);
    }
    assert_eq!(world.shard.counters().value(Counter::RefusedNotSignedOn), 3);
}

/// B8, the acquirer's side.
#[test]
fn a_signed_on_connection_that_is_idle_is_asked_for_echoes() {
    let session = AcquirerSession { echo_idle_ms: 30_000, ..AcquirerSession::default() };
    let mut world = World::new(&with(session));
    world.request(1, &managed("001", 2));
    let tick = |world: &mut World, at_ms| {
        world.at_ms(at_ms);
        world.tick()
    };
    assert_eq!(tick(&mut world, 29_000), []);
    let asked = tick(&mut world, 30_010);
    assert_eq!(asked[0].text, "A1 0820 301");
    let answer = issuer_answer(&asked[0].bytes, "00", &[]);
    assert_eq!(world.request(1, &answer), []);
    assert_eq!(world.unanswered, [1], "an answer gets no answer");
    assert_eq!(world.shard.counters().value(Counter::AcquirerAnswered), 1);
    assert_eq!(world.request(1, &answer), []);
    assert_eq!(world.shard.counters().value(Counter::DroppedResponseMti), 1, "once");
    // Traffic is as good as an echo.
    assert_eq!(tick(&mut world, 50_000), []);
    world.request(1, &managed("301", 3));
    assert_eq!(tick(&mut world, 61_000), []);
    assert_eq!(texts(tick(&mut world, 80_010)), ["A1 0820 301"]);
    assert_eq!(texts(tick(&mut world, 90_030)), ["A1 0820 301"]);
    assert_eq!(texts(tick(&mut world, 100_050)), ["A1 0820 301"]);
    assert_eq!(texts(tick(&mut world, 110_070)), ["A1 closed"]);
    assert_eq!(world.shard.counters().value(Counter::AcquirerEchoTimeout), 1);
    world.shard.on_connection_closed(connection(1));
    assert_eq!(tick(&mut world, 200_000), [], "nothing is asked of one that is gone");
}

fn slot(slot: u16) -> ConnectionId {
    ConnectionId { shard: ShardId(0), acquirer: AcquirerId(0), slot, generation: 1 }
}

/// B3: the old connection goes for the new one, or the new one is refused.
#[test]
fn a_further_connection_takes_the_place_of_the_oldest_or_is_refused() {
    let session = AcquirerSession { connections_max: 2, ..AcquirerSession::default() };
    let mut world = World::new(&with(session));
    assert_eq!(world.shard.on_connection_open(slot(7)), Some(slot(1)));
    assert_eq!(world.shard.on_connection_open(slot(8)), Some(slot(2)), "the first is going");
    world.shard.on_connection_closed(slot(7));
    assert_eq!(world.shard.on_connection_open(slot(9)), None, "there is room again");
    assert_eq!(world.shard.counters().value(Counter::Takeover), 2);
    let other = ConnectionId { acquirer: AcquirerId(1), ..slot(150) };
    assert_eq!(world.shard.on_connection_open(other), None, "another acquirer's are its own");

    let mut world = World::new(&with(AcquirerSession { takeover: false, ..session }));
    assert_eq!(world.shard.on_connection_open(slot(7)), Some(slot(7)));
    assert_eq!(world.shard.counters().value(Counter::ConnectionRefused), 1);
    assert_eq!(world.shard.counters().value(Counter::Takeover), 0);
}

/// G5, the acquirers' part.
#[test]
fn a_switch_that_stops_signs_off_from_those_that_have_signed_on() {
    let mut world = World::new(&with(AcquirerSession::default()));
    world.request(2, &managed("001", 2));
    assert_eq!(buy(&mut world, 2, 1), ["I0 0200"]);
    world.shard.on_drain();
    assert_eq!(texts(world.tick()), ["A2 0820 002"]);
    assert_eq!(world.tick(), []);
    assert_eq!(buy(&mut world, 2, 3), ["A2 0210 91"]);
    let answer = issuer_answer(&world.forwarded[0].2.clone(), "00", &[]);
    assert_eq!(texts(world.issuer(IssuerId(0), &answer)), ["A2 0210 00"], "it is finished");
    assert_eq!(world.shard.counters().value(Counter::AcquirerSignedOff), 1);
}
