//! Lists of data elements: what is in them, what never is.

use super::fixture::{Request, World, issuer_answer};
use super::restart::Journaled;
use crate::shard::field_list::{StoredFields, fields, write_field, write_message};
use crate::shard::{AcquirerId, IssuerId};
use tapswitch_protocol::{Dialect, FieldTable, WireField};

#[test]
fn a_list_is_what_was_picked_without_the_card() {
    let dialect = Dialect::cups();
    let message =
        Request { extra: &[(35, b"6228480000000000011=30122010000000000")], ..Request::default() };
    let message = message.message(dialect);
    let mut table = FieldTable::default();
    let view = dialect.parse(&message, &mut table).unwrap();
    let mut list = [0; 1_024];
    let bytes = StoredFields::of(&view, dialect.kept.with(35)).write(&mut list).unwrap();
    let list = &list[..bytes];
    let listed: Vec<u8> = fields(list).map(|field| field.field).collect();
    assert!(listed.contains(&37) && listed.contains(&3), "{listed:?}");
    assert!(!listed.contains(&2) && !listed.contains(&35), "{listed:?}");
    assert!(!list.windows(8).any(|window| window == b"62284800"));
    assert_eq!(fields(list).find(|field| field.field == 4).unwrap().wire, b"000000001000");
}

#[test]
fn a_message_is_made_of_a_list_again() {
    let dialect = Dialect::cups();
    let message = Request::default().message(dialect);
    let mut table = FieldTable::default();
    let view = dialect.parse(&message, &mut table).unwrap();
    let (mut list, mut out) = ([0; 1_024], [0; 1_024]);
    let bytes = StoredFields::of(&view, view.present()).write(&mut list).unwrap();
    let own = [WireField { field: 11, wire: b"000777" }];
    let pan = view.pan().ok().unwrap();
    let parts = (&list[..bytes], &own[..]);
    let bytes = write_message(dialect, view.mti(), parts, Some(pan.digits()), &mut out).unwrap();
    let expected = Request { stan: 777, extra: &[(37, b"000000000001")], ..Request::default() };
    assert!(out[..bytes] == expected.message(dialect)[..]);
}

#[test]
fn a_list_cut_anywhere_ends_early_and_nothing_else() {
    let mut list = [0; 64];
    let mut at = write_field(WireField { field: 3, wire: b"000000" }, &mut list).unwrap();
    at += write_field(WireField { field: 4, wire: b"12" }, &mut list[at..]).unwrap();
    assert_eq!(fields(&list[..at]).count(), 2);
    for cut in 0..at {
        assert!(fields(&list[..cut]).count() < 2);
    }
    assert!(write_field(WireField { field: 3, wire: b"000000" }, &mut [0; 8]).is_none());
}

/// DE 63 may hold a PIN block enciphered with SM4 (usage SM), also in an answer of an issuer that
/// echoes what it should not.
#[test]
fn a_pin_block_that_comes_back_is_in_no_record() {
    let block = b"SM016PINBLOCKPINBLOCK";
    for (content, is_kept) in [(&block[..], false), (b"no usages", false), (b"IC003abc", true)] {
        let mut journaled = Journaled::new();
        let request = Request { extra: &[(63, content)], ..Request::default() };
        assert_eq!(journaled.request(&request), ["I0 0200"]);
        let forward = journaled.world.forwarded.last().unwrap().2.clone();
        let answer = issuer_answer(&forward, "00", &[(63, content)]);
        let World { shard, now, outbox, .. } = &mut journaled.world;
        shard.on_issuer_response(*now, IssuerId(0), AcquirerId(0), &answer, outbox);
        assert_eq!(journaled.take(), ["A1 0210 00"]);
        let is_there = journaled.records().windows(content.len()).any(|bytes| bytes == content);
        assert_eq!(is_there, is_kept, "{}", String::from_utf8_lossy(content));
        assert_eq!(journaled.request(&request), ["A1 0210 00"], "a repeat");
    }
}
