//! Limits of merchants, terminals and acquirers over shards that talk to each other, through crashes,
//! snapshots and other numbers of shards.

use super::fixture::{Request, World, config, pan, secrets};
use super::process::Process;
use crate::config::{Config, VelocityCounter, VelocityLimit, VelocityScope, VelocityWindow};
use crate::shard::journal_record::read_records;
use crate::shard::snapshot::SnapshotStep;
use crate::shard::state_layout::StateLayout;
use crate::shard::{AcquirerId, Configured, Counter, IssuerId, Shard, ShardId};
use tapswitch_protocol::{Addition, Dialect, FieldTable, ResponseCode, respond};

/// A limit of so much a day at each merchant; cards have none.
fn shop(shards: usize, amount_minor_max: u64) -> Config {
    with_scopes(shards, &[(VelocityScope::Merchant, None, Some(amount_minor_max))])
}

pub(super) fn with_scopes(
    shards: usize,
    scopes: &[(VelocityScope, Option<u32>, Option<u64>)],
) -> Config {
    let mut config = config(shards);
    let (day, daily) = (config.velocity.counters[0].clone(), config.velocity.limits.remove(0));
    config.velocity.entities = 16;
    config.velocity.entity_transactions = 4_096;
    for (place, (scope, count_max, amount_minor_max)) in scopes.iter().enumerate() {
        let name = format!("scope{place}");
        let (scope, window) = (*scope, VelocityWindow::Day { zone_offset_minutes: 480 });
        let counter = VelocityCounter { name: name.clone(), scope, window, ..day.clone() };
        config.velocity.scope_counters.push(counter);
        config.velocity.limits.push(VelocityLimit {
            name,
            counter: None,
            scope_counter: Some(place),
            count_max: *count_max,
            amount_minor_max: *amount_minor_max,
            ..daily.clone()
        });
    }
    config
}

#[test]
fn a_merchants_limit_is_never_passed_by_two_shards_and_mostly_reached() {
    for amount in [700, 2_300] {
        let mut process = Process::new(shop(2, 100_000));
        let answers: Vec<String> = (0..300).map(|card| process.buy(card, amount)).collect();
        let approved = answers.iter().filter(|code| *code == "00").count() as u64 * amount;
        assert!((70_000..=100_000).contains(&approved), "{approved}");
        assert!(answers.iter().all(|code| code == "00" || code == "61"));
        assert_eq!(answers[0], "00", "the first on each shard needs no lease");
        assert!(process.total(Counter::LeaseGranted) > 0);
        assert!(process.total(Counter::DeclinedEarly) > 0);
        let refusals: u64 = process.shards.iter().map(|it| it.velocity.refusals()[0]).sum();
        assert_eq!(refusals, answers.iter().filter(|code| *code == "61").count() as u64);
        // Another merchant has its own.
        let mut other = process.request(1_000, pan("C1"));
        other.extra = &[(42, b"333290054110002"), (7, b"1122130000")];
        assert_eq!(process.send(0, &other), None);
    }
}

#[test]
fn leases_that_never_come_only_make_it_decline_early() {
    let mut process = Process::new(shop(2, 100_000));
    process.delivers = false;
    let approved = (0..300).filter(|card| process.buy(*card, 1_000) == "00").count();
    // Each shard's quarter, and what the owner lends to itself.
    assert!((50..=100).contains(&approved), "{approved}");
}

#[test]
fn one_shard_is_exact_and_a_part_that_is_approved_counts_as_a_part() {
    let mut process = Process::new(shop(1, 10_000));
    assert_eq!(process.buy(1, 6_000), "00");
    assert_eq!(process.left(), 4_000, "declines by the issuer count nothing");
    let partial = process.request(5_000, pan("C1"));
    assert_eq!(process.send(0, &partial), Some("61".into()));
    let takes_a_part = super::hostile::de60(b'1');
    let extra: &[(u8, &[u8])] = &[(7, b"1122130000"), (60, &takes_a_part)];
    let partial = Request { extra, ..process.request(3_000, pan("C1")) };
    assert_eq!(process.send(0, &partial), None);
    assert_eq!(process.left(), 1_000, "what is under way counts");
    let in_part = process.forwards.pop();
    assert!(in_part.is_some());
    process.forwards.extend(in_part);
    assert_eq!(process.answer("10", &[(4, b"000000001000")]).as_deref(), Some("10"));
    assert_eq!(process.left(), 3_000);
}

/// As the fixture makes them: DE 7 is that of its reversals.
fn plain(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), ..Request::default() }
}

#[test]
fn reversals_voids_time_outs_and_advices() {
    let mut process = Process::new(shop(1, 10_000));
    process.stan = 100;
    let approve = |process: &mut Process, request: &Request<'_>| {
        assert_eq!(process.send(0, request), None);
        assert_eq!(process.answer("00", &[]).as_deref(), Some("00"));
    };
    approve(&mut process, &plain(1, 6_000));
    let reversal = Request { mti: 420, original_stan: Some(1), ..plain(3, 6_000) };
    let again = Request { mti: 420, original_stan: Some(1), ..plain(4, 6_000) };
    assert_eq!(process.left(), 4_000);
    assert_eq!(process.send(0, &reversal).as_deref(), Some("00"));
    assert_eq!(process.left(), 10_000);
    assert_eq!(process.send(0, &again).as_deref(), Some("00"));
    assert_eq!(process.left(), 10_000, "once");
    // A void gives its original back.
    approve(&mut process, &plain(5, 6_000));
    let void = Request { processing: "200000", original_stan: Some(5), ..plain(6, 6_000) };
    approve(&mut process, &void);
    assert_eq!(process.left(), 10_000);
    // What its issuer does not answer.
    assert_eq!(process.send(0, &plain(7, 6_000)), None);
    assert_eq!(process.left(), 4_000);
    process.now.mono_ns += 9_000_000_000;
    process.shards[0].on_deadline(process.now, &mut process.outboxes[0]);
    process.carry();
    assert_eq!(process.answers.pop().as_deref(), Some("98"));
    assert_eq!(process.left(), 10_000);
    // What has happened already is counted above the limit too.
    let advice = Request { mti: 220, ..plain(8, 12_000) };
    assert_eq!(process.send(0, &advice).as_deref(), Some("00"));
    assert_eq!(process.total(Counter::AdviceOverLimit), 1);
    assert_eq!(process.left(), 0);
    let back = Request { mti: 420, original_stan: Some(8), ..plain(9, 12_000) };
    process.send(0, &back);
}

/// Over the ISO 8583:1987 listener: UnionPay's interface has no DE 95.
#[test]
fn a_partial_reversal_gives_a_part_back() {
    let mut world = World::new(&shop(1, 10_000));
    let dialect = Dialect::iso87_ascii();
    let send = |world: &mut World, request: &Request<'_>| -> String {
        let done = world.request(101, &request.message(dialect));
        done.first().map_or_else(String::new, |done| done.text.clone())
    };
    assert_eq!(send(&mut world, &plain(1, 6_000)), "I0 0200");
    let forward = world.forwarded.last().unwrap().2.clone();
    let mut table = FieldTable::default();
    let view = dialect.parse(&forward, &mut table).unwrap();
    let mut answer = vec![0; 1_024];
    let code = [Addition { field: 39, value: b"00" }];
    let mti = view.mti().response().unwrap();
    let bytes = respond(&view, mti, dialect.echo, &code, &mut answer).unwrap();
    let World { shard, now, outbox, .. } = &mut world;
    shard.on_issuer_response(*now, IssuerId(0), AcquirerId(1), &answer[..bytes], outbox);
    assert_eq!(world.drain()[0].text, "A101 0210 00");
    assert_eq!(send(&mut world, &plain(2, 4_001)), "A101 0210 61");
    let original = format!("0200{:06}1122120000{:011}{:011}", 1, 3_330_000, 3_330_000);
    let left = format!("{:012}{:030}", 2_000, 0);
    let extra: &[(u8, &[u8])] = &[(90, original.as_bytes()), (95, left.as_bytes())];
    let part = Request { mti: 420, extra, ..plain(3, 6_000) };
    assert_eq!(send(&mut world, &part), "A101 0430 00");
    assert_eq!(send(&mut world, &part), "A101 0430 00", "a repeat");
    assert_eq!(send(&mut world, &plain(4, 8_001)), "A101 0210 61");
    assert_eq!(send(&mut world, &plain(5, 8_000)), "I0 0200");
}

#[test]
fn a_completion_takes_its_holds_place() {
    let mut process = Process::new(shop(1, 10_000));
    process.stan = 100;
    let hold = Request { mti: 100, processing: "030000", ..plain(1, 5_000) };
    assert_eq!(process.send(0, &hold), None);
    assert_eq!(process.answer("00", &[(38, b"123456")]).as_deref(), Some("00"));
    assert_eq!(process.left(), 5_000);
    let completion = Request { extra: &[(25, b"06"), (38, b"123456")], ..plain(2, 3_000) };
    assert_eq!(process.send(0, &completion), None);
    assert_eq!(process.answer("00", &[(38, b"123456")]).as_deref(), Some("00"));
    assert_eq!(process.left(), 7_000, "what it is less by is given back");
    let reversal = Request { mti: 420, original_stan: Some(1), ..plain(3, 5_000) };
    process.send(0, &reversal);
    assert_eq!(process.left(), 7_000, "its completion stands for it");
}

#[test]
fn a_refusal_at_the_merchant_leaves_the_cards_limits_alone_and_answers_with_its_own_code() {
    let mut config = shop(1, 5_000);
    config.velocity.limits[0].code = Some(ResponseCode::NOT_PERMITTED);
    let card = VelocityLimit {
        name: "card".into(),
        counter: Some(0),
        scope_counter: None,
        count_max: Some(1),
        amount_minor_max: None,
        code: None,
        ..config.velocity.limits[0].clone()
    };
    config.velocity.limits.push(card);
    let mut process = Process::new(config);
    for _ in 0..3 {
        assert_eq!(process.buy(1, 5_001), "57");
    }
    assert_eq!(process.buy(1, 5_000), "00", "nothing of it was held");
    assert_eq!(process.buy(1, 1), "65", "cards come first");
    assert_eq!(process.buy(2, 1), "57");
    assert_eq!(process.shards[0].velocity.refusals(), [4, 1]);
}

#[test]
fn terminals_merchants_and_acquirers_are_held_all_or_none() {
    let scopes = [
        (VelocityScope::Acquirer, None, Some(9_000)),
        (VelocityScope::Merchant, None, Some(6_000)),
        (VelocityScope::Terminal, Some(2), None),
    ];
    let mut process = Process::new(with_scopes(1, &scopes));
    let mut pay = |merchant: &[u8], terminal: &[u8], amount| {
        let extra: &[(u8, &[u8])] = &[(41, terminal), (42, merchant), (7, b"1122130000")];
        let request = Request { extra, ..process.request(amount, pan("C1")) };
        match process.send(0, &request) {
            Some(code) => code,
            None => process.answer("00", &[]).unwrap(),
        }
    };
    let (m1, m2, m3): (&[u8], &[u8], &[u8]) =
        (b"333290054110001", b"333290054110002", b"333290054110003");
    assert_eq!(pay(m1, b"TERMINA1", 5_000), "00");
    assert_eq!(pay(m1, b"TERMINA2", 1_001), "61", "the merchant's");
    assert_eq!(pay(m1, b"TERMINA1", 500), "00");
    assert_eq!(pay(m1, b"TERMINA1", 1), "65", "the terminal's third");
    assert_eq!(pay(m2, b"TERMINA3", 3_501), "61", "the acquirer's");
    assert_eq!(pay(m2, b"TERMINA3", 3_499), "00");
    assert_eq!(pay(m3, b"TERMINA4", 1), "00");
    assert_eq!(pay(m3, b"TERMINA4", 1), "61");
}

#[test]
fn a_full_table_is_answered_overload_and_never_unlimited() {
    let mut process = Process::new(shop(1, 10_000));
    let names: Vec<[u8; 15]> = (0..18u8)
        .map(|merchant| {
            let mut name = *b"333290054110000";
            name[14] = b'A' + merchant;
            name
        })
        .collect();
    let mut codes = Vec::new();
    for name in &names {
        let extra: &[(u8, &[u8])] = &[(42, name), (7, b"1122130000")];
        let request = Request { extra, ..process.request(100, pan("C1")) };
        codes.push(match process.send(0, &request) {
            Some(code) => code,
            None => process.answer("00", &[]).unwrap(),
        });
    }
    assert!(codes[..16].iter().all(|code| code == "00"), "{codes:?}");
    assert_eq!(codes[16..], ["96", "96"]);
    assert_eq!(process.total(Counter::RefusedEntitiesFull), 2);
    // The next day rows are free again.
    process.now.wall_ms += 86_400_000;
    let extra: &[(u8, &[u8])] = &[(42, &names[17]), (7, b"1122130000")];
    let request = Request { extra, ..process.request(100, pan("C1")) };
    assert_eq!(process.send(0, &request), None);
}

#[test]
fn nothing_used_or_lent_is_forgotten_by_a_crash() {
    let mut process = Process::new(shop(2, 100_000));
    let mut approved = 0;
    for card in 0..400 {
        if process.buy(card, 700) == "00" {
            approved += 700;
        }
        if card % 60 == 59 {
            process.restart();
        }
    }
    assert!((60_000..=100_000).contains(&approved), "{approved}");
    let mut kinds = std::collections::BTreeSet::new();
    for records in &process.records {
        read_records(records, |record| {
            kinds.insert(record.to_string().split(' ').next().unwrap().to_owned());
        })
        .unwrap();
    }
    for kind in ["scope-row", "scope-pool", "scope-held"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
}

#[test]
fn what_was_under_way_or_is_reversed_after_a_crash_is_given_back() {
    let mut process = Process::new(shop(1, 10_000));
    process.stan = 100;
    assert_eq!(process.send(0, &plain(1, 6_000)), None);
    assert_eq!(process.answer("00", &[]).as_deref(), Some("00"));
    assert_eq!(process.send(0, &plain(2, 3_000)), None);
    process.restart();
    assert_eq!(process.left(), 4_000, "the second was never answered");
    let reversal = Request { mti: 420, original_stan: Some(1), ..plain(3, 6_000) };
    assert_eq!(process.send(0, &reversal).as_deref(), Some("00"));
    process.restart();
    assert_eq!(process.left(), 10_000);
}

#[test]
fn a_snapshot_knows_what_is_used_lent_and_held() {
    let mut process = Process::new(shop(2, 100_000));
    process.stan = 100;
    for card in 0..100 {
        process.buy(card, 700);
    }
    for id in 0..2 {
        let header = process.shards[id].snapshot_begin(process.now);
        let mut bytes = Vec::new();
        while process.shards[id].snapshot_next(&mut bytes, 1_000) == SnapshotStep::More {}
        let shard = process.recovered(&process.config, id, &[(header, bytes)]);
        let known =
            [&shard, &process.shards[id]].map(|it| it.escrow.as_ref().unwrap().state_hash());
        assert_eq!(known[0], known[1]);
    }
}

#[test]
fn another_number_of_shards_goes_on_with_what_was_used() {
    let mut process = Process::new(shop(1, 100_000));
    let mut approved = 0;
    for shards in [2, 3, 1, 4] {
        for card in 0..30 {
            approved += if process.buy(card, 900) == "00" { 900 } else { 0 };
        }
        process = process.reshard(shop(shards, 100_000));
        process.restart();
    }
    assert!(approved > 70_000, "{approved}");
    for card in 0..300 {
        approved += if process.buy(card, 900) == "00" { 900 } else { 0 };
    }
    assert!((85_000..=100_000).contains(&approved), "{approved}");
    // Another counter begins empty; one that goes is left behind.
    let mut other = shop(2, 100_000);
    other.velocity.scope_counters[0].name = "other".into();
    let said = StateLayout::of(&process.config).changes_to(&StateLayout::of(&other));
    assert!(said.contains(&"counter scope0 is gone and left behind".to_owned()), "{said:?}");
    let mut process = process.reshard(other);
    assert_eq!(process.buy(1, 900), "00");
}

#[test]
fn fewer_rows_than_what_was_used_needs_are_refused_in_a_sentence() {
    let mut process = Process::new(shop(1, 10_000));
    for merchant in 0..8u8 {
        let name = [b'0' + merchant; 15];
        let extra: &[(u8, &[u8])] = &[(42, &name), (7, b"1122130000")];
        let request = Request { extra, ..process.request(100, pan("C1")) };
        assert_eq!(process.send(0, &request), None);
        process.answer("00", &[]);
    }
    let header = process.shards[0].carry_begin(process.now);
    let mut bytes = Vec::new();
    while process.shards[0].snapshot_next(&mut bytes, 1_000) == SnapshotStep::More {}
    let mut config = shop(2, 10_000);
    config.velocity.entities = 7;
    let mut shard = Shard::new(ShardId(0), &config, &secrets());
    shard.begin_recovery();
    shard.load_begin(&header).unwrap();
    assert!(shard.load(&bytes).unwrap_err().contains("velocity.entities must be larger"));
}

#[test]
fn a_limit_can_be_changed_while_the_shards_serve() {
    let mut process = Process::new(shop(2, 100_000));
    let spend = |process: &mut Process| {
        (0..150).filter(|card| process.buy(*card, 500) == "00").count() as u64 * 500
    };
    let first = spend(&mut process);
    assert_eq!(first, 75_000);
    let configure = |process: &mut Process, amount: u64, code: Option<ResponseCode>| {
        let mut velocity = shop(2, amount).velocity;
        velocity.limits[0].code = code;
        let configured =
            Configured { epoch: 2, velocity, limit_numbers: vec![0], ..Configured::default() };
        for (shard, outbox) in process.shards.iter_mut().zip(&mut process.outboxes) {
            shard.on_config(process.now, &configured, outbox);
        }
        process.carry();
    };
    configure(&mut process, 20_000, Some(ResponseCode::NOT_PERMITTED));
    assert_eq!(process.buy(1, 500), "57");
    assert_eq!(process.buy(2, 500), "57");
    configure(&mut process, 200_000, None);
    let more = first + spend(&mut process) + spend(&mut process);
    assert!((150_000..=200_000).contains(&more), "{more}");
}
