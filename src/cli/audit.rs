//! `tapswitch audit verify FILE`: whether an audit file is as it was written.

use super::{CommandError, Streams};
use crate::admin::audit::{Verified, verify};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What `audit` can be told.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// What to do with it
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with an audit file.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Hold every line to the one before it; name the first that does not fit
    Verify {
        /// The audit file
        file: PathBuf,
    },
}

/// Looks at an audit file.
pub(super) fn run(args: &AuditArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let AuditCommand::Verify { file } = &args.command;
    let found = verify(file);
    let Verified { lines, digest, unfit } =
        found.map_err(|error| CommandError::Refused { exit_code: 74, what: error.to_string() })?;
    match unfit {
        None => {
            let file = file.display();
            writeln!(streams.output, "{file}: {lines} lines fit; the last digest is {digest}")?;
            Ok(())
        }
        Some(unfit) => {
            let what = format!("{}:{}: the line {}", file.display(), unfit.line, unfit.why);
            Err(CommandError::Refused { exit_code: 65, what })
        }
    }
}
