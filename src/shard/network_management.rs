//! Network management: sign-on, sign-off, echo test (DE 70 of 0800 and 0820).

use super::connections::Session;
use super::own_answer::Reason;
use tapswitch_protocol::MessageView;

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
