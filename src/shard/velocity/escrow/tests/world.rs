//! Shards that share a limit, and a model that keeps every transaction.

use super::super::*;
use crate::config::{
    TransactionKind, VelocityCondition, VelocityCounter, VelocityLimit, VelocityWindow,
};
use crate::shard::journal_record::Change;
use crate::shard::velocity::VelocityTransaction;
use crate::shard::velocity::window::Parts;
use crate::shard::{AcquirerId, CardKey, placement};
use std::collections::BTreeSet;
use tapswitch_protocol::Token;

pub(super) const START_MS: u64 = 1_795_348_800_000;

pub(super) fn config(window: VelocityWindow, limit: (Option<u32>, Option<u64>)) -> VelocityConfig {
    config_of(VelocityScope::Merchant, window, limit)
}

pub(super) fn config_of(
    scope: VelocityScope,
    window: VelocityWindow,
    limit: (Option<u32>, Option<u64>),
) -> VelocityConfig {
    VelocityConfig {
        scope_counters: vec![VelocityCounter {
            name: "shop".into(),
            scope,
            window,
            resets_on_pin: false,
            when: VelocityCondition::default(),
        }],
        limits: vec![VelocityLimit {
            name: "shop".into(),
            counter: None,
            scope_counter: Some(0),
            count_max: limit.0,
            amount_minor_max: limit.1,
            when: VelocityCondition::default(),
            code: None,
        }],
        entities: 16,
        entity_transactions: 512,
        ..VelocityConfig::default()
    }
}

pub(super) fn transaction(amount_minor: u64) -> VelocityTransaction {
    VelocityTransaction {
        amount_minor,
        iin: 622_848_000,
        currency: 156,
        mcc: 5_411,
        entry_mode: 7,
        transaction_type: 0,
        kind: TransactionKind::Purchase,
        pin_present: false,
        qr: None,
    }
}

pub(super) fn key(number: usize) -> DuplicateKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(number as u64).to_le_bytes());
    key[12..].copy_from_slice(&(number as u32).wrapping_mul(0x9E37_79B9).to_le_bytes());
    DuplicateKey(key)
}

/// The card of a token.
pub(super) fn card_of(token: u8) -> CardKey {
    let spread = u64::from(token).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut key = [token; 16];
    key[..8].copy_from_slice(&spread.to_le_bytes());
    CardKey(key)
}

/// One shard, what it wrote down, and how much of that is on the disk for sure.
pub(super) struct Node {
    pub(super) escrow: Box<Escrow>,
    journal: Vec<(u64, Change<'static>)>,
    durable: usize,
    pub(super) now_ms: u64,
}

impl Node {
    pub(super) fn new(config: &VelocityConfig, id: usize, shards: usize, now_ms: u64) -> Self {
        let of = (ShardId(id as u8), shards);
        let escrow = Escrow::new(config, of, [3; 16]).unwrap();
        Self { escrow, journal: Vec::new(), durable: 0, now_ms }
    }

    pub(super) fn commit(&mut self, change: Change<'static>) {
        self.journal.push((self.now_ms, change));
        apply(&mut self.escrow, self.now_ms, &change);
    }

    /// Merchants and tokens have the same numbers.
    pub(super) fn meant(&mut self, merchant: u8, amount_minor: u64) -> ScopeHold {
        self.escrow.advance(self.now_ms);
        let token = Token::from_digits(&[b'0' + merchant]);
        let parties =
            Parties { acquirer: AcquirerId(0), merchant: &[merchant], terminal: &[], token };
        self.escrow.meant(card_of(merchant), &transaction(amount_minor), &parties)
    }

    /// As `scope_limits` does it. What is to be asked for comes back.
    pub(super) fn take(
        &mut self,
        key: DuplicateKey,
        hold: &ScopeHold,
    ) -> (bool, Option<(ShardId, Ask)>) {
        assert!(self.escrow.make_room(hold));
        if let Some(short) = self.escrow.shortfall(0, hold) {
            let is_here = short.owner == self.escrow.id && short.is_early;
            if !(is_here && self.lend_here(&short.ask)) {
                let begun = short.is_early && self.escrow.begin_ask(short.owner, &short.ask);
                return (false, begun.then_some((short.owner, short.ask)));
            }
        }
        self.count(key, hold);
        (true, self.ask_ahead(hold))
    }

    pub(super) fn ask_ahead(&mut self, hold: &ScopeHold) -> Option<(ShardId, Ask)> {
        let (owner, ask) = self.escrow.ahead(0, hold)?;
        if owner == self.escrow.id {
            self.lend_here(&ask);
        }
        self.escrow.begin_ask(owner, &ask).then_some((owner, ask))
    }

    pub(super) fn lend_here(&mut self, ask: &Ask) -> bool {
        let (grant, pool) = self.escrow.lend(self.now_ms, ask);
        let Some(pool) = pool.filter(|_| grant.satisfies(ask)) else { return false };
        self.commit(Change::ScopePool(pool));
        let row = self.escrow.lent(&grant);
        row.into_iter().for_each(|row| self.commit(Change::ScopeRow(row)));
        row.is_some()
    }

    pub(super) fn count(&mut self, key: DuplicateKey, hold: &ScopeHold) {
        let row = self.escrow.counted(0, hold).unwrap();
        self.commit(Change::ScopeRow(row));
        self.commit(Change::ScopeHeld { key, hold: *hold });
    }

    /// All of it, or down to so much.
    pub(super) fn give_back(&mut self, key: DuplicateKey, left: Option<u64>) {
        let Some(hold) = self.escrow.hold(&key) else { return };
        self.escrow.advance(self.now_ms);
        let after = match left {
            None => ScopeHold::default(),
            Some(amount_minor) => ScopeHold { amount_minor, ..hold },
        };
        let less = Tally {
            count: u64::from(left.is_none()),
            amount_minor: hold.amount_minor - after.amount_minor,
        };
        self.commit(Change::ScopeHeld { key, hold: after });
        let row = self.escrow.given_back(0, &hold, less);
        row.into_iter().for_each(|row| self.commit(Change::ScopeRow(row)));
    }
}

pub(super) fn apply(escrow: &mut Escrow, wall_ms: u64, change: &Change<'_>) {
    match change {
        Change::ScopeRow(row) => escrow.apply_row(wall_ms, row),
        Change::ScopePool(pool) => escrow.apply_pool(wall_ms, pool),
        Change::ScopeHeld { key, hold } => escrow.apply_hold(key, *hold),
        _ => unreachable!("no other is made here"),
    }
}

/// One transaction that counts.
pub(super) struct Counted {
    number: usize,
    node: usize,
    merchant: u8,
    at_ms: u64,
    amount_minor: u64,
    is_approved: bool,
    /// Of the records of its shard, the one that holds it.
    record: usize,
}

pub(super) enum Message {
    Ask(usize, ShardId, Ask),
    Grant(usize, ShardId, Grant),
}

pub(super) struct World {
    config: VelocityConfig,
    /// Whether tokens are limited, or merchants.
    of_tokens: bool,
    window: VelocityWindow,
    pub(super) limit: Tally,
    pub(super) nodes: Vec<Node>,
    pub(super) wire: Vec<Message>,
    counted: Vec<Counted>,
    made: usize,
    pub(super) now_ms: u64,
    /// Records of earlier processes of the same layout stay in each journal; this is what another
    /// layout left.
    base: Vec<(u64, Change<'static>)>,
    /// Merchants, and one shard from the beginning to the end; or tokens: nothing is declined early.
    is_exact: bool,
    pub(super) accepted: u64,
    pub(super) early: u64,
}

impl World {
    pub(super) fn new(
        window: VelocityWindow,
        limit: (Option<u32>, Option<u64>),
        shards: usize,
    ) -> Self {
        Self::of(VelocityScope::Merchant, window, limit, shards)
    }

    pub(super) fn of(
        scope: VelocityScope,
        window: VelocityWindow,
        limit: (Option<u32>, Option<u64>),
        shards: usize,
    ) -> Self {
        let config = config_of(scope, window, limit);
        let of_tokens = scope == VelocityScope::Token;
        let nodes = (0..shards).map(|id| Node::new(&config, id, shards, START_MS)).collect();
        let limit = Tally {
            count: limit.0.map_or(u64::MAX, u64::from),
            amount_minor: limit.1.unwrap_or(u64::MAX),
        };
        Self {
            config,
            of_tokens,
            window,
            limit,
            nodes,
            wire: Vec::new(),
            counted: Vec::new(),
            made: 0,
            now_ms: START_MS,
            base: Vec::new(),
            is_exact: shards == 1 || of_tokens,
            accepted: 0,
            early: 0,
        }
    }

    pub(super) fn take(&mut self, node: usize, merchant: u8, amount_minor: u64) -> bool {
        let index = match self.of_tokens {
            true => self.home(merchant),
            false => node % self.nodes.len(),
        };
        let node = &mut self.nodes[index];
        let hold = node.meant(merchant, amount_minor);
        let (number, at_ms) = (self.made, hold.at_ms);
        self.made += 1;
        let (is_taken, ask) = node.take(key(number), &hold);
        if let Some((owner, ask)) = ask {
            self.wire.push(Message::Ask(index, owner, ask));
        }
        if is_taken {
            self.accepted += 1;
            let record = node.journal.len();
            let is_approved = false;
            self.counted.push(Counted {
                number,
                node: index,
                merchant,
                at_ms,
                amount_minor,
                is_approved,
                record,
            });
            self.check(merchant, at_ms);
        } else if self.is_exact {
            self.check_exact(merchant, at_ms, amount_minor);
        } else {
            self.early += 1;
        }
        is_taken
    }

    /// The shard of a token's card.
    fn home(&self, token: u8) -> usize {
        placement::owner(card_of(token), self.nodes.len()).0.into()
    }

    /// What counts between two moments, both included.
    pub(super) fn sum(&self, merchant: u8, from_ms: u64, to_ms: u64) -> Tally {
        let of = |it: &&Counted| it.merchant == merchant && (from_ms..=to_ms).contains(&it.at_ms);
        self.counted.iter().filter(of).fold(Tally::default(), |sum, it| {
            sum.plus(Tally { count: 1, amount_minor: it.amount_minor })
        })
    }

    /// In no true window that the moment lies in is more counted than the limit.
    pub(super) fn check(&self, merchant: u8, at_ms: u64) {
        let within = |sum: Tally| {
            let over = sum.less(self.limit);
            assert!(over.is_zero(), "{sum:?} of {:?} with {} shards", self.limit, self.nodes.len());
        };
        match self.window {
            VelocityWindow::Rolling { window_s, .. } => {
                let length_ms = u64::from(window_s) * 1_000;
                let ends = self.counted.iter().map(|it| it.at_ms);
                let ends = ends.filter(|&end| (at_ms..at_ms + length_ms).contains(&end));
                for end in ends.collect::<BTreeSet<_>>() {
                    within(self.sum(merchant, end + 1 - length_ms, end));
                }
            }
            _ => {
                let part = Parts::of(self.window).part(at_ms);
                within(self.sum(merchant, part.begins_ms, part.ends_ms - 1));
            }
        }
    }

    /// One shard declines only what the parts that it counts have no room for.
    pub(super) fn check_exact(&self, merchant: u8, at_ms: u64, amount_minor: u64) {
        let part = Parts::of(self.window).part(at_ms);
        let parts = self.window.parts_counted() as u64;
        let length_ms = part.ends_ms - part.begins_ms;
        let from_ms = part.begins_ms - (parts - 1) * length_ms;
        let sum = self.sum(merchant, from_ms, part.ends_ms - 1);
        let with = sum.plus(Tally { count: 1, amount_minor });
        assert!(!with.less(self.limit).is_zero(), "{with:?} would be within {:?}", self.limit);
    }

    /// One message arrives, not always the oldest.
    pub(super) fn deliver(&mut self, pick: usize) {
        if self.wire.is_empty() {
            return;
        }
        match self.wire.remove(pick % self.wire.len()) {
            Message::Ask(from, owner, ask) => {
                let node = &mut self.nodes[usize::from(owner.0)];
                let (grant, pool) = node.escrow.lend(node.now_ms, &ask);
                pool.into_iter().for_each(|pool| node.commit(Change::ScopePool(pool)));
                // It leaves when the record is durable, and all before it are.
                node.durable = node.journal.len();
                self.wire.push(Message::Grant(from, owner, grant));
            }
            Message::Grant(to, from, grant) => {
                let node = &mut self.nodes[to];
                let row = node.escrow.granted(from, node.now_ms, &grant);
                row.into_iter().for_each(|row| node.commit(Change::ScopeRow(row)));
            }
        }
    }

    /// The issuer approves: the answer leaves when all records before it are durable.
    pub(super) fn approve(&mut self, pick: usize) {
        if let Some(count) = self.counted.len().checked_sub(1) {
            let counted = &mut self.counted[pick % (count + 1)];
            counted.is_approved = true;
            let node = &mut self.nodes[counted.node];
            node.durable = node.journal.len();
        }
    }

    pub(super) fn give_back(&mut self, pick: usize, part: bool) {
        if self.counted.is_empty() {
            return;
        }
        let at = pick % self.counted.len();
        let (number, node) = (self.counted[at].number, self.counted[at].node);
        let amount_minor = self.counted[at].amount_minor;
        let left = part.then_some(amount_minor / 2);
        self.nodes[node].give_back(key(number), left);
        // The answer that tells of it.
        self.nodes[node].durable = self.nodes[node].journal.len();
        match left {
            Some(left) => self.counted[at].amount_minor = left,
            None => drop(self.counted.swap_remove(at)),
        }
    }

    /// The process ends; of each journal what was durable is left, and perhaps more. What was under way
    /// is undone by the next process.
    pub(super) fn crash(&mut self, more: usize) {
        self.wire.clear();
        let shards = self.nodes.len();
        for (id, node) in self.nodes.iter_mut().enumerate() {
            let mut left = node.durable + more % (node.journal.len() - node.durable + 1);
            // A row is counted before what it was counted for is noted: torn apart it stays counted.
            let is_row = |at: usize| matches!(node.journal.get(at), Some((_, Change::ScopeRow(_))));
            while self.is_exact && left > node.durable && is_row(left - 1) {
                left -= 1;
            }
            node.journal.truncate(left);
            let now_ms = node.now_ms;
            let mut next = Node::new(&self.config, id, shards, now_ms);
            load(&mut next.escrow, &self.base, (id, shards));
            for (wall_ms, change) in &node.journal {
                apply(&mut next.escrow, *wall_ms, change);
            }
            next.escrow.divide();
            next.escrow.end_leases();
            (next.journal, next.durable) = (core::mem::take(&mut node.journal), left);
            *node = next;
        }
        let mut at = 0;
        while let Some(counted) = self.counted.get(at) {
            let (node, number, record) = (counted.node, counted.number, counted.record);
            if counted.is_approved {
                at += 1;
                continue;
            }
            self.counted.swap_remove(at);
            if record <= self.nodes[node].journal.len() {
                self.nodes[node].give_back(key(number), None);
            }
        }
        for node in &mut self.nodes {
            node.durable = node.journal.len();
        }
    }

    /// A restart with so many shards.
    pub(super) fn reshard(&mut self, shards: usize) {
        self.is_exact = self.of_tokens;
        self.crash(usize::MAX / 2);
        let mut base = Vec::new();
        for node in &self.nodes {
            let mut cursor = ScopeCursor::default();
            let mut visit = |change: Change<'_>| match change {
                Change::ScopeRow(row) => base.push((node.now_ms, Change::ScopeRow(row))),
                Change::ScopeHeld { key, hold } => {
                    base.push((node.now_ms, Change::ScopeHeld { key, hold }));
                }
                _ => {}
            };
            while node.escrow.scan(&mut cursor, 5, &mut visit) {}
        }
        let now_ms = self.nodes.iter().map(|node| node.now_ms).max().unwrap();
        self.base = base;
        let nodes = (0..shards).map(|id| {
            let mut node = Node::new(&self.config, id, shards, now_ms);
            load(&mut node.escrow, &self.base, (id, shards));
            node.escrow.divide();
            node
        });
        self.nodes = nodes.collect();
        for counted in &mut self.counted {
            let home = placement::owner(card_of(counted.merchant), shards);
            counted.node = if self.of_tokens { home.0.into() } else { counted.number % shards };
            counted.record = 0;
        }
    }
}

/// Every shard reads all rows, and of the holds those of its cards: here of every so manyth.
pub(super) fn load(escrow: &mut Escrow, base: &[(u64, Change<'_>)], (id, shards): (usize, usize)) {
    for (wall_ms, change) in base {
        match change {
            Change::ScopeRow(row) => {
                let used = (row.number, row.share.used);
                let of = (usize::from(row.counter), row.entity);
                escrow.carry_used(*wall_ms, of, used).unwrap();
            }
            Change::ScopeHeld { key, hold } => {
                let number = u64::from_le_bytes(*key.0.first_chunk().unwrap());
                let [.., token] = hold.entities;
                let home = if token == Entity::default() {
                    number as usize % shards
                } else {
                    placement::owner(hold.card, shards).0.into()
                };
                if home == id {
                    escrow.carry_hold(key, *hold, hold.counters);
                }
            }
            _ => {}
        }
    }
    // Records after it are of the shards of now.
    escrow.divide();
}
