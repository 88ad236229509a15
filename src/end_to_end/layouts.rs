//! A killed switch is started again with another number of shards and other counters, on the data
//! directory that it left.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Folder, GENEROUS, Setup, Switch, run};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::path::Path;

const CARDS: u32 = 24;
/// Longer than the test, whenever it begins.
const WINDOW: &str = "window_s = 2_678_400\nsub_windows = 2";

/// A limit of two approvals, and perhaps one of three on another counter.
fn configuration(data: &Folder, shards: usize, more: &str) -> String {
    let (key, dir) = (data.path("card.key"), data.path("data"));
    let rule = |name: &str, count_max: u32| {
        format!(
            "[[velocity.counter]]\nname = \"{name}\"\n{WINDOW}\n[[velocity.limit]]\n\
             name = \"{name}\"\ncounter = \"{name}\"\ncount_max = {count_max}\n"
        )
    };
    let keys = format!("[keys]\ncard_key_file = \"{}\"\n", key.display());
    let journal = format!(
        "[journal]\ndata_dir = \"{}\"\nsegment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\n\
         stall_max_ms = 60_000\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\ncrashes_max = 0\n",
        dir.display()
    );
    let rules = if more.is_empty() { String::new() } else { rule(more, 3) };
    let setup = Setup {
        switch: &format!("shards = {shards}\nengine = \"tokio\""),
        bank: GENEROUS,
        issuers: &format!("{}{rules}{keys}{journal}", rule("twice", 2)),
        ..Setup::default()
    };
    setup.text()
}

fn make_key(data: &Folder) {
    let key = data.path("card.key");
    let made = run(Folder::new(), &[OsStr::new("key"), OsStr::new("new"), key.as_os_str()]);
    assert_eq!(made.code, Some(0), "{}", made.problems);
}

fn start(text: &str) -> Switch {
    let folder = Folder::new();
    let file = folder.file("switch.toml", text);
    Switch::start(folder, &file)
}

fn verify(folder: &Path, generation: u32) {
    let arguments = [OsStr::new("journal"), OsStr::new("verify"), folder.as_os_str()];
    let ended = run(Folder::new(), &arguments);
    assert_eq!((ended.code, ended.problems.as_str()), (Some(0), ""), "{}", ended.output);
    let wanted = format!("generation {generation}: the layout was changed\ncarried   from");
    assert!(ended.output.contains(&wanted), "{}", ended.output);
}

/// The `number`th purchase of each card.
fn purchases(number: u32) -> impl Iterator<Item = Message> {
    (0..CARDS).map(move |card| Message::purchase(Speech::cups(), card, 100 * number + card))
}

/// What stays the same over a restart: code, approval, and all else but times of the answer.
fn told(answer: &Message) -> (String, String, String) {
    (answer.text(39), answer.text(38), answer.text(37))
}

#[test]
fn other_shards_and_counters_go_on_with_what_was_known() {
    let data = Folder::new();
    make_key(&data);
    let switch = start(&configuration(&data, 1, ""));
    let mut client = Client::of(&switch, Speech::cups());
    let mut known = Vec::new();
    for request in purchases(1).chain(purchases(2)) {
        let answer = client.ask(&request);
        assert_eq!(answer.text(39), "00");
        known.push((request, told(&answer)));
    }
    switch.signal(Signal::KILL);
    assert_eq!(switch.end().code, None);

    for (generation, (shards, more, carried)) in (2..).zip([
        (2, "thrice", "shards: 1 before, 2 now"),
        (2, "", "counter thrice is gone and left behind"),
        (1, "thrice", "shards: 2 before, 1 now"),
    ]) {
        let switch = start(&configuration(&data, shards, more));
        switch.said(&format!("carried     {carried}"));
        switch.said("carried     counter twice is carried over");
        let mut client = Client::of(&switch, Speech::cups());
        for (request, answer) in &known {
            assert_eq!(told(&client.ask(request)), *answer, "the same answer again");
        }
        for request in purchases(3 + shards as u32) {
            assert_eq!(client.ask(&request).text(39), "65", "two are counted");
        }
        let new = Message::purchase(Speech::cups(), CARDS + shards as u32, 90 + shards as u32);
        client.ask(&new);
        switch.signal(Signal::KILL);
        switch.end();
        verify(&data.path("data"), generation);
    }
    // The same layout again: nothing is carried over a second time.
    let switch = start(&configuration(&data, 1, "thrice"));
    let mut client = Client::of(&switch, Speech::cups());
    for (request, answer) in &known {
        assert_eq!(told(&client.ask(request)), *answer);
    }
    drop(client);
    let generations = std::fs::read_dir(data.path("data")).unwrap();
    let names = generations.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| name.starts_with("generation-")).collect();
    assert_eq!(names, ["generation-0004"]);
    switch.stop();
}

/// What is kept names issuers and acquirers by place: another order in the configuration moves nobody, and
/// whoever is gone is missed.
#[test]
fn another_order_of_issuers_and_acquirers_moves_nobody() {
    let data = Folder::new();
    make_key(&data);
    let text = configuration(&data, 1, "");
    let switch = start(&text);
    let mut client = Client::of(&switch, Speech::cups());
    let known: Vec<_> = purchases(1).map(|it| (told(&client.ask(&it)), it)).collect();
    switch.signal(Signal::KILL);
    switch.end();

    let shipped = include_str!("../../tuning/profiles/iins_cn.csv");
    let (head, rows): (Vec<&str>, Vec<&str>) =
        shipped.lines().partition(|line| !line.starts_with(|it: char| it.is_ascii_digit()));
    let reversed: Vec<&str> = head.into_iter().chain(rows.into_iter().rev()).collect();
    let table = data.file("reversed.csv", &(reversed.join("\n") + "\n"));
    let table = format!("[switch]\niin_file = \"{}\"\n", table.display());
    let swapped = text
        .replacen("[acquirer.cups]", "[acquirer.x]", 1)
        .replacen("[acquirer.iso87-ascii]", "[acquirer.cups]", 1)
        .replacen("[acquirer.x]", "[acquirer.iso87-ascii]", 1)
        .replacen("dialect = \"cups\"", "dialect = \"x\"", 1)
        .replacen("dialect = \"iso87-ascii\"", "dialect = \"cups\"", 1)
        .replacen("dialect = \"x\"", "dialect = \"iso87-ascii\"", 1)
        .replacen("[switch]\n", &table, 1);
    let switch = start(&swapped);
    let mut client = Client::of(&switch, Speech::cups());
    for (answer, request) in &known {
        assert_eq!(told(&client.ask(request)), *answer, "the same answer again");
    }
    switch.signal(Signal::KILL);
    switch.end();

    // Without the first acquirer, whom the kept answers are of.
    let gone = text.replacen("[acquirer.cups]", "[acquirer.other]", 1);
    let file = data.file("gone.toml", &gone);
    let arguments = [OsStr::new("run"), OsStr::new("--config"), file.as_os_str()];
    let refused = run(Folder::new(), &arguments);
    assert_eq!(refused.code, Some(78), "{}", refused.problems);
    assert!(refused.problems.contains("acquirer cups has "), "{}", refused.problems);
}

/// Nothing is left out silently, and a refused start changes nothing.
#[test]
fn a_table_that_is_too_small_is_refused_and_what_was_known_stays() {
    let data = Folder::new();
    make_key(&data);
    let text = configuration(&data, 2, "");
    let switch = start(&text);
    let mut client = Client::of(&switch, Speech::cups());
    let all: Vec<u32> = (0..1_200).collect();
    for part in all.chunks(200) {
        let requests = part.iter().map(|&card| Message::purchase(Speech::cups(), card, card));
        client.send(&requests.flat_map(|request| request.frame()).collect::<Vec<_>>());
        assert!(client.answers(part.len()).iter().all(|answer| answer.text(39) == "00"));
    }
    switch.signal(Signal::KILL);
    switch.end();

    let small = text.replace("lines = 65_536", "lines = 1_024");
    let folder = Folder::new();
    let file = folder.file("switch.toml", &small);
    let ended = run(folder, &[OsStr::new("run"), OsStr::new("--config"), file.as_os_str()]);
    assert_eq!(ended.code, Some(65), "{}", ended.problems);
    assert!(ended.problems.contains("the table is too small"), "{}", ended.problems);
    let switch = start(&text);
    let mut client = Client::of(&switch, Speech::cups());
    for card in [0, 1, 1_199] {
        let again = client.ask(&Message::purchase(Speech::cups(), card, card));
        assert_eq!(again.text(39), "00", "the first answer again");
        let second = Message::purchase(Speech::cups(), card, 5_000 + card);
        assert_eq!(client.ask(&second).text(39), "00");
        let third = Message::purchase(Speech::cups(), card, 10_000 + card);
        assert_eq!(client.ask(&third).text(39), "65");
    }
    drop(client);
    switch.stop();
}
