//! What chance does to a request: declines, silence, lateness and delay, without any chance in it.
//!
//! Every draw is a hash, so that a load tool with the same seed can predict it. All hashes are
//! SipHash-1-3 with 128 bits of output (first word `a`, second `b`), key `k0` = the seed and
//! `k1` = 1 for a card's draws, 2 for a transaction's. "PAN" is its packed form of 16 bytes: a
//! nibble a digit, then `F`, then zeros.
//!
//! - Card: over PAN. The bank does not know the card when `part(b) < unknown_card_ppm`; the
//!   opening balance or credit line is `from + floor(a × (to − from + 1) / 2^64)`.
//!   Behind a debit card is a fund when `part(a) < fund_share_ppm`, behind a credit card a loan when
//!   `part(a) < loan_share_ppm`; it has `from + floor((b >> 32) × (to − from + 1) / 2^32)` instalments.
//! - Transaction: over PAN and the 12 bytes of DE 37 (a message without it: DE 13, DE 12, `00`,
//!   and `0` for each digit of those that is absent too).
//!   - `part(a)` is compared with running totals of the rates in this order: expired (54), wrong
//!     PIN (55, only when there is a PIN in the message, else no decline), insufficient funds (51,
//!     not of inquiries), do not honor (05). The first total above it decides. Only purchases, cash,
//!     pre-authorizations, inquiries and verifications are declined by draw.
//!   - `part(a >> 32)` is compared with silence, then silence + lateness. Only requests (0100 and
//!     0200, whatever their outcome) get none or a late answer; advices, reversals and refusals
//!     for format never.
//!   - The delay is `median × exp(σ z)`, σ = ln(p99 / median) / 2.326, with
//!     z = √(−2 ln u) cos(2π v), u = ((b >> 32) + 1) / 2^32, v = (b mod 2^32) / 2^32.
//!
//! where `part(x)` = floor((x mod 2^32) × 1,000,000 / 2^32). A repeat draws the same again.
//!
//! Not here: accounts, and declines that follow from them.

use super::pan_key::PanKey;
use crate::config::BankBehaviour;
use siphasher::sip128::{Hash128, SipHasher13};
use tapswitch_protocol::ResponseCode;

const MILLION: u64 = 1_000_000;
const CARD: u64 = 1;
const TRANSACTION: u64 = 2;
const CRYPTOGRAM: u64 = 3;
/// The 99th percentile of the normal distribution.
const Z_P99: f64 = 2.326_347_874_040_841;
const APPROVAL_CODES: u64 = 36 * 36 * 36 * 36 * 36 * 36;

/// A number below a million from the low half of `word`.
#[inline]
fn part(word: u64) -> u32 {
    // Below 10^6.
    (((word & 0xFFFF_FFFF) * MILLION) >> 32) as u32
}

/// The hashes of one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    card: SipHasher13,
    transaction: SipHasher13,
    cryptogram: SipHasher13,
}

impl Seed {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            card: SipHasher13::new_with_keys(seed, CARD),
            transaction: SipHasher13::new_with_keys(seed, TRANSACTION),
            cryptogram: SipHasher13::new_with_keys(seed, CRYPTOGRAM),
        }
    }

    #[inline]
    pub(super) fn card(&self, pan: &PanKey) -> CardDraw {
        let Hash128 { h1, h2 } = self.card.hash(&pan.packed());
        CardDraw { a: h1, b: h2 }
    }

    #[inline]
    pub(super) fn transaction(&self, pan: &PanKey, rrn: &[u8; 12]) -> TransactionDraw {
        let mut text = [0; 28];
        text[..16].copy_from_slice(&pan.packed());
        text[16..].copy_from_slice(rrn);
        let Hash128 { h1, h2 } = self.transaction.hash(&text);
        TransactionDraw { a: h1, b: h2 }
    }

    /// What stands for the issuer's answer to a chip's cryptogram.
    #[inline]
    pub(super) fn response_cryptogram(
        &self,
        pan: &PanKey,
        request_cryptogram: u64,
        code: ResponseCode,
    ) -> u64 {
        let mut text = [0; 26];
        text[..16].copy_from_slice(&pan.packed());
        text[16..24].copy_from_slice(&request_cryptogram.to_be_bytes());
        text[24..].copy_from_slice(code.bytes());
        self.cryptogram.hash(&text).h1
    }
}

/// What is drawn once for a card.
#[derive(Clone, Copy, Debug)]
pub(super) struct CardDraw {
    a: u64,
    b: u64,
}

impl CardDraw {
    /// Bits for table places.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        self.b
    }

    /// A number between both bounds, which are included.
    #[inline]
    pub(super) fn between(&self, (from, to): (u64, u64)) -> u64 {
        let span = u128::from(to.saturating_sub(from)) + 1;
        // The high half of a 64 by at most 65 bit product: at most `to - from`.
        from + ((u128::from(self.a) * span) >> 64) as u64
    }

    /// Whether the card is one of so many parts of a million that have another product.
    #[inline]
    pub(super) fn is_among(&self, share_ppm: u32) -> bool {
        part(self.a) < share_ppm
    }

    /// Into how many instalments its loans are divided, both bounds included.
    #[inline]
    pub(super) fn instalments(&self, (from, to): (u64, u64)) -> usize {
        // Bounds of a checked configuration are below 37.
        (from + (((self.b >> 32) * (to - from + 1)) >> 32)) as usize
    }

    #[inline]
    fn is_unknown(&self, behaviour: &BankBehaviour) -> bool {
        part(self.b) < behaviour.unknown_card_ppm
    }
}

/// What is drawn for a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransactionDraw {
    a: u64,
    b: u64,
}

/// Which declines may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Declinable {
    /// There is a PIN to be wrong.
    pub(super) pin: bool,
    /// There is an amount to be too high.
    pub(super) amount: bool,
}

/// Whether and when an answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// After this.
    After {
        /// Nanoseconds.
        delay_ns: u64,
    },
    /// After the time for late answers.
    Late,
    /// Never.
    Silent,
}

impl TransactionDraw {
    /// The authorization identification response that an approval carries, below 36^6.
    #[inline]
    pub(super) fn approval(&self) -> u32 {
        let mixed = (self.a ^ self.b.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The high half of a product with a number below 2^32.
        ((u128::from(mixed) * u128::from(APPROVAL_CODES)) >> 64) as u32
    }
}

/// One bank's behaviour, ready to be applied.
#[derive(Clone, Debug)]
pub(super) struct Behaviour {
    rates: BankBehaviour,
    median_ns: u64,
    sigma: f64,
}

impl Behaviour {
    pub(super) fn new(rates: &BankBehaviour) -> Self {
        let (median, p99) = (rates.delay_median_us, rates.delay_p99_us);
        let spread = if median > 0 && p99 > median { p99 as f64 / median as f64 } else { 1.0 };
        let sigma = spread.ln() / Z_P99;
        Self { rates: rates.clone(), median_ns: median.saturating_mul(1_000), sigma }
    }

    #[inline]
    pub(super) fn is_unknown(&self, card: &CardDraw) -> bool {
        card.is_unknown(&self.rates)
    }

    /// The decline that is drawn, if any.
    #[inline]
    pub(super) fn decline(
        &self,
        draw: &TransactionDraw,
        declinable: Declinable,
    ) -> Option<ResponseCode> {
        let rates = &self.rates;
        let drawn = u64::from(part(draw.a));
        let expired = u64::from(rates.expired_ppm);
        let wrong_pin = expired + u64::from(rates.wrong_pin_ppm);
        let insufficient = wrong_pin + u64::from(rates.insufficient_funds_ppm);
        let do_not_honor = insufficient + u64::from(rates.do_not_honor_ppm);
        if drawn >= do_not_honor {
            None
        } else if drawn < expired {
            Some(ResponseCode::EXPIRED_CARD)
        } else if drawn < wrong_pin {
            declinable.pin.then_some(ResponseCode::WRONG_PIN)
        } else if drawn < insufficient {
            declinable.amount.then_some(ResponseCode::INSUFFICIENT_FUNDS)
        } else {
            Some(ResponseCode::DO_NOT_HONOR)
        }
    }

    /// When the answer to a request leaves.
    #[inline]
    pub(super) fn request_timing(&self, draw: &TransactionDraw) -> Timing {
        let drawn = u64::from(part(draw.a >> 32));
        let silence = u64::from(self.rates.silence_ppm);
        if drawn < silence {
            Timing::Silent
        } else if drawn < silence + u64::from(self.rates.late_ppm) {
            Timing::Late
        } else {
            self.advice_timing(draw)
        }
    }

    /// When the answer to an advice or a reversal leaves.
    #[inline]
    pub(super) fn advice_timing(&self, draw: &TransactionDraw) -> Timing {
        Timing::After { delay_ns: self.delay_ns(draw) }
    }

    /// How late a late answer is.
    #[inline]
    pub(super) fn late_ns(&self) -> u64 {
        self.rates.late_ms.saturating_mul(1_000_000)
    }

    #[inline]
    fn delay_ns(&self, draw: &TransactionDraw) -> u64 {
        if self.sigma == 0.0 || self.median_ns == 0 {
            return self.median_ns;
        }
        const HALF: f64 = 4_294_967_296.0;
        let u = ((draw.b >> 32) as f64 + 1.0) / HALF;
        let v = (draw.b & 0xFFFF_FFFF) as f64 / HALF;
        let z = (-2.0 * u.ln()).sqrt() * (core::f64::consts::TAU * v).cos();
        // z is at most 6.7; a cast of a float saturates.
        (self.median_ns as f64 * (self.sigma * z).exp()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> BankBehaviour {
        BankBehaviour {
            delay_median_us: 5_000,
            delay_p99_us: 50_000,
            insufficient_funds_ppm: 30_000,
            expired_ppm: 10_000,
            wrong_pin_ppm: 20_000,
            do_not_honor_ppm: 15_000,
            unknown_card_ppm: 5_000,
            silence_ppm: 2_000,
            late_ppm: 3_000,
            late_ms: 9_000,
        }
    }

    fn draws() -> impl Iterator<Item = (CardDraw, TransactionDraw)> {
        let seed = Seed::new(7);
        (0..200_000u64).map(move |number| {
            let pan = PanKey::test_pan(number % 1_000);
            let rrn = format!("{number:012}");
            (seed.card(&pan), seed.transaction(&pan, rrn.as_bytes().try_into().unwrap()))
        })
    }

    /// Counted in parts of a million, within five standard deviations.
    fn assert_rate(count: usize, of: usize, ppm: u32) {
        let (n, p) = (of as f64, f64::from(ppm) / 1e6);
        let deviation = (n * p * (1.0 - p)).sqrt();
        assert!((count as f64 - n * p).abs() < 5.0 * deviation, "{count} of {of}, not {ppm} ppm");
    }

    #[test]
    fn rates_are_met() {
        let behaviour = Behaviour::new(&rates());
        let declinable = Declinable { pin: true, amount: true };
        let codes: Vec<_> = draws().map(|(_, draw)| behaviour.decline(&draw, declinable)).collect();
        for (code, ppm) in [
            (Some(ResponseCode::EXPIRED_CARD), 10_000),
            (Some(ResponseCode::WRONG_PIN), 20_000),
            (Some(ResponseCode::INSUFFICIENT_FUNDS), 30_000),
            (Some(ResponseCode::DO_NOT_HONOR), 15_000),
            (None, 925_000),
        ] {
            assert_rate(codes.iter().filter(|&&drawn| drawn == code).count(), codes.len(), ppm);
        }
        let timings: Vec<_> = draws().map(|(_, draw)| behaviour.request_timing(&draw)).collect();
        for (timing, ppm) in [(Timing::Silent, 2_000), (Timing::Late, 3_000)] {
            assert_rate(timings.iter().filter(|&&drawn| drawn == timing).count(), 200_000, ppm);
        }
    }

    #[test]
    fn only_what_can_be_declined_is() {
        let behaviour = Behaviour::new(&rates());
        let neither = Declinable { pin: false, amount: false };
        let both = Declinable { pin: true, amount: true };
        for (_, draw) in draws().take(20_000) {
            let expected = behaviour.decline(&draw, both).filter(|&code| {
                code != ResponseCode::WRONG_PIN && code != ResponseCode::INSUFFICIENT_FUNDS
            });
            assert_eq!(behaviour.decline(&draw, neither), expected);
        }
    }

    #[test]
    fn the_delay_has_its_median_and_99th_percentile() {
        let behaviour = Behaviour::new(&rates());
        let mut delays: Vec<_> = draws().map(|(_, draw)| behaviour.delay_ns(&draw)).collect();
        delays.sort_unstable();
        let at = |share: f64| delays[(delays.len() as f64 * share) as usize] as f64;
        assert!((at(0.5) / 5e6 - 1.0).abs() < 0.03, "{}", at(0.5));
        assert!((at(0.99) / 50e6 - 1.0).abs() < 0.05, "{}", at(0.99));
    }

    #[test]
    fn a_delay_without_spread_is_constant() {
        for (median, p99) in [(0, 0), (700, 700), (700, 0), (0, 900)] {
            let rates = BankBehaviour { delay_median_us: median, delay_p99_us: p99, ..rates() };
            let behaviour = Behaviour::new(&rates);
            let constant = |(_, draw): (_, TransactionDraw)| behaviour.delay_ns(&draw);
            assert!(draws().take(100).map(constant).all(|delay_ns| delay_ns == median * 1_000));
        }
    }

    #[test]
    fn a_card_draws_within_its_bounds() {
        let seed = Seed::new(1);
        let mut unknown = 0;
        let behaviour = Behaviour::new(&rates());
        for number in 0..100_000 {
            let card = seed.card(&PanKey::test_pan(number));
            assert!((100..=103).contains(&card.between((100, 103))));
            assert_eq!(card.between((9, 9)), 9);
            unknown += usize::from(behaviour.is_unknown(&card));
        }
        assert_rate(unknown, 100_000, 5_000);
        assert_eq!(CardDraw { a: u64::MAX, b: 0 }.between((0, u64::MAX)), u64::MAX);
    }

    #[test]
    fn the_hash_is_the_one_that_is_documented() {
        // Made with an independent SipHash-1-3-128 (see the module's text for what is hashed).
        let pan = PanKey::test_pan(0);
        let card = Seed::new(42).card(&pan);
        let expected = reference::siphash_1_3_128(42, 1, &pan.packed());
        assert_eq!((card.a, card.b), expected);
        let draw = Seed::new(42).transaction(&pan, b"093015000123");
        let text = [&pan.packed()[..], b"093015000123"].concat();
        assert_eq!((draw.a, draw.b), reference::siphash_1_3_128(42, 2, &text));
    }

    /// SipHash-c-d with 128 bits of output, from its paper and reference description.
    mod reference {
        struct State([u64; 4]);

        impl State {
            fn rounds(&mut self, count: usize) {
                let [a, b, c, d] = &mut self.0;
                for _ in 0..count {
                    *a = a.wrapping_add(*b);
                    *b = b.rotate_left(13) ^ *a;
                    *a = a.rotate_left(32);
                    *c = c.wrapping_add(*d);
                    *d = d.rotate_left(16) ^ *c;
                    *a = a.wrapping_add(*d);
                    *d = d.rotate_left(21) ^ *a;
                    *c = c.wrapping_add(*b);
                    *b = b.rotate_left(17) ^ *c;
                    *c = c.rotate_left(32);
                }
            }

            fn xor(&self) -> u64 {
                self.0.iter().fold(0, |word, part| word ^ part)
            }
        }

        pub(super) fn siphash_1_3_128(k0: u64, k1: u64, text: &[u8]) -> (u64, u64) {
            let mut state = State([
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ]);
            let mut padded = text.to_vec();
            padded.resize(text.len() / 8 * 8 + 7, 0);
            padded.push(text.len() as u8);
            for chunk in padded.chunks(8) {
                let word = u64::from_le_bytes(chunk.try_into().unwrap());
                state.0[3] ^= word;
                state.rounds(1);
                state.0[0] ^= word;
            }
            state.0[2] ^= 0xee;
            state.rounds(3);
            let first = state.xor();
            state.0[1] ^= 0xdd;
            state.rounds(3);
            (first, state.xor())
        }
    }
}
