//! Stand-in (C20) by what keeps the issuer from deciding: it has signed off, it was given up for not
//! answering; and in the other dialect.

use super::fixture::{Done, Request, World, connection, pan};
use super::links::{linked, managed};
use super::stand_in::{a_little_later, acknowledge, buy, count, field, standing_in, texts};
use crate::config::{IssuerLinkConfig, StandInRule};
use crate::shard::{AcquirerId, Counter, IssuerId};
use tapswitch_protocol::{Addition, Dialect, FieldTable, respond};

const ABC: IssuerId = IssuerId(0);

/// ABC, behind a link that needs no sign-on, stood in for by such a rule.
fn behind_a_link(
    rule: impl FnOnce(&mut StandInRule),
    link: impl FnOnce(&mut IssuerLinkConfig),
) -> World {
    let mut config = standing_in(rule);
    linked(&mut config, |it| {
        it.sign_on = false;
        link(it);
    });
    let mut world = World::new(&config);
    world.shard.on_issuer_up(world.now, ABC);
    world
}

fn ask(world: &mut World, request: &Request<'_>) -> Vec<Done> {
    world.request(1, &request.message(Dialect::cups()))
}

/// 9002: it is told when it has signed on, not before.
#[test]
fn c20_an_issuer_that_has_signed_off() {
    let mut world = behind_a_link(|_| (), |_| ());
    assert_eq!(texts(ask(&mut world, &buy(1, 2_000))), ["I0 0200"], "it is there");
    let forward = world.forwarded[0].2.clone();
    assert_eq!(texts(acknowledge(&mut world, &forward)), ["A1 0210 00"]);
    assert_eq!(texts(world.issuer(ABC, &managed("002", 7))), ["L0.0 0830 002 00"]);
    let approved = ask(&mut world, &buy(2, 2_000));
    assert_eq!(texts(approved.clone()), ["A1 0210 00"], "its advice waits");
    assert_eq!(field(&approved[0].bytes, 38), "S00001");
    assert_eq!(texts(ask(&mut world, &buy(3, 2_001))), ["A1 0210 91"], "above one transaction's");
    let with_pin = Request { extra: &[(52, &[1; 8])], ..buy(4, 1) };
    assert_eq!(texts(ask(&mut world, &with_pin)), ["A1 0210 91"]);
    world.at_ms(60_000);
    let echoes = texts(world.tick());
    assert!(echoes.iter().all(|text| text.starts_with("L0.0 0820 301")), "{echoes:?}");
    assert_eq!(count(&world), (1, 1));
    assert_eq!(world.shard.counters().value(Counter::RefusedSignedOff), 2);

    assert_eq!(texts(world.issuer(ABC, &managed("001", 8))), ["L0.0 0830 001 00"]);
    let advice = a_little_later(&mut world).remove(0);
    assert_eq!(advice.text, "I0 0220");
    assert_eq!(&field(&advice.bytes, 60)[..4], "9002");
    assert_eq!(field(&advice.bytes, 38), "S00001");
    assert!(acknowledge(&mut world, &advice.bytes).is_empty());
    assert_eq!(world.shard.owed(), 0);
    assert_eq!(texts(ask(&mut world, &buy(5, 1_000))), ["I0 0200"], "it decides again");
}

/// 9020: two were not answered; the third is not asked, but told at once: its link is there. A request a
/// second finds out whether it answers again.
#[test]
fn c20_an_issuer_that_was_given_up_for_not_answering() {
    let mut world = behind_a_link(|_| (), |link| link.breaker_timeouts = 2);
    for (stan, card) in [(1, "C2"), (2, "C3")] {
        let request = Request { pan: pan(card), ..buy(stan, 1_000) };
        assert_eq!(texts(ask(&mut world, &request)), ["I0 0200"]);
    }
    world.at_ms(8_001);
    let mut silent = texts(world.tick());
    silent.sort_unstable();
    assert_eq!(silent, ["A1 0210 98", "A1 0210 98", "I0 0420", "I0 0420"], "no rule means these");
    assert_eq!(world.shard.counters().value(Counter::CircuitOpened), 1);

    let done = ask(&mut world, &buy(3, 2_000));
    assert_eq!(texts(done.clone()), ["A1 0210 00", "I0 0220"]);
    assert_eq!(&field(&done[1].bytes, 60)[..4], "9020");
    assert_eq!(field(&done[1].bytes, 38), field(&done[0].bytes, 38));
    let with_pin = Request { extra: &[(52, &[1; 8])], ..buy(4, 1) };
    assert_eq!(texts(ask(&mut world, &with_pin)), ["A1 0210 91"]);
    assert_eq!(world.shard.counters().value(Counter::RefusedCircuitOpen), 1);

    world.at_ms(9_002);
    let probe = ask(&mut world, &buy(5, 1_000));
    assert_eq!(texts(probe.clone()), ["I0 0200"], "one is asked");
    assert_eq!(texts(ask(&mut world, &buy(6, 1_000)))[0], "A1 0210 00", "others are not");
    assert_eq!(texts(acknowledge(&mut world, &probe[0].bytes)), ["A1 0210 00"]);
    assert_eq!(world.shard.counters().value(Counter::CircuitClosed), 1);
    let next = Request { pan: pan("C2"), ..buy(7, 1_000) };
    assert_eq!(texts(ask(&mut world, &next)), ["I0 0200"], "it decides again");
    assert_eq!(count(&world), (2, 0));
}

fn iso87_field(message: &[u8], field: u8) -> String {
    let mut table = FieldTable::default();
    let view = Dialect::iso87_ascii().parse(message, &mut table).unwrap();
    view.raw(field).map(|raw| String::from_utf8_lossy(raw).into_owned()).unwrap_or_default()
}

/// The issuer's 00 to a message in the other dialect.
fn acknowledge_iso87(world: &mut World, message: &[u8]) -> Vec<Done> {
    let mut table = FieldTable::default();
    let view = Dialect::iso87_ascii().parse(message, &mut table).unwrap();
    let mut out = vec![0; 1_024];
    let told = [Addition { field: 39, value: b"00" }];
    let mti = view.mti().response().unwrap();
    let bytes = respond(&view, mti, view.dialect().echo, &told, &mut out).unwrap();
    let acquirer = AcquirerId(1);
    world.shard.on_issuer_response(world.now, ABC, acquirer, &out[..bytes], &mut world.outbox);
    let mut done = world.drain();
    done.extend(a_little_later(world));
    done
}

/// A 1987 acquirer: the same answer, mark and advice in its own dialect, a repeat, and a reversal that
/// follows the advice.
#[test]
fn c20_in_the_other_dialect() {
    let dialect = Dialect::iso87_ascii();
    let mut world = World::new(&standing_in(|_| ()));
    world.issuer_down(ABC);
    let purchase = Request { extra: &[(60, b"0000INV")], ..buy(1, 2_000) };
    let ask = |world: &mut World, request: &Request<'_>| {
        assert_eq!(connection(101).acquirer, AcquirerId(1));
        world.request(101, &request.message(dialect))
    };
    let approved = ask(&mut world, &purchase);
    assert_eq!(texts(approved.clone()), ["A101 0210 00"]);
    let told = |field| iso87_field(&approved[0].bytes, field);
    assert_eq!((told(38).as_str(), told(44).as_str()), ("S00001", "STAND-IN"));
    assert_eq!((told(11).as_str(), told(37).as_str()), ("000001", "000000000001"));
    assert_eq!(ask(&mut world, &purchase)[0], approved[0], "a repeat");
    assert_eq!(texts(ask(&mut world, &buy(2, 2_001))), ["A101 0210 91"]);
    let with_pin = Request { extra: &[(52, &[1; 8])], ..buy(3, 1) };
    assert_eq!(texts(ask(&mut world, &with_pin)), ["A101 0210 91"]);
    assert_eq!(count(&world), (1, 1));
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(4, 2_000) };
    assert_eq!(texts(ask(&mut world, &reversal)), ["A101 0430 00"]);

    world.shard.on_issuer_up(world.now, ABC);
    let advice = a_little_later(&mut world).remove(0);
    assert_eq!(advice.text, "I0 0220");
    assert_eq!(iso87_field(&advice.bytes, 60), "9011INV", "no link; the rest as it came");
    assert_eq!(iso87_field(&advice.bytes, 38), "S00001");
    assert_eq!(iso87_field(&advice.bytes, 2), pan("C1"));
    assert_eq!(iso87_field(&advice.bytes, 4), "000000002000");
    let reversal = acknowledge_iso87(&mut world, &advice.bytes).remove(0);
    assert_eq!(reversal.text, "I0 0420");
    let numbers = (iso87_field(&advice.bytes, 11), iso87_field(&advice.bytes, 7));
    let named = iso87_field(&reversal.bytes, 90);
    assert_eq!(named[4..20], format!("{}{}", numbers.0, numbers.1), "as the issuer knows it");
    assert!(acknowledge_iso87(&mut world, &reversal.bytes).is_empty());
    assert_eq!(world.shard.owed(), 0);
}
