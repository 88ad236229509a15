//! Links to an issuer that behaves as issuers should not: the test itself is the bank.

use super::rig::{Client, ENGINES, PATIENCE, Setup, frame};
use super::whole_switch::{purchase_message, start};
use crate::config::{Config, IssuerLinkConfig};
use crate::io::{ShardReport, Stopped};
use crate::shard::Counter;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::time::Duration;
use tapswitch_protocol::{Addition, Dialect, FieldTable, Framing, respond};

/// How long one look at a connection takes when nothing comes.
const LOOK: Duration = Duration::from_millis(2);
/// Looks until nothing is expected any more: a minute at least, however often the machine stands still.
pub(super) const LOOKS: usize = 30_000;

/// A listener that takes connections with patience; they take few bytes unread.
pub(super) fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(16).unwrap();
    SockRef::from(&socket).set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

pub(super) fn accept(listener: &TcpListener) -> Client {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Client::over(stream, Framing::Cups),
            // The process was stopped for a while.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("the switch does not connect: {error}"),
        }
    }
}

/// The configuration with ABC, whose cards `purchase_message` uses, behind a link.
fn linked(setup: &Setup, listener: &TcpListener) -> Config {
    let mut config = setup.config();
    let issuer = config.issuers.iter_mut().find(|issuer| issuer.name == "ABC").unwrap();
    let address = listener.local_addr().unwrap();
    let link = IssuerLinkConfig::new(address, Dialect::cups(), Framing::Cups);
    issuer.link = Some(IssuerLinkConfig { sign_on: false, ..link });
    config
}

/// What a connection has to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing yet.
    Nothing,
    /// Bytes.
    Bytes,
    /// The end of its stream.
    End,
}

pub(super) fn waits(client: &Client) -> Waits {
    if client.has_unread() {
        return Waits::Bytes;
    }
    client.stream.set_read_timeout(Some(LOOK)).unwrap();
    let peeked = client.stream.peek(&mut [0; 1]);
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match peeked {
        Ok(0) => Waits::End,
        Ok(_) => Waits::Bytes,
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => Waits::Nothing,
            _ => Waits::End,
        },
    }
}

fn has_bytes(client: &Client) -> bool {
    waits(client) == Waits::Bytes
}

/// The next request at a bank whose reversals are all acknowledged.
pub(super) fn next_request(bank: &mut Client) -> Vec<u8> {
    loop {
        if let Some(request) = take_request(bank) {
            return request;
        }
    }
}

/// The next message at a bank. A reversal that comes once more because its acknowledgement took long
/// is no request, and needs no other acknowledgement.
pub(super) fn take_request(bank: &mut Client) -> Option<Vec<u8>> {
    let message = bank.answer().expect("a request");
    (message[..2] == *b"02").then_some(message)
}

/// Sends purchases until one is forwarded: the link may not be known to be up yet. What came.
pub(super) fn until_forwarded(client: &mut Client, bank: &mut Client, first: u32) -> Vec<u8> {
    let mut looks = 0..LOOKS;
    for number in first..first + 100_000 {
        client.send(&frame(Framing::Cups, &purchase_message(200, number, &[])));
        loop {
            looks.next().expect("the link is made and used");
            if has_bytes(bank)
                && let Some(request) = take_request(bank)
            {
                return request;
            }
            if has_bytes(client) {
                assert_eq!(code(&client.answer().unwrap()), "91");
                break;
            }
        }
    }
    panic!("the link was not made");
}

fn read<T>(message: &[u8], take: impl FnOnce(&tapswitch_protocol::MessageView<'_>) -> T) -> T {
    let mut table = FieldTable::default();
    take(&Dialect::cups().parse(message, &mut table).unwrap())
}

pub(super) fn code(message: &[u8]) -> String {
    read(message, |view| view.response_code().unwrap().to_string())
}

/// The frame of an approval of what the switch sent.
pub(super) fn approval(request: &[u8]) -> Vec<u8> {
    let body = read(request, |view| {
        let mut out = vec![0; 2_048];
        let added = [Addition { field: 39, value: b"00" }];
        let mti = view.mti().response().unwrap();
        let bytes = respond(view, mti, Dialect::cups().echo, &added, &mut out).unwrap();
        out.truncate(bytes);
        out
    });
    frame(Framing::Cups, &body)
}

pub(super) fn count(stopped: &Stopped<ShardReport>, counter: Counter) -> u64 {
    stopped.reports.iter().map(|report| report.counters.value(counter)).sum()
}

#[test]
fn answers_in_pieces_and_together_and_garbage() {
    for engine in ENGINES {
        let setup = Setup::on(engine);
        let listener = listener();
        let switch = start(linked(&setup, &listener), &setup, 0);
        let mut client = Client::connect(switch.local_addrs()[0], Framing::Cups);
        let mut bank = accept(&listener);

        let request = until_forwarded(&mut client, &mut bank, 0);
        for byte in approval(&request) {
            bank.send(&[byte]);
        }
        assert_eq!(code(&client.answer().unwrap()), "00");

        let numbers = 200_000..200_005;
        for number in numbers.clone() {
            client.send(&frame(Framing::Cups, &purchase_message(200, number, &[])));
        }
        let requests = bank.answers(numbers.len());
        // An idle probe between two answers, and an answer to nothing.
        let mut together: Vec<u8> =
            requests.iter().rev().map(|it| approval(it)).collect::<Vec<_>>().concat();
        together.extend_from_slice(b"0000");
        together.extend(approval(&requests[0]));
        bank.send(&together);
        for answer in client.answers(numbers.len()) {
            assert_eq!(code(&answer), "00");
        }

        client.send(&frame(Framing::Cups, &purchase_message(200, 300_000, &[])));
        let request = bank.answer().unwrap();
        bank.send(b"this is no frame");
        assert_eq!(code(&client.answer().unwrap()), "98");
        drop(bank);

        let mut bank = accept(&listener);
        let reversal = bank.answer().expect("what is owed comes by itself");
        assert_eq!(&reversal[..4], b"0420");
        let named = read(&reversal, |view| view.raw(90).map(<[u8]>::to_vec)).unwrap();
        let stan = read(&request, |view| view.raw(11).map(<[u8]>::to_vec)).unwrap();
        assert_eq!(named[4..10], stan, "it names what was in flight");
        bank.send(&approval(&reversal));
        let request = until_forwarded(&mut client, &mut bank, 400_000);
        bank.send(&approval(&request));
        assert_eq!(code(&client.answer().unwrap()), "00");

        drop(client);
        let stopped = switch.stop().unwrap();
        assert_eq!((count(&stopped, Counter::LinkUp), count(&stopped, Counter::LinkDown)), (2, 1));
        assert_eq!(
            (count(&stopped, Counter::LinkLost), count(&stopped, Counter::OwedDone)),
            (1, 1)
        );
        assert_eq!(count(&stopped, Counter::Unmatched), 1);
        assert_eq!(stopped.reports[0].in_flight, 0);
    }
}

/// What waits for a bank that does not read is bounded: beyond it requests are refused at once, and
/// every one is answered.
#[test]
fn a_bank_that_does_not_read_is_not_sent_without_end() {
    const REQUESTS: u32 = 4_000;
    for engine in ENGINES {
        // What is owed to a bank that is gone is not waited for.
        let setup = Setup { drain_ms: 400, ..Setup::on(engine) };
        let listener = listener();
        let mut config = linked(&setup, &listener);
        config.switch.pending_max = 8_192;
        let switch = start(config, &setup, 0);
        let address = switch.local_addrs()[0];
        let mut client = Client::connect(address, Framing::Cups);
        let mut bank = accept(&listener);
        let request = until_forwarded(&mut client, &mut bank, 0);
        bank.send(&approval(&request));
        assert_eq!(code(&client.answer().unwrap()), "00");

        let long = vec![b'x'; 500];
        let more: [(u8, &[u8]); 3] = [(59, &long), (63, &long), (113, &long)];
        let mut stream = client.stream.try_clone().unwrap();
        let answers: Vec<String> = std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 500_000..500_000 + REQUESTS {
                    let message = purchase_message(200, number, &more);
                    stream.write_all(&frame(Framing::Cups, &message)).unwrap();
                }
            });
            // The first refusal shows that the bound holds; then the bank is gone.
            let first = client.answer().map(|answer| code(&answer)).unwrap();
            // Nobody else is there either: what is left is refused.
            drop((listener, bank));
            let rest = (1..REQUESTS).map(|_| code(&client.answer().unwrap()));
            std::iter::once(first).chain(rest).collect()
        });
        assert_eq!(answers[0], "91");
        let refused = answers.iter().filter(|code| *code == "91").count();
        let lost = answers.iter().filter(|code| *code == "98").count();
        assert_eq!(refused + lost, REQUESTS as usize);
        assert!(lost > 0);
        drop(client);
        let stopped = switch.stop().unwrap();
        assert_eq!(count(&stopped, Counter::LinkLost), lost as u64);
        assert!(count(&stopped, Counter::RefusedIssuerWindow) > 0);
    }
}
