//! Token requestors (wallets, shops) as the configuration says them: how well each knows who pays.
//!
//! Not here: which request is of which (`shard::requestors`).

use super::QrLevel;
use tapswitch_protocol::TokenRequestor;

/// One token requestor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestorConfig {
    /// Its name in messages.
    pub name: String,
    /// Its identification, in DE 63.
    pub id: TokenRequestor,
    /// How well it verifies who pays by a code of its own.
    pub qr_level: QrLevel,
}
