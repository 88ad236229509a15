//! Stand-in: what the switch approves while the banks are dead is in their books when they are back.

use crate::banks::standing;
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Banks, Folder, GENEROUS, Setup, free_ports, new_card_key, run};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::process::Command;

/// Cards whose numbers begin so are CMBC's.
const RULES: &str = "\n[[velocity.counter]]\nname = \"stand_in_day\"\nwindow = \"day\"\n\
    stand_in = true\n[[stand_in]]\nname = \"floor\"\niins = [\"622601\"]\n\
    amount_minor_max = 10_000\ncounter = \"stand_in_day\"\ncount_max = 2\nmccs = [5411]\n\
    after_time_out = true\nmark_field = 44\nmark_text = \"STAND-IN\"\n";

/// Cards that buy while the banks are away.
const CARDS: u32 = 60;
/// Approvals in a row, of ever new cards, after which the links of all shards are up.
const IN_A_ROW: usize = 64;
const TRIES_MAX: u32 = 100_000;

/// A tap without PIN.
fn purchase(card: u32, number: u32) -> Message {
    Message::purchase(Speech::cups(), card, number).with(22, "072")
}

/// DE 7 of a moment after the switch's start, however fast it was: what is not after it may have been
/// forwarded before, and is refused.
fn transmission_time() -> String {
    let date = Command::new("date").args(["-u", "-d", "+2 seconds", "+%m%d%H%M%S"]).output();
    let date = date.unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// Purchases that no rule means, until the issuer approves them; the reference numbers of those.
fn until_back(client: &mut Client, from: u32) -> BTreeSet<String> {
    let (mut approved, mut in_a_row) = (BTreeSet::new(), 0);
    for number in from..from + TRIES_MAX {
        let answer = client.ask(&purchase(number, number).with(18, "5812"));
        if answer.text(39) == "00" {
            assert_eq!(answer.text(44), "", "the issuer's own");
            approved.insert(answer.text(37));
            in_a_row += 1;
        } else {
            in_a_row = 0;
        }
        if in_a_row == IN_A_ROW {
            return approved;
        }
    }
    panic!("the link was not made");
}

#[test]
fn c20_what_is_approved_while_the_banks_are_dead_is_in_their_books_afterwards() {
    let issuers = format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{}\"\n{RULES}", free_ports(1)[0]);
    let kept = Folder::new();
    let key = new_card_key(&kept);
    let (data, log) = (kept.path("data"), kept.path("log"));
    let bank = format!(
        "{GENEROUS}\n[journal]\ndata_dir = \"{}\"\nstall_max_ms = 60_000\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\n[keys]\ncard_key_file = \"{}\"\n[outcomes]\ndir = \"{}\"",
        data.display(),
        key.display(),
        log.display()
    );
    let switch_lines = "shards = 2\nengine = \"tokio\"";
    let setup = Setup { switch: switch_lines, bank: &bank, issuers: &issuers, ..Setup::default() };
    let banks = Banks::start(&setup.text());
    let switch = setup.run();
    let mut client = Client::of(&switch, Speech::cups());
    until_back(&mut client, 100_000);
    banks.kill();
    let time = transmission_time();

    let mut stood_in = BTreeSet::new();
    for round in 1..=3 {
        for card in 1..=CARDS {
            let answer = client.ask(&purchase(card, round * 1_000 + card).with(7, &time));
            if round == 3 {
                assert_eq!(answer.text(39), "91", "the third of a card is above the rule");
                continue;
            }
            let marked = (answer.text(39), answer.text(44));
            assert_eq!(marked, ("00".to_owned(), "STAND-IN".to_owned()), "{round} of {card}");
            assert!(answer.text(38).starts_with('S'));
            stood_in.insert(answer.text(37));
        }
    }
    assert_eq!(stood_in.len(), 2 * CARDS as usize);

    // The switch dies too; the next one knows what it approved, and what it owes.
    drop(client);
    switch.signal(Signal::KILL);
    switch.end();
    let switch = setup.run();
    let mut client = Client::of(&switch, Speech::cups());
    for card in 1..=CARDS {
        let again = client.ask(&purchase(card, 1_000 + card).with(7, &time));
        assert_eq!((again.text(39).as_str(), again.text(44).as_str()), ("00", "STAND-IN"));
    }
    let banks = Banks::start(&setup.text());
    let mut expected = until_back(&mut client, 300_000);
    drop(client);
    let ended = switch.stop();
    assert_eq!((ended.counter("saf{parked}"), ended.counter("standin{approved}")), (0, 0));
    expected.append(&mut stood_in);
    let standing: BTreeSet<String> = standing(&banks.stop()).into_keys().collect();
    assert_eq!(standing, expected, "exactly these");

    let shown = run(Folder::new(), &["find", log.to_str().unwrap(), "--stan", "1001"]);
    assert!(shown.output.contains("standin{approved}"), "{}", shown.output);
    assert!(shown.output.contains("limit `floor`"), "{}", shown.output);
}
