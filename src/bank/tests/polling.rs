//! The bank's end of the ring: what is due now, what waits, what is lost.

use super::{Answer, Fields, banks, willing, write};
use crate::bank::{BankRing, BankSet, BufferPool};
use crate::config::BankBehaviour;
use crate::shard::{AcquirerId, IssuerId, Now};
use tapswitch_protocol::Dialect;

struct Office {
    banks: BankSet,
    ring: BankRing,
    pool: BufferPool,
}

impl Office {
    fn new(behaviour: &BankBehaviour) -> Self {
        Self { banks: banks(42, behaviour, 64), ring: BankRing::new(), pool: BufferPool::new(64) }
    }

    fn send(&mut self, stan: u32) {
        let fields: Fields = vec![
            (2, b"6216260000000000001".to_vec()),
            (3, b"000000".to_vec()),
            (4, b"100".to_vec()),
            (7, b"0704093015".to_vec()),
            (11, stan.to_string().into_bytes()),
            (37, format!("{stan:012}").into_bytes()),
        ];
        let bytes = write(Dialect::cups(), 200, &fields);
        self.ring.try_send(&mut self.pool, IssuerId(0), AcquirerId(0), &bytes).unwrap();
    }

    fn poll(&mut self, mono_ns: u64, budget: usize) -> usize {
        self.banks.poll(Now { mono_ns, wall_ms: 0 }, &self.ring, budget)
    }

    /// STANs of the answers that are back; 0 for silence.
    fn back(&mut self) -> Vec<u32> {
        let mut stans = Vec::new();
        while let Some(message) = self.ring.from_bank.receive() {
            let stan = if message.is_silence() {
                0
            } else {
                Answer::read(Dialect::cups(), message.bytes()).text(11).parse().unwrap()
            };
            stans.push(stan);
            self.pool.give(message);
        }
        stans
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests_and_within_the_budget() {
    let mut office = Office::new(&willing());
    (1..=10).for_each(|stan| office.send(stan));
    assert_eq!((office.poll(0, 4), office.back()), (4, vec![1, 2, 3, 4]));
    assert_eq!((office.poll(0, 100), office.back()), (6, vec![5, 6, 7, 8, 9, 10]));
    assert_eq!((office.poll(0, 100), office.pool.out()), (0, 0));
}

#[test]
fn a_constant_delay_is_kept() {
    let delay = BankBehaviour { delay_median_us: 7, delay_p99_us: 7, ..willing() };
    let mut office = Office::new(&delay);
    office.send(1);
    assert_eq!((office.poll(1_000, 100), office.banks.waiting()), (1, 1));
    office.send(2);
    assert_eq!(office.poll(1_500, 100), 1);
    assert_eq!(office.banks.next_due_ns(), Some(8_000));
    assert_eq!((office.poll(7_999, 100), office.back()), (0, vec![]));
    assert_eq!((office.poll(8_000, 100), office.back()), (1, vec![1]));
    assert_eq!((office.poll(9_000, 100), office.back()), (1, vec![2]));
    assert_eq!((office.banks.next_due_ns(), office.banks.waiting()), (None, 0));
}

#[test]
fn a_drawn_delay_reorders_and_loses_nothing() {
    let delay = BankBehaviour { delay_median_us: 100, delay_p99_us: 900, ..willing() };
    let mut office = Office::new(&delay);
    (1..=60).for_each(|stan| office.send(stan));
    assert_eq!(office.poll(0, 100), 60);
    let mut order = Vec::new();
    while let Some(due_ns) = office.banks.next_due_ns() {
        assert!(office.poll(due_ns, 1) == 1);
        order.extend(office.back());
    }
    assert!(!order.is_sorted(), "the delay varies");
    order.sort_unstable();
    assert_eq!(order, (1..=60).collect::<Vec<_>>());
}

#[test]
fn silence_gives_the_buffer_back_and_keeps_the_money() {
    let silent = BankBehaviour { silence_ppm: 1_000_000, delay_median_us: 50, ..willing() };
    let mut office = Office::new(&silent);
    office.send(1);
    assert_eq!((office.poll(0, 100), office.back()), (1, vec![0]));
    assert_eq!(office.pool.out(), 0);
    let flows = office.banks.flows(IssuerId(0)).unwrap();
    assert_eq!((flows.silent, flows.approved.amount_minor), (1, 100));
}

#[test]
fn a_late_answer_comes_late() {
    let late = BankBehaviour { late_ppm: 1_000_000, delay_median_us: 50, ..willing() };
    let mut office = Office::new(&late);
    office.send(1);
    assert_eq!((office.poll(10, 100), office.back()), (1, vec![]));
    assert_eq!(office.banks.next_due_ns(), Some(9_000_000_010));
    let flows = office.banks.flows(IssuerId(0)).unwrap();
    assert_eq!((flows.late, flows.approved.amount_minor), (1, 100));
    assert_eq!((office.poll(9_000_000_010, 100), office.back()), (1, vec![1]));
}
