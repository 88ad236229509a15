//! G1 and C12 from outside: an issuer's window as the bottleneck, a flood of several times what it takes
//! from one acquirer, and another acquirer that wants the same issuer. What is tested holds however
//! slow the machine is; how fast it is, is measured elsewhere (`loadgen overload`).

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{GENEROUS, PATIENCE, Setup};
use std::sync::atomic::{AtomicBool, Ordering};
use tapswitch_loadgen::{IinTable, LoadDialect, LoadPlan, Progress, Rate};

/// The other acquirer's purchases, one after the other.
const PURCHASES: u32 = 60;

/// Four hundred a second are taken, some thousand asked for.
#[test]
fn a_flood_is_answered_once_and_leaves_the_other_acquirer_its_part() {
    let setup = Setup {
        switch: "shards = 1\nissuer_in_flight_max = 32",
        behaviour: Some(
            "delay_median_us = 80_000\ndelay_p99_us = 80_000\nsilence_ppm = 0\nlate_ppm = 0",
        ),
        bank: GENEROUS,
        // Unlimited, so that every refusal is for want of room.
        issuers: "[[velocity.counter]]\nname = \"day\"\nwindow = \"day\"\n[[velocity.limit]]\n\
                  name = \"all\"\ncounter = \"day\"\ncount_max = 60_000\n",
        ..Setup::default()
    };
    let switch = setup.run();
    let iins = IinTable::shipped().only(&["CMBC".to_owned()]).unwrap();
    let flood = LoadPlan {
        rate: Rate::PerSecond(3_000.0),
        seconds: 60.0,
        connections: 4,
        in_flight: 64,
        cards: 50_000,
        answer_deadline: PATIENCE,
        iins,
        ..LoadPlan::new(switch.address("cups"), LoadDialect::Cups)
    };
    let (progress, stop) = (Progress::new(), AtomicBool::new(false));
    let (report, codes) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| tapswitch_loadgen::run(&flood, &progress, &stop));
        let speech = Speech::iso87();
        let mut client = Client::of(&switch, speech);
        while progress.latest().answered < 1_000 && !flooding.is_finished() {
            std::thread::yield_now();
        }
        let buy = |number| client.ask(&Message::purchase(speech, number, number)).text(39);
        let codes: Vec<String> = (1..=PURCHASES).map(buy).collect();
        stop.store(true, Ordering::Relaxed);
        (flooding.join().unwrap().unwrap(), codes)
    });
    let refused = codes.iter().filter(|code| *code != "00").count();
    assert_eq!(refused, 0, "what it asks for is less than its part: {codes:?}");
    let left = (report.unanswered, report.wrong, report.connections_lost);
    assert_eq!(left, (0, 0, 0), "{:?} {:?}", report.problems, report.samples);
    assert_eq!(report.answered, report.sent, "every request once");
    assert_eq!(report.shed.len() + report.approved, report.answered, "{:?}", report.by_code);
    assert!(!report.shed.is_empty() && report.approved > 0, "{:?}", report.by_code);
    let ended = switch.stop();
    let shed = ended.counter("shed{acquirer_share}") + ended.counter("refused{issuer_window}");
    assert_eq!(shed, report.shed.len(), "{}", ended.output);
    assert!(ended.counter("shed{acquirer_share}") > 0, "{}", ended.output);
}
