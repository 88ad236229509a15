//! Advices, holds and their completions, partial reversals: what each leaves counted. The card's limit
//! is 100.00 and 3 transactions a day.

use super::fixture::{Request, World, config, issuer_answer};
use crate::config::Config;
use crate::shard::{AcquirerId, Counter, IssuerId};
use tapswitch_protocol::Dialect;

/// Without a limit by count, so that amounts alone decide.
pub(super) fn by_amount() -> Config {
    let mut config = config(1);
    config.velocity.limits[0].count_max = None;
    config
}

pub(super) fn send(world: &mut World, request: &Request<'_>) -> Vec<String> {
    let message = request.message(Dialect::cups());
    world.request(1, &message).into_iter().map(|done| done.text).collect()
}

pub(super) fn approve(world: &mut World) -> Vec<String> {
    let forward = world.forwarded.last().unwrap().2.clone();
    let answer = issuer_answer(&forward, "00", &[]);
    world.issuer(IssuerId(0), &answer).into_iter().map(|done| done.text).collect()
}

/// What may still be spent: the largest purchase that is forwarded. Each is declined by the issuer, so
/// nothing of the search stays counted.
pub(super) fn left(world: &mut World, first_stan: u32) -> u64 {
    let (mut low, mut high, mut stan) = (0_u64, 20_000, first_stan);
    while low < high {
        let middle = (low + high).div_ceil(2);
        stan += 1;
        let forwarded = send(world, &Request { stan, amount: Some(middle), ..Request::default() });
        if forwarded == ["I0 0200"] {
            let forward = world.forwarded.last().unwrap().2.clone();
            world.issuer(IssuerId(0), &issuer_answer(&forward, "51", &[]));
            low = middle;
        } else {
            assert_eq!(forwarded, ["A1 0210 61"]);
            high = middle - 1;
        }
    }
    low
}

#[test]
fn an_advice_is_counted_once_and_above_the_limit_too() {
    let mut world = World::new(&by_amount());
    let advice = Request { mti: 220, stan: 1, amount: Some(6_000), ..Request::default() };
    assert_eq!(send(&mut world, &advice), ["A1 0230 00", "I0 0220"]);
    assert_eq!(send(&mut world, &advice), ["A1 0230 00"], "a repeat");
    assert_eq!(send(&mut world, &Request { mti: 221, ..advice }), ["A1 0230 00"], "a repeat");
    assert_eq!(left(&mut world, 100), 4_000);
    let above = Request { mti: 220, stan: 2, amount: Some(7_000), ..Request::default() };
    assert_eq!(send(&mut world, &above), ["A1 0230 00"], "it waits for the one before");
    assert_eq!(world.shard.counters().value(Counter::AdviceOverLimit), 1);
    assert_eq!(left(&mut world, 200), 0);
    // Taken back, it counts no more; the one before does.
    let back = Request {
        mti: 420,
        stan: 3,
        amount: Some(7_000),
        original_stan: Some(2),
        ..Request::default()
    };
    let mut message = back;
    let original = format!("0220{:06}1122120000{:011}{:011}", 2, 3_330_000, 3_330_000);
    let extra: &[(u8, &[u8])] = &[(90, original.as_bytes())];
    message.extra = extra;
    assert_eq!(send(&mut world, &message), ["A1 0430 00"]);
    assert_eq!(left(&mut world, 300), 4_000);
}

#[test]
fn a_refund_touches_no_limit_and_can_be_reversed_at_its_issuer() {
    let mut world = World::new(&by_amount());
    let refund = Request {
        mti: 220,
        processing: "200000",
        stan: 1,
        amount: Some(6_000),
        ..Request::default()
    };
    assert_eq!(send(&mut world, &refund), ["A1 0230 00", "I0 0220"]);
    assert_eq!(approve(&mut world), [""; 0]);
    assert_eq!(left(&mut world, 100), 10_000);
    let original = format!("0220{:06}1122120000{:011}{:011}", 1, 3_330_000, 3_330_000);
    let extra: &[(u8, &[u8])] = &[(90, original.as_bytes())];
    let reversal = Request { mti: 420, stan: 2, extra, ..refund };
    assert_eq!(send(&mut world, &reversal), ["A1 0430 00", "I0 0420"]);
    assert_eq!(left(&mut world, 200), 10_000);
}

/// 0620: how the issuer's scripts ended, under the original's numbers at the issuer.
#[test]
fn a_notice_is_accepted_once_and_told_without_what_proves_the_card() {
    let mut world = World::new(&by_amount());
    assert_eq!(send(&mut world, &Request::default()), ["I0 0200"]);
    let forward = world.forwarded.last().unwrap().2.clone();
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
    let chip = b"\x9F\x26\x08cryptogr\xDF\x31\x05\x20\x00\x00\x00\x00\x9F\x36\x02\x00\x2A";
    let extra: &[(u8, &[u8])] = &[(39, b"00"), (55, chip), (70, b"951")];
    let notice = Request { mti: 620, stan: 2, original_stan: Some(1), extra, ..Request::default() };
    assert_eq!(send(&mut world, &notice), ["A1 0630 00", "I0 0620"]);
    let told = world.forwarded.last().unwrap().2.clone();
    super::fixture::with_view(&forward, |original| {
        super::fixture::with_view(&told, |view| {
            assert_eq!(
                view.raw(55).unwrap(),
                b"\xDF\x31\x05\x20\x00\x00\x00\x00\x9F\x36\x02\x00\x2A"
            );
            assert_eq!((view.raw(70), view.raw(39)), (Some(&b"951"[..]), Some(&b"00"[..])));
            assert!(view.raw(2) == original.raw(2));
            assert_eq!(view.raw(90).unwrap()[4..10], *original.raw(11).unwrap());
        });
    });
    assert_eq!(send(&mut world, &notice), ["A1 0630 00"], "a repeat");
    let answer = issuer_answer(&told, "00", &[]);
    assert!(world.issuer(IssuerId(0), &answer).is_empty());
    assert_eq!(world.shard.owed(), 0);
    assert_eq!(left(&mut world, 100), 9_000, "the purchase alone is counted");
    let nobodys = Request { stan: 3, pan: super::fixture::pan("C9"), ..notice };
    assert_eq!(send(&mut world, &nobodys), ["A1 0630 15"]);
    let unnamed = Request { stan: 4, pan: "", ..notice };
    assert_eq!(send(&mut world, &unnamed), ["A1 0630 30"]);
}

/// Opens a hold over 50.00, approved as A00001.
pub(super) fn with_hold() -> World {
    let mut world = World::new(&by_amount());
    let hold = Request {
        mti: 100,
        processing: "030000",
        stan: 1,
        amount: Some(5_000),
        ..Request::default()
    };
    assert_eq!(send(&mut world, &hold), ["I0 0100"]);
    assert_eq!(approve(&mut world), ["A1 0110 00"]);
    assert_eq!(left(&mut world, 100), 5_000);
    world
}

const COMPLETION: &[(u8, &[u8])] = &[(25, b"06"), (38, b"A00001")];

fn completion(stan: u32, amount: u64) -> Request<'static> {
    Request { stan, amount: Some(amount), extra: COMPLETION, ..Request::default() }
}

#[test]
fn a_completion_takes_the_place_of_its_hold() {
    for (amount, left_over) in [(3_000, 7_000), (5_000, 5_000), (5_750, 4_250)] {
        let mut world = with_hold();
        assert_eq!(send(&mut world, &completion(2, amount)), ["I0 0200"]);
        assert_eq!(approve(&mut world), ["A1 0210 00"]);
        assert_eq!(left(&mut world, 200), left_over, "{amount}");
        // Again, under another number: the hold is completed, so this is no completion of it.
        assert_eq!(send(&mut world, &completion(3, 1_000)), ["I0 0200"]);
        assert_eq!(world.shard.counters().value(Counter::CompletionUnmatched), 1);
    }
}

#[test]
fn a_completion_is_at_most_115_percent_and_its_decline_changes_nothing() {
    let mut world = with_hold();
    assert_eq!(send(&mut world, &completion(2, 5_751)), ["A1 0210 13"]);
    assert_eq!(send(&mut world, &completion(3, 5_750)), ["I0 0200"]);
    let forward = world.forwarded.last().unwrap().2.clone();
    world.issuer(IssuerId(0), &issuer_answer(&forward, "51", &[]));
    assert_eq!(left(&mut world, 200), 5_000);
    assert_eq!(send(&mut world, &completion(4, 2_000)), ["I0 0200"], "the hold is still open");
}

#[test]
fn a_completion_by_advice_counts_as_one_by_request() {
    let mut world = with_hold();
    let advice = Request { mti: 220, ..completion(2, 3_000) };
    assert_eq!(send(&mut world, &advice), ["A1 0230 00", "I0 0220"]);
    assert_eq!(left(&mut world, 200), 7_000);
    assert_eq!(send(&mut world, &advice), ["A1 0230 00"]);
    assert_eq!(left(&mut world, 300), 7_000);
}

#[test]
fn a_completion_elsewhere_or_after_thirty_days_counts_whole() {
    let mut world = with_hold();
    let extra: &[(u8, &[u8])] = &[(25, b"06"), (38, b"B00002")];
    let other = Request { extra, ..completion(2, 3_000) };
    assert_eq!(send(&mut world, &other), ["I0 0200"]);
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
    assert_eq!(left(&mut world, 200), 2_000);
    let mut world = with_hold();
    world.at_ms(31 * 86_400_000);
    assert_eq!(left(&mut world, 200), 10_000, "another day");
    assert_eq!(send(&mut world, &completion(2, 3_000)), ["I0 0200"]);
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
    assert_eq!(left(&mut world, 300), 7_000);
}

#[test]
fn a_reversed_completion_opens_its_hold_again_and_a_voided_hold_is_gone() {
    let mut world = with_hold();
    send(&mut world, &completion(2, 3_000));
    approve(&mut world);
    let reversal = Request { mti: 420, original_stan: Some(2), ..completion(3, 3_000) };
    assert_eq!(send(&mut world, &reversal), ["A1 0430 00", "I0 0420"]);
    assert_eq!(send(&mut world, &completion(4, 3_000)), ["I0 0200"]);
    assert_eq!(world.shard.counters().value(Counter::CompletionUnmatched), 0);
    approve(&mut world);

    let mut world = with_hold();
    let original = format!("0100{:06}1122120000{:011}{:011}", 1, 3_330_000, 3_330_000);
    let extra: &[(u8, &[u8])] = &[(90, original.as_bytes())];
    let void = Request {
        mti: 100,
        processing: "200000",
        stan: 2,
        amount: Some(5_000),
        extra,
        ..Request::default()
    };
    assert_eq!(send(&mut world, &void), ["I0 0100"]);
    assert_eq!(approve(&mut world), ["A1 0110 00"]);
    assert_eq!(left(&mut world, 200), 10_000);
    send(&mut world, &completion(3, 3_000));
    assert_eq!(world.shard.counters().value(Counter::CompletionUnmatched), 1);
}

/// 50.00 held, then 10.00 more under the approval of the first.
fn with_increased_hold() -> World {
    let mut world = with_hold();
    let extra: &[(u8, &[u8])] = &[(25, b"60"), (38, b"A00001")];
    let increase = Request {
        mti: 100,
        processing: "030000",
        stan: 50,
        amount: Some(1_000),
        extra,
        ..Request::default()
    };
    assert_eq!(send(&mut world, &increase), ["I0 0100"]);
    // Whatever its own approval is called.
    let forward = world.forwarded.last().unwrap().2.clone();
    world.issuer(IssuerId(0), &issuer_answer(&forward, "00", &[(38, b"B00002")]));
    assert_eq!(left(&mut world, 150), 4_000);
    world
}

#[test]
fn an_increase_belongs_to_its_hold_when_that_is_completed() {
    for (amount, left_over) in [(3_000, 7_000), (5_500, 4_500), (6_000, 4_000), (6_900, 3_100)] {
        let mut world = with_increased_hold();
        assert_eq!(send(&mut world, &completion(2, 6_901)), ["A1 0210 13"], "115 % of both");
        assert_eq!(send(&mut world, &completion(3, amount)), ["I0 0200"]);
        assert_eq!(approve(&mut world), ["A1 0210 00"]);
        assert_eq!(left(&mut world, 200), left_over, "{amount}");
        // Reversed, both are open again and counted as they were left.
        let reversal = Request { mti: 420, original_stan: Some(3), ..completion(4, amount) };
        assert_eq!(send(&mut world, &reversal), ["A1 0430 00", "I0 0420"]);
        assert_eq!(send(&mut world, &completion(5, amount)), ["I0 0200"]);
        assert_eq!(world.shard.counters().value(Counter::CompletionUnmatched), 0);
        approve(&mut world);
        assert!(left(&mut world, 300) >= left_over, "{amount}");
    }
}

/// UnionPay's cancellation has no DE 90: it names the hold by card, DE 38 and DE 42.
#[test]
fn a_cancellation_by_approval_takes_hold_and_increase_back_once() {
    let mut world = with_increased_hold();
    let cancel = |stan| Request {
        mti: 100,
        processing: "200000",
        amount: Some(6_000),
        ..completion(stan, 6_000)
    };
    assert_eq!(send(&mut world, &cancel(2)), ["I0 0100"]);
    let forward = world.forwarded.last().unwrap().2.clone();
    world.issuer(IssuerId(0), &issuer_answer(&forward, "51", &[]));
    assert_eq!(left(&mut world, 200), 4_000, "declined: it stands");
    assert_eq!(send(&mut world, &cancel(3)), ["I0 0100"]);
    assert_eq!(approve(&mut world), ["A1 0110 00"]);
    assert_eq!(left(&mut world, 300), 10_000);
    assert_eq!(send(&mut world, &cancel(4)), ["I0 0100"]);
    assert_eq!(approve(&mut world), ["A1 0110 00"]);
    assert_eq!(left(&mut world, 400), 10_000, "once");
    send(&mut world, &completion(5, 1_000));
    assert_eq!(world.shard.counters().value(Counter::CompletionUnmatched), 1);
}

/// Over the ISO 8583:1987 listener: UnionPay's interface has no DE 95.
#[test]
fn a_partial_reversal_leaves_the_rest() {
    let mut world = World::new(&by_amount());
    let dialect = Dialect::iso87_ascii();
    let send = |world: &mut World, request: &Request<'_>| -> Vec<String> {
        let done = world.request(101, &request.message(dialect));
        done.into_iter().map(|done| done.text).collect()
    };
    let buy = Request { stan: 1, amount: Some(6_000), ..Request::default() };
    assert_eq!(send(&mut world, &buy), ["I0 0200"]);
    let forward = world.forwarded.last().unwrap().2.clone();
    let mut table = tapswitch_protocol::FieldTable::default();
    let view = dialect.parse(&forward, &mut table).unwrap();
    let mut answer = vec![0; 1_024];
    let code = [tapswitch_protocol::Addition { field: 39, value: b"00" }];
    let mti = view.mti().response().unwrap();
    let bytes = tapswitch_protocol::respond(&view, mti, dialect.echo, &code, &mut answer).unwrap();
    let World { shard, now, outbox, .. } = &mut world;
    shard.on_issuer_response(*now, IssuerId(0), AcquirerId(1), &answer[..bytes], outbox);
    assert_eq!(world.drain()[0].text, "A101 0210 00");
    let original = format!("0200{:06}1122120000{:011}{:011}", 1, 3_330_000, 3_330_000);
    let part = |stan: u32, left: &'static str| {
        let replaced = format!("{left}{:030}", 0);
        let extra = [(90, original.clone().into_bytes()), (95, replaced.into_bytes())];
        (stan, extra)
    };
    let reverse = |world: &mut World, (stan, extra): (u32, [(u8, Vec<u8>); 2])| {
        let extra: Vec<(u8, &[u8])> =
            extra.iter().map(|(field, value)| (*field, &value[..])).collect();
        send(
            world,
            &Request { mti: 420, stan, amount: Some(6_000), extra: &extra, ..Request::default() },
        )
    };
    assert_eq!(reverse(&mut world, part(2, "000000006001")), ["A101 0430 13"], "more than it was");
    assert_eq!(reverse(&mut world, part(3, "000000002000")), ["A101 0430 00", "I0 0420"]);
    assert_eq!(reverse(&mut world, part(3, "000000002000")), ["A101 0430 00"], "a repeat");
    assert_eq!(left(&mut world, 100), 8_000);
    assert_eq!(reverse(&mut world, part(4, "000000000000")), ["A101 0430 00"], "the rest");
    assert_eq!(left(&mut world, 200), 10_000);
    assert_eq!(world.shard.counters().value(Counter::Reduced), 1);
}
