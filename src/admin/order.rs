//! What operators tell the thread that runs the switch, and what it answers.

use super::wallet_routes::{WalletKind, WalletReport};
use crate::config::Difference;
use crate::shard::parked::ParkedOrder;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tokio::sync::oneshot;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Read the configuration file again.
    Reload,
    /// Stop with every request answered.
    Drain,
    /// Let another process take over.
    TakeOver,
    /// Send a parked message again, or drop it.
    Parked(ParkedKind),
    /// Make, change or show a token.
    Wallet(Box<WalletKind>),
}

/// A parked message, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedKind {
    /// Where it is.
    pub shard: usize,
    /// Its number there.
    pub number: u64,
    /// What becomes of it.
    pub order: ParkedOrder,
}

impl OrderKind {
    /// Its name in answers and in the audit file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Drain => "drain",
            Self::Parked(ParkedKind { order: ParkedOrder::Release, .. }) => "release-parked",
            Self::Parked(ParkedKind { order: ParkedOrder::Drop(_), .. }) => "drop-parked",
            Self::TakeOver => "take-over",
            Self::Wallet(wallet) => wallet.name(),
        }
    }
}

/// An order, who gave it, and where the answer goes.
#[derive(Debug)]
pub struct Order {
    /// What is to be done.
    pub kind: OrderKind,
    /// Who says so.
    pub who: String,
    /// From where.
    pub from: String,
    /// Whoever waits for the outcome; he may be gone.
    pub reply: oneshot::Sender<Reply>,
}

/// Hands an order to the thread that runs the switch; false when that is no more.
pub type Orders = Box<dyn Fn(Order) -> bool + Send + Sync>;

/// The outcome of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of a reload.
    Reload(ReloadReport),
    /// Of a drain.
    Drain(DrainReport),
    /// Of a take-over that is about to begin.
    TakeOver(TakeOverReport),
    /// Of what becomes of a parked message.
    Parked(ParkedReport),
    /// Of an order about tokens.
    Wallet(WalletReport),
}

/// What an order about a parked message came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedReport {
    /// Whether it is done.
    pub is_done: bool,
    /// In one sentence.
    pub said: String,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// Every shard works by it.
    Taken,
    /// The file has mistakes; all is as it was.
    Mistakes,
    /// What has changed needs a restart; all is as it was.
    NeedsRestart,
    /// The switch was started without a file.
    NoFile,
    /// The switch stopped before every shard had taken it.
    Stopped,
}

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// How it ended.
    pub outcome: ReloadOutcome,
    /// Number of the configuration that is in force now.
    pub epoch: u64,
    /// In one sentence.
    pub said: String,
    /// What the file says otherwise than what is, or was, in force.
    pub differences: Vec<Difference>,
    /// Mistakes, each with file, line and likely cause.
    pub problems: Vec<String>,
    /// Keys that a restart is needed for.
    pub needs_restart: Vec<String>,
}

/// What a drain came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReport {
    /// Whether nothing was left over or wrong.
    pub is_clean: bool,
    /// The exit code of the switch.
    pub exit_code: u8,
    /// What was left, or wrong, each in a sentence.
    pub problems: Vec<String>,
    /// Answers given since the start.
    pub answered: u64,
    /// Messages that the next start sends.
    pub owed: u64,
}

/// Where a process that wants to take over goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOverReport {
    /// A Unix socket that is there for it alone; none: it cannot be.
    pub socket: Option<PathBuf>,
    /// In one sentence.
    pub said: String,
}
