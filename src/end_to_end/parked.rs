//! Messages that an issuer refuses: operators see them, send them again, or drop them, and a switch that is
//! killed remembers which.

use crate::admin::Operated;
use crate::banks::{total, until_approved};
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Banks, Folder, GENEROUS, Setup, Switch, free_ports, new_card_key, run};
use crate::proxy::{Proxy, Way, pause};
use crate::proxy_script::Step;
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tapswitch_protocol::Mti;

/// Looks until something is so, with a pause between two: a minute and more.
const LOOKS_MAX: usize = 3_000;
const PAUSE: Duration = Duration::from_millis(25);

fn parked(operated: &Operated) -> Vec<Value> {
    let shown = operated.ctl(&["--json", "show", "parked"]);
    assert_eq!((shown.code, shown.problems.as_str()), (Some(0), ""));
    serde_json::from_str(&shown.output).unwrap()
}

/// How often the issuer has refused something.
fn refused(operated: &Operated) -> u64 {
    operated.metric("tapswitch_saf_total{why=\"refused\"}")
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let is_so = (0..LOOKS_MAX).any(|_| {
        let is_so = is_so();
        if !is_so {
            pause(PAUSE);
        }
        is_so
    });
    assert!(is_so, "{what}");
}

/// A bank whose 0430 say 30 while `refuses` is set, behind a proxy; and its issuer's section.
fn refusing() -> (Banks, Proxy, Arc<AtomicBool>, String) {
    let bank_port = free_ports(1)[0];
    let issuer = |port| format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{port}\"\n");
    let setup = Setup { bank: GENEROUS, ..Setup::default() };
    let banks = Banks::start(&Setup { issuers: &issuer(bank_port), ..setup }.text());
    let proxy = Proxy::before(bank_port);
    let refuses = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&refuses);
    proxy.script(
        Way::Back,
        Box::new(move |frame| {
            let message = Message::from_frame(Speech::cups(), &frame);
            let is_refused = message.mti().to_string() == "0430" && still.load(Ordering::SeqCst);
            vec![Step::Write(if is_refused { message.with(39, "30").frame() } else { frame })]
        }),
    );
    let section = issuer(proxy.port);
    (banks, proxy, refuses, section)
}

fn journal(folder: &Folder) -> String {
    let key = new_card_key(folder);
    format!(
        "[keys]\ncard_key_file = \"{}\"\n[journal]\ndata_dir = \"{}\"\nsegment_bytes = 8_388_608\n\
         undurable_bytes_max = 8_388_608\nstall_max_ms = 60_000\nalarm_free_percent = 0\n\
         refuse_free_percent = 0\n",
        key.display(),
        folder.path("data").display()
    )
}

/// The switch is killed and comes back with the same file.
fn killed(operated: Operated) -> Operated {
    let Operated { switch, file, place, audit, text } = operated;
    let content = std::fs::read_to_string(&file).unwrap();
    let folder = Folder::new();
    switch.signal(Signal::KILL);
    assert_eq!(switch.end().code, None);
    // The socket and the audit file are beside the file.
    let (socket, audit_again) = (folder.path("operators"), folder.path("audit.log"));
    drop((place, audit));
    let file = folder.file("switch.toml", &content);
    let switch = Switch::start(folder, &file);
    let place = tapswitch::admin::client::Place::Socket(socket);
    Operated { switch, place, file, audit: audit_again, text }
}

/// Beside it there may be reversals of what came in the second in which the switch started: that could
/// have been sent before, and was declined.
fn is_parked(operated: &Operated, purchase: &Message) -> bool {
    parked(operated).iter().any(|it| it["rrn"] == purchase.text(37))
}

fn no_card_in(text: &str, purchase: &Message) {
    let pan = purchase.text(2);
    assert!(!text.contains(&pan), "{text}");
}

/// C19: parked after three refusals; seen by operators without its card, released, sent again and done.
#[test]
fn c19_an_operator_has_a_refused_reversal_sent_again() {
    let (banks, proxy, refuses, section) = refusing();
    let data = Folder::new();
    let (switch, issuers) = ("shards = 2", section + &journal(&data));
    let setup = Setup { switch, bank: GENEROUS, issuers: &issuers, ..Setup::default() };
    let operated = Operated::start(&setup, "", "");
    let mut client = Client::of(&operated.switch, Speech::cups());
    let (_, next) = until_approved(&mut client, 0);
    let purchase = Message::purchase(Speech::cups(), next, next);
    assert_eq!(client.ask(&purchase).text(39), "00");
    assert_eq!(client.ask(&purchase.reversal(Mti::REVERSAL_ADVICE, 900_000)).text(39), "00");
    // Each link that is made anew brings what is owed at once: nobody waits for five seconds, ten.
    let mut seen = 0;
    until("it is parked", || {
        let now = refused(&operated);
        if now > seen {
            seen = now;
            proxy.cut(proxy.made() - 1);
        }
        is_parked(&operated, &purchase)
    });

    let all = parked(&operated);
    let message = all.iter().find(|it| it["rrn"] == purchase.text(37)).unwrap();
    let name = message["message"].as_str().unwrap().to_owned();
    assert_eq!((&message["issuer"], &message["mti"]), (&"CMBC".into(), &"0420".into()));
    assert_eq!((&message["code"], &message["amount_minor"]), (&"30".into(), &100.into()));
    assert_eq!(message["rrn"], purchase.text(37));
    let shown = operated.ctl(&["show", "parked"]);
    assert!(shown.output.contains(&name) && shown.output.contains("622601"), "{}", shown.output);
    no_card_in(&shown.output, &purchase);

    // Over a restart it stays parked; released, it is still refused, and parked again.
    drop(client);
    let operated = killed(operated);
    until("the switch is back", || operated.ctl(&["show", "shards"]).code == Some(0));
    until("it knows", || is_parked(&operated, &purchase));
    let wrong = operated.ctl(&["release-parked", "1-999999"]);
    assert_eq!((wrong.code, wrong.problems.contains("is not parked")), (Some(1), true));
    let nonsense = operated.ctl(&["release-parked", "the first"]);
    assert_eq!(nonsense.code, Some(2), "{}", nonsense.problems);

    refuses.store(false, Ordering::SeqCst);
    let mut client = Client::of(&operated.switch, Speech::cups());
    until_approved(&mut client, 100_000);
    drop(client);
    let released = operated.ctl(&["release-parked", &name]);
    assert_eq!((released.code, released.problems.as_str()), (Some(0), ""), "{}", released.output);
    assert!(released.output.contains("is owed again"), "{}", released.output);
    until("it is done", || operated.metric("tapswitch_saf_total{why=\"done\"}") >= 1);
    until("it is not parked", || !is_parked(&operated, &purchase));
    let again = operated.ctl(&["release-parked", &name]);
    assert_eq!(again.code, Some(1), "once");

    let audit = std::fs::read_to_string(&operated.audit).unwrap();
    let line = audit.lines().find(|line| line.contains("\"what\":\"release-parked\"")).unwrap();
    assert!(line.contains("\"result\":\"failed\""), "the wrong one first: {line}");
    assert!(audit.contains(&format!("message {name} is owed again")), "{audit}");
    no_card_in(&audit, &purchase);
    stop(operated, &data);
    let ledger = banks.stop();
    assert_eq!(total(&ledger, "CMBC", "reversed"), 1, "however often it came");
    drop(proxy);
}

/// Stops it; it may have told of what was parked. Its journal can be read.
fn stop(operated: Operated, data: &Folder) -> String {
    operated.switch.signal(Signal::TERM);
    let ended = operated.switch.end();
    let is_told = |line: &str| line.contains("ALARM saf{parked}") || line.contains("ALARM link{");
    assert!(ended.code == Some(0) && ended.problems.lines().all(is_told), "{}", ended.problems);
    inspect(&data.path("data"))
}

fn inspect(data: &Path) -> String {
    let data = data.to_str().unwrap();
    let inspected = run(Folder::new(), &["journal", "inspect", "--records", data]);
    assert_eq!(inspected.code, Some(0), "{}", inspected.problems);
    inspected.output
}

/// D19: what names neither card nor known original cannot be sent; it is dropped, with a note, by whoever
/// may, and stays dropped.
#[test]
fn d19_an_operator_drops_what_can_not_be_sent_and_says_why() {
    let data = Folder::new();
    let (switch, issuers) = ("shards = 2", journal(&data));
    let setup = Setup { switch, bank: GENEROUS, issuers: &issuers, ..Setup::default() };
    let operated = Operated::start(&setup, "http = \"127.0.0.1:0\"", "");
    let mut client = Client::of(&operated.switch, Speech::cups());
    let unknown = Message::purchase(Speech::cups(), 7, 7).reversal(Mti::REVERSAL_ADVICE, 8);
    assert_eq!(client.ask(&unknown.without(2)).text(39), "00", "accepted all the same");
    drop(client);
    until("it is parked", || parked(&operated).len() == 1);
    let [message] = &parked(&operated)[..] else { panic!("one is parked") };
    let name = message["message"].as_str().unwrap().to_owned();
    assert_eq!((&message["issuer"], &message["card"]), (&Value::Null, &Value::Null));
    let shown = operated.ctl(&["show", "parked"]).output;
    assert!(shown.contains("it cannot be sent"), "{shown}");
    let released = operated.ctl(&["release-parked", &name]);
    assert_eq!(released.code, Some(1));
    assert!(released.problems.contains("neither card nor known original"), "{}", released.problems);

    for (note, problem) in [("", "empty"), ("of 6226 0190 0000 0000", "like a card's")] {
        let refused = operated.ctl(&["drop-parked", &name, "--note", note]);
        assert_eq!(refused.code, Some(1), "{note}");
        assert!(refused.problems.contains(problem), "{}", refused.problems);
    }
    // Over HTTP without a token anybody reads, and nobody changes.
    let said = operated.switch.said("operators").to_owned();
    let url = said.split(", ").find(|part| part.starts_with("http://")).unwrap();
    let url = url.split(' ').next().unwrap();
    let arguments = ["ctl", "--url", url, "drop-parked", &name, "--note", "nobody"];
    assert_eq!(run(Folder::new(), &arguments).code, Some(77));

    let dropped = operated.ctl(&["drop-parked", &name, "--note", "its acquirer sent it twice"]);
    assert_eq!((dropped.code, dropped.problems.as_str()), (Some(0), ""), "{}", dropped.output);
    let audit = std::fs::read_to_string(&operated.audit).unwrap();
    assert!(audit.contains("note: its acquirer sent it twice"), "{audit}");
    assert!(!audit.contains("0190 0000"), "{audit}");
    // What was told as done is on the disk.
    let operated = killed(operated);
    until("the switch is back", || operated.ctl(&["show", "shards"]).code == Some(0));
    assert!(parked(&operated).is_empty());
    let records = stop(operated, &data);
    assert!(records.contains("owed-dropped") && records.contains("sent it twice"), "{records}");
}
