//! Notices about a card that has been decided on already: results of the issuer's scripts (0620, DE 70
//! 951 on UnionPay's interface). Accepted once recorded, counted nowhere, owed to the issuer.

use super::delivery::Gate;
use super::forward::Recalled;
use super::intake::{self, StagedRequest};
use super::outcomes::Note;
use super::own_answer::Reason;
use super::{Counter, Incoming, Now, Outbox, Shard};
use crate::limits::FRAME_BYTES_MAX;
use tapswitch_protocol::ResponseCode;
use tapswitch_protocol::tlv::TlvReader;

/// Of chip data a notice says how scripts ended (DF31), at which transaction of the card (9F36), and how
/// terminal and card saw it (95, 9F10, 9F1E): nothing that proves a card or its holder.
const TOLD_TAGS: [u32; 5] = [0xDF31, 0x9F36, 0x95, 0x9F10, 0x9F1E];

impl Shard {
    /// 0620.
    pub(super) fn accept_notice(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let pan = intake::check_pan(staged.pan)?;
        if incoming.profile.duplicate_key.has(7) && !incoming.view.has(7) {
            return Err(Reason::Format(7));
        }
        if let Recalled::Done = self.recall(now, incoming, staged, outbox)? {
            return Ok(());
        }
        let (first, _) = self.routing.route(&pan).ok_or(Reason::NoRoute)?;
        let original = self.own_original(incoming, staged);
        let issuer = self.holder(now, (incoming, staged), original.as_ref()).unwrap_or(first);
        if !self.legs.speaks(issuer, incoming.profile.dialect) {
            return Err(Reason::IssuerDown);
        }
        let mut chip = [0; FRAME_BYTES_MAX];
        let chip = told_chip_data(incoming, &mut chip);
        let whose = (issuer, staged.card);
        let owed = self.store_notice(
            now,
            incoming,
            whose,
            (original.as_ref().map(|(_, record)| record), chip),
            outbox,
        )?;
        self.counters.add(Counter::Notices);
        self.remember_own(now, incoming, staged, ResponseCode::APPROVED, outbox);
        let note = Note::answered(Counter::Notices, ResponseCode::APPROVED);
        self.note(now, incoming, note);
        self.answer_approved(now, incoming, Gate::Durable, outbox);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
        Ok(())
    }
}

/// DE 55 as it is written, with the tags that may be kept; `None` where there are none, or the dialect
/// writes its length in another way.
fn told_chip_data<'a>(
    incoming: &Incoming<'_>,
    out: &'a mut [u8; FRAME_BYTES_MAX],
) -> Option<&'a [u8]> {
    const LENGTH_DIGITS: usize = 3;
    let (wire, raw) = (incoming.view.wire(55)?, incoming.view.raw(55)?);
    if wire.len() != raw.len() + LENGTH_DIGITS {
        return None;
    }
    let mut end = LENGTH_DIGITS;
    for object in TlvReader::new(raw).map_while(Result::ok) {
        // UnionPay's tags have one or two bytes, and these values fewer than 128.
        let length = u8::try_from(object.value.len()).ok().filter(|length| *length < 128)?;
        if TOLD_TAGS.contains(&object.tag) {
            let [.., high, low] = object.tag.to_be_bytes();
            let head = [high, low, length];
            let head = if high == 0 { head.get(1..)? } else { &head[..] };
            for part in [head, object.value] {
                out.get_mut(end..end + part.len())?.copy_from_slice(part);
                end += part.len();
            }
        }
    }
    let count = end - LENGTH_DIGITS;
    for (digit, scale) in out.iter_mut().zip([100, 10, 1]) {
        // Below ten.
        *digit = b'0' + (count / scale % 10) as u8;
    }
    (count > 0).then(|| out.get(..end))?
}
