//! Banks behind sockets: one memory for all connections, and peers that misbehave.

use super::rig::{Client, ENGINES, Setup, frame};
use super::whole_switch::purchase_message;
use crate::bank::Statement;
use crate::config::{Config, IssuerLinkConfig};
use crate::io::BankServer;
use crate::shard::IssuerId;
use std::sync::Arc;
use tapswitch_protocol::{Dialect, FieldTable, Framing};

/// ABC, whose cards `purchase_message` uses, on a free port; its banks answer after so long.
fn config(setup: &Setup, delay_us: u64) -> (Arc<Config>, IssuerId) {
    let mut config = setup.config();
    let place = config.issuers.iter().position(|issuer| issuer.name == "ABC").unwrap();
    config.issuers[place].link =
        Some(IssuerLinkConfig::new("127.0.0.1:0".parse().unwrap(), Dialect::cups(), Framing::Cups));
    // A card for each request, so an account.
    config.bank.accounts_max = 1 << 14;
    let behaviour = &mut config.bank.behaviour[place];
    (behaviour.delay_median_us, behaviour.delay_p99_us) = (delay_us, delay_us);
    (behaviour.silence_ppm, behaviour.late_ppm, behaviour.unknown_card_ppm) = (0, 0, 0);
    (behaviour.insufficient_funds_ppm, behaviour.expired_ppm) = (0, 0);
    (behaviour.do_not_honor_ppm, behaviour.wrong_pin_ppm) = (0, 0);
    (Arc::new(config), IssuerId(place as u8))
}

fn ask(client: &mut Client, message: &[u8]) -> (u16, String) {
    client.send(&frame(Framing::Cups, message));
    outcome(&client.answer().unwrap())
}

fn outcome(message: &[u8]) -> (u16, String) {
    let mut table = FieldTable::default();
    let view = Dialect::cups().parse(message, &mut table).unwrap();
    (view.mti().number(), view.response_code().unwrap().to_string())
}

fn reversal(number: u32) -> Vec<u8> {
    let original = format!("0200{number:06}1122120000{:011}{:011}", 3_330_000, 3_330_000);
    purchase_message(420, number, &[(90, original.as_bytes())])
}

fn states(statement: &Statement) -> Vec<(&str, &str)> {
    let entries = statement.transactions.iter();
    entries.map(|entry| (entry.rrn.as_str(), entry.state)).collect()
}

/// The answer to a repeat is the same, the money moves once, and a reversal finds its original,
/// whatever connection each comes on; an original that comes after its reversal is refused.
#[test]
fn connections_share_one_memory() {
    for engine in ENGINES {
        let (config, issuer) = config(&Setup::on(engine), 500);
        let server = BankServer::start(&config, &[issuer]).unwrap();
        let address = server.served()[0].address;
        let mut one = Client::connect(address, Framing::Cups);
        let ok = |mti| (mti, "00".to_owned());
        assert_eq!(ask(&mut one, &purchase_message(200, 1, &[])), ok(210));
        assert_eq!(ask(&mut one, &purchase_message(200, 2, &[])), ok(210));
        drop(one);
        let mut other = Client::connect(address, Framing::Cups);
        assert_eq!(ask(&mut other, &purchase_message(200, 1, &[])), ok(210));
        let both = [("000000000001", "standing"), ("000000000002", "standing")];
        assert_eq!(states(&server.statement().unwrap()), both);
        assert_eq!(ask(&mut other, &reversal(2)), ok(430));
        assert_eq!(ask(&mut other, &reversal(2)), ok(430));
        assert_eq!(ask(&mut other, &reversal(3)), ok(430));
        assert_eq!(ask(&mut other, &purchase_message(200, 3, &[])), (210, "12".to_owned()));
        assert_eq!(ask(&mut other, &purchase_message(200, 2, &[])), (210, "12".to_owned()));
        let statement = server.stop().unwrap();
        let after = [("000000000001", "standing"), ("000000000002", "reversed")];
        assert_eq!(states(&statement), after);
        let [books] = &statement.banks[..] else { panic!("one bank is served") };
        assert_eq!((books.name.as_str(), &books.imbalance), ("ABC", &None));
        assert_eq!((books.approved.count, books.reversed.count), (2, 1));
        // The first repeat, and the second reversal of one original.
        assert_eq!((books.repeats, books.reversals_unmatched), (2, 1));
        assert!(statement.transactions.iter().all(|entry| entry.card.contains("****")));
    }
}

/// Frames in pieces are whole ones; lost framing ends that connection and no other; a peer that
/// asks without reading is not read on, and gets every answer once it does.
#[test]
fn peers_that_misbehave() {
    const REQUESTS: u32 = 5_000;
    for engine in ENGINES {
        let (config, issuer) = config(&Setup::on(engine), 0);
        let server = BankServer::start(&config, &[issuer]).unwrap();
        let address = server.served()[0].address;
        let mut pieces = Client::connect(address, Framing::Cups);
        for byte in frame(Framing::Cups, &purchase_message(200, 1, &[])) {
            pieces.send(&[byte]);
        }
        assert_eq!(outcome(&pieces.answer().unwrap()), (210, "00".to_owned()));

        let mut garbage = Client::connect(address, Framing::Cups);
        garbage.send(b"no frame at all");
        assert!(garbage.answer().is_none(), "its connection is ended");

        let mut greedy = Client::connect(address, Framing::Cups);
        let all: Vec<u8> = (10..10 + REQUESTS)
            .flat_map(|number| frame(Framing::Cups, &purchase_message(200, number, &[])))
            .collect();
        std::thread::scope(|scope| {
            let mut stream = greedy.stream.try_clone().unwrap();
            scope.spawn(move || std::io::Write::write_all(&mut stream, &all).unwrap());
            // Meanwhile others are served.
            assert_eq!(ask(&mut pieces, &purchase_message(200, 2, &[])), (210, "00".to_owned()));
            for answer in greedy.answers(REQUESTS as usize) {
                assert_eq!(outcome(&answer).0, 210);
            }
        });
        drop((pieces, greedy));
        let books = server.stop().unwrap().banks.remove(0);
        assert_eq!(books.imbalance, None);
    }
}
