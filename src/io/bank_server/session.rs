//! What is said about sessions: the switch's sign-on, sign-off and echoes, which are counted, and the
//! bank's own, on connections that the bank makes: the one who connects signs on, and off before it
//! ends.
//!
//! Not here: the answers to what the switch asks (`bank`).

use super::accepting::Site;
use crate::bank::{SessionOrder, SessionTotals, write_session};
use crate::io::issuer_connection::{CUPS_ISSUER, CUPS_SWITCH, link_header};
use crate::limits::FRAME_BYTES_MAX;
use crate::shard::Now;
use tapswitch_protocol::{FieldTable, ResponseCode, Stan};

/// How one connection's session stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    /// The switch has signed on.
    signed_on: bool,
    /// The number of the bank's own sign-on, while it is not answered.
    asked: Option<Stan>,
}

impl Session {
    /// Whether it waits for the answer under this number.
    pub(super) fn asked(&self, stan: Stan) -> bool {
        self.asked == Some(stan)
    }

    /// The answer is there.
    pub(super) const fn on_answer(&mut self) {
        self.asked = None;
    }
}

/// What a message is to the desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It wants an answer.
    Request,
    /// It is one, to nothing that matters.
    Answer,
    /// It is the answer to a message of the bank about its session.
    Told {
        /// The number of that message.
        stan: Stan,
        /// Whether the switch agrees.
        is_granted: bool,
    },
}

/// Counts what a message says about its session, and what comes without one.
pub(super) fn hear(
    site: &Site,
    (session, totals): (&mut Session, &mut SessionTotals),
    body: &[u8],
) -> Heard {
    let is_answer = body.get(2).is_some_and(|digit| digit % 2 == 1);
    if !body.starts_with(b"08") {
        totals.without_sign_on += u64::from(!session.signed_on && !is_answer);
        return if is_answer { Heard::Answer } else { Heard::Request };
    }
    let mut table = FieldTable::default();
    let view = site.link.dialect.parse(body, &mut table).ok();
    if is_answer {
        let Some(stan) = view.as_ref().and_then(|view| view.stan()) else { return Heard::Answer };
        let code = view.as_ref().and_then(|view| view.response_code());
        return Heard::Told { stan, is_granted: code.is_some_and(ResponseCode::is_approval) };
    }
    match view.as_ref().and_then(|view| view.number(70)) {
        Some(1) => {
            totals.sign_ons += 1;
            session.signed_on = true;
        }
        Some(2) => {
            totals.sign_offs += 1;
            session.signed_on = false;
        }
        Some(301) => totals.echoes += 1,
        Some(_) | None => {}
    }
    Heard::Request
}

/// The bank's own sign-on or sign-off under this number, as a frame.
pub(super) fn say<'f>(
    site: &Site,
    session: &mut Session,
    (now, number): (Now, Stan),
    order: SessionOrder,
    frame: &'f mut [u8; FRAME_BYTES_MAX],
) -> Option<&'f [u8]> {
    let framing = site.link.framing;
    let header = link_header(framing, (CUPS_SWITCH, CUPS_ISSUER));
    let out = &mut frame[..];
    let body_at = framing.begin(&header, out)?;
    let numbers = (now.wall_ms, number);
    let bytes = write_session(site.link.dialect, numbers, order, out.get_mut(body_at..)?)?;
    framing.finish(out, body_at + bytes);
    session.asked = (order == SessionOrder::SignOn).then_some(number);
    out.get(..body_at + bytes)
}
