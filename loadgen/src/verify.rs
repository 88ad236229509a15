//! Whether a response is right: of the type that answers its request, with the request's fields as
//! they were sent, with a response code, and with an approval code where money moves.
//!
//! Not here: which request it answers (see `exchange`).

use crate::decimal;
use crate::merchants::Merchant;
use crate::message::{Conventions, processing_code};
use crate::mix::Kind;
use crate::transaction::Transaction;
use tapswitch_protocol::{FieldSet, MessageView, ResponseCode};

/// What can be wrong with what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Messages can no longer be told apart; the connection is given up.
    FramingLost,
    /// A frame whose header cannot be used, or that says it was refused unread.
    BadHeader,
    /// Not a message of the dialect.
    Unreadable,
    /// A response to nothing that was asked.
    Orphan,
    /// A second response.
    Duplicate,
    /// A response after its deadline.
    Late,
    /// A response on another connection than its request.
    WrongConnection,
    /// Not the type that answers the request.
    WrongMti,
    /// A field that is to come back as it was sent does not.
    ChangedEcho,
    /// No DE 39, or not two letters or digits.
    NoResponseCode,
    /// An approved purchase or pre-authorization without DE 38.
    NoApprovalCode,
}

impl Problem {
    /// All, in the order of the enumeration.
    pub const ALL: [Self; 11] = [
        Self::FramingLost,
        Self::BadHeader,
        Self::Unreadable,
        Self::Orphan,
        Self::Duplicate,
        Self::Late,
        Self::WrongConnection,
        Self::WrongMti,
        Self::ChangedEcho,
        Self::NoResponseCode,
        Self::NoApprovalCode,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FramingLost => "framing_lost",
            Self::BadHeader => "bad_header",
            Self::Unreadable => "unreadable",
            Self::Orphan => "orphan",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::WrongConnection => "wrong_connection",
            Self::WrongMti => "wrong_mti",
            Self::ChangedEcho => "changed_echo",
            Self::NoResponseCode => "no_response_code",
            Self::NoApprovalCode => "no_approval_code",
        }
    }
}

/// What was found in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// DE 39.
    pub(crate) code: Option<ResponseCode>,
    /// Whether the type answers the request's.
    pub(crate) mti_is_right: bool,
    /// Fields that are not as they were sent.
    pub(crate) changed: FieldSet,
    /// Whether DE 38 is there, or not needed.
    pub(crate) approval_is_there: bool,
}

impl Verdict {
    /// The problems, if any.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        let found = [
            (!self.mti_is_right, Problem::WrongMti),
            (!self.changed.is_empty(), Problem::ChangedEcho),
            (self.code.is_none(), Problem::NoResponseCode),
            (!self.approval_is_there, Problem::NoApprovalCode),
        ];
        found.into_iter().filter_map(|(is_there, problem)| is_there.then_some(problem))
    }

    /// Whether nothing is wrong.
    #[inline]
    pub(crate) fn is_right(&self) -> bool {
        self.mti_is_right
            && self.changed.is_empty()
            && self.code.is_some()
            && self.approval_is_there
    }
}

/// Judges the response to `asked`.
#[inline]
pub(crate) fn verify(
    conventions: &Conventions,
    asked: &Transaction,
    merchant: &Merchant,
    response: &MessageView<'_>,
) -> Verdict {
    let code = response.response_code();
    let kind = asked.kind;
    let mut changed = FieldSet::EMPTY;
    let mut expect = |field: u8, sent: &[u8]| {
        if response.raw(field) != Some(sent) {
            changed = changed.with(field);
        }
    };
    expect(7, &asked.transmission);
    expect(11, &asked.stan_text);
    expect(33, conventions.forwarder.digits());
    if !kind.is_network_management() {
        expect(2, asked.card.pan.digits());
        expect(3, processing_code(kind));
        expect(12, &asked.local_time);
        expect(13, &asked.local_date);
        expect(32, conventions.acquirer.digits());
        expect(37, &asked.rrn);
        expect(41, &merchant.terminal);
        expect(42, &merchant.id);
        expect(49, b"156");
        // A partial approval says in DE 4 how much is approved.
        if kind != Kind::Balance
            && !(code == Some(ResponseCode::PARTIAL_APPROVAL) && response.has(4))
        {
            expect(4, &decimal::text::<12>(asked.amount_minor));
        }
    }
    let needs_approval = (kind.is_purchase() || kind == Kind::PreAuthorization)
        && code.is_some_and(ResponseCode::is_approval);
    Verdict {
        code,
        mti_is_right: conventions.mti(kind).response() == Some(response.mti()),
        changed,
        approval_is_there: !needs_approval || response.has(38),
    }
}
