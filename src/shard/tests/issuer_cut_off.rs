//! Cut-offs that issuers announce (201, 202): from when on their transactions count on the next date.

use super::fixture::{Request, World, issuer_answer, pan, secrets};
use super::issuer_totals::{configured, linked_world, stated};
use super::mesh::Pair;
use super::restart::Journaled;
use super::settlement::{CUT_OFF_MS, DAY, buy, field, load, sums};
use crate::shard::totals::Party;
use crate::shard::{AcquirerId, Counter, IssuerId, LinkId, Now, Outbox, Shard, ShardId};
use tapswitch_protocol::Dialect;

const LINK: LinkId = LinkId { issuer: IssuerId(0), number: 0 };

/// What the issuer is answered to this order with this date.
fn announce(world: &mut World, order: &str, date: &str) -> String {
    let fields: Vec<(u8, &str)> =
        [(15, date), (70, order)].into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let [done] =
        <[_; 1]>::try_from(world.issuer(LINK.issuer, &stated(820, "000009", &fields))).unwrap();
    assert!(done.text.starts_with("L0.0 0830"), "{}", done.text);
    assert_eq!(field(&done.bytes, 15), date, "echoed");
    field(&done.bytes, 39)
}

/// Debits of acquirer 0 and of issuer 0 on the date and the next.
fn debits(shard: &Shard) -> ([u64; 2], [u64; 2]) {
    let both = [DAY, DAY + 1].map(|day| sums(shard, day));
    (both.map(|it| it.0.debits.amount_minor), both.map(|it| it.1.debits.amount_minor))
}

#[test]
fn an_issuer_that_announces_its_cut_off_is_a_date_ahead() {
    let mut world = linked_world();
    world.done(&buy(1, 1_000), "00");
    assert_eq!(announce(&mut world, "201", "1123"), "00");
    let answer = world.done(&buy(2, 2_000), "00");
    assert_eq!(field(&answer, 15), "1122", "the switch's date, which is the acquirer's");
    assert_eq!(debits(&world.shard), ([3_000, 0], [1_000, 2_000]));
    // Another issuer's cut-off is its own.
    let other = Request { pan: pan("C4"), ..buy(3, 500) }.message(Dialect::cups());
    let sent = world.request(1, &other).remove(0);
    world.issuer(IssuerId(1), &issuer_answer(&sent.bytes, "00", &[]));
    let of_other = world.shard.totals().of(DAY, Party::Issuer(IssuerId(1))).unwrap();
    assert_eq!(of_other.debits.amount_minor, 500);
    // The end of the cut-off says the same again.
    assert_eq!(announce(&mut world, "202", "1123"), "00");
    // A reversal counts when it happens.
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(4, 1_000) };
    world.request(1, &reversal.message(Dialect::cups()));
    assert_eq!(sums(&world.shard, DAY).1.debits_reversed.count, 0);
    assert_eq!(sums(&world.shard, DAY + 1).1.debits_reversed.amount_minor, 1_000);
    assert_eq!(sums(&world.shard, DAY).0.debits_reversed.amount_minor, 1_000);
    // The switch follows: everybody counts on the same date.
    world.at_ms(CUT_OFF_MS);
    world.done(&buy(5, 4_000), "00");
    assert_eq!(debits(&world.shard), ([3_500, 4_000], [1_000, 6_000]));
    assert_eq!(world.shard.counters().value(Counter::IssuerCutOff), 1);
}

#[test]
fn its_totals_of_both_dates_are_answered_and_an_acquirers_next_one_is_not_known() {
    let mut world = linked_world();
    world.done(&buy(1, 1_000), "00");
    announce(&mut world, "201", "1123");
    world.done(&buy(2, 2_000), "00");
    for (date, amount) in [("1122", "0000000000001000"), ("1123", "0000000000002000")] {
        let message = stated(520, "000010", &[(15, date), (88, amount)]);
        let done = world.issuer(LINK.issuer, &message).remove(0);
        assert_eq!((field(&done.bytes, 66), field(&done.bytes, 39)), ("1".into(), "00".into()));
    }
    let undated = stated(520, "000011", &[(88, "0000000000002000")]);
    assert_eq!(field(&world.issuer(LINK.issuer, &undated)[0].bytes, 15), "1123");
    let next: &[(u8, &[u8])] = &[(15, b"1123"), (88, b"0000000000000000")];
    let asked =
        Request { mti: 500, pan: "", amount: None, stan: 12, extra: next, ..Request::default() };
    let done = world.request(1, &asked.message(Dialect::cups())).remove(0);
    assert_eq!((done.text.as_str(), field(&done.bytes, 66)), ("A1 0510 95", "3".into()));
}

#[test]
fn a_date_that_is_behind_or_too_far_ahead_is_refused() {
    let mut world = linked_world();
    world.done(&buy(1, 1_000), "00");
    let before = world.shard.state_hash();
    for (date, code) in [("1121", "12"), ("1124", "12"), ("0101", "12"), ("", "30")] {
        assert_eq!(announce(&mut world, "201", date), code, "{date}");
    }
    assert_eq!(announce(&mut world, "202", "1122"), "00", "as it is");
    assert_eq!(world.shard.state_hash(), before);
    announce(&mut world, "201", "1123");
    assert_eq!(announce(&mut world, "201", "1122"), "12", "never back");
    assert_eq!(announce(&mut world, "201", "1124"), "12", "one date ahead, not two");
    world.at_ms(CUT_OFF_MS);
    assert_eq!(announce(&mut world, "201", "1124"), "00");
    assert_eq!(world.shard.counters().value(Counter::IssuerCutOffRefused), 6);
    assert_eq!(world.shard.counters().value(Counter::IssuerCutOff), 2);
}

#[test]
fn what_was_announced_is_there_after_a_restart_and_in_a_snapshot() {
    let mut first = Journaled::of(configured(1));
    first.world.shard.on_issuer_up(first.world.now, LINK);
    first.tick();
    first.request(&buy(1, 1_000));
    first.issuer("00");
    let message = stated(820, "000009", &[(15, "1123"), (70, "201")]);
    let World { shard, now, outbox, .. } = &mut first.world;
    shard.on_issuer_response(*now, LINK, AcquirerId(0), &message, outbox);
    assert!(outbox.is_gated(outbox.actions().len() - 1), "not before it is durable");
    first.take();
    first.request(&buy(2, 2_000));
    first.issuer("00");
    let (second, ..) = first.restart_at(10);
    assert_eq!(debits(&second.world.shard), ([3_000, 0], [1_000, 2_000]));
    assert_eq!(second.world.shard.totals().day_of(LINK.issuer), DAY + 1);
    assert_eq!(second.world.shard.totals().day_of(IssuerId(1)), DAY);
    let mut world = second.world;
    world.shard.on_issuer_up(world.now, LINK);
    world.tick();
    let mut same = Shard::new(ShardId(0), &configured(1), &secrets());
    load(&mut world, (false, 90), &mut same);
    assert_eq!((same.totals().day(), same.totals().day_of(LINK.issuer)), (DAY, DAY + 1));
    assert_eq!(debits(&same), ([3_000, 0], [1_000, 2_000]));
    // Shards of another layout know it too; the first has the totals.
    for id in 0..2 {
        let mut shard = Shard::new(ShardId(id), &configured(2), &secrets());
        shard.begin_recovery();
        load(&mut world, (true, 91 + u32::from(id)), &mut shard);
        assert_eq!(shard.totals().day_of(LINK.issuer), DAY + 1);
        assert_eq!(shard.totals().day(), DAY);
    }
}

#[test]
fn every_shard_is_told() {
    for told in 0..2 {
        let mut pair = Pair::by(&configured(2));
        for shard in 0..2 {
            pair.up(shard, LINK);
        }
        pair.bring(told, LINK.issuer, &stated(820, "000009", &[(15, "1123"), (70, "201")]));
        for shard in &pair.shards {
            assert_eq!(shard.totals().day_of(LINK.issuer), DAY + 1);
            assert_eq!(shard.totals().day(), DAY);
        }
        assert_eq!(pair.shards.each_ref().map(Shard::in_flight), [0, 0], "every credit came home");
    }
}

/// The process dies when one shard has it on its disk and the other was not told yet.
#[test]
fn what_one_shard_knows_all_know_after_a_restart() {
    for knows in 0..2 {
        let mut pair = Pair::by(&configured(2));
        pair.up(knows, LINK);
        let mut outbox = Outbox::journaling();
        let message = stated(820, "000009", &[(15, "1123"), (70, "201")]);
        let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 };
        pair.shards[knows].on_issuer_response(now, LINK, AcquirerId(0), &message, &mut outbox);
        let mut records: [&[u8]; 2] = [&[], &[]];
        records[knows] = outbox.records().0;
        assert!(!records[knows].is_empty());
        let pair = Pair::restarted(&configured(2), records);
        let days = pair.shards.each_ref().map(|shard| shard.totals().day_of(LINK.issuer));
        assert_eq!(days, [DAY + 1; 2], "{knows} knew it");
        assert_eq!(pair.shards.each_ref().map(Shard::in_flight), [0, 0], "every credit came home");
    }
}
