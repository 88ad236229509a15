//! Token requestors and their levels.

use crate::config::Config;
use std::io::{self, Write};

pub(super) fn show(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    if config.requestors.is_empty() {
        return Ok(());
    }
    let count = config.requestors.len();
    writeln!(out, "requestors {count}, by DE 63; payments by code of all others are at level C")?;
    for requestor in &config.requestors {
        let (name, id, level) = (&requestor.name, requestor.id, requestor.qr_level);
        writeln!(out, "          {name} {id}: level {level:?}")?;
    }
    Ok(())
}
