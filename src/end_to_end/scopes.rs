//! A merchant's limit over two shards, through a kill and another number of shards: the acquirer is
//! never told of more approvals than the limit, and of most of them. A token's: of exactly so many. And
//! payments by code, at the level of their requestor.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Folder, GENEROUS, Setup, Switch, run};
use rustix::process::Signal;
use std::ffi::OsStr;

/// Purchases of 1.00 within it.
const LIMIT: usize = 200;

fn configuration(data: &Folder, shards: usize) -> String {
    let limits = format!(
        "[[velocity.counter]]\nname = \"shop_month\"\nscope = \"merchant\"\nwindow_s = 2_678_400\n\
         [[velocity.limit]]\nname = \"shop\"\ncounter = \"shop_month\"\namount_minor_max = {}\n\
         code = \"57\"\n",
        LIMIT * 100,
    );
    lasting(data, shards, &limits)
}

/// A switch that keeps what it counts.
fn lasting(data: &Folder, shards: usize, limits: &str) -> String {
    let [key, dir, log] = ["card.key", "data", "log"].map(|name| data.path(name));
    let sections = format!(
        "{limits}[keys]\ncard_key_file = \"{}\"\n[outcomes]\ndir = \"{}\"\n[journal]\n\
         data_dir = \"{}\"\nsegment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\n\
         stall_max_ms = 60_000\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\n",
        key.display(),
        log.display(),
        dir.display(),
    );
    let setup = Setup {
        switch: &format!("shards = {shards}\nengine = \"tokio\""),
        bank: GENEROUS,
        issuers: &sections,
        ..Setup::default()
    };
    setup.text()
}

/// A folder with a card key that lasts.
fn with_a_key() -> Folder {
    let data = Folder::new();
    let key = data.path("card.key");
    let made = run(Folder::new(), &[OsStr::new("key"), OsStr::new("new"), key.as_os_str()]);
    assert_eq!(made.code, Some(0), "{}", made.problems);
    data
}

fn start(text: &str) -> Switch {
    let folder = Folder::new();
    let file = folder.file("switch.toml", text);
    Switch::start(folder, &file)
}

/// How many purchases of so many, by cards of all shards, are approved; the others are 57.
fn approved(switch: &Switch, numbers: std::ops::Range<u32>) -> usize {
    let mut client = Client::of(switch, Speech::cups());
    let mut approved = 0;
    for part in numbers.collect::<Vec<_>>().chunks(10) {
        let requests =
            part.iter().map(|&number| Message::purchase(client.speech(), number, number));
        client.send(&requests.flat_map(|request| request.frame()).collect::<Vec<_>>());
        let codes = client.answers(part.len());
        let codes: Vec<String> = codes.iter().map(|answer| answer.text(39)).collect();
        assert!(codes.iter().all(|code| code == "00" || code == "57"), "{codes:?}");
        approved += codes.iter().filter(|code| *code == "00").count();
    }
    approved
}

#[test]
fn the_sum_of_all_shards_stays_within_a_merchants_limit() {
    let data = with_a_key();
    let text = configuration(&data, 2);
    let file = data.file("two.toml", &text);
    let checked = run(Folder::new(), &[OsStr::new("check"), file.as_os_str()]);
    let said = "limits of these are by escrow: never passed, and may decline early with 2 shards";
    assert!(checked.output.contains(said), "{}", checked.output);
    let each = "shop: each shard uses 50.00 without asking";
    assert!(checked.output.contains(each), "{}", checked.output);

    let switch = start(&text);
    let mut all = approved(&switch, 1..121);
    assert!(all >= LIMIT / 2, "each shard is lent what it needs: {all}");
    switch.signal(Signal::KILL);
    switch.end();
    // What was used and lent is known again.
    let switch = start(&text);
    all += approved(&switch, 200..350);
    assert!((LIMIT * 6 / 10..=LIMIT).contains(&all), "{all}");
    switch.signal(Signal::KILL);
    switch.end();
    let switch = start(&configuration(&data, 3));
    switch.said("carried     counter shop_month is carried over");
    all += approved(&switch, 400..600);
    assert!((LIMIT * 6 / 10..=LIMIT).contains(&all), "{all}");
    switch.stop();

    // Why: by the limit's name.
    let log = data.path("log");
    let arguments = [OsStr::new("find"), log.as_os_str(), OsStr::new("--stan"), OsStr::new("599")];
    let found = run(Folder::new(), &arguments);
    assert!(found.output.contains("limit `shop`; code 57"), "{}{}", found.output, found.problems);
}

/// Payments with one token.
const TAPS: usize = 7;

/// DE 63 with a token and its requestor.
fn paid_by(token: &str, requestor: &str) -> String {
    let mut objects = "\u{1}\u{1}1".to_owned();
    for (tag, digits) in [('\u{2}', token), ('\u{6}', requestor)] {
        objects.push(tag);
        objects.push(char::from(u8::try_from(digits.len()).unwrap()));
        objects.push_str(digits);
    }
    format!("TK{:03}{objects}", objects.len())
}

/// How often each of twelve cards may pay with its token in ten attempts, over two connections.
fn taps(switch: &Switch, first: u32) -> Vec<usize> {
    let mut clients = [Client::of(switch, Speech::cups()), Client::of(switch, Speech::cups())];
    let mut approved = vec![0; 12];
    for round in 0..10 {
        let client = &mut clients[round as usize % 2];
        let requests = (0..12).map(|card| {
            let token_data = paid_by(&format!("62353600000000{card:05}"), "00012345678");
            let number = first + round * 12 + card;
            Message::purchase(client.speech(), card, number).and(63, &token_data).frame()
        });
        client.send(&requests.flatten().collect::<Vec<_>>());
        for answer in client.answers(12) {
            let code = answer.text(39);
            assert!(code == "00" || code == "65", "{code}");
            let card = (answer.number() - first) % 12;
            approved[card as usize] += usize::from(code == "00");
        }
    }
    approved
}

#[test]
fn a_tokens_limit_admits_exactly_so_many_over_two_shards_a_kill_and_three_shards() {
    let data = with_a_key();
    let limits = format!(
        "[[velocity.counter]]\nname = \"token_month\"\nscope = \"token\"\nwindow_s = 2_678_400\n\
         [[velocity.limit]]\nname = \"taps\"\ncounter = \"token_month\"\ncount_max = {TAPS}\n",
    );
    let text = lasting(&data, 2, &limits);
    let file = data.file("two.toml", &text);
    let checked = run(Folder::new(), &[OsStr::new("check"), file.as_os_str()]);
    let said = "limits of tokens are exact: a token is counted where its card is";
    assert!(checked.output.contains(said), "{}", checked.output);
    assert!(!checked.output.contains("escrow"), "{}", checked.output);

    let switch = start(&text);
    assert_eq!(taps(&switch, 1_000), [TAPS; 12]);
    switch.signal(Signal::KILL);
    switch.end();
    let switch = start(&text);
    assert_eq!(taps(&switch, 2_000), [0; 12]);
    switch.stop();
    let switch = start(&lasting(&data, 3, &limits));
    switch.said("carried     counter token_month is carried over");
    assert_eq!(taps(&switch, 3_000), [0; 12]);
    // The card pays on without it.
    let mut client = Client::of(&switch, Speech::cups());
    let plain = Message::purchase(client.speech(), 1, 4_000);
    assert_eq!(client.ask(&plain).text(39), "00");
    switch.stop();
}

#[test]
fn payments_by_code_go_at_the_level_of_their_requestor_which_a_reload_changes() {
    let bank = format!(
        "{GENEROUS}\nbalance_minor = [90_000_000, 90_000_000]\n\
         credit_line_minor = [90_000_000, 90_000_000]"
    );
    let setup = Setup {
        switch: "shards = 2",
        acquirer: "qr_code_de = 48\nqr_code_static = \"ST\"\nqr_code_dynamic = \"DY\"",
        bank: &bank,
        ..Setup::default()
    };
    let text = |level: &str| {
        let requestor = format!("[requestor.mi-pay]\nid = \"00012345678\"\nqr_level = \"{level}\"");
        format!("{}\n{requestor}\n", setup.text())
    };
    let folder = Folder::new();
    let file = folder.file("switch.toml", &text("B"));
    let mut switch = Switch::start(folder, &file);
    let mut client = Client::of(&switch, Speech::cups());
    let mut number = 0;
    let mut pay = |card: u32, code: &str, requestor: &str, cny: u32| {
        number += 1;
        let token_data = paid_by("6235360000000000017", requestor);
        let message = Message::purchase(client.speech(), card, number)
            .with(22, "032")
            .with(4, &format!("{:012}", cny * 100))
            .and(48, code)
            .and(63, &token_data);
        client.ask(&message).text(39)
    };
    let (mi_pay, other) = ("00012345678", "00087654321");
    assert_eq!(pay(1, "DY", mi_pay, 3_000), "00");
    assert_eq!(pay(2, "DY", other, 3_000), "61");
    assert_eq!(pay(2, "DY", other, 1_000), "00");
    assert_eq!(pay(3, "ST", mi_pay, 501), "61");
    assert_eq!(pay(3, "ST", mi_pay, 500), "00");
    assert_eq!(pay(3, "DY", mi_pay, 4_501), "61", "one day over all codes");
    assert_eq!(pay(3, "DY", mi_pay, 4_500), "00");

    std::fs::write(&file, text("C")).unwrap();
    assert_eq!(switch.reload(), "epoch 2: every shard judges by 8 limits");
    assert_eq!(pay(4, "DY", mi_pay, 3_000), "61");
    assert_eq!(pay(4, "DY", mi_pay, 1_000), "00");
    switch.stop();
}
