//! What counters and limits mean, and what a PIN, an advice or a completion does to them.

use super::*;
use crate::config::{PinPresence, VelocityCondition};

fn tap(amount_minor: u64) -> VelocityTransaction {
    purchase(amount_minor)
}

fn code(amount_minor: u64, code: Option<QrCode>, level: QrLevel) -> VelocityTransaction {
    let qr = Some(QrPayment { code, level });
    VelocityTransaction { entry_mode: 3, qr, ..purchase(amount_minor) }
}

fn shipped() -> Velocity {
    made(&VelocityConfig { lines: 256, ..crate::config::Config::embedded().velocity })
}

fn name(velocity: &Velocity, refusal: Result<Reservation, Refusal>) -> String {
    match refusal {
        Ok(_) => "ok".to_owned(),
        Err(Refusal::TableFull) => "full".to_owned(),
        Err(Refusal::Limit { limit, .. }) => velocity.limit(limit).unwrap().0.to_owned(),
    }
}

#[test]
fn the_shipped_profile_takes_one_cache_line() {
    let config = crate::config::Config::embedded().velocity;
    assert_eq!((config.words_used(), config.line_bytes()), (6, 64));
}

#[test]
fn codes_of_all_levels_share_one_total() {
    let mut velocity = shipped();
    let (b, c, a) = (QrLevel::B, QrLevel::C, QrLevel::A);
    let printed = Some(QrCode::Static);
    for (what, t, outcome) in [
        ("a printed code above its cap", code(50_001, printed, b), "qr_static"),
        ("up to its cap", code(50_000, printed, b), "ok"),
        ("level C, with what is used", code(50_001, None, c), "qr_level_c"),
        ("up to C's cap", code(50_000, Some(QrCode::Dynamic), c), "ok"),
        ("C is used up", code(1, None, c), "qr_level_c"),
        ("B is not", code(400_000, None, b), "ok"),
        ("now B is too", code(1, None, b), "qr_level_b"),
        ("A is by agreement", code(4_000_000, None, a), "ok"),
        ("a tap is no code", tap(100_000), "ok"),
        ("no single one above the largest", code(5_000_001, None, a), "largest"),
    ] {
        let outcome_now = velocity.reserve(START_MS, card(1), &t);
        assert_eq!(name(&velocity, outcome_now), outcome, "{what}");
    }
    assert_eq!(velocity.refusals()[..4], [1, 1, 2, 1]);
    velocity.assert_invariants();
}

#[test]
fn a_pin_sets_the_taps_without_pin_back() {
    let mut velocity = shipped();
    let with_pin = VelocityTransaction { pin_present: true, ..tap(100_000) };
    let outcome = velocity.reserve(START_MS, card(1), &tap(100_001));
    assert_eq!(name(&velocity, outcome), "no_pin");
    let mut posted = Vec::new();
    for _ in 0..4 {
        let held = velocity.reserve(START_MS, card(1), &tap(100_000)).unwrap();
        posted.push(velocity.post(START_MS, card(1), &held, 100_000, false));
    }
    let pending = velocity.reserve(START_MS, card(1), &tap(100_000)).unwrap();
    let outcome = velocity.reserve(START_MS, card(1), &tap(1));
    assert_eq!(name(&velocity, outcome), "no_pin_daily");
    // A PIN that is asked for, or declined, sets nothing back; an approval does.
    let big = velocity.reserve(START_MS, card(1), &with_pin).unwrap();
    assert_eq!(velocity.counted(START_MS, card(1), 1), Some((0, 500_000)));
    let _ = velocity.post(START_MS, card(1), &big, 100_000, true);
    assert_eq!(velocity.counted(START_MS, card(1), 1), Some((0, 100_000)), "what is pending stays");
    // What the PIN took back is not taken back again.
    velocity.release(START_MS, card(1), &posted[0]);
    assert_eq!(velocity.counted(START_MS, card(1), 1), Some((0, 100_000)));
    let late = velocity.post(START_MS, card(1), &pending, 60_000, false);
    assert_eq!(velocity.counted(START_MS, card(1), 1), Some((0, 60_000)));
    let late = velocity.release_part(START_MS, card(1), &late, 10_000);
    assert_eq!(velocity.counted(START_MS, card(1), 1), Some((0, 50_000)));
    velocity.release(START_MS, card(1), &late);
    assert_eq!(velocity.counted(START_MS, card(1), 1), Some((0, 0)));
    velocity.assert_invariants();
}

#[test]
fn an_advice_above_the_limit_is_counted_and_flagged() {
    let mut velocity = velocity(&[(Some(2), Some(100), 0)]);
    let (over, passed) = velocity.judge_advice(START_MS, card(1), &purchase(250)).unwrap();
    assert_eq!(passed, Some(Refusal::Limit { limit: 0, by: LimitKind::Amount }));
    assert!(velocity.hold(START_MS, card(1), &over));
    assert_eq!(velocity.counted(START_MS, card(1), 0), Some((1, 250)));
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(1)), refused(0, LimitKind::Amount));
    velocity.release(START_MS, card(1), &over);
    let (within, passed) = velocity.judge_advice(START_MS, card(1), &purchase(100)).unwrap();
    assert!(velocity.hold(START_MS, card(1), &within));
    assert_eq!(passed, None);
}

#[test]
fn what_cannot_be_held_any_more_declines_until_it_rolls_out() {
    let mut velocity = velocity(&[(Some(9), None, 0), (None, Some(1 << 40), 1)]);
    let most = purchase(u64::MAX);
    let (first, _) = velocity.judge_advice(START_MS, card(1), &most).unwrap();
    assert!(velocity.hold(START_MS, card(1), &first));
    let (second, _) = velocity.judge_advice(START_MS, card(1), &most).unwrap();
    assert!(velocity.hold(START_MS, card(1), &second));
    assert_eq!(velocity.counted(START_MS, card(1), 0), None);
    velocity.release(START_MS, card(1), &first);
    velocity.release(START_MS, card(1), &second);
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(0)), refused(0, LimitKind::Count));
    let hour_ms = START_MS + HOUR_MS;
    assert_eq!(velocity.reserve(hour_ms, card(1), &purchase(0)), refused(1, LimitKind::Amount));
    assert!(velocity.reserve(hour_ms + HOUR_MS, card(1), &purchase(0)).is_ok());
    velocity.assert_invariants();
}

#[test]
fn a_completion_counts_more_money_and_no_transaction() {
    let mut velocity = velocity(&[(Some(1), Some(1_000), 0)]);
    let hold = velocity.reserve(START_MS, card(1), &purchase(100)).unwrap();
    let hold = velocity.post(START_MS, card(1), &hold, 100, false);
    // An hour later the window is another.
    let later_ms = START_MS + HOUR_MS;
    let more = velocity.more(later_ms, card(1), &hold, 15).unwrap();
    assert!(velocity.hold(later_ms, card(1), &more));
    let more = velocity.post(later_ms, card(1), &more, 15, false);
    assert_eq!(velocity.counted(later_ms, card(1), 0), Some((0, 15)));
    assert!(velocity.reserve(later_ms, card(1), &purchase(985)).is_ok());
    velocity.release(later_ms, card(1), &hold);
    velocity.release(later_ms, card(1), &more);
    assert_eq!(velocity.counted(later_ms, card(1), 0), Some((1, 985)));
}

#[test]
fn conditions_choose_counters_and_limits() {
    let when = |when: VelocityCondition| VelocityCounter { when, ..counter(window(0)) };
    let any = VelocityCondition::default;
    let counters = vec![
        when(VelocityCondition { mccs: vec![4111, 9_999], ..any() }),
        when(VelocityCondition {
            entry_modes: vec![7, 91],
            pin: Some(PinPresence::Absent),
            ..any()
        }),
        when(VelocityCondition { transaction_kinds: vec![TransactionKind::Cash], ..any() }),
        when(VelocityCondition { transaction_types: vec![17], ..any() }),
        when(VelocityCondition {
            iins: vec![(622_848_000, 622_848_999), (4_000_000, 4_000_000)],
            ..any()
        }),
        when(VelocityCondition { currencies: vec![840, 392], ..any() }),
        when(VelocityCondition {
            qr_code: Some(QrCode::Static),
            qr_levels: vec![QrLevel::A, QrLevel::C],
            ..any()
        }),
    ];
    let velocity = made(&config(256, counters, Vec::new()));
    let t = VelocityTransaction { iin: 622_575_000, entry_mode: 5, ..purchase(1) };
    let with_qr = |code, level| Some(QrPayment { code, level });
    for (mask, t) in [
        (0, t),
        (0b1, VelocityTransaction { mcc: 4111, ..t }),
        (0b1, VelocityTransaction { mcc: 9_999, ..t }),
        (0, VelocityTransaction { mcc: u16::MAX, ..t }),
        (0b10, VelocityTransaction { entry_mode: 91, ..t }),
        (0, VelocityTransaction { entry_mode: 91, pin_present: true, ..t }),
        (0b100, VelocityTransaction { kind: TransactionKind::Cash, ..t }),
        (0b1000, VelocityTransaction { transaction_type: 17, ..t }),
        (0b10000, VelocityTransaction { iin: 622_848_000, ..t }),
        (0b10000, VelocityTransaction { iin: 622_848_999, ..t }),
        (0, VelocityTransaction { iin: 622_849_000, ..t }),
        (0, VelocityTransaction { iin: 622_847_999, ..t }),
        (0b10000, VelocityTransaction { iin: 4_000_000, ..t }),
        (0, VelocityTransaction { iin: 0, ..t }),
        (0, VelocityTransaction { iin: u32::MAX, ..t }),
        (0b100000, VelocityTransaction { currency: 392, ..t }),
        (0, VelocityTransaction { currency: 0, ..t }),
        (0b1000000, VelocityTransaction { qr: with_qr(Some(QrCode::Static), QrLevel::A), ..t }),
        (0, VelocityTransaction { qr: with_qr(Some(QrCode::Static), QrLevel::B), ..t }),
        (0, VelocityTransaction { qr: with_qr(Some(QrCode::Dynamic), QrLevel::C), ..t }),
        (0, VelocityTransaction { qr: with_qr(None, QrLevel::C), ..t }),
    ] {
        assert_eq!(velocity.limits.meant(&t).counters(), mask, "{t:?}");
    }
}

#[test]
fn what_no_counter_counts_takes_no_line() {
    let transit = VelocityCondition { mccs: vec![4111], ..VelocityCondition::default() };
    let transit = VelocityCounter { when: transit, ..counter(window(0)) };
    let limits = vec![limit(Some(0), Some(1), None), limit(None, None, Some(500))];
    let mut velocity = made(&config(256, vec![transit], limits));
    let shop = velocity.reserve(START_MS, card(1), &purchase(500)).unwrap();
    assert!(shop.is_empty());
    assert_eq!(velocity.occupied(), 0);
    velocity.release(START_MS, card(1), &shop);
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(501)), refused(1, LimitKind::Amount));
    let mut nothing = made(&config(256, Vec::new(), Vec::new()));
    let unlimited = nothing.reserve(START_MS, card(1), &purchase(u64::MAX));
    assert_eq!(unlimited, Ok(Reservation::default()));
}

#[test]
fn a_limit_judges_only_what_its_counter_counts() {
    let transit = VelocityCondition { mccs: vec![4111], ..VelocityCondition::default() };
    let transit = VelocityCounter { when: transit, ..counter(window(0)) };
    let mut velocity = made(&config(256, vec![transit], vec![limit(Some(0), None, Some(10))]));
    assert!(velocity.reserve(START_MS, card(1), &purchase(11)).is_ok());
    let ride = VelocityTransaction { mcc: 4111, ..purchase(11) };
    assert_eq!(velocity.reserve(START_MS, card(1), &ride), refused(0, LimitKind::Amount));
}

#[test]
fn limits_change_while_what_is_counted_stays() {
    let config = rules(&[(None, Some(100), 0), (Some(5), None, 1)]);
    let mut velocity = made(&config);
    assert!(velocity.reserve(START_MS, card(1), &purchase(80)).is_ok());
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(21)), refused(0, LimitKind::Amount));
    // Lower than what is counted already, and higher again.
    let mut lower = config.clone();
    lower.limits[0].amount_minor_max = Some(50);
    lower.limits.swap(0, 1);
    lower.limits[0].name = "count".into();
    assert_eq!(velocity.on_config(&lower), Ok(()));
    assert_eq!(velocity.refusals(), [0, 1], "by name");
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(1)), refused(1, LimitKind::Amount));
    assert_eq!(velocity.counted(START_MS, card(1), 0), Some((1, 80)));
    assert_eq!(velocity.on_config(&config), Ok(()));
    assert!(velocity.reserve(START_MS, card(1), &purchase(20)).is_ok());

    let mut more = config.clone();
    more.counters.push(VelocityCounter { name: "new".into(), ..counter(window(0)) });
    let refused = velocity.on_config(&more).unwrap_err();
    assert!(refused.to_string().contains("`new`"), "{refused}");
    let mut fewer = config.clone();
    fewer.counters[1].name = "gone".into();
    fewer.counters.truncate(1);
    fewer.limits.truncate(1);
    assert_eq!(velocity.on_config(&fewer).unwrap_err().name, "counter");
    let mut other = config;
    other.counters[1].window = window(2);
    assert_eq!(velocity.on_config(&other).unwrap_err().name, "counter");
}
