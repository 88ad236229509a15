//! What operators change: who may, what a reload tells, and what the audit file says of it.

use crate::admin::Operated;
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Folder, GENEROUS, PATIENCE, Setup, run};
use rustix::process::Signal;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use tapswitch::admin::client::{Ask, Place, ask};

#[test]
fn over_http_the_token_changes_and_everybody_reads() {
    let folder = Folder::new();
    let token = folder.file("token", "a-token-of-operators\n");
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let wrong = folder.file("wrong", "a-token-of-nobodies\n");
    std::fs::set_permissions(&wrong, Permissions::from_mode(0o600)).unwrap();
    let setup = Setup { bank: GENEROUS, ..Setup::default() };
    let lines = format!("http = \"127.0.0.1:0\"\ntoken_file = \"{}\"", token.display());
    let operated = Operated::start(&setup, &lines, "");
    let said = operated.switch.said("operators").to_owned();
    let url = said.split(", ").find(|part| part.starts_with("http://")).unwrap();
    let url = url.split(' ').next().unwrap();
    let ctl =
        |arguments: &[&str]| run(Folder::new(), &[&["ctl", "--url", url], arguments].concat());
    let shown = ctl(&["show", "shards"]);
    assert_eq!(shown.code, Some(0), "{}", shown.problems);
    let refused = ctl(&["reload"]);
    assert_eq!(refused.code, Some(77), "{}", refused.problems);
    assert!(refused.problems.contains("a token is needed"), "{}", refused.problems);
    let refused = ctl(&["drain", "--token-file", wrong.to_str().unwrap()]);
    assert_eq!(refused.code, Some(77));
    assert!(refused.problems.contains("this is not the token"), "{}", refused.problems);
    let done = ctl(&["reload", "--token-file", token.to_str().unwrap()]);
    assert_eq!((done.code, done.problems.as_str()), (Some(0), ""), "{}", done.output);
    assert!(done.output.contains("nothing has changed\nepoch 2: "), "{}", done.output);
    let place = Place::Http(url.strip_prefix("http://").unwrap().parse().unwrap());
    let asked =
        Ask { place: &place, path: "/take-over", is_order: true, token: None, patience: PATIENCE };
    assert_eq!(ask(&asked).unwrap().status, 403, "who may not change it may not have its sockets");
    let errors = operated.ctl(&["show", "last-errors"]).output;
    assert!(errors.contains("admin{refused}"), "{errors}");
    let audit = operated.audit.clone();
    let ended = operated.switch.stop();
    let text = std::fs::read_to_string(&audit).unwrap();
    assert!(!text.contains("a-token-of"), "{text}");
    let refused = |what: &str| {
        let named = format!("\"what\":\"{what}\"");
        text.lines().any(|line| line.contains(&named) && line.contains("\"result\":\"refused\""))
    };
    assert!(refused("reload") && refused("drain") && refused("take-over"), "{text}");
    check_audit(&audit);
    drop(ended);
}

/// The file fits; with any line changed it does not, and the line is named.
fn check_audit(audit: &Path) {
    let verify = || run(Folder::new(), &["audit", "verify", audit.to_str().unwrap()]);
    let verified = verify();
    assert_eq!((verified.code, verified.problems.as_str()), (Some(0), ""));
    let text = std::fs::read_to_string(audit).unwrap();
    assert!(verified.output.contains(&format!("{} lines fit", text.lines().count())));
    std::fs::write(audit, text.replacen("\"refused\"", "\"done\"", 1)).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("\"refused\"")).unwrap();
    let verified = verify();
    assert_eq!(verified.code, Some(65));
    assert!(verified.problems.contains(&format!("audit.log:{line}: the line was changed")));
}

#[test]
fn a_reload_tells_what_changed_what_is_wrong_and_what_needs_a_restart() {
    let limit =
        |most: u32| format!("[[velocity.limit]]\nname = \"largest\"\namount_minor_max = {most}\n");
    let setup = Setup { switch: "shards = 2", bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "", &limit(500));
    let write =
        |more: &str| std::fs::write(&operated.file, format!("{}{more}", operated.text)).unwrap();
    let mut client = Client::of(&operated.switch, Speech::cups());
    let mut number = 0;
    let mut pay = |amount: u32| {
        number += 1;
        let message = Message::purchase(client.speech(), number, number);
        client.ask(&message.with(4, &format!("{amount:012}"))).text(39)
    };
    assert_eq!([pay(500), pay(501)], ["00", "61"]);

    write(&limit(300));
    let done = operated.ctl(&["reload"]);
    assert_eq!((done.code, done.problems.as_str()), (Some(0), ""), "{}", done.output);
    let difference = "velocity.limit.largest.amount_minor_max: 500 -> 300";
    assert!(done.output.contains(&format!("{difference}\nepoch 2: ")), "{}", done.output);
    assert_eq!([pay(300), pay(301)], ["00", "61"]);

    write("[[velocity.limit]]\nname = \"largest\"\namount_minor_max = -1\n[nothing]\n");
    let wrong = operated.ctl(&["reload"]);
    assert_eq!(wrong.code, Some(78));
    let named = |part: &str| {
        wrong.output.lines().any(|line| line.contains("switch.toml:") && line.contains(part))
    };
    assert!(named("amount_minor_max") && named("likely cause: a minus sign"), "{}", wrong.output);
    assert!(named("unknown section"), "{}", wrong.output);
    assert!(wrong.problems.contains("epoch 2 stays: 2 problems"), "{}", wrong.problems);

    let text = format!("{}{}", operated.text, limit(300));
    let text = text.replace("shards = 2", "shards = 1").replace("lines = 65_536", "lines = 32_768");
    std::fs::write(&operated.file, text).unwrap();
    let later = operated.ctl(&["reload"]);
    assert_eq!(later.code, Some(75));
    assert!(later.output.contains("switch.shards: 2 -> 1  (needs a restart)"), "{}", later.output);
    let said = "epoch 2 stays: switch.shards, velocity.lines have changed, which need a restart";
    assert!(later.problems.contains(said), "{}", later.problems);
    assert_eq!([pay(300), pay(301)], ["00", "61"], "all is as it was");
    let errors = operated.ctl(&["show", "last-errors"]).output;
    assert!(errors.contains("reload{refused}"), "{errors}");
    let audit = std::fs::read_to_string(&operated.audit).unwrap();
    assert!(audit.lines().any(|line| line.contains(difference) && line.contains("\"done\"")));
    drop(client);
    operated.switch.signal(Signal::TERM);
    assert_eq!(operated.switch.end().code, Some(0));
}

#[test]
fn routes_timers_codes_and_windows_change_at_a_reload() {
    let tables = Folder::new();
    let table = tables.file("iins.csv", "622601,ABC,debit,16\n620013,COMM,debit,16\n");
    let iin_file = format!("shards = 2\niin_file = \"{}\"", table.display());
    let acquirer = "answer_within_ms = 9_000\nanswer_margin_ms = 5_000";
    let setup = Setup { switch: &iin_file, acquirer, bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "", "");
    let mut client = Client::of(&operated.switch, Speech::cups());
    let mut number = 0;
    let mut pay = || {
        number += 1;
        client.ask(&Message::purchase(client.speech(), number, number)).text(39).to_owned()
    };
    let answered =
        |issuer: &str| format!("tapswitch_issuer_time_seconds_count{{issuer=\"{issuer}\"}}");
    assert_eq!(pay(), "00");
    operated.await_metric(&answered("ABC"), 1);

    // The cards move, and the table names the issuers in another order.
    std::fs::write(&table, "620013,COMM,debit,16\n622601,COMM,debit,16\n620014,ABC,debit,16\n")
        .unwrap();
    let windows = "[issuer.COMM]\nin_flight_max = 77\n";
    let text = operated.text.replace("answer_within_ms = 9_000", "answer_within_ms = 8_000");
    std::fs::write(&operated.file, format!("{text}{windows}")).unwrap();
    let done = operated.ctl(&["reload"]);
    assert_eq!((done.code, done.problems.as_str()), (Some(0), ""), "{}", done.output);
    for difference in [
        "acquirer.cups.answer_within_ms: 9000 -> 8000",
        "acquirer.iso87-ascii.answer_within_ms: 9000 -> 8000",
        "iin.622601: abc debit 16 -> comm debit 16",
        "iin.620014: (none) -> abc debit 16",
        "issuer.COMM.in_flight_max: ",
    ] {
        assert!(done.output.contains(difference), "{difference}: {}", done.output);
    }
    pay();
    operated.await_metric(&answered("COMM"), 1);
    assert_eq!(operated.metric(&answered("ABC")), 1);
    let windows = "tapswitch_issuer_in_flight_max{issuer=\"COMM\"}";
    operated.await_metric(windows, 2 * 77);
    let config = operated.ctl(&["show", "config"]).output;
    assert!(config.contains("acquirer.cups.answer_within_ms = 8000"), "{config}");

    // Nobody's cards any more, which has another code now.
    std::fs::write(&table, "620013,COMM,debit,16\n620014,ABC,debit,16\n").unwrap();
    std::fs::write(&operated.file, format!("{text}[codes.cups]\nno_route = \"92\"\n")).unwrap();
    assert_eq!(operated.ctl(&["reload"]).code, Some(0));
    assert_eq!(pay(), "92");

    // Another issuer is a restart, and is named.
    std::fs::write(&table, "620013,COMM,debit,16\n620014,ABC,debit,16\n622601,CMB,debit,16\n")
        .unwrap();
    let later = operated.ctl(&["reload"]);
    assert_eq!(later.code, Some(75), "{}", later.output);
    assert!(later.problems.contains("epoch 3 stays: [issuer.CMB]"), "{}", later.problems);
    assert_eq!(pay(), "92", "all is as it was");
    drop(client);
    operated.switch.signal(Signal::TERM);
    assert_eq!(operated.switch.end().code, Some(0));
}

/// Only root can ask as somebody else.
#[test]
fn another_user_may_read_and_change_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let setup = Setup { bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "", "");
    let Place::Socket(socket) = operated.place.clone() else { panic!("a socket") };
    // A copy of the binary that everybody may run, and a way to the socket.
    let open = |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    let shared = Folder::new();
    let binary = shared.path("tapswitch");
    std::fs::copy(env!("CARGO_BIN_EXE_tapswitch"), &binary).unwrap();
    [binary.parent().unwrap(), &binary, socket.parent().unwrap()].into_iter().for_each(open);
    let nobody = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(["ctl", "--socket", socket.to_str().unwrap()]).args(arguments);
        let done = command.uid(65_534).gid(65_534).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, why) = nobody(&["show", "shards"]);
    assert_eq!(code, Some(69), "the socket is its owner's: {why}");
    std::fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(nobody(&["show", "shards"]), (Some(0), String::new()));
    for order in ["reload", "drain"] {
        let (code, why) = nobody(&[order]);
        assert_eq!(code, Some(77), "{why}");
        assert!(why.contains("only the user who runs the switch, and root"), "{why}");
    }
    let audit = std::fs::read_to_string(&operated.audit).unwrap();
    let refused = audit.lines().filter(|line| line.contains("\"who\":\"uid 65534\""));
    assert_eq!(refused.count(), 2, "{audit}");
    operated.switch.stop();
}
