//! Links that their issuer makes, and pairs of connections of which each carries one direction: the test
//! itself is the bank.

use super::issuer_links::{
    LOOKS, Waits, accept, approval, code, count, listener, next_request, take_request,
    until_forwarded, waits,
};
use super::rig::{Client, ENGINES, Setup, frame};
use super::whole_switch::{purchase_message, start};
use crate::config::{Config, IssuerLinkConfig};
use crate::shard::Counter;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tapswitch_protocol::{Dialect, Framing};

/// An address that nobody listens at, and that nobody else takes: the kernel gives out ports of
/// 127.0.0.1 to connections, but this process alone uses this address.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = [127, 64 | high & 63, low, NEXT.fetch_add(1, Ordering::Relaxed)];
    TcpListener::bind(SocketAddr::from((host, 0))).unwrap().local_addr().unwrap()
}

/// The configuration with ABC, whose cards `purchase_message` uses, behind this link.
fn behind(setup: &Setup, link: IssuerLinkConfig) -> Config {
    let mut config = setup.config();
    let issuer = config.issuers.iter_mut().find(|issuer| issuer.name == "ABC").unwrap();
    issuer.link = Some(link);
    config
}

fn cups(connect: SocketAddr) -> IssuerLinkConfig {
    IssuerLinkConfig::new(connect, Dialect::cups(), Framing::Cups)
}

fn send_purchase(client: &mut Client, number: u32) {
    client.send(&frame(Framing::Cups, &purchase_message(200, number, &[])));
}

/// Which of two banks is asked next, and what.
fn next_asked(banks: &mut [&mut Client; 2]) -> (usize, Vec<u8>) {
    for _ in 0..LOOKS {
        let Some(asked) = banks.iter().position(|bank| waits(bank) == Waits::Bytes) else {
            continue;
        };
        if let Some(request) = take_request(banks[asked]) {
            return (asked, request);
        }
    }
    panic!("no bank is asked");
}

/// Two purchases while nothing else is under way: each goes by another link, the one with fewer under
/// way, as soon as both are known to be up. What both banks were asked; `None` when one of them was asked
/// twice, and has answered.
fn one_by_each(
    client: &mut Client,
    mut banks: [&mut Client; 2],
    number: u32,
) -> Option<[Vec<u8>; 2]> {
    send_purchase(client, number);
    let (one, first) = next_asked(&mut banks);
    send_purchase(client, number + 1);
    let (other, second) = next_asked(&mut banks);
    if one != other {
        return Some(if one == 0 { [first, second] } else { [second, first] });
    }
    for request in [first, second] {
        banks[one].send(&approval(&request));
        assert_eq!(code(&client.answer().unwrap()), "00");
    }
    // As many as come before the link is known do not fill the switch's tables.
    std::thread::park_timeout(Duration::from_millis(10));
    None
}

#[test]
fn an_issuer_connects_by_itself() {
    for engine in ENGINES {
        let setup = Setup::on(engine);
        let address = free_address();
        let link = IssuerLinkConfig {
            connect: None,
            listen: Some(address),
            connections: 2,
            sign_on: false,
            ..cups(address)
        };
        let switch = start(behind(&setup, link), &setup, 0);
        let mut client = Client::connect(switch.local_addrs()[0], Framing::Cups);
        send_purchase(&mut client, 1);
        assert_eq!(code(&client.answer().unwrap()), "91", "nobody has come yet");
        let mut first = Client::connect(address, Framing::Cups);
        let request = until_forwarded(&mut client, &mut first, 100);
        first.send(&approval(&request));
        assert_eq!(code(&client.answer().unwrap()), "00");
        let mut second = Client::connect(address, Framing::Cups);
        let mut third = Client::connect(address, Framing::Cups);
        assert_eq!(third.answer(), None, "two were asked for");

        let requests = (200_000..300_000)
            .step_by(2)
            .find_map(|number| one_by_each(&mut client, [&mut first, &mut second], number))
            .expect("both links are used");
        // Answers are taken on any link of the issuer.
        first.send(&approval(&requests[1]));
        assert_eq!(code(&client.answer().unwrap()), "00");
        drop(first);
        assert_eq!(code(&client.answer().unwrap()), "98", "its own request goes with it");
        let reversal = second.answer().unwrap();
        assert_eq!(reversal[..4], *b"0420");
        second.send(&approval(&reversal));

        let mut again = Client::connect(address, Framing::Cups);
        let requests = (300_000..400_000)
            .step_by(2)
            .find_map(|number| {
                // Its place is free once nothing of the lost link is left.
                if waits(&again) == Waits::End {
                    again = Client::connect(address, Framing::Cups);
                }
                one_by_each(&mut client, [&mut second, &mut again], number)
            })
            .expect("the link that was made again is used");
        for (bank, request) in [(&mut second, &requests[0]), (&mut again, &requests[1])] {
            bank.send(&approval(request));
            assert_eq!(code(&client.answer().unwrap()), "00");
        }

        drop(client);
        let stopped = switch.stop().unwrap();
        assert_eq!(count(&stopped, Counter::LinkUp), 3);
        assert_eq!(count(&stopped, Counter::LinkLost), 1);
    }
}

/// CUPS: the switch connects to send, the issuer to answer; a pair lives and dies as one.
#[test]
fn requests_leave_by_one_connection_and_answers_come_by_the_other() {
    for engine in ENGINES {
        // What is owed to a bank that is gone is not waited for.
        let setup = Setup { drain_ms: 400, ..Setup::on(engine) };
        let (listener, address) = (listener(), free_address());
        let link =
            IssuerLinkConfig { listen: Some(address), ..cups(listener.local_addr().unwrap()) };
        let switch = start(behind(&setup, link), &setup, 0);
        let mut client = Client::connect(switch.local_addrs()[0], Framing::Cups);
        let mut next = 0;
        for round in 0..2 {
            let mut there = accept(&listener);
            let mut back = Client::connect(address, Framing::Cups);
            let sign_on = there.answer().expect("the sign-on leaves once both are made");
            assert_eq!(sign_on[..4], *b"0820");
            send_purchase(&mut client, next);
            assert_eq!(code(&client.answer().unwrap()), "91", "not before it is granted");
            back.send(&approval(&sign_on));
            if round == 1 {
                let reversal = there.answer().expect("what is owed follows");
                assert_eq!(reversal[..4], *b"0420");
                back.send(&approval(&reversal));
            }
            let request = until_forwarded(&mut client, &mut there, next + 1);
            // What comes by the wrong direction is no answer.
            there.send(&approval(&request));
            back.send(&approval(&request));
            assert_eq!(code(&client.answer().unwrap()), "00");
            next += 200_000;
            send_purchase(&mut client, next);
            next_request(&mut there);
            drop(back);
            assert_eq!(code(&client.answer().unwrap()), "98");
            assert_eq!(there.answer(), None, "the other direction is closed with it");
            next += 1;
        }
        drop(client);
        let stopped = switch.stop().unwrap();
        assert_eq!(count(&stopped, Counter::LinkUp), 2);
        assert_eq!(
            (count(&stopped, Counter::Approved), count(&stopped, Counter::LinkLost)),
            (2, 2)
        );
        assert_eq!(count(&stopped, Counter::Unmatched), 0);
    }
}

#[test]
fn a_link_by_which_nothing_is_sent_gets_idle_probes() {
    for engine in ENGINES {
        let setup = Setup::on(engine);
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let link = IssuerLinkConfig { sign_on: false, probe_idle_ms: 50, ..cups(address) };
        let switch = start(behind(&setup, link), &setup, 0);
        let mut bank = accept(&listener);
        let mut probes = [0; 12];
        bank.stream.read_exact(&mut probes).unwrap();
        assert_eq!(probes, *b"000000000000");
        switch.stop().unwrap();
    }
}
