//! The outcome log of the real binary, and what `find` shows from it.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Ended, Folder, GENEROUS, Setup, run};
use std::path::Path;

const PROMPT_AND_GENEROUS: &str = "delay_median_us = 0\ndelay_p99_us = 0\nsilence_ppm = 0\n\
    late_ppm = 0\n";

fn find(dir: &Path, arguments: &[&str]) -> Ended {
    let mut all = vec!["find", dir.to_str().unwrap()];
    all.extend(arguments);
    run(Folder::new(), &all)
}

/// Every byte of the log's files.
fn contents(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir.join("outcomes")).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn find_tells_why_a_purchase_was_declined() {
    let folder = Folder::new();
    let dir = folder.path("log");
    let behaviour = format!("{PROMPT_AND_GENEROUS}{GENEROUS}");
    let bank = format!("[outcomes]\ndir = \"{}\"", dir.display());
    let setup = Setup {
        switch: "shards = 2\nengine = \"tokio\"",
        behaviour: Some(&behaviour),
        bank: &bank,
        ..Setup::default()
    };
    let switch = setup.run();
    assert!(switch.said("outcomes").contains("1 GiB at most"));
    let mut client = Client::of(&switch, Speech::cups());
    let speech = client.speech();
    let mut pans = Vec::new();
    let mut ask = |client: &mut Client, request: Message| {
        pans.push(request.text(2));
        client.ask(&request).outcome().1
    };
    for number in 1..=20 {
        ask(&mut client, Message::purchase(speech, number, number));
    }
    // 60,000.00 are above the 50,000.00 that one transaction may have.
    let above = Message::purchase(speech, 7, 77).with(4, "000006000000");
    assert_eq!(ask(&mut client, above), "61");
    switch.stop();

    let shown = find(&dir, &["--stan", "77"]);
    assert_eq!((shown.code, shown.problems.as_str()), (Some(0), ""));
    for part in [
        "622601******0007  60,000.00 in 156  acquirer cups, RRN 093000000077\n",
        "terminal 01080209, merchant 333290054110001\n",
        "0200 000077  refused{amount_limit}: velocity by amount\n",
        "limit `largest`; code 61 (",
        "; switch ",
    ] {
        assert!(shown.output.contains(part), "{part}\n{}", shown.output);
    }
    let approved = find(&dir, &["--rrn", "093000000003", "--acquirer", "cups", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&approved.output).unwrap();
    let transaction = &list[0];
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&transaction["amount_minor"], &transaction["stan"]), (&100.into(), &().into()));
    let step = &transaction["steps"][0];
    assert_eq!(step["what"], "answered{issuer}");
    assert!(step["issuer"]["time_ns"].as_u64().unwrap() > 0, "{step}");
    assert!(step["switch_before_ns"].as_u64().unwrap() > 0, "{step}");
    assert!(step["switch_after_ns"].as_u64().unwrap() > 0, "{step}");

    let nothing = find(&dir, &["--rrn", "093000000003", "--acquirer", "iso87-ascii"]);
    assert_eq!((nothing.code, nothing.output.as_str()), (Some(1), ""));
    assert!(
        nothing.problems.starts_with(
            "nothing found for RRN 093000000003 of acquirer iso87-ascii: 21 entries in 1 files, 20"
        ),
        "{}",
        nothing.problems
    );
    assert_eq!(find(&folder.path("none"), &["--stan", "1"]).code, Some(1));
    assert_eq!(find(&dir, &[]).code, Some(2), "something must be asked for");

    let bytes = contents(&dir);
    for pan in pans {
        let is_there = bytes.windows(pan.len()).any(|window| window == pan.as_bytes());
        assert!(!is_there, "no PAN is logged");
        assert!(!shown.output.contains(&pan) && !approved.output.contains(&pan));
    }
}

#[test]
fn a_key_file_that_others_can_read_stops_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let key = folder.path("card.key");
    let made = run(Folder::new(), &["key", "new", key.to_str().unwrap()]);
    assert_eq!((made.code, made.problems.as_str()), (Some(0), ""));
    let check = made.output.split_once("check ").unwrap().1.lines().next().unwrap();
    let bank = format!("[keys]\ncard_key_file = \"{}\"", key.display());
    let setup = Setup { bank: &bank, ..Setup::default() };
    let switch = setup.run();
    assert!(switch.said("keys").ends_with(&format!("check {check}")), "{}", switch.said("keys"));
    switch.stop();

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = folder.file("switch.toml", &setup.text());
    let refused = run(Folder::new(), &["run", "--config", file.to_str().unwrap()]);
    assert_eq!((refused.code, refused.output.as_str()), (Some(78), ""));
    let expected =
        format!("can be read or changed by others (mode 644): chmod 600 {}\n", key.display());
    assert!(refused.problems.ends_with(&expected), "{}", refused.problems);
}
