//! The books of an exchange, whatever the other side does.

use super::*;
use crate::message::FRAME_BYTES_MAX;
use crate::plan::LoadDialect;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use tapswitch_protocol::{Addition, FrameStep, MessageWriter, Mti, respond};

const DEADLINE_NS: u64 = 1_000_000_000;
const CONNECTIONS: u32 = 3;

/// Messages, each with its connection.
type Messages = Vec<(Vec<u8>, u32)>;

/// An exchange, and the messages that went over it.
struct Wire {
    exchange: Exchange,
    dialect: LoadDialect,
    now_ns: u64,
    /// Requests without response yet.
    open: Messages,
    /// Responses given.
    answered: Messages,
    /// Responses to requests that were given up.
    given_up: Messages,
}

impl Wire {
    fn new(dialect: LoadDialect) -> Self {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        let plan = LoadPlan {
            connections: CONNECTIONS,
            in_flight: 10,
            cards: 1_000,
            answer_deadline: Duration::from_nanos(DEADLINE_NS),
            ..LoadPlan::new(target, dialect)
        };
        let exchange = Exchange::new(&plan, &Stamp::at(1_800_000_000)).unwrap();
        let (open, answered, given_up) = (Vec::new(), Vec::new(), Vec::new());
        Self { exchange, dialect, now_ns: 1, open, answered, given_up }
    }

    /// Asks; false when the window is full.
    fn ask(&mut self, connection: u32) -> bool {
        let now_ns = self.now_ns;
        let stamp = Stamp::at(1_800_000_000 + now_ns / DEADLINE_NS);
        let asking = Asking { connection, intended_ns: now_ns, now_ns };
        let mut out = Vec::new();
        let Some(place) = self.exchange.ask(asking, &stamp, &mut out) else { return false };
        self.exchange.on_written(place, now_ns);
        let step = self.dialect.usual_framing().next(&out, FRAME_BYTES_MAX).unwrap();
        let FrameStep::Message { body, .. } = step else { panic!("{step:?}") };
        self.open.push((body.to_vec(), connection));
        true
    }

    fn receive(&mut self, connection: u32, message: &[u8]) -> Option<u32> {
        self.exchange.on_message(self.now_ns, connection, message)
    }

    /// The right response, with these fields on top.
    fn response(&self, request: &[u8], additions: &[Addition<'_>]) -> Vec<u8> {
        let mut table = FieldTable::default();
        let dialect = self.dialect.table();
        let view = dialect.parse(request, &mut table).unwrap();
        let mut out = vec![0; FRAME_BYTES_MAX];
        let mti = view.mti().response().unwrap();
        let length = respond(&view, mti, dialect.echo, additions, &mut out).unwrap();
        out.truncate(length);
        out
    }

    fn approval(&self, request: &[u8]) -> Vec<u8> {
        let code = Addition { field: 39, value: b"00" };
        self.response(request, &[Addition { field: 38, value: b"A12345" }, code])
    }

    fn count(&mut self, problem: Problem) -> u64 {
        self.exchange.tally().problems[problem as usize]
    }

    fn assert_books(&mut self) {
        let in_flight = self.exchange.in_flight() as u64;
        let tally = self.exchange.tally();
        assert_eq!(tally.sent, tally.answered + tally.unanswered + in_flight);
        assert_eq!(tally.answered, tally.approved + tally.declined);
        assert_eq!(tally.answered, tally.response.len());
        assert_eq!(in_flight, self.open.len() as u64);
    }
}

/// What the other side does next. The number chooses which of several messages is meant.
#[derive(Clone, Debug)]
enum Deed {
    Ask(u32),
    Approve(usize),
    Decline(usize),
    ChangeEcho(usize),
    AnswerElsewhere(usize),
    AnswerAgain(usize),
    AnswerLate(usize),
    Invent,
    Babble,
    LetTimePass,
    LoseConnection(u32),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        8 => (0..CONNECTIONS).prop_map(Deed::Ask),
        4 => any::<usize>().prop_map(Deed::Approve),
        1 => any::<usize>().prop_map(Deed::Decline),
        1 => any::<usize>().prop_map(Deed::ChangeEcho),
        1 => any::<usize>().prop_map(Deed::AnswerElsewhere),
        1 => any::<usize>().prop_map(Deed::AnswerAgain),
        1 => any::<usize>().prop_map(Deed::AnswerLate),
        1 => Just(Deed::Invent),
        1 => Just(Deed::Babble),
        1 => Just(Deed::LetTimePass),
        1 => (0..CONNECTIONS).prop_map(Deed::LoseConnection),
    ];
    prop::collection::vec(deed, 1..120)
}

/// One of the list, if there is any.
fn pick<T>(list: &mut Vec<T>, which: usize) -> Option<T> {
    let count = list.len().max(1);
    (which % count < list.len()).then(|| list.swap_remove(which % count))
}

impl Wire {
    /// Answers one open request on the connection given by `at`; says whether there was one.
    fn answer(
        &mut self,
        which: usize,
        at: impl Fn(u32) -> u32,
        make: impl Fn(&Self, &[u8]) -> Vec<u8>,
    ) -> u64 {
        let Some((request, connection)) = pick(&mut self.open, which) else { return 0 };
        let response = make(self, &request);
        assert_eq!(self.receive(at(connection), &response), Some(connection), "its turn is free");
        self.answered.push((response, connection));
        1
    }

    fn again(&mut self, list: fn(&mut Self) -> &mut Messages, which: usize) -> u64 {
        let Some((message, connection)) = pick(list(self), which) else { return 0 };
        assert_eq!(self.receive(connection, &message), None);
        list(self).push((message, connection));
        1
    }

    /// Does it, and adds to the problems that must be found.
    fn act(&mut self, deed: &Deed, expected: &mut [u64; Problem::ALL.len()]) {
        let mut expect = |problem: Problem, count| expected[problem as usize] += count;
        match *deed {
            Deed::Ask(connection) => {
                let asked = self.ask(connection);
                assert!(asked || self.open.len() == 30, "the window is 3 times 10");
            }
            Deed::Approve(which) => {
                self.answer(which, |connection| connection, Self::approval);
            }
            Deed::Decline(which) => {
                let decline = |wire: &Self, request: &[u8]| {
                    wire.response(request, &[Addition { field: 39, value: b"51" }])
                };
                self.answer(which, |connection| connection, decline);
            }
            Deed::ChangeEcho(which) => {
                let change = |wire: &Self, request: &[u8]| {
                    let additions = [
                        Addition { field: 33, value: b"99999999" },
                        Addition { field: 39, value: b"51" },
                    ];
                    wire.response(request, &additions)
                };
                expect(Problem::ChangedEcho, self.answer(which, |at| at, change));
            }
            Deed::AnswerElsewhere(which) => {
                let elsewhere = |connection| (connection + 1) % CONNECTIONS;
                let count = self.answer(which, elsewhere, Self::approval);
                expect(Problem::WrongConnection, count);
            }
            Deed::AnswerAgain(which) => {
                expect(Problem::Duplicate, self.again(|wire| &mut wire.answered, which));
            }
            Deed::AnswerLate(which) => {
                expect(Problem::Late, self.again(|wire| &mut wire.given_up, which));
            }
            Deed::Invent => {
                let mut message = vec![0; 200];
                let mti = Mti::from_ascii(*b"0210").unwrap();
                let mut writer =
                    MessageWriter::new(self.dialect.table(), mti, &mut message).unwrap();
                writer.put(7, b"0101000000").unwrap();
                writer.put(11, b"999999").unwrap();
                writer.put(39, b"00").unwrap();
                let length = writer.finish().unwrap();
                assert_eq!(self.receive(0, &message[..length]), None);
                expect(Problem::Orphan, 1);
            }
            Deed::Babble => {
                assert_eq!(self.receive(0, b"0210 is not a message"), None);
                expect(Problem::Unreadable, 1);
            }
            Deed::LetTimePass => {
                self.now_ns += 2 * DEADLINE_NS;
                let mut freed = 0;
                self.exchange.expire(self.now_ns, |_| freed += 1);
                assert_eq!(freed, self.open.len());
                self.give_up(|_| true);
            }
            Deed::LoseConnection(lost) => {
                self.exchange.on_connection_lost(lost);
                self.give_up(|connection| connection == lost);
            }
        }
    }

    fn give_up(&mut self, is_given_up: impl Fn(u32) -> bool) {
        let open = std::mem::take(&mut self.open);
        let (gone, open) = open.into_iter().partition(|(_, connection)| is_given_up(*connection));
        self.open = open;
        let late = |(request, connection): (Vec<u8>, u32)| (self.approval(&request), connection);
        let late: Vec<_> = Vec::into_iter(gone).map(late).collect();
        self.given_up.extend(late);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_books_balance_and_every_fault_is_found(
        deeds in deeds(),
        dialect in prop_oneof![Just(LoadDialect::Cups), Just(LoadDialect::Iso87Ascii)],
    ) {
        let mut wire = Wire::new(dialect);
        let mut expected = [0; Problem::ALL.len()];
        for deed in &deeds {
            wire.act(deed, &mut expected);
            wire.assert_books();
        }
        prop_assert_eq!(wire.exchange.tally().problems, expected);
        let wrong: u64 = expected.iter().sum();
        prop_assert_eq!(wire.exchange.tally().wrong, wrong);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_bytes_stop_an_exchange(
        dialect in prop_oneof![Just(LoadDialect::Cups), Just(LoadDialect::Iso87Ascii)],
        damages in prop::collection::vec((any::<usize>(), any::<u8>(), any::<bool>()), 200),
    ) {
        let mut wire = Wire::new(dialect);
        for (place, byte, is_cut) in damages {
            if !wire.ask(0) {
                // The window is full of requests whose responses were not readable.
                wire.now_ns += 2 * DEADLINE_NS;
                wire.exchange.expire(wire.now_ns, |_| {});
                prop_assert!(wire.ask(0));
            }
            let (request, _) = wire.open.pop().unwrap();
            let mut response = wire.approval(&request);
            let place = place % response.len();
            response[place] = byte;
            if is_cut {
                response.truncate(place);
            }
            wire.receive(0, &response);
            let in_flight = wire.exchange.in_flight() as u64;
            let tally = wire.exchange.tally();
            prop_assert_eq!(tally.sent, tally.answered + tally.unanswered + in_flight);
        }
    }
}

/// Asks until a transaction of this kind of response type comes, and gives its request.
fn ask_until(wire: &mut Wire, mti: &str, processing_code: &[u8]) -> Vec<u8> {
    for _ in 0..10_000 {
        assert!(wire.ask(0));
        let (request, _) = wire.open.pop().unwrap();
        let mut table = FieldTable::default();
        let view = wire.dialect.table().parse(&request, &mut table).unwrap();
        if view.mti().to_string() == mti && view.raw(3) == Some(processing_code) {
            return request;
        }
        let approval = wire.approval(&request);
        wire.receive(0, &approval);
    }
    panic!("the mix has {mti} {processing_code:?}");
}

#[test]
fn sums_are_kept_apart_by_what_was_asked() {
    let mut wire = Wire::new(LoadDialect::Cups);
    let all = |wire: &mut Wire| {
        let sum = |of: fn(&crate::report::IssuerTotals) -> u64, wire: &mut Wire| {
            wire.exchange.tally().issuers.iter().map(of).sum::<u64>()
        };
        [
            sum(|totals| totals.approved_minor, wire),
            sum(|totals| totals.held_minor, wire),
            sum(|totals| totals.reversed_minor, wire),
            sum(|totals| totals.refunded_minor, wire),
            sum(|totals| totals.declined_count, wire),
        ]
    };
    let cases: [(&str, &[u8], usize); 4] = [
        ("0200", b"000000", 0),
        ("0100", b"030000", 1),
        ("0420", b"000000", 2),
        ("0220", b"200000", 3),
    ];
    for (mti, code, place) in cases {
        let request = ask_until(&mut wire, mti, code);
        let mut table = FieldTable::default();
        let amount = wire.dialect.table().parse(&request, &mut table).unwrap().amount().unwrap().0;
        let before = all(&mut wire);
        let approval = wire.approval(&request);
        assert_eq!(wire.receive(0, &approval), Some(0));
        let mut expected = before;
        expected[place] += amount;
        assert_eq!(all(&mut wire), expected, "{mti}");
    }
    let request = ask_until(&mut wire, "0200", b"000000");
    let before = all(&mut wire);
    let decline = wire.response(&request, &[Addition { field: 39, value: b"61" }]);
    wire.receive(0, &decline);
    assert_eq!(all(&mut wire)[..4], before[..4], "a decline moves nothing");
    assert_eq!(all(&mut wire)[4], before[4] + 1);
}

#[test]
fn a_partial_approval_may_name_another_amount_and_counts_as_that() {
    let mut wire = Wire::new(LoadDialect::Cups);
    let sum = |wire: &mut Wire| {
        wire.exchange.tally().issuers.iter().map(|totals| totals.approved_minor).sum::<u64>()
    };
    for (code, is_right) in [(b"10", true), (b"00", false)] {
        let request = ask_until(&mut wire, "0200", b"000000");
        let (before, changed) = (sum(&mut wire), wire.count(Problem::ChangedEcho));
        let additions = [
            Addition { field: 4, value: b"000000000001" },
            Addition { field: 38, value: b"A12345" },
            Addition { field: 39, value: code },
        ];
        let response = wire.response(&request, &additions);
        wire.receive(0, &response);
        assert_eq!(wire.count(Problem::ChangedEcho) == changed, is_right);
        if is_right {
            assert_eq!(sum(&mut wire), before + 1);
        }
    }
}

#[test]
fn a_response_with_another_reference_answers_nothing() {
    let mut wire = Wire::new(LoadDialect::Cups);
    let request = ask_until(&mut wire, "0200", b"000000");
    let additions =
        [Addition { field: 37, value: b"999999999999" }, Addition { field: 39, value: b"51" }];
    let response = wire.response(&request, &additions);
    assert_eq!(wire.receive(0, &response), None);
    assert_eq!(wire.count(Problem::Orphan), 1);
    assert_eq!(wire.exchange.in_flight(), 1, "it still waits");
}

#[test]
fn what_is_missing_in_a_response_is_found() {
    let mut wire = Wire::new(LoadDialect::Cups);
    let request = ask_until(&mut wire, "0200", b"000000");
    let bare = wire.response(&request, &[]);
    wire.receive(0, &bare);
    assert_eq!(wire.count(Problem::NoResponseCode), 1);
    let request = ask_until(&mut wire, "0100", b"030000");
    let unnumbered = wire.response(&request, &[Addition { field: 39, value: b"00" }]);
    wire.receive(0, &unnumbered);
    assert_eq!(wire.count(Problem::NoApprovalCode), 1);
}
