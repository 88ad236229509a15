//! An issuer's link is lost and made again.

use super::fixture::{Request, World, config, pan};
use super::script::run;
use crate::config::IssuerLinkConfig;
use crate::shard::{Counter, IssuerId};
use tapswitch_protocol::{Dialect, Framing};

#[test]
fn a_lost_link_ends_what_is_in_flight_and_is_told_later_what_is_owed() {
    run("
          0   A1 0200   buy      C1  60.00    1  . -> I0 0200
          1   A1 0200 balance    C2      .    2  . -> I0 0200
          2   A1 0200   buy      C4  10.00    3  . -> I1 0200
         10 down    .     .      I0      .    .  . -> A1 0210 98, A1 0210 98
         11   A1 0201   buy      C1  60.00    1  . -> A1 0210 98   # the same answer again
         12   A1 0200   buy      C2  10.00    4  . -> A1 0210 91
         13   I1 0210     .       .      .    3 00 -> A1 0210 00   # another issuer's goes on
         14 down    .     .      I0      .    .  . ->
       8100 tick    .     .       .      .    .  . ->              # nobody to tell
      20000   up    .     .      I0      .    .  . ->
      20005 tick    .     .       .      .    .  . -> I0 0420
      20006   A1 0200   buy      C1 100.00    5  . -> I0 0200      # was released
      20007   I0 0430     .       .      .    1 00 ->
      20100   I0 0210     .       .      .    5 00 -> A1 0210 00
      26000 tick    .     .       .      .    .  . ->              # acknowledged: not again
    ");
}

#[test]
fn a_link_that_loses_more_than_an_outbox_holds_ends_all_of_it() {
    let mut config = config(1);
    config.switch.pending_max = 1_000;
    let mut world = World::new(&config);
    for number in 0..600 {
        let card = format!("622848{number:013}");
        let request = Request { pan: &card, stan: number, ..Request::default() };
        let done = world.request(1, &request.message(Dialect::cups()));
        assert_eq!(done.len(), 1, "{done:?}");
    }
    let done = world.issuer_down(IssuerId(0));
    assert_eq!(done.len(), 600);
    assert!(done.iter().all(|done| done.text == "A1 0210 98"));
    assert_eq!(world.shard.counters().value(Counter::LinkLost), 600);
    assert_eq!(world.shard.counters().value(Counter::OwedPushed), 600);
    assert!(world.issuer_down(IssuerId(0)).is_empty());

    world.shard.on_issuer_up(world.now, IssuerId(0));
    let mut told = 0;
    for at_ms in (0..700).step_by(10) {
        world.at_ms(at_ms);
        let sent = world.tick().len();
        assert!(sent <= 15, "{sent} at once after {at_ms} ms");
        told += sent;
    }
    // A few wait for another card's of their lane.
    assert!((580..=600).contains(&told), "{told}");
    assert_eq!(world.shard.counters().value(Counter::OwedResent), 0);
}

#[test]
fn a_link_of_another_dialect_is_as_good_as_none() {
    let mut config = config(1);
    let address = "127.0.0.1:9101".parse().unwrap();
    let link = IssuerLinkConfig::new(address, Dialect::iso87_ascii(), Framing::Be2);
    config.issuers[0].link = Some(IssuerLinkConfig { sign_on: false, ..link });
    let mut world = World::new(&config);
    world.shard.on_issuer_up(world.now, IssuerId(0));
    let outcome = |world: &mut World, request: &Request<'_>| {
        let done = world.request(1, &request.message(Dialect::cups()));
        done.into_iter().map(|done| done.text).collect::<Vec<_>>()
    };
    assert_eq!(outcome(&mut world, &Request::default()), ["A1 0210 91"]);
    let advice = Request { mti: 220, stan: 2, ..Request::default() };
    assert_eq!(outcome(&mut world, &advice), ["A1 0230 91"]);
    let reversal = Request { mti: 420, stan: 3, original_stan: Some(77), ..Request::default() };
    assert_eq!(outcome(&mut world, &reversal), ["A1 0430 00"]);
    let other = Request { pan: pan("C4"), stan: 4, ..Request::default() };
    assert_eq!(outcome(&mut world, &other), ["I1 0200"]);
    assert_eq!(world.shard.in_flight(), 1, "nothing is owed to whom nothing can be told");
    assert_eq!(world.shard.counters().value(Counter::RefusedIssuerDown), 2);
}
