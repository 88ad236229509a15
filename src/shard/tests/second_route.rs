//! What follows a request that went by a second route, and what may have gone by either.

use super::fixture::{Request, config, issuer_answer};
use super::links::linked;
use super::restart::Journaled;
use crate::shard::{AcquirerId, Counter, IssuerId};
use tapswitch_protocol::Dialect;

const FIRST: IssuerId = IssuerId(0);
const SECOND: IssuerId = IssuerId(1);
/// Times after a restart.
const LATER: &[(u8, &[u8])] = &[(7, b"1122130000")];

/// Issuer 0 is reached by a link that is down; issuer 1 is its second route.
fn world() -> Journaled {
    let mut config = config(1);
    linked(&mut config, |link| link.sign_on = false);
    config.issuers[0].failover = Some(SECOND);
    Journaled::of(config)
}

fn up(world: &mut Journaled) {
    world.world.shard.on_issuer_up(world.world.now, FIRST);
}

/// Whoever was asked last answers.
fn answer(world: &mut Journaled, code: &str, approval: &[(u8, &[u8])]) -> Vec<String> {
    let (issuer, _, forward) = world.world.forwarded.last().unwrap().clone();
    let answer = issuer_answer(&forward, code, approval);
    let inner = &mut world.world;
    let acquirer = AcquirerId(0);
    inner.shard.on_issuer_response(inner.now, issuer, acquirer, &answer, &mut inner.outbox);
    world.take()
}

fn hold(stan: u32) -> Request<'static> {
    Request { mti: 100, processing: "030000", stan, ..Request::default() }
}

#[test]
fn a_void_goes_to_the_issuer_that_has_its_original() {
    let mut world = world();
    assert_eq!(world.request(&Request::default()), ["I1 0200"]);
    assert_eq!(answer(&mut world, "00", &[]), ["A1 0210 00"]);
    up(&mut world);
    let void =
        |stan| Request { processing: "200000", stan, original_stan: Some(1), ..Request::default() };
    assert_eq!(world.request(&void(2)), ["I1 0200"]);
    assert_eq!(answer(&mut world, "51", &[]), ["A1 0210 51"]);
    world.world.issuer_down(SECOND);
    assert_eq!(world.request(&void(3)), ["A1 0210 91"], "the other one has nothing to void");
}

#[test]
fn a_completion_goes_to_the_issuer_that_holds_also_after_a_restart() {
    let approval: &[(u8, &[u8])] = &[(38, b"123456")];
    let mut world = world();
    assert_eq!(world.request(&hold(1)), ["I1 0100"]);
    assert_eq!(answer(&mut world, "00", approval), ["A1 0110 00"]);
    let (mut world, _, _) = world.restart_at(2_000);
    up(&mut world);
    let completes: &[(u8, &[u8])] = &[(7, b"1122130000"), (25, b"06"), (38, b"123456")];
    let completion = Request { stan: 2, extra: completes, ..Request::default() };
    assert_eq!(world.request(&completion), ["I1 0200"]);
    assert_eq!(answer(&mut world, "00", &[]), ["A1 0210 00"]);
    let advice = Request { mti: 220, stan: 3, extra: completes, ..Request::default() };
    assert_eq!(world.request(&advice), ["A1 0230 00", "I0 0220"], "no hold is open any more");
}

#[test]
fn what_either_route_may_have_got_is_declined_and_reversed_by_both() {
    let mut first = world();
    up(&mut first);
    let (mut world, _, _) = first.restart_at(2_000);
    up(&mut world);
    let lost = world.request(&Request { mti: 201, ..Request::default() });
    assert_eq!(lost, ["A1 0210 91", "I0 0420", "I1 0420"]);
    assert_eq!(world.world.shard.counters().value(Counter::RefusedOtherRoute), 1);
    let fresh = Request { stan: 2, extra: LATER, ..Request::default() };
    assert_eq!(world.request(&fresh), ["I0 0200"]);
}

#[test]
fn the_reversal_of_an_unknown_original_goes_by_both_and_one_does_not_wait_for_the_other() {
    let mut world = world();
    let reversal = Request { mti: 420, stan: 9, original_stan: Some(8), ..Request::default() };
    assert_eq!(world.request(&reversal), ["A1 0430 00", "I1 0420"], "the first is down");
    up(&mut world);
    world.world.at_ms(100);
    assert_eq!(world.tick(), ["I0 0420"]);
    let dialect = Dialect::cups();
    let original = Request { stan: 8, ..Request::default() }.message(dialect);
    let done = world.world.request(1, &original);
    assert_eq!(done[0].text, "A1 0210 91", "it comes too late");
}
