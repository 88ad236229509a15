//! Shards that share limits, against a model that keeps every transaction: messages between shards come
//! late or not in order, clocks differ, processes end and others begin, with as many shards or others.

mod world;

use super::*;
use crate::config::VelocityWindow;
use crate::shard::{AcquirerId, CardKey, placement};
use proptest::prelude::*;
use tapswitch_protocol::Token;
use world::{Message, World, card_of, config, config_of, key, transaction};

#[derive(Clone, Debug)]
enum Step {
    Take {
        node: usize,
        merchant: u8,
        amount: u64,
    },
    Deliver(usize),
    Approve(usize),
    GiveBack {
        pick: usize,
        part: bool,
    },
    /// Time passes on all shards, on one a little more.
    Wait {
        ms: u64,
        node: usize,
        skew_ms: u64,
    },
    Crash(usize),
    Reshard(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        24 => (0..8usize, 0..3u8, 1..60u64)
            .prop_map(|(node, merchant, amount)| Step::Take { node, merchant, amount }),
        16 => any::<usize>().prop_map(Step::Deliver),
        8 => any::<usize>().prop_map(Step::Approve),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(pick, part)| Step::GiveBack { pick, part }),
        4 => (0..9_000u64, 0..8usize, 0..1_500u64)
            .prop_map(|(ms, node, skew_ms)| Step::Wait { ms, node, skew_ms }),
        1 => any::<usize>().prop_map(Step::Crash),
        1 => (1..6usize).prop_map(Step::Reshard),
    ];
    prop::collection::vec(step, 1..250)
}

fn windows() -> impl Strategy<Value = VelocityWindow> {
    prop_oneof![
        (5..40u32).prop_map(|window_s| VelocityWindow::Fixed { window_s }),
        (1..5u8, 2..8u32).prop_map(|(sub_windows, part_s)| VelocityWindow::Rolling {
            window_s: u32::from(sub_windows) * part_s,
            sub_windows
        }),
        Just(VelocityWindow::Day { zone_offset_minutes: 480 }),
    ]
}

fn play(world: &mut World, steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Take { node, merchant, amount } => drop(world.take(node, merchant, amount)),
            Step::Deliver(pick) => world.deliver(pick),
            Step::Approve(pick) => world.approve(pick),
            Step::GiveBack { pick, part } => world.give_back(pick, part),
            Step::Wait { ms, node, skew_ms } => {
                world.now_ms += ms;
                let now_ms = world.now_ms;
                for node in &mut world.nodes {
                    node.now_ms = node.now_ms.max(now_ms);
                }
                let shards = world.nodes.len();
                let node = &mut world.nodes[node % shards];
                node.now_ms = node.now_ms.max(now_ms + skew_ms);
            }
            Step::Crash(more) => world.crash(more),
            Step::Reshard(shards) => world.reshard(shards),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever happens, in no true window is more counted than the limit.
    #[test]
    fn no_limit_is_passed(
        window in windows(),
        shards in 1..6usize,
        count in prop::option::of(1..30u32),
        amount in 20..600u64,
        steps in steps(),
    ) {
        play(&mut World::new(window, (count, Some(amount)), shards), &steps);
    }

    /// One shard takes all that a counter of a card would.
    #[test]
    fn one_shard_is_exact(window in windows(), count in 1..30u32, steps in steps()) {
        let alone: Vec<Step> =
            steps.into_iter().filter(|step| !matches!(step, Step::Reshard(_))).collect();
        play(&mut World::new(window, (Some(count), Some(300)), 1), &alone);
    }

    /// A token's limit is exact on any shards, and stays so through crashes and other numbers of them.
    #[test]
    fn tokens_are_exact(
        window in windows(),
        shards in 1..6usize,
        count in 1..30u32,
        steps in steps(),
    ) {
        let limit = (Some(count), Some(300));
        let mut world = World::of(VelocityScope::Token, window, limit, shards);
        play(&mut world, &steps);
        prop_assert!(world.wire.is_empty(), "nobody is asked");
    }

    /// With messages that arrive, transactions on all shards use at least what they have without asking
    /// and nearly all of the pool.
    #[test]
    fn nearly_all_of_a_limit_can_be_used(shards in 1..9usize, amount in 2_000..90_000u64, seed in any::<u64>()) {
        let window = VelocityWindow::Day { zone_offset_minutes: 0 };
        let mut world = World::new(window, (None, Some(amount)), shards);
        let unit = (amount / 1_000).max(1);
        for number in 0..1_700 {
            let node = (seed.rotate_left(number as u32 % 64) % 97) as usize + number;
            world.take(node, 1, unit);
            while !world.wire.is_empty() {
                world.deliver(0);
            }
        }
        let used = world.accepted * unit;
        prop_assert!(used <= amount && used >= amount * 9 / 10, "{used} of {amount}");
        prop_assert!(shards > 1 || world.early == 0);
    }

    /// One shard alone reaches its entitlement and the whole pool.
    #[test]
    fn one_of_many_reaches_more_than_half(shards in 2..9usize, node in 0..9usize) {
        let window = VelocityWindow::Rolling { window_s: 60, sub_windows: 3 };
        let mut world = World::new(window, (Some(500), None), shards);
        for _ in 0..600 {
            world.take(node, 1, 5);
            while !world.wire.is_empty() {
                world.deliver(0);
            }
        }
        prop_assert!(world.accepted >= 250 + 250 / shards as u64 - 1, "{}", world.accepted);
    }
}

#[test]
fn a_lower_limit_voids_what_is_lent_and_not_used() {
    let window = VelocityWindow::Day { zone_offset_minutes: 0 };
    let mut world = World::new(window, (None, Some(1_000)), 2);
    let mut taken = 0;
    while taken < 400 && world.take(0, 1, 10) {
        taken += 10;
        while !world.wire.is_empty() {
            world.deliver(0);
        }
    }
    assert_eq!(taken, 400);
    let lower = config(window, (None, Some(300)));
    world.nodes.iter_mut().for_each(|node| node.escrow.on_config(&lower));
    assert!(!world.take(0, 1, 1), "more than the limit is used here alone");
    // The other shard has its part of the new limit, and nothing is lent.
    for amount in [75, 1] {
        assert_eq!(world.take(1, 1, amount), amount == 75);
        while !world.wire.is_empty() {
            world.deliver(0);
        }
    }
    assert!(!world.take(1, 1, 1));
}

#[test]
fn what_has_happened_already_is_lent_by_the_owner_afterwards() {
    let window = VelocityWindow::Day { zone_offset_minutes: 0 };
    for (forced, other) in [(0, 1), (1, 0)] {
        let mut world = World::new(window, (None, Some(1_000)), 2);
        let node = &mut world.nodes[forced];
        let hold = node.meant(1, 700);
        assert!(node.escrow.make_room(&hold) && node.escrow.shortfall(0, &hold).is_some());
        node.count(key(900), &hold);
        if let Some((owner, ask)) = node.ask_ahead(&hold) {
            world.wire.push(Message::Ask(forced, owner, ask));
        }
        let mut taken = 0;
        for _ in 0..120 {
            while !world.wire.is_empty() {
                world.deliver(0);
            }
            taken += if world.take(other, 1, 10) { 10 } else { 0 };
        }
        assert!((250..=300).contains(&taken), "{taken}");
    }
}

#[test]
fn entities_differ_by_acquirer_merchant_and_terminal() {
    let mut config = config(VelocityWindow::Fixed { window_s: 60 }, (Some(1), None));
    for scope in [VelocityScope::Terminal, VelocityScope::Acquirer] {
        let counter = config.scope_counters[0].clone();
        config.scope_counters.push(VelocityCounter { scope, ..counter });
    }
    let escrow = Escrow::new(&config, (ShardId(0), 1), [3; 16]).unwrap();
    let of = |acquirer, merchant, terminal| {
        let parties = Parties { acquirer: AcquirerId(acquirer), merchant, terminal, token: None };
        escrow.meant(CardKey([1; 16]), &transaction(1), &parties).entities
    };
    let all = [of(0, b"m", b"t"), of(0, b"m", b"u"), of(0, b"n", b"t"), of(1, b"m", b"t")];
    let differ = |at: usize, other: usize| {
        let [acquirer, merchant, terminal] = [0, 1, 2].map(|of| all[at][of] != all[other][of]);
        (acquirer, merchant, terminal)
    };
    assert_eq!(differ(0, 1), (false, false, true));
    assert_eq!(differ(0, 2), (false, true, false));
    assert_eq!(differ(0, 3), (true, true, true));
    assert_ne!(all[0][1], all[0][2]);
    let other = Escrow::new(&config, (ShardId(0), 1), [4; 16]).unwrap();
    let acquirer = AcquirerId(0);
    let parties = Parties { acquirer, merchant: b"m", terminal: b"t", token: None };
    assert_ne!(other.meant(CardKey([1; 16]), &transaction(1), &parties).entities, all[0]);
}

#[test]
fn a_token_is_of_its_card_and_its_shard_and_of_every_acquirer() {
    let window = VelocityWindow::Fixed { window_s: 60 };
    let config = config_of(VelocityScope::Token, window, (Some(1), None));
    let escrow = Escrow::new(&config, (ShardId(0), 1), [3; 16]).unwrap();
    assert!(escrow.means_tokens(&transaction(1)));
    let of = |acquirer, card, digits: &[u8]| {
        let (acquirer, token) = (AcquirerId(acquirer), Token::from_digits(digits));
        let parties = Parties { acquirer, merchant: b"m", terminal: b"t", token };
        let hold = escrow.meant(card_of(card), &transaction(1), &parties);
        (!hold.is_empty()).then_some(hold.entities[3])
    };
    let one = of(0, 1, b"6235360000000000017");
    assert_eq!(of(1, 1, b"6235360000000000017"), one, "whoever sends it");
    let others = [of(0, 1, b"6235360000000000018"), of(0, 2, b"6235360000000000017")];
    assert!(others.iter().all(|other| other.is_some() && *other != one));
    assert_eq!(of(0, 1, b""), None, "without a token nothing is counted");
    for shards in 1..=SHARDS_MAX {
        let home = placement::owner(card_of(1), shards);
        assert_eq!(one.unwrap().owner(shards), home, "{shards} shards");
    }
}
