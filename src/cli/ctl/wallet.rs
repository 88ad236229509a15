//! `tapswitch ctl wallet ORDER`: orders about tokens, as JSON from standard input: numbers of cards have no
//! place among arguments, which everybody can read.
//!
//! Not here: what an order says (the README shows it), what becomes of it (`shard::wallet`).

use super::{At, PATIENCE};
use crate::admin::{WalletReport, WalletStatus};
use crate::cli::{CommandError, Streams};
use clap::ValueEnum;
use std::io::Read;

/// More than any order.
const ORDER_BYTES_MAX: u64 = 4_096;

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WalletCommand {
    /// Make a token for a card
    Provision,
    /// Its holder has proved who he is
    Activate,
    /// It may not be used for now
    Suspend,
    /// It may be used again
    Resume,
    /// It may never be used again
    Delete,
    /// Show a token, or all tokens of an account
    Show,
}

impl WalletCommand {
    const fn path(self) -> &'static str {
        match self {
            Self::Provision => "/wallet/provision",
            Self::Activate => "/wallet/activate",
            Self::Suspend => "/wallet/suspend",
            Self::Resume => "/wallet/resume",
            Self::Delete => "/wallet/delete",
            Self::Show => "/wallet/show",
        }
    }
}

/// Hands an order on, and prints what came of it.
pub(super) fn order(
    at: &At,
    command: WalletCommand,
    is_json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), CommandError> {
    let mut order = zeroize::Zeroizing::new(String::new());
    streams
        .input
        .take(ORDER_BYTES_MAX)
        .read_to_string(&mut order)
        .map_err(|error| CommandError::Failed(format!("standard input: {error}")))?;
    let answer = at.tell(command.path(), &order, PATIENCE)?;
    let report: WalletReport = at.read(&answer)?;
    if is_json {
        super::json(&mut *streams.output, &report)?;
    }
    if report.status != WalletStatus::Done {
        return Err(CommandError::Failed(report.said));
    }
    if !is_json {
        writeln!(streams.output, "{}", report.said)?;
        for token in &report.tokens {
            let (number, state, card) = (&token.token, &token.state, &token.card);
            let (expiry, par) = (&token.expiry, &token.par);
            writeln!(
                streams.output,
                "{number} {state} until {expiry}, card {card}, account {par}"
            )?;
        }
    }
    Ok(())
}
