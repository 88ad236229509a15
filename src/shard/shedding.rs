//! New requests that are refused at once because there is too much to do: beyond their acquirer's share
//! of an issuer or of the pending table, or so long in the switch before they were decided that their
//! answer could be late. Refusals for want of room are counted together, so that whoever drives the
//! shard knows what part of its work they are.
//!
//! Only 0100 and 0200 are shed: nothing here is asked of advices, notices, reversals and network
//! management.
//!
//! Not here: the shares (`fair_share`); the issuer's window and links (`issuer_link`); the refusal's
//! answer (`delivery`).

use super::own_answer::Reason;
use super::{AcquirerId, Incoming, IssuerId, Now, Shard};

impl Shard {
    /// Messages decided from here on, until this is called again or the batch ends, came at this
    /// moment. Whoever does not say so has brought them at once.
    #[inline]
    pub fn on_arrival(&mut self, arrived_ns: u64) {
        self.arrived_ns = arrived_ns;
    }

    /// Messages refused so far because there was no room for them, or no way to their issuer.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// When the message being decided came.
    #[inline]
    pub(super) fn arrival_ns(&self, now: Now) -> u64 {
        self.arrived_ns.min(now.mono_ns)
    }

    /// Of the time that an acquirer waits, the part that is not its issuer's is half for the way in
    /// and half for the way out. A request that has used up the first half is not forwarded: its
    /// issuer's time might end when its acquirer listens no more.
    #[inline]
    pub(super) fn check_in_time(&self, now: Now, incoming: &Incoming<'_>) -> Result<(), Reason> {
        if self.arrived_ns >= now.mono_ns {
            return Ok(());
        }
        let waited_ns = now.mono_ns - self.arrived_ns;
        let profile = incoming.profile;
        let mcc = incoming.view.number(18).and_then(|mcc| u16::try_from(mcc).ok());
        let margin_ms = match mcc {
            Some(mcc) if profile.transit_mccs.contains(&mcc) => profile.transit_answer_margin_ms,
            _ => profile.answer_margin_ms,
        };
        if waited_ns > margin_ms * 1_000_000 / 2 { Err(Reason::TooLate) } else { Ok(()) }
    }

    /// Whether its acquirer has not too much under way already.
    #[inline]
    pub(super) fn check_share(
        &mut self,
        now: Now,
        issuer: IssuerId,
        acquirer: AcquirerId,
    ) -> Result<(), Reason> {
        if !self.legs.admits_share(issuer, acquirer, now) {
            return Err(Reason::AcquirerShare);
        }
        if !self.pending.admits_share(acquirer, now) {
            return Err(Reason::TableShare);
        }
        Ok(())
    }
}
