//! `[keys]`: where the card key is. The file itself is read at start, by the user who runs the
//! switch; whoever only checks a configuration need not be allowed to.

use crate::config::KeysConfig;
use crate::config::file::RawKeys;
use std::path::Path;

pub(super) fn check(raw: &RawKeys, folder: &Path) -> KeysConfig {
    let file = raw.card_key_file.as_ref();
    KeysConfig { card_key_file: file.map(|found| folder.join(&found.value)) }
}
