//! Arguments of `tapswitch run`.

use clap::Args;
use std::path::PathBuf;

/// What `run` can be told.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Configuration file; without it the shipped one, which needs nothing
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stop gracefully after this many seconds
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
}
