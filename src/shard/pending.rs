//! Requests waiting for their issuer: a fixed slab, each entry with its own trace number, its kept
//! message and exactly one deadline.

use super::duplicate::DuplicateKey;
use super::fair_share::FairShare;
use super::identity::{AcquirerId, CardKey, ConnectionId, IssuerId, Now};
use super::kept::KeptRef;
use super::totals::Sort;
use super::velocity::Reservation;
use crate::config::AcquirerConfig;
use std::rc::Rc;
use tapswitch_protocol::{AmountMinor, Mti, ProcessingCode, Stan, TokenData, TransmissionTime};

/// One request under way.
pub(super) struct PendingRequest {
    /// Who gets the answer: the newest transmission's connection.
    pub(super) origin: ConnectionId,
    /// Who asked first, and holds a place of the table.
    pub(super) acquirer: AcquirerId,
    /// The acquirer's profile when it was forwarded: it ends by that.
    pub(super) profile: Rc<AcquirerConfig>,
    /// Type of the request.
    pub(super) mti: Mti,
    /// Whom it was forwarded to.
    pub(super) issuer: IssuerId,
    /// Our trace number on the issuer leg.
    pub(super) stan: Stan,
    /// Our DE 7 on the issuer leg.
    pub(super) sent: TransmissionTime,
    /// Under which it is remembered.
    pub(super) key: DuplicateKey,
    /// Card, processing code and amount, hashed: what a repeat must agree in.
    pub(super) fingerprint: u64,
    /// The card.
    pub(super) card: CardKey,
    /// DE 4.
    pub(super) amount: AmountMinor,
    /// DE 3.
    pub(super) processing: ProcessingCode,
    /// What it is in the totals.
    pub(super) sort: Sort,
    /// What was reserved of its limits.
    pub(super) reservation: Reservation,
    /// The cardholder proved himself with a PIN.
    pub(super) pin: bool,
    /// By which token it was paid, where somebody may ask for that again.
    pub(super) token_data: TokenData,
    /// Its approval opens a hold.
    pub(super) opens_hold: bool,
    /// The hold that this completes.
    pub(super) completes: Option<DuplicateKey>,
    /// The original that this void takes back.
    pub(super) void_of: Option<DuplicateKey>,
    /// Header and kept fields of the request.
    pub(super) kept: KeptRef,
    /// How many of the kept bytes are the frame's header.
    pub(super) header_bytes: u8,
    /// DE 2 was made from DE 35, so the answer does not carry it.
    pub(super) pan_from_track: bool,
    /// DE 2 of what is kept is a token; its issuer knows the card.
    pub(super) is_token: bool,
    /// When its batch began.
    pub(super) arrived_ns: u64,
    /// Time spent in the switch until its batch ended.
    pub(super) before_ns: u64,
}

/// Fixed slab of pending requests.
pub(super) struct Pending {
    entries: Vec<Option<PendingRequest>>,
    free: Vec<u32>,
    /// The journal's number of each entry's record; 0 without an entry or a journal.
    lsns: Vec<u64>,
    /// Whose they are.
    shares: FairShare,
}

impl Pending {
    pub(super) fn new(count: usize, acquirers: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            entries: (0..count).map(|_| None).collect(),
            free: (0..count).rev().collect(),
            lsns: vec![0; count as usize],
            shares: FairShare::new(acquirers),
        }
    }

    /// From which record on the journal must be read to know of every entry.
    pub(super) fn oldest_lsn(&self) -> Option<u64> {
        self.lsns.iter().copied().filter(|&lsn| lsn != 0).min()
    }

    /// The place that the next entry will take; `None` when full.
    #[inline]
    pub(super) fn next_place(&self) -> Option<u32> {
        self.free.last().copied()
    }

    /// Whether this acquirer may have one more entry, or is to leave what is left to others.
    #[inline]
    pub(super) fn admits_share(&mut self, acquirer: AcquirerId, now: Now) -> bool {
        // At most PENDING_MAX.
        let places = self.entries.len() as u32;
        self.shares.admits(acquirer, places, now.mono_ns)
    }

    /// Puts an entry at [`Pending::next_place`].
    pub(super) fn insert(&mut self, lsn: u64, request: PendingRequest) {
        let place = self.free.pop();
        if let Some(of_place) = place.and_then(|place| self.lsns.get_mut(place as usize)) {
            *of_place = lsn;
        }
        let entry = place.and_then(|place| self.entries.get_mut(place as usize));
        let entry = entry.filter(|entry| entry.is_none());
        assert!(entry.is_some(), "Invariant: a free place of the pending table is empty");
        if let Some(entry) = entry {
            self.shares.take(request.acquirer);
            *entry = Some(request);
        }
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&PendingRequest> {
        self.entries.get(place as usize).and_then(Option::as_ref)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut PendingRequest> {
        self.entries.get_mut(place as usize).and_then(Option::as_mut)
    }

    #[inline]
    pub(super) fn remove(&mut self, place: u32) -> Option<PendingRequest> {
        let entry = self.entries.get_mut(place as usize)?.take()?;
        self.free.push(place);
        self.shares.give(entry.acquirer);
        *self.lsns.get_mut(place as usize)? = 0;
        Some(entry)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }
}
