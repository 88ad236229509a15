//! What shards leave in memory for the switch that takes over is used if the disk agrees, and otherwise
//! the disk is read.

use super::rig::{Client, ENGINES, Setup, frame};
use super::whole_switch::purchase_message;
use crate::config::{Config, Durability};
use crate::io::journal::DataDirectory;
use crate::io::recover::{Kept, RecoveryReport};
use crate::io::{Listeners, Parting, ShardReport, Stopped, Switch};
use crate::memory::TableMemory;
use crate::shard::state_layout::StateLayout;
use crate::shard::{CryptogramKeys, Secrets, Shard};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tapswitch_protocol::Framing;

const REQUESTS: u32 = 100;

/// A folder of its own; it goes away with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tapswitch-{}-passing", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(folder: &Path, setup: &Setup) -> Config {
    let mut config = setup.config();
    config.velocity.lines = 1 << 12;
    config.velocity.table = TableMemory::Shared;
    config.journal.durability = Durability::Strict;
    config.journal.data_dir = Some(folder.to_owned());
    config.journal.segment_bytes = 8 << 20;
    config.journal.undurable_bytes_max = 8 << 20;
    config.journal.stall_max_ms = 60_000;
    config
}

fn start(folder: &Path, setup: &Setup, partings: Vec<Parting>) -> Switch<Shard> {
    let config = Arc::new(config(folder, setup));
    let layout = StateLayout::of(&config).to_bytes();
    let directory = DataDirectory::open(folder, setup.shards as u32, [0; 8], &layout).unwrap();
    let listeners = Listeners::open(&config, &mut Vec::new()).unwrap();
    let shared = Arc::clone(&config);
    let secrets = Secrets {
        card_key: [7; 32],
        digest_key: [9; 16],
        par_key: [8; 32],
        cryptograms: CryptogramKeys::default(),
    };
    let kept = Some(Kept { directory, partings });
    let make = move |id, passed| Shard::with_table(id, &shared, &secrets, passed);
    Switch::start_on(config, setup.timeouts, (kept, &listeners), make).unwrap()
}

/// Some purchases, then it hands over.
fn serve(switch: Switch<Shard>, from: u32) -> Vec<Parting> {
    let mut client = Client::connect(switch.local_addrs()[0], Framing::Cups);
    for number in from..from + REQUESTS {
        client.send(&frame(Framing::Cups, &purchase_message(200, number, &[])));
        client.answer().unwrap();
    }
    drop(client);
    let Stopped { partings, .. }: Stopped<ShardReport> = switch.hand_over(true).unwrap();
    partings
}

fn cards(partings: &[Parting]) -> usize {
    partings.iter().map(|parting| parting.table.occupied).sum()
}

#[test]
fn what_is_left_in_memory_is_gone_on_with_if_the_journal_ends_there() {
    let (folder, mut setup) = (Folder::new(), Setup::on(ENGINES[0]));
    setup.shards = 2;
    let passed = |switch: &Switch<Shard>| -> Vec<bool> {
        switch.recovered().iter().map(|report| report.is_passed).collect()
    };
    let partings = serve(start(&folder.0, &setup, Vec::new()), 0);
    let before = cards(&partings);
    assert!(partings.len() == 2 && before > 0);
    let switch = start(&folder.0, &setup, partings);
    assert_eq!(passed(&switch), [true, true]);
    // It passes on what it was passed.
    let mut partings = serve(switch, REQUESTS);
    assert!(cards(&partings) > before);
    partings[1].lsn += 1;
    let switch = start(&folder.0, &setup, partings);
    assert_eq!(passed(&switch), [true, false]);
    let why = |report: &RecoveryReport| report.not_passed.clone();
    let told: Vec<_> = switch.recovered().iter().map(why).collect();
    assert_eq!(told[0], None);
    assert!(told[1].as_ref().unwrap().contains("the journal ends at"), "{told:?}");
    // Its cards are there, read from the disk.
    let mut partings = serve(switch, 0);
    assert!(cards(&partings) > before);
    // Tables that were changed over for each other, and one alone.
    partings.swap(0, 1);
    let (first, second) = (partings[0].shard, partings[1].shard);
    (partings[0].shard, partings[1].shard) = (second, first);
    let switch = start(&folder.0, &setup, partings);
    assert_eq!(passed(&switch), [false, false]);
    let mut partings = serve(switch, 0);
    partings.truncate(1);
    let switch = start(&folder.0, &setup, partings);
    assert_eq!(passed(&switch), [true, false]);
    assert!(switch.recovered()[1].not_passed.is_none(), "nothing was");
    assert!(cards(&serve(switch, 0)) > before);
}
