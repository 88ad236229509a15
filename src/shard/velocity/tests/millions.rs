//! The naive model over millions of operations, as the gate runs it in a release build:
//!
//! ```sh
//! cargo test --release --lib -- --ignored --nocapture millions_of_operations
//! ```
//!
//! `TAPSWITCH_MODEL_SEED` and `TAPSWITCH_MODEL_OPERATIONS` choose other worlds and more of them; the same
//! seed makes the same worlds. What fails is made small and shown, as by any property test.

use super::model::{configs, play, steps};
use super::*;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;

const OPERATIONS: u64 = 2_000_000;
/// Operations of a world, on average.
const OPERATIONS_PER_WORLD: u64 = 80;

fn number(name: &str, otherwise: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
#[ignore = "takes a minute in a release build, and an hour in another"]
fn millions_of_operations_are_the_models() {
    let seed = number("TAPSWITCH_MODEL_SEED", 1);
    let operations = number("TAPSWITCH_MODEL_OPERATIONS", OPERATIONS);
    println!("velocity model: TAPSWITCH_MODEL_SEED={seed}, about {operations} operations");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig {
        cases: u32::try_from(operations / OPERATIONS_PER_WORLD).expect("fewer worlds"),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let (worlds, done) = (Cell::new(0_u64), Cell::new(0_u64));
    let strategy = (configs(), any::<bool>(), any::<bool>(), steps());
    let outcome = runner.run(&strategy, |(config, roomy, in_1970, steps)| {
        let start_ms = if in_1970 { 0 } else { START_MS };
        let lines = if roomy { 256 } else { 4 };
        play(VelocityConfig { lines, ..config }, start_ms, &steps);
        worlds.set(worlds.get() + 1);
        done.set(done.get() + steps.len() as u64);
        Ok(())
    });
    if let Err(failed) = outcome {
        panic!("seed {seed}: {failed}");
    }
    println!("velocity model: {} operations in {} worlds", done.get(), worlds.get());
    assert!(done.get() >= operations * 9 / 10, "{} operations", done.get());
}
