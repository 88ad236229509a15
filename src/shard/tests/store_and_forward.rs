//! What issuers are owed, row by row of the fault table: done, again, refused and parked, in order, at
//! a rate, and under the MTI that a repeat has.

use super::fixture::{Request, World, config, issuer_answer, pan};
use super::parked::parked;
use super::script::run;
use crate::config::Config;
use crate::shard::{AcquirerId, Counter, IssuerId, OwedCounts};
use tapswitch_protocol::{Addition, Dialect, FieldTable, respond};

const ABC: IssuerId = IssuerId(0);

#[test]
fn c18_not_found_and_no_action_end_the_debt() {
    for code in ["00", "21", "25", "94"] {
        run(&format!(
            "
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
          1   I0 0210     .       .      .    1 00 -> A1 0210 00
          2   A1 0420   buy      C1  10.00  2/1  . -> A1 0430 00, I0 0420
          3   I0 0430     .       .      .    1 {code} ->
      20000 tick    .     .       .      .    .  . ->
            "
        ));
    }
}

#[test]
fn c21_what_the_issuer_cannot_do_now_comes_again_later() {
    run("
          0   A1 0200   buy      C1  10.00    1  . -> I0 0200
          1   I0 0210     .       .      .    1 00 -> A1 0210 00
          2   A1 0420   buy      C1  10.00  2/1  . -> A1 0430 00, I0 0420
         10   I0 0430     .       .      .    1 91 ->
       3900 tick    .     .       .      .    .  . ->
       6100 tick    .     .       .      .    .  . -> I0 0420     # 5 s, 20 % more or less
       6110   I0 0430     .       .      .    1 96 ->
      13900 tick    .     .       .      .    .  . ->
      18200 tick    .     .       .      .    .  . -> I0 0420     # 10 s
      18210   I0 0430     .       .      .    1 98 ->
      43000 tick    .     .       .      .    .  . -> I0 0420     # 20 s
      43010   I0 0430     .       .      .    1 00 ->
    ");
}

/// One card with two reversals, another of the same issuer with one.
fn owing() -> World {
    let mut world = World::new(&config(1));
    for (stan, card) in [(1, "C1"), (2, "C1"), (3, "C2")] {
        let buy = Request { stan, pan: pan(card), ..Request::default() };
        world.request(1, &buy.message(Dialect::cups()));
        let forward = world.forwarded.last().unwrap().2.clone();
        world.issuer(ABC, &issuer_answer(&forward, "00", &[]));
    }
    for (stan, original, card) in [(11, 1, "C1"), (12, 2, "C1"), (13, 3, "C2")] {
        let (pan, original_stan) = (pan(card), Some(original));
        let reversal = Request { mti: 420, stan, pan, original_stan, ..Request::default() };
        world.request(1, &reversal.message(Dialect::cups()));
    }
    world
}

/// The issuer's answer to the newest 0420 of this original.
fn acknowledge(world: &mut World, original: u32, code: &str) -> Vec<String> {
    let rrn = format!("{original:012}");
    let forward = world.forwarded.iter().rev().find(|(_, _, message)| {
        message.starts_with(b"0420")
            && super::fixture::with_view(message, |view| view.raw(37) == Some(rrn.as_bytes()))
    });
    let answer = issuer_answer(&forward.unwrap().2.clone(), code, &[]);
    world.issuer(ABC, &answer).into_iter().map(|done| done.text).collect()
}

fn ticks(world: &mut World, at_ms: u64) -> usize {
    world.at_ms(at_ms);
    world.tick().len()
}

#[test]
fn c19_what_is_refused_three_times_is_parked_and_nothing_waits_for_it() {
    let mut world = owing();
    assert_eq!(acknowledge(&mut world, 3, "00"), [""; 0]);
    assert_eq!(acknowledge(&mut world, 1, "30"), [""; 0]);
    assert_eq!(ticks(&mut world, 6_100), 1, "the second of the card waits");
    assert_eq!(acknowledge(&mut world, 1, "12"), [""; 0]);
    assert_eq!(ticks(&mut world, 18_200), 1);
    assert_eq!(world.shard.owed_to(ABC), OwedCounts { owed: 2, parked: 0 });
    assert_eq!(acknowledge(&mut world, 1, "30"), ["I0 0420"], "the next of the card");
    assert_eq!(world.shard.owed_to(ABC), OwedCounts { owed: 1, parked: 1 });
    assert_eq!(world.shard.owed_to(IssuerId(1)), OwedCounts::default());
    assert_eq!(acknowledge(&mut world, 2, "00"), [""; 0]);
    assert_eq!(ticks(&mut world, 3_600_000), 0, "it is sent no more");
    assert_eq!(
        (world.shard.owed(), world.shard.in_flight()),
        (0, 0),
        "a stop does not wait for it"
    );
    let counters = world.shard.counters();
    assert_eq!(counters.value(Counter::OwedRefused), 3);
    assert_eq!(counters.value(Counter::OwedParked), 1);
    // A late answer to it finds nobody.
    assert_eq!(acknowledge(&mut world, 1, "00"), [""; 0]);
    assert_eq!(world.shard.owed_to(ABC), OwedCounts { owed: 0, parked: 1 });
}

#[test]
fn c19_what_is_parked_stays_so_over_a_restart() {
    let (first, at_ms) = parked();
    let (second, recovered, done) = first.restart_at(at_ms + 2_000);
    assert_eq!((recovered.owed, done.len()), (0, 0));
    assert_eq!(second.world.shard.owed_to(ABC), OwedCounts { owed: 0, parked: 1 });
}

#[test]
fn d19_an_old_message_is_still_sent() {
    let mut world = owing();
    for hour in 1..=80 {
        assert_eq!(ticks(&mut world, hour * 3_600_000), 2, "one of each card");
    }
    assert_eq!(acknowledge(&mut world, 1, "00"), ["I0 0420"]);
}

#[test]
fn an_answer_of_another_kind_acknowledges_nothing() {
    let mut world = owing();
    let forward = world.forwarded.last().unwrap().2.clone();
    let mut answer = issuer_answer(&forward, "00", &[]);
    answer[..4].copy_from_slice(b"0210");
    world.issuer(ABC, &answer);
    assert_eq!(world.shard.owed_to(ABC).owed, 3);
    assert_eq!(world.shard.counters().value(Counter::Unmatched), 1);
}

/// A reversal that is not answered, over the ISO 8583:1987 listener; the MTIs that the issuer gets.
fn sent_again(config: &Config) -> Vec<String> {
    let mut world = World::new(config);
    let dialect = Dialect::iso87_ascii();
    world.request(101, &Request::default().message(dialect));
    let forward = world.forwarded.last().unwrap().2.clone();
    let mut table = FieldTable::default();
    let view = dialect.parse(&forward, &mut table).unwrap();
    let mut answer = vec![0; 1_024];
    let code = [Addition { field: 39, value: b"00" }];
    let mti = view.mti().response().unwrap();
    let bytes = respond(&view, mti, dialect.echo, &code, &mut answer).unwrap();
    let World { shard, now, outbox, .. } = &mut world;
    shard.on_issuer_response(*now, ABC, AcquirerId(1), &answer[..bytes], outbox);
    world.drain();
    let reversal = Request { mti: 420, stan: 2, original_stan: Some(1), ..Request::default() };
    world.request(101, &reversal.message(dialect));
    for at_ms in [7_000, 30_000] {
        ticks(&mut world, at_ms);
    }
    let text = |message: &[u8]| String::from_utf8_lossy(&message[..4]).into_owned();
    world.forwarded[1..].iter().map(|(_, _, message)| text(message)).collect()
}

#[test]
fn c21_a_repeat_says_so_where_the_link_has_it() {
    assert_eq!(sent_again(&config(1)), ["0420", "0421", "0421"], "the dialect's own way");
    let mut unchanged = config(1);
    unchanged.issuers[0].marks_repeats = Some(false);
    assert_eq!(sent_again(&unchanged), ["0420"; 3]);
}

#[test]
fn c14_what_waited_for_another_of_its_card_keeps_to_the_rate_after_an_outage() {
    let mut config = config(1);
    config.issuers[0].saf_rate = 10;
    config.velocity.limits.clear();
    let mut world = World::new(&config);
    for stan in 1..=30 {
        // Three of each card.
        let card = format!("622848{:013}", stan % 10);
        let buy = Request { stan, pan: &card, mti: 220, ..Request::default() };
        world.request(1, &buy.message(Dialect::cups()));
    }
    world.issuer_down(ABC);
    world.at_ms(1_000);
    world.shard.on_issuer_up(world.now, ABC);
    let mut told = 0;
    for at_ms in (1_000..4_050).step_by(10) {
        world.at_ms(at_ms);
        let sent = world.tick();
        assert!(sent.len() <= 1, "{at_ms} ms: {sent:?}");
        told += sent.len();
        for done in sent {
            let next = world.issuer(ABC, &issuer_answer(&done.bytes, "00", &[]));
            assert!(next.is_empty(), "not at once");
        }
    }
    assert_eq!((told, world.shard.owed()), (30, 0));
}
