//! The shipped counters and limits as an acquirer meets them: what is tapped, scanned, withdrawn, with
//! PIN and without.

use super::fixture::{Request, World, config, issuer_answer};
use crate::config::Config;
use crate::shard::IssuerId;
use tapswitch_protocol::{Dialect, ResponseCode};

/// One transaction of card C1: entry mode (DE 22), amount in CNY, what else it has.
struct Payment<'a> {
    entry_mode: &'a [u8],
    cny: u64,
    processing: &'a str,
    extra: &'a [(u8, &'a [u8])],
}

const TAP: Payment<'_> = Payment { entry_mode: b"072", cny: 1, processing: "000000", extra: &[] };
const PIN: &[(u8, &[u8])] = &[(52, b"\x01\x02\x03\x04\x05\x06\x07\x08")];
const GATE: &[(u8, &[u8])] = &[(18, b"4111")];

struct Till {
    world: World,
    stan: u32,
}

impl Till {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(1);
        config.velocity = crate::config::VelocityConfig {
            lines: config.velocity.lines,
            ..Config::embedded().velocity
        };
        change(&mut config);
        Self { world: World::new(&config), stan: 0 }
    }

    /// What the payment is answered, when its issuer would answer `code`.
    fn pay_answered(&mut self, payment: &Payment<'_>, code: &str) -> String {
        self.stan += 1;
        let extra: Vec<(u8, &[u8])> =
            [(22, payment.entry_mode)].into_iter().chain(payment.extra.iter().copied()).collect();
        let request = Request {
            processing: payment.processing,
            amount: Some(payment.cny * 100),
            stan: self.stan,
            extra: &extra,
            ..Request::default()
        };
        let done = self.world.request(1, &request.message(Dialect::cups()));
        let done = match done.first() {
            Some(done) if done.text.starts_with('I') => {
                let answer = issuer_answer(&done.bytes, code, &[]);
                self.world.issuer(IssuerId(0), &answer)
            }
            _ => done,
        };
        done.first().map_or_else(String::new, |done| done.text.replace("A1 0210 ", ""))
    }

    #[track_caller]
    fn pays(&mut self, payment: &Payment<'_>, code: &str) {
        assert_eq!(self.pay_answered(payment, "00"), code, "{} CNY", payment.cny);
    }
}

#[test]
fn taps_without_pin_have_a_cap_each_and_a_day_of_their_own() {
    let mut till = Till::new(|_| {});
    till.pays(&Payment { cny: 1_001, ..TAP }, "61");
    for _ in 0..5 {
        till.pays(&Payment { cny: 1_000, ..TAP }, "00");
    }
    till.pays(&TAP, "61");
    // A PIN lifts both; one that the issuer declines does not set the day back.
    let with_pin = Payment { cny: 2_000, extra: PIN, ..TAP };
    assert_eq!(till.pay_answered(&with_pin, "55"), "55");
    till.pays(&TAP, "61");
    till.pays(&with_pin, "00");
    till.pays(&Payment { cny: 1_000, ..TAP }, "00");
    // Contact is no tap.
    till.pays(&Payment { entry_mode: b"051", cny: 6_000, ..TAP }, "00");
    till.pays(&Payment { entry_mode: b"051", cny: 50_001, ..TAP }, "61");
}

#[test]
fn codes_cash_and_gates_are_counted_apart() {
    let mut till = Till::new(|_| {});
    let code = |cny| Payment { entry_mode: b"032", cny, ..TAP };
    till.pays(&code(1_001), "61");
    till.pays(&code(1_000), "00");
    till.pays(&code(1), "61");
    let cash = |cny| Payment { entry_mode: b"051", processing: "010000", cny, extra: PIN };
    till.pays(&cash(20_000), "00");
    till.pays(&cash(1), "61");
    for _ in 0..20 {
        till.pays(&Payment { cny: 4, extra: GATE, ..TAP }, "00");
    }
    till.pays(&Payment { cny: 4, extra: GATE, ..TAP }, "65");
    till.pays(&TAP, "00");
}

#[test]
fn a_limit_can_answer_with_a_code_of_its_own() {
    let mut till = Till::new(|config| {
        for limit in &mut config.velocity.limits {
            limit.code = Some(ResponseCode::NOT_PERMITTED);
        }
    });
    till.pays(&Payment { cny: 1_001, ..TAP }, "57");
    for _ in 0..20 {
        till.pays(&Payment { extra: GATE, ..TAP }, "00");
    }
    till.pays(&Payment { extra: GATE, ..TAP }, "57");
    let counters = till.world.shard.counters();
    let refused =
        [crate::shard::Counter::RefusedAmountLimit, crate::shard::Counter::RefusedCountLimit];
    assert_eq!(refused.map(|counter| counters.value(counter)), [1, 1]);
}

/// PBOC: one total a day over all codes; each payment is judged against the cap of its own sort.
#[test]
fn codes_share_a_day_and_each_has_the_cap_of_its_sort() {
    let told = |config: &mut Config| {
        config.acquirers[0].qr_code = Some(crate::config::QrCodeField {
            field: 60,
            at: 2,
            is_static: "S".to_owned(),
            is_dynamic: "D".to_owned(),
        });
    };
    let by = |code: &'static [(u8, &'static [u8])], cny| Payment {
        entry_mode: b"032",
        cny,
        extra: code,
        ..TAP
    };
    let printed: &[(u8, &[u8])] = &[(60, b"00S000000000")];
    let made: &[(u8, &[u8])] = &[(60, b"00D000000000")];
    let mut till = Till::new(told);
    till.pays(&by(printed, 501), "61");
    till.pays(&by(printed, 300), "00");
    till.pays(&by(printed, 201), "61");
    till.pays(&by(made, 201), "00");
    till.pays(&by(printed, 1), "61");
    till.pays(&by(made, 500), "61");
    till.pays(&by(made, 499), "00");
    till.pays(&by(made, 1), "61");
    // Where nothing says which sort it is, the level's cap holds.
    let mut till = Till::new(|_| {});
    till.pays(&by(printed, 1_001), "61");
    till.pays(&by(printed, 1_000), "00");
}
