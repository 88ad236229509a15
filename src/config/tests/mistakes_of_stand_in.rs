//! Mistakes in stand-in rules, each with the line, the key and what is said of it.

use super::mistakes::{Row, expect_rows};
use crate::config::{Config, StandInReasons};

const OF_STAND_IN: &[Row] = &[
    ("[[stand_in]]\niins = [\"6\"]\namount_minor_max = 1", 1, "stand_in[0].name", "is missing", ""),
    (
        "[[stand_in]]\nname = \"a\"\namount_minor_max = 1",
        1,
        "stand_in[0].iins",
        "is missing",
        "must have agreed",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]",
        1,
        "stand_in[0].amount_minor_max",
        "is missing",
        "",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\npin = \"present\"",
        5,
        "stand_in[0].pin",
        "without PIN only",
        "cannot check",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\n\
         transaction_kinds = [\"cash\"]",
        5,
        "stand_in[0].transaction_kinds",
        "purchases only",
        "cash",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\ncounter = \"cash_day\"\n\
         count_max = 1",
        5,
        "stand_in[0].counter",
        "does not count stand-in only",
        "stand_in = true",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\ncount_max = 1",
        1,
        "stand_in[0].count_max",
        "needs a counter",
        "is forgotten",
    ),
    (
        "[[stand_in]]\nname = \"largest\"\niins = [\"6\"]\namount_minor_max = 1",
        2,
        "stand_in[0].name",
        "`largest` is the name of a limit",
        "",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\n\
         reason_time_out = \"902\"",
        5,
        "stand_in[0].reason_time_out",
        "`902` is not a reason code",
        "four digits",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\nreason_field = 52",
        5,
        "stand_in[0].reason_field",
        "DE 52 cannot be used",
        "free text",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\nmark_field = 44",
        5,
        "stand_in[0]",
        "belong together",
        "",
    ),
    (
        "[[stand_in]]\nname = \"a\"\niins = [\"6\"]\namount_minor_max = 1\nfloor = 1",
        5,
        "stand_in[0].floor",
        "unknown key",
        "",
    ),
    ("[stand_in]\nname = \"a\"", 1, "stand_in", "must be a list", "[[stand_in]]"),
    (
        "[[velocity.counter]]\nname = \"s\"\nwindow = \"day\"\nscope = \"merchant\"\n\
         stand_in = true",
        5,
        "velocity.counter[0].stand_in",
        "counters of cards only",
        "card",
    ),
];

#[test]
fn mistakes_of_stand_in() {
    expect_rows(OF_STAND_IN);
}

#[test]
fn a_rule_is_limits_of_its_name() {
    let text = "[[velocity.counter]]\nname = \"s\"\nwindow = \"day\"\nstand_in = true\n\
                [[stand_in]]\nname = \"floor\"\niins = [\"622848\"]\namount_minor_max = 9\n\
                counter = \"s\"\ncount_max = 3\nmark_field = 44\nmark_text = \"S\"";
    let velocity = Config::parse("switch.toml", text).unwrap().velocity;
    let [at_once, sums] = &velocity.limits[..] else { panic!("two limits") };
    assert_eq!((at_once.name.as_str(), at_once.amount_minor_max), ("floor", Some(9)));
    assert_eq!(
        (sums.name.as_str(), sums.counter, sums.count_max),
        ("floor-sums", Some(0), Some(3))
    );
    assert!(at_once.when.stand_in && at_once.when == sums.when);
    let [rule] = &velocity.stand_in[..] else { panic!("one rule") };
    assert_eq!((rule.window_full, rule.after_time_out), (false, false));
    assert_eq!((&rule.reasons, rule.reason_field), (&StandInReasons::default(), 60));
    assert_eq!(rule.mark, Some((44, "S".to_owned())));
}
