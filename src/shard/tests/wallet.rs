//! Tokens: what issuers and acquirers see of a payment with one, when it is refused, and what becomes of
//! tokens over a restart.

use super::fixture::{Request, config, pan, secrets, with_view};
use super::layouts::carried_over;
use super::mesh::Pair;
use super::restart::Journaled;
use crate::config::{Config, RequestorConfig};
use crate::shard::wallet::{
    Identification, Month, Provision, TokenAction, TokenState, TokenView, WalletCard, WalletKeys,
    WalletOrder, WalletOutcome, WalletRequest,
};
use crate::shard::{
    Action, ConnectionId, Counter, MeshKind, MeshMessage, Now, Outbox, Shard, ShardId,
};
use std::sync::Arc;
use tapswitch_protocol::chip::{ChipData, PanSequence};
use tapswitch_protocol::emv::{Algorithm, Imk, Scheme, Verifier};
use tapswitch_protocol::tlv::TlvWriter;
use tapswitch_protocol::{Dialect, Pan, TokenDetails, TokenRequestor};

const PREFIX: &str = "62888801";

fn wallet_id() -> TokenRequestor {
    TokenRequestor::from_digits(b"00012345678").unwrap()
}

/// One wallet, whose tokens work by tap only.
fn with_wallet(shards: usize) -> Config {
    let mut wallet = RequestorConfig::new("mi-pay", wallet_id());
    wallet.token_prefixes = vec![PREFIX.to_owned()];
    wallet.entry_modes = vec![7];
    Config { requestors: vec![wallet], ..config(shards) }
}

fn keys(shards: usize) -> WalletKeys {
    WalletKeys::new(&secrets(), shards)
}

fn card(digits: &str) -> WalletCard {
    WalletCard {
        pan: Pan::from_digits(digits.as_bytes()).unwrap(),
        expiry: Month::from_yymm(b"2912").unwrap(),
        sequence: Some(7),
    }
}

fn provision(digits: &str) -> Provision {
    Provision {
        card: card(digits),
        requestor: wallet_id(),
        expiry: Month::from_yymm(b"2806").unwrap(),
        assurance: 20,
        identification: Identification::Green,
    }
}

fn request(keys: &WalletKeys, id: &str, order: WalletOrder) -> WalletRequest {
    keys.request(id, id.as_bytes(), order)
}

/// A pair of shards with an active token of this card.
fn made(pair: &mut Pair, id: &str, provision: Provision) -> TokenView {
    let keys = keys(2);
    let token = keys.number(PREFIX, id, 0);
    let asked = request(&keys, id, WalletOrder::Provision(token, provision));
    done(pair.order(keys.shard_of(token), &asked))
}

fn done(outcome: WalletOutcome) -> TokenView {
    match outcome {
        WalletOutcome::Done(view) => view,
        other => panic!("{}", name(&other)),
    }
}

fn name(outcome: &WalletOutcome) -> &'static str {
    match outcome {
        WalletOutcome::Done(_) => "done",
        WalletOutcome::Tokens(_) => "tokens",
        WalletOutcome::NotFound => "not found",
        WalletOutcome::NotFrom(_) => "not from",
        WalletOutcome::NumberTaken => "number taken",
        WalletOutcome::Conflict => "conflict",
        WalletOutcome::NotOfRequestor => "not of requestor",
        WalletOutcome::Red => "red",
        WalletOutcome::Expired => "expired",
        WalletOutcome::Full => "full",
    }
}

fn change(pair: &mut Pair, view: &TokenView, action: TokenAction) -> WalletOutcome {
    let keys = keys(2);
    let id = format!("{} {:?}", view.entry.token, action);
    let asked = request(&keys, &id, WalletOrder::Change(view.entry.token, action));
    pair.order(keys.shard_of(view.entry.token), &asked)
}

fn tap(token: u64, stan: u32, extra: &[(u8, &[u8])]) -> Vec<u8> {
    let token = token.to_string();
    Request { pan: &token, stan, extra, ..Request::default() }.message(Dialect::cups())
}

/// DE 39 of the newest answer.
fn code(pair: &Pair) -> String {
    let (_, _, frame) = pair.responses.last().unwrap();
    with_view(&frame[50..], |view| view.response_code().unwrap().to_string())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    let packed: Vec<u8> =
        text.as_bytes().chunks_exact(2).map(|it| it[0] << 4 | it[1] & 0x0F).collect();
    let found = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    found(text.as_bytes()) || found(&packed)
}

#[test]
fn the_issuer_sees_the_card_and_the_acquirer_the_token() {
    let mut pair = Pair::by(&with_wallet(2));
    let mut crossed = 0;
    for number in 0..24u32 {
        let digits = format!("622848{number:013}");
        let view = made(&mut pair, &format!("order {number}"), provision(&digits));
        let track = format!("{}=28062010000000000", view.entry.token);
        let track = [(35u8, track.as_bytes()), (14, &b"2806"[..])];
        let extra = if number % 3 == 0 { &track[..] } else { &track[1..] };
        pair.request((number % 2) as usize, &tap(view.entry.token, number + 1, extra));
        let forward = pair.forwards.last().unwrap().2.clone();
        with_view(&forward, |seen| {
            assert_eq!(seen.raw(2).unwrap(), digits.as_bytes());
            assert_eq!(seen.raw(14).unwrap(), b"2912");
            assert_eq!(seen.raw(23).unwrap(), b"007");
            assert!(!seen.has(35));
            let details = TokenDetails::of(seen).unwrap();
            assert_eq!(details.token.unwrap().digits(), view.entry.token.to_string().as_bytes());
            assert!(details.requestor == Some(wallet_id()) && details.assurance == Some(20));
            assert_eq!(details.expiry, Some(*b"2806"));
        });
        pair.answer("00");
        let (shard, _, frame) = pair.responses.last().unwrap();
        assert_eq!(*shard, (number % 2) as usize, "where it was asked");
        assert_eq!(code(&pair), "00");
        assert!(!contains(frame, &digits) && !contains(frame, &digits[..16]));
        with_view(&frame[50..], |seen| {
            assert_eq!(seen.raw(2).unwrap(), view.entry.token.to_string().as_bytes());
        });
        crossed += u32::from(keys(2).shard_of(view.entry.token) == (number % 2) as usize);
    }
    assert!((4..=20).contains(&crossed), "some tokens were here, some there: {crossed}");
    assert_eq!(pair.total(Counter::TokenTranslated), 24);
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0, "credits are home");
}

#[test]
fn all_tokens_of_a_card_and_the_card_itself_share_its_limits() {
    let mut pair = Pair::by(&with_wallet(2));
    let (phone, watch) = (
        made(&mut pair, "phone", provision(pan("C1"))),
        made(&mut pair, "watch", provision(pan("C1"))),
    );
    assert_ne!(phone.entry.token, watch.entry.token);
    assert!(phone.par == watch.par, "one account");
    pair.request(0, &tap(phone.entry.token, 1, &[]));
    pair.answer("00");
    pair.request(1, &tap(watch.entry.token, 2, &[]));
    pair.answer("00");
    let plastic = Request { stan: 3, ..Request::default() }.message(Dialect::cups());
    pair.request(0, &plastic);
    pair.answer("00");
    pair.request(1, &tap(phone.entry.token, 4, &[]));
    assert_eq!(code(&pair), "65", "three a day");
    let asked = request(&keys(2), "", WalletOrder::OfAccount(phone.par));
    let found: Vec<u64> = [0, 1]
        .into_iter()
        .flat_map(|shard| match pair.order(shard, &asked) {
            WalletOutcome::Tokens(tokens) => tokens,
            other => panic!("{}", name(&other)),
        })
        .map(|view| view.entry.token)
        .collect();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&phone.entry.token) && found.contains(&watch.entry.token));
}

#[test]
fn a_token_that_may_not_be_used_is_refused_by_why() {
    let mut pair = Pair::by(&with_wallet(2));
    pair.request(0, &tap(6_288_880_100_000_000_017, 1, &[]));
    assert_eq!(code(&pair), "14", "unknown");
    let yellow = Provision { identification: Identification::Yellow, ..provision(pan("C1")) };
    let view = made(&mut pair, "yellow", yellow);
    let token = view.entry.token;
    pair.request(0, &tap(token, 2, &[]));
    assert_eq!(code(&pair), "62", "inactive");
    assert_eq!(name(&change(&mut pair, &view, TokenAction::Resume)), "not from");
    assert!(
        done(change(&mut pair, &view, TokenAction::Activate)).entry.state == TokenState::Active
    );
    for (stan, extra, expected) in
        [(3, &[(22u8, &b"012"[..])], "57"), (4, &[(22, &b"051"[..])], "57")]
    {
        pair.request(0, &tap(token, stan, extra));
        assert_eq!(code(&pair), expected, "{extra:?}");
    }
    assert!(pair.forwards.is_empty());
    pair.request(0, &tap(token, 5, &[]));
    pair.answer("00");
    assert_eq!(code(&pair), "00");
    done(change(&mut pair, &view, TokenAction::Suspend));
    pair.request(0, &tap(token, 6, &[]));
    assert_eq!(code(&pair), "62", "suspended");
    for (stan, condition) in [(11, &b"06"[..]), (12, b"60")] {
        pair.request(0, &tap(token, stan, &[(25, condition), (38, b"A00009")]));
        assert_eq!(code(&pair), "62", "of no hold that is open");
    }
    pair.request(1, &tap(token, 5, &[]));
    assert_eq!(code(&pair), "00", "a repeat is about what has happened");
    done(change(&mut pair, &view, TokenAction::Delete));
    assert_eq!(name(&change(&mut pair, &view, TokenAction::Activate)), "done", "asked before");
    assert_eq!(name(&change(&mut pair, &view, TokenAction::Resume)), "not from", "for good");
    pair.request(0, &tap(token, 7, &[]));
    assert_eq!(code(&pair), "62", "deleted");
    assert!(pair.forwards.is_empty());
    let asked = Request {
        mti: 420,
        pan: &token.to_string(),
        stan: 8,
        original_stan: Some(5),
        ..Request::default()
    };
    pair.request(0, &asked.message(Dialect::cups()));
    assert_eq!(code(&pair), "00", "what it paid can be reversed");
    let (_, _, forward) = pair.forwards.last().unwrap();
    with_view(forward, |seen| {
        assert_eq!((seen.mti().number(), seen.raw(2).unwrap()), (420, pan("C1").as_bytes()));
    });
}

#[test]
fn where_a_requestors_tokens_may_be_used_is_configuration() {
    for (change, expected) in [
        (
            Box::new(|it: &mut RequestorConfig| it.is_on = false)
                as Box<dyn Fn(&mut RequestorConfig)>,
            "57",
        ),
        (Box::new(|it| it.mccs = vec![4111]), "57"),
        (Box::new(|it| it.mccs = vec![4111, 5411]), "00"),
        (Box::new(|it| it.merchants = vec!["333290054110002".to_owned()]), "57"),
        (Box::new(|it| it.merchants = vec!["333290054110001".to_owned()]), "00"),
        (Box::new(|it| it.entry_modes.clear()), "00"),
    ] {
        let mut config = with_wallet(2);
        change(&mut config.requestors[0]);
        let mut pair = Pair::by(&config);
        let view = made(&mut pair, "order", provision(pan("C1")));
        pair.request(0, &tap(view.entry.token, 1, &[]));
        if expected == "00" {
            pair.answer("00");
        }
        assert_eq!(code(&pair), expected);
    }
}

#[test]
fn a_token_expires_with_its_own_month() {
    // The tests' clock stands in November 2026.
    for (token, card_month, expected) in
        [("2611", "2611", "done"), ("2610", "2912", "expired"), ("2912", "2610", "expired")]
    {
        let mut pair = Pair::by(&with_wallet(2));
        let month = |text: &str| Month::from_yymm(text.as_bytes()).unwrap();
        let of = WalletCard { expiry: month(card_month), ..card(pan("C1")) };
        let provision = Provision { card: of, expiry: month(token), ..provision(pan("C1")) };
        let (keys, id) = (keys(2), "order");
        let number = keys.number(PREFIX, id, 0);
        let asked = request(&keys, id, WalletOrder::Provision(number, provision));
        assert_eq!(name(&pair.order(keys.shard_of(number), &asked)), expected);
    }
}

/// DE 55 of a tap with this counter, signed by the phone.
fn chip_data(verifier: &Verifier, token: u64, counter: u16) -> Vec<u8> {
    let [high, low] = counter.to_be_bytes();
    let open = |cryptogram: [u8; 8]| {
        let mut out = vec![0; 255];
        let mut writer = TlvWriter::new(&mut out);
        let objects: [(u32, &[u8]); 12] = [
            (0x9F26, &cryptogram),
            (0x9F10, b"\x07\x01\x03\x03\xA0\x40\x02\x01"),
            (0x9F37, b"\x1E\x78\xEE\xBC"),
            (0x9F36, &[high, low]),
            (0x95, &[0; 5]),
            (0x9A, b"\x26\x11\x22"),
            (0x9C, &[0]),
            (0x9F02, &[0, 0, 0, 0, 0x10, 0]),
            (0x5F2A, b"\x01\x56"),
            (0x82, b"\x7D\x00"),
            (0x9F1A, b"\x01\x56"),
            (0x9F03, &[0; 6]),
        ];
        for (tag, value) in objects {
            writer.put(tag, value).unwrap();
        }
        let bytes = writer.finish();
        out.truncate(bytes);
        out
    };
    let unsigned = open([0; 8]);
    let chip = ChipData::parse(&unsigned).unwrap();
    let pan = Pan::from_digits(token.to_string().as_bytes()).unwrap();
    open(verifier.cryptogram(&pan, PanSequence::default(), &chip).unwrap())
}

#[test]
fn a_cryptogram_proves_the_phone_and_its_counter_counts_once() {
    let imk = Imk::new(Algorithm::Sm4, b"sixteen bytes 01").unwrap();
    let verifier = Verifier::new(Scheme::union_pay(Algorithm::Sm4), imk).unwrap();
    let verifier = Arc::new(verifier);
    let mut known = secrets();
    known.cryptograms.add(wallet_id(), Arc::clone(&verifier));
    let mut config = with_wallet(2);
    config.velocity.limits.clear();
    let mut pair = Pair::with(&config, &known);
    let view = made(&mut pair, "phone", provision(pan("C1")));
    let token = view.entry.token;
    let mut stan = 0;
    let mut pay = |pair: &mut Pair, chip: Option<&[u8]>, change: &[(u8, &[u8])]| {
        stan += 1;
        let mut extra = change.to_vec();
        extra.extend(chip.map(|chip| (55u8, chip)));
        pair.request(stan as usize % 2, &tap(token, stan, &extra));
        if !pair.forwards.is_empty() {
            pair.answer("00");
        }
        code(pair)
    };
    let signed = |counter: u16| chip_data(&verifier, token, counter);
    assert_eq!(pay(&mut pair, Some(&signed(10)), &[]), "00");
    assert_eq!(pay(&mut pair, Some(&signed(10)), &[]), "57", "seen");
    assert_eq!(pay(&mut pair, Some(&signed(40)), &[]), "00");
    assert_eq!(pay(&mut pair, Some(&signed(9)), &[]), "00", "late, from a gate");
    assert_eq!(pay(&mut pair, Some(&signed(9)), &[]), "57");
    assert_eq!(pay(&mut pair, Some(&signed(7)), &[]), "57", "too old to know");
    let mut wrong = signed(50_000);
    wrong[5] ^= 1;
    assert_eq!(pay(&mut pair, Some(&wrong), &[]), "57");
    assert_eq!(pay(&mut pair, Some(&signed(41)), &[]), "00", "a wrong one moved nothing");
    assert_eq!(pay(&mut pair, None, &[]), "30", "no cryptogram");
    assert_eq!(pay(&mut pair, Some(&signed(42)[..40]), &[]), "30", "cut");
    assert_eq!(pay(&mut pair, Some(&signed(5_000)), &[]), "00");
    assert_eq!(pair.total(Counter::TokenJumped), 1);
    assert_eq!(pair.total(Counter::TokenProved), 5);
    assert_eq!(pair.total(Counter::RefusedTokenCounter), 3);
    assert_eq!(pair.total(Counter::RefusedTokenCryptogram), 1);
}

#[test]
fn an_order_is_done_once() {
    let mut pair = Pair::by(&with_wallet(2));
    let view = made(&mut pair, "one", provision(pan("C1")));
    let token = view.entry.token;
    let keys = keys(2);
    let shard = keys.shard_of(token);
    let again = request(&keys, "one", WalletOrder::Provision(token, provision(pan("C1"))));
    assert!(done(pair.order(shard, &again)) == view);
    let other = keys.request("one", b"other", WalletOrder::Provision(token, provision(pan("C2"))));
    assert_eq!(name(&pair.order(shard, &other)), "conflict");
    let taken = request(&keys, "two", WalletOrder::Provision(token, provision(pan("C2"))));
    assert_eq!(name(&pair.order(shard, &taken)), "number taken");
    let red = Provision { identification: Identification::Red, ..provision(pan("C2")) };
    let red = request(&keys, "three", WalletOrder::Provision(token, red));
    assert_eq!(name(&pair.order(shard, &red)), "red");
    let stranger = TokenRequestor::from_digits(b"00000000001").unwrap();
    let stranger = Provision { requestor: stranger, ..provision(pan("C2")) };
    let stranger = request(&keys, "four", WalletOrder::Provision(token, stranger));
    assert_eq!(name(&pair.order(shard, &stranger)), "not of requestor");
    assert_eq!(pair.total(Counter::TokenChanged), 1);
}

#[test]
fn an_approval_that_nobody_got_is_reversed_with_the_card() {
    let mut pair = Pair::by(&with_wallet(2));
    for number in 0..8u32 {
        let digits = format!("622848{number:013}");
        let view = made(&mut pair, &format!("order {number}"), provision(&digits));
        pair.request(0, &tap(view.entry.token, number + 1, &[]));
        let connections = [0, 1].map(|shard| pair.connection(shard));
        for (shard, connection) in pair.shards.iter_mut().zip(connections) {
            shard.on_connection_closed(connection);
        }
        pair.answer("00");
        pair.tick(60_000);
        let (_, _, reversal) = pair.forwards.pop().unwrap();
        with_view(&reversal, |seen| {
            assert_eq!(seen.mti().number(), 420);
            assert_eq!(seen.raw(2).unwrap(), digits.as_bytes());
        });
        pair.forwards.clear();
        for (shard, connection) in pair.shards.iter_mut().zip(connections) {
            shard.on_connection_open(connection);
        }
    }
}

/// All shards are asked whose such an answer is; each of them may have a connection of its acquirer.
#[test]
fn an_answer_that_nobody_got_is_handed_on_by_the_shard_of_its_card_only() {
    let mut pair = Pair::by(&with_wallet(2));
    for number in 0..8u32 {
        let view =
            made(&mut pair, &format!("order {number}"), provision(&format!("622848{number:013}")));
        pair.request(0, &tap(view.entry.token, number + 1, &[]));
        let (home, ..) = pair.forwards[0];
        pair.answer("00");
        let (_, _, frame) = pair.responses.last().unwrap().clone();
        let returned = MeshMessage {
            kind: MeshKind::Undeliverable,
            // Another one, which is gone.
            connection: ConnectionId { slot: 7, ..pair.connection(0) },
            header_bytes: 0,
            bytes: &frame,
        };
        for shard in [0, 1] {
            let mut outbox = Outbox::new();
            let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 };
            pair.shards[shard].on_mesh(now, ShardId(1 - shard as u8), returned, &mut outbox);
            let is_respond = |action: &Action| matches!(action, Action::Respond { .. });
            assert_eq!(outbox.actions().iter().any(is_respond), shard == home, "{number}");
        }
    }
}

#[test]
fn a_restart_knows_every_token_and_every_order() {
    let mut before = Journaled::of(with_wallet(1));
    let keys = keys(1);
    let token = keys.number(PREFIX, "one", 0);
    let order = request(&keys, "one", WalletOrder::Provision(token, provision(pan("C1"))));
    let suspend = request(&keys, "two", WalletOrder::Change(token, TokenAction::Suspend));
    let suspended = {
        let world = &mut before.world;
        done(world.shard.on_wallet_request(world.now, &order, &mut world.outbox));
        done(world.shard.on_wallet_request(world.now, &suspend, &mut world.outbox))
    };
    before.take();
    let (mut after, ..) = before.restart_at(2_000);
    let world = &mut after.world;
    let mut ask = |request: &WalletRequest| {
        world.shard.on_wallet_request(world.now, request, &mut world.outbox)
    };
    assert!(done(ask(&order)) == suspended, "the same order again, and nothing is done");
    let other = keys.request("two", b"other", WalletOrder::Change(token, TokenAction::Delete));
    assert_eq!(name(&ask(&other)), "conflict");
    let message = tap(token, 1, &[]);
    let done = world.request(1, &message);
    assert_eq!(done[0].text, "A1 0210 62");
}

#[test]
fn tokens_go_over_to_another_number_of_shards() {
    let config = with_wallet(1);
    let mut one = Journaled::of(config);
    let keys_before = keys(1);
    let mut tokens = Vec::new();
    for number in 0..20 {
        let id = format!("order {number}");
        let token = keys_before.number(PREFIX, &id, 0);
        let order = request(&keys_before, &id, WalletOrder::Provision(token, provision(pan("C1"))));
        let world = &mut one.world;
        tokens.push(done(world.shard.on_wallet_request(world.now, &order, &mut world.outbox)));
    }
    one.take();
    let mut shards = carried_over(&mut one.world.shard, &with_wallet(3), 3);
    let (keys_after, mut outbox) = (keys(3), Outbox::new());
    for view in &tokens {
        let token = view.entry.token;
        let show = request(&keys_after, "", WalletOrder::Show(token));
        for (id, shard) in shards.iter_mut().enumerate() {
            let outcome = shard.on_wallet_request(one.world.now, &show, &mut outbox);
            if id == keys_after.shard_of(token) {
                assert!(done(outcome) == *view);
            } else {
                assert_eq!(name(&outcome), "not found");
            }
        }
    }
    let used =
        (0..3).filter(|id| tokens.iter().any(|it| keys_after.shard_of(it.entry.token) == *id));
    assert_eq!(used.count(), 3);
}
