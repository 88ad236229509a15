//! SIGHUP: limits change while the switch serves; what cannot change, or is wrong, is told.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Folder, GENEROUS, Setup, Switch, run};
use std::path::Path;

/// A limit of each transaction, and one of the codes that a card shows in a day.
fn limits(largest: u32) -> String {
    format!(
        "[[velocity.limit]]\nname = \"codes\"\ncounter = \"qr_day\"\namount_minor_max = 10_000\n\
         [[velocity.limit]]\nname = \"largest_{largest}\"\namount_minor_max = {largest}\n"
    )
}

struct Till {
    client: Client,
    number: u32,
}

impl Till {
    fn of(switch: &Switch) -> Self {
        Self { client: Client::of(switch, Speech::cups()), number: 0 }
    }

    fn pay(&mut self, amount: u32) -> String {
        self.number += 1;
        let message = Message::purchase(self.client.speech(), self.number, self.number);
        self.client.ask(&message.with(4, &format!("{amount:012}"))).text(39)
    }
}

fn find(dir: &Path, stan: &str) -> String {
    let arguments = ["find", dir.to_str().unwrap(), "--stan", stan];
    let found = run(Folder::new(), &arguments);
    found.output + &found.problems
}

#[test]
fn limits_change_at_sighup_and_nothing_else_does() {
    let folder = Folder::new();
    let (log, data) = (folder.path("log"), folder.path("data"));
    tapswitch_key(&folder);
    let sections = format!(
        "{GENEROUS}\n[outcomes]\ndir = \"{}\"\n[keys]\ncard_key_file = \"card.key\"\n[journal]\n\
         data_dir = \"{}\"\nsegment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\n\
         stall_max_ms = 60_000\nalarm_free_percent = 0\nrefuse_free_percent = 0\n",
        log.display(),
        data.display(),
    );
    let setup = Setup { switch: "shards = 2", bank: &sections, ..Setup::default() };
    let text = |limits: &str| setup.text() + limits;
    let file = folder.file("switch.toml", &text(&limits(500)));
    let mut switch = Switch::start(folder, &file);
    let mut till = Till::of(&switch);
    assert_eq!([till.pay(500), till.pay(501)], ["00", "61"]);

    std::fs::write(&file, text(&limits(300))).unwrap();
    assert_eq!(switch.reload(), "epoch 2: every shard judges by 2 limits");
    assert_eq!([till.pay(300), till.pay(301)], ["00", "61"]);

    let wrong = text(&limits(200)) + "counter = \"nobody\"\n[journal2]\n";
    std::fs::write(&file, &wrong).unwrap();
    let said = switch.reload();
    assert!(said.starts_with("epoch 2 stays: 2 problems in "), "{said}");
    let problems = switch.problems();
    for part in ["counter", "nobody", "journal2"] {
        let named = |line: &&str| line.contains("switch.toml:") && line.contains(part);
        assert!(problems.lines().any(|line| named(&line)), "{part}: {problems}");
    }
    assert_eq!([till.pay(300), till.pay(301)], ["00", "61"]);

    for (from, to, what) in [
        ("shards = 2", "shards = 1", "switch.shards has changed, which needs a restart"),
        ("lines = 65_536", "lines = 32_768", "velocity.lines has changed, which needs a restart"),
    ] {
        std::fs::write(&file, text(&limits(200)).replace(from, to)).unwrap();
        assert_eq!(switch.reload(), format!("epoch 2 stays: {what}"));
    }
    let counter = "[[velocity.counter]]\nname = \"hour\"\nwindow_s = 3_600\nsub_windows = 1\n";
    std::fs::write(&file, text("") + counter).unwrap();
    let said = switch.reload();
    assert!(said.starts_with("epoch 2 stays: "), "{said}");
    assert_eq!([till.pay(300), till.pay(301)], ["00", "61"]);
    switch.signal(rustix::process::Signal::TERM);
    let ended = switch.end();
    assert_eq!(ended.code, Some(0), "{}", ended.problems);

    // The log names limits as they were called when they refused.
    assert!(find(&log, "2").contains("limit `largest_500`; code 61"), "{}", find(&log, "2"));
    assert!(find(&log, "4").contains("limit `largest_300`; code 61"), "{}", find(&log, "4"));

    // The next process counts on.
    std::fs::write(&file, text(&limits(300))).unwrap();
    let switch = Switch::start(Folder::new(), &file);
    let mut till = Till { number: 100, ..Till::of(&switch) };
    assert_eq!(till.pay(300), "00");
    let ended = switch.stop();
    assert!(ended.output.contains("configuration epoch 2"), "{}", ended.output);
}

/// A key for the cards in the data directory.
fn tapswitch_key(folder: &Folder) {
    let file = folder.path("card.key");
    let made = run(Folder::new(), &["key", "new", file.to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{}", made.problems);
}

#[test]
fn the_same_file_is_the_same_limits_under_another_number() {
    let mut switch = Setup::default().run();
    assert_eq!(switch.reload(), "epoch 2: every shard judges by 8 limits");
    switch.stop();
}
