//! Rules of velocity by example; `model` has them by random transactions.

mod model;
mod table;

use super::*;
use crate::config::{VelocityCondition, VelocityRule};

const HOUR_MS: u64 = 3_600_000;
/// 2026-01-01 00:00 UTC: a multiple of every window here.
const START_MS: u64 = 1_767_225_600_000;

fn rule(count_max: Option<u32>, amount_minor_max: Option<u64>, sub_windows: u8) -> VelocityRule {
    VelocityRule {
        name: "rule".into(),
        when: VelocityCondition::default(),
        count_max,
        amount_minor_max,
        window_s: 3_600,
        sub_windows,
    }
}

fn velocity(rules: Vec<VelocityRule>) -> Velocity {
    let lines = 256;
    Velocity::new(&VelocityConfig { lines, rules }, lines)
}

fn card(number: u64) -> CardKey {
    // Spread over the whole key, as a cipher does.
    let spread = u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    CardKey((spread ^ spread >> 67).to_le_bytes())
}

fn purchase(amount_minor: u64) -> VelocityTransaction {
    VelocityTransaction { amount_minor, mcc: 5411, entry_mode: 7, transaction_type: 0 }
}

fn refused(rule: u8, by: LimitKind) -> Result<Reservation, Refusal> {
    Err(Refusal::Limit { rule, by })
}

#[test]
fn of_a_thousand_at_once_only_the_limit_is_admitted() {
    let mut velocity = velocity(vec![rule(Some(10), None, 4)]);
    let admitted = (0..1_000).filter(|_| velocity.reserve(START_MS, card(1), &purchase(1)).is_ok());
    assert_eq!(admitted.count(), 10);
    velocity.assert_invariants();
}

#[test]
fn limits_hold_to_the_minor_unit_and_to_the_transaction() {
    let mut by_amount = velocity(vec![rule(None, Some(1_000), 0)]);
    let keep = by_amount.reserve(START_MS, card(1), &purchase(999)).unwrap();
    assert_eq!(by_amount.reserve(START_MS, card(1), &purchase(2)), refused(0, LimitKind::Amount));
    assert_eq!(keep.amount_minor(), 999);
    assert!(by_amount.reserve(START_MS, card(1), &purchase(1)).is_ok());
    assert_eq!(by_amount.reserve(START_MS, card(1), &purchase(1)), refused(0, LimitKind::Amount));
    assert!(by_amount.reserve(START_MS, card(2), &purchase(1_000)).is_ok());
    assert_eq!(
        by_amount.reserve(START_MS, card(3), &purchase(1_001)),
        refused(0, LimitKind::Amount)
    );

    let mut by_count = velocity(vec![rule(Some(2), None, 0)]);
    assert!(by_count.reserve(START_MS, card(1), &purchase(0)).is_ok());
    assert!(by_count.reserve(START_MS, card(1), &purchase(u64::MAX)).is_ok());
    assert_eq!(by_count.reserve(START_MS, card(1), &purchase(0)), refused(0, LimitKind::Count));
}

#[test]
fn the_largest_amounts_are_refused_and_never_wrap() {
    let limit = crate::limits::VELOCITY_AMOUNT_MINOR_MAX;
    let mut velocity = velocity(vec![rule(Some(60_000), Some(limit), 1)]);
    // DE 4 has twelve digits.
    let most = purchase(999_999_999_999);
    let admitted = (0..1_000).filter(|_| velocity.reserve(START_MS, card(1), &most).is_ok());
    assert_eq!(admitted.count() as u64, limit / most.amount_minor);
    for amount in [999_999_999_999, u64::MAX, u64::MAX - limit, 1 << 63] {
        assert_eq!(
            velocity.reserve(START_MS, card(1), &purchase(amount)),
            refused(0, LimitKind::Amount)
        );
    }
    let mut small = self::velocity(vec![rule(None, Some(999_999_999_999), 0)]);
    assert!(small.reserve(START_MS, card(1), &most).is_ok());
    assert_eq!(small.reserve(START_MS, card(1), &most), refused(0, LimitKind::Amount));
    velocity.assert_invariants();
}

#[test]
fn a_calendar_window_ends_to_the_millisecond() {
    let mut velocity = velocity(vec![rule(Some(1), None, 0)]);
    let end_ms = START_MS + HOUR_MS;
    assert!(velocity.reserve(end_ms - 1, card(1), &purchase(1)).is_ok());
    assert_eq!(velocity.reserve(end_ms - 1, card(1), &purchase(1)), refused(0, LimitKind::Count));
    assert!(velocity.reserve(end_ms, card(1), &purchase(1)).is_ok());
    assert_eq!(velocity.reserve(end_ms + 1, card(1), &purchase(1)), refused(0, LimitKind::Count));
}

#[test]
fn a_rolling_window_rounds_against_the_card() {
    // Quarters of an hour; five of them count.
    let mut velocity = velocity(vec![rule(Some(1), None, 4)]);
    assert!(velocity.reserve(START_MS + 1, card(1), &purchase(1)).is_ok());
    let quarter_ms = HOUR_MS / 4;
    for at_ms in [1, quarter_ms, HOUR_MS, HOUR_MS + 1, HOUR_MS + quarter_ms - 1] {
        assert_eq!(
            velocity.reserve(START_MS + at_ms, card(1), &purchase(1)),
            refused(0, LimitKind::Count)
        );
    }
    assert!(velocity.reserve(START_MS + HOUR_MS + quarter_ms, card(1), &purchase(1)).is_ok());
}

#[test]
fn a_window_that_its_parts_do_not_divide_is_rounded_up() {
    let mut odd = rule(Some(1), None, 3);
    odd.window_s = 10;
    let mut velocity = velocity(vec![odd]);
    let mut admitted = Vec::new();
    for at_ms in START_MS..START_MS + 100_000 {
        if velocity.reserve(at_ms, card(1), &purchase(1)).is_ok() {
            admitted.push(at_ms);
        }
    }
    let gaps = admitted.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(admitted.len() >= 8 && gaps.clone().all(|gap| gap > 10_000), "{admitted:?}");
    assert!(gaps.skip(1).all(|gap| gap == 4 * 3_334));
}

#[test]
fn time_that_goes_back_stands_still() {
    let mut velocity = velocity(vec![rule(Some(2), None, 2)]);
    assert!(velocity.reserve(START_MS + 2 * HOUR_MS, card(1), &purchase(1)).is_ok());
    let early = velocity.reserve(START_MS, card(1), &purchase(1)).unwrap();
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(1)), refused(0, LimitKind::Count));
    velocity.release(card(1), &early);
    assert!(velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(1)).is_ok());
    assert_eq!(
        velocity.reserve(START_MS + 2 * HOUR_MS, card(1), &purchase(1)),
        refused(0, LimitKind::Count)
    );
    velocity.assert_invariants();
}

#[test]
fn all_rules_count_a_transaction_or_none_does() {
    let mut velocity = velocity(vec![rule(Some(2), None, 0), rule(None, Some(10), 0)]);
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(11)), refused(1, LimitKind::Amount));
    assert_eq!(velocity.occupied(), 0, "a refused card takes no line");
    for _ in 0..2 {
        assert!(velocity.reserve(START_MS, card(1), &purchase(5)).is_ok());
        assert_eq!(
            velocity.reserve(START_MS, card(1), &purchase(11)).is_err(),
            velocity.reserve(START_MS, card(1), &purchase(12)).is_err()
        );
    }
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(1)), refused(0, LimitKind::Count));
}

#[test]
fn conditions_choose_the_rules() {
    let mut transit = rule(Some(1), None, 0);
    transit.when.mccs = vec![4111, 4131, 9_999];
    let mut contactless = rule(Some(1), None, 0);
    contactless.when.entry_modes = vec![7, 91];
    let mut cash = rule(Some(1), None, 0);
    cash.when = VelocityCondition {
        mccs: vec![6011],
        entry_modes: vec![5],
        transaction_types: vec![1, 17],
    };
    let velocity = velocity(vec![transit, contactless, cash]);
    let counting = |mcc, entry_mode, transaction_type| {
        let t = VelocityTransaction { amount_minor: 1, mcc, entry_mode, transaction_type };
        velocity.rules.counting(&t)
    };
    assert_eq!(counting(4111, 5, 0), 0b001);
    assert_eq!(counting(4131, 7, 0), 0b011);
    assert_eq!(counting(9_999, 91, 1), 0b011);
    assert_eq!(counting(6011, 5, 17), 0b100);
    assert_eq!(counting(6011, 5, 2), 0);
    assert_eq!(counting(6011, 7, 17), 0b010);
    assert_eq!(counting(0, 0, 0), 0);
    assert_eq!(counting(u16::MAX, 7, 255), 0b010);
}

#[test]
fn what_no_rule_counts_takes_no_line() {
    let mut transit = rule(Some(1), None, 0);
    transit.when.mccs = vec![4111];
    let mut velocity = velocity(vec![transit, rule(None, Some(5), 0)]);
    let shop = velocity.reserve(START_MS, card(1), &purchase(0)).unwrap();
    assert!(shop.is_empty());
    assert_eq!(velocity.occupied(), 0);
    velocity.release(card(1), &shop);
    let none = self::velocity(Vec::new()).reserve(START_MS, card(1), &purchase(u64::MAX));
    assert_eq!(none, Ok(Reservation::default()));
}

#[test]
fn a_release_goes_to_its_sub_window_or_nowhere() {
    let mut velocity = velocity(vec![rule(Some(2), Some(100), 1)]);
    let first = velocity.reserve(START_MS, card(1), &purchase(60)).unwrap();
    let second = velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(30)).unwrap();
    velocity.release(card(1), &first);
    assert_eq!(
        velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(71)),
        refused(0, LimitKind::Amount)
    );
    let third = velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(70)).unwrap();
    // Both have rolled out, and another is counted.
    let later_ms = START_MS + 3 * HOUR_MS;
    assert!(velocity.reserve(later_ms, card(1), &purchase(100)).is_ok());
    velocity.release(card(1), &second);
    velocity.release(card(1), &third);
    assert_eq!(velocity.reserve(later_ms, card(1), &purchase(1)), refused(0, LimitKind::Amount));
    velocity.assert_invariants();
}

#[test]
fn part_of_an_amount_comes_back_and_the_count_stays() {
    let mut velocity = velocity(vec![rule(Some(2), Some(100), 0)]);
    let mut kept = velocity.reserve(START_MS, card(1), &purchase(100)).unwrap();
    velocity.release_part(card(1), &mut kept, 40);
    assert_eq!(kept.amount_minor(), 60);
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(41)), refused(0, LimitKind::Amount));
    let second = velocity.reserve(START_MS, card(1), &purchase(40)).unwrap();
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(0)), refused(0, LimitKind::Count));
    velocity.release_part(card(1), &mut kept, 1_000);
    assert_eq!(kept.amount_minor(), 0);
    velocity.release(card(1), &kept);
    velocity.release(card(1), &second);
    assert!(velocity.reserve(START_MS, card(1), &purchase(100)).is_ok());
    velocity.assert_invariants();
}

#[test]
#[should_panic(expected = "Invariant: only a reserved transaction is released")]
fn a_second_release_stops_the_process() {
    let mut velocity = velocity(vec![rule(Some(2), None, 0)]);
    let reservation = velocity.reserve(START_MS, card(1), &purchase(1)).unwrap();
    velocity.release(card(1), &reservation);
    velocity.release(card(1), &reservation);
}

#[test]
fn a_reservation_survives_its_bytes() {
    let mut velocity = velocity(vec![rule(Some(9), None, 0), rule(None, Some(1 << 40), 2)]);
    let made = velocity.reserve(START_MS, card(1), &purchase(999_999_999_999)).unwrap();
    assert_eq!(Reservation::from_bytes(&made.to_bytes()), made);
    assert_eq!(Reservation::from_bytes(&[0; RESERVATION_BYTES]), Reservation::default());
}

#[test]
fn words_are_counted_as_they_are_laid_out() {
    let calendar = rule(Some(1), None, 0);
    let rolling = |parts| rule(Some(1), None, parts);
    assert_eq!(words_needed(&[]), 0);
    assert_eq!(words_needed(&vec![calendar.clone(); 4]), crate::limits::VELOCITY_WORDS);
    assert_eq!(words_needed(&[rolling(4)]), 6);
    assert_eq!(words_needed(&[calendar.clone(), rolling(3)]), 6);
    assert_eq!(words_needed(&[calendar.clone(), calendar, rolling(1)]), 6);
    assert_eq!(words_needed(&[rolling(2), rolling(2)]), 7);
}
