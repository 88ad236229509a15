//! The real shard and the real banks behind the sockets, in every arrangement of threads.

use super::rig::{Client, ENGINES, Setup, frame};
use crate::config::{BankBehaviour, Config, Idle};
use crate::io::{ShardReport, Stopped, Switch};
use crate::shard::{Counter, CryptogramKeys, Secrets, Shard};
use std::collections::BTreeSet;
use std::sync::Arc;
use tapswitch_protocol::{Dialect, FieldTable, Framing, MessageWriter, Mti};

const REQUESTS: u32 = 200;

/// A purchase of 1.00 with one of many cards, framed.
fn purchase(number: u32) -> Vec<u8> {
    frame(Framing::Cups, &purchase_message(200, number, &[]))
}

/// The same without frame, of another type, with further fields above 49.
pub(super) fn purchase_message(mti: u16, number: u32, more: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = vec![0; 2_048];
    let mti = Mti::from_number(mti).unwrap();
    let mut writer = MessageWriter::new(Dialect::cups(), mti, &mut out).unwrap();
    let pan = format!("622848{number:013}");
    let stan = format!("{number:06}");
    let rrn = format!("{number:012}");
    let fields: [(u8, &[u8]); 15] = [
        (2, pan.as_bytes()),
        (3, b"000000"),
        (4, b"000000000100"),
        (7, b"1122120000"),
        (11, stan.as_bytes()),
        (12, b"120000"),
        (13, b"1122"),
        (18, b"5411"),
        (22, b"072"),
        (25, b"00"),
        (32, b"03330000"),
        (33, b"03330000"),
        (37, rrn.as_bytes()),
        (41, b"01080209"),
        (42, b"333290054110001"),
    ];
    for (field, value) in fields {
        writer.put(field, value).unwrap();
    }
    writer.put(49, b"156").unwrap();
    for (field, value) in more {
        writer.put(*field, value).unwrap();
    }
    let bytes = writer.finish().unwrap();
    out.truncate(bytes);
    out
}

pub(super) fn start(mut config: Config, setup: &Setup, delay_us: u64) -> Switch<Shard> {
    config.velocity.lines = 1 << 14;
    for bank in &mut config.bank.behaviour {
        *bank = BankBehaviour {
            delay_median_us: delay_us,
            delay_p99_us: delay_us,
            silence_ppm: 0,
            late_ppm: 0,
            ..bank.clone()
        };
    }
    let config = Arc::new(config);
    let shared = Arc::clone(&config);
    let secrets = Secrets {
        card_key: [7; 32],
        digest_key: [9; 16],
        par_key: [8; 32],
        cryptograms: CryptogramKeys::default(),
    };
    Switch::start(config, setup.timeouts, move |id| Shard::new(id, &shared, &secrets)).unwrap()
}

/// Sends every purchase, half of them alone and half together; each is answered once.
fn run(switch: Switch<Shard>) -> Stopped<ShardReport> {
    let mut clients: Vec<_> =
        (0..3).map(|_| Client::connect(switch.local_addrs()[0], Framing::Cups)).collect();
    let mut table = FieldTable::default();
    let mut answered = BTreeSet::new();
    for (client, first) in clients.iter_mut().zip((0..).step_by(REQUESTS as usize)) {
        let alone = first..first + REQUESTS / 10;
        let together: Vec<_> = (alone.end..first + REQUESTS).flat_map(purchase).collect();
        let mut take = |client: &mut Client| {
            let answer = client.answer().expect("an answer to each request");
            let view = Dialect::cups().parse(&answer, &mut table).unwrap();
            assert_eq!(view.mti().number(), 210);
            let code = view.response_code().unwrap();
            assert!(
                [&b"00"[..], b"14", b"51", b"54", b"05"].contains(&&code.bytes()[..]),
                "{code:?}"
            );
            assert!(answered.insert(view.number(11).unwrap()), "answered once");
        };
        for number in alone {
            client.send(&purchase(number));
            take(client);
        }
        client.send(&together);
        (0..REQUESTS - REQUESTS / 10).for_each(|_| take(client));
    }
    assert_eq!(answered.len(), 3 * REQUESTS as usize);
    drop(clients);
    switch.stop().unwrap()
}

#[test]
fn every_arrangement_of_shards_and_banks_answers_every_request() {
    for engine in ENGINES {
        for (shards, bank_threads, idle, delay_us) in [
            (1, 0, Idle::Spin, 500),
            (1, 1, Idle::Spin, 0),
            (2, 0, Idle::Park, 0),
            (2, 1, Idle::Park, 500),
        ] {
            let mut setup = Setup::on(engine);
            (setup.shards, setup.idle) = (shards, idle);
            let mut config = setup.config();
            config.bank.threads = bank_threads;
            let stopped = run(start(config, &setup, delay_us));
            let count = |counter| -> u64 {
                stopped.reports.iter().map(|report| report.counters.value(counter)).sum()
            };
            assert_eq!(count(Counter::AnsweredByIssuer), 3 * u64::from(REQUESTS));
            assert_eq!(count(Counter::TimedOut) + count(Counter::Unmatched), 0);
            assert!(stopped.reports.iter().all(|report| report.in_flight == 0));
            let crossed = count(Counter::CrossedOut);
            assert_eq!(crossed, count(Counter::CrossedIn));
            assert_eq!(crossed > 0, shards > 1);
            assert_eq!(stopped.banks.len(), shards);
            for (_, ledger) in stopped.banks.iter().flat_map(|banks| banks.ledgers()) {
                ledger.check().unwrap();
            }
        }
    }
}
