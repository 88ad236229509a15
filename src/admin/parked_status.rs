//! What of `/status.json` is about parked messages: what an operator needs to find and judge each, and no
//! card number.

use crate::config::Config;
use crate::io::SwitchView;
use crate::shard::Shard;
use crate::shard::parked::ParkedMessage;
use serde::{Deserialize, Serialize};

const MS_PER_MINUTE: u64 = 60_000;

/// A message owed that its issuer refuses, or of which no issuer can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedStatus {
    /// By which it is released or dropped: SHARD-NUMBER.
    pub message: String,
    /// Whom it is owed to; none: it names neither card nor known original, and cannot be sent.
    pub issuer: Option<String>,
    /// Whose message it was, or whose request it reverses.
    pub acquirer: String,
    /// Its type.
    pub mti: String,
    /// Six and four digits of its card.
    pub card: Option<String>,
    /// DE 4, in minor units.
    pub amount_minor: Option<u64>,
    /// DE 37.
    pub rrn: Option<String>,
    /// DE 11 towards the issuer.
    pub stan: Option<String>,
    /// What the issuer said last.
    pub code: String,
    /// Since when it is owed, in UTC milliseconds.
    pub since_ms: u64,
}

/// Of all shards, by shard and number.
pub(super) fn parked(view: &SwitchView<Shard>, config: &Config) -> Vec<ParkedStatus> {
    let shards = view.shards().enumerate();
    let of_shard = |(shard, published): (usize, Vec<ParkedMessage>)| {
        published.into_iter().map(move |message| status(shard, message, config))
    };
    shards.map(|(shard, (_, published))| (shard, published.parked())).flat_map(of_shard).collect()
}

fn status(shard: usize, message: ParkedMessage, config: &Config) -> ParkedStatus {
    let issuer = message.issuer.and_then(|issuer| config.issuers.get(usize::from(issuer.0)));
    let acquirer = config.acquirers.get(usize::from(message.acquirer.0));
    ParkedStatus {
        message: format!("{shard}-{}", message.number),
        issuer: issuer.map(|issuer| issuer.name.clone()),
        acquirer: acquirer.map(|acquirer| acquirer.name.clone()).unwrap_or_default(),
        mti: format!("{:04}", message.mti),
        card: message.card,
        amount_minor: message.amount_minor,
        rrn: message.rrn,
        stan: message.stan.map(|stan| format!("{stan:06}")),
        code: String::from_utf8_lossy(&message.code).into_owned(),
        since_ms: u64::from(message.since_min) * MS_PER_MINUTE,
    }
}
