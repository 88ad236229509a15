//! The world that a seed draws: how many of what, how fast, and how much goes wrong.
//!
//! Strengths differ from seed to seed (none, some, much of each fault), because a world in which
//! everything always fails never gets far enough to break what needs a long quiet time first.

use super::options::{FaultKind, Faults, Options};
use super::oracle::Rules;
use super::random::Stream;
use super::stand_in::Rule;

pub(super) const NS_PER_US: u64 = 1_000;
pub(super) const NS_PER_MS: u64 = 1_000_000;
pub(super) const NS_PER_S: u64 = 1_000_000_000;

/// Issuers of a world.
pub(super) const ISSUERS: usize = 3;
/// Links of one issuer to a shard, at most.
pub(super) const LINKS: usize = 3;
/// Shards of a switch, at most.
pub(super) const SHARDS: usize = 4;
/// Merchants of each acquirer; a card buys at one of them.
pub(super) const MERCHANTS: u64 = 7;
/// What a transaction is over, on average.
const AMOUNT_MEAN: u64 = 5_000;
/// Every request is answered within this.
pub(super) const ANSWER_WITHIN_MS: u64 = 4_000;
/// So long before that its issuer's time is over.
pub(super) const ANSWER_MARGIN_MS: u64 = 1_000;
/// What an issuer has.
pub(super) const ISSUER_WAIT_MS: u64 = ANSWER_WITHIN_MS - ANSWER_MARGIN_MS;

/// When a counter begins afresh; all count everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    Fixed {
        window_s: u64,
    },
    Rolling {
        window_s: u64,
        sub_windows: u64,
    },
    /// At midnight, UTC.
    Day,
}

/// What is allowed of a counter, or of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) counter: Option<usize>,
    pub(super) count_max: Option<u64>,
    pub(super) amount_max: Option<u64>,
}

/// Whose transactions a limit of many cards counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Merchant,
    Terminal,
    Acquirer,
}

/// A limit of merchants, terminals or acquirers, on a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) party: Party,
    pub(super) window: Window,
    pub(super) count_max: Option<u64>,
    pub(super) amount_max: Option<u64>,
}

/// Rates of what goes wrong, in parts of a million, and mean times between what just happens; 0 is
/// never.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    pub(super) split: u32,
    pub(super) delay: u32,
    pub(super) reset: u32,
    pub(super) half_close: u32,
    pub(super) slow_reader: u32,
    pub(super) issuer_silent: u32,
    pub(super) issuer_lost: u32,
    pub(super) issuer_late: u32,
    pub(super) issuer_twice: u32,
    pub(super) issuer_mis_echoed: u32,
    pub(super) issuer_garbage: u32,
    pub(super) acknowledgement_lost: u32,
    pub(super) forward_refused: u32,
    /// Sign-ons and echoes that are not answered, or refused.
    pub(super) management_lost: u32,
    pub(super) management_refused: u32,
    /// Answers that come by another link of the issuer, of any shard.
    pub(super) crossed_answer: u32,
    /// Answers that another issuer gives first.
    pub(super) stray_answer: u32,
    pub(super) sign_off_every_ms: u64,
    pub(super) brown_out_every_ms: u64,
    pub(super) link_flap_every_ms: u64,
    pub(super) slow_commit: u32,
    pub(super) stall: u32,
    pub(super) crash_every_ms: u64,
    pub(super) clock_step_every_ms: u64,
    pub(super) reload_every_ms: u64,
    pub(super) impatient: u32,
    pub(super) chatter: u32,
    pub(super) conflict: u32,
    pub(super) malformed: u32,
}

/// How the links of an issuer live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// Of each shard.
    pub(super) connections: u8,
    pub(super) sign_on: bool,
    pub(super) echo_idle_ms: u64,
    pub(super) echo_misses: u64,
    pub(super) breaker_timeouts: u64,
}

impl Session {
    fn draw(draw: &mut Stream) -> Self {
        Self {
            connections: draw.between(1, LINKS as u64) as u8,
            sign_on: draw.below(3) > 0,
            echo_idle_ms: draw.pick(&[200, 1_000, 5_000, 600_000]),
            echo_misses: draw.between(1, 3),
            breaker_timeouts: draw.pick(&[0, 0, 3, 20]),
        }
    }
}

/// A world.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shards: usize,
    /// The dialect of all acquirers: "cups" or "iso87-ascii".
    pub(super) is_cups: bool,
    pub(super) acquirers: usize,
    /// Connections that each of them keeps.
    pub(super) connections: usize,
    /// Which issuers are reached by a link; the banks of the others answer over rings.
    pub(super) linked: [bool; ISSUERS],
    /// Who takes the new requests of an issuer that cannot be reached.
    pub(super) failover: [Option<u8>; ISSUERS],
    /// By what the links of each live.
    pub(super) sessions: [Session; ISSUERS],
    pub(super) intent_first: [bool; ISSUERS],
    pub(super) cards: u64,
    /// So many of them get half of all requests.
    pub(super) hot_cards: u64,
    /// Mean time between two new transactions.
    pub(super) arrival_ns: u64,
    pub(super) batch_max: u64,
    pub(super) reads_max: u64,
    pub(super) pending_max: usize,
    pub(super) counters: Vec<Window>,
    pub(super) limits: Vec<Limit>,
    /// Limits of what many cards share; none in half of the worlds.
    pub(super) scopes: Vec<Scope>,
    /// How often a new process has another number of shards.
    pub(super) other_shards: u32,
    /// Whether a reload changes codes too; and whose cards are whose, where no request is ever lost with
    /// a process, so that nobody could say who was asked.
    pub(super) changes_codes: bool,
    pub(super) changes_routes: bool,
    /// The acquirer that goes away for good, and after how many transactions of all.
    pub(super) leaves: Option<(u8, u32)>,
    /// Mean time between two orderly stops.
    pub(super) drain_every_ms: u64,
    pub(super) begin_wall_ms: u64,
    pub(super) snapshot_every_ms: u64,
    /// Whether acquirers mark repeats (xxx1); otherwise they send the same bytes again, which after a
    /// crash is known by DE 7 only, so that such worlds have no steps of the clock.
    pub(super) marked_repeats: bool,
    /// How acquirers reverse: by advice (0420) or by request (0400).
    pub(super) reverse_by_advice: bool,
    pub(super) declines: u32,
    pub(super) stand_in: Option<Rule>,
    /// One card of so many has a token, which is what its acquirers know of it; 0: none.
    pub(super) tokens_each: u32,
    pub(super) trouble: Trouble,
}

impl Plan {
    pub(super) fn draw(options: &Options) -> Self {
        let mut stream = Stream::new(options.seed, "plan");
        let mut links = Stream::new(options.seed, "links of the plan");
        let draw = &mut stream;
        let marked_repeats = draw.below(3) > 0;
        let mut trouble = Trouble::draw(draw, options.faults);
        trouble.draw_links(&mut links, options.faults);
        if !marked_repeats {
            trouble.clock_step_every_ms = 0;
        }
        if options.lying_disk {
            trouble.crash_every_ms = 2_000;
        }
        let hot_cards = draw.pick(&[1, 4, 16, 64]);
        let counters = draw_counters(draw);
        let limits = draw_limits(draw, counters.len());
        let mut plan = Self {
            shards: draw.between(1, SHARDS as u64) as usize,
            is_cups: draw.below(2) == 0,
            acquirers: draw.between(1, 3) as usize,
            connections: draw.between(1, 6) as usize,
            linked: [draw.below(2) == 0, draw.below(3) == 0, draw.below(4) == 0],
            failover: [None; ISSUERS],
            sessions: core::array::from_fn(|_| Session::draw(&mut links)),
            intent_first: [false, false, draw.below(4) == 0],
            cards: draw.pick(&[200, 2_000, 20_000]),
            hot_cards,
            arrival_ns: NS_PER_S / draw.between(100, 2_000),
            batch_max: draw.pick(&[1, 2, 7, 32]),
            reads_max: draw.between(1, 64),
            pending_max: draw.pick(&[256, 2_048, 8_192]),
            counters,
            limits,
            scopes: Vec::new(),
            other_shards: match options.faults.has(FaultKind::Layout) {
                true => Stream::new(options.seed, "layouts of the plan").pick(&[0, 1_000_000]),
                false => 0,
            },
            leaves: None,
            changes_codes: false,
            changes_routes: false,
            drain_every_ms: match options.faults.has(FaultKind::Stop) && !options.lying_disk {
                true => Stream::new(options.seed, "stops of the plan").pick(&[0, 0, 40_000, 8_000]),
                false => 0,
            },
            // Shortly before midnight, so that a day ends within most runs.
            begin_wall_ms: 1_795_392_000_000 - draw.between(1_000, 40_000),
            snapshot_every_ms: draw.between(500, 10_000),
            marked_repeats,
            reverse_by_advice: draw.below(3) > 0,
            declines: draw.pick(&[0, 30_000, 200_000]),
            tokens_each: match options.faults.has(FaultKind::Token) {
                true => Stream::new(options.seed, "tokens of the plan").pick(&[0, 1, 2, 5]),
                false => 0,
            },
            stand_in: Rule::draw(&mut Stream::new(options.seed, "stand-in of the plan")),
            trouble,
        };
        plan.draw_rest(options);
        plan
    }

    /// What came later, from streams of its own: the rest of a seed's world is what it was.
    fn draw_rest(&mut self, options: &Options) {
        let stops = self.trouble.crash_every_ms > 0 || self.drain_every_ms > 0;
        if self.other_shards > 0 && !stops && options.faults.has(FaultKind::Stop) {
            // Without an end there is no other beginning.
            self.drain_every_ms = 8_000;
        }
        if self.other_shards > 0 && self.trouble.clock_step_every_ms > 0 {
            // Not both: trace numbers begin anew at each start, far from those of the start before, but that
            // holds for ranges of one layout; a clock that stands still over several starts of different
            // ones can give the same number twice in one second.
            self.trouble.clock_step_every_ms = 0;
        }
        if options.faults.has(FaultKind::Gone) && self.acquirers > 1 {
            let draw = &mut Stream::new(options.seed, "who leaves");
            let part = draw.between(10, 90) * u64::from(options.transactions) / 100;
            let whose = draw.below(self.acquirers as u64) as u8;
            self.leaves = (draw.below(2) == 0).then_some((whose, part.max(1) as u32));
        }
        if options.faults.has(FaultKind::Rules) && options.faults.has(FaultKind::Reload) {
            self.draw_rules(&mut Stream::new(options.seed, "rules of the plan"));
        }
        if options.faults.has(FaultKind::Failover) {
            self.draw_failovers(&mut Stream::new(options.seed, "failovers of the plan"));
        }
        if options.faults.has(FaultKind::Shared) {
            self.draw_scopes(&mut Stream::new(options.seed, "scopes of the plan"));
        }
        if !self.scopes.is_empty() || !options.faults.has(FaultKind::StandIn) {
            // Its approvals may be seen late, and a sum over many cards is not known meanwhile.
            self.stand_in = None;
        }
    }

    /// In half of the worlds, which then have reloads.
    fn draw_rules(&mut self, draw: &mut Stream) {
        self.changes_codes = draw.below(2) == 0;
        let is_lost = self.trouble.crash_every_ms > 0 || self.drain_every_ms > 0;
        self.changes_routes = self.changes_codes && !is_lost;
        if self.changes_codes && self.trouble.reload_every_ms == 0 {
            self.trouble.reload_every_ms = 4_000;
        }
    }

    /// What the next configuration says besides limits.
    pub(super) fn redraw_rules(&self, draw: &mut Stream, before: Rules) -> Rules {
        let mut rules = before;
        if self.changes_codes && draw.below(2) == 0 {
            rules.code = draw.pick(&[None, Some(*b"57")]);
        }
        if self.changes_routes && draw.below(2) == 0 {
            let whose = draw.below(ISSUERS as u64) as usize;
            rules.routes[whose] = draw.below(ISSUERS as u64) as u8;
        }
        rules
    }

    /// In half of the worlds; only links can be out of reach.
    fn draw_failovers(&mut self, draw: &mut Stream) {
        if draw.below(2) == 0 {
            return;
        }
        for issuer in 0..ISSUERS {
            let other = (issuer + draw.between(1, 2) as usize) % ISSUERS;
            let has_one = self.linked[issuer] && draw.below(4) > 0;
            self.failover[issuer] = has_one.then_some(other as u8);
        }
    }

    /// So much is allowed as comes in a third of the window, in most of it, or in two of it.
    fn draw_scopes(&mut self, draw: &mut Stream) {
        if draw.below(2) == 0 {
            return;
        }
        for party in [Party::Merchant, Party::Terminal, Party::Acquirer] {
            if draw.below(3) == 0 {
                continue;
            }
            let (window_s, sub_windows) = draw.pick(&[(5, 0), (20, 0), (60, 0), (6, 3), (12, 4)]);
            let window = match sub_windows {
                0 => Window::Fixed { window_s },
                _ => Window::Rolling { window_s, sub_windows },
            };
            let merchants = if party == Party::Merchant { MERCHANTS } else { 1 };
            let each_ns = self.arrival_ns * self.acquirers as u64 * merchants;
            let comes = window_s * NS_PER_S / each_ns;
            let allowed = (comes * draw.pick(&[30, 80, 200]) / 100).max(8);
            let both = draw.below(3);
            self.scopes.push(Scope {
                party,
                window,
                count_max: (both != 1).then_some(allowed),
                amount_max: (both != 0).then_some(allowed * AMOUNT_MEAN),
            });
        }
    }

    /// Other limits on the same counters.
    pub(super) fn redraw_limits(&self, stream: &mut Stream) -> Vec<Limit> {
        draw_limits(stream, self.counters.len())
    }
}

fn draw_counters(draw: &mut Stream) -> Vec<Window> {
    let (window_s, sub_windows) = draw.pick(&[(6, 3), (12, 4), (30, 6), (10, 1)]);
    let rolling = Window::Rolling { window_s, sub_windows };
    let fixed = Window::Fixed { window_s: draw.pick(&[5, 20, 60]) };
    match draw.below(4) {
        0 => vec![fixed],
        1 => vec![rolling],
        2 => vec![rolling, Window::Day],
        _ => vec![fixed, rolling, Window::Day],
    }
}

fn draw_limits(draw: &mut Stream, counters: usize) -> Vec<Limit> {
    let mut limits = Vec::new();
    if draw.below(2) == 0 {
        let amount_max = Some(draw.between(8_000, 20_000));
        limits.push(Limit { counter: None, count_max: None, amount_max });
    }
    for counter in 0..counters {
        let (count, amount) = (draw.between(2, 60), draw.between(15_000, 400_000));
        let both = draw.below(3);
        limits.push(Limit {
            counter: Some(counter),
            count_max: (both != 1).then_some(count),
            amount_max: (both != 0).then_some(amount),
        });
    }
    limits
}

impl Trouble {
    fn draw_links(&mut self, draw: &mut Stream, faults: Faults) {
        let light = faults.light;
        let mut some = |most: u32| match draw.below(if light { 2 } else { 4 }) {
            _ if !faults.has(FaultKind::Link) => 0,
            0 => 0,
            1 => most / 20,
            2 => most / 4,
            _ => most,
        };
        self.management_lost = some(200_000);
        self.management_refused = some(100_000);
        self.crossed_answer = some(500_000);
        self.stray_answer = some(10_000);
        self.sign_off_every_ms = match draw.below(if light { 2 } else { 3 }) {
            _ if !faults.has(FaultKind::Link) => 0,
            0 => 0,
            1 => 30_000,
            _ => 6_000,
        };
    }

    fn draw(draw: &mut Stream, faults: Faults) -> Self {
        let mut some = |kind: FaultKind, most: u32| {
            let strength = if faults.light { draw.below(2) } else { draw.below(4) };
            let ppm = match strength {
                0 => 0,
                1 => most / 20,
                2 => most / 4,
                _ => most,
            };
            if faults.has(kind) { ppm } else { 0 }
        };
        use FaultKind as F;
        let mut trouble = Self {
            split: some(F::Network, 400_000),
            delay: some(F::Network, 50_000),
            reset: some(F::Network, 4_000),
            half_close: some(F::Network, 2_000),
            slow_reader: some(F::Network, 1_000),
            issuer_silent: some(F::Issuer, 20_000),
            issuer_lost: some(F::Issuer, 10_000),
            issuer_late: some(F::Issuer, 20_000),
            issuer_twice: some(F::Issuer, 50_000),
            issuer_mis_echoed: some(F::Issuer, 10_000),
            issuer_garbage: some(F::Issuer, 20_000),
            acknowledgement_lost: some(F::Issuer, 300_000),
            forward_refused: some(F::Link, 5_000),
            slow_commit: some(F::Disk, 200_000),
            stall: some(F::Disk, 500),
            impatient: some(F::Acquirer, 60_000),
            chatter: some(F::Acquirer, 50_000),
            conflict: some(F::Acquirer, 20_000),
            malformed: some(F::Malformed, 20_000),
            ..Self::default()
        };
        let mut every = |kind: FaultKind, often_ms: u64| {
            let strength = if faults.light { draw.below(2) } else { draw.below(3) };
            match strength {
                _ if !faults.has(kind) => 0,
                0 => 0,
                1 => often_ms * 5,
                _ => often_ms,
            }
        };
        trouble.brown_out_every_ms = every(F::Issuer, 8_000);
        trouble.link_flap_every_ms = every(F::Link, 3_000);
        trouble.crash_every_ms = every(F::Crash, 4_000);
        trouble.clock_step_every_ms = every(F::Clock, 5_000);
        trouble.reload_every_ms = every(F::Reload, 4_000);
        trouble
    }
}
