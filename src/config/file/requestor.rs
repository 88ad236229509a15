//! The keys of `[requestor.NAME]`.

use super::{Found, Layer, Named, Word, read_key, read_named, refuse_unknown};
use crate::config::problem::Problems;
use toml::de::DeTable;

section! {
    /// `[requestor.NAME]`.
    RawRequestor {
        id: String,
        qr_level: String,
        token_prefixes: Vec<String>,
        on: bool,
        entry_modes: Vec<Word>,
        mccs: Vec<i64>,
        merchants: Vec<String>,
        cryptogram_key_file: String,
        cryptogram_algorithm: String,
        cryptogram_data: String,
    }
}

/// All requestors, in the order of the file.
pub(super) fn read(problems: &mut Problems<'_>, root: &DeTable<'_>) -> Vec<Named<RawRequestor>> {
    read_named(problems, root, "requestor", |problems, path, table| {
        refuse_unknown(problems, path, table, &[RawRequestor::KEYS]);
        RawRequestor::read(problems, path, table)
    })
}
