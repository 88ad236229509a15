//! Counters and limits by example; `model` has them by random transactions.

mod audit;
mod limits;
mod millions;
mod model;
mod snapshot;
mod table;

use super::*;
use crate::config::{
    VelocityCondition, VelocityCounter, VelocityLimit, VelocityScope, VelocityWindow,
};

const HOUR_MS: u64 = 3_600_000;
/// 2026-01-01 00:00 UTC: a multiple of every window here.
const START_MS: u64 = 1_767_225_600_000;

fn window(sub_windows: u8) -> VelocityWindow {
    match sub_windows {
        0 => VelocityWindow::Fixed { window_s: 3_600 },
        _ => VelocityWindow::Rolling { window_s: 3_600, sub_windows },
    }
}

fn counter(window: VelocityWindow) -> VelocityCounter {
    VelocityCounter {
        name: "counter".into(),
        scope: VelocityScope::Card,
        window,
        resets_on_pin: false,
        when: VelocityCondition::default(),
    }
}

fn limit(
    counter: Option<usize>,
    count_max: Option<u32>,
    amount_minor_max: Option<u64>,
) -> VelocityLimit {
    let when = VelocityCondition::default();
    VelocityLimit {
        name: "limit".into(),
        counter,
        scope_counter: None,
        count_max,
        amount_minor_max,
        when,
        code: None,
    }
}

fn config(
    lines: usize,
    counters: Vec<VelocityCounter>,
    limits: Vec<VelocityLimit>,
) -> VelocityConfig {
    VelocityConfig { lines, counters, limits, ..VelocityConfig::default() }
}

/// A counter with a limit of its own for each of these.
fn rules(rules: &[(Option<u32>, Option<u64>, u8)]) -> VelocityConfig {
    let counters = rules.iter().map(|&(_, _, parts)| counter(window(parts))).collect();
    let limits = rules.iter().enumerate();
    let limits = limits.map(|(place, &(count, amount, _))| limit(Some(place), count, amount));
    config(256, counters, limits.collect())
}

fn velocity(rules: &[(Option<u32>, Option<u64>, u8)]) -> Velocity {
    made(&self::rules(rules))
}

/// Every card has a second book, which each change is compared with.
fn made(config: &VelocityConfig) -> Velocity {
    let mut velocity = Velocity::new(config, config.lines);
    velocity.audit_one_of(1);
    velocity
}

impl Velocity {
    /// Judged and held.
    fn reserve(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
    ) -> Result<Reservation, Refusal> {
        let reservation = self.judge(wall_ms, card, t)?;
        assert!(self.hold(wall_ms, card, &reservation), "a judgement finds a line");
        Ok(reservation)
    }

    /// Count and sum of a card's counter; `None` when stuck.
    fn counted(&mut self, wall_ms: u64, card: CardKey, counter: usize) -> Option<(u64, u64)> {
        self.counters.advance(wall_ms);
        let Some(place) = self.table.find(card) else { return Some((0, 0)) };
        match self.counters.counted(self.table.words(place), counter) {
            counters::Counted::Sum { count, amount_minor } => Some((count, amount_minor)),
            counters::Counted::Stuck => None,
        }
    }
}

fn card(number: u64) -> CardKey {
    // Spread over the whole key, as a cipher does.
    let spread = u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    CardKey((spread ^ spread >> 67).to_le_bytes())
}

fn purchase(amount_minor: u64) -> VelocityTransaction {
    VelocityTransaction {
        amount_minor,
        iin: 622_848_000,
        currency: 156,
        mcc: 5411,
        entry_mode: 7,
        transaction_type: 0,
        kind: TransactionKind::Purchase,
        pin_present: false,
        qr: None,
    }
}

fn refused(limit: u8, by: LimitKind) -> Result<Reservation, Refusal> {
    Err(Refusal::Limit { limit, by })
}

#[test]
fn of_a_thousand_at_once_only_the_limit_is_admitted() {
    let mut velocity = velocity(&[(Some(10), None, 4)]);
    let admitted = (0..1_000).filter(|_| velocity.reserve(START_MS, card(1), &purchase(1)).is_ok());
    assert_eq!(admitted.count(), 10);
    velocity.assert_invariants();
}

#[test]
fn limits_hold_to_the_minor_unit_and_to_the_transaction() {
    let mut by_amount = velocity(&[(None, Some(1_000), 0)]);
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

    let mut by_count = velocity(&[(Some(2), None, 0)]);
    assert!(by_count.reserve(START_MS, card(1), &purchase(0)).is_ok());
    assert!(by_count.reserve(START_MS, card(1), &purchase(u64::MAX)).is_ok());
    assert_eq!(by_count.reserve(START_MS, card(1), &purchase(0)), refused(0, LimitKind::Count));
}

#[test]
fn the_largest_amounts_are_refused_and_never_wrap() {
    let limit = crate::limits::VELOCITY_AMOUNT_MINOR_MAX;
    let mut velocity = velocity(&[(Some(60_000), Some(limit), 1)]);
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
    let mut small = self::velocity(&[(None, Some(999_999_999_999), 0)]);
    assert!(small.reserve(START_MS, card(1), &most).is_ok());
    assert_eq!(small.reserve(START_MS, card(1), &most), refused(0, LimitKind::Amount));
    velocity.assert_invariants();
}

#[test]
fn a_calendar_window_ends_to_the_millisecond() {
    let mut velocity = velocity(&[(Some(1), None, 0)]);
    let end_ms = START_MS + HOUR_MS;
    assert!(velocity.reserve(end_ms - 1, card(1), &purchase(1)).is_ok());
    assert_eq!(velocity.reserve(end_ms - 1, card(1), &purchase(1)), refused(0, LimitKind::Count));
    assert!(velocity.reserve(end_ms, card(1), &purchase(1)).is_ok());
    assert_eq!(velocity.reserve(end_ms + 1, card(1), &purchase(1)), refused(0, LimitKind::Count));
}

#[test]
fn a_rolling_window_rounds_against_the_card() {
    // Quarters of an hour; five of them count.
    let mut velocity = velocity(&[(Some(1), None, 4)]);
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
    let odd = counter(VelocityWindow::Rolling { window_s: 10, sub_windows: 3 });
    let mut velocity = made(&config(256, vec![odd], vec![limit(Some(0), Some(1), None)]));
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
    let mut velocity = velocity(&[(Some(2), None, 2)]);
    assert!(velocity.reserve(START_MS + 2 * HOUR_MS, card(1), &purchase(1)).is_ok());
    let early = velocity.reserve(START_MS, card(1), &purchase(1)).unwrap();
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(1)), refused(0, LimitKind::Count));
    velocity.release(START_MS, card(1), &early);
    assert!(velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(1)).is_ok());
    assert_eq!(
        velocity.reserve(START_MS + 2 * HOUR_MS, card(1), &purchase(1)),
        refused(0, LimitKind::Count)
    );
    velocity.assert_invariants();
}

#[test]
fn all_rules_count_a_transaction_or_none_does() {
    let mut velocity = velocity(&[(Some(2), None, 0), (None, Some(10), 0)]);
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
fn a_release_goes_to_its_sub_window_or_nowhere() {
    let mut velocity = velocity(&[(Some(2), Some(100), 1)]);
    let first = velocity.reserve(START_MS, card(1), &purchase(60)).unwrap();
    let second = velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(30)).unwrap();
    velocity.release(START_MS, card(1), &first);
    assert_eq!(
        velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(71)),
        refused(0, LimitKind::Amount)
    );
    let third = velocity.reserve(START_MS + HOUR_MS, card(1), &purchase(70)).unwrap();
    // Both have rolled out, and another is counted.
    let later_ms = START_MS + 3 * HOUR_MS;
    assert!(velocity.reserve(later_ms, card(1), &purchase(100)).is_ok());
    velocity.release(START_MS, card(1), &second);
    velocity.release(START_MS, card(1), &third);
    assert_eq!(velocity.reserve(later_ms, card(1), &purchase(1)), refused(0, LimitKind::Amount));
    velocity.assert_invariants();
}

#[test]
fn part_of_an_amount_comes_back_and_the_count_stays() {
    let mut velocity = velocity(&[(Some(2), Some(100), 0)]);
    let kept = velocity.reserve(START_MS, card(1), &purchase(100)).unwrap();
    let kept = velocity.release_part(START_MS, card(1), &kept, 40);
    assert_eq!(kept.amount_minor(), 60);
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(41)), refused(0, LimitKind::Amount));
    let second = velocity.reserve(START_MS, card(1), &purchase(40)).unwrap();
    assert_eq!(velocity.reserve(START_MS, card(1), &purchase(0)), refused(0, LimitKind::Count));
    let kept = velocity.release_part(START_MS, card(1), &kept, 1_000);
    assert_eq!(kept.amount_minor(), 0);
    velocity.release(START_MS, card(1), &kept);
    velocity.release(START_MS, card(1), &second);
    assert!(velocity.reserve(START_MS, card(1), &purchase(100)).is_ok());
    velocity.assert_invariants();
}

#[test]
fn an_approval_of_less_gives_the_rest_back() {
    let mut velocity = velocity(&[(None, Some(100), 0)]);
    let held = velocity.reserve(START_MS, card(1), &purchase(100)).unwrap();
    let posted = velocity.post(START_MS, card(1), &held, 30, false);
    assert_eq!(posted.amount_minor(), 30);
    assert_eq!(velocity.counted(START_MS, card(1), 0), Some((1, 30)));
    velocity.release(START_MS, card(1), &posted);
    assert_eq!(velocity.counted(START_MS, card(1), 0), Some((0, 0)));
}

#[test]
#[should_panic(expected = "Invariant: only a counted transaction is released")]
fn a_second_release_stops_the_process() {
    let mut velocity = velocity(&[(Some(2), None, 0)]);
    let reservation = velocity.reserve(START_MS, card(1), &purchase(1)).unwrap();
    velocity.release(START_MS, card(1), &reservation);
    velocity.release(START_MS, card(1), &reservation);
}

#[test]
fn a_reservation_survives_its_bytes() {
    let mut velocity = velocity(&[(Some(9), None, 0), (None, Some(1 << 40), 2)]);
    let made = velocity.reserve(START_MS, card(1), &purchase(999_999_999_999)).unwrap();
    let more = velocity.more(START_MS + 1, card(1), &made, 7).unwrap();
    for made in [made, more] {
        assert_eq!(Reservation::from_bytes(&made.to_bytes()), made);
    }
    assert_eq!(Reservation::from_bytes(&[0; RESERVATION_BYTES]), Reservation::default());
    let bytes: [u8; RESERVATION_BYTES] = core::array::from_fn(|at| 0xFF - at as u8);
    assert_eq!(Reservation::from_bytes(&bytes).to_bytes(), bytes);
}

#[test]
fn words_are_counted_as_they_are_laid_out() {
    let fixed = counter(window(0));
    let day = counter(VelocityWindow::Day { zone_offset_minutes: 480 });
    let month = counter(VelocityWindow::Month { zone_offset_minutes: 480 });
    let rolling = |parts| counter(window(parts));
    assert_eq!(words_needed(&[]), 0);
    assert_eq!(words_needed(std::slice::from_ref(&day)), 2, "half a cache line");
    assert_eq!(words_needed(&vec![fixed.clone(); 4]), 5, "one shape, one stamp");
    assert_eq!(words_needed(&[fixed.clone(), day.clone(), month, rolling(1)]), 7);
    assert_eq!(words_needed(&[day.clone(), day.clone(), day, rolling(1)]), 6);
    assert_eq!(words_needed(&[rolling(12)]), VELOCITY_WORDS_MAX);
    assert_eq!([2, 3, 6, 7, 14].map(line_words), [4, 8, 8, 16, 16]);
}
