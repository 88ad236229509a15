//! Every kind of transaction as rows of a script.
//!
//! `mti de3 card amount stan option… -> code option…`. Left: `90=N` names the transaction with STAN
//! N, `38=N` carries its approval code, `rrn=N` its DE 37, `pin`, `sm`, `fx` (US dollars), `bill=A`
//! (DE 6 in yuan). Right: `38` an approval code is there, `bal=A` DE 54 says so.

use super::{Desk, Fields, OPENING, willing, write};
use crate::bank::Flows;
use crate::config::BankBehaviour;
use crate::shard::IssuerId;
use std::collections::BTreeMap;
use tapswitch_protocol::{Dialect, ResponseCode};

const TIME: &str = "0704093015";

/// C0, C1 … are the first bank's, D0 … the second's, X0 … nobody's.
fn pan(card: &str) -> String {
    let (bank, number) = card.split_at(1);
    let number: u64 = number.parse().unwrap();
    match bank {
        "C" => format!("621626{number:013}"),
        "D" => format!("622588{number:010}"),
        "S" => format!("621626{number:010}"),
        _ => format!("629999{number:013}"),
    }
}

/// Runs a script and returns the desk for further questions.
fn run(behaviour: &BankBehaviour, script: &str) -> Desk {
    let mut desk = Desk::new(behaviour);
    let mut approvals: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (left, right) = line.split_once("->").unwrap();
        let words: Vec<_> = left.split_whitespace().collect();
        let [mti, de3, card, amount, stan, ref options @ ..] = words[..] else {
            panic!("five columns: {line}")
        };
        let mut fields = base_fields(de3, card, amount, stan);
        for option in options {
            put_option(&mut fields, option, &approvals);
        }
        fields.sort_by_key(|(field, _)| *field);
        let issuer = u8::from(card.starts_with('D'));
        let answer = desk.ask(issuer, &write(Dialect::cups(), mti.parse().unwrap(), &fields));
        if let Some(approval) = answer.get(38) {
            approvals.insert(stan.to_owned(), approval.to_vec());
        }
        let mut seen = vec![answer.code().to_owned()];
        seen.extend(answer.get(38).map(|_| "38".to_owned()));
        if let Some(balance) = answer.get(54) {
            let text = str::from_utf8(balance).unwrap();
            let sign = if text.get(7..8) == Some("D") { "-" } else { "" };
            let amount = text[8..].trim_start_matches('0');
            seen.push(format!("bal={sign}{amount}"));
        }
        assert_eq!(
            seen.join(" "),
            right.split_whitespace().collect::<Vec<_>>().join(" "),
            "{line}"
        );
        desk.check_books();
    }
    desk
}

fn base_fields(de3: &str, card: &str, amount: &str, stan: &str) -> Fields {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut fields = vec![
        (2, text(&pan(card))),
        (3, text(de3)),
        (7, text(TIME)),
        (11, text(stan)),
        (37, text(&format!("{stan:0>12}"))),
        (49, text("156")),
    ];
    if amount != "." {
        fields.insert(2, (4, text(amount)));
    }
    fields
}

fn put_option(fields: &mut Fields, option: &str, approvals: &BTreeMap<String, Vec<u8>>) {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match name {
        "90" => {
            let text = format!("0200{value:0>6}{TIME}{:022}", 0);
            fields.push((90, text.into_bytes()));
        }
        "38" => {
            let unknown = b"000000".to_vec();
            fields.push((38, approvals.get(value).cloned().unwrap_or(unknown)));
        }
        "pin" => fields.push((52, vec![9; 8])),
        "sm" => fields.push((63, [&b"TK003abcSM016"[..], &[7; 16]].concat())),
        "fx" => fields.retain(|(field, _)| *field != 49),
        "bill" => {
            fields.push((6, value.as_bytes().to_vec()));
            fields.push((51, b"156".to_vec()));
        }
        _ => panic!("option {option}"),
    }
    if name == "fx" {
        fields.push((49, b"840".to_vec()));
    }
}

#[test]
fn purchase_cash_and_balance() {
    let desk = run(
        &willing(),
        "0200 000000 C1 30000 1      -> 00 38
         0200 010000 C1 20000 2      -> 00 38
         0200 300000 C1 .     3      -> 00 bal=50000
         0200 310000 D1 .     4      -> 00 bal=100000
         0200 000000 C1 50001 5      -> 51
         0200 000000 C1 50000 6      -> 00 38
         0200 300000 C1 .     7      -> 00 bal=
         0200 330000 C1 .     8      -> 00
         0100 330000 C1 .     9      -> 00",
    );
    let flows = desk.banks.flows(IssuerId(0)).unwrap();
    assert_eq!((flows.approved.count, flows.approved.amount_minor), (3, 100_000));
    assert_eq!((flows.inquiries, flows.declined(ResponseCode::INSUFFICIENT_FUNDS)), (4, 1));
}

#[test]
fn refusals() {
    run(
        &willing(),
        "0200 000000 X1 100   1      -> 14
         0200 000000 S1 100   2      -> 14
         0200 000000 C1 0     3      -> 13
         0200 000000 C1 .     4      -> 30
         0200 210000 C1 100   5      -> 12
         0220 300000 C1 .     6      -> 12
         0202 000000 C1 100   7      -> 12
         0300 000000 C1 100   8      -> 12
         0200 000000 C1 100   9 fx   -> 57
         0200 000000 C1 100  10 fx bill=700 -> 00 38
         0200 300000 C1 .    11      -> 00 bal=99300",
    );
}

#[test]
fn a_repeat_is_answered_the_same_without_money() {
    let desk = run(
        &willing(),
        "0200 000000 C1 60000 1      -> 00 38
         0200 000000 C1 60000 1      -> 00 38
         0201 000000 C1 60000 1      -> 00 38
         0200 000000 C1 60001 1      -> 94
         0220 200000 C1 60000 1      -> 94
         0200 000000 C1 50000 2      -> 51
         0220 200000 C1 20000 3      -> 00
         0200 000000 C1 50000 2      -> 51
         0220 200000 C1 20000 3      -> 00
         0200 300000 C1 .     4      -> 00 bal=60000",
    );
    assert_eq!(desk.banks.flows(IssuerId(0)).unwrap().repeats, 4);
}

#[test]
fn a_reversal_gives_back_once() {
    let desk = run(
        &willing(),
        "0200 000000 C1 30000 1      -> 00 38
         0420 000000 C1 30000 2 90=1 -> 00
         0420 000000 C1 30000 2 90=1 -> 00
         0400 000000 C1 30000 3 90=1 -> 00
         0200 300000 C1 .     4      -> 00 bal=100000
         0200 000000 C1 30000 1      -> 12
         0200 000000 C1 999999 5     -> 51
         0420 000000 C1 999999 6 90=5 -> 00
         0420 000000 C2 30000 7 90=1 -> 00
         0200 300000 C1 .     8      -> 00 bal=100000",
    );
    let flows = desk.banks.flows(IssuerId(0)).unwrap();
    assert_eq!((flows.reversed.count, flows.reversed.amount_minor), (1, 30_000));
    assert_eq!(flows.reversals_unmatched, 1);
}

#[test]
fn a_reversal_without_de_90_names_itself() {
    run(
        &willing(),
        "0200 000000 C1 30000 1      -> 00 38
         0400 000000 C1 30000 1      -> 00
         0200 300000 C1 .     2      -> 00 bal=100000",
    );
}

#[test]
fn a_reversal_before_its_original_leaves_a_tombstone() {
    run(
        &willing(),
        "0420 000000 C1 30000 2 90=1 -> 00
         0420 000000 C1 30000 2 90=1 -> 00
         0200 000000 C1 30000 1      -> 12
         0400 000000 C1 30000 4 90=3 -> 25
         0400 000000 C1 30000 4 90=3 -> 25
         0200 000000 C1 30000 3      -> 12
         0200 300000 C1 .     5      -> 00 bal=100000",
    );
}

#[test]
fn voids() {
    run(
        &willing(),
        "0200 000000 C1 30000 1      -> 00 38
         0200 200000 C1 29999 2 90=1 -> 13
         0200 200000 C1 30000 3 90=1 -> 00
         0200 200000 C1 30000 3 90=1 -> 00
         0200 200000 C1 30000 4 90=1 -> 12
         0200 200000 C1 30000 5 90=9 -> 25
         0200 300000 C1 .     6      -> 00 bal=100000
         0420 200000 C1 30000 7 90=3 -> 00
         0200 300000 C1 .     8      -> 00 bal=70000
         0420 200000 C1 30000 7 90=3 -> 00
         0200 200000 C1 30000 9 38=1 -> 00
         0200 300000 C1 .    10      -> 00 bal=100000
         0200 200000 C1 30000 11 38=1 -> 25",
    );
}

#[test]
fn a_purchase_voided_and_reversed_stays_given_back() {
    run(
        &willing(),
        "0200 000000 C1 30000 1      -> 00 38
         0200 200000 C1 30000 2 90=1 -> 00
         0420 000000 C1 30000 3 90=1 -> 00
         0420 200000 C1 30000 4 90=2 -> 00
         0200 300000 C1 .     5      -> 00 bal=100000
         0200 000000 C1 30000 1      -> 12",
    );
}

#[test]
fn a_completion_releases_its_hold() {
    let desk = run(
        &willing(),
        "0100 030000 C1 60000 1      -> 00 38
         0200 000000 C1 50000 2      -> 51
         0200 300000 C1 .     3      -> 00 bal=40000
         0220 000000 C1 14500 4 38=1 -> 00
         0200 300000 C1 .     5      -> 00 bal=85500
         0220 000000 C1 14500 4 38=1 -> 00
         0200 000000 C1 10000 6 38=1 -> 25
         0420 030000 C1 60000 7 90=1 -> 00
         0400 030000 C1 60000 8 90=1 -> 12
         0200 300000 C1 .     9      -> 00 bal=85500
         0100 000000 C1 85500 10     -> 00 38
         0200 000000 C1 85501 11 38=10 -> 51
         0200 000000 C1 85500 12 38=10 -> 00
         0420 000000 C1 85500 13 90=12 -> 00
         0200 300000 C1 .    14      -> 00 bal=85500",
    );
    let flows = desk.banks.flows(IssuerId(0)).unwrap();
    assert_eq!((flows.holds.count, flows.holds_ended.count), (2, 2));
}

#[test]
fn a_completion_releases_what_increased_its_hold_too() {
    run(
        &willing(),
        "0100 030000 C1 60000 1      -> 00 38
         0100 030000 C1 10000 2 38=1 -> 00 38
         0200 300000 C1 .     3      -> 00 bal=30000
         0200 000000 C1 65000 4 38=1 -> 00
         0200 300000 C1 .     5      -> 00 bal=35000",
    );
}

#[test]
fn a_hold_is_cancelled_or_reversed() {
    run(
        &willing(),
        "0100 030000 D1 60000 1      -> 00 38
         0100 200000 D1 60000 2 38=1 -> 00
         0100 030000 D1 90000 3      -> 00 38
         0420 030000 D1 90000 4 90=3 -> 00
         0420 200000 D1 60000 5 90=2 -> 00
         0200 300000 D1 .     6      -> 00 bal=40000
         0220 000000 D1 50000 7 38=1 -> 00
         0200 300000 D1 .     8      -> 00 bal=50000",
    );
}

#[test]
fn a_notice_moves_nothing() {
    run(
        &willing(),
        "0620 000000 C1 10000 1      -> 00
         0621 000000 C1 10000 1      -> 00
         0200 300000 C1 .     2      -> 00 bal=100000",
    );
}

#[test]
fn advices_are_taken_even_below_zero() {
    run(
        &willing(),
        "0220 000000 C1 150000 1     -> 00
         0200 300000 C1 .     2      -> 00 bal=-50000
         0200 000000 C1 1     3      -> 51
         0220 200000 C1 60000 4      -> 00
         0200 300000 C1 .     5      -> 00 bal=10000
         0420 200000 C1 60000 6 90=4 -> 00
         0200 300000 C1 .     7      -> 00 bal=-50000",
    );
}

#[test]
fn declines_that_are_drawn() {
    let always = 1_000_000;
    let script = "0200 000000 C1 100 1 pin -> 54
                  0220 000000 C1 100 2     -> 00
                  0420 000000 C1 100 3 90=1 -> 00";
    run(&BankBehaviour { expired_ppm: always, ..willing() }, script);
    let script = "0200 000000 C1 100 1 pin -> 55
                  0200 000000 C1 100 2 sm  -> 55
                  0200 300000 C1 .   3 pin -> 55
                  0200 000000 C1 100 4     -> 00 38";
    run(&BankBehaviour { wrong_pin_ppm: always, ..willing() }, script);
    let script = "0100 030000 C1 100 1     -> 51
                  0200 300000 C1 .   2     -> 00 bal=100000";
    run(&BankBehaviour { insufficient_funds_ppm: always, ..willing() }, script);
    let script = "0200 330000 C1 .   1     -> 05
                  0200 000000 C1 100 2     -> 05";
    run(&BankBehaviour { do_not_honor_ppm: always, ..willing() }, script);
    let script = "0200 000000 C1 100 1     -> 14
                  0220 000000 C1 100 2     -> 14
                  0200 300000 C1 .   3     -> 14
                  0420 000000 C1 100 4 90=1 -> 00";
    run(&BankBehaviour { unknown_card_ppm: always, ..willing() }, script);
}

#[test]
fn the_first_rate_in_the_order_wins() {
    let half = 500_000;
    let behaviour = BankBehaviour { expired_ppm: half, do_not_honor_ppm: half, ..willing() };
    let mut desk = Desk::new(&behaviour);
    let mut counts = [0; 2];
    for stan in 1..=400 {
        let fields = base_fields("000000", "C1", "1", &stan.to_string());
        let answer = desk.ask(0, &write(Dialect::cups(), 200, &fields));
        counts[usize::from(answer.code() == "54")] += 1;
        assert!(["05", "54"].contains(&answer.code()));
    }
    assert!(counts.iter().all(|&count| count > 140), "{counts:?}");
}

#[test]
fn a_full_table_refuses_new_cards_only() {
    let mut desk = Desk { banks: super::banks(42, &willing(), 2), ..Desk::new(&willing()) };
    let mut ask = |card, stan: &str| {
        let fields = base_fields("000000", card, "100", stan);
        desk.ask(0, &write(Dialect::cups(), 200, &fields)).code().to_owned()
    };
    let codes = ["C1", "C2", "C3", "C1"].map(|card| ask(card, card.get(1..).unwrap()));
    assert_eq!(codes, ["00", "00", "96", "00"]);
    assert_eq!(ask("C2", "9"), "00");
    desk.check_books();
    assert_eq!(desk.banks.ledgers()[0].1.closing_minor, 2 * i128::from(OPENING) - 300);
    assert_eq!(desk.banks.ledgers()[1].1.flows, Flows::default());
}
