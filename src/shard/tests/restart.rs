//! Restarts: what one process recorded, the next one knows.

use super::fixture::{
    Done, Request, World, config, connection, issuer_answer, pan, secrets, with_view,
};
use crate::config::Config;
use crate::shard::journal_record::read_records;
use crate::shard::recovery::Recovered;
use crate::shard::{Action, Counter, IssuerId, Outbox, Shard, ShardId};
use tapswitch_protocol::Dialect;

/// A world that keeps the records that its shard makes, as a journal would.
pub(super) struct Journaled {
    pub(super) world: World,
    records: Vec<u8>,
    config: Config,
}

impl Journaled {
    pub(super) fn new() -> Self {
        Self::of(config(1))
    }

    pub(super) fn of(config: Config) -> Self {
        let mut world = World::new(&config);
        world.outbox = Outbox::journaling();
        Self { world, records: Vec::new(), config }
    }

    pub(super) fn request(&mut self, request: &Request<'_>) -> Vec<String> {
        let message = request.message(Dialect::cups());
        let staged = self.world.shard.stage(connection(1), &message);
        let header = super::fixture::cups_header();
        let World { shard, now, outbox, .. } = &mut self.world;
        shard.on_request(*now, staged, &header, &message, outbox);
        self.take()
    }

    pub(super) fn issuer(&mut self, code: &str) -> Vec<String> {
        let forward = self.world.forwarded.last().unwrap().2.clone();
        let answer = issuer_answer(&forward, code, &[]);
        let World { shard, now, outbox, .. } = &mut self.world;
        shard.on_issuer_response(*now, IssuerId(0), crate::shard::AcquirerId(0), &answer, outbox);
        self.take()
    }

    pub(super) fn records(&self) -> &[u8] {
        &self.records
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        self.records.extend_from_slice(self.world.outbox.records().0);
        self.world.drain().into_iter().map(|done| done.text).collect()
    }

    pub(super) fn tick(&mut self) -> Vec<String> {
        let World { shard, now, outbox, .. } = &mut self.world;
        shard.on_deadline(*now, outbox);
        self.take()
    }

    /// The process ends; another one reads what is left, and finishes what was under way.
    fn restart(self) -> (Self, Recovered, Vec<Done>) {
        self.restart_at(2_000)
    }

    pub(super) fn restart_at(self, at_ms: u64) -> (Self, Recovered, Vec<Done>) {
        let mut shard = Shard::new(ShardId(0), &self.config, &secrets());
        shard.begin_recovery();
        shard.replay(&self.records, 0).unwrap();
        let recovered = shard.recovered();
        let mut next = Self::of(self.config);
        next.world.shard = shard;
        next.world.shard.on_connection_open(connection(1));
        next.world.at_ms(at_ms);
        next.records = self.records;
        let World { shard, now, outbox, .. } = &mut next.world;
        assert!(!shard.on_recovered(*now, outbox), "there is room for all of it");
        next.records.extend_from_slice(next.world.outbox.records().0);
        let done = next.world.drain();
        (next, recovered, done)
    }
}

fn buy(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), ..Request::default() }
}

/// A restart with smaller tables refuses what does not fit; it neither panics nor drops anything.
#[test]
fn tables_that_are_too_small_for_what_is_kept_are_refused_by_name() {
    let mut first = Journaled::new();
    for stan in 1..4 {
        let request = Request { mti: 100, processing: "030000", ..buy(stan, 1_000) };
        assert_eq!(first.request(&request), ["I0 0100"]);
        assert_eq!(first.issuer("00"), ["A1 0110 00"]);
    }
    let replayed = |preauthorizations_max: usize| {
        let mut config = config(1);
        config.switch.preauthorizations_max = preauthorizations_max;
        let mut shard = Shard::new(ShardId(0), &config, &secrets());
        shard.begin_recovery();
        shard.replay(&first.records, 0).map_err(|error| error.to_string())
    };
    assert_eq!(replayed(3), Ok(()));
    let refused = replayed(2).unwrap_err();
    assert!(refused.contains("preauthorizations_max must be larger"), "{refused}");
}

#[test]
fn an_approval_is_known_after_a_restart() {
    let mut first = Journaled::new();
    assert_eq!(first.request(&buy(1, 6_000)), ["I0 0200"]);
    assert_eq!(first.issuer("00"), ["A1 0210 00"]);
    let (mut second, recovered, done) = first.restart();
    assert_eq!((recovered.records, recovered.in_flight, recovered.owed), (3, 0, 0));
    assert!(done.is_empty());
    assert_eq!(second.request(&buy(1, 6_000)), ["A1 0210 00"], "the same answer again");
    let later: &[(u8, &[u8])] = &[(7, b"1122130000")];
    let above = Request { extra: later, ..buy(2, 4_001) };
    assert_eq!(second.request(&above), ["A1 0210 61"], "it is still counted");
    assert_eq!(second.request(&buy(3, 4_000)), ["I0 0200"]);
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(4, 6_000) };
    assert_eq!(second.request(&reversal), ["A1 0430 00", "I0 0420"]);
    assert_eq!(second.issuer("00"), [""; 0]);
    let (mut third, ..) = second.restart();
    assert_eq!(third.request(&buy(1, 6_000)), ["A1 0210 98"], "reversed before the second restart");
    // The third request was under way and is not counted any more.
    assert_eq!(third.request(&buy(5, 10_000)), ["I0 0200"]);
}

#[test]
fn what_was_under_way_is_reversed_once() {
    let mut first = Journaled::new();
    assert_eq!(first.request(&buy(1, 6_000)), ["I0 0200"]);
    let sent = first.world.forwarded.last().unwrap().2.clone();
    let (mut second, recovered, done) = first.restart();
    assert_eq!((recovered.in_flight, recovered.owed), (1, 0));
    assert!(done.is_empty(), "first it is recorded");
    second.world.at_ms(2_100);
    let done = second.world.tick();
    second.records.extend_from_slice(second.world.outbox.records().0);
    let texts: Vec<&str> = done.iter().map(|done| &done.text[..]).collect();
    assert_eq!(texts, ["I0 0420"]);
    let original =
        with_view(&sent, |view| format!("0200{}{}", text(view.raw(11)), text(view.raw(7))));
    with_view(&done[0].bytes, |reversal| {
        assert!(
            reversal.raw(2) == Some(pan("C1").as_bytes()),
            "the card's number is written again"
        );
        assert!(text(reversal.raw(90)).starts_with(&original));
        assert_eq!(text(reversal.raw(90))[20..31], *"00003330000");
        assert_eq!(text(reversal.raw(37)), "000000000001");
    });
    assert_eq!(second.request(&buy(1, 6_000)), ["A1 0210 98"], "as after a time-out");
    assert_eq!(second.request(&buy(2, 10_000)), ["I0 0200"], "it counts no more");
    assert_eq!(second.world.shard.counters().value(Counter::Interrupted), 1);
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

#[test]
fn what_is_owed_is_sent_after_a_restart_with_the_numbers_it_had() {
    let mut first = Journaled::new();
    first.request(&buy(1, 6_000));
    first.issuer("00");
    let reversal = Request { mti: 420, original_stan: Some(1), ..buy(4, 6_000) };
    assert_eq!(first.request(&reversal), ["A1 0430 00", "I0 0420"]);
    let sent = first.world.forwarded.last().unwrap().2.clone();
    let (mut second, recovered, _) = first.restart();
    assert_eq!((recovered.in_flight, recovered.owed), (0, 1));
    second.world.at_ms(2_100);
    let done = second.world.tick();
    assert_eq!(done[0].text, "I0 0420");
    assert!(done[0].bytes == sent, "byte for byte");
    assert_eq!(second.issuer("00"), [""; 0]);
    let (third, recovered, _) = second.restart();
    assert_eq!(recovered.owed, 0);
    assert_eq!(third.world.shard.in_flight(), 0);
}

#[test]
fn a_request_that_may_have_been_forwarded_and_lost_is_reversed_when_it_is_declined() {
    let first = Journaled::new();
    let (mut second, ..) = first.restart();
    // Made before the restart (22 November, noon), repeated unchanged, and above the limit.
    let lost = Request { extra: &[(7, b"1122115959")], ..buy(1, 10_001) };
    assert_eq!(second.request(&lost), ["A1 0210 61", "I0 0420"]);
    let reversal = second.world.forwarded.last().unwrap().2.clone();
    with_view(&reversal, |view| assert!(text(view.raw(90)).starts_with("02000000011122115959")));
    assert_eq!(second.request(&lost), ["A1 0210 61"], "once");
    let new = Request { extra: &[(7, b"1122130000")], ..buy(2, 10_001) };
    assert_eq!(second.request(&new), ["A1 0210 61"], "made after the restart: nothing was lost");
    let repeat =
        Request { mti: 201, pan: pan("C2"), extra: &[(7, b"1122130000")], ..buy(3, 10_001) };
    assert_eq!(second.request(&repeat), ["A1 0210 61", "I0 0420"], "a repeat says so itself");
}

#[test]
fn a_request_that_may_have_been_forwarded_and_lost_is_reversed_when_it_cannot_be_handed_over() {
    let first = Journaled::new();
    let (mut second, ..) = first.restart();
    let refuse = |process: &mut Journaled| {
        let forward = process.world.forwarded.last().unwrap().2.clone();
        let World { shard, now, outbox, .. } = &mut process.world;
        shard.on_forward_refused(*now, IssuerId(0), connection(1).acquirer, &forward, outbox);
        process.take()
    };
    let lost = Request { extra: &[(7, b"1122115959")], ..buy(1, 6_000) };
    assert_eq!(second.request(&lost), ["I0 0200"]);
    let numbers = with_view(&second.world.forwarded.last().unwrap().2, |view| {
        [text(view.raw(11)), text(view.raw(7))].concat()
    });
    assert_eq!(refuse(&mut second), ["A1 0210 91", "I0 0420"]);
    let reversal = second.world.forwarded.last().unwrap().2.clone();
    with_view(&reversal, |view| {
        // By numbers that name nothing at the issuer: it goes by DE 37.
        assert!(text(view.raw(90)).starts_with(&format!("0200{numbers}")));
        assert_eq!(text(view.raw(37)), "000000000001");
        assert_ne!(text(view.raw(11)), numbers[..6]);
    });
    assert_eq!(second.request(&lost), ["A1 0210 91"], "once");
    let new = Request { extra: &[(7, b"1122130000")], ..buy(2, 6_000) };
    assert_eq!(second.request(&new), ["I0 0200"]);
    assert_eq!(refuse(&mut second), ["A1 0210 91"], "made after the restart: nothing was lost");
}

#[test]
fn records_replayed_twice_make_the_same_state() {
    let mut first = Journaled::new();
    for stan in 1..60 {
        let amount = u64::from(stan) * 7 % 90 + 1;
        let forwarded = first.request(&Request {
            pan: pan(["C1", "C2", "C3"][stan as usize % 3]),
            ..buy(stan, amount)
        });
        if forwarded == ["I0 0200"] && stan % 5 != 0 {
            first.issuer(if stan % 4 == 0 { "51" } else { "00" });
        }
    }
    let state = |records: &[u8]| {
        let mut shard = Shard::new(ShardId(0), &config(1), &secrets());
        shard.begin_recovery();
        shard.replay(records, 0).unwrap();
        (shard.state_hash(), shard.recovered())
    };
    assert_eq!(state(&first.records), state(&first.records));
    assert_eq!(
        state(&first.records).0,
        first.world.shard.state_hash(),
        "and that of the first process"
    );
    let (_, second) = state(&first.records);
    assert!(second.in_flight >= 2 && second.records > 60, "{second:?}");
}

#[test]
fn records_of_another_version_are_refused() {
    let mut first = Journaled::new();
    first.request(&buy(1, 6_000));
    first.issuer("00");
    let whole = first.records.clone();
    let first = usize::from(u16::from_le_bytes([whole[0], whole[1]]));
    for cut in (1..whole.len()).step_by(23).chain([first - 1, first, first + 1]) {
        let mut shard = Shard::new(ShardId(0), &config(1), &secrets());
        shard.begin_recovery();
        let replayed = shard.replay(&whole[..cut], 0);
        assert_eq!(replayed.is_ok(), cut == first, "cut at {cut}");
    }
    let mut unknown = whole;
    unknown[2] = 99;
    let mut shard = Shard::new(ShardId(0), &config(1), &secrets());
    assert!(shard.replay(&unknown, 0).unwrap_err().to_string().contains("kind 99"));
}

#[test]
fn no_record_holds_a_card_number_a_track_or_a_pin() {
    let mut first = Journaled::new();
    let track: &[u8] = b"6228480000000000011=30122010000000000";
    let secret: &[(u8, &[u8])] =
        &[(35, track), (52, b"\xA1\xB2\xC3\xD4\xE5\xF6\x07\x18"), (14, b"3012")];
    first.request(&Request { extra: secret, ..buy(1, 100) });
    first.issuer("00");
    first.request(&Request { extra: secret, ..buy(2, 100) });
    first.request(&Request { mti: 420, original_stan: Some(1), extra: secret, ..buy(3, 100) });
    first.request(&Request { mti: 220, processing: "200000", extra: secret, ..buy(4, 100) });
    let records = &first.records;
    assert!(records.len() > 800);
    for secret in [pan("C1").as_bytes(), b"=3012", b"\xA1\xB2\xC3\xD4", &b"62284800000"[..]] {
        assert!(!records.windows(secret.len()).any(|window| window == secret));
    }
    // Packed, as POS systems write it.
    assert!(!records.windows(4).any(|window| window == b"\x62\x28\x48\x00"));
}

#[test]
fn records_are_described_without_a_card_number() {
    let mut first = Journaled::new();
    first.request(&buy(1, 6_000));
    first.issuer("00");
    first.request(&Request { mti: 420, original_stan: Some(1), ..buy(2, 6_000) });
    first.issuer("00");
    let mut lines = Vec::new();
    let count = read_records(&first.records, |record| lines.push(record.to_string())).unwrap();
    assert_eq!(count, lines.len() as u64);
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(lines[0].starts_with("settlement-day 1122"), "{}", lines[0]);
    let lines = &lines[1..];
    let expected = ["forwarded", "answered", "undone", "owed", "answered", "owed-done"];
    assert_eq!(kinds[1..], expected, "{lines:#?}");
    assert!(lines[0].contains("0200 of acquirer 0 to issuer 0: DE 11 "), "{}", lines[0]);
    assert!(lines[0].contains("DE 4 6000, reserves 6000; keeps DE 3 4 "), "{}", lines[0]);
    assert!(lines[1].contains("00 stands, DE 4 6000; posted 6000"), "{}", lines[1]);
    let card = |line: &str| line.split_once("card #").unwrap().1[..6].to_owned();
    assert_eq!(card(&lines[0]), card(&lines[1]));
    let all = lines.join("\n");
    assert!(!all.contains(&pan("C1")[..9]) && !all.contains(&pan("C1")[10..]), "{all}");
}

/// An issuer that would debit twice gets a request only when its record is durable.
#[test]
fn a_request_waits_for_its_record_where_the_issuer_asks_for_it() {
    for intent_first in [false, true] {
        let mut config = config(1);
        config.issuers[0].intent_first = intent_first;
        let mut world = World::new(&config);
        world.outbox = Outbox::journaling();
        let message = buy(1, 100).message(Dialect::cups());
        let staged = world.shard.stage(connection(1), &message);
        let header = super::fixture::cups_header();
        world.shard.on_request(world.now, staged, &header, &message, &mut world.outbox);
        assert!(matches!(world.outbox.actions(), [Action::Forward { .. }]));
        assert_eq!((world.outbox.records().1, world.outbox.is_gated(0)), (2, intent_first));
    }
}

/// Also when another connection than its own gets it.
#[test]
fn an_approval_waits_for_its_record_whichever_connection_gets_it() {
    for closed in [false, true] {
        let mut world = World::new(&config(1));
        world.outbox = Outbox::journaling();
        let message = buy(1, 100).message(Dialect::cups());
        let staged = world.shard.stage(connection(1), &message);
        let header = super::fixture::cups_header();
        world.shard.on_request(world.now, staged, &header, &message, &mut world.outbox);
        world.drain();
        if closed {
            world.shard.on_connection_closed(connection(1));
        }
        let answer = issuer_answer(&world.forwarded[0].2, "00", &[]);
        let World { shard, now, outbox, .. } = &mut world;
        let acquirer = crate::shard::AcquirerId(0);
        shard.on_issuer_response(*now, IssuerId(0), acquirer, &answer, outbox);
        let slot = connection(if closed { 2 } else { 1 });
        assert!(
            matches!(outbox.actions(), [Action::Respond { connection, .. }] if *connection == slot)
        );
        assert!(outbox.is_gated(0), "closed: {closed}");
    }
}

/// Several messages of one card: each is acknowledged under the numbers that it got before the restart,
/// also those that had to wait for the one before.
#[test]
fn what_waits_behind_another_message_is_delivered_after_a_restart_too() {
    let mut first = Journaled::new();
    for stan in 1..4 {
        first.request(&buy(stan, 1_000));
        first.issuer("00");
    }
    for stan in 1..4 {
        let reversal = Request { mti: 420, original_stan: Some(stan), ..buy(10 + stan, 1_000) };
        first.request(&reversal);
    }
    let (mut second, recovered, _) = first.restart();
    assert_eq!(recovered.owed, 3);
    second.world.at_ms(2_100);
    let done = second.world.tick();
    assert_eq!(done[0].text, "I0 0420");
    assert_eq!(second.issuer("00"), ["I0 0420"]);
    assert_eq!(second.issuer("00"), ["I0 0420"]);
    assert_eq!(second.issuer("00"), [""; 0]);
    assert_eq!(second.world.shard.owed(), 0, "all three are acknowledged");
}

/// Its own connection is closed, so that it goes to another one of its acquirer.
#[test]
fn an_approval_for_another_connection_waits_for_its_record_too() {
    let mut first = Journaled::new();
    first.world.shard.on_connection_open(connection(2));
    assert_eq!(first.request(&buy(1, 6_000)), ["I0 0200"]);
    first.world.shard.on_connection_closed(connection(1));
    let forward = first.world.forwarded.last().unwrap().2.clone();
    let World { shard, now, outbox, .. } = &mut first.world;
    let answer = issuer_answer(&forward, "00", &[]);
    shard.on_issuer_response(*now, IssuerId(0), crate::shard::AcquirerId(0), &answer, outbox);
    let gated = outbox.is_gated(0);
    assert_eq!(first.take(), ["A2 0210 00"]);
    assert!(gated, "a crash would forget what the acquirer was told");
}
