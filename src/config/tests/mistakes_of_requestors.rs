//! Mistakes in token requestors, each with the line, the key and what is said of it.

use super::mistakes::{Row, expect_rows};
use super::{config, load, problem};
use crate::config::QrLevel;
use crate::limits::REQUESTORS_MAX;

const OF_REQUESTORS: &[Row] = &[
    ("[requestor.a]\nqr_level = \"B\"", 1, "requestor.a.id", "is missing", ""),
    (
        "[requestor.a]\nid = \"12345678\"",
        2,
        "requestor.a.id",
        "`12345678` is no token requestor ID",
        "11 digits",
    ),
    ("[requestor.a]\nid = \"0001234567X\"", 2, "requestor.a.id", "is no token requestor ID", ""),
    (
        "[requestor.a]\nid = \"00012345678\"\nqr_level = \"D\"",
        3,
        "requestor.a.qr_level",
        "unknown `D`; known are A, B, C",
        "",
    ),
    (
        "[requestor.a]\nid = \"00012345678\"\nlevel = \"B\"",
        3,
        "requestor.a.level",
        "unknown key",
        "qr_level",
    ),
    (
        "[requestor.a]\nid = \"00012345678\"\n[requestor.b]\nid = \"00012345678\"",
        4,
        "requestor.b.id",
        "00012345678 is requestor `a` already",
        "copied",
    ),
    (
        "[requestor.\"a b\"]\nid = \"00012345678\"",
        1,
        "requestor.a b",
        "cannot be used as a name",
        "1 to 32",
    ),
    (
        "[requestor.a]\nid = \"00012345678\"\ntoken_prefixes = [\"62888\"]",
        3,
        "requestor.a.token_prefixes",
        "`62888` begins no tokens",
        "6 to 12 digits",
    ),
    (
        "[requestor.a]\nid = \"00012345678\"\ntoken_prefixes = [\"62888801\", \"6288880\"]",
        3,
        "requestor.a.token_prefixes",
        "6288880 and 62888801 begin the same tokens",
        "",
    ),
    (
        "[requestor.a]\nid = \"00012345678\"\ntoken_prefixes = [\"628888\"]\n\
         [requestor.b]\nid = \"00012345679\"\ntoken_prefixes = [\"62888801\"]",
        6,
        "requestor.b.token_prefixes",
        "62888801 begins tokens of requestor `a`: 628888",
        "one requestor",
    ),
    (
        "[requestor.a]\nid = \"00012345678\"\ntoken_prefixes = [\"62284801\"]",
        3,
        "requestor.a.token_prefixes",
        "62284801 begins cards of an issuer: IIN 622848",
        "no bank has cards",
    ),
    (
        "[requestor.a]\nid = \"00012345678\"\nentry_modes = [\"tap\"]",
        3,
        "requestor.a.entry_modes",
        "unknown `tap`",
        "",
    ),
    ("[wallet]\npar_giver = \"abcd\"", 2, "wallet.par_giver", "`abcd` names nobody", "capital"),
    ("[wallet]\ntokens = -1", 2, "wallet.tokens", "-1 is outside", ""),
    ("[[requestor]]\nid = \"00012345678\"", 1, "requestor", "must be a section", "[requestor]"),
];

#[test]
fn mistakes_of_requestors_name_line_and_key() {
    expect_rows(OF_REQUESTORS);
}

fn many(count: usize) -> String {
    (0..count).map(|id| format!("[requestor.r{id}]\nid = \"{id:011}\"\n")).collect()
}

#[test]
fn there_are_at_most_so_many_and_they_are_at_level_c_unless_it_is_said() {
    let requestors = config(&many(REQUESTORS_MAX)).requestors;
    assert_eq!(requestors.len(), REQUESTORS_MAX);
    assert!(requestors.iter().all(|it| it.qr_level == QrLevel::C));
    assert_eq!(
        (requestors[7].name.as_str(), requestors[7].id.to_string().as_str()),
        ("r7", "00000000007")
    );
    let problem = problem(&many(REQUESTORS_MAX + 1));
    assert_eq!(problem.line, 2 * REQUESTORS_MAX + 1);
    assert!(problem.message.contains("65 requestors, at most 64"), "{problem}");
}

#[test]
fn level_a_wants_a_limit_that_is_agreed_on() {
    let text = "[requestor.a]\nid = \"00012345678\"\nqr_level = \"A\"\n";
    let loaded = load(text).unwrap();
    let [doubt] = loaded.warnings.as_slice() else { panic!("one warning") };
    assert_eq!((doubt.line, doubt.key.as_str()), (3, "requestor.a.qr_level"));
    let limit = "[[velocity.limit]]\nname = \"a\"\ncounter = \"qr_day\"\nqr_levels = [\"A\"]\n\
                 amount_minor_max = 1\n";
    let limited = load(&format!("{text}{limit}")).unwrap();
    assert!(limited.warnings.iter().all(|it| !it.key.starts_with("requestor")));
}

#[test]
fn levels_change_while_the_switch_serves_and_are_told() {
    let text = |level: &str| format!("[requestor.a]\nid = \"00012345678\"\nqr_level = \"{level}\"");
    let (b, c, none) = (config(&text("B")), config(&text("C")), config(""));
    for (old, new) in [(&b, &c), (&b, &none), (&none, &b)] {
        assert_eq!(old.allows(new), Ok(()));
    }
    let told = |old: &crate::config::Config, new| -> Vec<String> {
        old.differences(new).iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&b, &c), ["requestor.a.qr_level: B -> C"]);
    assert_eq!(
        told(&none, &b),
        ["requestor.a.id: (none) -> 00012345678", "requestor.a.qr_level: (none) -> B"]
    );
}
