//! `tapswitch key new FILE`: a card key of one's own.

use super::{CommandError, Streams};
use crate::io::keys;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What `key` can be told.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// What to do
    #[command(subcommand)]
    pub action: KeyAction,
}

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyAction {
    /// Make a card key in a new file that only its owner may read
    New {
        /// The file; it must not be there yet
        file: PathBuf,
    },
}

/// Does it.
pub(super) fn run(args: &KeyArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let KeyAction::New { file } = &args.action;
    let secrets = keys::create(file).map_err(|error| CommandError::Failed(error.to_string()))?;
    let [a, b, c, d] = secrets.key_check();
    writeln!(
        streams.output,
        "{}: a new card key, check {a:02x}{b:02x}{c:02x}{d:02x}",
        file.display()
    )?;
    writeln!(
        streams.output,
        "keep a copy in a safe place: without it nothing that a switch wrote down can be read again"
    )?;
    Ok(())
}
