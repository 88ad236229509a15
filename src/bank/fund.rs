//! A balance that is units of a money-market fund, and what they are worth.
//!
//! A unit is counted in ten-thousandths, and so is its value (the net asset value, in CNY): an integer
//! number of units times an integer price is an exact amount in millionths of a minor unit. Paying takes
//! units rounded up, refunding gives units rounded down; what was taken is given back at the price of
//! the day on which it was taken, so that never a unit appears or is lost. What the customer has is what
//! the units are worth, rounded down.
//!
//! Not here: the books (`books`), and which cards have a fund (`products`).

use super::accounts::BALANCE_MINOR_MAX;
use crate::config::BankProducts;

const DAY_MS: u64 = 86_400_000;
/// Days are those of China, eight hours ahead of UTC.
const CHINA_MS: u64 = 8 * 3_600_000;
/// 1 January 2026, since which the price grows.
const FIRST_DAY: u16 = 20_454;
/// Ten-thousandths of a unit times ten-thousandths of a CNY, as minor units.
const SCALE: i128 = 1_000_000;

/// The most that units are worth, either side of zero.
const WORTH_MINOR_MAX: i64 = BALANCE_MINOR_MAX * 2 - 1;

/// Days since 1970, in China.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day(pub(super) u16);

impl Day {
    /// The day of a moment.
    #[inline]
    pub(super) fn at(wall_ms: u64) -> Self {
        Self(u16::try_from((wall_ms + CHINA_MS) / DAY_MS).unwrap_or(u16::MAX))
    }
}

/// What an account in a fund has besides its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FundRow {
    /// In ten-thousandths; below zero after advices that the bank had to take.
    pub(super) units: i128,
    /// The last day on which something was redeemed.
    day: Day,
    /// What was redeemed on it, in minor units.
    redeemed: u64,
}

impl FundRow {
    pub(super) const fn new(units: i128) -> Self {
        Self { units, day: Day(0), redeemed: 0 }
    }

    /// What was redeemed on this day.
    #[inline]
    pub(super) fn redeemed(&self, day: Day) -> u64 {
        if self.day == day { self.redeemed } else { 0 }
    }

    /// So much more was redeemed on this day.
    #[inline]
    pub(super) fn redeem(&mut self, day: Day, amount: u64) {
        *self = Self { day, redeemed: self.redeemed(day).saturating_add(amount), ..*self };
    }

    /// So much of what was redeemed on `of` came back; what was of earlier days frees nothing.
    #[inline]
    pub(super) fn restore(&mut self, of: Day, amount: u64) {
        if self.day == of {
            self.redeemed = self.redeemed.saturating_sub(amount);
        }
    }
}

/// The price of a unit on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Valuation(i128);

impl Valuation {
    #[inline]
    pub(super) fn on(day: Day, products: &BankProducts) -> Self {
        let days = i128::from(day.0.saturating_sub(FIRST_DAY));
        Self(i128::from(products.fund_nav) + days * i128::from(products.fund_nav_daily_gain))
    }

    /// The units that pay an amount: rounded up, against the customer.
    #[inline]
    pub(super) fn units_for(&self, amount: u64) -> i128 {
        (i128::from(amount) * SCALE + self.0 - 1) / self.0
    }

    /// The units that an amount buys: rounded down, likewise.
    #[inline]
    pub(super) fn units_bought(&self, amount: u64) -> i128 {
        i128::from(amount) * SCALE / self.0
    }

    /// What units are worth, in minor units rounded down.
    #[inline]
    pub(super) fn worth(&self, units: i128) -> i64 {
        // A balance at its bound that gains for years stops there: differences of worths never overflow.
        let bound = i128::from(WORTH_MINOR_MAX);
        (units * self.0).div_euclid(SCALE).clamp(-bound, bound) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn valuation(nav: u32) -> Valuation {
        Valuation::on(Day(FIRST_DAY), &BankProducts { fund_nav: nav, ..BankProducts::NONE })
    }

    #[test]
    fn the_price_grows_by_the_day_of_china() {
        let products = BankProducts { fund_nav_daily_gain: 3, ..BankProducts::NONE };
        // 2025-12-31 23:59:59.999 and 2026-01-02 00:00 in China.
        let (before, after) = (Day::at(1_767_196_799_999), Day::at(1_767_283_200_000));
        assert_eq!((before, after), (Day(FIRST_DAY - 1), Day(FIRST_DAY + 1)));
        assert_eq!(Valuation::on(before, &products), Valuation(10_000));
        assert_eq!(Valuation::on(after, &products), Valuation(10_003));
    }

    #[test]
    fn what_came_back_on_the_same_day_may_be_redeemed_again() {
        let mut fund = FundRow::new(0);
        fund.redeem(Day(5), 700);
        fund.restore(Day(5), 300);
        assert_eq!((fund.redeemed(Day(5)), fund.redeemed(Day(6))), (400, 0));
        fund.redeem(Day(6), 50);
        fund.restore(Day(5), 400);
        assert_eq!(fund.redeemed(Day(6)), 50);
    }

    proptest! {
        #[test]
        fn rounding_is_never_in_the_customers_favour(
            amount in 1..1_000_000_000_000u64, nav in 1_000..1_000_000u32,
        ) {
            let at = valuation(nav);
            let (paid, bought) = (at.units_for(amount), at.units_bought(amount));
            prop_assert!(paid * at.0 >= i128::from(amount) * SCALE);
            prop_assert!((paid - 1) * at.0 < i128::from(amount) * SCALE);
            prop_assert!(bought * at.0 <= i128::from(amount) * SCALE);
            prop_assert!((paid - bought) <= 1);
            // What is available says exactly how much can be paid.
            let worth = u64::try_from(at.worth(bought)).unwrap();
            prop_assert!(at.units_for(worth) <= bought && at.units_for(worth + 1) > bought);
        }
    }
}
