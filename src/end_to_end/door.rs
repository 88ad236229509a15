//! Who is let in: by address, and by how often.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Ended, GENEROUS, PATIENCE, Setup};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

fn purchase(number: u32) -> Message {
    Message::purchase(Speech::cups(), number, number)
}

/// A connection from this address of the machine.
fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// It is closed, and nothing was answered.
fn is_closed(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Either may find the connection reset.
    let _ = stream.write_all(&purchase(1).frame());
    match stream.read(&mut [0; 64]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// What a switch said of connections that it did not serve.
fn refused(ended: &Ended, why: &str) -> u64 {
    let mut lines = ended.output.lines().filter_map(|line| line.strip_prefix("refused "));
    let line = lines.find(|line| line.contains(why)).unwrap_or_else(|| panic!("{}", ended.output));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// B5: whoever is not named is closed before a byte of his is read; others are served.
#[test]
fn b5_who_is_no_peer_is_closed_unread() {
    let acquirer = "peers = [\"127.0.0.2\", \"10.0.0.0/8\"]";
    let switch = Setup { acquirer, bank: GENEROUS, ..Setup::default() }.run();
    let to = switch.address("cups");
    assert!(is_closed(from([127, 0, 0, 1], to)));
    assert!(is_closed(from([127, 0, 0, 3], to)));
    let mut client = Client::over(from([127, 0, 0, 2], to), Speech::cups());
    assert_eq!(client.ask(&purchase(2)).text(39), "00");
    drop(client);
    let ended = switch.stop();
    assert_eq!(refused(&ended, "that `peers` does not name"), 2);
    assert_eq!(ended.counter("received"), 1, "nothing of the others was read");
}

/// B11: a flood of connections from one address; those beyond its rate are closed at once, a connection that
/// exists and another address are served.
#[test]
fn b11_who_connects_too_often_is_closed_and_others_are_served() {
    const CONNECTIONS: u64 = 300;
    let acquirer = "connects_per_second = 1";
    let switch = Setup { acquirer, bank: GENEROUS, ..Setup::default() }.run();
    let to = switch.address("cups");
    let mut client = Client::of(&switch, Speech::cups());
    assert_eq!(client.ask(&purchase(1)).text(39), "00");
    let flood: Vec<TcpStream> = (0..CONNECTIONS).map(|_| from([127, 0, 0, 3], to)).collect();
    let mut other = Client::over(from([127, 0, 0, 2], to), Speech::cups());
    assert_eq!(other.ask(&purchase(2)).text(39), "00");
    assert_eq!(client.ask(&purchase(3)).text(39), "00");
    drop((client, other, flood));
    let ended = switch.stop();
    // However slow the machine is, it makes more than one connection a second.
    let refused = refused(&ended, "beyond connects_per_second");
    assert!((1..CONNECTIONS).contains(&refused), "{refused}: {}", ended.output);
    assert_eq!(ended.counter("received"), 3);
}
