//! What an issuer that states its totals on its link is told.

use super::fixture::{Request, World, config, issuer_answer, pan};
use super::links::linked;
use super::mesh::Pair;
use super::settlement::{CUT_OFF_MS, buy, field, with_cutoff};
use crate::config::Config;
use crate::shard::{Counter, IssuerId, LinkId, Shard};
use tapswitch_protocol::{Dialect, MessageWriter, Mti};

const ISSUER: IssuerId = IssuerId(0);

/// Issuer 0 is reached over TCP, and needs no sign-on.
pub(super) fn configured(shards: usize) -> Config {
    let mut config = with_cutoff(config(shards));
    linked(&mut config, |link| link.sign_on = false);
    config
}

pub(super) fn linked_world() -> World {
    let mut world = World::new(&configured(1));
    world.shard.on_issuer_up(world.now, LinkId { issuer: ISSUER, number: 0 });
    world.tick();
    world
}

/// Totals in the issuer's own message.
pub(super) fn stated(mti: u16, stan: &str, fields: &[(u8, &str)]) -> Vec<u8> {
    let mut out = vec![0; 512];
    let mti = Mti::from_number(mti).unwrap();
    let mut writer = MessageWriter::new(Dialect::cups(), mti, &mut out).unwrap();
    writer.put(7, b"1122120000").unwrap();
    if !stan.is_empty() {
        writer.put(11, stan.as_bytes()).unwrap();
    }
    for (field, value) in fields {
        writer.put(*field, value.as_bytes()).unwrap();
    }
    let bytes = writer.finish().unwrap();
    out.truncate(bytes);
    out
}

/// MTI, DE 39 and DE 66 of the answer on the link.
fn told(world: &mut World, message: &[u8]) -> (String, String, String) {
    let [done] = <[_; 1]>::try_from(world.issuer(ISSUER, message)).unwrap();
    assert!(done.text.starts_with("L0.0 "), "{}", done.text);
    let mti = done.text[5..9].to_owned();
    (mti, field(&done.bytes, 39), field(&done.bytes, 66))
}

fn is(mti: &str, code: &str, balance: &str) -> (String, String, String) {
    (mti.to_owned(), code.to_owned(), balance.to_owned())
}

#[test]
fn an_issuer_is_told_whether_its_totals_are_the_switchs() {
    let mut world = linked_world();
    world.done(&buy(1, 1_000), "00");
    // Another issuer's, which is not among them.
    let other = Request { pan: pan("C4"), ..buy(2, 500) }.message(Dialect::cups());
    let sent = world.request(1, &other).remove(0);
    assert_eq!(sent.text, "I1 0200");
    world.issuer(IssuerId(1), &issuer_answer(&sent.bytes, "00", &[]));
    let right = [(15, "1122"), (76, "0000000001"), (88, "0000000000001000")];
    for mti in [500, 502, 520, 522] {
        let answer = format!("{:04}", mti + 10);
        assert_eq!(told(&mut world, &stated(mti, "000001", &right)), is(&answer, "00", "1"));
    }
    let wrong = [(15, "1122"), (76, "0000000002"), (88, "0000000000001500"), (99, "00010000")];
    let done = world.issuer(ISSUER, &stated(522, "000002", &wrong)).remove(0);
    assert_eq!((field(&done.bytes, 39), field(&done.bytes, 66)), ("95".into(), "2".into()));
    let own = [(11, "000002"), (15, "1122"), (76, "0000000001"), (88, "0000000000001000")];
    for (number, value) in own.iter().chain(&[(99, "00010000")]) {
        assert_eq!(field(&done.bytes, *number), *value, "DE {number}");
    }
    let old = [(15, "0101"), (76, "0000000001")];
    assert_eq!(told(&mut world, &stated(520, "000003", &old)), is("0530", "95", "3"));
    // Yesterday's after the cut-off, and today's where no date is stated.
    world.at_ms(CUT_OFF_MS);
    assert_eq!(told(&mut world, &stated(520, "000004", &right)), is("0530", "00", "1"));
    let none = [(76, "0000000000")];
    assert_eq!(told(&mut world, &stated(521, "000005", &none)), is("0530", "00", "1"));
    for (counter, count) in [
        (Counter::IssuerTotalsIn, 6),
        (Counter::IssuerTotalsOut, 1),
        (Counter::IssuerTotalsUnknown, 1),
        (Counter::Reconciled, 0),
    ] {
        assert_eq!(world.shard.counters().value(counter), count);
    }
}

#[test]
fn totals_of_issuers_that_cannot_be_read_are_refused_and_change_nothing() {
    let mut world = linked_world();
    let before = world.shard.state_hash();
    assert_eq!(told(&mut world, &stated(520, "000001", &[(15, "1122")])), is("0530", "30", ""));
    let mut cut = stated(520, "000002", &[(76, "0000000001")]);
    cut.pop();
    assert_eq!(told(&mut world, &cut), is("0530", "30", ""));
    // An answer to what nobody asked.
    assert!(world.issuer(ISSUER, &stated(530, "000003", &[(76, "0000000001")])).is_empty());
    assert_eq!(world.shard.counters().value(Counter::IssuerTotalsRefused), 2);
    assert_eq!(world.shard.state_hash(), before);
}

#[test]
fn an_issuers_sum_is_over_all_shards() {
    let mut pair = Pair::by(&configured(2));
    for shard in 0..2 {
        pair.up(shard, LinkId { issuer: ISSUER, number: 0 });
    }
    for (stan, card) in (1..).zip(["C1", "C2", "C3"]) {
        let request = Request { pan: pan(card), ..buy(stan, 1_000) };
        pair.request(0, &request.message(Dialect::cups()));
        pair.answer("00");
    }
    for (asked, amount, balance) in [(0, 3_000, "1"), (1, 3_000, "1"), (1, 2_000, "2")] {
        let amount = format!("{amount:016}");
        let fields = [(15, "1122"), (76, "0000000003"), (88, amount.as_str())];
        pair.managed.clear();
        pair.bring(asked, ISSUER, &stated(520, "000001", &fields));
        let [(shard, answer)] = pair.managed.as_slice() else { panic!("{:?}", pair.managed) };
        assert_eq!((*shard, field(answer, 66)), (asked, balance.to_owned()));
        assert_eq!(field(answer, 88), "0000000000003000");
    }
    assert_eq!(pair.shards.each_ref().map(Shard::in_flight), [0, 0], "every credit came home");
}
