//! How well the requestor of a payment by code knows the payer: its identification is in DE 63.
//!
//! Not here: what is allowed at which level (`velocity`).

use super::intake::StagedRequest;
use super::own_answer::Reason;
use super::{Incoming, Shard};
use crate::config::{QrLevel, RequestorConfig};
use tapswitch_protocol::{Token, TokenData, TokenRequestor};

/// Those that are above the lowest level, by their identifications.
pub(super) struct Requestors(Box<[(TokenRequestor, QrLevel)]>);

impl Requestors {
    pub(super) fn new(config: &[RequestorConfig]) -> Self {
        let known = config.iter().filter(|it| it.qr_level != QrLevel::default());
        let mut levels: Vec<_> = known.map(|it| (it.id, it.qr_level)).collect();
        levels.sort_unstable_by_key(|(id, _)| *id);
        Self(levels.into_boxed_slice())
    }

    /// Whether all are at the lowest level: DE 63 need not be read for it.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn level(&self, id: TokenRequestor) -> Option<QrLevel> {
        let place = self.0.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.0.get(place).map(|(_, level)| *level)
    }
}

impl Shard {
    /// The level of a payment by code; the lowest where nobody says better.
    pub(super) fn qr_level(
        &self,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
    ) -> Result<QrLevel, Reason> {
        if self.requestors.is_empty() {
            return Ok(QrLevel::default());
        }
        let requestor = token_data(incoming, staged)?.requestor;
        let level = requestor.and_then(|id| self.requestors.level(id));
        Ok(level.unwrap_or_default())
    }

    /// What may be asked for when only the kept part of a request is left, which DE 63 is not in: where
    /// the switch might still stand in for its issuer.
    pub(super) fn kept_token_data(&self, incoming: &Incoming<'_>) -> TokenData {
        let counts_tokens = || self.escrow.as_ref().is_some_and(|escrow| escrow.counts_tokens());
        let is_read = !self.stand_in.is_off() && (!self.requestors.is_empty() || counts_tokens());
        // What is malformed is refused, or nobody asks for it.
        if is_read {
            TokenData::of(&incoming.view).unwrap_or_default()
        } else {
            TokenData::default()
        }
    }
}

/// What a rule is to read of DE 63. It is opaque to everybody else.
pub(super) fn token_data(
    incoming: &Incoming<'_>,
    staged: &StagedRequest,
) -> Result<TokenData, Reason> {
    match (staged.token_data, staged.tap) {
        (Some(known), _) => Ok(known),
        // It was looked up: that is surer than what the message says.
        (None, Some(tap)) => Ok(TokenData {
            token: Token::from_number(tap.token),
            requestor: tap.translated.map(|it| it.requestor),
        }),
        (None, None) => TokenData::of(&incoming.view).map_err(|_| Reason::Format(63)),
    }
}
