//! The life of one transaction, as a picture and a table.
//!
//! ```text
//!             request                   issuer approves
//!  Unknown ────────────▶ InFlight ────────────────────────▶ Approved
//!     │                   │    │                               │
//!     │ reversal          │    │ issuer declines               │ reversal,
//!     ▼                   │    └──────────────▶ Declined       │ undeliverable
//!  Reversed ◀─────────────┴────────────────────────────────────┘
//!               deadline, garbled answer, reversal
//! ```
//!
//! `Declined` also holds what the switch declined by itself. `Reversed` means that whatever the
//! issuer holds is, or will be, taken back: it owes the issuer a reversal when it was forwarded.
//! The shard asks [`step`] and does what it says; nothing here knows of messages or tables.

use super::duplicate::OriginalState;

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not seen, or forgotten.
    Unknown,
    /// Forwarded, not answered.
    InFlight,
    /// Answered with an approval.
    Approved,
    /// Answered with a decline.
    Declined,
    /// Timed out, garbled, reversed or undeliverable.
    Reversed,
}

impl From<OriginalState> for State {
    fn from(state: OriginalState) -> Self {
        match state {
            OriginalState::Declined => Self::Declined,
            OriginalState::Approved => Self::Approved,
            OriginalState::Reversed => Self::Reversed,
        }
    }
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its request, or a repeat of it.
    Request,
    /// A request under the same key with another card, processing code or amount.
    Conflict,
    /// The issuer approves.
    IssuerApproves,
    /// The issuer declines.
    IssuerDeclines,
    /// The issuer's answer does not fit the request.
    IssuerGarbles,
    /// The issuer's time is over.
    Deadline,
    /// Its acquirer reverses it.
    Reversal,
    /// Its approval found no connection of its acquirer.
    Undeliverable,
}

/// What answers the message that caused the event (the waiting request, for an issuer's event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    None,
    /// Not yet: decide and forward.
    Decide,
    /// Nothing: the answer goes to this, the newest transmission, when it comes.
    Absorb,
    /// The stored answer again.
    Replay,
    /// 94.
    Conflict,
    /// The issuer's own.
    Issuer,
    /// 98/91.
    TimeOut,
    /// 96.
    MisEchoed,
    /// 00: the reversal is accepted.
    Accept,
    /// The profile's answer to a reversal of an unknown original: 00 to an advice, 25 to a request.
    UnknownOriginal,
}

/// What becomes of the velocity reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Stays as it is.
    Keep,
    /// Is undone.
    Release,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state after it.
    pub next: State,
    /// The answer.
    pub reply: Reply,
    /// The reservation.
    pub hold: Hold,
    /// Whether a reversal becomes owed to the issuer.
    pub owe_reversal: bool,
}

impl Step {
    const fn stay(next: State, reply: Reply) -> Self {
        Self { next, reply, hold: Hold::Keep, owe_reversal: false }
    }

    const fn undo(reply: Reply) -> Self {
        Self { next: State::Reversed, reply, hold: Hold::Release, owe_reversal: true }
    }
}

/// The table.
#[must_use]
pub const fn step(state: State, event: Event) -> Step {
    use {Event as E, State as S};
    match (state, event) {
        (S::Unknown, E::Request) => Step::stay(S::InFlight, Reply::Decide),
        (S::Unknown, E::Reversal) => {
            // The issuer may know what we forgot: it is told, and the request cannot come after.
            Step { owe_reversal: true, ..Step::stay(S::Reversed, Reply::UnknownOriginal) }
        }
        (
            S::Unknown,
            E::Conflict
            | E::IssuerApproves
            | E::IssuerDeclines
            | E::IssuerGarbles
            | E::Deadline
            | E::Undeliverable,
        ) => Step::stay(S::Unknown, Reply::None),

        (S::InFlight, E::Request) => Step::stay(S::InFlight, Reply::Absorb),
        (S::InFlight, E::Conflict) => Step::stay(S::InFlight, Reply::Conflict),
        (S::InFlight, E::IssuerApproves) => Step::stay(S::Approved, Reply::Issuer),
        (S::InFlight, E::IssuerDeclines) => {
            Step { hold: Hold::Release, ..Step::stay(S::Declined, Reply::Issuer) }
        }
        (S::InFlight, E::IssuerGarbles) => Step::undo(Reply::MisEchoed),
        (S::InFlight, E::Deadline) => Step::undo(Reply::TimeOut),
        // The request itself is answered 98/91 at once.
        (S::InFlight, E::Reversal) => Step::undo(Reply::Accept),
        (S::InFlight, E::Undeliverable) => Step::stay(S::InFlight, Reply::None),

        (S::Approved, E::Request) => Step::stay(S::Approved, Reply::Replay),
        (S::Approved, E::Conflict) => Step::stay(S::Approved, Reply::Conflict),
        (S::Approved, E::Reversal) => Step::undo(Reply::Accept),
        (S::Approved, E::Undeliverable) => Step::undo(Reply::None),
        // Late or repeated answers of the issuer change nothing and reach nobody.
        (S::Approved, E::IssuerApproves | E::IssuerDeclines | E::IssuerGarbles | E::Deadline) => {
            Step::stay(S::Approved, Reply::None)
        }

        (S::Declined, E::Request) => Step::stay(S::Declined, Reply::Replay),
        (S::Declined, E::Conflict) => Step::stay(S::Declined, Reply::Conflict),
        (S::Declined, E::Reversal) => Step::stay(S::Declined, Reply::Accept),
        (
            S::Declined,
            E::IssuerApproves
            | E::IssuerDeclines
            | E::IssuerGarbles
            | E::Deadline
            | E::Undeliverable,
        ) => Step::stay(S::Declined, Reply::None),

        (S::Reversed, E::Request) => Step::stay(S::Reversed, Reply::Replay),
        (S::Reversed, E::Conflict) => Step::stay(S::Reversed, Reply::Conflict),
        (S::Reversed, E::Reversal) => Step::stay(S::Reversed, Reply::Accept),
        (
            S::Reversed,
            E::IssuerApproves
            | E::IssuerDeclines
            | E::IssuerGarbles
            | E::Deadline
            | E::Undeliverable,
        ) => Step::stay(S::Reversed, Reply::None),
    }
}

/// Every state, for tests and tools.
pub const STATES: [State; 5] =
    [State::Unknown, State::InFlight, State::Approved, State::Declined, State::Reversed];

/// Every event, for tests and tools.
pub const EVENTS: [Event; 8] = [
    Event::Request,
    Event::Conflict,
    Event::IssuerApproves,
    Event::IssuerDeclines,
    Event::IssuerGarbles,
    Event::Deadline,
    Event::Reversal,
    Event::Undeliverable,
];
