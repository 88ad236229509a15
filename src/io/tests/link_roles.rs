//! Links that their issuer makes, and pairs of connections of which each carries one direction: the test
//! itself is the bank.

use super::issuer_links::{accept, approval, code, count, listener, until_forwarded};
use super::rig::{Client, ENGINES, Setup, frame};
use super::whole_switch::{purchase_message, start};
use crate::config::{Config, IssuerLinkConfig};
use crate::shard::Counter;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use tapswitch_protocol::{Dialect, Framing};

/// An address that nobody listens at.
fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
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

        send_purchase(&mut client, 200_000);
        send_purchase(&mut client, 200_001);
        let requests = [first.answer().unwrap(), second.answer().unwrap()];
        // Answers are taken on any link of the issuer.
        first.send(&approval(&requests[1]));
        assert_eq!(code(&client.answer().unwrap()), "00");
        drop(first);
        assert_eq!(code(&client.answer().unwrap()), "98", "its own request goes with it");
        let reversal = second.answer().unwrap();
        assert_eq!(reversal[..4], *b"0420");
        second.send(&approval(&reversal));

        let mut again = Client::connect(address, Framing::Cups);
        for number in 300_000..300_002 {
            send_purchase(&mut client, number);
        }
        // Perhaps before the new link is known: then both went by the other.
        let request = second.answer().unwrap();
        second.send(&approval(&request));
        assert_eq!(code(&client.answer().unwrap()), "00");
        again.stream.set_nonblocking(false).unwrap();
        let mut stray = [0; 1];
        again.stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        let other = if again.stream.peek(&mut stray).is_ok() { &mut again } else { &mut second };
        let request = other.answer().unwrap();
        other.send(&approval(&request));
        assert_eq!(code(&client.answer().unwrap()), "00");

        drop((client, second, again));
        let stopped = switch.stop().unwrap();
        assert_eq!(count(&stopped, Counter::LinkUp), 3);
        assert_eq!(count(&stopped, Counter::LinkLost), 1);
    }
}

/// CUPS: the switch connects to send, the issuer to answer; a pair lives and dies as one.
#[test]
fn requests_leave_by_one_connection_and_answers_come_by_the_other() {
    for engine in ENGINES {
        let setup = Setup::on(engine);
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
            there.answer().expect("a request");
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
