//! A merchant's limit over two shards, through a kill and another number of shards: the acquirer is
//! never told of more approvals than the limit, and of most of them.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Folder, GENEROUS, Setup, Switch, run};
use rustix::process::Signal;
use std::ffi::OsStr;

/// Purchases of 1.00 within it.
const LIMIT: usize = 200;

fn configuration(data: &Folder, shards: usize) -> String {
    let [key, dir, log] = ["card.key", "data", "log"].map(|name| data.path(name));
    let sections = format!(
        "[[velocity.counter]]\nname = \"shop_month\"\nscope = \"merchant\"\nwindow_s = 2_678_400\n\
         [[velocity.limit]]\nname = \"shop\"\ncounter = \"shop_month\"\namount_minor_max = {}\n\
         code = \"57\"\n[keys]\ncard_key_file = \"{}\"\n[outcomes]\ndir = \"{}\"\n[journal]\n\
         data_dir = \"{}\"\nsegment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\n\
         stall_max_ms = 60_000\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\n",
        LIMIT * 100,
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
    let data = Folder::new();
    let key = data.path("card.key");
    let made = run(Folder::new(), &[OsStr::new("key"), OsStr::new("new"), key.as_os_str()]);
    assert_eq!(made.code, Some(0), "{}", made.problems);
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
