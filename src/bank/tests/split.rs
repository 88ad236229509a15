//! The same seed gives the same answers, however the cards are split over shards and the messages
//! over batches.

use super::{Desk, Fields, NOW, banks, willing, write};
use crate::bank::{BankRing, BankSet, BufferPool, Ledger};
use crate::config::BankBehaviour;
use crate::shard::{AcquirerId, IssuerId};
use tapswitch_protocol::Dialect;

fn behaviour() -> BankBehaviour {
    BankBehaviour {
        delay_median_us: 3_000,
        delay_p99_us: 20_000,
        insufficient_funds_ppm: 40_000,
        expired_ppm: 30_000,
        wrong_pin_ppm: 20_000,
        do_not_honor_ppm: 30_000,
        unknown_card_ppm: 50_000,
        silence_ppm: 30_000,
        late_ppm: 30_000,
        late_ms: 9_000,
    }
}

/// Number `index` of a fixed stream of purchases, holds, balances and reversals over 49 cards.
fn request(index: u64) -> (u64, Vec<u8>) {
    let card = index * 7_919 % 49;
    let (mti, de3) = match index % 10 {
        0..=5 => (200, "000000"),
        6 | 7 => (100, "030000"),
        8 => (200, "300000"),
        _ => (420, "000000"),
    };
    let mut fields: Fields = vec![
        (2, format!("621626{card:013}").into_bytes()),
        (3, de3.as_bytes().to_vec()),
        (4, (index % 977 * 10 + 1).to_string().into_bytes()),
        (7, b"0704093015".to_vec()),
        (11, index.to_string().into_bytes()),
        (37, format!("{index:012}").into_bytes()),
    ];
    if index.is_multiple_of(3) {
        fields.push((52, vec![1; 8]));
    }
    if mti == 420 {
        // The same card's request 49 before: a purchase.
        fields.push((90, format!("0200{:06}0704093015{:022}", index - 49.min(index), 0).into()));
    }
    (card, write(Dialect::cups(), mti, &fields))
}

/// All answers, each with its time, as they come.
fn answers(parts: &mut [BankSet], owner: impl Fn(u64) -> usize) -> Vec<String> {
    let mut desk = Desk::new(&willing());
    (1..3_000)
        .map(|index| {
            let (card, bytes) = request(index);
            core::mem::swap(&mut desk.banks, &mut parts[owner(card)]);
            let (disposition, message) = desk.hand(0, 0, &bytes);
            core::mem::swap(&mut desk.banks, &mut parts[owner(card)]);
            let text = format!("{disposition:?} {:?}", message.bytes());
            desk.pool.give(message);
            text
        })
        .collect()
}

fn books(parts: &[BankSet]) -> Ledger {
    let mut all = Ledger::default();
    for (name, ledger) in parts.iter().flat_map(BankSet::ledgers) {
        assert_eq!(ledger.check(), Ok(()), "{name}");
        all.merge(&ledger);
    }
    all
}

#[test]
fn answers_do_not_depend_on_the_split() {
    let new = || banks(42, &behaviour(), 64);
    let (mut one, mut again, mut three) = ([new()], [new()], [new(), new(), new()]);
    let expected = answers(&mut one, |_| 0);
    assert_eq!(answers(&mut again, |_| 0), expected);
    assert_eq!(answers(&mut three, |card| card as usize % 3), expected);
    assert_eq!(books(&three), books(&one));
    let all = books(&one);
    assert_eq!(all.check(), Ok(()));
    // The stream is worth its name: everything that can happen did.
    let flows = all.flows;
    for count in [flows.approved.count, flows.holds.count, flows.reversed.count, flows.inquiries] {
        assert!(count > 20, "{flows:?}");
    }
    assert!(flows.silent > 20 && flows.late > 20);
}

#[test]
fn answers_do_not_depend_on_the_batch() {
    let prompt = BankBehaviour { delay_median_us: 0, delay_p99_us: 0, late_ppm: 0, ..behaviour() };
    let mut desk = Desk { banks: banks(42, &prompt, 64), ..Desk::new(&willing()) };
    let (mut banks, ring) = (banks(42, &prompt, 64), BankRing::new());
    let mut pool = BufferPool::new(64);
    let mut indexes = 1..3_000u64;
    for batch in (1..=40).cycle() {
        // Every third request comes twice: its repeat may be in the same batch.
        let indexes: Vec<_> = indexes
            .by_ref()
            .take(batch)
            .flat_map(|index| if index % 3 == 0 { vec![index; 2] } else { vec![index] })
            .collect();
        if indexes.is_empty() {
            break;
        }
        for &index in &indexes {
            let bytes = request(index).1;
            ring.try_send(&mut pool, IssuerId(0), AcquirerId(0), &bytes).unwrap();
        }
        assert_eq!(banks.poll(NOW, &ring, 100), indexes.len());
        for index in indexes {
            let message = ring.from_bank.receive().unwrap();
            let (_, alone) = desk.hand(0, 0, &request(index).1);
            assert_eq!(message.bytes(), alone.bytes(), "request {index}");
            pool.give(message);
            desk.pool.give(alone);
        }
    }
    assert_eq!(banks.ledgers(), desk.banks.ledgers());
    assert!(banks.flows(IssuerId(0)).unwrap().repeats > 100);
}

#[test]
fn another_seed_gives_other_answers() {
    let of_seed = |seed| answers(&mut [banks(seed, &behaviour(), 64)], |_| 0);
    let (one, other) = (of_seed(1), of_seed(2));
    let same = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert!(same < one.len() / 2, "{same}");
}
