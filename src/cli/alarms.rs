//! What an operator must know at once, while the switch runs: a line each on standard error, of one
//! name at most one a minute, and how often each was seen in the report at the end.
//!
//! What is looked at is what shards publish, the journal's room, and the clock. Not here: what becomes
//! of a condition (the switch acts by itself, alarmed or not).

use super::quantity::{duration_s, grouped};
use crate::admin::Notables;
use crate::config::IssuerConfig;
use crate::io::clock::StepWatch;
use crate::io::clock::moment;
use crate::io::journal::Space;
use crate::io::{Clock, ShardPhase, StallLevels, Switch};
use crate::shard::outcome::NO_ISSUER;
use crate::shard::{Counter, Counters, Gauges, IssuerId, LinkGauges, Now, Shard};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::Ordering;

/// Between two lines of one name.
const AGAIN_AFTER_NS: u64 = 60_000_000_000;
/// Looks in a row that find no link: a link takes a moment to be made.
const DOWN_LOOKS: u32 = 5;
/// Messages owed for so long need somebody to ask the issuer.
const OWED_MIN: u64 = 60;

/// Something that an operator must know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alarm {
    /// As `what{why}`.
    name: &'static str,
    /// In one sentence.
    text: String,
}

impl Alarm {
    fn new(name: &'static str, text: String) -> Self {
        Self { name, text }
    }
}

/// What is looked at.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The machine's clocks, as they are.
    read: Now,
    /// By shard.
    gauges: Vec<Gauges>,
    /// How each shard has kept others waiting, by shard.
    stalls: Vec<Stall>,
    /// Transactions refused for want of a velocity line.
    velocity_full: u64,
    /// Reversals of what another acquirer sent.
    foreign: u64,
    /// Snapshots given up.
    snapshots_given_up: u64,
    /// Whether the journal's disk takes more.
    space: Option<Space>,
    /// Whether a jump of the wall clock is not followed.
    is_clock_held: bool,
    /// Messages that issuers refuse, by issuer where there are any.
    parked: Vec<(String, u64)>,
    /// By shard, by issuer.
    links: Vec<Vec<LinkGauges>>,
    /// Answers to what another issuer was asked.
    cross_issuer: u64,
    /// Sign-ons that were refused or not answered.
    not_signed_on: u64,
    /// Issuers' totals that are not the switch's.
    out_of_balance: u64,
}

/// How a shard has kept others waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stall {
    /// How often.
    stalls: u64,
    /// For how long the last time, or now.
    ms: u64,
    /// What it was doing then.
    phase: ShardPhase,
}

/// Finds what is alarming in what is seen.
#[derive(Default)]
struct Judge {
    steps: StepWatch,
    /// UTC milliseconds of the journal's last record at the start.
    journal_ms: u64,
    stalls: Vec<Stall>,
    velocity_full: u64,
    foreign: u64,
    snapshots_given_up: u64,
    cross_issuer: u64,
    not_signed_on: u64,
    out_of_balance: u64,
    /// Names of issuers, and in how many looks in a row some shard had no link to each.
    issuers: Vec<(String, u32)>,
}

fn clock_held() -> Alarm {
    let text = "the clock was set on by more than clock_step_max_s: windows of limits go on without \
                it; set it right, or send SIGHUP if it is right";
    Alarm::new("clock{held}", text.to_owned())
}

impl Judge {
    fn judge(&mut self, seen: &Seen) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        alarms.extend(seen.is_clock_held.then(clock_held));
        alarms.extend(self.clock(seen.read));
        alarms.extend(self.stalled(&seen.stalls));
        for (shard, gauges) in seen.gauges.iter().enumerate() {
            alarms.extend(velocity(shard, gauges));
            alarms.extend(owed(shard, gauges, seen.read.wall_ms));
        }
        let more = more(&mut self.velocity_full, seen.velocity_full);
        if more > 0 {
            let text =
                format!("{more} transactions of new cards refused: no velocity line is free");
            alarms.push(Alarm::new("velocity{full}", text));
        }
        match seen.space {
            Some(Space::Low) => {
                let text = "the journal's disk has less room than alarm_free_percent".to_owned();
                alarms.push(Alarm::new("journal{space_low}", text));
            }
            Some(Space::Refuse) => {
                let text = "the journal's disk is nearly full: new transactions are refused";
                alarms.push(Alarm::new("journal{space_out}", text.to_owned()));
            }
            Some(Space::Ok) | None => {}
        }
        let more = self::more(&mut self.foreign, seen.foreign);
        if more > 0 {
            let text =
                format!("{more} reversals of what another acquirer sent: nothing was undone");
            alarms.push(Alarm::new("reversal{foreign}", text));
        }
        alarms.extend(parked(&seen.parked));
        let more = self::more(&mut self.snapshots_given_up, seen.snapshots_given_up);
        if more > 0 {
            let text = format!("{more} snapshots given up: the journal grows until one is whole");
            alarms.push(Alarm::new("snapshot{given_up}", text));
        }
        self.links(seen, &mut alarms);
        alarms
    }

    /// Shards that stall, or did since the last look.
    fn stalled(&mut self, stalls: &[Stall]) -> Option<Alarm> {
        self.stalls.resize(stalls.len(), Stall::default());
        let looks = (0..).zip(stalls.iter().zip(&mut self.stalls));
        let stalled = looks.filter(|(_, (now, before))| now != before);
        let sentences: Vec<String> = stalled
            .map(|(shard, (now, before)): (usize, _)| {
                *before = *now;
                let Stall { ms, phase, .. } = now;
                let (s, tenths) = (ms / 1_000, ms % 1_000 / 100);
                format!("shard {shard} did not come back for {s}.{tenths} s, last seen {phase}")
            })
            .collect();
        (!sentences.is_empty()).then(|| Alarm::new("shard{stalled}", sentences.join("; ")))
    }

    /// What is wrong with issuers' links, in one line for all issuers.
    fn links(&mut self, seen: &Seen, alarms: &mut Vec<Alarm>) {
        let (mut down, mut open, mut signed_off) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (name, looks)) in self.issuers.iter_mut().enumerate() {
            let of_shards = || seen.links.iter().filter_map(|links| links.get(place));
            let is_down = of_shards().any(|it| it.links > 0 && it.ready == 0);
            *looks = if is_down { *looks + 1 } else { 0 };
            if *looks >= DOWN_LOOKS {
                down.push(name.as_str());
            }
            if of_shards().any(|it| it.is_open) {
                open.push(name.as_str());
            }
            if of_shards().any(|it| it.signed_off) {
                signed_off.push(name.as_str());
            }
        }
        let all = [
            ("link{down}", down, "no link is up at some shard"),
            ("issuer{circuit_open}", open, "does not answer, and is asked once a second"),
            ("issuer{signed_off}", signed_off, "has signed off"),
        ];
        for (alarm, names, text) in all {
            if !names.is_empty() {
                alarms.push(Alarm::new(alarm, format!("{}: {text}", names.join(", "))));
            }
        }
        let more = more(&mut self.cross_issuer, seen.cross_issuer);
        if more > 0 {
            let text = format!("{more} answers came from an issuer that had not been asked");
            alarms.push(Alarm::new("issuer{cross_issuer}", text));
        }
        let more = self::more(&mut self.not_signed_on, seen.not_signed_on);
        if more > 0 {
            let text = format!("{more} sign-ons were refused by an issuer or not answered");
            alarms.push(Alarm::new("link{sign_on}", text));
        }
        let more = self::more(&mut self.out_of_balance, seen.out_of_balance);
        if more > 0 {
            let text = format!("{more} times an issuer's totals were not the switch's");
            alarms.push(Alarm::new("issuer{out_of_balance}", text));
        }
    }

    /// Windows of limits never roll back: until the clock has caught up they stand still.
    fn clock(&mut self, read: Now) -> Option<Alarm> {
        if let Some(step_ms) = self.steps.step_ms(read) {
            let by = duration_s(step_ms.unsigned_abs() / 1_000);
            return Some(match step_ms < 0 {
                true => Alarm::new(
                    "clock{step_back}",
                    format!(
                        "the clock was set back by {by}: windows of limits stand still so long"
                    ),
                ),
                false => Alarm::new(
                    "clock{step_on}",
                    format!("the clock was set on by {by}: windows of limits move with it"),
                ),
            });
        }
        let behind_ms = self.journal_ms.saturating_sub(read.wall_ms);
        (behind_ms > 0).then(|| {
            let by = duration_s(behind_ms.div_ceil(1_000));
            let text = format!(
                "the clock is {by} behind the journal's last record: windows of limits stand still \
                 so long"
            );
            Alarm::new("clock{behind_journal}", text)
        })
    }
}

fn stall(levels: &StallLevels) -> Stall {
    Stall {
        stalls: levels.stalls.load(Ordering::Relaxed),
        ms: levels.stalled_ms.load(Ordering::Relaxed),
        phase: levels.phase(),
    }
}

/// How many more than at the last look.
fn more(before: &mut u64, now: u64) -> u64 {
    now.saturating_sub(std::mem::replace(before, now))
}

fn velocity(shard: usize, gauges: &Gauges) -> Option<Alarm> {
    let Gauges { velocity_lines: lines, velocity_counting: counting, .. } = *gauges;
    // As `Velocity::is_nearly_full`: four fifths.
    let is_nearly_full = lines > 0 && counting * 5 >= lines * 4;
    is_nearly_full.then(|| {
        let (counting, lines) = (grouped(counting), grouped(lines));
        let text = format!(
            "shard {shard}: {counting} of {lines} velocity lines count something; without one a new \
             card is refused"
        );
        Alarm::new("velocity{nearly_full}", text)
    })
}

fn owed(shard: usize, gauges: &Gauges, wall_ms: u64) -> Option<Alarm> {
    let Gauges { owed, owed_since_min, .. } = *gauges;
    let minutes = (wall_ms / 60_000).saturating_sub(owed_since_min);
    (owed > 0 && minutes >= OWED_MIN).then(|| {
        let (owed, age) = (grouped(owed), duration_s(minutes * 60));
        let text = format!("shard {shard}: {owed} messages owed to issuers, the oldest for {age}");
        Alarm::new("saf{old}", text)
    })
}

fn parked(parked: &[(String, u64)]) -> Option<Alarm> {
    let issuers: Vec<String> =
        parked.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
    (!issuers.is_empty()).then(|| {
        let text = format!(
            "reversals or advices that their issuers refuse, or that are of no known original and \
             issuer, kept and sent no more: {}",
            issuers.join(", ")
        );
        Alarm::new("saf{parked}", text)
    })
}

/// When a name was told last, and how often it was seen.
#[derive(Default)]
struct Told {
    at_ns: Option<u64>,
    seen: u64,
}

/// Which alarms were told.
#[derive(Default)]
struct Register(BTreeMap<&'static str, Told>);

impl Register {
    /// Tells an alarm, unless one of its name was told within the minute.
    fn tell(&mut self, now: Now, alarm: &Alarm, out: &mut dyn Write) -> io::Result<()> {
        let told = self.0.entry(alarm.name).or_default();
        told.seen += 1;
        if told.at_ns.is_some_and(|at_ns| now.mono_ns < at_ns + AGAIN_AFTER_NS) {
            return Ok(());
        }
        told.at_ns = Some(now.mono_ns);
        writeln!(out, "{} ALARM {} {}", moment(now.wall_ms), alarm.name, alarm.text)?;
        out.flush()
    }
}

/// Watches one switch.
pub(super) struct Alarms {
    clock: Clock,
    judge: Judge,
    register: Register,
}

impl Alarms {
    pub(super) fn new(switch: &Switch<Shard>, issuers: &[IssuerConfig]) -> Self {
        let last = switch.recovered().iter().map(|report| report.recovered.wall_ms).max();
        let issuers = issuers.iter().map(|issuer| (issuer.name.clone(), 0)).collect();
        let judge = Judge { journal_ms: last.unwrap_or_default(), issuers, ..Judge::default() };
        Self { clock: Clock::new(), judge, register: Register::default() }
    }

    /// What issuers refuse, of all shards together.
    fn parked(&self, switch: &Switch<Shard>) -> Vec<(String, u64)> {
        let count = |issuer| {
            let of_shards = switch.published().map(|it| u64::from(it.owed_to(issuer).parked));
            of_shards.sum::<u64>()
        };
        let names = self.judge.issuers.iter().map(|(name, _)| name.clone());
        let named = names.zip(0..).chain([("no issuer".to_owned(), NO_ISSUER)]);
        let counted = named.map(|(name, id)| (name, count(IssuerId(id))));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Looks, and tells what is alarming. Every second is often enough.
    pub(super) fn look(
        &mut self,
        switch: &Switch<Shard>,
        notables: &Notables,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let read = self.clock.read();
        let counters = switch.published().map(|published| published.counters());
        let mut all = Counters::default();
        counters.for_each(|of_shard| all.merge(&of_shard));
        let given_up = switch.counters().map(|it| it.snapshots_given_up.load(Ordering::Relaxed));
        let seen = Seen {
            read,
            gauges: switch.published().map(|published| published.gauges()).collect(),
            velocity_full: all.value(Counter::RefusedVelocityFull),
            foreign: all.value(Counter::ReversalForeign),
            links: switch.published().map(|published| published.links().collect()).collect(),
            cross_issuer: all.value(Counter::CrossIssuer),
            not_signed_on: all.value(Counter::SignOnRefused) + all.value(Counter::SignOnSilent),
            out_of_balance: all.value(Counter::IssuerTotalsOut) + all.value(Counter::TotalsToldOut),
            snapshots_given_up: given_up.sum(),
            stalls: switch.counters().map(|it| stall(&it.stalls)).collect(),
            space: switch.journal_space(),
            is_clock_held: switch.is_clock_held(),
            parked: self.parked(switch),
        };
        let alarms = self.judge.judge(&seen);
        for alarm in &alarms {
            notables.add(read.wall_ms, alarm.name, 1, alarm.text.clone());
        }
        alarms.iter().try_for_each(|alarm| self.register.tell(read, alarm, out))
    }

    /// How often each alarm was seen.
    pub(super) fn write_counters(&self, out: &mut dyn Write) -> io::Result<()> {
        for (name, told) in &self.register.0 {
            let name = format!("alarm.{name}");
            writeln!(out, "{name:<28} {:>15}  times that it was seen", grouped(told.seen))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64, wall_ms: u64) -> Seen {
        let read = Now { mono_ns: s * 1_000_000_000, wall_ms };
        Seen { read, ..Seen::default() }
    }

    fn names(judge: &mut Judge, seen: &Seen) -> Vec<&'static str> {
        judge.judge(seen).iter().map(|alarm| alarm.name).collect()
    }

    const NOON: u64 = 1_795_348_800_000;

    #[test]
    fn nothing_is_alarming_by_itself() {
        let mut judge = Judge::default();
        let gauges = Gauges { velocity_lines: 100, velocity_counting: 79, ..Gauges::default() };
        let seen = Seen { gauges: vec![gauges; 2], space: Some(Space::Ok), ..at(1, NOON) };
        assert_eq!(names(&mut judge, &seen), [""; 0]);
    }

    #[test]
    fn what_fills_up_is_told() {
        let mut judge = Judge::default();
        let full = Gauges { velocity_lines: 100, velocity_counting: 80, ..Gauges::default() };
        let hour = NOON / 60_000 - 60;
        let old = Gauges { owed: 3, owed_since_min: hour, ..Gauges::default() };
        let young = Gauges { owed: 3, owed_since_min: hour + 1, ..Gauges::default() };
        let seen = Seen {
            gauges: vec![full, old, young],
            velocity_full: 2,
            foreign: 3,
            snapshots_given_up: 1,
            space: Some(Space::Low),
            parked: vec![("ABC".to_owned(), 2), ("CMB".to_owned(), 1_000)],
            ..at(1, NOON)
        };
        let all = ["velocity{nearly_full}", "saf{old}", "velocity{full}", "journal{space_low}"];
        let rest = ["reversal{foreign}", "saf{parked}", "snapshot{given_up}"];
        assert_eq!(names(&mut judge, &seen), [&all[..], &rest].concat());
        let text = parked(&seen.parked).unwrap().text;
        assert!(text.ends_with("sent no more: ABC 2, CMB 1,000"), "{text}");
        let parked = Vec::new();
        let later = Seen { space: Some(Space::Refuse), gauges: Vec::new(), parked, ..seen };
        assert_eq!(names(&mut judge, &later), ["journal{space_out}"], "counts have not grown");
    }

    #[test]
    fn issuers_that_cannot_be_asked_are_named() {
        let issuers = ["ABC", "CMB", "ICBC"].map(|name| (name.to_owned(), 0)).to_vec();
        let mut judge = Judge { issuers, ..Judge::default() };
        let up = LinkGauges { links: 2, ready: 1, ..LinkGauges::default() };
        let (down, open) = (LinkGauges { ready: 0, ..up }, LinkGauges { is_open: true, ..up });
        let off = LinkGauges { signed_off: true, ..up };
        let seen = |links: Vec<Vec<LinkGauges>>| Seen { links, ..at(1, NOON) };
        for _ in 1..DOWN_LOOKS {
            let looked = seen(vec![vec![up, up, up], vec![down, up, up]]);
            assert_eq!(names(&mut judge, &looked), [""; 0], "links are being made");
        }
        let looked = seen(vec![vec![up, open, off], vec![down, up, up]]);
        let alarms = judge.judge(&looked);
        let texts: Vec<&str> = alarms.iter().map(|alarm| alarm.text.as_str()).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts[0].starts_with("ABC: no link") && texts[1].starts_with("CMB: does not"));
        assert!(texts[2].starts_with("ICBC: has signed off"));
        let rest = seen(vec![vec![up; 3]; 2]);
        let looked = Seen { cross_issuer: 1, not_signed_on: 2, out_of_balance: 1, ..rest };
        let all = ["issuer{cross_issuer}", "link{sign_on}", "issuer{out_of_balance}"];
        assert_eq!(names(&mut judge, &looked), all);
        assert_eq!(names(&mut judge, &looked), [""; 0], "counts have not grown");
    }

    #[test]
    fn clocks_that_step_or_lag_are_told() {
        let mut judge = Judge { journal_ms: NOON + 2_500, ..Judge::default() };
        let alarms = judge.judge(&at(1, NOON));
        assert_eq!(alarms[0].name, "clock{behind_journal}");
        assert!(alarms[0].text.contains("is 3 seconds behind the journal"), "{}", alarms[0].text);
        assert_eq!(names(&mut judge, &at(2, NOON + 1_000)), ["clock{behind_journal}"]);
        assert_eq!(names(&mut judge, &at(4, NOON + 3_000)), [""; 0], "it has caught up");
        let on = judge.judge(&at(5, NOON + 3_604_000));
        assert!(on[0].name == "clock{step_on}" && on[0].text.contains("by 1 hour"), "{on:?}");
        assert_eq!(names(&mut judge, &at(6, NOON + 5_000)), ["clock{step_back}"]);
        let held = Seen { is_clock_held: true, ..at(7, NOON + 6_000) };
        assert_eq!(names(&mut judge, &held), ["clock{held}"], "as long as it lasts");
        assert_eq!(names(&mut judge, &held), ["clock{held}"]);
    }

    #[test]
    fn shards_that_stall_are_told_while_they_do_and_once_afterwards() {
        let mut judge = Judge::default();
        let stall = |stalls, ms| Stall { stalls, ms, phase: ShardPhase::Deciding };
        let seen = |stalls: &[Stall]| Seen { stalls: stalls.to_vec(), ..at(1, NOON) };
        assert_eq!(names(&mut judge, &seen(&[Stall::default(); 2])), [""; 0]);
        let alarms = judge.judge(&seen(&[Stall::default(), stall(1, 1_250)]));
        assert_eq!(alarms.len(), 1);
        let text = "shard 1 did not come back for 1.2 s, last seen deciding";
        assert_eq!((alarms[0].name, alarms[0].text.as_str()), ("shard{stalled}", text));
        let goes_on = judge.judge(&seen(&[stall(1, 1_000), stall(1, 2_250)]));
        assert!(goes_on[0].text.starts_with("shard 0 did"), "{goes_on:?}");
        assert!(goes_on[0].text.contains("; shard 1 did not come back for 2.2 s"), "{goes_on:?}");
        let over = seen(&[stall(1, 1_000), stall(1, 2_250)]);
        assert_eq!(names(&mut judge, &over), [""; 0], "it has come back");
    }

    #[test]
    fn a_name_is_told_once_a_minute_and_counted_always() {
        let (mut register, mut out) = (Register::default(), Vec::new());
        let alarm = Alarm::new("velocity{full}", "3 refused".to_owned());
        for second in 0..=60 {
            register.tell(at(second, NOON + second * 1_000).read, &alarm, &mut out).unwrap();
        }
        let other = Alarm::new("saf{old}", "old".to_owned());
        register.tell(at(61, NOON).read, &other, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let first = "2026-11-22 12:00:00.000 ALARM velocity{full} 3 refused";
        assert_eq!((lines.len(), lines[0]), (3, first));
        assert!(lines[1].starts_with("2026-11-22 12:01:00.000 ALARM velocity{full}"));
        assert_eq!(register.0["velocity{full}"].seen, 61);
    }
}
