//! Limits of tokens: exact over any number of shards, through crashes and other layouts; and what
//! happens to a DE 63 that cannot be read.

use super::fixture::{Request, World, config, paid_by, pan, with_view};
use super::process::Process;
use super::scopes::with_scopes;
use super::stand_in::{standing_in, texts};
use crate::config::{Config, VelocityCounter, VelocityLimit, VelocityScope, VelocityWindow};
use crate::shard::{Configured, Counter};
use tapswitch_protocol::Dialect;

/// So many, or so much, a day by one token; cards have no limit.
fn tokens(shards: usize, count_max: Option<u32>, amount_minor_max: Option<u64>) -> Config {
    let mut config = with_scopes(shards, &[(VelocityScope::Token, count_max, amount_minor_max)]);
    config.velocity.entities = 64;
    config
}

fn pan_of(card: u32) -> String {
    format!("622848{card:013}")
}

/// A card's only token, or one of several.
fn token_of(card: u32, which: u32) -> String {
    format!("62353600000{which:02}{card:06}")
}

/// A payment by a token, over a connection of any shard, approved if it is within the limits.
fn tap(process: &mut Process, (card, which): (u32, u32), amount: u64) -> String {
    let token_data = paid_by(&token_of(card, which), "00012345678");
    pay(process, card, amount, Some(&token_data))
}

fn pay(process: &mut Process, card: u32, amount: u64, token_data: Option<&[u8]>) -> String {
    process.stan += 1;
    let mut extra: Vec<(u8, &[u8])> = vec![(7, b"1122130000")];
    extra.extend(token_data.map(|it| (63, it)));
    let (pan, stan) = (pan_of(card), process.stan);
    let request =
        Request { pan: &pan, stan, amount: Some(amount), extra: &extra, ..Request::default() };
    match process.send(stan as usize, &request) {
        Some(code) => code,
        None => process.answer("00", &[]).unwrap(),
    }
}

#[test]
fn a_tokens_limit_is_exact_on_every_number_of_shards() {
    for shards in 1..=4 {
        let mut process = Process::new(tokens(shards, Some(5), None));
        for _ in 0..5 {
            (1..9).for_each(|card| assert_eq!(tap(&mut process, (card, 0), 700), "00"));
        }
        (1..9).for_each(|card| assert_eq!(tap(&mut process, (card, 0), 1), "65"));
        let mut process = Process::new(tokens(shards, None, Some(10_000)));
        for (amount, code) in [(6_000, "00"), (4_001, "61"), (4_000, "00"), (1, "61")] {
            (1..9).for_each(|card| assert_eq!(tap(&mut process, (card, 0), amount), code));
        }
        let never = [Counter::DeclinedEarly, Counter::LeaseAsked, Counter::LeaseGranted];
        assert_eq!(never.map(|counter| process.total(counter)), [0; 3]);
    }
}

#[test]
fn tokens_of_a_card_count_apart_and_the_card_over_all() {
    let mut config = tokens(1, Some(2), None);
    let card = VelocityLimit {
        name: "card".into(),
        counter: Some(0),
        scope_counter: None,
        count_max: Some(4),
        ..config.velocity.limits[0].clone()
    };
    config.velocity.limits.push(card);
    let mut process = Process::new(config);
    for (which, code) in [(0, "00"), (0, "00"), (0, "65"), (1, "00"), (1, "00"), (2, "65")] {
        assert_eq!(tap(&mut process, (1, which), 1), code);
    }
    assert_eq!(pay(&mut process, 1, 1, None), "65", "the card's");
    assert_eq!(process.shards[0].velocity.refusals(), [1, 2]);
    assert_eq!(tap(&mut process, (2, 0), 1), "00");
}

#[test]
fn what_is_paid_without_a_token_is_not_counted_and_not_judged() {
    let mut process = Process::new(tokens(2, Some(1), None));
    let nobodys = paid_by("", "00012345678");
    let sm4: &[u8] = b"SM0160123456789ABCDEF";
    for _ in 0..3 {
        for token_data in [None, Some(&nobodys[..]), Some(sm4)] {
            assert_eq!(pay(&mut process, 1, 1, token_data), "00");
        }
    }
    assert_eq!(tap(&mut process, (1, 0), 1), "00");
    assert_eq!(tap(&mut process, (1, 0), 1), "65");
    assert_eq!(pay(&mut process, 1, 1, None), "00");
}

#[test]
fn iso87_has_no_token_data() {
    let mut world = World::new(&tokens(1, Some(1), None));
    let dialect = Dialect::iso87_ascii();
    let content = paid_by("6235360000000000017", "");
    let extra: &[(u8, &[u8])] = &[(63, &content)];
    for stan in 1..=3 {
        let request = Request { stan, amount: Some(1), extra, ..Request::default() };
        assert_eq!(texts(world.request(101, &request.message(dialect))), ["I0 0200"]);
    }
}

/// As the fixture makes them, so that a reversal finds them.
fn plain<'a>(stan: u32, amount: u64, extra: &'a [(u8, &'a [u8])]) -> Request<'a> {
    Request { stan, amount: Some(amount), extra, ..Request::default() }
}

/// Whether the token may pay once more; what it asks is declined by the issuer.
fn has_room(process: &mut Process, token_data: &[u8], amount: u64) -> bool {
    process.stan += 1;
    let extra: &[(u8, &[u8])] = &[(63, token_data), (7, b"1122130000")];
    let code = process.send(0, &plain(process.stan, amount, extra));
    let is_asked = code.is_none();
    let told = code.or_else(|| process.answer("51", &[])).unwrap();
    assert!(matches!(told.as_str(), "51" | "61" | "65"), "{told}");
    is_asked
}

#[test]
fn declines_reversals_voids_and_time_outs_give_back() {
    let mut process = Process::new(tokens(2, Some(1), Some(10_000)));
    process.stan = 100;
    let token_data = paid_by("6235360000000000017", "");
    let by_token: &[(u8, &[u8])] = &[(63, &token_data)];
    assert!(has_room(&mut process, &token_data, 10_000), "the first is declined");
    let approve = |process: &mut Process, request: &Request<'_>| {
        assert_eq!(process.send(0, request), None);
        assert_eq!(process.answer("00", &[]).as_deref(), Some("00"));
    };
    approve(&mut process, &plain(1, 6_000, by_token));
    assert!(!has_room(&mut process, &token_data, 1));
    // A reversal says nothing of a token.
    let reversal = Request { mti: 420, original_stan: Some(1), ..plain(2, 6_000, &[]) };
    assert_eq!(process.send(0, &reversal).as_deref(), Some("00"));
    assert!(has_room(&mut process, &token_data, 10_000));
    approve(&mut process, &plain(3, 6_000, by_token));
    let void =
        Request { processing: "200000", original_stan: Some(3), ..plain(4, 6_000, by_token) };
    approve(&mut process, &void);
    assert!(has_room(&mut process, &token_data, 10_000));
    assert_eq!(process.send(0, &plain(5, 6_000, by_token)), None);
    assert!(!has_room(&mut process, &token_data, 1), "what is under way counts");
    process.now.mono_ns += 9_000_000_000;
    for (shard, outbox) in process.shards.iter_mut().zip(&mut process.outboxes) {
        shard.on_deadline(process.now, outbox);
    }
    process.carry();
    assert_eq!(process.answers.pop().as_deref(), Some("98"));
    assert!(has_room(&mut process, &token_data, 10_000));
    // What has happened already is counted above the limit too.
    for stan in [6, 7] {
        let advice = Request { mti: 220, ..plain(stan, 100, by_token) };
        assert_eq!(process.send(0, &advice).as_deref(), Some("00"));
    }
    assert_eq!(process.total(Counter::AdviceOverLimit), 1);
    assert!(!has_room(&mut process, &token_data, 1));
}

#[test]
fn a_crash_forgets_nothing_and_gives_back_what_was_under_way() {
    let mut process = Process::new(tokens(2, Some(2), None));
    process.stan = 100;
    let token_data = paid_by("6235360000000000017", "");
    let by_token: &[(u8, &[u8])] = &[(63, &token_data)];
    assert_eq!(process.send(0, &plain(1, 100, by_token)), None);
    assert_eq!(process.answer("00", &[]).as_deref(), Some("00"));
    assert_eq!(process.send(0, &plain(2, 100, by_token)), None);
    assert!(!has_room(&mut process, &token_data, 1));
    process.restart();
    assert!(has_room(&mut process, &token_data, 1), "the second was never answered");
    process.restart();
    let reversal = Request { mti: 420, original_stan: Some(1), ..plain(3, 100, &[]) };
    assert_eq!(process.send(0, &reversal).as_deref(), Some("00"));
    process.restart();
    let again = [(); 3].map(|()| {
        process.stan += 1;
        let extra: &[(u8, &[u8])] = &[(63, &token_data), (7, b"1122130000")];
        let request = plain(process.stan, 1, extra);
        process.send(0, &request).unwrap_or_else(|| process.answer("00", &[]).unwrap())
    });
    assert_eq!(again, ["00", "00", "65"], "both are free again");
}

#[test]
fn other_numbers_of_shards_change_nothing_however_often() {
    let mut process = Process::new(tokens(2, Some(10), None));
    process.stan = 100;
    let token_data = paid_by(&token_of(99, 0), "");
    let by_token: &[(u8, &[u8])] = &[(63, &token_data)];
    assert_eq!(process.send(0, &plain(1, 100, by_token)), None);
    assert_eq!(process.answer("00", &[]).as_deref(), Some("00"));
    for shards in [3, 1, 4, 2, 2] {
        for card in 1..9 {
            for which in 0..2 {
                assert_eq!(tap(&mut process, (card, which), 900), "00");
                assert_eq!(tap(&mut process, (card, which), 900), "00");
            }
        }
        process = process.reshard(tokens(shards, Some(10), None));
        process.restart();
    }
    for card in 1..9 {
        assert_eq!(tap(&mut process, (card, 0), 1), "65", "ten of each");
        assert_eq!(tap(&mut process, (card, 2), 1), "00", "another token");
    }
    // The one of the first layout is still known, and given back where its card is now.
    for _ in 0..9 {
        assert_eq!(again(&mut process, &token_data), "00");
    }
    assert_eq!(again(&mut process, &token_data), "65");
    let reversal = Request { mti: 420, original_stan: Some(1), ..plain(2, 100, &[]) };
    assert_eq!(process.send(1, &reversal).as_deref(), Some("00"));
    assert_eq!(again(&mut process, &token_data), "00");
    assert_eq!(again(&mut process, &token_data), "65");
}

/// Card C1 again, by this token.
fn again(process: &mut Process, token_data: &[u8]) -> String {
    process.stan += 1;
    let extra: &[(u8, &[u8])] = &[(63, token_data), (7, b"1122130000")];
    let request = Request { pan: pan("C1"), ..plain(process.stan, 1, extra) };
    process.send(0, &request).unwrap_or_else(|| process.answer("00", &[]).unwrap())
}

#[test]
fn a_limit_can_be_changed_while_the_shards_serve() {
    let mut process = Process::new(tokens(2, Some(4), None));
    let configure = |process: &mut Process, count: u32| {
        let velocity = tokens(2, Some(count), None).velocity;
        let configured =
            Configured { epoch: 2, velocity, limit_numbers: vec![0], ..Configured::default() };
        for (shard, outbox) in process.shards.iter_mut().zip(&mut process.outboxes) {
            shard.on_config(process.now, &configured, outbox);
        }
        process.carry();
    };
    let spend = |process: &mut Process| -> Vec<usize> {
        let approved = |card| (0..9).filter(|_| tap(process, (card, 0), 1) == "00").count();
        (1..5).map(approved).collect()
    };
    assert_eq!(spend(&mut process), [4; 4]);
    configure(&mut process, 2);
    assert_eq!(spend(&mut process), [0; 4]);
    configure(&mut process, 7);
    assert_eq!(spend(&mut process), [3; 4]);
    process.restart();
    assert_eq!(tap(&mut process, (1, 0), 1), "65");
}

/// What the shard does with a message on a connection of the UnionPay listener, and what DE 44 says.
fn told(world: &mut World, request: &Request<'_>) -> (String, String) {
    let done = world.request(1, &request.message(Dialect::cups())).swap_remove(0);
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    let named = with_view(&done.bytes, |view| view.raw(44).map(text).unwrap_or_default());
    (done.text, named)
}

#[test]
fn a_field_63_that_cannot_be_read_is_a_format_error_where_a_counter_reads_it() {
    let mut at_shops = tokens(1, Some(9), None);
    // Only at shops.
    at_shops.velocity.scope_counters[0].when.mccs = vec![5_411];
    let mut world = World::new(&at_shops);
    let damaged: &[u8] = b"TK004\x02\x031";
    let at_a_shop: &[(u8, &[u8])] = &[(63, damaged)];
    let in_a_bus: &[(u8, &[u8])] = &[(63, damaged), (18, b"4111")];
    let (text, named) = told(&mut world, &plain(1, 100, at_a_shop));
    assert_eq!((text.as_str(), named.as_str()), ("A1 0210 30", "063"));
    let advice = Request { mti: 220, ..plain(2, 100, at_a_shop) };
    assert_eq!(told(&mut world, &advice).0, "A1 0230 30");
    // Opaque elsewhere, and forwarded as it came.
    assert_eq!(told(&mut world, &plain(3, 100, in_a_bus)).0, "I0 0200");
    let forward = world.forwarded.last().unwrap().2.clone();
    assert_eq!(with_view(&forward, |view| view.raw(63).map(<[u8]>::to_vec)), Some(damaged.into()));
    let inquiry = Request { processing: "300000", ..plain(4, 0, at_a_shop) };
    assert_eq!(told(&mut world, &inquiry).0, "I0 0200");
    let void = Request { processing: "200000", ..plain(5, 100, at_a_shop) };
    assert_eq!(told(&mut world, &void).0, "I0 0200");
    // Nor does anybody look where nothing counts tokens.
    let mut world = World::new(&config(1));
    assert_eq!(told(&mut world, &plain(1, 100, at_a_shop)).0, "I0 0200");
}

#[test]
fn the_switch_stands_in_for_a_token_within_its_limit_after_a_time_out_too() {
    let mut config = standing_in(|rule| rule.after_time_out = true);
    let velocity = &mut config.velocity;
    let (scope, window) = (VelocityScope::Token, VelocityWindow::Fixed { window_s: 86_400 });
    let counter =
        VelocityCounter { name: "token".into(), scope, window, ..velocity.counters[0].clone() };
    velocity.scope_counters.push(counter);
    velocity.limits.push(VelocityLimit {
        name: "token".into(),
        counter: None,
        scope_counter: Some(0),
        count_max: Some(1),
        amount_minor_max: None,
        ..velocity.limits[0].clone()
    });
    (velocity.entities, velocity.entity_transactions) = (16, 64);
    let mut world = World::new(&config);
    let token_data = paid_by("6235360000000000017", "");
    let de60: &[u8] = b"000000060003000000000000000000";
    let by_token: &[(u8, &[u8])] = &[(63, &token_data), (60, de60)];
    assert_eq!(told(&mut world, &plain(1, 100, by_token)).0, "I0 0200");
    world.at_ms(9_000);
    // Given back when its time was over, and counted again when it was approved here.
    assert!(texts(world.tick()).contains(&"A1 0210 00".to_owned()));
    assert_eq!(told(&mut world, &plain(2, 100, by_token)).0, "A1 0210 65");
    assert_eq!(told(&mut world, &plain(3, 100, &[(60, de60)])).0, "I0 0200");
}
