//! Tokens against the real switch: made over the operators' port, paid with over two connections and two
//! shards, suspended, and known again after a kill. No byte that an acquirer gets holds a card's number.

use crate::admin::await_ready;
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Folder, GENEROUS, PATIENCE, Setup, Switch, new_card_key};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tapswitch::admin::client::{Ask, Place, tell};

const CARDS: u32 = 12;
const REQUESTOR: &str = "00012345678";

fn configuration(data: &Folder) -> String {
    let [key, dir, socket] = ["card.key", "data", "operators"].map(|name| data.path(name));
    let sections = format!(
        "[requestor.mi-pay]\nid = \"{REQUESTOR}\"\ntoken_prefixes = [\"62888801\"]\n\
         entry_modes = [\"contactless\"]\n\
         [keys]\ncard_key_file = \"{}\"\n[journal]\ndata_dir = \"{}\"\n\
         segment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\nstall_max_ms = 60_000\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\n[admin]\nsocket = \"{}\"\n",
        key.display(),
        dir.display(),
        socket.display(),
    );
    let setup =
        Setup { switch: "shards = 2", bank: GENEROUS, issuers: &sections, ..Setup::default() };
    setup.text()
}

fn start(data: &Folder) -> (Switch, Place) {
    let file = data.file("switch.toml", &configuration(data));
    let switch = Switch::start(Folder::new(), &file);
    let place = Place::Socket(data.path("operators"));
    await_ready(&place);
    (switch, place)
}

/// An order, its status and the answer.
fn order(place: &Place, what: &str, body: &Value) -> (u16, Value) {
    let path = format!("/wallet/{what}");
    let asked = Ask { place, path: &path, is_order: true, token: None, patience: PATIENCE };
    let answer = tell(&asked, &body.to_string()).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

fn pan(card: u32) -> String {
    format!("6226019{card:09}")
}

fn provision(card: u32) -> Value {
    json!({
        "request_id": format!("phone of {card}"), "requestor": REQUESTOR, "pan": pan(card),
        "pan_expiry": "4912", "token_expiry": "4812", "identification": "green",
    })
}

/// The token that an order made, as it is now.
fn token(answer: &(u16, Value)) -> String {
    assert_eq!(answer.0, 200, "{}", answer.1["said"]);
    answer.1["tokens"][0]["token"].as_str().unwrap().to_owned()
}

fn tap(speech: Speech, token: &str, number: u32) -> Message {
    Message::purchase(speech, 0, number).without(2).and(2, token).with(22, "071")
}

/// DE 39 of a payment with each token, over two connections; what came holds no card's number.
fn pay(switch: &Switch, tokens: &[String], first: u32) -> Vec<String> {
    let mut clients = [Client::of(switch, Speech::cups()), Client::of(switch, Speech::cups())];
    let mut codes = Vec::new();
    for (card, token) in (0u32..).zip(tokens) {
        let client = &mut clients[card as usize % 2];
        client.send(&tap(client.speech(), token, first + card).frame());
        let frame = client.frame().unwrap();
        let pan = pan(card);
        assert!(!frame.windows(pan.len()).any(|window| window == pan.as_bytes()));
        let answer = Message::from_frame(client.speech(), &frame);
        assert_eq!(answer.text(2), *token);
        codes.push(answer.text(39));
    }
    codes
}

/// Whether a file below this folder holds these bytes.
fn holds(folder: &Path, what: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, what),
            false => std::fs::read(&path).unwrap().windows(what.len()).any(|it| it == what),
        }
    })
}

#[test]
fn a_token_pays_for_its_card_and_is_known_after_a_kill() {
    let data = Folder::new();
    new_card_key(&data);
    let (switch, place) = start(&data);
    let made: Vec<_> =
        (0..CARDS).map(|card| order(&place, "provision", &provision(card))).collect();
    let tokens: Vec<String> = made.iter().map(token).collect();
    assert_eq!(pay(&switch, &tokens, 100), vec!["00"; CARDS as usize]);
    assert_eq!(order(&place, "provision", &provision(3)).1, made[3].1, "made once");
    let mut other = provision(4);
    other["request_id"] = json!("phone of 3");
    assert_eq!(order(&place, "provision", &other).0, 409);

    let suspend = json!({ "request_id": "lost", "token": tokens[5] });
    let suspended = order(&place, "suspend", &suspend);
    assert_eq!(suspended.1["tokens"][0]["state"], "suspended");
    let by_account = order(&place, "show", &json!({ "par": suspended.1["tokens"][0]["par"] }));
    assert_eq!(by_account.1["tokens"], suspended.1["tokens"]);
    switch.signal(Signal::KILL);
    switch.end();

    let (switch, place) = start(&data);
    let mut expected = vec!["00"; CARDS as usize];
    expected[5] = "62";
    assert_eq!(pay(&switch, &tokens, 200), expected);
    assert_eq!(order(&place, "provision", &provision(7)).1, made[7].1, "the order is known again");
    assert_eq!(
        order(&place, "resume", &json!({ "request_id": "found", "token": tokens[5] })).0,
        200
    );
    assert_eq!(pay(&switch, &tokens, 300), vec!["00"; CARDS as usize]);
    let mut client = Client::of(&switch, Speech::cups());
    let keyed = tap(client.speech(), &tokens[0], 400).with(22, "012");
    assert_eq!(client.ask(&keyed).text(39), "57");
    let unknown = tap(client.speech(), "6288880100000000009", 401);
    assert_eq!(client.ask(&unknown).text(39), "14");
    assert_eq!(
        order(&place, "delete", &json!({ "request_id": "sold", "token": tokens[0] })).0,
        200
    );
    assert_eq!(client.ask(&tap(client.speech(), &tokens[0], 402)).text(39), "62");
    switch.stop();
    let kept = data.path("data");
    assert!(holds(&kept, &tokens[1].parse::<u64>().unwrap().to_le_bytes()), "tokens are there");
    assert!(!holds(&kept, pan(1).as_bytes()), "cards are not");
}

/// An order from the command line, and what it printed.
fn ctl(data: &Folder, what: &str, body: &Value) -> (Option<i32>, String) {
    let file = data.path("switch.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapswitch"));
    command.args(["ctl", "--config"]).arg(file).args(["wallet", what]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(body.to_string().as_bytes()).unwrap();
    drop(input);
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap())
}

#[test]
fn orders_come_from_the_command_line_too() {
    let data = Folder::new();
    new_card_key(&data);
    let (switch, _) = start(&data);
    let (code, said) = ctl(&data, "provision", &provision(1));
    assert_eq!(code, Some(0));
    assert!(said.starts_with("the token of requestor 00012345678 is active\n62888801"), "{said}");
    assert!(said.contains("card 622601******0001, account 0000"), "{said}");
    let red = json!({ "request_id": "one", "token": "6288880100000000009" });
    assert_eq!(ctl(&data, "suspend", &red).0, Some(1));
    switch.stop();
}

#[test]
fn what_cannot_be_ordered_is_told_and_names_no_card() {
    let data = Folder::new();
    new_card_key(&data);
    let (switch, place) = start(&data);
    for (change, value, status, said) in [
        ("requestor", json!("00000000009"), 422, "not configured"),
        ("pan", json!("622601900000001X"), 400, "pan is 12 to 19 digits"),
        ("pan_expiry", json!("2613"), 400, "YYMM"),
        ("token_expiry", json!("2001"), 422, "expired"),
        ("identification", json!("red"), 422, "no token is made"),
        ("identification", json!("blue"), 400, "green, yellow or red"),
        ("assurance", json!(100), 400, "at most 99"),
        ("request_id", json!(""), 400, "request_id is 1 to 64 bytes"),
        ("colour", json!("red"), 400, "not the JSON that is expected"),
    ] {
        let mut body = provision(1);
        body[change] = value;
        let (told, answer) = order(&place, "provision", &body);
        assert_eq!(told, status, "{change}: {answer}");
        let text = answer.to_string();
        assert!(text.contains(said), "{change}: {text}");
        assert!(!text.contains(&pan(1)), "{change}: {text}");
    }
    let unknown = json!({ "request_id": "one", "token": "6288880100000000009" });
    assert_eq!(order(&place, "suspend", &unknown).0, 404);
    assert_eq!(order(&place, "show", &json!({})).0, 400);
    switch.stop();
}
