//! What issuers' links bring: answers, losses, and links made again.

use super::Driver;
use crate::io::decider::Decider;
use crate::io::issuer_links::{LinkEvent, LinkRead};
use crate::limits::FRAME_BYTES_MAX;
use crate::shard::Now;
use tapswitch_protocol::FrameStep;

impl<D: Decider> Driver<D> {
    /// Takes what links brought, in the order in which it came. Tells how many inputs that were.
    pub(super) fn take_links(&mut self, now: Now) -> usize {
        self.ports.links.look(now.mono_ns);
        let mut taken = 0;
        while self.may_take_inputs()
            && self.finish_loss(now)
            && let Some(event) = self.ports.links.pop_event()
        {
            match event {
                LinkEvent::Up(link) => self.decider.on_issuer_up(now, link),
                LinkEvent::Down(link) => self.losing = Some(link),
                LinkEvent::Read(read) => taken += self.take_link_read(now, read),
            }
            taken += 1;
        }
        if taken > 0 {
            self.finish_loss(now);
            self.settle(now);
        }
        taken
    }

    /// Ends what was in flight on a link that was lost, as far as the journal has room. Tells whether
    /// that is all.
    fn finish_loss(&mut self, now: Now) -> bool {
        while let Some(link) = self.losing {
            if !self.may_take_inputs() {
                return false;
            }
            if !self.decider.on_issuer_down(now, link, &mut self.outbox) {
                self.losing = None;
            }
            self.act(now);
        }
        true
    }

    fn take_link_read(&mut self, now: Now, read: LinkRead) -> usize {
        let (mut taken, mut consumed) = (0, 0);
        let intact = loop {
            let rest = read.buffer.filled().get(consumed..).unwrap_or_default();
            if rest.is_empty() {
                break true;
            }
            let body = match read.framing.next(rest, FRAME_BYTES_MAX) {
                Ok(FrameStep::Message { body, bytes, .. }) => {
                    consumed += bytes;
                    body
                }
                Ok(FrameStep::Probe { bytes }) => {
                    consumed += bytes;
                    continue;
                }
                // Whatever it was, it is no answer: the shard counts what matches nothing.
                Ok(FrameStep::Unusable { bytes, .. }) => {
                    consumed += bytes;
                    &[]
                }
                Ok(FrameStep::Incomplete { .. }) => break true,
                Err(_) => break false,
            };
            self.make_room(now);
            let (link, acquirer) = (read.link, read.acquirer);
            self.decider.on_issuer_response(now, link, acquirer, body, &mut self.outbox);
            taken += 1;
        };
        self.ports.links.give_back(read, intact.then_some(consumed), now.mono_ns);
        taken
    }
}
