//! One issuer's links of this shard: which of them carry requests, and whether the issuer is asked at
//! all.
//!
//! ```text
//!          made               0810 with 00, or         shard gives it up: no echo,
//!  ┌──────┐      ┌───────────┐  no sign-on   ┌───────┐  sign-on refused, sign-off ┌─────────┐
//!  │ Down │ ───▶ │ SigningOn │ ────────────▶ │ Ready │ ─────────────────────────▶ │ Leaving │
//!  └──────┘      └───────────┘               └───────┘                            └─────────┘
//!      ▲               │ lost                    │ lost                               │ lost
//!      └───────────────┴─────────────────────────┴────────────────────────────────────┘
//! ```
//!
//! Only a ready link takes requests; answers are taken on any. Sign-off is the issuer's, not a link's:
//! it closes all of them to requests until it signs on again, or grants a sign-on.
//!
//! Not here: messages (`link_management`), what a loss means (`link_state`), trace numbers
//! (`issuer_link`).

use super::counters::LinkGauges;
use super::identity::Now;
use crate::config::{IssuerConfig, IssuerLinkConfig};
use tapswitch_protocol::Stan;

const NS_PER_MS: u64 = 1_000_000;
/// How long an answer to a sign-on or an echo is waited for at most.
const MANAGEMENT_ANSWER_NS: u64 = 10_000 * NS_PER_MS;
/// An issuer that does not answer is asked once in so long.
const PROBE_EVERY_NS: u64 = 1_000 * NS_PER_MS;

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// There is no connection.
    Down,
    /// It is made; the issuer has not granted the sign-on.
    SigningOn,
    /// It takes requests.
    Ready,
    /// It takes no more: it is being closed, or the switch has signed off.
    Leaving,
}

/// One link.
#[derive(Clone, Copy)]
struct Link {
    state: LinkState,
    /// Requests under way on it.
    in_flight: u32,
    /// When something last came on it.
    heard_ns: u64,
    /// Our 0800 that waits for its answer, and since when.
    asked: Option<(Stan, u64)>,
    /// Echoes in a row that were not answered.
    misses: u32,
    /// Where the search for requests that it leaves behind goes on.
    search_at: usize,
}

/// By what the links of an issuer live.
#[derive(Clone, Copy)]
struct Rules {
    sign_on: bool,
    /// `None`: never asked for an echo.
    echo_idle_ns: Option<u64>,
    echo_misses: u32,
    breaker_timeouts: u32,
}

/// What is to be done about a link whose timer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Look again then.
    Wait(u64),
    /// Ask for a sign-on.
    SignOn,
    /// Ask for an echo; whether the one before was missed.
    Echo {
        /// It was.
        missed: bool,
    },
    /// The sign-on was not answered: close it.
    Silent,
    /// Too many echoes were missed: close it.
    Dead,
}

/// Why an issuer takes no request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No link is ready.
    Down,
    /// It has signed off.
    SignedOff,
    /// It has not answered for long, and was asked less than a second ago.
    Open,
    /// Its window is full.
    Full,
}

/// The links of one issuer.
pub(super) struct Links {
    links: Vec<Link>,
    rules: Rules,
    signed_off: bool,
    /// Requests in a row that timed out.
    silent: u32,
    /// When the next request may find out whether the issuer answers again.
    probe_at_ns: u64,
}

impl Links {
    /// The bank in this process has one link, which is there from the start.
    pub(super) fn new(issuer: &IssuerConfig) -> Self {
        let state = if issuer.link.is_some() { LinkState::Down } else { LinkState::Ready };
        let link = Link { state, in_flight: 0, heard_ns: 0, asked: None, misses: 0, search_at: 0 };
        let count = issuer.link.as_ref().map_or(1, |link| link.connections.max(1));
        Self {
            links: vec![link; usize::from(count)],
            rules: issuer.link.as_ref().map_or(Rules::OF_BANKS, Rules::of),
            signed_off: false,
            silent: 0,
            probe_at_ns: 0,
        }
    }

    fn link(&mut self, number: u8) -> Option<&mut Link> {
        self.links.get_mut(usize::from(number))
    }

    #[inline]
    pub(super) fn state(&self, number: u8) -> LinkState {
        self.links.get(usize::from(number)).map_or(LinkState::Down, |link| link.state)
    }

    /// Of the links that are ready the one with the fewest requests under way.
    #[inline]
    pub(super) fn least(&self) -> Option<u8> {
        let ready = (0..).zip(&self.links).filter(|(_, link)| link.state == LinkState::Ready);
        ready.min_by_key(|(_, link)| link.in_flight).map(|(number, _)| number)
    }

    /// Whether what is owed has to wait.
    #[inline]
    pub(super) fn is_down(&self) -> bool {
        self.signed_off || !self.links.iter().any(|link| link.state == LinkState::Ready)
    }

    /// Whether a new request may be forwarded now, as far as links go.
    #[inline]
    pub(super) fn admits(&self, now_ns: u64) -> Result<(), Refused> {
        if self.signed_off {
            Err(Refused::SignedOff)
        } else if self.is_down() {
            Err(Refused::Down)
        } else if self.is_open() && now_ns < self.probe_at_ns {
            Err(Refused::Open)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn is_open(&self) -> bool {
        self.rules.breaker_timeouts != 0 && self.silent >= self.rules.breaker_timeouts
    }

    /// A request goes; tells on which link.
    #[inline]
    pub(super) fn begin(&mut self, now_ns: u64) -> Option<u8> {
        let number = self.least()?;
        if self.is_open() {
            self.probe_at_ns = now_ns + PROBE_EVERY_NS;
        }
        self.link(number)?.in_flight += 1;
        Some(number)
    }

    /// A request that went on this link is over.
    #[inline]
    pub(super) fn end(&mut self, number: u8) {
        let Some(link) = self.link(number) else { return };
        assert!(link.in_flight > 0, "Invariant: a link counts every request on it once");
        link.in_flight -= 1;
    }

    pub(super) fn in_flight(&self, number: u8) -> u32 {
        self.links.get(usize::from(number)).map_or(0, |link| link.in_flight)
    }

    pub(super) fn search_at(&mut self, number: u8) -> Option<&mut usize> {
        self.link(number).map(|link| &mut link.search_at)
    }

    /// The issuer answered a request in time. Tells whether it had been given up.
    #[inline]
    pub(super) fn on_answer(&mut self) -> bool {
        let was_open = self.is_open();
        self.silent = 0;
        was_open
    }

    /// A request timed out. Tells whether the issuer is given up with it.
    pub(super) fn on_time_out(&mut self, now_ns: u64) -> bool {
        let was_open = self.is_open();
        self.silent = self.silent.saturating_add(1);
        let opens = self.is_open() && !was_open;
        if opens {
            self.probe_at_ns = now_ns + PROBE_EVERY_NS;
        }
        opens
    }

    /// Something came on this link.
    #[inline]
    pub(super) fn on_heard(&mut self, number: u8, now_ns: u64) {
        if let Some(link) = self.link(number) {
            link.heard_ns = now_ns;
        }
    }

    /// A link was made. Tells whether that is news.
    pub(super) fn make(&mut self, number: u8, now_ns: u64) -> bool {
        let sign_on = self.rules.sign_on;
        let Some(link) = self.link(number).filter(|link| link.state == LinkState::Down) else {
            return false;
        };
        link.state = if sign_on { LinkState::SigningOn } else { LinkState::Ready };
        (link.heard_ns, link.asked, link.misses) = (now_ns, None, 0);
        true
    }

    /// A link was lost. Tells whether that is news.
    pub(super) fn lose(&mut self, number: u8) -> bool {
        let Some(link) = self.link(number).filter(|link| link.state != LinkState::Down) else {
            return false;
        };
        (link.state, link.asked, link.search_at) = (LinkState::Down, None, 0);
        true
    }

    /// No more requests go on this link.
    pub(super) fn leave(&mut self, number: u8) {
        if let Some(link) = self.link(number) {
            link.state = LinkState::Leaving;
        }
    }

    /// The first ready link that the switch has to sign off from.
    pub(super) fn next_to_leave(&self) -> Option<u8> {
        let is_ready = |link: &Link| link.state == LinkState::Ready && self.rules.sign_on;
        self.links.iter().position(is_ready).map(|number| number as u8)
    }

    /// What the link's timer wants.
    pub(super) fn due(&mut self, number: u8, now: Now) -> Due {
        let Rules { echo_idle_ns, echo_misses, .. } = self.rules;
        let Some(link) = self.link(number) else { return Due::Nothing };
        match (link.state, echo_idle_ns) {
            (LinkState::SigningOn, _) => match link.asked {
                None => Due::SignOn,
                Some(_) => Due::Silent,
            },
            (LinkState::Ready, Some(idle_ns)) => {
                let idle_at_ns = link.heard_ns + idle_ns;
                match link.asked {
                    Some((_, asked_ns)) if link.heard_ns < asked_ns => {
                        link.misses += 1;
                        if link.misses >= echo_misses {
                            Due::Dead
                        } else {
                            Due::Echo { missed: true }
                        }
                    }
                    _ if now.mono_ns < idle_at_ns => {
                        (link.asked, link.misses) = (None, 0);
                        Due::Wait(idle_at_ns)
                    }
                    _ => {
                        link.misses = 0;
                        Due::Echo { missed: false }
                    }
                }
            }
            (LinkState::Ready, None) | (LinkState::Down | LinkState::Leaving, _) => Due::Nothing,
        }
    }

    /// Our 0800 leaves under this number. Tells when its answer is waited for no longer.
    pub(super) fn ask(&mut self, number: u8, stan: Stan, now_ns: u64) -> u64 {
        let wait_ns = self.rules.echo_idle_ns.unwrap_or(u64::MAX).min(MANAGEMENT_ANSWER_NS);
        if let Some(link) = self.link(number) {
            link.asked = Some((stan, now_ns));
        }
        now_ns + wait_ns
    }

    /// An answer to our 0800, whichever link brought it: of links of one direction each, the ways there
    /// and back need not be of one pair. Tells which link was asked, and the state that it is in.
    pub(super) fn on_management_answer(
        &mut self,
        stan: Stan,
        now_ns: u64,
    ) -> Option<(u8, LinkState)> {
        let is_asked = |link: &Link| link.asked.is_some_and(|(asked, _)| asked == stan);
        let number = self.links.iter().position(is_asked)?;
        let link = self.links.get_mut(number)?;
        (link.asked, link.misses, link.heard_ns) = (None, 0, now_ns);
        // At most LINKS_MAX.
        Some((number as u8, link.state))
    }

    /// The issuer granted the sign-on.
    pub(super) fn sign_on(&mut self, number: u8) {
        self.signed_off = false;
        if let Some(link) = self.link(number) {
            link.state = LinkState::Ready;
        }
    }

    /// The issuer signs off or on. Tells whether that is news.
    pub(super) fn set_signed_off(&mut self, signed_off: bool) -> bool {
        core::mem::replace(&mut self.signed_off, signed_off) != signed_off
    }

    /// When a link that is ready wants to be looked at.
    pub(super) fn echo_at_ns(&self, now_ns: u64) -> Option<u64> {
        self.rules.echo_idle_ns.map(|idle_ns| now_ns + idle_ns)
    }

    /// How they stand.
    pub(super) fn gauges(&self) -> LinkGauges {
        let is_ready = |link: &&Link| link.state == LinkState::Ready;
        LinkGauges {
            // At most LINKS_MAX.
            links: self.links.len() as u8,
            ready: self.links.iter().filter(is_ready).count() as u8,
            is_open: self.is_open(),
            signed_off: self.signed_off,
        }
    }
}

impl Rules {
    /// A bank in this process needs no sign-on and no echo: it is there as long as the switch is.
    const OF_BANKS: Self =
        Self { sign_on: false, echo_idle_ns: None, echo_misses: 0, breaker_timeouts: 0 };

    fn of(link: &IssuerLinkConfig) -> Self {
        Self {
            sign_on: link.sign_on,
            echo_idle_ns: Some(link.echo_idle_ms * NS_PER_MS),
            echo_misses: link.echo_misses,
            breaker_timeouts: link.breaker_timeouts,
        }
    }
}
