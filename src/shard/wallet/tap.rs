//! A request that is paid with a token: which card it is, and whether the token may be used here.
//!
//! ```text
//! the connection's shard ─TokenAsk─▶ the token's ─Translated─▶ the connection's ─TokenRequest─▶ the card's
//! ```
//!
//! What is the same shard is not asked over the ring. The way goes back to the connection's shard because
//! only that can promise room for the card's shard's answer. The request itself is carried along, so that
//! nobody has to remember it meanwhile.
//!
//! The token's shard gives its verdict on every request; the card's shard, which knows what has happened
//! before, asks for it where something new begins.
//!
//! Not here: what issuers are told (`issuer_leg`).

use super::Wallet;
use super::cryptogram::Proof;
use super::line::{Month, TokenEntry, TokenState};
use crate::config::RequestorConfig;
use crate::shard::identity::CardKey;
use crate::shard::intake::{Kind, StagedRequest};
use crate::shard::journal_record::Change;
use crate::shard::own_answer::Reason;
use crate::shard::{Counter, Incoming, MeshKind, MeshMessage, Now, Outbox, Shard, ShardId};
use tapswitch_protocol::{MessageView, PanError, TokenRequestor};

/// Bytes of a [`Translated`] between shards.
pub const TRANSLATED_BYTES: usize = 40;
/// No sequence number.
const NO_SEQUENCE: u8 = u8::MAX;

/// A token that a message was paid with.
#[derive(Clone, Copy)]
pub(in crate::shard) struct Tap {
    pub(in crate::shard) token: u64,
    /// What its shard said; none: it was not asked yet.
    pub(in crate::shard) translated: Option<Translated>,
}

/// What the token's shard says of it. It has no `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Translated {
    /// The card behind it.
    pub card: CardKey,
    /// Why it may not be used here.
    pub refused: Option<TokenRefusal>,
    /// Sequence number of the card.
    pub sequence: Option<u8>,
    /// Last month in which the card is valid.
    pub card_expiry: Month,
    /// The same of the token.
    pub expiry: Month,
    /// How sure it is whose it is.
    pub assurance: u8,
    /// Who asked for it.
    pub requestor: TokenRequestor,
}

/// Why a token may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenRefusal {
    /// There is no such token.
    Unknown = 1,
    /// It waits for its holder, is suspended, or deleted.
    NotActive = 2,
    /// Its last month is over.
    Expired = 3,
    /// Its requestor is off, or has no business here: entry mode, MCC, merchant.
    NotHere = 4,
    /// Gates let nobody in with it.
    Denied = 5,
    /// DE 55 is missing, or lacks what its cryptogram is verified with.
    ChipData = 6,
    /// Its counter was seen before, or is too old to know.
    Counter = 7,
    /// Its cryptogram is wrong.
    Cryptogram = 8,
}

impl TokenRefusal {
    const ALL: [Self; 8] = [
        Self::Unknown,
        Self::NotActive,
        Self::Expired,
        Self::NotHere,
        Self::Denied,
        Self::ChipData,
        Self::Counter,
        Self::Cryptogram,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

impl Translated {
    fn of(entry: &TokenEntry, refused: Option<TokenRefusal>) -> Self {
        let TokenEntry { card, sequence, card_expiry, expiry, assurance, requestor, .. } = *entry;
        Self { card, refused, sequence, card_expiry, expiry, assurance, requestor }
    }

    /// For the ring.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; TRANSLATED_BYTES] {
        let mut bytes = [0; TRANSLATED_BYTES];
        let (card, rest) = bytes.split_at_mut(16);
        card.copy_from_slice(&self.card.0);
        let (requestor, rest) = rest.split_at_mut(8);
        requestor.copy_from_slice(&self.requestor.number().to_le_bytes());
        let (months, rest) = rest.split_at_mut(4);
        let [a, b] = self.card_expiry.number().to_le_bytes();
        let [c, d] = self.expiry.number().to_le_bytes();
        months.copy_from_slice(&[a, b, c, d]);
        let refused = self.refused.map_or(0, |refused| refused as u8);
        let sequence = self.sequence.unwrap_or(NO_SEQUENCE);
        if let Some(small) = rest.first_chunk_mut() {
            *small = [refused, sequence, self.assurance];
        }
        bytes
    }

    /// From the ring.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; TRANSLATED_BYTES]) -> Option<Self> {
        let (card, rest) = bytes.split_first_chunk()?;
        let (requestor, rest) = rest.split_first_chunk()?;
        let (&[a, b, c, d], rest) = rest.split_first_chunk()?;
        let &[refused, sequence, assurance] = rest.first_chunk()?;
        Some(Self {
            card: CardKey(*card),
            refused: TokenRefusal::from_number(refused),
            sequence: (sequence != NO_SEQUENCE).then_some(sequence),
            card_expiry: Month::from_number(u16::from_le_bytes([a, b]))?,
            expiry: Month::from_number(u16::from_le_bytes([c, d]))?,
            assurance,
            requestor: TokenRequestor::from_number(u64::from_le_bytes(*requestor))?,
        })
    }
}

impl Wallet {
    /// Which card a token is, and whether it may be used for this, and what its counters are afterwards
    /// if that is to be recorded; `None`: there is no such token.
    fn translate(
        &self,
        now: Now,
        (kind, token): (Kind, u64),
        view: &MessageView<'_>,
    ) -> Option<(Translated, Option<(TokenEntry, bool)>)> {
        let place = self.find(token)?;
        let entry = self.vault.line(place)?;
        let refused = self.refused(now, &entry, view);
        if kind != Kind::Request || refused.is_some() {
            return Some((Translated::of(&entry, refused), None));
        }
        Some(match self.proof((&entry, place), view) {
            Proof::None => (Translated::of(&entry, None), None),
            Proof::Refused(why) => (Translated::of(&entry, Some(why)), None),
            Proof::Given(after, jumped) => (Translated::of(&entry, None), Some((after, jumped))),
        })
    }

    fn refused(
        &self,
        now: Now,
        entry: &TokenEntry,
        view: &MessageView<'_>,
    ) -> Option<TokenRefusal> {
        if entry.state != TokenState::Active {
            return Some(TokenRefusal::NotActive);
        }
        if entry.expiry < Month::of(now.wall_ms) {
            return Some(TokenRefusal::Expired);
        }
        let is_here = |requestor: &RequestorConfig| requestor.is_on && is_within(requestor, view);
        if !self.requestor(entry.requestor).is_some_and(is_here) {
            return Some(TokenRefusal::NotHere);
        }
        entry.is_denied.then_some(TokenRefusal::Denied)
    }
}

/// Whether a requestor's tokens may be used so, and there. What is not said is not restricted.
fn is_within(requestor: &RequestorConfig, view: &MessageView<'_>) -> bool {
    let number = |field: u8| view.number(field).unwrap_or_default();
    let allows =
        |list: &[u16], found: u64| list.is_empty() || list.iter().any(|&it| u64::from(it) == found);
    let merchant = view.raw(42).unwrap_or_default().trim_ascii();
    let is_merchant = |it: &String| it.as_bytes() == merchant;
    allows(&requestor.entry_modes, number(22) / 10)
        && allows(&requestor.mccs, number(18))
        && (requestor.merchants.is_empty() || requestor.merchants.iter().any(is_merchant))
}

impl StagedRequest {
    /// Why its token may not be used, where something new begins with it.
    pub(in crate::shard) fn check_token(&self) -> Result<(), Reason> {
        match self.tap.and_then(|tap| tap.translated?.refused) {
            Some(TokenRefusal::ChipData) => Err(Reason::Format(55)),
            Some(refused) => Err(Reason::Token(refused)),
            None => Ok(()),
        }
    }
}

impl Shard {
    /// A well-formed message with a token: its card is looked up where the token is.
    pub(in crate::shard) fn take_tap(
        &mut self,
        now: Now,
        (kind, tap): (Kind, Tap),
        incoming: &Incoming<'_>,
        outbox: &mut Outbox,
    ) {
        let home = self.wallet.owner(tap.token, self.shards);
        if home != self.id {
            let asked = (MeshKind::TokenAsk, None);
            return self.hand_over(now, incoming, (home, asked), outbox);
        }
        let translated = self.wallet.translate(now, (kind, tap.token), &incoming.view);
        let Some((translated, used)) = translated else {
            return self.answer_own(now, incoming, Reason::Token(TokenRefusal::Unknown), outbox);
        };
        self.counters.add(Counter::TokenTranslated);
        // Nothing is recorded on a disk that is nearly full; what comes of it will be refused.
        if let Some((TokenEntry { token, counter, seen, .. }, jumped)) = used
            && !self.journal_full
        {
            self.counters.add(Counter::TokenProved);
            self.counters.add_more(Counter::TokenJumped, u64::from(jumped));
            self.commit(now, Change::TokenUsed { token, counter, seen }, outbox);
        }
        self.go_on(now, (kind, translated), incoming, outbox);
    }

    /// The card is known: to its shard.
    fn go_on(
        &mut self,
        now: Now,
        (kind, translated): (Kind, Translated),
        incoming: &Incoming<'_>,
        outbox: &mut Outbox,
    ) {
        let owner = crate::shard::placement::owner(translated.card, self.shards);
        if owner == self.id {
            return self.decide_tap(now, (kind, translated), incoming, outbox);
        }
        let from = incoming.connection.shard;
        if from == self.id {
            let asked = (MeshKind::TokenRequest, Some(&translated));
            return self.hand_over(now, incoming, (owner, asked), outbox);
        }
        // Only the connection's shard can promise room for the answer.
        self.push_request(now, incoming, (from, (MeshKind::Translated, Some(&translated))), outbox);
    }

    /// Decides a message whose card is of this shard.
    fn decide_tap(
        &mut self,
        now: Now,
        (kind, translated): (Kind, Translated),
        incoming: &Incoming<'_>,
        outbox: &mut Outbox,
    ) {
        let staged = self.stage_translated(incoming, translated);
        if staged.pan.is_ok() {
            self.decide(now, kind, incoming, &staged, outbox);
        } else {
            // A card key that is none: of another key file.
            self.answer_own(now, incoming, Reason::Token(TokenRefusal::Unknown), outbox);
        }
    }

    /// What staging would have found out if the card's number were in the message.
    fn stage_translated(&self, incoming: &Incoming<'_>, translated: Translated) -> StagedRequest {
        let view = &incoming.view;
        let class = (view.mti().number() / 100 % 10) as u8;
        let (acquirer, profile) = (incoming.connection.acquirer, incoming.profile);
        let token = view.pan().ok().map(|pan| super::number_of(pan.digits())).unwrap_or_default();
        StagedRequest {
            table: tapswitch_protocol::FieldTable::default(),
            connection: incoming.connection,
            error: None,
            pan: self.cipher.pan(&translated.card).ok_or(PanError::Missing),
            card: translated.card,
            owner: self.id,
            key: self.hasher.key(acquirer, class, profile.duplicate_key, view),
            fingerprint: self.hasher.fingerprint(Some(&translated.card), view),
            token_data: None,
            tap: Some(Tap { token, translated: Some(translated) }),
        }
    }

    /// A request comes back from its token's shard, or comes to its card's.
    pub(in crate::shard) fn on_crossed_tap(
        &mut self,
        now: Now,
        from: ShardId,
        message: MeshMessage<'_>,
        outbox: &mut Outbox,
    ) {
        let is_back = message.kind == MeshKind::Translated;
        if is_back {
            self.credits.give(from);
        }
        let Some((arrived_ns, bytes)) = message.bytes.split_first_chunk() else { return };
        let Some((translated, bytes)) = bytes.split_first_chunk() else { return };
        let split = bytes.split_at_checked(usize::from(message.header_bytes));
        let (Some(translated), Some((header, body))) = (Translated::from_bytes(translated), split)
        else {
            return;
        };
        if is_back && !self.connections.is_open(message.connection) {
            // Nothing has been done for it, and nobody is left to be told.
            return self.counters.add(Counter::DroppedTap);
        }
        self.on_arrival(u64::from_le_bytes(*arrived_ns));
        let mut table = self.scratch.issuer.take().unwrap_or_default();
        if let Some(profile) = self.profile(message.connection)
            && let Ok(view) = profile.dialect.parse(body, &mut table)
            && let Some(kind) = Kind::of(view.mti())
        {
            let connection = message.connection;
            let incoming = Incoming { view, header, connection, profile: &profile };
            self.go_on(now, (kind, translated), &incoming, outbox);
        }
        self.scratch.issuer = Some(table);
        self.on_arrival(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shard_says_of_a_token_crosses_as_it_is() {
        let requestor = TokenRequestor::from_digits(b"99999999999").unwrap();
        for refused in TokenRefusal::ALL.into_iter().map(Some).chain([None]) {
            let said = Translated {
                card: CardKey([9; 16]),
                refused,
                sequence: refused.map(|it| it as u8),
                card_expiry: Month::from_yymm(b"2712").unwrap(),
                expiry: Month::from_yymm(b"8504").unwrap(),
                assurance: 99,
                requestor,
            };
            assert!(Translated::from_bytes(&said.to_bytes()) == Some(said));
        }
        assert!(Translated::from_bytes(&[0xFF; TRANSLATED_BYTES]).is_none());
    }
}
