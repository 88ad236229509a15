//! The real binary on a data directory: what it starts on, and what it refuses.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Ended, Folder, GENEROUS, Setup, Switch, new_card_key, run};
use rustix::process::Signal;
use std::path::{Path, PathBuf};

/// Purchases whose records lie in the journal: a block of it each at least.
const PURCHASES: u32 = 20;
const BLOCK: usize = 4_096;
/// A place in a block that is no padding, however short the group.
const IN_GROUP: usize = 50;

/// A switch on a data directory of its own, which goes away with it.
struct Place {
    folder: Folder,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: Folder::new() };
        new_card_key(&place.folder);
        place
    }

    fn text(&self, key: &Path) -> String {
        let data = self.folder.path("data");
        let journal = format!(
            "[keys]\ncard_key_file = \"{}\"\n[journal]\ndata_dir = \"{}\"\n\
             segment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\nstall_max_ms = 60_000\n\
             alarm_free_percent = 0\nrefuse_free_percent = 0\n",
            key.display(),
            data.display(),
        );
        let switch = "shards = 1";
        Setup { switch, bank: GENEROUS, issuers: &journal, ..Setup::default() }.text()
    }

    fn start(&self) -> Switch {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[&str]) -> Switch {
        let folder = Folder::new();
        let file = folder.file("switch.toml", &self.text(&self.folder.path("card.key")));
        Switch::start_with(folder, &file, more)
    }

    /// Runs a switch that does not start.
    fn refused(&self, key: &Path) -> Ended {
        let folder = Folder::new();
        let file = folder.file("switch.toml", &self.text(key));
        run(folder, &["run", "--seconds", "1", "--config", file.to_str().unwrap()])
    }

    /// Buys so often, and kills the switch that said so.
    fn fill(&self) {
        let switch = self.start();
        let mut client = Client::of(&switch, Speech::cups());
        for number in 0..PURCHASES {
            let purchase = Message::purchase(Speech::cups(), number, number);
            assert_eq!(client.ask(&purchase).text(39), "00");
        }
        switch.signal(Signal::KILL);
        assert_eq!(switch.end().code, None);
    }

    /// The file that the purchases are in.
    fn segment(&self) -> PathBuf {
        self.folder.path("data").join("generation-0001/shard-00/00000000000000000001.journal")
    }

    /// Where its last block begins that anything is in.
    fn last_written(&self) -> usize {
        let bytes = std::fs::read(self.segment()).unwrap();
        let blocks = bytes.chunks(BLOCK).enumerate();
        let written = blocks.filter(|(_, block)| block.iter().any(|&byte| byte != 0));
        written.map(|(at, _)| at * BLOCK).next_back().unwrap()
    }

    fn flip(&self, at: usize) {
        let mut bytes = std::fs::read(self.segment()).unwrap();
        bytes[at] ^= 1;
        std::fs::write(self.segment(), bytes).unwrap();
    }
}

#[test]
fn one_process_at_a_time() {
    let place = Place::new();
    let first = place.start();
    let second = place.refused(&place.folder.path("card.key"));
    assert_eq!((second.code, second.output.as_str()), (Some(73), ""), "{}", second.problems);
    let data = place.folder.path("data");
    assert!(second.problems.contains(data.to_str().unwrap()), "{}", second.problems);
    // The first one has not noticed.
    let mut client = Client::of(&first, Speech::cups());
    let purchase = Message::purchase(Speech::cups(), 1, 1);
    assert_eq!(client.ask(&purchase).text(39), "00");
    drop(client);
    first.stop();
    place.start().stop();
}

#[test]
fn another_card_key_is_refused() {
    let place = Place::new();
    place.fill();
    let other = Folder::new();
    let refused = place.refused(&new_card_key(&other));
    assert_eq!((refused.code, refused.output.as_str()), (Some(65), ""), "{}", refused.problems);
    assert!(refused.problems.contains("key"), "{}", refused.problems);
    place.start().stop();
}

#[test]
fn damage_in_the_middle_is_refused_with_its_place() {
    let place = Place::new();
    place.fill();
    // One record or two a purchase, each a group of one block.
    let damaged = 5 * BLOCK;
    place.flip(damaged + IN_GROUP);
    let refused = place.refused(&place.folder.path("card.key"));
    assert_eq!((refused.code, refused.output.as_str()), (Some(65), ""), "{}", refused.problems);
    let segment = place.segment().display().to_string();
    assert!(refused.problems.contains(&segment), "{}", refused.problems);
    assert!(refused.problems.contains(&format!("offset {damaged}:")), "{}", refused.problems);
    // It was read only: whole again, it starts.
    place.flip(damaged + IN_GROUP);
    place.start().stop();
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let place = Place::new();
    place.fill();
    place.flip(place.last_written() + IN_GROUP);
    let switch = place.start();
    let mut client = Client::of(&switch, Speech::cups());
    // The answer of the last one is cut off: it was under way, and is reversed.
    for number in 0..PURCHASES {
        let purchase = Message::purchase(Speech::cups(), number, number);
        let answer = client.ask(&purchase);
        assert!(matches!(answer.text(39).as_str(), "00" | "98"), "{number}: {}", answer.text(39));
    }
    drop(client);
    let ended = switch.stop();
    assert!(ended.output.contains("journal_torn{"), "{}", ended.output);
    assert!(ended.counter("duplicate{replayed}") >= u64::from(PURCHASES) - 1, "{}", ended.output);
    let ended = place.start().stop();
    assert!(!ended.output.contains("journal_torn{"), "cut once: {}", ended.output);
}

/// Row F11 of crash loops: a supervisor that starts it again for ever is stopped, a human is asked.
#[test]
fn a_crash_loop_is_refused_until_someone_has_looked() {
    let place = Place::new();
    // Five deaths within a minute: a machine that is too slow for that tries again.
    let mut refused = None;
    for _ in 0..4 {
        (0..5).for_each(|_| place.fill());
        let ended = place.refused(&place.folder.path("card.key"));
        refused = Some(ended).filter(|ended| ended.code == Some(75));
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("what dies again and again is not started");
    assert_eq!(refused.output, "", "{}", refused.problems);
    assert!(refused.problems.contains("5 starts within a minute"), "{}", refused.problems);
    assert!(refused.problems.contains("--safe"), "{}", refused.problems);
    // What acquirers and issuers are owed goes on, nothing new is begun.
    let safe = place.start_with(&["--safe"]);
    assert!(safe.said("safe").contains("what is owed is sent"));
    let mut client = Client::of(&safe, Speech::cups());
    let replayed = Message::purchase(Speech::cups(), 1, 1);
    assert_eq!(client.ask(&replayed).text(39), "00", "a repeat has its answer");
    let new = Message::purchase(Speech::cups(), 7, 900);
    assert_eq!(client.ask(&new).text(39), "96");
    drop(client);
    // It ended in order: the next start takes everything again.
    safe.stop();
    let switch = place.start();
    let mut client = Client::of(&switch, Speech::cups());
    assert_eq!(client.ask(&new.with(11, "000901")).text(39), "00");
    drop(client);
    switch.stop();
}

#[test]
fn a_safe_start_without_a_data_directory_is_refused() {
    let refused = run(Folder::new(), &["run", "--safe", "--seconds", "1"]);
    assert_eq!((refused.code, refused.output.as_str()), (Some(78), ""), "{}", refused.problems);
}
