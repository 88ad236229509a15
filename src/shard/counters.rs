//! What a shard counted, by what and why. One writer, read by others through [`Published`].

use super::identity::IssuerId;
use super::levels::Levels;
use super::parked::ParkedMessage;
use super::saf::OwedCounts;
use super::switch_time::SwitchTime;
use crate::limits::ISSUERS_MAX;
use crate::named_list::named_list;
use hdrhistogram::Histogram;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

named_list! {
    /// Everything that is counted; names are `what{why}`.
    Counter:
    Received "received" "whole messages taken from acquirers";
    AnsweredByIssuer "answered{issuer}" "answers made from an issuer's answer";
    AnsweredBySwitch "answered{switch}" "answers that the switch gave by itself";
    Replayed "duplicate{replayed}" "repeats answered from memory";
    Absorbed "duplicate{absorbed}" "repeats joined to their request in flight";
    Conflict "duplicate{conflict}" "same key with other contents, answered 94";
    Approved "approved" "approvals delivered or queued for delivery";
    DroppedUnreadable "dropped{unreadable}" "no MTI or no DE 11: nothing to answer to";
    DroppedResponseMti "dropped{response_mti}" "a response type on an acquirer connection";
    DroppedHeader "dropped{header}" "well-framed, but its header cannot be used";
    DroppedRejected "dropped{rejected}" "sent back by the network as undeliverable";
    FrameZero "frame_bad{zero}" "connections closed for a length of 0";
    FrameTooLong "frame_bad{too_long}" "connections closed for a length above the maximum";
    FrameNotDigits "frame_bad{not_digits}" "connections closed for a length that is not digits";
    FrameTimeout "frame_timeout" "connections closed for a frame that never ended";
    SlowConsumer "slow_consumer" "connections closed because answers were not read";
    RefusedMti "refused{mti}" "types or network codes that are not served";
    RefusedFormat "refused{format}" "not well-formed, or a mandatory field missing";
    RefusedCard "refused{card}" "PAN of an impossible length";
    RefusedAmount "refused{amount}" "amount zero";
    RefusedCurrency "refused{currency}" "amounts that the card's limits cannot be held against";
    RefusedNotSignedOn "refused{not_signed_on}" "transactions before sign-on or after sign-off";
    RefusedTokenUnknown "refused{token_unknown}" "numbers in a range of tokens that are none";
    RefusedTokenNotActive "refused{token_not_active}" "tokens that wait, are suspended or deleted";
    RefusedTokenExpired "refused{token_expired}" "tokens whose last month is over";
    RefusedTokenNotHere "refused{token_not_here}" "tokens whose requestor is off, or has no business there";
    RefusedTokenCounter "refused{token_counter}" "payments whose counter was seen before, or is too old to know";
    RefusedTokenCryptogram "refused{token_cryptogram}" "payments whose cryptogram is wrong";
    RefusedTokenDenied "refused{token_denied}" "tokens on the list of those that gates keep out";
    RefusedNoRoute "refused{no_route}" "IIN of no issuer";
    RefusedIssuerWindow "refused{issuer_window}" "the issuer's window is full";
    RefusedIssuerDown "refused{issuer_down}" "the issuer's link is down or of another dialect";
    RefusedNoStan "refused{no_stan}" "no trace number free";
    RefusedDraining "refused{draining}" "the switch is stopping";
    RefusedAmountLimit "refused{amount_limit}" "velocity by amount";
    RefusedCountLimit "refused{count_limit}" "velocity by count";
    RefusedVelocityFull "refused{velocity_full}" "no line left for a new card";
    RefusedPendingFull "refused{pending_full}" "no room for another request in flight";
    RefusedHoldsFull "refused{holds_full}" "no room for another open pre-authorization";
    RefusedSafFull "refused{saf_full}" "too many reversals and advices owed";
    RefusedJournalFull "refused{journal_full}" "the journal's disk is nearly full";
    RefusedNoCredit "refused{no_credit}" "no slot free on the ring to the card's shard";
    RefusedOriginal "refused{original}" "about an original that is not known or does not stand";
    CompletionUnmatched "completion{unmatched}" "completions of no hold that is open here";
    AdviceOverLimit "advice{over_limit}" "advices counted above a limit";
    AdviceUncounted "advice{uncounted}" "advices in a currency that no limit is in";
    TokenTranslated "token{translated}" "messages with a token whose card was found";
    TokenProved "token{proved}" "payments whose cryptogram was verified here";
    TokenJumped "token{counter_jumped}" "of these, counters that grew by more than 1,000 at once";
    TokenChanged "token{changed}" "tokens made or changed by order";
    DroppedTap "dropped{tap}" "messages with a token whose connection closed before its card was known";
    Notices "notice" "notices about cards (0620), taken for their issuers";
    OriginalUnknown "reversal{unknown}" "reversals of originals that are not known";
    ReversalForeign "reversal{foreign}" "of these, originals of another acquirer with the same card";
    ReversalUnnamed "reversal{unnamed}" "reversals that name no card: all shards are asked";
    ReversalUnkept "reversal{unkept}" "of these, unknown ones that found no room to be kept";
    Reversed "reversal{original}" "originals reversed by their acquirer";
    Reduced "reversal{partial}" "originals made less by their acquirer";
    ReducedInFlight "reversal{partial_in_flight}" "partial reversals kept until their original is answered";
    ReversedInFlight "reversal{in_flight}" "originals reversed while in flight";
    ReversalRepeated "reversal{again}" "reversals of what is reversed or was declined";
    TimedOut "issuer{time_out}" "requests that their issuer did not answer in time";
    LinkLost "issuer{link_lost}" "requests in flight when their issuer's link was lost";
    LinkDown "issuer{link_down}" "times that an issuer's link was lost";
    LinkUp "issuer{link_up}" "times that an issuer's link was made";
    MisEchoed "issuer{mis_echoed}" "issuer answers that do not fit their request";
    PartialRefused "issuer{partial}" "approvals in part whose acquirer cannot take a part: reversed, 51";
    Late "issuer{late}" "issuer answers after the deadline, not delivered";
    Unmatched "issuer{unmatched}" "issuer answers to nothing that was asked";
    Undeliverable "undeliverable{reversed}" "approvals whose acquirer was gone, reversed";
    UndeliverableWaits "undeliverable{waits}" "approvals kept for another connection of their acquirer";
    UndeliverableOther "undeliverable{other}" "other answers whose acquirer was gone";
    Redelivered "undeliverable{redelivered}" "answers given to another connection";
    UndeliverableLost "undeliverable{lost}" "undeliverable answers that could not be sent home";
    OwedPushed "saf{owed}" "reversals and advices that became owed";
    OwedResent "saf{resent}" "sent again";
    OwedDone "saf{done}" "acknowledged by the issuer";
    OwedRetried "saf{retry}" "answered by the issuer as not possible now: sent again later";
    OwedRefused "saf{refused}" "answered by the issuer with a refusal";
    OwedParked "saf{parked}" "refused three times: kept for an operator, sent no more";
    Interrupted "restart{interrupted}" "requests under way when the process before ended";
    LostReversed "restart{lost}" "declined requests that it may have forwarded, reversed";
    CrossedOut "mesh{out}" "requests handed to another shard";
    CrossedIn "mesh{in}" "requests taken from another shard";
    AnswerCut "remembered{cut}" "answers too long to be remembered whole";
    OutcomeDropped "outcome{dropped}" "entries that the outcome log was too slow for";
    NetworkManagement "network_management" "0800 and 0820 answered";
    RefusedEntitiesFull "refused{entities_full}" "no row left for a new terminal, merchant, acquirer or token";
    DeclinedEarly "limit{declined_early}" "declined for a limit of which another shard may have some left";
    LeaseAsked "lease{asked}" "questions to another shard for more of a limit";
    LeaseGranted "lease{granted}" "larger parts of limits lent to other shards";
    AcquirerAnswered "acquirer{answered}" "answers of acquirers to the switch's own 0800";
    AcquirerEchoMissed "acquirer{echo_missed}" "echoes that an acquirer did not answer";
    AcquirerEchoTimeout "acquirer{echo_timeout}" "connections closed because too many were missed";
    AcquirerSignedOff "acquirer{signed_off}" "connections that the switch signed off from";
    Takeover "acquirer{takeover}" "connections whose place a newer one took";
    ConnectionRefused "acquirer{refused}" "connections beyond what their acquirer may have";
    LinkSignedOn "link{signed_on}" "sign-ons that issuers granted";
    SignOnRefused "link{sign_on_refused}" "links closed because the issuer refused the sign-on";
    SignOnSilent "link{sign_on_silent}" "links closed because the sign-on was not answered";
    EchoMissed "link{echo_missed}" "echoes that an issuer did not answer";
    EchoTimeout "link{echo_timeout}" "links closed because too many echoes were missed";
    LinkManaged "link{managed}" "issuers' own 0800 and 0820 answered";
    LinkSignedOff "link{signed_off}" "links that the switch signed off from";
    IssuerSignedOff "issuer{signed_off}" "times that an issuer signed off";
    CircuitOpened "issuer{circuit_opened}" "times that an issuer was given up for not answering";
    CircuitClosed "issuer{circuit_closed}" "times that it answered again";
    FailedOver "issuer{failed_over}" "requests sent by an issuer's second route";
    CrossIssuer "issuer{cross_issuer}" "answers to what another issuer was asked, not taken";
    IssuerCrossed "mesh{issuer}" "issuers' answers handed to the shard that asked";
    IssuerMessageDropped "mesh{issuer_dropped}" "of these, without a slot on the ring";
    RefusedSignedOff "refused{issuer_signed_off}" "the issuer has signed off";
    RefusedOtherRoute "refused{other_route}" "may have been forwarded by another route before a restart";
    RefusedCircuitOpen "refused{circuit_open}" "the issuer does not answer";
    ShedAcquirerShare "shed{acquirer_share}" "beyond its acquirer's share of an issuer's window";
    ShedTableShare "shed{table_share}" "beyond its acquirer's share of the requests in flight";
    ShedTooLate "shed{too_late}" "waited so long in the switch that its answer could be late";
    StandInApproved "standin{approved}" "approvals by the switch in place of an issuer that cannot be reached";
    StandInDeclined "standin{declined}" "requests that a stand-in rule means, and a limit does not allow";
    Reconciled "reconciliation{in_balance}" "acquirers' totals that are the switch's too";
    ReconciledOut "reconciliation{out_of_balance}" "acquirers' totals that are not the switch's";
    ReconciledUnknown "reconciliation{unknown_date}" "totals asked of a date that is not kept";
    DroppedRepeat "dropped{repeat}" "marked repeats without a slot on the ring to the card's shard";
    IssuerTotalsIn "issuer_totals{in_balance}" "issuers' totals that are the switch's too";
    IssuerTotalsOut "issuer_totals{out_of_balance}" "issuers' totals that are not the switch's";
    IssuerTotalsUnknown "issuer_totals{unknown_date}" "issuers' totals of a date that is not kept";
    IssuerTotalsRefused "issuer_totals{refused}" "issuers' totals that cannot be read, or that another shard had no room for";
    IssuerCutOff "issuer{cut_off}" "settlement dates that issuers announced and that began for them";
    IssuerCutOffRefused "issuer{cut_off_refused}" "cut-offs of issuers without a date, or with one that cannot be";
    RefusedOriginalAmount "refused{original_amount}" "voids of another amount than stands of their originals";
    Reinstated "void{reversed}" "originals that stand again because their voids were reversed";
    OwedReleased "saf{released}" "parked messages that an operator had sent again";
    OwedDropped "saf{dropped}" "parked messages that an operator dropped";
    TotalsTold "issuer_totals{told}" "totals of a settlement date that issuers are owed by the switch";
    TotalsToldIn "issuer_totals{told_in_balance}" "of these, the issuer has the same";
    TotalsToldOut "issuer_totals{told_out_of_balance}" "of these, the issuer has others";
    VelocityAudited "velocity{audited}" "lines of cards compared with what their reservations add up to";
}

/// Numbers of [`Counter`].
pub const COUNTERS: usize = Counter::ALL.len();

/// The outcome log writes a counter as one byte.
const _: () = assert!(COUNTERS <= 1 << 8);

/// A shard's own counters.
#[derive(Clone)]
pub struct Counters([u64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl Counters {
    /// Adds one.
    #[inline]
    pub fn add(&mut self, counter: Counter) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value += 1;
        }
    }

    /// Adds so many.
    pub(super) fn add_more(&mut self, counter: Counter, more: u64) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value += more;
        }
    }

    /// The count.
    #[must_use]
    pub fn value(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or_default()
    }

    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        for (value, more) in self.0.iter_mut().zip(other.0) {
            *value += more;
        }
    }

    /// All that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.iter().zip(self.0).map(|(&counter, value)| (counter, value))
    }
}

/// How full a shard is, as other threads see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Lines of its velocity table; 0 before the first time.
    pub velocity_lines: u64,
    /// Of these, lines that count something.
    pub velocity_counting: u64,
    /// Messages owed to issuers.
    pub owed: u64,
    /// The minute since 1970 since which the oldest of them is owed.
    pub owed_since_min: u64,
}

/// How an issuer's links of one shard stand, as other threads see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkGauges {
    /// Links that there can be.
    pub links: u8,
    /// Of these, links that take requests.
    pub ready: u8,
    /// It does not answer, and is asked once a second.
    pub is_open: bool,
    /// It has signed off.
    pub signed_off: bool,
}

impl LinkGauges {
    fn to_bits(self) -> u32 {
        let Self { links, ready, is_open, signed_off } = self;
        u32::from_le_bytes([links, ready, u8::from(is_open), u8::from(signed_off)])
    }

    fn from_bits(bits: u32) -> Self {
        let [links, ready, is_open, signed_off] = bits.to_le_bytes();
        Self { links, ready, is_open: is_open != 0, signed_off: signed_off != 0 }
    }
}

/// A shard's counters as other threads see them, a little behind.
pub struct Published {
    counters: [AtomicU64; COUNTERS],
    times: Mutex<SwitchTime>,
    gauges: [AtomicU64; 4],
    /// By issuer, those of none last: owed in the low half, parked in the high one.
    owed: [AtomicU64; ISSUERS_MAX + 1],
    levels: Mutex<Box<Levels>>,
    /// By issuer.
    links: [AtomicU32; ISSUERS_MAX],
    /// Parked messages, and how often they had changed when they were copied.
    parked: Mutex<(u64, Vec<ParkedMessage>)>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            counters: core::array::from_fn(|_| AtomicU64::new(0)),
            times: Mutex::new(SwitchTime::default()),
            gauges: [0; 4].map(AtomicU64::new),
            owed: [0; ISSUERS_MAX + 1].map(AtomicU64::new),
            levels: Mutex::default(),
            links: core::array::from_fn(|_| AtomicU32::new(0)),
            parked: Mutex::default(),
        }
    }
}

impl Published {
    /// Copies what the shard has. Skips the times, and tells so, when a reader holds them just now: a
    /// shard never waits.
    pub(super) fn store(&self, counters: &Counters, times: &SwitchTime, gauges: &Gauges) -> bool {
        let Gauges { velocity_lines, velocity_counting, owed, owed_since_min } = *gauges;
        let values = [velocity_lines, velocity_counting, owed, owed_since_min];
        for (shared, value) in self.gauges.iter().zip(values) {
            shared.store(value, Ordering::Relaxed);
        }
        for (shared, value) in self.counters.iter().zip(counters.0) {
            shared.store(value, Ordering::Relaxed);
        }
        match self.times.try_lock() {
            Ok(mut shared) => {
                shared.copy_from(times);
                true
            }
            Err(_) => false,
        }
    }

    /// Lets the shard write its levels, unless a reader holds them just now.
    pub(super) fn store_levels(&self, write: impl FnOnce(&mut Levels)) -> bool {
        match self.levels.try_lock() {
            Ok(mut levels) => {
                write(&mut levels);
                true
            }
            Err(_) => false,
        }
    }

    /// Levels as they were last written.
    #[must_use]
    pub fn levels(&self) -> Box<Levels> {
        match self.levels.lock() {
            Ok(levels) => levels.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Lets the shard tell what is parked, if that has changed, and unless a reader holds it just now.
    pub(super) fn store_parked(
        &self,
        changes: u64,
        parked: impl FnOnce() -> Vec<ParkedMessage>,
    ) -> bool {
        match self.parked.try_lock() {
            Ok(mut shared) => {
                if shared.0 != changes {
                    *shared = (changes, parked());
                }
                true
            }
            Err(_) => false,
        }
    }

    /// What was parked, the oldest first.
    #[must_use]
    pub fn parked(&self) -> Vec<ParkedMessage> {
        match self.parked.lock() {
            Ok(shared) => shared.1.clone(),
            Err(poisoned) => poisoned.into_inner().1.clone(),
        }
    }

    /// What an issuer is owed.
    pub(super) fn store_owed(&self, issuer: IssuerId, counts: OwedCounts) {
        if let Some(shared) = self.owed.get(usize::from(issuer.0).min(ISSUERS_MAX)) {
            let both = u64::from(counts.parked) << 32 | u64::from(counts.owed);
            shared.store(both, Ordering::Relaxed);
        }
    }

    /// What an issuer was owed, and what of it waited for an operator; 255: what is of no issuer.
    #[must_use]
    pub fn owed_to(&self, issuer: IssuerId) -> OwedCounts {
        let shared = self.owed.get(usize::from(issuer.0).min(ISSUERS_MAX));
        let both = shared.map_or(0, |shared| shared.load(Ordering::Relaxed));
        OwedCounts { owed: both as u32, parked: (both >> 32) as u32 }
    }

    pub(super) fn store_links(&self, links: impl Iterator<Item = LinkGauges>) {
        for (shared, gauges) in self.links.iter().zip(links) {
            shared.store(gauges.to_bits(), Ordering::Relaxed);
        }
    }

    /// How the links stood, by issuer; issuers that there are not have none.
    pub fn links(&self) -> impl Iterator<Item = LinkGauges> {
        self.links.iter().map(|shared| LinkGauges::from_bits(shared.load(Ordering::Relaxed)))
    }

    /// What was last copied.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        for (value, shared) in counters.0.iter_mut().zip(&self.counters) {
            *value = shared.load(Ordering::Relaxed);
        }
        counters
    }

    /// How full the shard was.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let [velocity_lines, velocity_counting, owed, owed_since_min] =
            self.gauges.each_ref().map(|shared| shared.load(Ordering::Relaxed));
        Gauges { velocity_lines, velocity_counting, owed, owed_since_min }
    }

    /// Switch times last copied, in nanoseconds.
    #[must_use]
    pub fn switch_times_ns(&self) -> Histogram<u64> {
        match self.times.lock() {
            Ok(times) => times.histogram().clone(),
            Err(poisoned) => poisoned.into_inner().histogram().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_does_not_wait_for_readers_and_tells_that_it_did_not() {
        let published = Published::default();
        let mut counters = Counters::default();
        counters.add(Counter::Received);
        let store = || {
            let times = SwitchTime::default();
            let stored = published.store(&counters, &times, &Gauges::default());
            stored & published.store_levels(|_| {})
        };
        let reader = published.levels.lock().unwrap();
        assert!(!store());
        drop(reader);
        let reader = published.times.lock().unwrap();
        assert!(!store());
        drop(reader);
        assert!(store());
        assert_eq!(published.counters().value(Counter::Received), 1);
    }
}
