//! What is known of a request whose answer, or whose original, has been given up for newer ones.

use super::fixture::{Request, World, config, issuer_answer, pan};
use crate::config::Config;
use crate::limits::ORIGINALS_BYTES_MIN;
use crate::shard::IssuerId;
use crate::shard::duplicate::DuplicateMemory;
use tapswitch_protocol::Dialect;

fn unlimited() -> Config {
    let mut config = config(1);
    config.velocity.limits[0].count_max = None;
    config.velocity.limits[0].amount_minor_max = Some(1 << 40);
    config
}

/// A purchase is approved.
fn approve(world: &mut World, stan: u32) {
    let request = Request { stan, ..Request::default() }.message(Dialect::cups());
    let forward = world.request(1, &request).remove(0);
    assert_eq!(forward.text, "I0 0200");
    let answer = issuer_answer(&forward.bytes, "00", &[]);
    assert_eq!(world.issuer(IssuerId(0), &answer)[0].text, "A1 0210 00");
}

fn send(world: &mut World, request: &Request<'_>) -> Vec<String> {
    let done = world.request(1, &request.message(Dialect::cups()));
    done.into_iter().map(|done| done.text).collect()
}

#[test]
fn a_repeat_whose_answer_is_forgotten_is_answered_and_never_forwarded() {
    let mut config = unlimited();
    config.switch.duplicates_bytes = DuplicateMemory::bytes_min(config.switch.pending_max);
    let mut world = World::new(&config);
    (1..=100).for_each(|stan| approve(&mut world, stan));
    assert!(world.shard.duplicate_evictions() > 50 && world.shard.original_evictions() == 0);
    let first = Request::default();
    assert_eq!(send(&mut world, &first), ["A1 0210 00"]);
    let other_card = Request { pan: pan("C2"), ..Request::default() };
    assert_eq!(send(&mut world, &other_card), ["A1 0210 94"]);
    let reversal = Request { mti: 420, stan: 900, original_stan: Some(1), ..Request::default() };
    assert_eq!(send(&mut world, &reversal), ["A1 0430 00", "I0 0420"]);
    assert_eq!(send(&mut world, &first), ["A1 0210 98"], "it has been taken back");
}

#[test]
fn a_reversal_whose_original_is_forgotten_is_handed_to_its_issuer() {
    let mut config = unlimited();
    config.switch.originals_bytes = ORIGINALS_BYTES_MIN;
    let mut world = World::new(&config);
    (1..=100).for_each(|stan| approve(&mut world, stan));
    assert!(world.shard.original_evictions() > 50 && world.shard.duplicate_evictions() == 0);
    let first = Request::default();
    assert_eq!(send(&mut world, &first), ["A1 0210 00"]);
    let reversal = Request { mti: 420, stan: 900, original_stan: Some(1), ..Request::default() };
    assert_eq!(send(&mut world, &reversal), ["A1 0430 00", "I0 0420"]);
    assert_eq!(send(&mut world, &first), ["A1 0210 91"], "it has been taken back");
}
