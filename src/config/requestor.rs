//! Token requestors (wallets, shops) as the configuration says them: how well each knows who pays, which
//! tokens are its, and where they may be used.
//!
//! Not here: which request is of which (`shard::requestors`, `shard::wallet`).

use super::QrLevel;
use std::path::PathBuf;
use tapswitch_protocol::TokenRequestor;
use tapswitch_protocol::emv::{Algorithm, DataList};

/// One token requestor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestorConfig {
    /// Its name in messages.
    pub name: String,
    /// Its identification, in DE 63.
    pub id: TokenRequestor,
    /// How well it verifies who pays by a code of its own.
    pub qr_level: QrLevel,
    /// First digits of its tokens; none: it has none here.
    pub token_prefixes: Vec<String>,
    /// Whether its tokens may be used at all.
    pub is_on: bool,
    /// First two digits of DE 22 with which they may be; empty: all.
    pub entry_modes: Vec<u16>,
    /// DE 18 of where they may be; empty: everywhere.
    pub mccs: Vec<u16>,
    /// DE 42 of where they may be, without blanks around; empty: everywhere.
    pub merchants: Vec<String>,
    /// How their cryptograms are verified; none: by the cards' issuers.
    pub cryptogram: Option<CryptogramConfig>,
}

/// What cryptograms of a requestor's tokens are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptogramConfig {
    /// The file of the master key.
    pub key_file: PathBuf,
    /// The cipher of all keys.
    pub algorithm: Algorithm,
    /// What a cryptogram covers.
    pub data: DataList,
}

impl RequestorConfig {
    /// One of which nothing else is said: at the lowest level, without tokens here.
    #[must_use]
    pub fn new(name: &str, id: TokenRequestor) -> Self {
        Self {
            name: name.to_owned(),
            id,
            qr_level: QrLevel::default(),
            token_prefixes: Vec::new(),
            is_on: true,
            entry_modes: Vec::new(),
            mccs: Vec::new(),
            merchants: Vec::new(),
            cryptogram: None,
        }
    }
}

/// Tokens of this switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletConfig {
    /// How many there can be, over all shards.
    pub tokens: usize,
    /// First four characters of payment account references: who gives them.
    pub par_giver: [u8; 4],
}
