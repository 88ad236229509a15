//! Whole runs over sockets: a right switch gives a clean report, a wrong one does not.

use crate::responder::{Answer, plan, start};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tapswitch_loadgen::{
    Arrivals, LoadDialect, LoadPlan, LoadReport, Problem, Progress, Rate, run,
};
use tapswitch_protocol::MessageView;

const DIALECTS: [LoadDialect; 2] = [LoadDialect::Cups, LoadDialect::Iso87Ascii];

fn run_plan(plan: &LoadPlan) -> LoadReport {
    let report = run(plan, &Progress::new(), &AtomicBool::new(false)).unwrap();
    assert_eq!(report.sent, report.answered + report.unanswered, "nothing is lost from the books");
    report
}

fn approve(_: u64, _: &MessageView<'_>, _: &mut Answer) {}

fn count(report: &LoadReport, problem: Problem) -> u64 {
    report.problems.iter().find(|(found, _)| *found == problem).map_or(0, |(_, count)| *count)
}

#[test]
fn every_request_of_the_schedule_is_sent_and_answered() {
    for dialect in DIALECTS {
        let target = start(dialect, 2, approve);
        let plan = LoadPlan {
            rate: Rate::PerSecond(4_000.0),
            arrivals: Arrivals::Constant,
            seconds: 0.5,
            sign_on: true,
            ..plan(target, dialect)
        };
        let report = run_plan(&plan);
        assert!(report.is_clean(), "{:?} {:?}", report.problems, report.samples);
        assert_eq!((report.sent, report.unsent), (2_000, 0));
        assert_eq!((report.approved, report.declined), (2_000, 0));
        assert_eq!(report.response.len(), 2_000);
        let reversed: u64 = report.per_issuer.iter().map(|totals| totals.reversed_count).sum();
        assert!(reversed > 10, "{reversed} reversals of 2 %");
    }
}

#[test]
fn a_closed_loop_asks_as_fast_as_it_is_answered() {
    let target = start(LoadDialect::Cups, 2, approve);
    let plan = LoadPlan { seconds: 0.3, ..plan(target, LoadDialect::Cups) };
    let progress = Progress::new();
    let report = run(&plan, &progress, &AtomicBool::new(false)).unwrap();
    assert!(report.is_clean(), "{:?}", report.samples);
    assert!(report.sent > 100);
    assert_eq!(report.loop_kind(), "closed");
    let last = progress.latest();
    assert_eq!((last.sent, last.answered, last.in_flight), (report.sent, report.answered, 0));
    assert_eq!(last.by_code, report.by_code);
    assert_eq!(last.per_issuer, report.per_issuer);
}

#[test]
fn a_run_can_be_stopped() {
    let target = start(LoadDialect::Cups, 2, approve);
    let plan = LoadPlan { seconds: 3_600.0, ..plan(target, LoadDialect::Cups) };
    let (progress, stop) = (Progress::new(), Arc::new(AtomicBool::new(false)));
    let report = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &progress, &stop).unwrap());
        while progress.latest().answered == 0 {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert!(report.is_clean());
    assert!(report.sending_s < 60.0);
}

/// A run of 2 seconds against a responder that is silent for 200 ms.
fn stalled() -> LoadReport {
    let stall = |number: u64, _: &MessageView<'_>, _: &mut Answer| {
        if number == 1_000 {
            wait(Duration::from_millis(200));
        }
    };
    let target = start(LoadDialect::Cups, 1, stall);
    let plan = LoadPlan {
        connections: 1,
        in_flight: 4,
        rate: Rate::PerSecond(2_000.0),
        arrivals: Arrivals::Constant,
        seconds: 2.0,
        ..plan(target, LoadDialect::Cups)
    };
    let report = run_plan(&plan);
    assert!(report.is_clean(), "{:?}", report.samples);
    assert_eq!(report.sent + report.unsent, 4_000);
    report
}

/// One request in ten waits, on average 100 ms.
#[test]
fn a_stall_is_seen_by_all_who_should_have_asked_during_it() {
    // A machine that stands still until the time is over leaves requests unsent: then it is done again.
    let report = (0..10).map(|_| stalled()).find(|report| report.unsent == 0);
    let report = report.expect("everything can be sent");
    let at = |quantile| report.response.value_at_quantile(quantile) / 1_000_000;
    assert!(at(0.999) >= 180, "p99.9 is {} ms", at(0.999));
    assert!(at(0.95) >= 80, "a tenth waited; p95 is {} ms", at(0.95));
    // A tool that asks only when it may sees the stall in the few requests it had in flight.
    let waited = |histogram: &Histogram<u64>| histogram.count_between(180_000_000, u64::MAX);
    assert!(waited(&report.service) < waited(&report.response));
}

#[expect(clippy::disallowed_methods, reason = "a stalled switch is what is tried")]
fn wait(length: Duration) {
    std::thread::sleep(length);
}

/// Long enough for any machine.
const PATIENT: Duration = Duration::from_secs(60);
/// Long enough for a response that is only slow, on a machine that stands still for some of it.
const SHORT: Duration = Duration::from_secs(6);

/// Something is wrong with one response in each hundred.
fn with_fault(
    answer_deadline: Duration,
    fault: impl Fn(&MessageView<'_>, &mut Answer) + Send + Sync + 'static,
) -> LoadReport {
    let change = move |number: u64, request: &MessageView<'_>, answer: &mut Answer| {
        if number % 100 == 50 {
            fault(request, answer);
        }
    };
    let target = start(LoadDialect::Cups, 1, change);
    let plan = LoadPlan {
        connections: 1,
        rate: Rate::PerSecond(5_000.0),
        arrivals: Arrivals::Constant,
        seconds: 0.2,
        answer_deadline,
        ..plan(target, LoadDialect::Cups)
    };
    let report = run_plan(&plan);
    assert!(!report.is_clean());
    assert_eq!(report.sent, 1_000);
    report
}

/// Overwrites the content of a field of a response.
fn overwrite(answer: &mut Answer, field: u8, with: u8) {
    let mut table = tapswitch_protocol::FieldTable::default();
    let dialect = LoadDialect::Cups.table();
    let range = dialect.parse(&answer.message, &mut table).unwrap().range(field).unwrap();
    answer.message[range].fill(with);
}

#[test]
fn a_wrong_type_is_found() {
    let report = with_fault(PATIENT, |_, answer| answer.message[2] = b'7');
    assert_eq!((report.wrong, report.unanswered), (10, 0));
    assert_eq!(count(&report, Problem::WrongMti), 10);
}

#[test]
fn a_changed_field_is_found() {
    let report = with_fault(PATIENT, |request, answer| {
        if request.has(41) {
            overwrite(answer, 41, b'X');
        }
    });
    assert_eq!(report.unanswered, 0);
    assert_eq!(report.wrong, count(&report, Problem::ChangedEcho));
    assert!(report.wrong >= 9, "all but line tests have a DE 41");
    assert!(report.samples.iter().all(|sample| sample.contains(" DE 41")), "{:?}", report.samples);
    assert!(report.samples.iter().all(|sample| sample.contains("******")), "PANs are masked");
}

#[test]
fn a_second_response_is_found() {
    let report = with_fault(PATIENT, |_, answer| answer.times = 2);
    assert_eq!((report.wrong, report.unanswered), (10, 0));
    assert_eq!(count(&report, Problem::Duplicate), 10);
}

#[test]
fn a_response_to_nothing_is_found() {
    let report = with_fault(SHORT, |_, answer| overwrite(answer, 11, b'9'));
    assert_eq!((report.wrong, report.unanswered), (10, 10));
    assert_eq!(count(&report, Problem::Orphan), 10);
}

#[test]
fn a_missing_response_is_found() {
    let report = with_fault(SHORT, |_, answer| answer.times = 0);
    assert_eq!((report.wrong, report.unanswered), (0, 10));
    assert_eq!(report.answered, 990);
}

#[test]
fn an_unreadable_response_is_found() {
    let report = with_fault(SHORT, |_, answer| answer.message.truncate(40));
    assert_eq!((report.wrong, report.unanswered), (10, 10));
    assert_eq!(count(&report, Problem::Unreadable), 10);
}

#[test]
fn a_missing_approval_code_is_found() {
    let report = with_fault(PATIENT, |request, answer| {
        let mut table = tapswitch_protocol::FieldTable::default();
        let dialect = LoadDialect::Cups.table();
        let whole = std::mem::take(&mut answer.message);
        let view = dialect.parse(&whole, &mut table).unwrap();
        answer.message = vec![0; 1_000];
        let rest = view.present().without(38);
        let mti = request.mti().response().unwrap();
        let length =
            tapswitch_protocol::respond(&view, mti, rest, &[], &mut answer.message).unwrap();
        answer.message.truncate(length);
    });
    assert_eq!(report.wrong, count(&report, Problem::NoApprovalCode));
    assert!(report.wrong >= 6, "nine in ten are purchases or pre-authorizations");
}

#[test]
fn a_lost_connection_is_not_waited_for() {
    let target = start(LoadDialect::Cups, 2, |number, request, answer| {
        // Breaks the framing of one connection.
        if number == 100 && request.stan().is_some() {
            answer.message = vec![b'0'; 5_000];
        }
    });
    let plan = LoadPlan {
        rate: Rate::PerSecond(2_000.0),
        seconds: 0.3,
        answer_deadline: Duration::from_secs(60),
        ..plan(target, LoadDialect::Cups)
    };
    let report = run_plan(&plan);
    assert_eq!(report.connections_lost, 2, "both come to their hundredth request");
    assert_eq!(count(&report, Problem::FramingLost), 2);
    assert!(report.unanswered > 0);
}

#[test]
fn nobody_there_is_an_error() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = listener.local_addr().unwrap();
    drop(listener);
    let error = run(&plan(target, LoadDialect::Cups), &Progress::new(), &AtomicBool::new(false));
    let text = error.err().unwrap().to_string();
    assert!(text.starts_with(&format!("connection 0 to {target} failed")), "{text}");
}
