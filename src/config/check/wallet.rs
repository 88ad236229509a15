//! `[wallet]`: how many tokens there can be, and who gives references of accounts.
//!
//! Not here: whose tokens they are (`requestors`).

use super::section::Section;
use crate::config::WalletConfig;
use crate::config::file::RawWallet;
use crate::config::problem::{Problems, quoted};

/// More than there are people.
const TOKENS_MAX: i64 = 1 << 33;

pub(super) fn check(raw: &RawWallet, problems: &mut Problems<'_>) -> WalletConfig {
    let mut section = Section::new(problems, "wallet".to_owned(), None);
    let tokens = section.number("tokens", &raw.tokens, 0..=TOKENS_MAX);
    let mut par_giver = *b"0000";
    if let Some(found) = &raw.par_giver {
        let text: Option<[u8; 4]> = found.value.as_bytes().try_into().ok();
        let is_one =
            |text: &[u8; 4]| text.iter().all(|it| it.is_ascii_digit() || it.is_ascii_uppercase());
        match text.filter(is_one) {
            Some(text) => par_giver = text,
            None => {
                let message =
                    format!("`{}` names nobody who gives references", quoted(&found.value));
                section.error(found.at, "par_giver", message, "four digits or capital letters");
            }
        }
    }
    WalletConfig { tokens, par_giver }
}
