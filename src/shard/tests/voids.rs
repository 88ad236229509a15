//! Voids: all of what stands or nothing, and what a void that is undone itself leaves.

use super::fixture::{Request, World, connection, issuer_answer, pan};
use super::money::{approve, by_amount, left, send, with_hold};
use super::restart::Journaled;
use super::reversals::Iso;
use super::settlement::{DAY, sums};
use crate::shard::{Counter, IssuerId};
use tapswitch_protocol::Dialect;

fn buy(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), ..Request::default() }
}

/// Takes back what was bought under trace number 1.
fn void(stan: u32, amount: u64) -> Request<'static> {
    Request { processing: "200000", original_stan: Some(1), ..buy(stan, amount) }
}

/// Undoes the void or purchase of this trace number.
fn reversal(stan: u32, of: u32, amount: u64) -> Request<'static> {
    Request { mti: 420, original_stan: Some(of), ..buy(stan, amount) }
}

/// Debits and what of them was taken back: how many, how much.
fn debits(world: &World) -> [u64; 4] {
    let (acquirer, issuer) = sums(&world.shard, DAY);
    assert_eq!(acquirer, issuer);
    let (debits, back) = (acquirer.debits, acquirer.debits_reversed);
    [debits.count, debits.amount_minor, back.count, back.amount_minor]
}

#[test]
fn a_void_of_another_amount_than_stands_is_refused_and_changes_nothing() {
    let mut world = World::new(&by_amount());
    send(&mut world, &buy(1, 6_000));
    approve(&mut world);
    for (stan, amount) in [(2, 2_000), (3, 6_001)] {
        assert_eq!(send(&mut world, &void(stan, amount)), ["A1 0210 64"]);
        assert_eq!(send(&mut world, &void(stan, amount)), ["A1 0210 64"], "a repeat");
    }
    assert_eq!(debits(&world), [1, 6_000, 0, 0]);
    assert_eq!(left(&mut world, 100), 4_000);
    assert_eq!(send(&mut world, &void(4, 6_000)), ["I0 0200"]);
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
    assert_eq!(debits(&world), [1, 6_000, 1, 6_000]);
    // Nothing stands any more: what the issuer says of it is passed on.
    assert_eq!(send(&mut world, &void(5, 2_000)), ["I0 0200"]);
    assert_eq!(world.shard.counters().value(Counter::RefusedOriginalAmount), 2);
}

#[test]
fn a_cancellation_of_a_part_of_a_hold_is_refused() {
    let mut world = with_hold();
    let original = format!("0100{:06}1122120000{:011}{:011}", 1, 3_330_000, 3_330_000);
    let named: &[(u8, &[u8])] = &[(90, original.as_bytes())];
    let by_approval: &[(u8, &[u8])] = &[(25, b"06"), (38, b"A00001")];
    for (stan, extra) in [(2, named), (3, by_approval)] {
        let cancel = Request { mti: 100, processing: "200000", extra, ..buy(stan, 2_000) };
        assert_eq!(send(&mut world, &cancel), ["A1 0110 64"]);
    }
    assert_eq!(left(&mut world, 200), 5_000);
    let cancel = Request { mti: 100, processing: "200000", extra: named, ..buy(4, 5_000) };
    assert_eq!(send(&mut world, &cancel), ["I0 0100"]);
    assert_eq!(approve(&mut world), ["A1 0110 00"]);
    assert_eq!(left(&mut world, 300), 10_000);
}

/// The dialect of ISO 8583:1987 has DE 95, which says what is left.
#[test]
fn a_void_that_leaves_a_rest_is_refused() {
    let mut iso = Iso::new();
    assert_eq!(iso.send(&buy(1, 6_000)), ["I0 0200"]);
    iso.issuer("0200", "00");
    let de90 = format!("0200{:06}1122120000{:011}{:011}", 1, 3_330_000, 3_330_000);
    for (stan, rest, expected) in [(2, 2_000, "A101 0210 64"), (3, 0, "I0 0200")] {
        let de95 = format!("{rest:012}{:030}", 0);
        let extra: &[(u8, &[u8])] = &[(90, de90.as_bytes()), (95, de95.as_bytes())];
        let void = Request { processing: "200000", extra, ..buy(stan, 6_000) };
        assert_eq!(iso.send(&void), [expected], "{rest}");
    }
}

/// It takes back all or nothing, and so does what takes it back.
#[test]
fn a_void_is_not_reversed_in_part() {
    for is_answered in [true, false] {
        let mut iso = Iso::new();
        iso.send(&buy(1, 6_000));
        iso.issuer("0200", "00");
        iso.send(&void(2, 6_000));
        if is_answered {
            iso.issuer("0200", "00");
        }
        assert_eq!(iso.reduce(3, (200, 2), 2_000), ["A101 0430 64"], "{is_answered}");
        assert_eq!(iso.world.shard.owed(), 0);
    }
}

/// Numbers of another card's purchase: nothing of that one is taken back.
#[test]
fn a_void_takes_nothing_of_another_card_back() {
    let mut world = World::new(&by_amount());
    send(&mut world, &buy(1, 6_000));
    approve(&mut world);
    let other = Request { pan: pan("C2"), ..void(2, 6_000) };
    assert_eq!(send(&mut world, &other), ["I0 0200"]);
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
    assert_eq!(debits(&world)[..2], [1, 6_000]);
    assert_eq!(left(&mut world, 100), 4_000, "the first card's purchase counts on");
}

#[test]
fn what_a_void_took_back_stands_again_when_the_void_is_reversed() {
    let mut world = World::new(&by_amount());
    send(&mut world, &buy(1, 6_000));
    approve(&mut world);
    send(&mut world, &void(2, 6_000));
    approve(&mut world);
    assert_eq!(left(&mut world, 100), 10_000);
    assert_eq!(send(&mut world, &reversal(3, 2, 6_000)), ["A1 0430 00", "I0 0420"]);
    assert_eq!(approve(&mut world), [""; 0]);
    assert_eq!(left(&mut world, 200), 4_000);
    assert_eq!(debits(&world), [2, 12_000, 1, 6_000]);
    // Once, however often it is said.
    for stan in [3, 4] {
        assert_eq!(send(&mut world, &reversal(stan, 2, 6_000)), ["A1 0430 00"]);
    }
    assert_eq!(left(&mut world, 300), 4_000);
    assert_eq!(send(&mut world, &buy(1, 6_000)), ["A1 0210 00"], "a repeat");
    // It can be taken back again, by another void or by its own reversal.
    assert_eq!(send(&mut world, &void(5, 6_000)), ["I0 0200"]);
    approve(&mut world);
    assert_eq!(left(&mut world, 400), 10_000);
    send(&mut world, &reversal(6, 5, 6_000));
    approve(&mut world);
    assert_eq!(send(&mut world, &reversal(7, 1, 6_000)), ["A1 0430 00", "I0 0420"]);
    assert_eq!(left(&mut world, 500), 10_000);
    assert_eq!(debits(&world), [3, 18_000, 3, 18_000]);
    assert_eq!(world.shard.counters().value(Counter::Reinstated), 2);
}

/// A void undone after its original was reversed too must not debit the card again.
#[test]
fn what_was_voided_and_then_reversed_stands_no_more_when_its_void_is_reversed() {
    let mut world = World::new(&by_amount());
    send(&mut world, &buy(1, 6_000));
    approve(&mut world);
    send(&mut world, &void(2, 6_000));
    approve(&mut world);
    assert_eq!(send(&mut world, &buy(1, 6_000)), ["A1 0210 00"]);
    assert_eq!(send(&mut world, &reversal(3, 1, 6_000)), ["A1 0430 00", "I0 0420"]);
    approve(&mut world);
    for stan in [3, 4] {
        assert_eq!(send(&mut world, &reversal(stan, 1, 6_000)), ["A1 0430 00"], "told once");
    }
    assert_eq!(send(&mut world, &buy(1, 6_000)), ["A1 0210 98"], "a repeat");
    assert_eq!(send(&mut world, &reversal(5, 2, 6_000)), ["A1 0430 00", "I0 0420"]);
    approve(&mut world);
    assert_eq!(debits(&world), [1, 6_000, 1, 6_000]);
    assert_eq!(left(&mut world, 100), 10_000);
    assert_eq!(world.shard.counters().value(Counter::Reinstated), 0);
}

#[test]
fn a_void_that_took_nothing_back_makes_nothing_stand_again() {
    let mut world = World::new(&by_amount());
    send(&mut world, &buy(1, 6_000));
    approve(&mut world);
    // Its original is reversed while the void is at the issuer, who approves that all the same.
    assert_eq!(send(&mut world, &void(2, 6_000)), ["I0 0200"]);
    let sent = world.forwarded.last().unwrap().2.clone();
    send(&mut world, &reversal(3, 1, 6_000));
    world.issuer(IssuerId(0), &issuer_answer(&sent, "00", &[]));
    send(&mut world, &reversal(4, 2, 6_000));
    assert_eq!(left(&mut world, 100), 10_000);
    assert_eq!(debits(&world), [1, 6_000, 1, 6_000]);
    // One that was declined neither.
    let mut world = World::new(&by_amount());
    send(&mut world, &buy(1, 6_000));
    approve(&mut world);
    send(&mut world, &void(2, 6_000));
    let sent = world.forwarded.last().unwrap().2.clone();
    world.issuer(IssuerId(0), &issuer_answer(&sent, "12", &[]));
    assert_eq!(send(&mut world, &reversal(3, 2, 6_000)), ["A1 0430 00"]);
    assert_eq!(debits(&world), [1, 6_000, 0, 0]);
    assert_eq!(world.shard.counters().value(Counter::Reinstated), 0);
}

#[test]
fn a_void_whose_approval_reaches_nobody_leaves_its_original_standing() {
    let mut world = World::new(&by_amount());
    send(&mut world, &buy(1, 6_000));
    approve(&mut world);
    send(&mut world, &void(2, 6_000));
    let sent = world.forwarded.last().unwrap().2.clone();
    for slot in 1..=3 {
        world.shard.on_connection_closed(connection(slot));
    }
    let waits = world.issuer(IssuerId(0), &issuer_answer(&sent, "00", &[]));
    assert!(waits.is_empty(), "{waits:?}");
    world.at_ms(11_000);
    let done: Vec<String> = world.tick().into_iter().map(|done| done.text).collect();
    assert_eq!(done, ["I0 0420"], "the void is reversed");
    assert_eq!(debits(&world), [2, 12_000, 1, 6_000]);
    assert_eq!(world.shard.counters().value(Counter::Reinstated), 1);
}

#[test]
fn all_of_it_is_the_same_after_restarts() {
    let mut config = by_amount();
    config.velocity.limits[0].count_max = None;
    let mut world = Journaled::of(config);
    world.request(&buy(1, 6_000));
    world.issuer("00");
    world.request(&void(2, 6_000));
    world.issuer("00");
    let (mut world, ..) = world.restart_at(10);
    assert_eq!(world.request(&reversal(3, 2, 6_000)), ["A1 0430 00", "I0 0420"]);
    world.issuer("00");
    let before = world.world.shard.state_hash();
    assert_eq!(debits(&world.world), [2, 12_000, 1, 6_000]);
    let (mut world, ..) = world.restart_at(20);
    assert_eq!(debits(&world.world), [2, 12_000, 1, 6_000]);
    let later: &[(u8, &[u8])] = &[(7, b"1122130000")];
    let above = Request { extra: later, ..buy(4, 4_001) };
    assert_eq!(world.request(&above), ["A1 0210 61"], "it is counted");
    assert_eq!(world.request(&reversal(5, 1, 6_000)), ["A1 0430 00", "I0 0420"]);
    let (world, ..) = world.restart_at(30);
    assert_eq!(debits(&world.world), [2, 12_000, 2, 12_000]);
    assert_ne!(world.world.shard.state_hash(), before);
}

#[test]
fn voids_of_what_is_not_known_are_their_issuers_to_judge() {
    let mut world = World::new(&by_amount());
    let foreign = Request { original_stan: Some(77), ..void(1, 40) };
    let sent = world.request(1, &foreign.message(Dialect::cups()));
    assert_eq!(sent[0].text, "I0 0200");
    approve(&mut world);
    assert_eq!(debits(&world), [0, 0, 1, 40]);
    send(&mut world, &reversal(2, 1, 40));
    assert_eq!(debits(&world), [1, 40, 1, 40], "what it took back is debited again");
}
