//! Scripts as tables: one message a line, in time order; after the arrow everything that the shard
//! does, in order.
//!
//! `from` is a connection (A1, A2), an issuer (I0, I1), `tick`, `close`/`open` of a connection or
//! `down`/`up` of an issuer's link named under `card`. `stan` is the acquirer's own number, `9/1` for number 9 about original 1; an
//! issuer's line answers the newest forward of that number.

use super::fixture::{Request, World, config, connection, issuer_answer, pan, with_view};
use crate::shard::IssuerId;

/// Runs a script; a line that does something else fails with its number.
pub(super) fn run(script: &str) {
    run_with(&mut World::new(&config(1)), script);
}

fn run_with(world: &mut World, script: &str) {
    // Which forward carried which acquirer number: the reference number repeats it.
    for (number, line) in script.lines().enumerate() {
        let line = line.split('#').next().unwrap().trim();
        if line.is_empty() {
            continue;
        }
        let (left, expect) = line.split_once("->").expect("an arrow");
        let columns: Vec<&str> = left.split_whitespace().collect();
        let done = play(world, &columns);
        let got: Vec<String> = done.into_iter().map(|done| done.text).collect();
        assert_eq!(got.join(", "), expect.trim(), "line {}: {line}", number + 1);
    }
}

fn play(world: &mut World, columns: &[&str]) -> Vec<super::fixture::Done> {
    let [at_ms, from, mti, kind, card, amount, stan, rc] = columns else {
        panic!("eight columns: {columns:?}");
    };
    world.at_ms(at_ms.parse().unwrap());
    let slot = || connection(card[1..].parse().unwrap());
    match *from {
        "tick" => world.tick(),
        "down" => world.issuer_down(IssuerId(card[1..].parse().unwrap())),
        "up" => {
            world.shard.on_issuer_up(world.now, IssuerId(card[1..].parse().unwrap()));
            Vec::new()
        }
        "close" => {
            world.shard.on_connection_closed(slot());
            Vec::new()
        }
        "open" => {
            world.shard.on_connection_open(slot());
            Vec::new()
        }
        from if from.starts_with('I') => {
            let issuer = IssuerId(from[1..].parse().unwrap());
            let rrn = format!("{:0>12}", stan);
            let forward = world.forwarded.iter().rev().find(|(to, _, message)| {
                let reference = with_view(message, |view| view.raw(37).map(<[u8]>::to_vec));
                *to == issuer
                    && reference.as_deref() == Some(rrn.as_bytes())
                    && message[..2] == mti.as_bytes()[..2]
            });
            let answer = issuer_answer(&forward.expect("was forwarded").2, rc, &[]);
            assert_eq!(&answer[..4], mti.as_bytes());
            world.issuer(issuer, &answer)
        }
        from => {
            let (own, original) = stan.split_once('/').unwrap_or((stan, ""));
            let amount: f64 = amount.parse().unwrap_or_default();
            let request = Request {
                mti: mti.parse().unwrap(),
                processing: match *kind {
                    "buy" => "000000",
                    "void" | "refund" => "200000",
                    "balance" => "300000",
                    "hold" => "030000",
                    other => panic!("kind {other}"),
                },
                pan: pan(card),
                amount: (*kind != "balance").then_some((amount * 100.0).round() as u64),
                stan: own.parse().unwrap(),
                original_stan: original.parse().ok(),
                extra: &[],
            };
            let message = request.message(tapswitch_protocol::Dialect::cups());
            world.request(from[1..].parse().unwrap(), &message)
        }
    }
}

#[test]
fn an_approval_and_a_decline() {
    run("
    # at_ms from  mti  kind    card amount stan rc -> does
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
        120   I0 0210     .       .      .    1 00 -> A1 0210 00
        200   A2 0200   buy      C4  10.00    2  . -> I1 0200
        210   I1 0210     .       .      .    2 51 -> A2 0210 51
        300   A1 0200 balance    C1      .    3  . -> I0 0200
        310   I0 0210     .       .      .    3 00 -> A1 0210 00
        400   A1 0100  hold      C1  10.00    4  . -> I0 0100
        410   I0 0110     .       .      .    4 00 -> A1 0110 00
    ");
}

#[test]
fn limits_by_amount_and_by_count() {
    run("
          0   A1 0200   buy      C1  60.00    1  . -> I0 0200
          1   A1 0200   buy      C1  40.01    2  . -> A1 0210 61    # the first is only reserved
          2   A1 0200   buy      C1  40.00    3  . -> I0 0200
          3   I0 0210     .       .      .    3 51 -> A1 0210 51    # released
          4   A1 0200   buy      C1  40.00    4  . -> I0 0200
          5   I0 0210     .       .      .    4 00 -> A1 0210 00
          6   A1 0200   buy      C1   0.01    5  . -> A1 0210 61
          7   A1 0200 balance    C1      .    6  . -> I0 0200       # moves no money
         10   A1 0200   buy      C2   1.00   11  . -> I0 0200
         11   A1 0200   buy      C2   1.00   12  . -> I0 0200
         12   A1 0200   buy      C2   1.00   13  . -> I0 0200
         13   A1 0200   buy      C2   1.00   14  . -> A1 0210 65
         14   I0 0210     .       .      .   12 05 -> A1 0210 05
         15   A1 0200   buy      C2   1.00   15  . -> I0 0200
         16   A1 0200   buy      C2   1.00   14  . -> A1 0210 65    # a repeat: the same answer
    ");
}

#[test]
fn silence_then_a_late_answer() {
    run("
          0   A1 0200   buy      C1  60.00    1  . -> I0 0200
       7990 tick    .     .       .      .    .  . ->
       8008 tick    .     .       .      .    .  . -> A1 0210 98, I0 0420
       8100   I0 0210     .       .      .    1 00 ->               # late: reaches nobody
       8200   A1 0201   buy      C1  60.00    1  . -> A1 0210 98
       8300   A1 0200   buy      C1 100.00    2  . -> I0 0200       # was released
      11900 tick    .     .       .      .    .  . ->
      14100 tick    .     .       .      .    .  . -> I0 0420       # again until acknowledged
      14200   I0 0430     .       .      .    1 00 ->
      16400 tick    .     .       .      .    .  . -> A1 0210 98, I0 0420
    ");
}

#[test]
fn an_inquiry_that_times_out_owes_nothing() {
    run("
          0   A1 0200 balance    C1      .    1  . -> I0 0200
       8008 tick    .     .       .      .    .  . -> A1 0210 98
    ");
}

#[test]
fn repeats_in_flight_and_after() {
    run("
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
          1   A2 0201   buy      C1  10.00    1  . ->               # absorbed
          2   A1 0200   buy      C1  11.00    1  . -> A1 0210 94
          3   I0 0210     .       .      .    1 00 -> A2 0210 00    # one answer, newest connection
          4   I0 0210     .       .      .    1 00 ->
          5   A1 0200   buy      C1  10.00    1  . -> A1 0210 00
          6   A1 0200   buy      C2  10.00    1  . -> A1 0210 94
          7   A1 0200   buy      C1  30.00    2  . -> I0 0200       # counted once: 30 + 10
          8   A1 0200   buy      C1  60.00    3  . -> I0 0200
    ");
}

#[test]
fn reversals_of_every_state() {
    run("
          0   A1 0200   buy      C1  60.00    1  . -> I0 0200
          1   I0 0210     .       .      .    1 00 -> A1 0210 00
          2   A1 0420   buy      C1  60.00  2/1  . -> A1 0430 00, I0 0420
          3   A1 0421   buy      C1  60.00  2/1  . -> A1 0430 00
          4   A1 0420   buy      C1  60.00  3/1  . -> A1 0430 00    # again, another number
          5   I0 0430     .       .      .    1 00 ->
          6   A1 0200   buy      C1  60.00    1  . -> A1 0210 98    # no longer approved
         10   A1 0200   buy      C1 100.00    4  . -> I0 0200       # released once
         11   A1 0420   buy      C1 100.00  5/4  . -> A1 0210 98, A1 0430 00, I0 0420
         12   I0 0210     .       .      .    4 00 ->               # too late
         20   A1 0200   buy      C2  10.00    6  . -> I0 0200
         21   I0 0210     .       .      .    6 51 -> A1 0210 51
         22   A1 0420   buy      C2  10.00  7/6  . -> A1 0430 00    # was declined: issuer not told
         30   A1 0420   buy      C3  10.00 9/98  . -> A1 0430 00, I0 0420
         31   A1 0200   buy      C3  10.00   98  . -> A1 0210 91    # its reversal came first
         32   A1 0400   buy      C4  10.00 10/97 . -> A1 0410 25, I1 0420
    ");
}

#[test]
fn reversals_of_a_card_wait_for_each_other() {
    run("
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
          1   A1 0200   buy      C1  10.00    2  . -> I0 0200
          2   I0 0210     .       .      .    1 00 -> A1 0210 00
          3   I0 0210     .       .      .    2 00 -> A1 0210 00
          4   A1 0420   buy      C1  10.00  3/1  . -> A1 0430 00, I0 0420
          5   A1 0420   buy      C1  10.00  4/2  . -> A1 0430 00
          6   I0 0430     .       .      .    1 00 -> I0 0420
          7   I0 0430     .       .      .    2 00 ->
    ");
}

#[test]
fn voids_and_refunds() {
    run("
          0   A1 0200   buy      C1 100.00    1  . -> I0 0200
          1   I0 0210     .       .      .    1 00 -> A1 0210 00
          2   A1 0200   buy      C1   1.00    2  . -> A1 0210 61
          3   A1 0200  void      C1 100.00  3/1  . -> I0 0200
          4   I0 0210     .       .      .    1 00 -> A1 0210 00
          5   A1 0200   buy      C1 100.00    4  . -> I0 0200
          6   A1 0220 refund     C1 100.00    5  . -> A1 0230 00, I0 0220
          7   I0 0230     .       .      .    5 00 ->
          8   A1 0200   buy      C1   1.00    6  . -> A1 0210 61
    ");
}

#[test]
fn an_approval_without_its_acquirer() {
    run("
          0   A1 0200   buy      C1 100.00    1  . -> I0 0200
          1 close    .    .      A1      .    .  . ->
          2   I0 0210     .       .      .    1 00 -> A2 0210 00    # another connection of it
          3   A2 0200   buy      C2 100.00    2  . -> I0 0200
          4 close    .    .      A2      .    .  . ->
          5   I0 0210     .       .      .    2 00 ->               # it waits
       9900 tick    .     .       .      .    .  . ->
      10010 tick    .     .       .      .    .  . -> I0 0420       # its time is over
      10011   open    .   .      A1      .    .  . ->
      10012   A1 0200   buy      C2 100.00    3  . -> I0 0200       # released
      10013   A1 0200   buy      C2 100.00    2  . -> A1 0210 98
    ");
}

#[test]
fn b1_d15_an_approval_waits_for_a_connection_of_its_acquirer() {
    run("
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
          1 close    .    .      A1      .    .  . ->
          2 close    .    .      A2      .    .  . ->
          3   I0 0210     .       .      .    1 00 ->
       5000 tick    .     .       .      .    .  . ->
       5001   open    .   .      A2      .    .  . ->
       5200 tick    .     .       .      .    .  . -> A2 0210 00
      20000 tick    .     .       .      .    .  . ->
      20001   A2 0201   buy      C1  10.00    1  . -> A2 0210 00    # it stands
      20002 close    .    .      A2      .    .  . ->
      20003   open    .   .      A1      .    .  . ->
      20010   A1 0200   buy      C1  10.00    2  . -> I0 0200
      20011 close    .    .      A1      .    .  . ->
      20012   I0 0210     .       .      .    2 00 ->
      20013   open    .   .      A1      .    .  . ->
      20014   A1 0201   buy      C1  10.00    2  . -> A1 0210 00    # its repeat was faster
      40000 tick    .     .       .      .    .  . ->               # nothing is reversed
      40001   A1 0200   buy      C1  10.00    3  . -> I0 0200
      40002 close    .    .      A1      .    .  . ->
      40003   I0 0210     .       .      .    3 00 ->
      40004   open    .   .      A1      .    .  . ->
      40005   A1 0420   buy      C1  10.00  4/3  . -> A1 0430 00, I0 0420
      40006   I0 0430     .       .      .    3 00 ->
      60000 tick    .     .       .      .    .  . ->               # once
    ");
}

#[test]
fn a_stopping_switch_waits_for_nobody() {
    let mut world = World::new(&config(1));
    run_with(
        &mut world,
        "
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
          1 close    .    .      A1      .    .  . ->
          2 close    .    .      A2      .    .  . ->
          3   I0 0210     .       .      .    1 00 ->
        ",
    );
    world.shard.on_drain();
    run_with(
        &mut world,
        "
        200 tick    .     .       .      .    .  . -> I0 0420
        201   I0 0430     .       .      .    1 00 ->
        ",
    );
    assert_eq!(world.shard.in_flight(), 0);
}

#[test]
fn what_cannot_be_forwarded() {
    run("
          0   A1 0200   buy      C9  10.00    1  . -> A1 0210 15
          1   A1 0200   buy   short  10.00    2  . -> A1 0210 14
          2   A1 0200   buy      C1   0.00    3  . -> A1 0210 13
          3   A1 0600   buy      C1  10.00    4  . -> A1 0610 12
          4   A1 0202   buy      C1  10.00    5  . -> A1 0212 12
          5   A1 1200   buy      C1  10.00    6  . -> A1 1210 12
          6   A1 0210   buy      C1  10.00    7  . ->               # a response: dropped
          7   A1 0220 refund     C9  10.00    8  . -> A1 0230 15
    ");
}

#[test]
fn the_issuers_window() {
    let mut config = config(1);
    config.issuers[0].in_flight_max = 1;
    run_with(
        &mut World::new(&config),
        "
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
          1   A1 0200   buy      C2  10.00    2  . -> A1 0210 91
          2   A1 0200   buy      C4  10.00    3  . -> I1 0200       # another issuer
          3   I0 0210     .       .      .    1 00 -> A1 0210 00
          4   A1 0200   buy      C2  10.00    4  . -> I0 0200
        ",
    );
}

#[test]
fn draining_refuses_what_is_new_and_finishes_what_is_not() {
    let mut world = World::new(&config(1));
    run_with(&mut world, "0 A1 0200 buy C1 10.00 1 . -> I0 0200");
    world.shard.on_drain();
    assert_eq!(world.shard.in_flight(), 1);
    run_with(
        &mut world,
        "
          1   A1 0200   buy      C2  10.00    2  . -> A1 0210 91
          2   I0 0210     .       .      .    1 00 -> A1 0210 00
          3   A1 0420   buy      C1  10.00  3/1  . -> A1 0430 00, I0 0420
          4   I0 0430     .       .      .    1 00 ->
        ",
    );
    assert_eq!(world.shard.in_flight(), 0);
}
