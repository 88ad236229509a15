//! Mistakes about banks and issuers, each with the line, the key and what is said of it.

use super::mistakes::{Row, expect_rows};

const OF_BANKS: &[Row] = &[
    ("[bank]\naccounts_max = 3_000", 2, "bank.accounts_max", "not a power of two", "2048 and 4096"),
    ("[bank]\nthreads = 65", 2, "bank.threads", "outside 0 to 64", ""),
    ("[bank]\nseed = -5", 2, "bank.seed", "-5 is outside", "minus sign"),
    ("[bank]\nbalance_minor = [1]", 2, "bank.balance_minor", "must be two numbers", ""),
    (
        "[bank]\ncredit_line_minor = [2, 1]",
        2,
        "bank.credit_line_minor",
        "starts at 2, above its end 1",
        "swapped",
    ),
    (
        "[bank]\nsilence_ppm = 1_000_001",
        2,
        "bank.silence_ppm",
        "outside 0 to 1000000",
        "1 % is 10_000",
    ),
    ("[bank]\nsilence_ppm = 999_999", 2, "bank", "add up to", "parts of a million"),
    (
        "[bank]\ndelay_p99_us = 10",
        2,
        "bank.delay_p99_us",
        "10 is below delay_median_us 2000",
        "swapped",
    ),
    (
        "[bank]\ndelay_median_us = 0",
        2,
        "bank.delay_p99_us",
        "is 20000 with a median of 0",
        "set both to 0",
    ),
    ("[issuer.ICBK]", 1, "issuer.ICBK", "is not in the IIN table", "did you mean `ICBC`?"),
    (
        "[issuer.ABC]\nin_flight_max = 0",
        2,
        "issuer.ABC.in_flight_max",
        "0 is outside 1 to 999999",
        "",
    ),
    ("[switch]\nsaf_rate = 0", 2, "switch.saf_rate", "0 is outside 1 to 1000000", ""),
    ("[issuer.ABC]\nsaf_rate = 0", 2, "issuer.ABC.saf_rate", "0 is outside 1 to 1000000", ""),
    (
        "[issuer.ABC]\nrepeat_mti = \"0421\"",
        2,
        "issuer.ABC.repeat_mti",
        "known are unchanged, marked",
        "",
    ),
    (
        "[issuer.ABC]\nconnect = \"localhost:9101\"",
        2,
        "issuer.ABC.connect",
        "`localhost:9101` is not an IP address and port",
        "127.0.0.1:9101",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:0\"",
        2,
        "issuer.ABC.connect",
        "nothing can be reached at 127.0.0.1:0",
        "the bank listens at",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\ndialect = \"iso93\"",
        3,
        "issuer.ABC.dialect",
        "known are cups, iso87-ascii",
        "",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\n\
         [issuer.SPABANK]\nconnect = \"127.0.0.1:9101\"",
        2,
        "issuer.ABC.connect",
        "127.0.0.1:9101 is where issuer.SPABANK is",
        "two banks on one port",
    ),
    (
        "[issuer.ABC]\nlisten = \"127.0.0.1:0\"",
        2,
        "issuer.ABC.listen",
        "nothing can be reached at 127.0.0.1:0",
        "",
    ),
    (
        "[issuer.ABC]\nlisten = \"127.0.0.1:9101\"\n\
         [issuer.SPABANK]\nlisten = \"127.0.0.1:9101\"",
        2,
        "issuer.ABC.listen",
        "127.0.0.1:9101 is where issuer.SPABANK is",
        "two banks on one port",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\nframing = \"be2\"\nprobe_idle_ms = 9",
        4,
        "issuer.ABC.probe_idle_ms",
        "this framing has no idle probe",
        "only framing",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\nconnections = 17",
        3,
        "issuer.ABC.connections",
        "17 is outside 1 to 16",
        "",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\necho_idle_ms = 30",
        3,
        "issuer.ABC.echo_idle_ms",
        "30 is outside 100 to 600000",
        "seconds written",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\necho_misses = 0",
        3,
        "issuer.ABC.echo_misses",
        "0 is outside 1 to 100",
        "",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\nreconcile = \"daily\"",
        3,
        "issuer.ABC.reconcile",
        "must be true or false, not text",
        "",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\nbreaker_timeouts = -1",
        3,
        "issuer.ABC.breaker_timeouts",
        "-1 is outside 0 to 1000000",
        "minus sign",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\nfailover = \"ABC\"",
        3,
        "issuer.ABC.failover",
        "is the issuer itself",
        "a second route",
    ),
    (
        "[issuer.ABC]\nconnect = \"127.0.0.1:9101\"\nfailover = \"ABC-2\"",
        3,
        "issuer.ABC.failover",
        "`ABC-2` is no issuer",
        "write [issuer.ABC-2] with `connect`",
    ),
    ("[issuer.ABC]\nlate_ms = 700_000", 2, "issuer.ABC.late_ms", "outside 0 to 600000", ""),
];

#[test]
fn mistakes_of_banks_name_line_and_key() {
    expect_rows(OF_BANKS);
}
