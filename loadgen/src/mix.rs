//! What kinds of transactions there are, how often each comes, and for how much.
//!
//! The default mix is argued from the product, a phone wallet; no public figure exists. Amounts are
//! small, as taps are, and never above 1,000 CNY.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Kinds of transactions that an acquirer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Purchase by phone tap below the no-PIN limit: DE 22 072.
    Tap,
    /// Purchase by phone tap with a PIN: DE 22 071, DE 26, 52, 53.
    TapWithPin,
    /// A metro or bus fare: DE 22 072, MCC 4111 or 4131.
    Transit,
    /// Purchase by QR code: DE 22 032, no track, no chip data.
    QrCode,
    /// Balance inquiry.
    Balance,
    /// Pre-authorization.
    PreAuthorization,
    /// Reversal of an approved purchase.
    Reversal,
    /// Refund of an approved purchase.
    Refund,
    /// Network management: line test.
    EchoTest,
    /// Network management: sign-on.
    SignOn,
}

impl Kind {
    /// Every kind, in the order of the enumeration.
    pub(crate) const ALL: [Self; 10] = [
        Self::Tap,
        Self::TapWithPin,
        Self::Transit,
        Self::QrCode,
        Self::Balance,
        Self::PreAuthorization,
        Self::Reversal,
        Self::Refund,
        Self::EchoTest,
        Self::SignOn,
    ];

    /// Whether it debits the card at once: it can be reversed or refunded.
    pub(crate) const fn is_purchase(self) -> bool {
        matches!(self, Self::Tap | Self::TapWithPin | Self::Transit | Self::QrCode)
    }

    /// Whether it names an earlier transaction.
    pub(crate) const fn has_original(self) -> bool {
        matches!(self, Self::Reversal | Self::Refund)
    }

    /// Whether it is about the connection, not about a card.
    pub(crate) const fn is_network_management(self) -> bool {
        matches!(self, Self::EchoTest | Self::SignOn)
    }
}

/// How often each kind of transaction comes: weights, which need not add up to anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Purchases by phone tap without PIN (DE 22 072).
    pub tap: f64,
    /// Purchases by phone tap with PIN (DE 22 071).
    pub tap_with_pin: f64,
    /// Metro and bus fares (MCC 4111 and 4131).
    pub transit: f64,
    /// Purchases by QR code (DE 22 03x).
    pub qr_code: f64,
    /// Balance inquiries.
    pub balance: f64,
    /// Pre-authorizations.
    pub pre_authorization: f64,
    /// Reversals of own approved purchases.
    pub reversal: f64,
    /// Refunds of own approved purchases.
    pub refund: f64,
    /// Line tests.
    pub echo_test: f64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            tap: 56.0,
            tap_with_pin: 14.0,
            transit: 13.0,
            qr_code: 8.0,
            balance: 1.0,
            pre_authorization: 2.0,
            reversal: 2.0,
            refund: 0.5,
            echo_test: 0.05,
        }
    }
}

/// Why a mix cannot be drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// A weight is negative or not a number.
    #[error("a weight of the mix is negative or not a number")]
    Weight,
    /// Nothing that can be asked for without an earlier transaction.
    #[error("the mix asks for nothing but reversals and refunds")]
    OnlyFollowUps,
}

/// Draws kinds by their weights.
pub(crate) struct KindDraw {
    /// Upper bound of each kind's part of 0..2^32, ascending.
    bounds: [(u64, Kind); 9],
}

impl KindDraw {
    /// From the weights of a mix.
    pub(crate) fn new(mix: &Mix) -> Result<Self, MixError> {
        let weights = [
            (mix.tap, Kind::Tap),
            (mix.tap_with_pin, Kind::TapWithPin),
            (mix.transit, Kind::Transit),
            (mix.qr_code, Kind::QrCode),
            (mix.balance, Kind::Balance),
            (mix.pre_authorization, Kind::PreAuthorization),
            (mix.reversal, Kind::Reversal),
            (mix.refund, Kind::Refund),
            (mix.echo_test, Kind::EchoTest),
        ];
        if weights.iter().any(|(weight, _)| !weight.is_finite() || *weight < 0.0) {
            return Err(MixError::Weight);
        }
        let firsts = weights.iter().filter(|(_, kind)| !kind.has_original());
        if firsts.map(|(weight, _)| weight).sum::<f64>() <= 0.0 {
            return Err(MixError::OnlyFollowUps);
        }
        let all: f64 = weights.iter().map(|(weight, _)| weight).sum();
        let mut sum = 0.0;
        let bounds = weights.map(|(weight, kind)| {
            sum += weight;
            // At most 2^32.
            ((sum / all * 4_294_967_296.0).round() as u64, kind)
        });
        Ok(Self { bounds })
    }

    /// The kind that this random number falls on.
    #[inline]
    pub(crate) fn draw(&self, random: u32) -> Kind {
        let found = self.bounds.iter().find(|(bound, _)| u64::from(random) < *bound);
        found.map_or(Kind::Tap, |(_, kind)| *kind)
    }
}

/// Most that is asked for, in minor units: 1,000 CNY, the usual no-PIN limit.
const AMOUNT_MINOR_MAX: f64 = 100_000.0;

/// Draws an amount in minor units. Takes one random number whatever the kind, so that a run's
/// amounts do not depend on the order of its kinds.
#[inline]
pub(crate) fn draw_amount(kind: Kind, random: &mut impl Rng) -> u64 {
    let spread: f64 = StandardNormal.sample(random);
    let log_normal = |median: f64, sigma: f64| median * (sigma * spread).exp();
    let minor = match kind {
        Kind::Tap => log_normal(3_000.0, 0.8),
        Kind::TapWithPin => log_normal(15_000.0, 0.7),
        Kind::QrCode => log_normal(2_000.0, 0.8),
        // Fares in whole CNY, around 4.
        Kind::Transit => (log_normal(400.0, 0.4) / 100.0).round().clamp(2.0, 15.0) * 100.0,
        // An opened journey or a deposit.
        Kind::PreAuthorization => (log_normal(3_000.0, 0.9) / 100.0).ceil() * 100.0,
        Kind::Balance | Kind::EchoTest | Kind::SignOn => 0.0,
        // Named by the original instead.
        Kind::Reversal | Kind::Refund => 0.0,
    };
    if minor == 0.0 { 0 } else { minor.round().clamp(1.0, AMOUNT_MINOR_MAX) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn kinds_come_as_often_as_weighted() {
        let draw = KindDraw::new(&Mix::default()).unwrap();
        let mut random = StdRng::seed_from_u64(1);
        let mut counts = [0u32; 10];
        for _ in 0..200_000 {
            counts[draw.draw(random.random()) as usize] += 1;
        }
        let share = |kind: Kind| f64::from(counts[kind as usize]) / 200_000.0;
        assert!((share(Kind::Tap) - 56.0 / 96.55).abs() < 0.01);
        assert!((share(Kind::Transit) - 13.0 / 96.55).abs() < 0.01);
        assert!((share(Kind::Reversal) - 2.0 / 96.55).abs() < 0.002);
        assert!(share(Kind::EchoTest) > 0.0 && share(Kind::EchoTest) < 0.001);
        assert_eq!(share(Kind::SignOn), 0.0);
    }

    #[test]
    fn a_mix_of_one_kind_draws_only_that() {
        let none = Mix {
            tap: 0.0,
            tap_with_pin: 0.0,
            transit: 0.0,
            qr_code: 0.0,
            balance: 0.0,
            pre_authorization: 0.0,
            reversal: 0.0,
            refund: 0.0,
            echo_test: 0.0,
        };
        let draw = KindDraw::new(&Mix { balance: 3.0, ..none }).unwrap();
        for random in [0, 1, u32::MAX / 2, u32::MAX] {
            assert_eq!(draw.draw(random), Kind::Balance);
        }
        let refused = |mix| KindDraw::new(&mix).err();
        assert_eq!(refused(none), Some(MixError::OnlyFollowUps));
        assert_eq!(refused(Mix { refund: 1.0, ..none }), Some(MixError::OnlyFollowUps));
        assert_eq!(refused(Mix { tap: -1.0, ..Mix::default() }), Some(MixError::Weight));
        assert_eq!(refused(Mix { tap: f64::NAN, ..Mix::default() }), Some(MixError::Weight));
    }

    #[test]
    fn taps_are_small_and_nothing_is_large() {
        let mut random = StdRng::seed_from_u64(1);
        let mut taps: Vec<u64> = (0..20_000).map(|_| draw_amount(Kind::Tap, &mut random)).collect();
        taps.sort_unstable();
        let median = taps[10_000];
        assert!((2_850..3_150).contains(&median), "{median}");
        assert!(taps.iter().all(|amount| (1..=100_000).contains(amount)));
        for kind in Kind::ALL {
            let amount = draw_amount(kind, &mut random);
            assert_eq!(amount > 0, kind.is_purchase() || kind == Kind::PreAuthorization);
        }
        let fare = draw_amount(Kind::Transit, &mut random);
        assert_eq!(fare % 100, 0);
    }
}
