//! Every class of mistake names its line, its key, and what probably caused it.

use super::{load, problem};

/// Text, line, key, part of the message, part of the likely cause.
pub(super) type Row = (&'static str, usize, &'static str, &'static str, &'static str);

#[track_caller]
pub(super) fn expect_rows(rows: &[Row]) {
    for &(text, line, key, message, likely_cause) in rows {
        let problem = problem(text);
        assert_eq!((problem.line, problem.key.as_str()), (line, key), "{text}\n{problem}");
        assert!(problem.message.contains(message), "{text}\n{problem}");
        assert!(problem.likely_cause.contains(likely_cause), "{text}\n{problem}");
    }
}

const OF_FORM: &[Row] = &[
    ("[switch]\nshards = ", 2, "", "", "not valid TOML"),
    ("\n[switch]\nshards = 1\nshards = 2", 4, "", "duplicate", "not valid TOML"),
    ("[swich]", 1, "swich", "unknown section", "did you mean `switch`?"),
    (
        "[acquirer.cups]\nanwser_within_ms = 1",
        2,
        "acquirer.cups.anwser_within_ms",
        "unknown key",
        "did you mean `answer_within_ms`?",
    ),
    ("[velocity]\nlimits = []", 2, "velocity.limits", "unknown key", "did you mean `limit`?"),
    ("[bank]\ncolour = 1", 2, "bank.colour", "unknown key", "known are threads, cores"),
    ("[issuer.ABC]\nlatency = 1", 2, "issuer.ABC.latency", "unknown key", "in_flight_max"),
    ("switch = 5", 1, "switch", "must be a section, not a number", "[switch]"),
    (
        "[acquirer]\ncups = 5",
        2,
        "acquirer.cups",
        "must be a section, not a number",
        "[acquirer.cups]",
    ),
    (
        "[velocity.limit]\nname = \"x\"",
        1,
        "velocity.limit",
        "must be a list of limits",
        "two brackets",
    ),
    ("[switch]\nshards = \"two\"", 2, "switch.shards", "must be a whole number, not text", ""),
    ("[switch]\nshards = 1.5", 2, "switch.shards", "not a number with a fraction", ""),
    ("[switch]\nshards = 99999999999999999999", 2, "switch.shards", "beyond 64 bits", ""),
    ("[switch]\ncores = 0", 2, "switch.cores", "must be a list of whole numbers", ""),
    (
        "[acquirer.cups]\necho_idle_ms = 30",
        2,
        "acquirer.cups.echo_idle_ms",
        "30 is below 100",
        "seconds written",
    ),
    (
        "[acquirer.cups]\nconnections_max = 9_000",
        2,
        "acquirer.cups.connections_max",
        "outside 0 to 8192",
        "",
    ),
    (
        "[acquirer.cups]\npeers = [\"localhost\"]",
        2,
        "acquirer.cups.peers",
        "`localhost` is no IP address or network",
        "as in 10.1.2.3",
    ),
    (
        "[acquirer.cups]\npeers = [\"10.1.2.3/16\"]",
        2,
        "acquirer.cups.peers",
        "has bits behind its length",
        "write either",
    ),
    (
        "[issuer.ABC]\nlisten = \"127.0.0.1:9201\"\npeers = [\"10.0.0.0/99\"]",
        3,
        "issuer.ABC.peers",
        "is no IP address or network",
        "",
    ),
    (
        "[acquirer.cups]\nconnects_per_second = -1",
        2,
        "acquirer.cups.connects_per_second",
        "outside 0 to 1000000",
        "",
    ),
    ("[acquirer.cups]\ntakeover = 1", 2, "acquirer.cups.takeover", "true or false", ""),
    (
        "[acquirer.cups]\nsign_on_required = \"no\"",
        2,
        "acquirer.cups.sign_on_required",
        "must be true or false",
        "",
    ),
];

#[test]
fn mistakes_of_form_name_line_and_key() {
    expect_rows(OF_FORM);
}

const OF_THE_JOURNAL: &[Row] = &[
    ("[journal]\ndurability = \"fsync\"", 2, "journal.durability", "strict, relaxed, off", ""),
    ("[journal]\ndata_dir = 5", 2, "journal.data_dir", "must be text", ""),
    ("[journal]\nsegment_bytes = 67_108_865", 2, "journal.segment_bytes", "of 8 MiB", "75497472"),
    (
        "[journal]\nsegment_bytes = 8_388_608",
        2,
        "journal.undurable_bytes_max",
        "16777216 is above segment_bytes 8388608",
        "in one segment",
    ),
    ("[journal]\nstall_max_ms = 5", 2, "journal.stall_max_ms", "outside 100", "seconds written"),
    (
        "[journal]\nrefuse_free_percent = 20",
        2,
        "journal.refuse_free_percent",
        "20 is above alarm_free_percent 10",
        "before the refusal",
    ),
];

#[test]
fn mistakes_of_the_journal_name_line_and_key() {
    expect_rows(OF_THE_JOURNAL);
}

const OF_THE_OPERATORS_PORT: &[Row] = &[
    ("[admin]\nsockets = \"a\"", 2, "admin.sockets", "unknown key", "did you mean `socket`?"),
    ("[admin]\nsocket = \"\"", 2, "admin.socket", "is empty", "leave the key out"),
    (
        "[admin]\nhttp = \"localhost\"",
        2,
        "admin.http",
        "not an IP address and port",
        "127.0.0.1:9583",
    ),
    (
        "[admin]\nhttp = \"0.0.0.0:9583\"",
        2,
        "admin.http",
        "0.0.0.0:9583 is reached from other machines",
        "http_beyond_loopback = true",
    ),
    (
        "[admin]\nsocket = \"a\"\ntoken_file = \"b\"",
        3,
        "admin.token_file",
        "of no use without http",
        "the kernel says who asks",
    ),
    ("[admin]\naudit_file = 5", 2, "admin.audit_file", "must be text", ""),
];

#[test]
fn mistakes_of_the_operators_port_name_line_and_key() {
    expect_rows(OF_THE_OPERATORS_PORT);
    let long = format!("[admin]\nsocket = \"{}\"", "s".repeat(96));
    let problem = problem(&long);
    assert!(problem.to_string().contains("96 bytes long"), "{problem}");
    let others = "[admin]\nhttp = \"0.0.0.0:9583\"\nhttp_beyond_loopback = true";
    assert!(load(others).unwrap().config.admin.is_on());
}

const OF_THE_SWITCH: &[Row] = &[
    ("[switch]\nshards = 65", 2, "switch.shards", "65 is outside 0 to 64", ""),
    ("[switch]\nshards = -1", 2, "switch.shards", "-1 is outside 0 to 64", "minus sign"),
    ("[switch]\npending_max = 0", 2, "switch.pending_max", "0 is outside 1 to 262144", ""),
    (
        "[switch]\nengine = \"uring\"",
        2,
        "switch.engine",
        "unknown `uring`; known are auto, tokio-uring, tokio",
        "",
    ),
    ("[switch]\nidle = \"sleep\"", 2, "switch.idle", "known are park, spin", ""),
    ("[switch]\ncores = [0, 4096]", 2, "switch.cores", "4096 is outside 0 to 1023", ""),
    (
        "[switch]\ncutoff = \"24:00\"",
        2,
        "switch.cutoff",
        "`24:00` is no time of day",
        "as in \"23:00\", from 00:00 to 23:59",
    ),
    (
        "[switch]\ncutoff = \"23:00\"\ncutoff_zone_offset_minutes = 900",
        3,
        "switch.cutoff_zone_offset_minutes",
        "900 is outside -720 to 840",
        "",
    ),
    ("[switch]\ndrain_ms = 600_001", 2, "switch.drain_ms", "outside 0 to 600000", ""),
    (
        "[switch]\nstall_abort_ms = 5",
        2,
        "switch.stall_abort_ms",
        "5 is below 2000",
        "seconds written",
    ),
    (
        "[switch]\nissuer_in_flight_max = 1_000_000",
        2,
        "switch.issuer_in_flight_max",
        "outside 1 to 999999",
        "",
    ),
    (
        "[switch]\noriginals_bytes = 8_000_000_000\npeak_per_second = 200_000",
        3,
        "switch.duplicates_bytes",
        "3.8 s at 200000 a second",
        "needs about 506621440 bytes",
    ),
    (
        "[switch]\n\noriginals_bytes = 8_000_000",
        3,
        "switch.originals_bytes",
        "11.1 s at 10000 a second and shard; acquirers repeat for 30 s",
        "needs about 21600000 bytes",
    ),
    (
        "[switch]\nduplicates_bytes = 1_048_576",
        2,
        "switch.duplicates_bytes",
        "acquirer cups repeats for 30 s",
        "needs",
    ),
    (
        "[acquirer.cups]\nretry_window_s = 3_600\n[switch]\noriginals_bytes = 8_000_000_000",
        2,
        "switch.duplicates_bytes",
        "repeats for 3600 s",
        "needs",
    ),
    (
        "[switch]\niin_file = \"none.csv\"",
        2,
        "switch.iin_file",
        "none.csv cannot be read",
        "relative to the folder",
    ),
];

#[test]
fn mistakes_of_the_switch_name_line_and_key() {
    expect_rows(OF_THE_SWITCH);
}

/// The memory that a refusal asks for is enough, and hardly more than enough.
#[test]
fn the_bytes_that_are_needed_are_enough() {
    for rest in [
        "pending_max = 16_384\npeak_per_second = 1_000",
        "originals_bytes = 8_000_000_000\npeak_per_second = 200_000",
    ] {
        let text = |bytes: u64| format!("[switch]\n{rest}\nduplicates_bytes = {bytes}");
        let refused = problem(&text(1_100_000 + 40 * 16_384));
        let words: Vec<&str> = refused.likely_cause.split(' ').collect();
        let ["needs", "about", needed, ..] = words[..] else { panic!("{refused}") };
        let needed: u64 = needed.parse().unwrap();
        assert!(load(&text(needed)).is_ok(), "{refused}");
        assert!(load(&text(needed - needed / 100)).is_err(), "{refused}");
    }
}

const OF_ACQUIRERS: &[Row] = &[
    (
        "[acquirer.cups]\nlisten = \"localhost\"",
        2,
        "acquirer.cups.listen",
        "`localhost` is not an IP address and port",
        "127.0.0.1:8583",
    ),
    (
        "[acquirer.cups]\n[acquirer.b]\ndialect = \"cups\"\nlisten = \"0.0.0.0:8583\"",
        4,
        "acquirer.b.listen",
        "is taken by acquirer.cups",
        "two listeners on one port",
    ),
    (
        "[acquirer.cups]\ndialect = \"cusp\"",
        2,
        "acquirer.cups.dialect",
        "known are cups, iso87-ascii",
        "did you mean `cups`?",
    ),
    (
        "[acquirer.cups]\ndialect = \"unionpay-pos\"",
        2,
        "acquirer.cups.dialect",
        "is not served",
        "decoded only",
    ),
    (
        "[acquirer.cups]\nframing = \"be4\"",
        2,
        "acquirer.cups.framing",
        "known are cups, be2, be2-tpdu",
        "did you mean `be2`?",
    ),
    (
        "[acquirer.cups]\nanswer_within_ms = 10",
        2,
        "acquirer.cups.answer_within_ms",
        "10 is outside 100 to 600000",
        "seconds written where milliseconds",
    ),
    (
        "[acquirer.cups]\nanswer_margin_ms = 10_000",
        2,
        "acquirer.cups.answer_margin_ms",
        "not below answer_within_ms 10000",
        "no time to answer",
    ),
    (
        "[acquirer.cups]\nanswer_within_ms = 1_500",
        2,
        "acquirer.cups.answer_within_ms",
        "answer_margin_ms 2000 is not below",
        "no time to answer",
    ),
    (
        "[acquirer.cups]\ntransit_answer_margin_ms = 5_000",
        2,
        "acquirer.cups.transit_answer_margin_ms",
        "is not below",
        "",
    ),
    (
        "[acquirer.cups]\nqr_code_de = 2",
        2,
        "acquirer.cups.qr_code_de",
        "DE 2 cannot say it",
        "card data",
    ),
    (
        "[acquirer.cups]\nqr_code_de = 60\nqr_code_static = \"1\"",
        2,
        "acquirer.cups.qr_code_de",
        "`1` and `` cannot be told apart",
        "what stands there",
    ),
    (
        "[acquirer.cups]\ntransit_mccs = [41111]",
        2,
        "acquirer.cups.transit_mccs",
        "41111 is outside 0 to 9999",
        "",
    ),
    (
        "[acquirer.cups]\nretry_window_s = 5",
        2,
        "acquirer.cups.retry_window_s",
        "5 s are less than answer_within_ms 10000",
        "after it has waited",
    ),
    (
        "[acquirer.cups]\nretry_window_s = 120_000",
        2,
        "acquirer.cups.retry_window_s",
        "outside 1 to 86400",
        "milliseconds written where seconds",
    ),
    (
        "[acquirer.cups]\nduplicate_key = [7]",
        2,
        "acquirer.cups.duplicate_key",
        "DE 11 is missing",
        "look alike",
    ),
    (
        "[acquirer.cups]\nduplicate_key = [2, 11]",
        2,
        "acquirer.cups.duplicate_key",
        "DE 2 cannot name a transaction",
        "card data",
    ),
    (
        "[acquirer.cups]\nduplicate_key = [8, 11]",
        2,
        "acquirer.cups.duplicate_key",
        "DE 8 is not in the dialect",
        "",
    ),
    (
        "[acquirer.cups]\nduplicate_key = [11, 129]",
        2,
        "acquirer.cups.duplicate_key",
        "129 is outside 2 to 128",
        "",
    ),
    (
        "[acquirer.cups]\ncodes = \"iso78\"",
        2,
        "acquirer.cups.codes",
        "unknown `iso78`",
        "did you mean `iso87`?",
    ),
    ("[acquirer.b]\ndialect = \"cups\"", 1, "acquirer.b.listen", "is missing", ""),
    (
        "[acquirer.\"a b\"]\ndialect = \"cups\"\nlisten = \"127.0.0.1:1\"",
        1,
        "acquirer.a b",
        "cannot be used as a name",
        "",
    ),
    (
        "[codes.cups]\ntime_out = \"9\"",
        2,
        "codes.cups.time_out",
        "`9` is not a response code",
        "two letters or digits",
    ),
    (
        "[codes.cups]\n\noverload = \"00\"",
        3,
        "codes.cups.overload",
        "00 is an approval",
        "must not be answered as approved",
    ),
];

#[test]
fn mistakes_of_acquirers_name_line_and_key() {
    expect_rows(OF_ACQUIRERS);
}
