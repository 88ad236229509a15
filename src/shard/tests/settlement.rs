//! Settlement dates and totals: what counts on which date, and what an acquirer that states its totals
//! is told.

use super::fixture::{Request, World, config, issuer_answer, pan, secrets, with_view};
use super::mesh::Pair;
use super::restart::Journaled;
use crate::config::{Config, CutOff};
use crate::shard::snapshot::SnapshotStep;
use crate::shard::totals::{Party, Sums, Tally};
use crate::shard::{AcquirerId, Counter, IssuerId, Shard, ShardId};
use tapswitch_protocol::Dialect;

/// Dates end at 23:00 in China: three hours after the tests begin, which is on 1122.
pub(super) const CUT_OFF_MS: u64 = 3 * 3_600_000;
pub(super) const DAY: u32 = 20_779;

pub(super) fn with_cutoff(mut config: Config) -> Config {
    config.switch.cutoff = Some(CutOff { minute: 23 * 60, zone_offset_minutes: 480 });
    config
}

pub(super) fn buy(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), ..Request::default() }
}

/// 0500 with these totals.
fn totals(stan: u32, fields: &[(u8, &str)]) -> Vec<u8> {
    let fields: Vec<(u8, &[u8])> =
        fields.iter().map(|(field, value)| (*field, value.as_bytes())).collect();
    let request =
        Request { mti: 500, pan: "", amount: None, stan, extra: &fields, ..Request::default() };
    request.message(Dialect::cups())
}

pub(super) fn field(answer: &[u8], field: u8) -> String {
    with_view(answer, |view| {
        String::from_utf8(view.raw(field).unwrap_or_default().to_vec()).unwrap()
    })
}

pub(super) fn sums(shard: &Shard, day: u32) -> (Sums, Sums) {
    let of = |party| shard.totals().of(day, party).copied().unwrap_or_default();
    (of(Party::Acquirer(AcquirerId(0))), of(Party::Issuer(IssuerId(0))))
}

pub(super) fn tally(count: u64, amount_minor: u64) -> Tally {
    Tally { count, amount_minor }
}

impl World {
    /// A purchase, or whatever it is, and its issuer's answer.
    pub(super) fn done(&mut self, request: &Request<'_>, code: &str) -> Vec<u8> {
        let sent = self.request(1, &request.message(Dialect::cups()));
        assert!(sent[0].text.starts_with('I'), "{sent:?}");
        self.issuer(IssuerId(0), &issuer_answer(&sent[0].bytes, code, &[])).remove(0).bytes
    }

    fn totals(&mut self, stan: u32, fields: &[(u8, &str)]) -> (String, Vec<u8>) {
        let answer = self.request(1, &totals(stan, fields)).remove(0);
        (answer.text, answer.bytes)
    }
}

#[test]
fn everything_is_counted_once_and_by_its_sort() {
    let mut world = World::new(&config(1));
    world.done(&buy(1, 1_000), "00");
    world.done(&buy(2, 2_000), "51");
    let purchase = buy(1, 1_000).message(Dialect::cups());
    assert_eq!(world.request(1, &purchase)[0].text, "A1 0210 00", "a repeat");
    let inquiry = Request { processing: "300000", amount: None, ..buy(3, 0) };
    world.done(&inquiry, "00");
    let hold = Request { mti: 100, processing: "030000", ..buy(4, 500) };
    world.done(&hold, "00");
    let refund = Request { mti: 220, processing: "200000", ..buy(5, 300) };
    assert_eq!(world.request(1, &refund.message(Dialect::cups()))[0].text, "A1 0230 00");
    let foreign =
        Request { extra: &[(49, b"840"), (6, b"000000000100"), (51, b"156")], ..buy(6, 7) };
    world.done(&foreign, "00");
    let expected = Sums {
        debits: tally(1, 1_000),
        credits: tally(1, 300),
        inquiries: 1,
        authorizations: 1,
        ..Sums::default()
    };
    assert_eq!(sums(&world.shard, DAY), (expected, expected));
    // Reversed twice, it is taken back once.
    for stan in [7, 7, 8] {
        let reversal = Request { mti: 420, original_stan: Some(1), ..buy(stan, 1_000) };
        let done = world.request(1, &reversal.message(Dialect::cups()));
        assert_eq!(done[0].text, "A1 0430 00");
    }
    let expected = Sums { debits_reversed: tally(1, 1_000), ..expected };
    assert_eq!(sums(&world.shard, DAY), (expected, expected));
}

#[test]
fn a_void_and_a_partial_reversal_take_back_what_they_take_back() {
    let mut world = World::new(&config(1));
    world.done(&buy(1, 1_000), "00");
    let void = Request { processing: "200000", original_stan: Some(1), ..buy(2, 1_000) };
    world.done(&void, "00");
    let (acquirer, issuer) = sums(&world.shard, DAY);
    assert_eq!((acquirer.debits, acquirer.debits_reversed), (tally(1, 1_000), tally(1, 1_000)));
    assert_eq!(acquirer, issuer);
    assert_eq!(acquirer.net_minor(), 0);
    // Of an original that is not known the issuer says that it stood.
    let void = Request { processing: "200000", original_stan: Some(99), ..buy(3, 40) };
    world.done(&void, "00");
    assert_eq!(sums(&world.shard, DAY).0.debits_reversed, tally(2, 1_040));
}

#[test]
fn a_date_ends_between_request_and_answer_and_the_answer_counts() {
    let mut world = World::new(&with_cutoff(config(1)));
    let first = world.done(&buy(1, 1_000), "00");
    assert_eq!(field(&first, 15), "1122");
    let sent = world.request(1, &buy(2, 2_000).message(Dialect::cups()));
    world.at_ms(CUT_OFF_MS - 1);
    assert_eq!(sums(&world.shard, DAY).0.debits, tally(1, 1_000));
    // Its time is over long since, but nobody said so yet.
    world.at_ms(CUT_OFF_MS);
    let answered = world.issuer(IssuerId(0), &issuer_answer(&sent[0].bytes, "00", &[]));
    assert_eq!(field(&answered[0].bytes, 15), "1123");
    assert_eq!(sums(&world.shard, DAY).0.debits, tally(1, 1_000));
    assert_eq!(sums(&world.shard, DAY + 1).0.debits, tally(1, 2_000));
    // Repeats state what was stated, on whatever date.
    let again = world.request(1, &buy(1, 1_000).message(Dialect::cups())).remove(0);
    assert_eq!(again.bytes, first);
    // A reversal counts when it happens.
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(3, 1_000) };
    let reversal = reversal.message(Dialect::cups());
    let done = world.request(1, &reversal).remove(0);
    assert_eq!((done.text.as_str(), field(&done.bytes, 15)), ("A1 0430 00", "1123".into()));
    world.at_ms(CUT_OFF_MS + 24 * 3_600_000);
    assert_eq!(world.request(1, &reversal)[0].bytes, done.bytes, "byte for byte a day later");
    assert_eq!(sums(&world.shard, DAY).0.debits_reversed, tally(0, 0));
    assert_eq!(sums(&world.shard, DAY + 1).0.debits_reversed, tally(1, 1_000));
}

#[test]
fn a_date_that_the_issuer_states_is_left_as_it_is() {
    let mut world = World::new(&with_cutoff(config(1)));
    let sent = world.request(1, &buy(1, 1_000).message(Dialect::cups()));
    let answer = issuer_answer(&sent[0].bytes, "00", &[(15, b"1201")]);
    assert_eq!(field(&world.issuer(IssuerId(0), &answer)[0].bytes, 15), "1201");
    let mut without = World::new(&config(1));
    assert_eq!(field(&without.done(&buy(1, 1_000), "00"), 15), "", "no cut-off, no date");
    let unknown = Request { pan: pan("C9"), ..buy(2, 1_000) };
    let refused = world.request(1, &unknown.message(Dialect::cups())).remove(0);
    assert_eq!((refused.text.as_str(), field(&refused.bytes, 15)), ("A1 0210 15", "1122".into()));
}

#[test]
fn totals_are_in_balance_or_not() {
    let mut world = World::new(&with_cutoff(config(1)));
    world.done(&buy(1, 1_000), "00");
    let refund = Request { mti: 220, processing: "200000", ..buy(2, 300) };
    world.request(1, &refund.message(Dialect::cups()));
    let right: &[(u8, &str)] = &[
        (15, "1122"),
        (74, "0000000001"),
        (75, "0000000000"),
        (76, "0000000001"),
        (86, "0000000000000300"),
        (88, "0000000000001000"),
        (97, "D0000000000000700"),
        (99, "00010000"),
    ];
    let (text, answer) = world.totals(3, right);
    assert_eq!((text.as_str(), field(&answer, 66)), ("A1 0510 00", "1".into()));
    assert_eq!(field(&answer, 99), "00010000");
    let mut wrong = right.to_vec();
    wrong[5].1 = "0000000000001001";
    let (text, answer) = world.totals(4, &wrong);
    assert_eq!((text.as_str(), field(&answer, 66)), ("A1 0510 95", "2".into()));
    assert_eq!(field(&answer, 88), "0000000000001000", "the switch's own");
    assert_eq!(field(&answer, 97), "D0000000000000700");
    assert_eq!(field(&answer, 77), "0000000000");
    let (text, answer) = world.totals(5, &[(15, "0101"), (76, "0000000001")]);
    assert_eq!((text.as_str(), field(&answer, 66)), ("A1 0510 95", "3".into()));
    assert_eq!((field(&answer, 15), field(&answer, 76)), ("0101".into(), String::new()));
    let (text, answer) = world.totals(6, &[(15, "1122")]);
    assert_eq!((text.as_str(), field(&answer, 44)), ("A1 0510 30", "074".into()));
    // Without a date it is the current one; yesterday's are kept.
    world.at_ms(CUT_OFF_MS);
    let (text, answer) = world.totals(7, &[(76, "0000000000"), (97, "D0000000000000000")]);
    assert_eq!((text.as_str(), field(&answer, 15)), ("A1 0510 00", "1123".into()));
    assert_eq!(world.totals(8, right).0, "A1 0510 00");
    for (counter, count) in
        [(Counter::Reconciled, 3), (Counter::ReconciledOut, 1), (Counter::ReconciledUnknown, 1)]
    {
        assert_eq!(world.shard.counters().value(counter), count);
    }
}

#[test]
fn totals_and_date_are_there_after_a_restart() {
    let mut first = Journaled::new();
    first.request(&buy(1, 1_000));
    first.issuer("00");
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(2, 1_000) };
    first.request(&reversal);
    first.request(&buy(3, 2_000));
    first.issuer("00");
    let before = sums(&first.world.shard, DAY);
    assert_eq!(before.0.debits, tally(2, 3_000));
    assert_eq!(before.0.debits_reversed, tally(1, 1_000));
    let (mut second, ..) = first.restart_at(13 * 3_600_000);
    assert_eq!(sums(&second.world.shard, DAY), before);
    second.request(&Request { mti: 420, original_stan: Some(3), ..buy(4, 2_000) });
    assert_eq!(sums(&second.world.shard, DAY), before);
    assert_eq!(sums(&second.world.shard, DAY + 1).0.debits_reversed, tally(1, 2_000));
}

#[test]
fn the_sum_is_over_all_shards() {
    let mut pair = Pair::by(&config(2));
    // C1 and C2 live on different shards, or another of these does.
    for (stan, card) in (1..).zip(["C1", "C2", "C3"]) {
        let request = Request { pan: pan(card), ..buy(stan, 1_000) };
        pair.request(0, &request.message(Dialect::cups()));
        pair.answer("00");
    }
    let counted = [0, 1].map(|id| sums(&pair.shards[id], DAY).0.debits.count);
    assert!(counted[0] > 0 && counted[1] > 0, "{counted:?}");
    for (asked, amount, code) in [(0, "3000", "00"), (1, "3000", "00"), (1, "2000", "95")] {
        pair.responses.clear();
        let amount = format!("{amount:0>16}");
        let fields = [(15, "1122"), (76, "0000000003"), (88, amount.as_str())];
        pair.request(asked, &totals(10 + asked as u32, &fields));
        let [(shard, _, frame)] = pair.responses.as_slice() else {
            panic!("one answer: {:?}", pair.responses)
        };
        assert_eq!(*shard, asked);
        // After length and header.
        let answer = &frame[50..];
        assert_eq!(
            (field(answer, 39), field(answer, 88)),
            (code.into(), format!("{:0>16}", 3_000))
        );
    }
    assert_eq!(pair.shards.each_ref().map(Shard::in_flight), [0, 0], "every credit came home");
}

/// A snapshot of a shard, put into another one.
pub(super) fn load(from: &mut World, (carried, stan): (bool, u32), into: &mut Shard) {
    let header = match carried {
        true => from.shard.carry_begin(from.now),
        false => from.shard.snapshot_begin(from.now),
    };
    // What comes after the cut is not in it.
    from.done(&Request { pan: pan("C2"), ..buy(stan, 50) }, "00");
    let mut bytes = Vec::new();
    while from.shard.snapshot_next(&mut bytes, 1 << 12) == SnapshotStep::More {}
    into.load_begin(&header).unwrap();
    into.load(&bytes).unwrap();
    into.load_end().unwrap();
}

#[test]
fn a_snapshot_has_the_totals_of_its_cut_and_one_shard_carries_them_on() {
    let mut world = World::new(&with_cutoff(config(1)));
    world.done(&buy(1, 1_000), "00");
    world.at_ms(CUT_OFF_MS);
    world.done(&buy(2, 2_000), "00");
    let before = [DAY, DAY + 1].map(|day| sums(&world.shard, day));
    assert_eq!(before[1].0.debits, tally(1, 2_000));
    let all = |shard: &Shard| [DAY, DAY + 1].map(|day| sums(shard, day));
    let mut same = Shard::new(ShardId(0), &with_cutoff(config(1)), &secrets());
    load(&mut world, (false, 90), &mut same);
    assert_eq!(all(&same), before);
    let before = all(&world.shard);
    assert_ne!(all(&same), before);
    let [mut first, mut second] = [0, 1].map(|id| {
        let mut shard = Shard::new(ShardId(id), &with_cutoff(config(2)), &secrets());
        shard.begin_recovery();
        shard
    });
    load(&mut world, (true, 91), &mut first);
    assert_eq!(all(&first), before);
    load(&mut world, (true, 92), &mut second);
    assert_eq!(all(&second), [(Sums::default(), Sums::default()); 2]);
    assert_eq!(second.totals().days().next(), Some(DAY + 1), "the date is every shard's");
}
