//! Reversals: what the switch writes into its own, and acquirers' of every sort, row by row of the
//! fault table.

use super::fixture::{Request, World, config, connection, issuer_answer, pan, with_view};
use crate::shard::{AcquirerId, Counter, IssuerId};
use tapswitch_protocol::{Addition, Dialect, FieldTable, respond};

const ABC: IssuerId = IssuerId(0);

/// DE 60 as in public examples: reason 0000, capability 6, POS, started there.
const DE60: &[u8] = b"000006000301000000004110000000";

fn with_de60() -> Request<'static> {
    Request { extra: &[(60, DE60)], ..Request::default() }
}

/// DE 60 and 90 of the newest message to an issuer, which is an 0420.
fn written(world: &World) -> (String, String) {
    let newest = &world.forwarded.last().unwrap().2;
    assert!(newest.starts_with(b"0420"));
    let text = |raw: Option<&[u8]>| String::from_utf8(raw.unwrap_or_default().to_vec()).unwrap();
    with_view(newest, |view| (text(view.raw(60)), text(view.raw(90))))
}

#[test]
fn own_reversals_say_why_and_name_their_original_as_the_issuer_knows_it() {
    let rest = std::str::from_utf8(&DE60[4..]).unwrap();
    let begun = || {
        let mut world = World::new(&config(1));
        world.request(1, &with_de60().message(Dialect::cups()));
        let forward = world.forwarded.last().unwrap().2.clone();
        (world, forward)
    };
    let named = |forward: &[u8]| {
        with_view(forward, |view| {
            let digits = |field| String::from_utf8(view.raw(field).unwrap().to_vec()).unwrap();
            format!("0200{}{}0000333000000003330000", digits(11), digits(7))
        })
    };
    let (mut world, forward) = begun();
    world.at_ms(9_000);
    world.tick();
    assert_eq!(written(&world), (format!("4021{rest}"), named(&forward)), "time-out");

    let (mut world, forward) = begun();
    world.issuer(ABC, &issuer_answer(&forward, "00", &[(4, b"000000001001")]));
    assert_eq!(written(&world), (format!("4002{rest}"), named(&forward)), "mis-echoed");

    let (mut world, forward) = begun();
    [1, 2].into_iter().for_each(|slot| world.shard.on_connection_closed(connection(slot)));
    world.issuer(ABC, &issuer_answer(&forward, "00", &[]));
    world.at_ms(11_000);
    world.tick();
    assert_eq!(written(&world), (format!("4013{rest}"), named(&forward)), "undeliverable");

    // An acquirer's own reason is not the switch's to change.
    let (mut world, forward) = begun();
    world.issuer(ABC, &issuer_answer(&forward, "00", &[]));
    let terminal = b"435106000301000000004110000000";
    let extra: &[(u8, &[u8])] = &[(60, terminal)];
    let reversal =
        Request { mti: 420, stan: 2, original_stan: Some(1), extra, ..Request::default() };
    world.request(1, &reversal.message(Dialect::cups()));
    assert_eq!(written(&world), (format!("4351{rest}"), named(&forward)));
}

/// D8 and D9: its reversal came first, so the request must never be forwarded.
#[test]
fn d8_d9_what_was_reversed_before_it_came_is_declined_and_never_forwarded() {
    let mut world = World::new(&config(1));
    let mut send = |request: &Request<'_>| -> Vec<String> {
        let done = world.request(1, &request.message(Dialect::cups()));
        done.into_iter().map(|done| done.text).collect()
    };
    let reversal = Request { mti: 420, stan: 2, original_stan: Some(1), ..Request::default() };
    assert_eq!(send(&reversal), ["A1 0430 00", "I0 0420"]);
    for mti in [200, 201, 200] {
        assert_eq!(send(&Request { mti, ..Request::default() }), ["A1 0210 91"]);
    }
    for again in 0..100 {
        let mti = 420 + again % 2;
        assert_eq!(send(&Request { mti, ..reversal }), ["A1 0430 00"], "D10");
    }
    assert_eq!(send(&buy(9, 10_000)), ["I0 0200"], "nothing is counted");
}

#[test]
fn d13_a_reversal_of_another_acquirers_transaction_touches_nothing_and_is_told() {
    for (card, foreign) in [("C2", 0), ("C1", 1)] {
        let mut world = World::new(&config(1));
        let cups = |world: &mut World, request: &Request<'_>| -> Vec<String> {
            let done = world.request(1, &request.message(Dialect::cups()));
            done.into_iter().map(|done| done.text).collect()
        };
        cups(&mut world, &buy(1, 6_000));
        let forward = world.forwarded.last().unwrap().2.clone();
        world.issuer(ABC, &issuer_answer(&forward, "00", &[]));
        let reversal =
            Request { mti: 420, pan: pan(card), original_stan: Some(1), ..buy(2, 6_000) };
        let done = world.request(101, &reversal.message(Dialect::iso87_ascii()));
        assert_eq!(done[0].text, "A101 0430 00");
        assert_eq!(world.shard.counters().value(Counter::ReversalForeign), foreign, "{card}");
        assert_eq!(cups(&mut world, &buy(3, 4_001)), ["A1 0210 61"], "still counted");
        assert_eq!(cups(&mut world, &buy(1, 6_000)), ["A1 0210 00"], "it stands");
    }
}

/// Over the ISO 8583:1987 listener, whose dialect has DE 95.
pub(super) struct Iso {
    pub(super) world: World,
}

impl Iso {
    pub(super) fn new() -> Self {
        let mut config = config(1);
        config.velocity.limits[0].count_max = None;
        Self { world: World::new(&config) }
    }

    pub(super) fn send(&mut self, request: &Request<'_>) -> Vec<String> {
        let done = self.world.request(101, &request.message(Dialect::iso87_ascii()));
        done.into_iter().map(|done| done.text).collect()
    }

    /// The issuer answers the newest 0100, 0200 or 0420.
    pub(super) fn issuer(&mut self, mti: &str, code: &str) -> Vec<String> {
        let dialect = Dialect::iso87_ascii();
        let forwarded = self.world.forwarded.iter().rev();
        let forward = { forwarded }.find(|(_, _, message)| message.starts_with(mti.as_bytes()));
        let mut table = FieldTable::default();
        let view = dialect.parse(&forward.unwrap().2, &mut table).unwrap();
        let mut answer = vec![0; 1_024];
        let approval = Addition { field: 38, value: b"A00001" };
        let code = Addition { field: 39, value: code.as_bytes() };
        let added = [approval, code];
        let added = if code.value == b"00" { &added[..] } else { &added[1..] };
        let echo = dialect.echo.without(38).without(39);
        let mti = view.mti().response().unwrap();
        let bytes = respond(&view, mti, echo, added, &mut answer).unwrap();
        let World { shard, now, outbox, .. } = &mut self.world;
        shard.on_issuer_response(*now, ABC, AcquirerId(1), &answer[..bytes], outbox);
        self.world.drain().into_iter().map(|done| done.text).collect()
    }

    /// A reversal of this original after which so much of it stands.
    pub(super) fn reduce(
        &mut self,
        stan: u32,
        (mti, original): (u16, u32),
        left: u64,
    ) -> Vec<String> {
        let de90 = format!("{mti:04}{original:06}1122120000{:011}{:011}", 3_330_000, 3_330_000);
        let de95 = format!("{left:012}{:030}", 0);
        let extra: &[(u8, &[u8])] = &[(90, de90.as_bytes()), (95, de95.as_bytes())];
        let original_stan = Some(original);
        let (mti, amount) = (420, Some(6_000));
        self.send(&Request { mti, stan, amount, original_stan, extra, ..Request::default() })
    }

    fn counted(&self, amount: u64) -> Request<'static> {
        Request { stan: 900 + amount as u32, amount: Some(amount), ..Request::default() }
    }
}

fn buy(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), ..Request::default() }
}

/// Between a partial reversal in flight and the answer, in both orders: the rest stands.
#[test]
fn d7_d12_a_partial_reversal_in_flight_leaves_the_rest_of_what_is_approved() {
    let mut iso = Iso::new();
    assert_eq!(iso.send(&buy(1, 6_000)), ["I0 0200"]);
    assert_eq!(iso.reduce(2, (200, 1), 6_000), ["A101 0430 13"], "nothing less");
    assert_eq!(iso.reduce(3, (200, 1), 2_000), ["A101 0430 00"]);
    assert_eq!(iso.reduce(3, (200, 1), 2_000), ["A101 0430 00"], "a repeat");
    assert_eq!(iso.reduce(4, (200, 1), 1_000), ["A101 0430 25"], "another: when it is answered");
    assert_eq!(iso.send(&iso.counted(4_001)), ["A101 0210 61"], "still reserved whole");
    assert_eq!(iso.issuer("0200", "00"), ["A101 0210 00", "I0 0420"]);
    let newest = iso.world.forwarded.last().unwrap().2.clone();
    let mut table = FieldTable::default();
    let view = Dialect::iso87_ascii().parse(&newest, &mut table).unwrap();
    assert!(view.raw(95).unwrap().starts_with(b"000000002000"));
    assert_eq!(iso.issuer("0420", "00"), [""; 0]);
    assert_eq!(iso.send(&iso.counted(8_001)), ["A101 0210 61"]);
    assert_eq!(iso.send(&iso.counted(8_000)), ["I0 0200"], "20.00 of 100.00 stand");
    assert_eq!(iso.world.shard.owed(), 0);
}

#[test]
fn d7_d12_a_partial_reversal_of_what_comes_to_nothing_changes_nothing() {
    for (code, answered) in [("51", &["A101 0210 51"][..]), ("", &["A101 0210 98", "I0 0420"])] {
        let mut iso = Iso::new();
        assert_eq!(iso.send(&buy(1, 6_000)), ["I0 0200"]);
        assert_eq!(iso.reduce(3, (200, 1), 2_000), ["A101 0430 00"]);
        let done = if code.is_empty() {
            iso.world.at_ms(9_000);
            iso.world.tick().into_iter().map(|done| done.text).collect()
        } else {
            iso.issuer("0200", code)
        };
        assert_eq!(done, answered);
        if code.is_empty() {
            let newest = iso.world.forwarded.last().unwrap().2.clone();
            let mut table = FieldTable::default();
            let view = Dialect::iso87_ascii().parse(&newest, &mut table).unwrap();
            assert!(!view.has(95), "whole");
        }
        assert_eq!(iso.send(&iso.counted(10_000)), ["I0 0200"], "nothing is counted");
    }
}

#[test]
fn a_whole_reversal_in_flight_wins_over_a_partial_one() {
    let mut iso = Iso::new();
    assert_eq!(iso.send(&buy(1, 6_000)), ["I0 0200"]);
    assert_eq!(iso.reduce(3, (200, 1), 2_000), ["A101 0430 00"]);
    let whole = Request { mti: 420, original_stan: Some(1), ..buy(4, 6_000) };
    assert_eq!(iso.send(&whole), ["A101 0210 98", "A101 0430 00", "I0 0420"]);
    assert_eq!(iso.issuer("0200", "00"), [""; 0], "late");
    assert_eq!(iso.issuer("0420", "00"), [""; 0]);
    assert_eq!(iso.send(&iso.counted(10_000)), ["I0 0200"]);
    assert_eq!(iso.world.shard.owed(), 0);
}

/// A completion finds what a partial reversal left of its hold, and gives back no more than that.
#[test]
fn d12_a_hold_that_is_made_less_is_completed_as_what_is_left() {
    let mut iso = Iso::new();
    let hold = Request { mti: 100, processing: "030000", ..buy(1, 5_000) };
    assert_eq!(iso.send(&hold), ["I0 0100"]);
    assert_eq!(iso.issuer("0100", "00"), ["A101 0110 00"]);
    assert_eq!(iso.send(&buy(2, 3_000)), ["I0 0200"]);
    assert_eq!(iso.issuer("0200", "00"), ["A101 0210 00"]);
    assert_eq!(iso.reduce(3, (100, 1), 2_000), ["A101 0430 00", "I0 0420"]);
    let extra: &[(u8, &[u8])] = &[(25, b"06"), (38, b"A00001")];
    let completion = |stan, amount| Request { extra, ..buy(stan, amount) };
    assert_eq!(iso.send(&completion(4, 2_301)), ["A101 0210 13"], "at most 115 % of what is left");
    assert_eq!(iso.send(&completion(5, 2_000)), ["I0 0200"]);
    assert_eq!(iso.issuer("0200", "00"), ["A101 0210 00"]);
    assert_eq!(iso.send(&iso.counted(5_001)), ["A101 0210 61"], "30.00 and 20.00 are counted");
    assert_eq!(iso.send(&iso.counted(5_000)), ["I0 0200"]);
}
