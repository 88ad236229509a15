//! Network management: sign-on, sign-off, echo test (DE 70 of 0800 and 0820).

use super::connections::Session;
use super::own_answer::Reason;
use tapswitch_protocol::{MessageView, ResponseCode};

/// What DE 70 asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// 001
    SignOn,
    /// 002
    SignOff,
    /// 301
    EchoTest,
}

impl Order {
    /// DE 70.
    pub(super) const fn digits(self) -> &'static [u8; 3] {
        match self {
            Self::SignOn => b"001",
            Self::SignOff => b"002",
            Self::EchoTest => b"301",
        }
    }
}

/// What DE 70 of an issuer's message asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuerOrder {
    /// 001
    SignOn,
    /// 002
    SignOff,
    /// 301
    EchoTest,
    /// 201, 202: cut-off begins, ends.
    CutOff,
}

/// Reads DE 70 of an issuer's message; the code to refuse it with. Keys (101) are not taken: the
/// switch has no module to keep them in.
pub(super) fn issuer_order(view: &MessageView<'_>) -> Result<IssuerOrder, ResponseCode> {
    match view.number(70).ok_or(ResponseCode::FORMAT_ERROR)? {
        1 => Ok(IssuerOrder::SignOn),
        2 => Ok(IssuerOrder::SignOff),
        301 => Ok(IssuerOrder::EchoTest),
        201 | 202 => Ok(IssuerOrder::CutOff),
        _ => Err(ResponseCode::INVALID_TRANSACTION),
    }
}

/// Reads DE 70; key changes (101) and cut-offs (201, 202) are not served to acquirers.
pub(super) fn order(view: &MessageView<'_>) -> Result<Order, Reason> {
    match view.number(70).ok_or(Reason::Format(70))? {
        1 => Ok(Order::SignOn),
        2 => Ok(Order::SignOff),
        301 => Ok(Order::EchoTest),
        _ => Err(Reason::UnknownMti),
    }
}

/// The session after it; `None` when it does not change.
pub(super) const fn session(order: Order) -> Option<Session> {
    match order {
        Order::SignOn => Some(Session::SignedOn),
        Order::SignOff => Some(Session::SignedOff),
        Order::EchoTest => None,
    }
}
