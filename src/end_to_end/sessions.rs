//! Acquirers' sessions: sign-on, echoes, takeover, and the sign-off of a switch that stops.

use crate::client::Client;
use crate::links::managed;
use crate::message::{Message, Speech};
use crate::process::{GENEROUS, Setup};
use rustix::process::Signal;

fn purchase(number: u32) -> Message {
    Message::purchase(Speech::cups(), number, number)
}

/// The next answer that is no echo of the switch: on a machine that stands still one may come before it.
fn answer(client: &mut Client) -> Message {
    loop {
        let message = client.answer();
        if order_of(&message) != echo() {
            return message;
        }
    }
}

fn echo() -> (String, String) {
    ("0820".to_owned(), "301".to_owned())
}

fn order_of(message: &Message) -> (String, String) {
    (message.mti().to_string(), message.text(70))
}

/// B9, B8, B10: 58 before the sign-on; then a silent acquirer is asked for three echoes, and cut.
#[test]
fn a_connection_signs_on_and_is_cut_when_it_is_silent() {
    let acquirer = "sign_on_required = true\necho_idle_ms = 700\necho_misses = 3";
    let setup = Setup { acquirer, bank: GENEROUS, ..Setup::default() };
    let switch = setup.run();
    let mut client = Client::of(&switch, Speech::cups());
    let asked = [purchase(1).frame(), managed(b"001"), purchase(2).frame()];
    for (frame, code) in asked.iter().zip(["58", "00", "00"]) {
        client.send(frame);
        assert_eq!(answer(&mut client).text(39), code);
    }
    let mut echoes = 0;
    while let Some(message) = client.next_answer() {
        assert_eq!(order_of(&message), echo());
        echoes += 1;
    }
    assert!(echoes >= 3, "then it is closed: {echoes}");
    let ended = switch.stop();
    assert!(ended.counter("acquirer{echo_missed}") >= 3, "{}", ended.output);
    assert_eq!(ended.counter("acquirer{echo_timeout}"), 1);
}

/// B3: the old connection gets its answers and is closed, the new one is served.
#[test]
fn a_new_connection_takes_the_place_of_the_old_one() {
    for takeover in [true, false] {
        let acquirer = format!("connections_max = 1\ntakeover = {takeover}");
        let slow = Some(
            "delay_median_us = 500_000\ndelay_p99_us = 500_000\nsilence_ppm = 0\nlate_ppm = 0",
        );
        let setup = Setup {
            switch: "shards = 2",
            acquirer: &acquirer,
            behaviour: slow,
            bank: GENEROUS,
            ..Setup::default()
        };
        let switch = setup.run();
        let mut old = Client::of(&switch, Speech::cups());
        old.send(&purchase(1).frame());
        // Refused at once, so that the first has been taken.
        let nothing = Message::purchase(Speech::cups(), 1, 2).with(4, "000000000000");
        assert_eq!(old.ask(&nothing).text(39), "13");
        let mut new = Client::of(&switch, Speech::cups());
        if takeover {
            assert_eq!(old.answer().text(39), "00", "it gets its answer");
            assert!(old.next_answer().is_none(), "and is closed");
            assert_eq!(new.ask(&purchase(3)).text(39), "00");
        } else {
            assert!(new.next_answer().is_none(), "refused");
            assert_eq!(old.answer().text(39), "00");
            assert_eq!(old.ask(&purchase(3)).text(39), "00");
        }
        drop((old, new));
        let ended = switch.stop();
        let counts = [ended.counter("acquirer{takeover}"), ended.counter("acquirer{refused}")];
        assert_eq!(counts, if takeover { [1, 0] } else { [0, 1] });
    }
}

/// G5: who has signed on is told that the switch stops.
#[test]
fn a_switch_that_stops_signs_off() {
    let setup = Setup { bank: GENEROUS, ..Setup::default() };
    let switch = setup.run();
    let mut told = Client::of(&switch, Speech::cups());
    let mut other = Client::of(&switch, Speech::cups());
    told.send(&managed(b"001"));
    assert_eq!(told.answer().text(39), "00");
    assert_eq!(other.ask(&purchase(1)).text(39), "00");
    switch.signal(Signal::TERM);
    assert_eq!(order_of(&told.answer()), ("0820".to_owned(), "002".to_owned()));
    assert!(told.next_answer().is_none());
    assert!(other.next_answer().is_none(), "it never signed on");
    let ended = switch.end();
    ended.assert_clean();
    assert_eq!(ended.counter("acquirer{signed_off}"), 1);
}
