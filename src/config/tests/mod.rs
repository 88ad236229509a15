//! Whole files: the shipped ones, what a file leaves out, and files damaged at random.

mod mistakes;
mod mistakes_of_banks;
mod mistakes_of_requestors;
mod mistakes_of_stand_in;
mod mistakes_of_velocity;

use super::file::{
    RawAcquirer, RawAdmin, RawBank, RawBehaviour, RawCodes, RawCounter, RawIssuer, RawJournal,
    RawKeys, RawLimit, RawOutcomes, RawRequestor, RawSwitch, RawVelocity, RawWhen,
};
use super::*;
use crate::limits::VELOCITY_WORDS_MAX;
use std::path::Path;

const BENCH_TOML: &str = include_str!("../../../tuning/profiles/bench.toml");
const OVERLOAD_TOML: &str = include_str!("../../../tuning/profiles/overload.toml");

fn two_cores() -> Host {
    Host { cores: vec![0, 1] }
}

fn load(text: &str) -> Result<Loaded, ConfigError> {
    Loaded::parse("t.toml", text, &two_cores())
}

fn config(text: &str) -> Config {
    load(text).unwrap().config
}

/// The only problem of a text.
#[track_caller]
fn problem(text: &str) -> Problem {
    let error = load(text).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{text}\n{error}");
    error.problems[0].clone()
}

#[test]
fn the_shipped_default_is_as_designed() {
    let Loaded { config, warnings, capacity } = Loaded::embedded(&two_cores());
    assert_eq!(warnings, []);
    let [cups, iso87] = config.acquirers.as_slice() else { panic!("two acquirers") };
    assert_eq!((cups.name.as_str(), cups.listen.to_string().as_str()), ("cups", "127.0.0.1:8583"));
    assert_eq!((cups.dialect.name(), cups.framing), ("cups", Framing::Cups));
    assert_eq!((cups.answer_within_ms, cups.answer_margin_ms), (10_000, 2_000));
    assert_eq!((cups.transit_answer_within_ms, cups.transit_answer_margin_ms), (5_000, 1_000));
    assert_eq!(cups.duplicate_key, FieldSet::of(&[7, 11, 32, 33]));
    assert_eq!(cups.codes.time_out, ResponseCode::ISSUER_TIME_OUT);
    assert!(!cups.sign_on_required && !iso87.sign_on_required);
    assert_eq!((iso87.listen.port(), iso87.framing), (8_584, Framing::Be2));
    assert_eq!(iso87.duplicate_key, FieldSet::of(&[11, 12, 13, 32, 41, 42]));
    assert_eq!(iso87.codes.no_route, ResponseCode::NO_ROUTE);
    assert_eq!(config.issuers.len(), 20);
    assert_eq!((config.issuers[0].name.as_str(), config.iins.len()), ("SPABANK", 560));
    assert_eq!(config.velocity.lines, 1 << 22);
    assert_eq!((config.velocity.words_used(), config.velocity.line_bytes()), (6, 64));
    assert_eq!((config.switch.shards, config.switch.duplicates_bytes), (1, 64 << 20));
    assert_eq!((config.bank.behaviour.len(), config.bank.behaviour[7].late_ms), (20, 12_000));
    assert!(capacity.duplicates_cover_ms >= capacity.retry_window_s * 1_000);
}

#[test]
fn shards_are_automatic() {
    for (cores, shards) in [(1, 1), (8, 7), (256, 64)] {
        let host = Host { cores: (0..cores).collect() };
        assert_eq!(Loaded::embedded(&host).config.switch.shards, shards);
    }
}

#[test]
fn the_bench_profile_differs_where_it_says() {
    let loaded = Loaded::parse("bench.toml", BENCH_TOML, &two_cores()).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.switch.cores, [0]);
    for behaviour in &loaded.config.bank.behaviour {
        assert_eq!((behaviour.delay_median_us, behaviour.delay_p99_us), (0, 0));
        assert_eq!((behaviour.silence_ppm, behaviour.late_ppm), (0, 0));
        assert_eq!(behaviour.insufficient_funds_ppm, 5_000);
    }
}

/// By Little's law: a window of so many requests, each of which takes so long.
#[test]
fn the_overload_profile_takes_20_000_a_second_of_an_issuer() {
    let loaded = Loaded::parse("overload.toml", OVERLOAD_TOML, &two_cores()).unwrap();
    assert_eq!(loaded.warnings, []);
    let Config { switch, acquirers, issuers, bank, .. } = loaded.config;
    assert_eq!((switch.shards, switch.cores, acquirers.len()), (1, vec![0], 1));
    for (issuer, behaviour) in issuers.iter().zip(&bank.behaviour) {
        assert_eq!(behaviour.delay_median_us, behaviour.delay_p99_us);
        let per_s = u64::from(issuer.in_flight_max) * 1_000_000 / behaviour.delay_median_us;
        assert_eq!(per_s, 20_000);
    }
}

#[test]
fn the_default_documents_every_key() {
    let keys = [
        RawSwitch::KEYS,
        RawAcquirer::KEYS,
        RawCodes::KEYS,
        RawVelocity::KEYS,
        RawCounter::KEYS,
        RawRequestor::KEYS,
        RawLimit::KEYS,
        RawWhen::KEYS,
        RawBank::KEYS,
        RawBehaviour::KEYS,
        RawIssuer::KEYS,
        RawKeys::KEYS,
        RawJournal::KEYS,
        RawOutcomes::KEYS,
        RawAdmin::KEYS,
    ];
    for key in keys.concat() {
        let set = |line: &str| {
            let line = line.trim_start_matches(['#', ' ']);
            line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "))
        };
        assert!(DEFAULT_TOML.lines().any(set), "{key}");
    }
    for section in file::SECTIONS {
        assert!(DEFAULT_TOML.contains(&format!("[{section}")), "{section}");
    }
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(format!("{:?}", config("")), format!("{:?}", Loaded::embedded(&two_cores()).config));
}

#[test]
fn what_a_file_leaves_out_comes_from_the_default() {
    let own = config("[acquirer.cups]\nanswer_within_ms = 3_000");
    assert_eq!(own.acquirers.len(), 1);
    assert_eq!((own.acquirers[0].answer_within_ms, own.acquirers[0].listen.port()), (3_000, 8_583));
    let other = config("[acquirer.a]\nlisten = \"[::1]:9000\"\ndialect = \"iso87-ascii\"");
    assert_eq!(other.acquirers[0].codes.no_route, ResponseCode::NO_ROUTE);
    assert_eq!(other.acquirers[0].framing, Framing::Be2);
    assert_eq!((other.velocity.counters.len(), other.velocity.limits.len()), (4, 8));
    let codes = config("[codes.cups]\ntime_out = \"91\"");
    assert_eq!(codes.acquirers[0].codes.time_out, ResponseCode::ISSUER_UNAVAILABLE);
    assert_eq!(codes.acquirers[0].codes.no_route, ResponseCode::NO_SUCH_ISSUER);
    let bare = config("[velocity]\ncounter = []").velocity;
    assert!(bare.counters.is_empty() && bare.limits.is_empty());
    let strict = "[[velocity.limit]]\nname = \"a\"\ncounter = \"cash_day\"\ncount_max = 3";
    let strict = config(strict).velocity;
    assert_eq!((strict.counters.len(), strict.limits.len()), (4, 1));
    assert_eq!(strict.limits[0].counter, Some(2));
}

#[test]
fn a_data_directory_makes_durability_strict() {
    assert_eq!(config("").journal.durability, Durability::Off);
    let journal = Loaded::parse("etc/t.toml", "[journal]\ndata_dir = \"data\"", &two_cores());
    let journal = journal.unwrap().config.journal;
    assert_eq!(journal.durability, Durability::Strict);
    assert_eq!(journal.data_dir.as_deref(), Some(Path::new("etc/data")));
    assert_eq!((journal.segment_bytes, journal.buffer_bytes()), (64 << 20, 8 << 20));
    let text = "[journal]\ndata_dir = \"/d\"\ndurability = \"relaxed\"\nrelaxed_ms = 5";
    assert_eq!(config(text).journal.durability, Durability::Relaxed { ms: 5 });
    for text in ["data_dir = \"/d\"\ndurability = \"off\"", "durability = \"relaxed\""] {
        let loaded = load(&format!("[journal]\n{text}")).unwrap();
        let journal = loaded.config.journal;
        assert_eq!((journal.durability, journal.data_dir), (Durability::Off, None));
        assert_eq!(loaded.warnings.len(), 1, "{text}");
    }
}

trait PlaceOf {
    fn place_of(&self, name: &str) -> usize;
}

impl PlaceOf for Config {
    fn place_of(&self, name: &str) -> usize {
        self.issuers.iter().position(|issuer| issuer.name == name).unwrap()
    }
}

#[test]
fn one_issuer_can_differ() {
    let text = "[bank]\nsilence_ppm = 7\n[issuer.ABC]\nin_flight_max = 9\nlate_ppm = 5";
    let config = config(text);
    let place = config.issuers.iter().position(|issuer| issuer.name == "ABC").unwrap();
    assert_eq!(config.issuers[place].in_flight_max, 9);
    let (abc, other) = (&config.bank.behaviour[place], &config.bank.behaviour[place + 1]);
    assert_eq!((abc.late_ppm, abc.silence_ppm), (5, 7));
    assert_eq!((other.late_ppm, other.silence_ppm), (20, 7));
}

#[test]
fn an_issuer_is_reached_over_tcp_where_it_says() {
    let text = "[acquirer.cups]\n[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\n\
                [issuer.CMB]\nconnect = \"[::1]:9102\"\ndialect = \"iso87-ascii\"\n\
                [issuer.ICBC]\nframing = \"be2\"";
    let loaded = load(text).unwrap();
    let link = |name: &str| {
        let issuer = loaded.config.issuers.iter().find(|issuer| issuer.name == name).unwrap();
        let link = issuer.link.as_ref()?;
        Some((link.to_string(), link.dialect.name(), link.framing))
    };
    assert_eq!(link("ABC"), Some(("127.0.0.1:9101".into(), "cups", Framing::Cups)));
    assert_eq!(link("CMB"), Some(("[::1]:9102".into(), "iso87-ascii", Framing::Be2)));
    assert_eq!(link("ICBC"), None);
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let [translation, without] = &warnings[..] else { panic!("{warnings:?}") };
    let (translation, without) = match translation.contains("translated") {
        true => (translation, without),
        false => (without, translation),
    };
    assert!(translation.contains("issuer.CMB.connect"), "{translation}");
    assert!(translation.contains("acquirers cups do not"), "{translation}");
    assert!(without.contains("issuer.ICBC.framing: has no effect without connect"), "{without}");
}

#[test]
fn a_second_route_is_an_issuer_without_cards() {
    let text = "[acquirer.cups]\n[issuer.ABC-2]\nconnect = \"127.0.0.1:9102\"\n\
                [issuer.ABC]\nconnect = \"127.0.0.1:9101\"\nfailover = \"ABC-2\"\n\
                connections = 3\nsign_on = false";
    let config = config(text);
    let (abc, second) = (&config.issuers[config.place_of("ABC")], &config.issuers[20]);
    assert_eq!((second.name.as_str(), abc.failover), ("ABC-2", Some(IssuerId(20))));
    assert_eq!(config.bank.behaviour.len(), 21);
    let links = [abc, second].map(|issuer| issuer.link.as_ref().unwrap());
    assert_eq!(links.map(|link| (link.connections, link.sign_on)), [(3, false), (1, true)]);
    assert_eq!(config.books_of(IssuerId(20)), IssuerId(config.place_of("ABC") as u8));
    assert_eq!(config.books_of(IssuerId(3)), IssuerId(3));
}

#[test]
fn acquirers_keep_the_order_of_the_file() {
    let text = "[acquirer.z]\nlisten = \"127.0.0.1:1\"\ndialect = \"cups\"\n\
                [acquirer.a]\nlisten = \"127.0.0.1:0\"\ndialect = \"cups\"\n\
                [acquirer.m]\nlisten = \"127.0.0.1:0\"\ndialect = \"cups\"";
    let names: Vec<String> = config(text).acquirers.into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["z", "a", "m"]);
}

#[test]
fn counters_that_do_not_fit_a_line_are_refused() {
    let counter = |name: &str, parts: u8| {
        format!(
            "[[velocity.counter]]\nname = \"{name}\"\nwindow_s = {}\nsub_windows = {parts}\n",
            60 * u32::from(parts.max(1)),
        )
    };
    let rows: [(&[u8], Option<usize>); 6] = [
        (&[12], None),
        (&[0; 7], None),
        (&[4, 4, 1], None),
        (&[4, 4, 3], Some(3)),
        (&[12, 0], Some(2)),
        (&[0; 8], Some(8)),
    ];
    for (parts, refused) in rows {
        let text: String = parts
            .iter()
            .zip(["a", "b", "c", "d", "e", "f", "g", "h"])
            .map(|(&parts, name)| counter(name, parts))
            .collect();
        match refused {
            None => assert!(config(&text).velocity.words_used() <= VELOCITY_WORDS_MAX),
            Some(place) => {
                let problem = problem(&text);
                assert_eq!(problem.line, 4 * (place - 1) + 1, "{problem}");
                assert!(
                    problem.message.contains(&format!("the first {} fit", place - 1)),
                    "{problem}"
                );
            }
        }
    }
}

#[test]
fn counters_and_limits_are_read_as_written() {
    let text = r#"
        [[velocity.counter]]
        name = "month"
        window = "month"
        zone_offset_minutes = -60
        resets_on = "pin"
        transaction_kinds = ["cash", "transfer"]
        transaction_types = [1]
        entry_modes = ["contact", 7]
        pin = "absent"
        iins = ["622848", "4-5"]
        currencies = [156, 840]
        [[velocity.counter]]
        name = "rolling"
        window_s = 60
        sub_windows = 3
        [[velocity.limit]]
        name = "a"
        counter = "month"
        amount_minor_max = 7
        code = "57"
        qr_code = "dynamic"
        qr_levels = ["A", "B"]
    "#;
    let loaded = load(text).unwrap();
    let velocity = &loaded.config.velocity;
    let [month, rolling] = velocity.counters.as_slice() else { panic!("two counters") };
    assert_eq!(month.window, VelocityWindow::Month { zone_offset_minutes: -60 });
    assert!(month.resets_on_pin && !rolling.resets_on_pin);
    let when = &month.when;
    assert_eq!(when.transaction_kinds, [TransactionKind::Cash, TransactionKind::Transfer]);
    assert_eq!(
        (when.transaction_types.as_slice(), when.entry_modes.as_slice()),
        (&[1][..], &[5, 95, 7][..])
    );
    assert_eq!(when.iins, [(622_848_000, 622_848_999), (400_000_000, 599_999_999)]);
    assert_eq!(
        (when.pin, when.currencies.as_slice()),
        (Some(PinPresence::Absent), &[156, 840][..])
    );
    assert_eq!(rolling.window, VelocityWindow::Rolling { window_s: 60, sub_windows: 3 });
    let [limit] = velocity.limits.as_slice() else { panic!("one limit") };
    assert_eq!((limit.counter, limit.amount_minor_max, limit.count_max), (Some(0), Some(7), None));
    assert_eq!(limit.code, Some(ResponseCode::NOT_PERMITTED));
    assert_eq!(limit.when.qr_code, Some(QrCode::Dynamic));
    assert_eq!(limit.when.qr_levels, [QrLevel::A, QrLevel::B]);
    let [unused] = loaded.warnings.as_slice() else { panic!("one warning") };
    assert_eq!((unused.line, unused.key.as_str()), (13, "velocity.counter[1]"));
}

#[test]
fn all_mistakes_show_at_once_in_order() {
    let text =
        "[bank]\nseed = -1\n[switch]\nidle = \"nap\"\nunknown = 1\n[acquirer.cups]\nlisten = 1\n";
    let error = load(text).unwrap_err();
    let lines: Vec<usize> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 5, 7], "{error}");
    assert!(error.to_string().starts_with("t.toml:2: bank.seed: -1 is outside 0 to "));
    assert!(error.to_string().contains("; likely cause: a minus sign too many\nt.toml:4: "));
}

#[test]
fn a_mistake_that_issuers_share_is_said_once() {
    let text =
        "[bank]\ndelay_median_us = 30_000\n[issuer.ABC]\nlate_ms = 1\n[issuer.BOC]\nlate_ms = 1";
    assert_eq!(problem(text).line, 2);
}

#[test]
fn a_flood_of_mistakes_is_cut() {
    let text: String = (0..1_000).map(|n| format!("k{n} = 1\n")).collect();
    let error = load(&text).unwrap_err();
    assert_eq!(error.problems.len() + error.unlisted, 1_000);
    assert!(error.to_string().lines().count() < 200);
}

#[test]
fn doubtful_settings_are_warnings() {
    let warnings = |text: &str| load(text).unwrap().warnings;
    let [missing] = &warnings("[switch]\ncores = [0, 7]")[..] else { panic!("one warning") };
    assert_eq!((missing.line, missing.message.as_str()), (2, "core 7 is not there"));
    assert!(missing.likely_cause.contains("[0, 1]"));
    let [shared] = &warnings("[switch]\nshards = 2\ncores = [0]")[..] else {
        panic!("one warning")
    };
    assert_eq!(shared.message, "2 shards share 1 cores");
    let [unused] = &warnings("[bank]\ncores = [0]")[..] else { panic!("one warning") };
    assert!(unused.message.contains("no effect while threads is 0"));
}

#[test]
fn an_iin_file_is_found_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("tapswitch-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("own.csv"), "622848,OWN,debit,19\n").unwrap();
    std::fs::write(folder.join("bad.csv"), "# head\n622848,OWN,debit\n").unwrap();
    let write = |text: &str| {
        std::fs::write(folder.join("t.toml"), text).unwrap();
        Loaded::from_file(&folder.join("t.toml"), &two_cores())
    };
    let own = write("[switch]\niin_file = \"own.csv\"").unwrap().config;
    assert_eq!((own.issuers.len(), own.bank.behaviour.len(), own.iins.len()), (1, 1, 1));
    let error = write("[switch]\nshards = 99\niin_file = \"bad.csv\"").unwrap_err();
    assert_eq!(error.problems.len(), 2);
    assert!(error.problems[1].file.ends_with("bad.csv"));
    assert_eq!(error.problems[1].line, 2);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Loaded::from_file(Path::new("no/such.toml"), &two_cores()).unwrap_err();
    assert!(error.to_string().starts_with("no/such.toml: cannot be read: "), "{error}");
    let folder = std::env::temp_dir();
    assert!(Loaded::from_file(&folder, &two_cores()).is_err());
}

/// Seeded damage: no text may panic, and what is accepted must be whole.
#[test]
fn damaged_files_never_panic() {
    let mut state = 0x5EED_u64;
    let mut draw = move |below: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % below
    };
    let bare: String = DEFAULT_TOML
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    let alphabet = b"[]{}=\"'.,_-#\n 0159azAZ\\x\xC3\xA9\x00\xFF";
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let mut bytes = bare.clone().into_bytes();
        for _ in 0..=draw(4) {
            let at = draw(bytes.len());
            let byte = alphabet[draw(alphabet.len())];
            match draw(5) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                3 => drop(bytes.drain(at..(at + draw(40)).min(bytes.len()))),
                _ => {
                    let piece = bytes[at..(at + draw(200)).min(bytes.len())].to_vec();
                    let to = draw(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        match load(&String::from_utf8_lossy(&bytes)) {
            Ok(loaded) => {
                accepted += 1;
                let config = loaded.config;
                assert!(!config.acquirers.is_empty() && config.switch.shards >= 1);
                assert_eq!(config.bank.behaviour.len(), config.issuers.len());
                assert!(config.velocity.words_used() <= VELOCITY_WORDS_MAX);
            }
            Err(error) => {
                refused += 1;
                assert!(!error.problems.is_empty() && !error.to_string().is_empty());
            }
        }
    }
    assert!(accepted > 20 && refused > 500, "{accepted} {refused}");
}
