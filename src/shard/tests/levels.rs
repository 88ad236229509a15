//! What a shard publishes is how it is.

use super::fixture::{Request, World, config, issuer_answer};
use crate::shard::levels::{Level, Levels};
use crate::shard::{AcquirerId, Counter, IssuerId, Published};
use tapswitch_protocol::Dialect;

const ABC: IssuerId = IssuerId(0);
const CMB: IssuerId = IssuerId(1);

fn ask(world: &mut World, stan: u32) {
    let request = Request { stan, ..Request::default() };
    world.request(1, &request.message(Dialect::cups()));
}

fn levels(world: &World, published: &Published) -> Box<Levels> {
    assert!(world.shard.publish(published));
    published.levels()
}

#[test]
fn requests_answers_and_what_is_owed_are_told_by_issuer() {
    let mut world = World::new(&config(1));
    let published = Published::default();
    let seen = levels(&world, &published);
    assert_eq!(seen.value(Level::PendingRoom), 64);
    assert!(seen.issuer(ABC).is_up && !seen.issuer(IssuerId(2)).is_up, "there are two");
    (1..=3).for_each(|stan| ask(&mut world, stan));
    let seen = levels(&world, &published);
    assert_eq!((seen.value(Level::Pending), seen.issuer(ABC).in_flight), (3, 3));
    assert_eq!(seen.issuer(CMB).in_flight, 0);

    // Two answers, one of them after 40 ms; the third never comes.
    let answer = |world: &World, place: usize, code: &str| {
        issuer_answer(&world.forwarded[place].2.clone(), code, &[])
    };
    let approval = answer(&world, 0, "00");
    world.issuer(ABC, &approval);
    world.at_ms(40);
    let decline = answer(&world, 1, "51");
    world.issuer(ABC, &decline);
    world.at_ms(9_000);
    world.tick();
    let seen = levels(&world, &published);
    let abc = seen.issuer(ABC);
    assert_eq!((seen.value(Level::Pending), abc.in_flight, abc.owed), (0, 0, 1));
    assert_eq!((seen.value(Level::Owed), seen.issuer(CMB).owed), (1, 0));
    assert_eq!((abc.times.count(), abc.times.sum_ns()), (2, 40_000_000));
    let codes: Vec<(String, u64)> = seen.codes.iter().collect();
    let expected = [("00", 1), ("51", 1), ("98", 1)];
    assert_eq!(codes, expected.map(|(code, count)| (code.to_owned(), count)));
    assert_eq!(seen.value(Level::Answers), 3);
    let counters = published.counters();
    assert_eq!(counters.value(Counter::Received), 3);
    let answered = [Counter::AnsweredByIssuer, Counter::AnsweredBySwitch];
    assert_eq!(answered.map(|counter| counters.value(counter)), [2, 1]);

    // The issuer acknowledges the reversal.
    let reversal = answer(&world, 3, "00");
    world.issuer(ABC, &reversal);
    assert_eq!(levels(&world, &published).issuer(ABC).owed, 0);
    world.issuer_down(ABC);
    assert!(!levels(&world, &published).issuer(ABC).is_up);
}

#[test]
fn times_here_and_at_the_issuer_are_told_by_acquirer() {
    let mut world = World::new(&config(1));
    let published = Published::default();
    let end_batch = |world: &mut World, at_ms: u64| {
        world.at_ms(at_ms);
        world.shard.on_batch_end(world.now);
    };
    ask(&mut world, 1);
    end_batch(&mut world, 1);
    world.at_ms(40);
    let approval = issuer_answer(&world.forwarded[0].2.clone(), "00", &[]);
    world.issuer(ABC, &approval);
    end_batch(&mut world, 42);
    // The other one is answered by the switch itself: a card of nobody.
    world.at_ms(50);
    let unknown = Request { pan: "9999990000000000", stan: 2, ..Request::default() };
    let done = world.request(101, &unknown.message(Dialect::iso87_ascii()));
    assert_eq!(done[0].text, "A101 0210 15");
    end_batch(&mut world, 55);
    let seen = levels(&world, &published);
    let of = |acquirer| {
        let times = seen.acquirer(AcquirerId(acquirer));
        [&times.switch, &times.issuer].map(|it| (it.count(), it.sum_ns() / 1_000_000))
    };
    assert_eq!(of(0), [(1, 3), (1, 39)]);
    assert_eq!(of(1), [(1, 5), (0, 0)]);
    assert_eq!(of(2), [(0, 0), (0, 0)], "there are two");
}
