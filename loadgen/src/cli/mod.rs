//! The command line: one file per command.

mod asking;
pub(crate) mod calibrate;
pub(crate) mod overload;
pub(crate) mod run;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

/// Something was unanswered or wrong.
pub(crate) const NOT_CLEAN: u8 = 1;
/// The arguments are wrong.
pub(crate) const USAGE: u8 = 2;
/// The switch could not be reached.
pub(crate) const NOT_REACHED: u8 = 3;

/// Says why the command ends, on standard error.
pub(crate) fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(io::stderr(), "loadgen: {error}");
    ExitCode::from(code)
}

/// Shows a result: the object in the file that was named, or on standard output for `-`; the text
/// on standard output, or on standard error when the object is there.
pub(crate) fn show(text: &str, object: &Value, json: Option<&str>) -> io::Result<()> {
    let object = format!("{object:#}\n");
    match json {
        Some("-") => {
            io::stderr().write_all(text.as_bytes())?;
            io::stdout().write_all(object.as_bytes())
        }
        Some(file) => {
            io::stdout().write_all(text.as_bytes())?;
            fs::write(file, object)
        }
        None => io::stdout().write_all(text.as_bytes()),
    }
}

/// Lets the process have as many connections as its hard limit allows. Where even that is refused,
/// connecting will say so.
pub(crate) fn allow_connections() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
