//! The proof that a payment comes from the phone that has the token: its cryptogram (ARQC in DE 55),
//! verified for the issuer where the requestor's key is here, and its counter, seen once.
//!
//! A phone's counter grows with each payment; those of a gate arrive late and out of order, so each of the
//! 32 below the highest is known by itself. Only what was proved moves it: otherwise anybody could use up
//! the counters of others.
//!
//! Not here: where keys come from (`io::cryptogram_keys`), ciphers (`tapswitch_protocol::emv`).

use super::Wallet;
use super::line::TokenEntry;
use super::tap::TokenRefusal;
use tapswitch_protocol::MessageView;
use tapswitch_protocol::chip::{ChipData, PanSequence};

/// First two digits of DE 22 of a chip, in contact or not.
const CHIP_ENTRY_MODES: [u64; 2] = [5, 7];
/// A jump of the counter that a phone in use does not make.
const COUNTER_JUMP: u16 = 1_000;

/// What a payment's cryptogram says.
pub(super) enum Proof {
    /// Nothing that could be asked here: no key, or no chip.
    None,
    /// Right, with the counters of this token after it, and whether they jumped.
    Given(TokenEntry, bool),
    /// Not right.
    Refused(TokenRefusal),
}

impl Wallet {
    /// Looks at a payment's cryptogram.
    pub(super) fn proof(&self, (line, place): (&TokenEntry, u32), view: &MessageView<'_>) -> Proof {
        let Some(verifier) = self.cryptograms.get(line.requestor) else { return Proof::None };
        if !CHIP_ENTRY_MODES.contains(&(view.number(22).unwrap_or_default() / 10)) {
            return Proof::None;
        }
        let Some(entry) = self.vault.get(place) else { return Proof::None };
        let (Ok(Some(chip)), Ok(token)) = (ChipData::of(view), view.pan()) else {
            return Proof::Refused(TokenRefusal::ChipData);
        };
        let proved = chip.transaction_counter().and_then(|counter| {
            let sequence = PanSequence::of(&chip, view)?;
            Ok((counter, verifier.verify(&token, sequence, &chip)?.is_verified()))
        });
        match proved {
            Err(_) => Proof::Refused(TokenRefusal::ChipData),
            Ok((counter, _)) if !entry.is_fresh(counter) => Proof::Refused(TokenRefusal::Counter),
            Ok((_, false)) => Proof::Refused(TokenRefusal::Cryptogram),
            Ok((counter, true)) => {
                let mut after = entry;
                after.mark(counter);
                let jump = after.counter - entry.counter;
                Proof::Given(after, entry.counter > 0 && jump > COUNTER_JUMP)
            }
        }
    }
}
