//! One bank in a process of its own behind a proxy, a switch of one shard, and an acquirer: where
//! most faults are tried.

use crate::banks::standing;
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Banks, Ended, GENEROUS, Setup, Switch, free_ports};
use crate::proxy::{Proxy, pause};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// Requests that are refused before the link is up; a wait of at most half a minute.
const TRIES_MAX: u32 = 3_000;
/// Numbers of requests that only find out whether the link is up.
const TRYING_FROM: u32 = 800_000;
/// An acquirer whose transit purchases are answered within twenty seconds, of which the issuer has little
/// more than half of one: what is asserted of their deadline holds on a slow machine too, and nothing
/// else is hurried.
pub(crate) const SHORT: &str = "answer_within_ms = 30_000\nanswer_margin_ms = 14_000\n\
    transit_answer_within_ms = 20_000\ntransit_answer_margin_ms = 19_400";
pub(crate) const SHORT_MS: u64 = 20_000;

/// A purchase of 1.00, a card each.
pub(crate) fn purchase(number: u32) -> Message {
    Message::purchase(Speech::cups(), number, number)
}

/// The same at a metro gate: its time is that of transit.
pub(crate) fn hurried(number: u32) -> Message {
    purchase(number).with(18, "4111")
}

/// The bank, what is before it, and how many purchases it has approved.
pub(crate) struct OneBank {
    pub(crate) proxy: Proxy,
    pub(crate) client: Client,
    pub(crate) switch: Switch,
    pub(crate) banks: Banks,
    /// Approvals by which the link was tried.
    pub(crate) tried: usize,
    /// Purchases that were refused because the link was not up yet.
    pub(crate) refused: u64,
    tries: u32,
}

impl OneBank {
    /// Its link is up.
    pub(crate) fn start(acquirer: &str, link: &str) -> Self {
        let mut world = Self::start_down(acquirer, link);
        world.up();
        world
    }

    /// Its link may not be up yet.
    pub(crate) fn start_down(acquirer: &str, link: &str) -> Self {
        Self::start_with(acquirer, link, |_| {})
    }

    /// As the proxy is made ready.
    pub(crate) fn start_with(acquirer: &str, link: &str, ready: impl FnOnce(&Proxy)) -> Self {
        let bank_port = free_ports(1)[0];
        let issuer = |port| format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{port}\"\n{link}\n");
        let switch = "shards = 1";
        let setup = Setup { switch, acquirer, bank: GENEROUS, ..Setup::default() };
        let banks = Banks::start(&Setup { issuers: &issuer(bank_port), ..setup }.text());
        let proxy = Proxy::before(bank_port);
        ready(&proxy);
        let switch = Setup { issuers: &issuer(proxy.port), ..setup }.run();
        let client = Client::of(&switch, Speech::cups());
        Self { proxy, client, switch, banks, tried: 0, refused: 0, tries: 0 }
    }

    /// Asks until one is approved: the link is up, and what was sent by it before has been done.
    pub(crate) fn up(&mut self) {
        for _ in 0..TRIES_MAX {
            self.tries += 1;
            let number = TRYING_FROM + self.tries;
            match self.client.ask(&purchase(number)).text(39).as_str() {
                "00" => {
                    self.tried += 1;
                    return;
                }
                code => assert_eq!(code, "91", "only the link is waited for"),
            }
            self.refused += 1;
            pause(Duration::from_millis(10));
        }
        panic!("the link was not made");
    }

    /// The code of the next answer, which must be to this request.
    pub(crate) fn code_of(&mut self, request: &Message) -> String {
        let answer = self.client.answer();
        assert_eq!(answer.text(11), request.text(11));
        assert_eq!(answer.text(37), request.text(37));
        answer.text(39)
    }

    /// When this returns, all that was sent for the card of this number has been taken: its shard
    /// takes messages in order, and refuses this one at once.
    pub(crate) fn taken(&mut self, card: u32) {
        self.tries += 1;
        let nothing = Message::purchase(Speech::cups(), card, 900_000 + self.tries);
        assert_eq!(self.client.ask(&nothing.with(4, "000000000000")).text(39), "13");
    }

    /// Waits until the bank's ledger is so.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) {
        for _ in 0..TRIES_MAX {
            if is_so(&self.banks.ask_ledger()) {
                return;
            }
            pause(Duration::from_millis(10));
        }
        panic!("the bank's ledger never shows {what}: {}", self.banks.ask_ledger());
    }

    /// Waits until the bank has heard of a reversal of this request, and its answer has been taken.
    pub(crate) fn until_reversed(&mut self, request: &Message) {
        let rrn = request.text(37);
        self.until("the reversal", |ledger| {
            state_of(ledger, &rrn).is_some_and(|it| it == "reversed")
        });
        self.up();
    }

    /// Ends all: as `end`, and no more stands at the bank than these, of 1.00 each, besides those by
    /// which the link was tried.
    pub(crate) fn stop(self, approved: &[&Message], alarms: &[&str]) -> (Ended, Value) {
        let tried = self.tried;
        let (ended, ledger) = self.end(alarms);
        let stands = standing(&ledger);
        for request in approved {
            assert!(stands.contains_key(&request.text(37)), "{} stands", request.text(37));
        }
        assert_eq!(stands.len(), tried + approved.len(), "{ledger}");
        assert!(stands.values().all(|&minor| minor == 100), "{ledger}");
        (ended, ledger)
    }

    /// Ends all. Nothing else came to the acquirer; the switch told of nothing but these alarms.
    pub(crate) fn end(self, alarms: &[&str]) -> (Ended, Value) {
        let Self { proxy, client, switch, banks, .. } = self;
        let rest: Vec<_> = client.rest().iter().map(Message::outcome).collect();
        assert!(rest.is_empty(), "exactly one answer to each: {rest:?}");
        switch.signal(Signal::TERM);
        let ended = switch.end();
        // How long its link takes at the start is a matter of how fast the machine is.
        let alarms = || alarms.iter().chain(&["link{down} CMBC"]);
        let is_told = |line: &str| alarms().any(|alarm| line.contains(&format!(" ALARM {alarm}")));
        let told = ended.problems.lines().all(is_told);
        assert!(ended.code == Some(0) && told, "{}{}", ended.problems, ended.output);
        drop(proxy);
        (ended, banks.stop())
    }
}

/// How a transaction stands at the banks; `None`: they do not know it.
pub(crate) fn state_of(ledger: &Value, rrn: &str) -> Option<String> {
    let entries = ledger["transactions"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["rrn"] == rrn)?;
    Some(entry["state"].as_str().unwrap().to_owned())
}

/// Of these counters, each is so much.
pub(crate) fn assert_counted(ended: &Ended, expected: &[(&str, u64)]) {
    for &(name, count) in expected {
        assert_eq!(ended.counter(name), count, "{name}: {}", ended.output);
    }
}
