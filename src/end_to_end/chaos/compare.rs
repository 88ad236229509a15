//! What acquirers were told beside what the bank did: every approval stands once, and nothing else
//! does.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// How a transaction ended for its acquirer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Answered with an approval, and not reversed.
    Approved,
    /// Answered with this code.
    Refused(String),
    /// Reversed by its acquirer, which was acknowledged.
    Reversed,
    /// Neither answered nor given up by the end.
    Unresolved,
}

/// One line of the acquirers' own ledger.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) rrn: String,
    pub(super) card: u32,
    pub(super) amount_minor: u64,
    pub(super) fate: Fate,
    /// The codes of all answers, repeats' answers too.
    pub(super) answers: Vec<String>,
}

/// One line of the bank's ledger that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) rrn: String,
    pub(super) amount_minor: u64,
}

/// What does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Discrepancy {
    /// Approved, and nothing stands at the bank.
    ApprovalLost(String),
    /// Stands more than once.
    HeldTwice(String, usize),
    /// Stands although its acquirer was told so.
    HeldThough(String, Fate),
    /// Stands with another amount.
    OtherAmount(String, u64),
    /// Stands, and no acquirer asked for it.
    NeverAsked(String),
    /// Was never resolved.
    Unresolved(String),
    /// Was answered differently at different times.
    AnsweredDifferently(String, Vec<String>),
    /// A card's limit let through more or less than it says: card, and how many.
    CounterWrong(u32, u32),
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What stands in the bank's ledger file.
pub(super) fn standing(ledger: &Value) -> Vec<Standing> {
    let entries = ledger["transactions"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["state"] == "standing")
        .map(|entry| Standing {
            rrn: entry["rrn"].as_str().unwrap().to_owned(),
            amount_minor: entry["amount_minor"].as_u64().unwrap(),
        })
        .collect()
}

/// All that does not agree, by reference number.
pub(super) fn compare(told: &[Told], bank: &[Standing]) -> Vec<Discrepancy> {
    let mut held: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for entry in bank {
        held.entry(&entry.rrn).or_default().push(entry.amount_minor);
    }
    let mut found = Vec::new();
    for line in told {
        let amounts = held.remove(line.rrn.as_str()).unwrap_or_default();
        check_line(line, &amounts, &mut found);
    }
    found.extend(held.keys().map(|rrn| Discrepancy::NeverAsked((*rrn).to_owned())));
    found
}

fn check_line(line: &Told, amounts: &[u64], found: &mut Vec<Discrepancy>) {
    let rrn = || line.rrn.clone();
    if amounts.len() > 1 {
        found.push(Discrepancy::HeldTwice(rrn(), amounts.len()));
    }
    match (&line.fate, amounts.first()) {
        (Fate::Approved, None) => found.push(Discrepancy::ApprovalLost(rrn())),
        (Fate::Approved, Some(&amount)) if amount != line.amount_minor => {
            found.push(Discrepancy::OtherAmount(rrn(), amount));
        }
        (Fate::Approved, Some(_)) | (Fate::Refused(_) | Fate::Reversed, None) => {}
        (Fate::Refused(_) | Fate::Reversed, Some(_)) => {
            found.push(Discrepancy::HeldThough(rrn(), line.fate.clone()));
        }
        (Fate::Unresolved, _) => found.push(Discrepancy::Unresolved(rrn())),
    }
    // A reversal turns the answer to a repeat.
    let first = line.answers.first();
    let same = line.answers.iter().all(|answer| Some(answer) == first);
    if !same && line.fate != Fate::Reversed {
        found.push(Discrepancy::AnsweredDifferently(rrn(), line.answers.clone()));
    }
}

/// Compares what each card was approved, to the moment when its limit answered, with the limit.
pub(super) fn compare_counters(told: &[Told], exhausted: &[u32], limit: u32) -> Vec<Discrepancy> {
    let mut approved: BTreeMap<u32, u32> = BTreeMap::new();
    for line in told.iter().filter(|line| line.fate == Fate::Approved) {
        *approved.entry(line.card).or_default() += 1;
    }
    let of = |card: &u32| approved.get(card).copied().unwrap_or(0);
    let above = approved.iter().filter(|&(_, &count)| count > limit).map(|(&card, _)| card);
    let mut cards: Vec<u32> = exhausted.iter().copied().filter(|card| of(card) != limit).collect();
    cards.extend(above);
    cards.sort_unstable();
    cards.dedup();
    cards.iter().map(|card| Discrepancy::CounterWrong(*card, of(card))).collect()
}

fn told(rrn: &str, fate: Fate, answers: &[&str]) -> Told {
    let answers = answers.iter().map(|&code| code.to_owned()).collect();
    Told { rrn: rrn.to_owned(), card: 1, amount_minor: 100, fate, answers }
}

fn stands(rrn: &str, amount_minor: u64) -> Standing {
    Standing { rrn: rrn.to_owned(), amount_minor }
}

#[test]
fn what_agrees_is_not_complained_of() {
    let refused = Fate::Refused("98".to_owned());
    let lines = [
        told("1", Fate::Approved, &["00"]),
        told("2", refused, &["98", "98"]),
        told("3", Fate::Reversed, &["00", "98"]),
        told("4", Fate::Reversed, &[]),
        told("5", Fate::Approved, &["00", "00"]),
    ];
    assert_eq!(compare(&lines, &[stands("5", 100), stands("1", 100)]), []);
}

#[test]
fn each_kind_of_disagreement_is_found() {
    let refused = || Fate::Refused("98".to_owned());
    let rrn = || "1".to_owned();
    let cases = [
        (told("1", Fate::Approved, &["00"]), vec![], Discrepancy::ApprovalLost(rrn())),
        (
            told("1", Fate::Approved, &["00"]),
            vec![stands("1", 100), stands("1", 100)],
            Discrepancy::HeldTwice(rrn(), 2),
        ),
        (
            told("1", Fate::Approved, &["00"]),
            vec![stands("1", 99)],
            Discrepancy::OtherAmount(rrn(), 99),
        ),
        (
            told("1", refused(), &["98"]),
            vec![stands("1", 100)],
            Discrepancy::HeldThough(rrn(), refused()),
        ),
        (
            told("1", Fate::Reversed, &["00"]),
            vec![stands("1", 100)],
            Discrepancy::HeldThough(rrn(), Fate::Reversed),
        ),
        (
            told("1", Fate::Approved, &["00", "98"]),
            vec![stands("1", 100)],
            Discrepancy::AnsweredDifferently(rrn(), vec!["00".to_owned(), "98".to_owned()]),
        ),
        (told("1", Fate::Unresolved, &[]), vec![], Discrepancy::Unresolved(rrn())),
    ];
    for (line, bank, expected) in cases {
        assert_eq!(compare(&[line], &bank), [expected]);
    }
    assert_eq!(compare(&[], &[stands("9", 1)]), [Discrepancy::NeverAsked("9".to_owned())]);
}

#[test]
fn counters_are_held_against_the_limit() {
    let lines: Vec<Told> = (0..3).map(|_| told("1", Fate::Approved, &["00"])).collect();
    assert_eq!(compare_counters(&lines, &[1], 3), []);
    assert_eq!(compare_counters(&lines, &[1], 4), [Discrepancy::CounterWrong(1, 3)]);
    assert_eq!(compare_counters(&lines, &[], 2), [Discrepancy::CounterWrong(1, 3)]);
    assert_eq!(compare_counters(&lines, &[2], 3), [Discrepancy::CounterWrong(2, 0)]);
    assert_eq!(compare_counters(&lines, &[], 3), []);
}
