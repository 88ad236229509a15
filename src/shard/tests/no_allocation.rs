//! After start-up a shard's data path allocates nothing: counted per thread.

use super::fixture::{Request, World, config, connection, cups_header, issuer_answer, paid_by};
use crate::config::{Config, OutcomesConfig, VelocityCounter, VelocityLimit, VelocityScope};
use crate::shard::outcome::OUTCOME_BYTES;
use crate::shard::{AcquirerId, Action, IssuerId, LinkId, Outbox, Published};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tapswitch_protocol::Dialect;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system allocator unchanged; counting touches only a
// thread-local cell that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Made by this thread so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn the_data_path_allocates_nothing() {
    allocates_nothing(config(1), 0);
}

#[test]
fn nor_does_it_with_several_links() {
    let mut config = config(1);
    super::links::linked(&mut config, |link| (link.connections, link.sign_on) = (4, false));
    allocates_nothing(config, 4);
}

fn allocates_nothing(mut config: Config, links: u8) {
    let card = &config.velocity;
    let shop = VelocityCounter { scope: VelocityScope::Merchant, ..card.counters[0].clone() };
    let limit = VelocityLimit { counter: None, scope_counter: Some(0), ..card.limits[0].clone() };
    let limit = VelocityLimit { count_max: None, amount_minor_max: Some(900_000), ..limit };
    let by_token = VelocityCounter { scope: VelocityScope::Token, ..shop.clone() };
    let token = VelocityLimit { scope_counter: Some(1), ..limit.clone() };
    config.velocity.scope_counters.extend([shop, by_token]);
    config.velocity.limits.extend([limit, token]);
    (config.velocity.entities, config.velocity.entity_transactions) = (16, 1_024);
    config.velocity.limits[0].count_max = None;
    config.velocity.limits[0].amount_minor_max = Some(1_000_000);
    config.outcomes = Some(OutcomesConfig { dir: "unused".into(), bytes_max: 1 << 20 });
    let world = || {
        let mut world = World::new(&config);
        for number in 0..links {
            world.shard.on_issuer_up(world.now, LinkId { issuer: IssuerId(0), number });
        }
        world
    };
    let mut rehearsal = world();
    let mut world = world();
    let header = cups_header();
    let rounds = 2_000u32;
    // Messages are made beforehand; the answers too, from a first run over another shard.
    let token_data = paid_by("6235360000000000017", "00012345678");
    let extra: &[(u8, &[u8])] = &[(63, &token_data)];
    let messages: Vec<_> = (1..=rounds)
        .map(|stan| Request { stan, extra, ..Request::default() }.message(Dialect::cups()))
        .collect();
    let answers: Vec<_> = messages
        .iter()
        .enumerate()
        .map(|(round, message)| {
            let done = rehearsal.request(1, message);
            let code = if round % 7 == 0 { "51" } else { "00" };
            let answer =
                done[0].text.starts_with('I').then(|| issuer_answer(&done[0].bytes, code, &[]));
            if let Some(answer) = &answer {
                rehearsal.issuer(IssuerId(0), answer);
            }
            answer
        })
        .collect();
    let mut outbox = Outbox::new();
    let mut outcomes = Vec::with_capacity(1 << 16);
    let mut noted = 0;
    let (mut forwards, mut responses) = (0, 0);
    let published = Published::default();
    let before = allocations();
    for (message, answer) in messages.iter().zip(&answers) {
        let staged = world.shard.stage(connection(1), message);
        world.shard.on_request(world.now, staged, &header, message, &mut outbox);
        forwards += count(&outbox, |action| matches!(action, Action::Forward { .. }));
        outbox.clear();
        if let Some(answer) = answer {
            let issuer = IssuerId(0);
            world.shard.on_issuer_response(world.now, issuer, AcquirerId(0), answer, &mut outbox);
            responses += count(&outbox, |action| matches!(action, Action::Respond { .. }));
            outbox.clear();
        }
        world.shard.on_deadline(world.now, &mut outbox);
        world.shard.on_batch_end(world.now);
        world.shard.take_outcomes(&mut outcomes);
        noted += outcomes.len() / OUTCOME_BYTES;
        outcomes.clear();
        assert!(world.shard.publish(&published), "nobody reads it now");
    }
    assert_eq!(allocations() - before, 0);
    assert!(forwards > 900 && forwards == responses, "{forwards} forwarded, {responses} answered");
    assert_eq!(noted, rounds as usize, "each request has one outcome");
}

fn count(outbox: &Outbox, which: impl Fn(&Action) -> bool) -> usize {
    outbox.actions().iter().filter(|action| which(action)).count()
}
