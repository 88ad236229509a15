//! Issuers' links, and the rings of banks in the switch's process: made, lost and made again, with
//! everything on its way; sign-ons, sign-offs and echoes of both sides; answers that come by another
//! link of the same issuer than their request left by.
//!
//! Not here: what an issuer makes of a request (`issuer`).

use super::events::Event;
use super::options::FaultKind;
use super::plan::{ISSUERS, LINKS, NS_PER_MS, NS_PER_US};
use super::switch::FromIssuer;
use super::world::World;
use crate::shard::{IssuerId, LinkId};

/// DE 70.
const SIGN_ON: u64 = 1;
const SIGN_OFF: u64 = 2;
/// An issuer says it again until it is answered.
const SAID_AGAIN_NS: u64 = 400 * NS_PER_MS;

/// One link of an issuer to a shard, from its making to its loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) issuer: u8,
    pub(super) shard: u8,
    pub(super) link: u8,
    /// Counts makings and losses; even: it is up.
    pub(super) turn: u32,
}

impl Line {
    /// For the trace's hash.
    pub(super) fn digest(&self) -> u64 {
        u64::from(self.link) << 16 | u64::from(self.issuer) << 8 | u64::from(self.shard)
    }

    fn id(&self) -> LinkId {
        LinkId { issuer: IssuerId(self.issuer), number: self.link }
    }
}

/// How all of them stand.
pub(super) struct Links {
    /// The turn of each, by shard, issuer and number.
    turns: Vec<[[u32; LINKS]; ISSUERS]>,
    /// When each was made or lost last.
    since_ns: Vec<[[u64; LINKS]; ISSUERS]>,
    /// What was sent last on each arrives then: a link keeps its order.
    arrive_ns: Vec<[[u64; LINKS]; ISSUERS]>,
    /// Issuers that have signed off, or want to sign on again: DE 70 that they send until it is answered.
    says: [Option<u64>; ISSUERS],
    signed_off: [bool; ISSUERS],
    /// Numbers of issuers' own messages.
    numbers: u32,
}

impl Links {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            turns: vec![[[1; LINKS]; ISSUERS]; shards],
            since_ns: vec![[[0; LINKS]; ISSUERS]; shards],
            arrive_ns: vec![[[0; LINKS]; ISSUERS]; shards],
            says: [None; ISSUERS],
            signed_off: [false; ISSUERS],
            numbers: 0,
        }
    }

    fn turn(&mut self, issuer: u8, shard: u8, link: u8) -> &mut u32 {
        &mut self.turns[usize::from(shard)][usize::from(issuer)][usize::from(link)]
    }

    fn line(&self, issuer: u8, shard: u8, link: u8) -> Line {
        let turn = self.turns[usize::from(shard)][usize::from(issuer)][usize::from(link)];
        Line { issuer, shard, link, turn }
    }

    pub(super) fn is_current(&self, line: Line) -> bool {
        self.line(line.issuer, line.shard, line.link) == line
    }

    /// Whether an issuer has had a link to this shard since then.
    pub(super) fn is_up_since(&self, issuer: u8, shard: usize, since_ns: u64) -> bool {
        let issuer = usize::from(issuer);
        let links = self.turns[shard][issuer].iter().zip(&self.since_ns[shard][issuer]);
        { links }.any(|(turn, made_ns)| turn.is_multiple_of(2) && *made_ns <= since_ns)
    }

    /// All that are up.
    fn up(&self, issuer: u8) -> Vec<Line> {
        let shards = 0..self.turns.len() as u8;
        let all = shards.flat_map(|shard| (0..LINKS as u8).map(move |link| (shard, link)));
        let lines = all.map(|(shard, link)| self.line(issuer, shard, link));
        lines.filter(|line| line.turn.is_multiple_of(2)).collect()
    }
}

impl World {
    /// A shard hands a request, or what it owes, over. `false`: it cannot be taken.
    pub(super) fn forward(&mut self, shard: usize, to: (u8, u8), message: &[u8]) -> bool {
        let refused = self.plan.trouble.forward_refused;
        if !self.plan.linked[usize::from(to.0)] && self.strikes(FaultKind::Link, refused) {
            return false;
        }
        self.send_to_issuer(shard, to, message)
    }

    /// A shard sends this on a link. `false`: there is no such link.
    pub(super) fn send_to_issuer(
        &mut self,
        shard: usize,
        (issuer, link): (u8, u8),
        message: &[u8],
    ) -> bool {
        let line = self.links.line(issuer, shard as u8, link);
        if !line.turn.is_multiple_of(2) {
            return false;
        }
        let delay_ns = self.streams.issuer.between(10, 100) * NS_PER_US;
        let arrive_ns = &mut self.links.arrive_ns[shard][usize::from(issuer)][usize::from(link)];
        *arrive_ns = (*arrive_ns).max(self.now_ns + delay_ns);
        let event = Event::ToIssuer { line, message: message.to_vec() };
        self.events.at(*arrive_ns, event);
        true
    }

    /// The switch asks for a sign-on or an echo, or signs off; or it answers the issuer's own.
    pub(super) fn on_management(&mut self, line: Line, message: &[u8]) {
        let issuer = usize::from(line.issuer);
        let Some((is_answer, order)) = self.wire.management(message) else {
            return self.fail("I-15", 0, format!("issuer {issuer} cannot read a message"));
        };
        if is_answer {
            if self.links.says[issuer] == Some(order) {
                self.links.says[issuer] = None;
            }
            return;
        }
        let trouble = self.plan.trouble.clone();
        if self.strikes_link(trouble.management_lost) || self.issuers.is_brown[issuer] {
            return;
        }
        let refuses = self.links.signed_off[issuer] && order == SIGN_ON;
        let refuses = refuses || self.strikes_link(trouble.management_refused);
        let answer = self.wire.answer(message, if refuses { *b"05" } else { *b"00" }, 0);
        self.events.at(self.now_ns + NS_PER_MS, Event::FromIssuer { line, message: answer });
    }

    fn strikes_link(&mut self, ppm: u32) -> bool {
        let strikes = !self.is_quiet && self.streams.link.happens(ppm);
        self.tally.faults[FaultKind::Link as usize] += u64::from(strikes);
        strikes
    }

    /// By which link an answer comes: any of its issuer will do.
    pub(super) fn answering_line(&mut self, asked: Line) -> Line {
        let is_linked = self.plan.linked[usize::from(asked.issuer)];
        if !is_linked || !self.strikes_link(self.plan.trouble.crossed_answer) {
            return asked;
        }
        let up = self.links.up(asked.issuer);
        if up.is_empty() { asked } else { self.streams.link.pick(&up) }
    }

    /// Another issuer gives an answer that nobody asked it for: it must change nothing.
    pub(super) fn stray(&mut self, asked: Line, answer: &[u8]) {
        if !self.strikes_link(self.plan.trouble.stray_answer) {
            return;
        }
        let other = (asked.issuer + self.streams.link.between(1, 2) as u8) % ISSUERS as u8;
        let up = self.links.up(other);
        if !up.is_empty() {
            let line = self.streams.link.pick(&up);
            let at_ns = self.now_ns + 20 * NS_PER_US;
            self.events.at(at_ns, Event::FromIssuer { line, message: answer.to_vec() });
        }
    }

    /// An issuer signs off.
    pub(super) fn on_leave(&mut self, issuer: u8) {
        self.links.signed_off[usize::from(issuer)] = true;
        self.trace.tell(self.now_ns, 0, || format!("issuer {issuer} signs off"));
        self.begin_saying(issuer, SIGN_OFF);
        let away_ns = self.streams.link.exponential(1_500 * NS_PER_MS);
        self.events.at(self.now_ns + away_ns, Event::Return { issuer });
    }

    /// It signs on again.
    pub(super) fn on_return(&mut self, issuer: u8) {
        self.links.signed_off[usize::from(issuer)] = false;
        self.begin_saying(issuer, SIGN_ON);
    }

    fn begin_saying(&mut self, issuer: u8, order: u64) {
        let says = &mut self.links.says[usize::from(issuer)];
        // Who is saying something looks again by himself.
        if says.replace(order).is_none() {
            self.say(issuer);
        }
    }

    /// What an issuer has to say goes by one of its links, until the switch has answered it.
    pub(super) fn say(&mut self, issuer: u8) {
        let Some(order) = self.links.says[usize::from(issuer)] else { return };
        let up = self.links.up(issuer);
        if !up.is_empty() {
            let line = self.streams.link.pick(&up);
            self.links.numbers += 1;
            let message = self.wire.manage(order, self.links.numbers);
            let at_ns = self.now_ns + 20 * NS_PER_US;
            self.events.at(at_ns, Event::FromIssuer { line, message });
        }
        self.events.at(self.now_ns + SAID_AGAIN_NS, Event::Say { issuer });
    }

    pub(super) fn on_from_issuer(&mut self, line: Line, message: Vec<u8>) {
        if self.links.is_current(line) && self.switch.is_up() {
            self.give(line, FromIssuer::Answer(line.id(), message));
        }
    }

    fn give(&mut self, line: Line, input: FromIssuer) {
        self.switch.unit(usize::from(line.shard)).issuers.push_back(input);
        self.wake(usize::from(line.shard));
    }

    /// A link is lost, with everything on its way, and made again after a while.
    pub(super) fn lose_link(&mut self, issuer: u8, shard: u8, link: u8) {
        let line = self.links.line(issuer, shard, link);
        if !line.turn.is_multiple_of(2) || !self.switch.is_up() {
            return;
        }
        *self.links.turn(issuer, shard, link) += 1;
        self.give(line, FromIssuer::Down(line.id()));
        let away_ns = self.streams.trouble.exponential(700 * NS_PER_MS);
        self.will_be_made(line, away_ns);
    }

    fn will_be_made(&mut self, line: Line, wait_ns: u64) {
        let process = self.switch.life;
        self.events.at(self.now_ns + wait_ns, Event::LinkUp { line, process });
    }

    pub(super) fn make_link(&mut self, line: Line, process: u32) {
        let Line { issuer, shard, link, .. } = line;
        let turn = self.links.turn(issuer, shard, link);
        if process != self.switch.life || !self.switch.is_up() || turn.is_multiple_of(2) {
            return;
        }
        *turn += 1;
        let since_ns = &mut self.links.since_ns[usize::from(shard)][usize::from(issuer)];
        since_ns[usize::from(link)] = self.now_ns;
        self.give(line, FromIssuer::Up(line.id()));
    }

    /// A process is gone: its links and rings with it.
    pub(super) fn lose_all_links(&mut self) {
        let turns = self.links.turns.iter_mut().flatten().flatten();
        turns.for_each(|turn| *turn = (*turn + 1) | 1);
    }

    /// A new process has its rings at once and makes its links one after the other.
    pub(super) fn make_all_links(&mut self) {
        for shard in 0..self.plan.shards as u8 {
            for issuer in 0..ISSUERS as u8 {
                let at = usize::from(issuer);
                if !self.plan.linked[at] {
                    *self.links.turn(issuer, shard, 0) += 1;
                    continue;
                }
                for link in 0..self.plan.sessions[at].connections {
                    let wait_ns = self.streams.trouble.exponential(300 * NS_PER_MS);
                    self.will_be_made(self.links.line(issuer, shard, link), wait_ns);
                }
            }
        }
    }
}
