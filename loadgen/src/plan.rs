//! What a run is to do: where to connect, what to ask, how fast, for how long.

use crate::cards::PopulationError;
use crate::iin::IinTable;
use crate::mix::{Mix, MixError};
use crate::numbers::STAN_COUNT;
use std::net::SocketAddr;
use std::time::Duration;
use tapswitch_protocol::{Dialect, Framing, Mti, ResponseCode};

/// The dialects that loadgen speaks, each with the conventions that no field table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadDialect {
    /// The UnionPay switch interface: reversals are 0420, network management is 0820.
    Cups,
    /// ISO 8583:1987, all ASCII: reversals are 0400, network management is 0800.
    Iso87Ascii,
}

impl LoadDialect {
    /// The dialect of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "cups" => Some(Self::Cups),
            "iso87-ascii" => Some(Self::Iso87Ascii),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cups => "cups",
            Self::Iso87Ascii => "iso87-ascii",
        }
    }

    /// Its table.
    #[must_use]
    pub fn table(self) -> &'static Dialect {
        match self {
            Self::Cups => Dialect::cups(),
            Self::Iso87Ascii => Dialect::iso87_ascii(),
        }
    }

    /// The framing it usually comes in.
    #[must_use]
    pub const fn usual_framing(self) -> Framing {
        match self {
            Self::Cups => Framing::Cups,
            Self::Iso87Ascii => Framing::Be2,
        }
    }

    pub(crate) const fn reversal_mti(self) -> Mti {
        match self {
            Self::Cups => Mti::REVERSAL_ADVICE,
            Self::Iso87Ascii => Mti::REVERSAL_REQUEST,
        }
    }

    pub(crate) const fn network_mti(self) -> Mti {
        match self {
            Self::Cups => Mti::NETWORK_ADVICE,
            Self::Iso87Ascii => Mti::NETWORK_REQUEST,
        }
    }
}

/// How fast to ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Open loop: so many requests a second, however fast they are answered.
    PerSecond(f64),
    /// Closed loop: as soon as a place in the window is free. Finds the most that can be had; its
    /// latencies are not response times.
    Max,
}

/// How arrivals of an open loop are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// Independent of each other, as taps of many people are.
    Poisson,
}

/// Institution identification: digits of DE 32 or 33, at most 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstitutionId {
    digits: [u8; 11],
    count: u8,
}

impl InstitutionId {
    /// From its digits; `None` unless there are 1 to 11.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = [b' '; 11];
        digits.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then_some(Self { digits, count: u8::try_from(text.len()).ok()? })
    }

    /// Its digits.
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        self.digits.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Left-justified in 11 places, filled with spaces, as headers have it.
    pub(crate) const fn space_filled(&self) -> &[u8; 11] {
        &self.digits
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where the switch listens.
    pub target: SocketAddr,
    /// What to speak.
    pub dialect: LoadDialect,
    /// How messages are told apart on the wire.
    pub framing: Framing,
    /// Connections.
    pub connections: u32,
    /// Unanswered requests that a connection may have.
    pub in_flight: u32,
    /// How fast to ask.
    pub rate: Rate,
    /// How arrivals are spread; of no meaning with [`Rate::Max`].
    pub arrivals: Arrivals,
    /// How long to ask, in seconds.
    pub seconds: f64,
    /// Fixes cards, kinds, amounts and arrivals.
    pub seed: u64,
    /// Exponent of Zipf's law of how often cards are used; 0 is uniform.
    pub zipf_s: f64,
    /// Cards.
    pub cards: u64,
    /// How often each kind of transaction comes.
    pub mix: Mix,
    /// Prefixes that the cards have.
    pub iins: IinTable,
    /// DE 32 of every request.
    pub acquirer: InstitutionId,
    /// DE 33 of every request.
    pub forwarder: InstitutionId,
    /// Core to pin the calling thread to while it runs.
    pub pin_core: Option<usize>,
    /// Whether every connection signs on before the first request.
    pub sign_on: bool,
    /// How long to wait for an answer; then the request counts as unanswered.
    pub answer_deadline: Duration,
    /// Codes that say that there was no room for a request: they are told apart.
    pub shed_codes: Vec<ResponseCode>,
}

/// Why a plan cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No connections or no window, or more than there are trace numbers to tell them apart.
    #[error("connections and requests in flight are at least 1, and their product at most 500,000")]
    Window,
    /// Not a number above 0.
    #[error("the rate is a number above 0 and at most 10,000,000 a second, or max")]
    Rate,
    /// Not a number above 0.
    #[error("the duration is a number of seconds above 0 and at most a day")]
    Seconds,
    /// Not above 0.
    #[error("the deadline for an answer is above 0 and at most an hour")]
    Deadline,
    /// Terminals' framing.
    #[error("framing with TPDU is for terminals; acquirers speak cups or be2 framing")]
    Framing,
    /// See [`PopulationError`].
    #[error(transparent)]
    Population(#[from] PopulationError),
    /// See [`MixError`].
    #[error(transparent)]
    Mix(#[from] MixError),
}

/// Half the trace numbers may be in flight.
const WINDOW_MAX: u64 = STAN_COUNT as u64 / 2;

impl LoadPlan {
    /// A plan with the usual values: 16 connections with 64 in flight, 10^7 cards, 10 seconds as
    /// fast as can be.
    #[must_use]
    pub fn new(target: SocketAddr, dialect: LoadDialect) -> Self {
        let acquirer = InstitutionId { digits: *b"03330000   ", count: 8 };
        Self {
            target,
            dialect,
            framing: dialect.usual_framing(),
            connections: 16,
            in_flight: 64,
            rate: Rate::Max,
            arrivals: Arrivals::Poisson,
            seconds: 10.0,
            seed: 1,
            zipf_s: 0.7,
            cards: 10_000_000,
            mix: Mix::default(),
            iins: IinTable::shipped(),
            acquirer,
            forwarder: acquirer,
            pin_core: None,
            sign_on: false,
            answer_deadline: Duration::from_secs(15),
            shed_codes: vec![ResponseCode::new(*b"91"), ResponseCode::new(*b"96")],
        }
    }

    /// Requests that may be unanswered at a time.
    pub(crate) fn window(&self) -> u32 {
        self.connections.saturating_mul(self.in_flight)
    }

    /// Checks what the types do not.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let window = u64::from(self.connections) * u64::from(self.in_flight);
        if !(1..=WINDOW_MAX).contains(&window) {
            return Err(PlanError::Window);
        }
        let rate_is_good = match self.rate {
            Rate::PerSecond(rate) => rate > 0.0 && rate <= 1e7,
            Rate::Max => true,
        };
        if !rate_is_good {
            return Err(PlanError::Rate);
        }
        if !(self.seconds > 0.0 && self.seconds <= 86_400.0) {
            return Err(PlanError::Seconds);
        }
        let deadline = self.answer_deadline;
        if deadline.is_zero() || deadline > Duration::from_secs(3_600) {
            return Err(PlanError::Deadline);
        }
        if self.framing == Framing::Be2Tpdu {
            return Err(PlanError::Framing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_plans_are_refused() {
        let good = LoadPlan::new(SocketAddr::from(([127, 0, 0, 1], 1)), LoadDialect::Cups);
        assert_eq!(good.check(), Ok(()));
        let refused = |change: fn(&mut LoadPlan)| {
            let mut plan = good.clone();
            change(&mut plan);
            plan.check().err()
        };
        assert_eq!(refused(|plan| plan.connections = 0), Some(PlanError::Window));
        assert_eq!(refused(|plan| plan.in_flight = 40_000), Some(PlanError::Window));
        assert_eq!(refused(|plan| plan.rate = Rate::PerSecond(0.0)), Some(PlanError::Rate));
        assert_eq!(refused(|plan| plan.rate = Rate::PerSecond(f64::NAN)), Some(PlanError::Rate));
        assert_eq!(refused(|plan| plan.seconds = -1.0), Some(PlanError::Seconds));
        assert_eq!(
            refused(|plan| plan.answer_deadline = Duration::ZERO),
            Some(PlanError::Deadline)
        );
        assert_eq!(refused(|plan| plan.framing = Framing::Be2Tpdu), Some(PlanError::Framing));
    }

    #[test]
    fn institutions_are_at_most_eleven_digits() {
        assert_eq!(InstitutionId::parse("03330000").unwrap().digits(), b"03330000");
        for wrong in ["", "123456789012", "0333 000"] {
            assert_eq!(InstitutionId::parse(wrong), None);
        }
    }
}
