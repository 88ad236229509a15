//! What operators decide about messages that issuers refuse: sent again in their place, dropped, or
//! impossible to send; and the same after a restart.

use super::fixture::{Request, World, config, issuer_answer, with_view};
use super::restart::Journaled;
use crate::shard::journal_record::read_records;
use crate::shard::parked::{DropNote, ParkedOrder, ParkedOutcome};
use crate::shard::{AcquirerId, Counter, IssuerId, OwedCounts, Published};
use tapswitch_protocol::Dialect;

const ABC: IssuerId = IssuerId(0);

/// A journaled world in which the reversal of request 1 is parked, as number 1.
pub(super) fn parked() -> (Journaled, u64) {
    let mut first = Journaled::new();
    first.request(&Request::default());
    first.issuer("00");
    first.request(&Request { mti: 420, stan: 2, original_stan: Some(1), ..Request::default() });
    let mut at_ms = 0;
    for _ in 0..3 {
        assert_eq!(first.issuer("30"), [""; 0]);
        at_ms += 30_000;
        first.world.at_ms(at_ms);
        first.tick();
    }
    assert_eq!(counts(&first), OwedCounts { owed: 0, parked: 1 });
    (first, at_ms)
}

fn counts(journaled: &Journaled) -> OwedCounts {
    journaled.world.shard.owed_to(ABC)
}

fn order(
    journaled: &mut Journaled,
    number: u64,
    order: ParkedOrder,
) -> (ParkedOutcome, Vec<String>) {
    let World { shard, now, outbox, .. } = &mut journaled.world;
    let outcome = shard.on_parked_order(*now, number, &order, outbox);
    (outcome, journaled.take())
}

fn number_of(journaled: &Journaled) -> u64 {
    let [message] = &journaled.world.shard.parked()[..] else { panic!("one is parked") };
    message.number
}

fn note(text: &str) -> ParkedOrder {
    ParkedOrder::Drop(DropNote::new(text).unwrap())
}

#[test]
fn c19_what_is_parked_is_shown_without_its_card_and_published_when_it_changes() {
    let (first, _) = parked();
    let shard = &first.world.shard;
    let [message] = &shard.parked()[..] else { panic!("one is parked") };
    assert_eq!((message.issuer, message.mti, message.code), (Some(ABC), 420, *b"30"));
    assert_eq!(message.rrn.as_deref(), Some("000000000001"));
    assert!(message.amount_minor.is_some_and(|amount| amount > 0), "{message:?}");
    let card = message.card.as_deref().unwrap();
    assert!(card.contains("****") && card.len() >= 16, "{card}");
    let published = Published::default();
    assert!(shard.publish(&published));
    assert_eq!(published.parked(), shard.parked());
}

/// It comes under the numbers that the issuer knows it by, and is done, or parked again.
#[test]
fn c19_d19_a_parked_message_is_sent_again_and_done() {
    let (mut first, _) = parked();
    let sent = first.world.forwarded.last().unwrap().2.clone();
    let number = number_of(&first);
    let released = order(&mut first, number, ParkedOrder::Release);
    assert_eq!(released, (ParkedOutcome::Released, vec!["I0 0420".to_owned()]));
    let again = first.world.forwarded.last().unwrap().2.clone();
    assert_eq!(again, sent, "the same message under the same numbers");
    assert_eq!(counts(&first), OwedCounts { owed: 1, parked: 0 });
    assert!(first.world.shard.parked().is_empty());
    assert_eq!(order(&mut first, number, ParkedOrder::Release).0, ParkedOutcome::NotParked);
    assert_eq!(first.issuer("00"), [""; 0]);
    assert_eq!((counts(&first), first.world.shard.in_flight()), (OwedCounts::default(), 0));
    let count = |counter| first.world.shard.counters().value(counter);
    assert_eq!((count(Counter::OwedReleased), count(Counter::OwedDone)), (1, 1));
}

#[test]
fn c19_a_message_released_in_vain_is_parked_after_three_more_refusals() {
    let (mut first, mut at_ms) = parked();
    let number = number_of(&first);
    order(&mut first, number, ParkedOrder::Release);
    for refusal in 1..=3 {
        assert_eq!(counts(&first).parked, 0, "{refusal}");
        first.issuer("30");
        at_ms += 60_000;
        first.world.at_ms(at_ms);
        first.tick();
    }
    assert_eq!((counts(&first).parked, number_of(&first)), (1, number));
}

#[test]
fn d19_a_parked_message_is_dropped_with_a_note_that_the_journal_keeps() {
    let (mut first, at_ms) = parked();
    let number = number_of(&first);
    assert_eq!(order(&mut first, number + 7, note("x")).0, ParkedOutcome::NotParked);
    let dropped = order(&mut first, number, note("booked by hand"));
    assert_eq!(dropped, (ParkedOutcome::Dropped, Vec::new()));
    assert_eq!(counts(&first), OwedCounts::default());
    let (second, recovered, done) = first.restart_at(at_ms + 2_000);
    assert_eq!((recovered.owed, done.len(), counts(&second)), (0, 0, OwedCounts::default()));
    let mut lines = Vec::new();
    read_records(second.records(), |record| lines.push(record.to_string())).unwrap();
    assert!(lines.iter().any(|line| line.contains("\"booked by hand\"")), "{lines:?}");
}

/// Released, and the process ends before anything has answered it.
#[test]
fn c19_a_released_message_is_owed_after_a_restart() {
    let (mut first, at_ms) = parked();
    let number = number_of(&first);
    order(&mut first, number, ParkedOrder::Release);
    let sent = first.world.forwarded.last().unwrap().2.clone();
    let (mut second, recovered, _) = first.restart_at(at_ms + 2_000);
    assert_eq!((recovered.owed, counts(&second)), (1, OwedCounts { owed: 1, parked: 0 }));
    second.world.at_ms(at_ms + 400_000);
    assert_eq!(second.tick(), ["I0 0420"]);
    assert_eq!(second.world.forwarded.last().unwrap().2, sent);
    assert_eq!(second.issuer("00"), [""; 0]);
    assert_eq!(counts(&second), OwedCounts::default());
}

/// An earlier message of a card that is released goes by its number: before those that wait, beside
/// one that is under way.
#[test]
fn c19_a_released_message_has_its_old_place_among_those_of_its_card() {
    let (mut first, _) = parked();
    let number = number_of(&first);
    for stan in 3..5 {
        assert_eq!(first.request(&Request { stan, ..Request::default() }), ["I0 0200"]);
        assert_eq!(first.issuer("00"), ["A1 0210 00"]);
    }
    let reverse = |first: &mut Journaled, stan, original| {
        let original_stan = Some(original);
        first.request(&Request { mti: 420, stan, original_stan, ..Request::default() })
    };
    assert_eq!(reverse(&mut first, 5, 3), ["A1 0430 00", "I0 0420"]);
    let under_way = first.world.forwarded.last().unwrap().2.clone();
    assert_eq!(reverse(&mut first, 6, 4), ["A1 0430 00"], "its turn comes");
    let (outcome, done) = order(&mut first, number, ParkedOrder::Release);
    assert_eq!((outcome, &done[..]), (ParkedOutcome::Released, &["I0 0420".to_owned()][..]));
    let released = first.world.forwarded.last().unwrap().2.clone();
    let acknowledge = |first: &mut Journaled, message: &[u8]| {
        let answer = issuer_answer(message, "00", &[]);
        let World { shard, now, outbox, .. } = &mut first.world;
        shard.on_issuer_response(*now, ABC, AcquirerId(0), &answer, outbox);
        first.take()
    };
    let sent = first.world.forwarded.len();
    assert_eq!(acknowledge(&mut first, &under_way), [""; 0], "the oldest is not done");
    assert_eq!(acknowledge(&mut first, &released), ["I0 0420"], "the last of the three");
    assert_eq!(first.world.forwarded.len(), sent + 1);
    let last = first.world.forwarded.last().unwrap().2.clone();
    assert!(with_view(&last, |view| view.raw(37) == Some(b"000000000004")));
    assert_eq!(acknowledge(&mut first, &last), [""; 0]);
    assert_eq!(counts(&first), OwedCounts::default());
}

/// A reversal that names neither card nor known original: nobody can be told of it.
#[test]
fn what_names_no_card_is_dropped_or_stays() {
    let mut world = World::new(&config(1));
    let request = Request { mti: 420, pan: "", original_stan: Some(77), ..Request::default() };
    let answer = world.request(1, &request.message(Dialect::cups()));
    assert_eq!(answer.len(), 1, "{:?}", answer.iter().map(|it| &it.text).collect::<Vec<_>>());
    let [message] = &world.shard.parked()[..] else { panic!("it is parked") };
    assert_eq!((message.issuer, &message.card), (None, &None));
    let number = message.number;
    let World { shard, now, outbox, .. } = &mut world;
    let mut order = |order| shard.on_parked_order(*now, number, &order, outbox);
    assert_eq!(order(ParkedOrder::Release), ParkedOutcome::NoIssuer);
    assert_eq!(order(note("its acquirer sent it by mistake")), ParkedOutcome::Dropped);
    assert_eq!(order(ParkedOrder::Release), ParkedOutcome::NotParked);
    assert!(world.drain().is_empty());
}
