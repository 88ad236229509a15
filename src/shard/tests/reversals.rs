//! Reversals: what the switch writes into its own, and acquirers' of every sort, row by row of the
//! fault table.

use super::fixture::{Request, World, config, connection, issuer_answer, with_view};
use crate::shard::IssuerId;
use tapswitch_protocol::Dialect;

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
