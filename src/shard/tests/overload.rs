//! Too much to do: what is shed and what never is, who gets what of a full issuer, and what waited too
//! long. Rows C12 and G1 of the fault catalogue, as far as a shard decides them.

use super::fixture::{
    Done, Request, World, config, connection, cups_header, issuer_answer, pan, secrets,
};
use crate::config::Config;
use crate::limits::MESH_CREDITS;
use crate::shard::{Action, Counter, IssuerId, MeshKind, Now, Outbox, Shard, ShardId};
use tapswitch_protocol::Dialect;

const ISSUER: IssuerId = IssuerId(0);

/// Windows and tables of so many requests; limits do not matter.
fn world(window: u32, pending_max: usize) -> World {
    let mut config = config(1);
    config.issuers[0].in_flight_max = window;
    config.switch.pending_max = pending_max;
    config.velocity = crate::config::VelocityConfig {
        lines: config.velocity.lines,
        ..crate::config::VelocityConfig::default()
    };
    World::new(&config)
}

/// A request of the acquirer of this slot, for a card of issuer 0.
fn ask(world: &mut World, slot: u16, stan: u32) -> Vec<Done> {
    let dialect = if slot < 100 { Dialect::cups() } else { Dialect::iso87_ascii() };
    let pan = format!("622848{stan:013}");
    world.request(slot, &Request { pan: &pan, stan, ..Request::default() }.message(dialect))
}

fn answers(done: &[Done], code: &str) -> bool {
    done.iter().any(|done| done.text.starts_with('A') && done.text.ends_with(code))
}

fn count(world: &World, counter: Counter) -> u64 {
    world.shard.counters().value(counter)
}

/// The flood's requests in flight, oldest first, as the issuer has them.
struct InFlight(Vec<Vec<u8>>);

impl InFlight {
    fn add(&mut self, done: &[Done]) {
        self.0.extend(
            done.iter().filter(|done| done.text.starts_with('I')).map(|it| it.bytes.clone()),
        );
    }

    fn answer_oldest(&mut self, world: &mut World) {
        let answer = issuer_answer(&self.0.remove(0), "00", &[]);
        assert!(answers(&world.issuer(ISSUER, &answer), "00"));
    }
}

#[test]
fn a_flood_does_not_take_a_slow_issuer_away_from_another_acquirer() {
    let mut world = world(64, 1_000);
    let mut flood = InFlight(Vec::new());
    let mut stan = 0;
    let mut flood_once = |world: &mut World, flood: &mut InFlight| {
        stan += 1;
        let done = ask(world, 1, stan);
        flood.add(&done);
        assert!(!flood.0.is_empty() && (answers(&done, "91") || done[0].text.starts_with("I0")));
    };
    for _ in 0..200 {
        flood_once(&mut world, &mut flood);
    }
    assert_eq!(flood.0.len(), 60, "a sixteenth is kept back for who comes");
    // The other asks for a third of what the issuer can do, and gets all of it: each time one of the
    // flood is answered, twenty more of the flood ask.
    let mut refused = 0;
    for round in 0..300 {
        if round % 3 == 0 {
            let done = ask(&mut world, 101, 500_000 + round);
            refused += u32::from(!done[0].text.starts_with("I0"));
        }
        flood.answer_oldest(&mut world);
        for _ in 0..20 {
            flood_once(&mut world, &mut flood);
        }
        if flood.0.len() <= 32 {
            break;
        }
    }
    assert_eq!(refused, 0, "{}", count(&world, Counter::ShedAcquirerShare));
    assert_eq!(flood.0.len(), 32, "no more than its half while the other is there");
    assert!(count(&world, Counter::ShedAcquirerShare) > 140);
    assert_eq!(world.shard.shed(), count(&world, Counter::ShedAcquirerShare));
}

/// In so small a window no place is kept back.
#[test]
fn what_becomes_free_goes_to_who_asked_in_vain() {
    let mut world = world(8, 1_000);
    let mut flood = InFlight(Vec::new());
    (1..=20).for_each(|stan| flood.add(&ask(&mut world, 1, stan)));
    assert_eq!((flood.0.len(), count(&world, Counter::RefusedIssuerWindow)), (8, 12));
    assert!(answers(&ask(&mut world, 101, 100), "91"));
    flood.answer_oldest(&mut world);
    assert!(answers(&ask(&mut world, 1, 101), "91"));
    assert_eq!(count(&world, Counter::ShedAcquirerShare), 1);
    assert!(ask(&mut world, 101, 102)[0].text.starts_with("I0"));
}

#[test]
fn a_flood_does_not_fill_the_pending_table() {
    let mut world = world(1_000, 32);
    for stan in 1..=100 {
        let done = ask(&mut world, 1, stan);
        assert!(done[0].text.starts_with("I0") || answers(&done, "96"), "{done:?}");
    }
    assert_eq!(count(&world, Counter::ShedTableShare), 70);
    assert!(ask(&mut world, 101, 200)[0].text.starts_with("I0"));
    assert!(answers(&ask(&mut world, 1, 300), "96"));
}

#[test]
fn one_acquirer_alone_is_refused_for_the_window_only() {
    let mut config = config(1);
    config.acquirers.truncate(1);
    config.issuers[0].in_flight_max = 48;
    let mut shard = Shard::new(ShardId(0), &config, &secrets());
    shard.on_connection_open(connection(1));
    let mut outbox = Outbox::new();
    let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 };
    let mut forwarded = 0;
    for stan in 1..=60 {
        let pan = format!("622848{stan:013}");
        let message = Request { pan: &pan, stan, ..Request::default() }.message(Dialect::cups());
        let staged = shard.stage(connection(1), &message);
        shard.on_request(now, staged, &cups_header(), &message, &mut outbox);
        let forwards = |action: &&Action| matches!(action, Action::Forward { .. });
        forwarded += outbox.actions().iter().filter(forwards).count();
        outbox.clear();
    }
    assert_eq!(forwarded, 48);
    assert_eq!(shard.counters().value(Counter::RefusedIssuerWindow), 12);
}

#[test]
fn what_waited_too_long_is_not_forwarded() {
    let mut world = world(1_000, 64);
    world.at_ms(60_000);
    let now_ns = world.now.mono_ns;
    let arrived = |world: &mut World, ms: u64| world.shard.on_arrival(now_ns - ms * 1_000_000);
    // Half of the two seconds that are not the issuer's.
    arrived(&mut world, 1_000);
    assert!(ask(&mut world, 1, 1)[0].text.starts_with("I0"));
    arrived(&mut world, 1_001);
    assert!(answers(&ask(&mut world, 1, 2), "96"));
    assert!(answers(&ask(&mut world, 1, 2), "96"), "its repeat too, and it is not forwarded");
    let taxi = |stan| {
        let extra: &[(u8, &[u8])] = &[(18, b"4111")];
        Request { stan, extra, ..Request::default() }.message(Dialect::cups())
    };
    // At a gate it is half of one second.
    arrived(&mut world, 501);
    assert!(answers(&world.request(1, &taxi(3)), "96"));
    arrived(&mut world, 500);
    assert!(world.request(1, &taxi(4))[0].text.starts_with("I0"));
    assert_eq!(count(&world, Counter::ShedTooLate), 2);
    // What may not be shed is taken however late.
    arrived(&mut world, 9_000);
    let reversal = Request { mti: 420, stan: 5, original_stan: Some(77), ..Request::default() };
    assert!(answers(&world.request(1, &reversal.message(Dialect::cups())), "00"));
    let advice = Request { mti: 220, stan: 6, pan: pan("C2"), ..Request::default() };
    assert!(answers(&world.request(1, &advice.message(Dialect::cups())), "00"));
    // The next batch has not waited.
    world.shard.on_batch_end(world.now);
    assert!(ask(&mut world, 1, 7)[0].text.starts_with("I0"));
}

/// 0100 and 0200 find nothing free; each of the others is taken.
#[test]
fn with_windows_and_tables_full_only_new_requests_are_shed() {
    for (window, pending_max, code) in [(2, 64, "91"), (1_000, 2, "96")] {
        let mut world = world(window, pending_max);
        for (stan, slot) in [(1, 1), (2, 101)] {
            assert!(ask(&mut world, slot, stan)[0].text.starts_with("I0"), "{code}");
        }
        for (mti, stan) in [(100, 10), (200, 11)] {
            let request = Request { mti, stan, pan: pan("C3"), ..Request::default() };
            let done = world.request(1, &request.message(Dialect::cups()));
            assert!(done.len() == 1 && answers(&done, code), "{mti}: {done:?}");
        }
        for (stan, mti, original_stan) in [
            (21, 400, Some(71)),
            (22, 420, Some(72)),
            (23, 120, None),
            (24, 220, None),
            (25, 620, None),
        ] {
            let request =
                Request { mti, stan, original_stan, pan: pan("C3"), ..Request::default() };
            let done = world.request(1, &request.message(Dialect::cups()));
            // 25: of an original that is not known, and handed on.
            let (first, handed_on) = (&done[0].text, done.get(1).map(|done| &done.text[..2]));
            assert!(first.ends_with("00") || first.ends_with("25"), "{mti}: {first}");
            assert!(handed_on == Some("I0") || world.shard.owed() > 0, "{mti}");
        }
        assert_eq!(world.shard.owed(), 5);
        for code in [b"001", b"301"] {
            let extra: &[(u8, &[u8])] = &[(70, code)];
            let echo = Request { mti: 820, stan: 26, extra, ..Request::default() };
            let done = world.request(1, &echo.message(Dialect::cups()));
            assert!(answers(&done, "00"), "{done:?}");
        }
        assert_eq!(world.shard.shed(), 2);
    }
}

/// So is the way to the card's shard: new requests leave some of it to the others.
#[test]
fn a_way_that_new_requests_have_filled_is_open_to_the_others() {
    let config: Config = config(2);
    let mut shard = Shard::new(ShardId(0), &config, &secrets());
    shard.on_connection_open(connection(1));
    let mut outbox = Outbox::new();
    let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 };
    let mut crosses = |shard: &mut Shard, mti, pan: &str, stan| {
        let original_stan = (mti / 100 == 4).then_some(stan + 1);
        let request = Request { mti, stan, pan, original_stan, ..Request::default() };
        let message = request.message(Dialect::cups());
        let staged = shard.stage(connection(1), &message);
        shard.on_request(now, staged, &cups_header(), &message, &mut outbox);
        let crossed = outbox
            .actions()
            .iter()
            .any(|action| matches!(action, Action::Mesh { kind: MeshKind::Request, .. }));
        outbox.clear();
        crossed
    };
    let mut pans = (0..).map(|card| format!("622848{card:013}"));
    let pan = pans.find(|pan| crosses(&mut shard, 200, pan, 900_000)).unwrap();
    for stan in 1..=MESH_CREDITS as u32 {
        crosses(&mut shard, 200, &pan, stan);
    }
    assert!(shard.counters().value(Counter::RefusedNoCredit) > 0);
    assert!(!crosses(&mut shard, 100, &pan, 800_000) && !crosses(&mut shard, 200, &pan, 800_001));
    for (stan, mti) in (810_000..).zip([400, 420, 120, 220, 620]) {
        assert!(crosses(&mut shard, mti, &pan, stan), "{mti}");
    }
}
