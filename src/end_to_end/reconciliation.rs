//! Totals of a real switch with two shards on a data directory: what an acquirer states is in balance
//! or not, the same after a kill, and the same to operators.

use crate::admin::Operated;
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Folder, GENEROUS, Setup, Switch, new_card_key};
use rustix::process::Signal;
use tapswitch_protocol::Mti;

/// Cards; half of them live on the other shard.
const CARDS: u32 = 24;
const REFUNDED: u32 = 5;
const REVERSED: u32 = 7;

fn text(folder: &Folder) -> String {
    let journal = format!(
        "[keys]\ncard_key_file = \"{}\"\n[journal]\ndata_dir = \"{}\"\ndurability = \"strict\"\n\
         segment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\nstall_max_ms = 60_000\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\n",
        folder.path("card.key").display(),
        folder.path("data").display(),
    );
    let switch = "shards = 2\ncutoff = \"23:00\"";
    Setup { switch, bank: GENEROUS, issuers: &journal, ..Setup::default() }.text()
}

fn start(folder: &Folder) -> Switch {
    let of_switch = Folder::new();
    let file = of_switch.file("switch.toml", &text(folder));
    Switch::start(of_switch, &file)
}

/// The same transaction as a message of another type.
fn advice(of: &Message, mti: u16, number: u32, more: &[(u8, &str)]) -> Message {
    let stan = format!("{number:06}");
    let all = [2, 3, 4, 7, 11, 12, 13, 18, 22, 25, 32, 33, 37, 41, 42, 49];
    let mut fields: Vec<(u8, String)> = all.iter().map(|&field| (field, of.text(field))).collect();
    for &(field, value) in [(11, stan.as_str())].iter().chain(more) {
        fields.retain(|(other, _)| *other != field);
        fields.push((field, value.to_owned()));
    }
    fields.sort_by_key(|(field, _)| *field);
    let fields: Vec<(u8, &str)> =
        fields.iter().map(|(field, value)| (*field, value.as_str())).collect();
    Message::written(Speech::cups(), Mti::from_number(mti).unwrap(), &fields)
}

/// DE 39 and 66 of what these totals are answered, and its date.
fn reconcile(client: &mut Client, number: u32, debits: u32) -> (String, String, String) {
    let stan = format!("{number:06}");
    let count = |count: u32| format!("{count:010}");
    let amount = |count: u32| format!("{:016}", 100 * count);
    let net = format!("D{:016}", 100 * (CARDS - REFUNDED - REVERSED));
    let (numbers, amounts) = ([REFUNDED, 0, debits, REVERSED], [REFUNDED, 0, CARDS, REVERSED]);
    let (numbers, amounts) = (numbers.map(count), amounts.map(amount));
    let fields = [
        (7, "0704093015"),
        (11, stan.as_str()),
        (33, "03330000"),
        (74, &numbers[0]),
        (75, &numbers[1]),
        (76, &numbers[2]),
        (77, &numbers[3]),
        (86, &amounts[0]),
        (87, &amounts[1]),
        (88, &amounts[2]),
        (89, &amounts[3]),
        (97, &net),
    ];
    let answer =
        client.ask(&Message::written(Speech::cups(), Mti::from_number(500).unwrap(), &fields));
    assert_eq!(answer.mti().to_string(), "0510");
    (answer.text(39), answer.text(66), answer.text(15))
}

/// `None`: the date ended meanwhile.
fn totals_over_a_kill() -> Option<()> {
    let folder = Folder::new();
    new_card_key(&folder);
    let first = start(&folder);
    let mut client = Client::of(&first, Speech::cups());
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    let mut purchases = Vec::new();
    for card in 0..CARDS {
        let purchase = Message::purchase(Speech::cups(), card, next());
        assert_eq!(client.ask(&purchase).text(39), "00");
        purchases.push(purchase);
    }
    for of in &purchases[..REFUNDED as usize] {
        let refund = advice(of, 220, next(), &[(3, "200000")]);
        assert_eq!(client.ask(&refund).outcome(), ("0230".into(), "00".into()));
    }
    for of in &purchases[(CARDS - REVERSED) as usize..] {
        let original =
            format!("0200{}{}{:0>11}{:0>11}", of.text(11), of.text(7), of.text(32), of.text(33));
        let reversal = advice(of, 420, next(), &[(90, &original)]);
        assert_eq!(client.ask(&reversal).outcome(), ("0430".into(), "00".into()));
        assert_eq!(client.ask(&reversal).outcome(), ("0430".into(), "00".into()), "again");
    }
    let (code, balance, date) = reconcile(&mut client, next(), CARDS);
    first.signal(Signal::KILL);
    first.end();
    let second = start(&folder);
    let mut client = Client::of(&second, Speech::cups());
    let after = reconcile(&mut client, next(), CARDS);
    let wrong = reconcile(&mut client, next(), CARDS + 1);
    second.stop();
    if after.2 != date || wrong.2 != date {
        return None;
    }
    assert_eq!((code.as_str(), balance.as_str()), ("00", "1"));
    assert_eq!((after.0.as_str(), after.1.as_str()), ("00", "1"), "after a kill");
    assert_eq!((wrong.0.as_str(), wrong.1.as_str()), ("95", "2"));
    Some(())
}

#[test]
fn totals_are_in_balance_over_two_shards_and_after_a_kill() {
    // A date ends once a day: not while it is done again.
    totals_over_a_kill().or_else(totals_over_a_kill).expect("a date lasts longer than this");
}

/// `None`: the date ended meanwhile.
fn totals_shown_to_operators() -> Option<()> {
    let switch = "shards = 2\ncutoff = \"23:00\"";
    let setup = Setup { switch, bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "", "");
    let shown = || {
        let shown = operated.ctl(&["show", "totals", "--json"]).output;
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()
    };
    let date = shown()["date"].as_str().unwrap().to_owned();
    let mut client = Client::of(&operated.switch, Speech::cups());
    let mut next = 0;
    let mut purchases = Vec::new();
    for card in 0..CARDS {
        next += 1;
        let purchase = Message::purchase(Speech::cups(), card, next);
        assert_eq!(client.ask(&purchase).text(39), "00");
        purchases.push(purchase);
    }
    for of in &purchases[..REVERSED as usize] {
        next += 1;
        let original =
            format!("0200{}{}{:0>11}{:0>11}", of.text(11), of.text(7), of.text(32), of.text(33));
        let reversal = advice(of, 420, next, &[(90, &original)]);
        assert_eq!(client.ask(&reversal).outcome(), ("0430".into(), "00".into()));
    }
    if shown()["date"] != date {
        operated.switch.stop();
        return None;
    }
    let acquirer = |what: &str, sort: &str| {
        format!("tapswitch_acquirer_day_{what}{{acquirer=\"cups\",sort=\"{sort}\"}}")
    };
    operated.await_metric(&acquirer("count", "debits"), u64::from(CARDS));
    operated.await_metric(&acquirer("amount_minor", "debits"), u64::from(100 * CARDS));
    operated.await_metric(&acquirer("count", "debits_reversed"), u64::from(REVERSED));
    let number: u64 = date.replace('-', "").parse().unwrap();
    assert_eq!(operated.metric("tapswitch_settlement_date"), number);
    let all = shown();
    let rows: Vec<&serde_json::Value> =
        all["rows"].as_array().unwrap().iter().filter(|row| row["date"] == date).collect();
    let sum = |of: &str, what: &str, part: &str| {
        let rows = rows.iter().filter(|row| row["of"] == of);
        rows.map(|row| row[what][part].as_u64().unwrap()).sum::<u64>()
    };
    for of in ["acquirer", "issuer"] {
        assert_eq!(sum(of, "debits", "count"), u64::from(CARDS), "{of}");
        assert_eq!(sum(of, "debits", "amount_minor"), u64::from(100 * CARDS), "{of}");
        assert_eq!(sum(of, "debits_reversed", "amount_minor"), u64::from(100 * REVERSED), "{of}");
        assert_eq!(sum(of, "credits", "count"), 0, "{of}");
    }
    let status: serde_json::Value =
        serde_json::from_str(&operated.ctl(&["show", "totals", "--json"]).output).unwrap();
    assert_eq!(status["cutoff"], "23:00 UTC+08:00");
    let table = operated.ctl(&["show", "totals"]).output;
    let begins = format!("settlement date {date}, cut-off 23:00 UTC+08:00, ");
    assert!(table.starts_with(&begins), "{table}");
    let row = table.lines().find(|line| line.contains("acquirer  cups")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    // 24 of 1.00, of which 7 are reversed.
    assert_eq!(cells[3..7], ["24", "24.00", "7", "7.00"], "{table}");
    assert_eq!(cells.last(), Some(&"17.00"), "{table}");
    operated.switch.stop();
    Some(())
}

#[test]
fn operators_see_the_totals_of_all_shards() {
    totals_shown_to_operators().or_else(totals_shown_to_operators).expect("a date lasts longer");
}
