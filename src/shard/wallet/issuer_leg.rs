//! What an issuer is told of a request that was paid with a token: the card's number, last month and
//! sequence number in their elements, the token's data in DE 63. Tracks, which hold the token, are left out.
//!
//! Not here: what is owed to issuers, which has the card's number from its key (`owed`), and no token.

use super::tap::Tap;
use crate::shard::intake::StagedRequest;
use tapswitch_protocol::{Addition, FieldSet, MessageView, Mti, Pan, TokenDetails, respond};

/// Elements that hold the token, or what belongs to it.
const OF_THE_TOKEN: FieldSet = FieldSet::of(&[2, 14, 35, 36, 45]);
/// A token's data were verified by the switch: tag 01 of usage TK.
const VERIFIED: u8 = b'1';
/// DE 63 has a length of three digits.
const TOKEN_DATA_BYTES_MAX: usize = 999;
/// Most elements that the switch writes itself.
const ADDITIONS_MAX: usize = 7;

/// What of a token goes to its card's issuer.
#[derive(Clone, Copy)]
pub(in crate::shard) struct TokenLeg {
    card: Pan,
    card_expiry: [u8; 4],
    sequence: Option<[u8; 3]>,
    details: TokenDetails,
}

impl TokenLeg {
    /// Of a request with a token; `None` for one with a card.
    pub(in crate::shard) fn of(staged: &StagedRequest, view: &MessageView<'_>) -> Option<Self> {
        let Tap { translated, .. } = staged.tap?;
        let translated = translated?;
        Some(Self {
            card: staged.pan.ok()?,
            card_expiry: translated.card_expiry.yymm(),
            sequence: translated.sequence.map(|it| [b'0', b'0' + it / 10, b'0' + it % 10]),
            details: TokenDetails {
                verified: Some(VERIFIED),
                token: view.pan().ok(),
                expiry: Some(translated.expiry.yymm()),
                assurance: Some(translated.assurance),
                requestor: Some(translated.requestor),
                ..TokenDetails::default()
            },
        })
    }

    /// Writes a request for the issuer: the elements of `view` that are in `fields`, `own` instead of
    /// what it has of those, ascending; and what of the token is told. Returns the bytes written.
    pub(in crate::shard) fn write(
        &self,
        (view, mti, fields): (&MessageView<'_>, Mti, FieldSet),
        own: &[Addition<'_>],
        out: &mut [u8],
    ) -> Option<usize> {
        let mut token_data = [0; TOKEN_DATA_BYTES_MAX];
        let takes_details = view.dialect().usages.has(63);
        let written = if takes_details {
            self.details.write(view.raw(63).unwrap_or_default(), &mut token_data).ok()?
        } else {
            0
        };
        let mut all = [Addition { field: 0, value: &[] }; ADDITIONS_MAX];
        let mut count = 0;
        let of_card = [
            Some(Addition { field: 2, value: self.card.digits() }),
            Some(Addition { field: 14, value: &self.card_expiry }),
            self.sequence.as_ref().map(|value| Addition { field: 23, value }),
            takes_details.then(|| Addition {
                field: 63,
                value: token_data.get(..written).unwrap_or_default(),
            }),
        ];
        for addition in of_card.into_iter().flatten().chain(own.iter().copied()) {
            *all.get_mut(count)? = addition;
            count += 1;
        }
        let all = all.get_mut(..count)?;
        all.sort_unstable_by_key(|addition| addition.field);
        respond(view, mti, fields.minus(OF_THE_TOKEN), all, out).ok()
    }
}
