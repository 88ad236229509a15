//! A few small worlds; CI runs many large ones.

use super::script::{SEEDS, parse};
use super::{FaultKind, Faults, Options, run};

#[test]
fn a_seed_repeats_itself() {
    let options = Options::new(11, 400);
    assert_eq!(run(&options), run(&options));
    assert_ne!(run(&options).hash, run(&Options::new(12, 400)).hash);
}

#[test]
fn quiet_worlds_hold() {
    for seed in 0..3 {
        let options = Options { faults: Faults::NONE, ..Options::new(seed, 1_000) };
        let report = run(&options);
        assert_eq!(report.violation, None, "{report}");
        assert_eq!(report.tally.faults.iter().sum::<u64>(), 0);
    }
}

#[test]
fn troubled_worlds_hold() {
    for seed in 0..6 {
        let report = run(&Options::new(seed, 1_500));
        assert_eq!(report.violation, None, "{report}");
    }
}

/// A world whose links are down often, with a rule.
#[test]
fn a_world_with_stand_in_holds() {
    let faults = "network,issuer,link,disk,acquirer,stand-in".parse().unwrap();
    let report = run(&Options { faults, ..Options::new(21, 1_500) });
    assert_eq!(report.violation, None, "{report}");
    assert!(report.tally.stood_in > 0, "{report}");
}

#[test]
fn a_world_with_second_routes_holds() {
    let report = run(&Options::new(21, 1_500));
    assert_eq!(report.violation, None, "{report}");
    assert!(report.tally.failed_over > 0, "{report}");
}

#[test]
fn a_world_that_an_acquirer_leaves_while_codes_and_routes_change_holds() {
    let faults = "network,issuer,reload,acquirer,gone,rules".parse().unwrap();
    let report = run(&Options { faults, ..Options::new(5, 1_500) });
    assert_eq!(report.violation, None, "{report}");
    let counted = |kind: FaultKind| report.tally.faults[kind as usize];
    assert!(counted(FaultKind::Gone) == 1 && counted(FaultKind::Rules) > 0, "{report}");
}

#[test]
fn what_once_failed_holds() {
    for options in parse(SEEDS).unwrap() {
        let report = run(&options);
        assert_eq!(report.violation, None, "{report}");
    }
}

#[test]
fn a_lying_disk_is_found_out() {
    let found = [2, 3, 0].into_iter().any(|seed| {
        let options = Options { lying_disk: true, ..Options::new(seed, 3_000) };
        let report = run(&options);
        report.tally.lied > 0 && report.violation.is_some()
    });
    assert!(found, "an oracle that misses lost records misses everything");
}
