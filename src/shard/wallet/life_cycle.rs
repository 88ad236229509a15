//! What becomes of a token: made for a card, activated when its holder has proved who he is, suspended
//! with a lost phone, resumed, deleted for good. Every order has an identification of its asker's: asked
//! twice, it is done once; asked again with other contents, it is refused.
//!
//! ```text
//! provision ─ green ─▶ active ⇄ suspended ─▶ deleted
//!           ─ yellow ─▶ inactive ─ activate ─▶ active        deleted from anywhere
//!           ─ red ────▶ no token
//! ```
//!
//! Not here: who may ask (`admin`), which number a new token has (whoever asks says).

use super::Wallet;
use super::line::{Month, TokenEntry, TokenState};
use crate::shard::identity::CardKey;
use crate::shard::journal_record::Change;
use crate::shard::outcome::CardMask;
use crate::shard::{Counter, Now, Outbox, Shard};
use std::collections::{BTreeMap, VecDeque};
use tapswitch_protocol::{Pan, Par, TokenRequestor};

/// Orders whose identifications are remembered, for each shard, at least.
const REQUESTS_MIN: usize = 1 << 10;
/// The same, at most: 32 bytes each.
const REQUESTS_MAX: usize = 1 << 20;

/// How sure its bank is that a card is its holder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identification {
    /// Sure.
    Green,
    /// To be proved first.
    Yellow,
    /// It is not.
    Red,
}

/// A card, as its bank knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WalletCard {
    /// Its number.
    pub pan: Pan,
    /// Last month in which it is valid.
    pub expiry: Month,
    /// Its sequence number.
    pub sequence: Option<u8>,
}

/// A token for a card.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Provision {
    /// The card.
    pub card: WalletCard,
    /// Who asks for it.
    pub requestor: TokenRequestor,
    /// Last month in which it may be used.
    pub expiry: Month,
    /// How sure it is whose it is: 0 to 99.
    pub assurance: u8,
    /// What the bank said.
    pub identification: Identification,
}

/// What becomes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAction {
    /// Its holder has proved who he is.
    Activate,
    /// It may not be used for now.
    Suspend,
    /// It may be used again.
    Resume,
    /// It may never be used again.
    Delete,
}

impl TokenAction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Activate, Self::Suspend, Self::Resume, Self::Delete];

    /// Where it leads, from there; `None`: it cannot.
    const fn leads(self, from: TokenState) -> Option<TokenState> {
        match (self, from) {
            (_, TokenState::Deleted) => None,
            (Self::Delete, _) => Some(TokenState::Deleted),
            (Self::Activate, TokenState::Inactive) | (Self::Resume, TokenState::Suspended) => {
                Some(TokenState::Active)
            }
            (Self::Suspend, TokenState::Active | TokenState::Inactive) => {
                Some(TokenState::Suspended)
            }
            _ => None,
        }
    }

    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
        }
    }
}

/// What is asked of a token's shard.
#[derive(Clone, Copy)]
pub enum WalletOrder {
    /// A new token of this number.
    Provision(u64, Provision),
    /// A change of this token.
    Change(u64, TokenAction),
    /// What is known of it.
    Show(u64),
    /// All tokens of an account; asked of every shard.
    OfAccount(Par),
}

/// An order, and what names it: what its asker wrote, hashed.
#[derive(Clone, Copy)]
pub struct WalletRequest {
    /// Of its identification.
    pub id: u64,
    /// Of all that it asks.
    pub contents: u64,
    /// What it asks.
    pub order: WalletOrder,
}

/// A token, as it may be shown to whoever may change it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenView {
    /// All that is known of it.
    pub entry: TokenEntry,
    /// Its account.
    pub par: Par,
    /// Six and four digits of its card.
    pub card: CardMask,
}

/// What came of an order.
#[derive(Clone, PartialEq, Eq)]
pub enum WalletOutcome {
    /// Done, or done before by the same order; the token as it is now.
    Done(TokenView),
    /// The tokens of an account here.
    Tokens(Vec<TokenView>),
    /// There is no such token.
    NotFound,
    /// Its state does not allow it.
    NotFrom(TokenState),
    /// The number is a token of another order: another number is needed.
    NumberTaken,
    /// The same identification came with other contents before.
    Conflict,
    /// The number is in no range of this requestor.
    NotOfRequestor,
    /// The bank does not believe that the card is its holder's.
    Red,
    /// The card, or the token, has expired.
    Expired,
    /// There is no room for another token.
    Full,
}

/// Orders by their identifications: which contents, about which token. The oldest are forgotten first.
pub(in crate::shard) struct Requests {
    known: BTreeMap<u64, (u64, u64)>,
    order: VecDeque<u64>,
    most: usize,
}

impl Requests {
    pub(super) fn new(tokens: usize) -> Self {
        let most = if tokens == 0 { 0 } else { tokens.clamp(REQUESTS_MIN, REQUESTS_MAX) };
        Self { known: BTreeMap::new(), order: VecDeque::new(), most }
    }

    fn get(&self, id: u64) -> Option<(u64, u64)> {
        self.known.get(&id).copied()
    }

    fn put(&mut self, id: u64, contents: u64, token: u64) {
        if self.known.insert(id, (contents, token)).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.most {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.known.remove(&oldest));
        }
    }

    /// The oldest first, from a place on: identification, contents, token.
    pub(in crate::shard) fn from(&self, place: usize) -> impl Iterator<Item = [u64; 3]> {
        let ids = self.order.iter().skip(place);
        ids.filter_map(|id| self.get(*id).map(|(contents, token)| [*id, contents, token]))
    }
}

impl Wallet {
    /// A token as it shall be. False: there is no room.
    pub(in crate::shard) fn apply(&mut self, wall_ms: u64, entry: &TokenEntry) -> bool {
        let hash = self.hash(entry.token);
        self.vault.put(entry, hash, Month::of(wall_ms)).is_ok()
    }

    /// A token's counters as they are from now on.
    pub(in crate::shard) fn apply_used(&mut self, token: u64, (counter, seen): (u16, u32)) {
        let hash = self.hash(token);
        self.vault.set_counter((token, hash), (counter, seen));
    }

    /// An order that was done.
    pub(in crate::shard) fn apply_request(&mut self, [id, contents, token]: [u64; 3]) {
        self.requests.put(id, contents, token);
    }

    /// Whether a token that another process had finds room, or is there.
    pub(in crate::shard) fn has_room(&self, entry: &TokenEntry) -> bool {
        self.vault.has_room(entry.requestor) || self.find(entry.token).is_some()
    }

    /// Whether a new token is taken.
    fn wants(&self, entry: &TokenEntry, now: Month) -> bool {
        self.vault.has_room(entry.requestor) && self.vault.wants(self.hash(entry.token), now)
    }

    fn entry(&self, token: u64) -> Option<TokenEntry> {
        self.find(token).and_then(|place| self.vault.get(place))
    }
}

impl Shard {
    /// An order about a token of this shard.
    pub fn on_wallet_request(
        &mut self,
        now: Now,
        request: &WalletRequest,
        outbox: &mut Outbox,
    ) -> WalletOutcome {
        let token = match request.order {
            WalletOrder::OfAccount(par) => return self.tokens_of(&par),
            WalletOrder::Show(token) => return self.shown(token),
            WalletOrder::Provision(token, _) | WalletOrder::Change(token, _) => token,
        };
        match self.wallet.requests.get(request.id) {
            Some((contents, of)) if contents == request.contents && of == token => {
                return self.shown(token);
            }
            Some(_) => return WalletOutcome::Conflict,
            None => {}
        }
        let entry = match request.order {
            WalletOrder::Provision(_, provision) => self.new_token(now, token, &provision),
            WalletOrder::Change(_, action) => self.changed(token, action),
            WalletOrder::Show(_) | WalletOrder::OfAccount(_) => Err(WalletOutcome::NotFound),
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(why) => return why,
        };
        self.commit(now, Change::Token(entry), outbox);
        let done = [request.id, request.contents, token];
        self.commit(now, Change::WalletRequest(done), outbox);
        self.counters.add(Counter::TokenChanged);
        self.shown(token)
    }

    fn new_token(
        &self,
        now: Now,
        token: u64,
        provision: &Provision,
    ) -> Result<TokenEntry, WalletOutcome> {
        let Provision { card, requestor, expiry, assurance, identification } = *provision;
        if self.journal_full {
            return Err(WalletOutcome::Full);
        }
        let month = Month::of(now.wall_ms);
        let state = match identification {
            Identification::Red => return Err(WalletOutcome::Red),
            Identification::Yellow => TokenState::Inactive,
            Identification::Green => TokenState::Active,
        };
        if !self.wallet.is_of(token, requestor) {
            return Err(WalletOutcome::NotOfRequestor);
        }
        if card.expiry < month || expiry < month {
            return Err(WalletOutcome::Expired);
        }
        if self.wallet.entry(token).is_some() {
            return Err(WalletOutcome::NumberTaken);
        }
        let entry = TokenEntry {
            token,
            card: self.cipher.key(&card.pan),
            requestor,
            assurance,
            expiry,
            card_expiry: card.expiry,
            sequence: card.sequence,
            state,
            is_denied: false,
            counter: 0,
            seen: 0,
        };
        if self.wallet.wants(&entry, month) { Ok(entry) } else { Err(WalletOutcome::Full) }
    }

    fn changed(&self, token: u64, action: TokenAction) -> Result<TokenEntry, WalletOutcome> {
        let entry = self.wallet.entry(token).ok_or(WalletOutcome::NotFound)?;
        let state = action.leads(entry.state).ok_or(WalletOutcome::NotFrom(entry.state))?;
        Ok(TokenEntry { state, ..entry })
    }

    fn shown(&self, token: u64) -> WalletOutcome {
        match self.wallet.entry(token) {
            Some(entry) => WalletOutcome::Done(self.view(entry)),
            None => WalletOutcome::NotFound,
        }
    }

    fn tokens_of(&self, par: &Par) -> WalletOutcome {
        let card: Option<CardKey> = self.wallet.pars.card(par);
        let tokens = card.map(|card| self.wallet.vault.of_card(card).collect::<Vec<_>>());
        let tokens = tokens.unwrap_or_default();
        WalletOutcome::Tokens(tokens.into_iter().map(|entry| self.view(entry)).collect())
    }

    fn view(&self, entry: TokenEntry) -> TokenView {
        let pan = self.cipher.pan(&entry.card);
        let card = pan.as_ref().map(CardMask::of).unwrap_or_default();
        TokenView { entry, par: self.wallet.pars.par(entry.card), card }
    }
}
