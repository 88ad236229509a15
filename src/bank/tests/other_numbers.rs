//! The same transaction under other trace numbers: a switch that died and had forgotten it forwards it
//! again, or hands on its reversal as its acquirer wrote it.

use super::{Answer, Desk, Fields, willing, write};
use tapswitch_protocol::Dialect;

const OTHER_TIME: &str = "0704093111";

/// A purchase of 300.00: what is the same however often it is forwarded.
fn fields(stan: &str) -> Fields {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (2, text("6216260000000000001")),
        (3, text("000000")),
        (4, text("30000")),
        (7, text("0704093015")),
        (11, text(stan)),
        (37, text("093000000001")),
        (41, text("01080209")),
        (42, text("333290054110001")),
        (49, text("156")),
    ]
}

fn with(mut fields: Fields, field: u8, value: &str) -> Fields {
    fields.retain(|(number, _)| *number != field);
    fields.push((field, value.as_bytes().to_vec()));
    fields.sort_by_key(|(number, _)| *number);
    fields
}

/// A bank in a process of its own.
fn desk() -> Desk {
    let mut desk = Desk::new(&willing());
    desk.banks.keep_statement();
    desk
}

fn purchase(desk: &mut Desk, fields: &Fields) -> Answer {
    let answer = desk.ask(0, &write(Dialect::cups(), 200, fields));
    desk.check_books();
    answer
}

/// A 0420 whose DE 90 names these numbers.
fn reverse(desk: &mut Desk, fields: Fields, stan: &str, time: &str) {
    let original = format!("0200{stan:0>6}{time}{:022}", 0);
    let answer = desk.ask(0, &write(Dialect::cups(), 420, &with(fields, 90, &original)));
    assert_eq!(answer.code(), "00");
    desk.check_books();
}

fn standing(desk: &Desk) -> usize {
    let transactions = desk.banks.statement().transactions;
    transactions.iter().filter(|entry| entry.state == "standing").count()
}

#[test]
fn a_request_that_comes_again_under_other_numbers_is_debited_once() {
    let mut desk = desk();
    let first = purchase(&mut desk, &fields("1"));
    let again = purchase(&mut desk, &with(fields("2"), 7, OTHER_TIME));
    assert_eq!((first.code(), again.code()), ("00", "00"));
    assert!(first.get(38).is_some_and(|approval| again.get(38) == Some(approval)));
    assert_eq!(standing(&desk), 1);
    // Its reversal names the numbers that the switch remembers: the later ones.
    reverse(&mut desk, fields("3"), "2", OTHER_TIME);
    assert_eq!(standing(&desk), 0);
    // And what is still on its way is not debited again.
    assert_eq!(purchase(&mut desk, &fields("4")).code(), "12");
    assert_eq!(standing(&desk), 0);
}

#[test]
fn whatever_else_differs_is_another_transaction() {
    let others = [
        (3, "010000"),
        (4, "30001"),
        (37, "093000000002"),
        (41, "01080210"),
        (42, "333290054110002"),
        (2, "6216260000000000002"),
    ];
    for (field, value) in others {
        let mut desk = desk();
        purchase(&mut desk, &fields("1"));
        assert_eq!(purchase(&mut desk, &with(fields("2"), field, value)).code(), "00");
        assert_eq!(standing(&desk), 2, "DE {field}");
    }
    let mut desk = desk();
    purchase(&mut desk, &fields("1"));
    let authorization = write(Dialect::cups(), 100, &fields("2"));
    assert_eq!(desk.ask(0, &authorization).code(), "00");
    assert_eq!(standing(&desk), 2, "another class");
}

#[test]
fn a_reversal_under_the_acquirers_numbers_finds_its_original() {
    let mut desk = desk();
    purchase(&mut desk, &fields("1"));
    // Another purchase of the same card stands beside it.
    purchase(&mut desk, &with(fields("2"), 37, "093000000002"));
    reverse(&mut desk, fields("3"), "777", OTHER_TIME);
    let states: Vec<_> =
        desk.banks.statement().transactions.iter().map(|entry| entry.state).collect();
    assert_eq!(states, ["reversed", "standing"]);
    // Once, whatever numbers it comes under.
    reverse(&mut desk, fields("4"), "778", OTHER_TIME);
    reverse(&mut desk, fields("5"), "1", "0704093015");
    assert_eq!(standing(&desk), 1);
}

#[test]
fn an_original_that_comes_after_its_reversal_is_refused_under_any_numbers() {
    let mut desk = desk();
    reverse(&mut desk, fields("3"), "777", OTHER_TIME);
    assert_eq!(purchase(&mut desk, &fields("1")).code(), "12");
    assert_eq!(purchase(&mut desk, &with(fields("2"), 7, OTHER_TIME)).code(), "12");
    assert_eq!(standing(&desk), 0);
    assert_eq!(purchase(&mut desk, &with(fields("4"), 37, "093000000002")).code(), "00");
}

/// What was declined, and forgotten by the switch, is judged anew.
#[test]
fn a_decline_under_other_numbers_binds_nobody() {
    let mut desk = desk();
    let large = with(fields("1"), 4, "100000");
    let small = with(with(fields("2"), 37, "093000000002"), 4, "1");
    assert_eq!(purchase(&mut desk, &small).code(), "00");
    assert_eq!(purchase(&mut desk, &large).code(), "51");
    reverse(&mut desk, small, "2", "0704093015");
    assert_eq!(purchase(&mut desk, &with(large, 11, "3")).code(), "00");
}
