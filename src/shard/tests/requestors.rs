//! Payments by code at the level of their requestor (PBOC: 500 CNY a day by printed codes, 1,000 at
//! level C, 5,000 at level B, over all codes of a card), with the limits that are shipped.

use super::fixture::{Request, World, config, issuer_answer, paid_by};
use crate::config::{Config, QrCodeField, QrLevel, RequestorConfig};
use crate::shard::{Configured, IssuerId};
use tapswitch_protocol::{Dialect, TokenRequestor};

const MI_PAY: &str = "00012345678";
const OTHER: &str = "00087654321";

fn requestor(name: &str, id: &str, qr_level: QrLevel) -> RequestorConfig {
    let id = TokenRequestor::from_digits(id.as_bytes()).unwrap();
    RequestorConfig { qr_level, ..RequestorConfig::new(name, id) }
}

fn shipped(requestors: Vec<RequestorConfig>) -> Config {
    let mut config = config(1);
    config.velocity = Config::embedded().velocity;
    config.velocity.lines = 1 << 10;
    config.requestors = requestors;
    config.acquirers[0].qr_code = Some(QrCodeField {
        field: 48,
        at: 0,
        is_static: "ST".to_owned(),
        is_dynamic: "DY".to_owned(),
    });
    config
}

fn with_mi_pay() -> Till {
    Till::new(vec![requestor("mi-pay", MI_PAY, QrLevel::B), requestor("other", OTHER, QrLevel::C)])
}

/// A shard, and the number of its last message.
struct Till {
    world: World,
    stan: u32,
}

impl Till {
    fn new(requestors: Vec<RequestorConfig>) -> Self {
        Self { world: World::new(&shipped(requestors)), stan: 0 }
    }

    /// A payment by code, approved by its issuer if it is within the limits.
    fn pay(&mut self, payment: &Payment<'_>, cny: u64) -> String {
        self.stan += 1;
        let pan = format!("622848{:013}", payment.card);
        let mut extra: Vec<(u8, &[u8])> = vec![(22, b"032"), (48, payment.code)];
        extra.extend(payment.token_data.map(|it| (63, it)));
        let (stan, amount) = (self.stan, Some(cny * 100));
        let request = Request { pan: &pan, stan, amount, extra: &extra, ..Request::default() };
        let done = self.world.request(1, &request.message(Dialect::cups())).swap_remove(0);
        if done.text != "I0 0200" {
            return done.text;
        }
        let answer = issuer_answer(&done.bytes, "00", &[]);
        self.world.issuer(IssuerId(0), &answer).swap_remove(0).text
    }
}

struct Payment<'a> {
    card: u32,
    code: &'a [u8],
    token_data: Option<&'a [u8]>,
}

const GOES: &str = "A1 0210 00";
const TOO_MUCH: &str = "A1 0210 61";

#[test]
fn a_level_is_that_of_the_requestor_and_a_printed_code_stays_one() {
    let mut till = with_mi_pay();
    let [b, c, unknown, nobody] =
        [MI_PAY, OTHER, "1", ""].map(|id| paid_by("6235360000000017", id));
    let dynamic = |card, token_data| Payment { card, code: b"DY", token_data };
    assert_eq!(till.pay(&dynamic(1, Some(&b)), 3_000), GOES);
    for (card, token_data) in
        [(2, Some(&c[..])), (3, Some(&unknown)), (4, Some(&nobody)), (5, None)]
    {
        assert_eq!(till.pay(&dynamic(card, token_data), 3_000), TOO_MUCH, "{card}");
        assert_eq!(till.pay(&dynamic(card, token_data), 1_000), GOES, "{card}");
        assert_eq!(till.pay(&dynamic(card, token_data), 1), TOO_MUCH, "{card}");
    }
    let printed = Payment { card: 6, code: b"ST", token_data: Some(&b) };
    assert_eq!(till.pay(&printed, 501), TOO_MUCH);
    assert_eq!(till.pay(&printed, 500), GOES);
    assert_eq!(till.pay(&printed, 1), TOO_MUCH);
}

#[test]
fn a_card_has_one_day_over_all_its_requestors() {
    let mut till = with_mi_pay();
    let [b, c] = [MI_PAY, OTHER].map(|id| paid_by("6235360000000017", id));
    let by = |code, token_data| Payment { card: 1, code, token_data: Some(token_data) };
    assert_eq!(till.pay(&by(b"ST", &b), 400), GOES);
    assert_eq!(till.pay(&by(b"DY", &c), 500), GOES);
    assert_eq!(till.pay(&by(b"DY", &c), 101), TOO_MUCH);
    assert_eq!(till.pay(&by(b"ST", &b), 1), TOO_MUCH, "900 are used");
    assert_eq!(till.pay(&by(b"DY", &b), 4_101), TOO_MUCH);
    assert_eq!(till.pay(&by(b"DY", &b), 4_100), GOES);
    assert_eq!(till.pay(&by(b"DY", &b), 1), TOO_MUCH);
    assert_eq!(till.pay(&by(b"DY", &c), 1), TOO_MUCH);
}

#[test]
fn a_field_63_is_read_for_payments_by_code_only_and_only_where_some_requestor_is_known() {
    let damaged: &[u8] = b"TK003\x06\x02x";
    let by_code = Payment { card: 1, code: b"DY", token_data: Some(damaged) };
    let mut till = with_mi_pay();
    assert_eq!(till.pay(&by_code, 100), "A1 0210 30");
    let extra: &[(u8, &[u8])] = &[(63, damaged)];
    let tap = Request { stan: 900, extra, ..Request::default() };
    assert_eq!(till.world.request(1, &tap.message(Dialect::cups()))[0].text, "I0 0200");
    for requestors in [Vec::new(), vec![requestor("other", OTHER, QrLevel::C)]] {
        let mut till = Till::new(requestors);
        assert_eq!(till.pay(&by_code, 100), GOES);
    }
}

#[test]
fn levels_change_while_the_shard_serves() {
    let mut till = Till::new(Vec::new());
    let b = paid_by("6235360000000017", MI_PAY);
    let payment = Payment { card: 1, code: b"DY", token_data: Some(&b) };
    let configure = |till: &mut Till, epoch, requestors| {
        let configured = Configured { epoch, ..Configured::of(&shipped(requestors)) };
        let World { shard, now, outbox, .. } = &mut till.world;
        shard.on_config(*now, &configured, outbox);
    };
    assert_eq!(till.pay(&payment, 1_001), TOO_MUCH);
    configure(&mut till, 2, vec![requestor("mi-pay", MI_PAY, QrLevel::B)]);
    assert_eq!(till.pay(&payment, 1_002), GOES);
    configure(&mut till, 3, vec![requestor("mi-pay", MI_PAY, QrLevel::A)]);
    assert_eq!(till.pay(&payment, 4_103), GOES, "no limit is for level A");
    configure(&mut till, 4, Vec::new());
    assert_eq!(till.pay(&payment, 4), TOO_MUCH);
}
