//! `tapswitch ctl`: asks a running switch through its operators' port, or tells it to reload, drain, or what
//! becomes of a parked message or a token.
//!
//! Exit codes: 0 done; 69 nobody answers; 77 not allowed; 78 the configuration has mistakes; 75 what
//! has changed needs a restart; 1 anything else. Not here: tables (`tables`), parked
//! messages (`parked`).

mod parked;
mod tables;
mod wallet;

use super::{CommandError, Streams};
use crate::admin::client::{Answer, Ask, AskError, Place, tell};
use crate::admin::status::Status;
use crate::admin::{DrainReport, Refusal, ReloadOutcome, ReloadReport, read_token};
use crate::config::AdminConfig;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What `ctl` can be told.
#[derive(Clone, Debug, Args)]
pub struct CtlArgs {
    /// The switch's socket
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "url")]
    pub socket: Option<PathBuf>,
    /// The switch's address, as in http://127.0.0.1:9583
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// The switch's configuration file, which names either
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of the token that allows changes over HTTP
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Answers as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What can be asked or told.
#[derive(Clone, Debug, Subcommand)]
pub enum CtlCommand {
    /// Show a part of the switch
    Show {
        /// Which part
        what: Shown,
    },
    /// Read the configuration file again, as SIGHUP; says what changed
    Reload,
    /// Make, change or show a token: the order is JSON on standard input
    Wallet {
        /// What is ordered
        order: wallet::WalletCommand,
    },
    /// Send a message again that its issuer refused
    ReleaseParked {
        /// Which: SHARD-NUMBER, as `show parked` has it
        message: String,
    },
    /// Forget a message that its issuer refuses: what it says is settled otherwise
    DropParked {
        /// Which: SHARD-NUMBER, as `show parked` has it
        message: String,
        /// Why, for the journal and the audit file; no card numbers
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Stop with every request answered, as SIGTERM; waits for the end
    Drain {
        /// How long to wait for it
        #[arg(long, value_name = "SECONDS", default_value_t = 660)]
        within_s: u64,
    },
}

/// Parts of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// Every issuer: reached, under way, owed, how fast
    Issuers,
    /// Every link to an issuer, by shard
    Links,
    /// Every shard: connections, messages, journal
    Shards,
    /// What waits, and how much could
    Pending,
    /// What is counted for reconciliation, by settlement date, acquirer and issuer
    Totals,
    /// Alarms, refused changes, peers that misbehave
    LastErrors,
    /// Messages owed that their issuers refuse, each with the name that releases or drops it
    Parked,
    /// The configuration in force
    Config,
}

/// Patience with anything but a drain.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks or tells a running switch.
pub(super) fn run(args: &CtlArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let at = At::of(args)?;
    match &args.command {
        CtlCommand::Show { what } => show(&at, *what, args.json, streams),
        CtlCommand::Reload => reload(&at, args.json, streams),
        CtlCommand::ReleaseParked { message } => {
            parked::order(&at, (message, None), args.json, streams)
        }
        CtlCommand::DropParked { message, note } => {
            parked::order(&at, (message, Some(note)), args.json, streams)
        }
        CtlCommand::Wallet { order } => wallet::order(&at, *order, args.json, streams),
        CtlCommand::Drain { within_s } => {
            drain(&at, Duration::from_secs(*within_s), args.json, streams)
        }
    }
}

/// A switch, and what shows that one may change it.
struct At {
    place: Place,
    token: Option<zeroize::Zeroizing<String>>,
}

impl At {
    fn of(args: &CtlArgs) -> Result<Self, CommandError> {
        let admin = args.config.as_deref().map(AdminConfig::from_file).transpose()?;
        let admin = admin.unwrap_or_default();
        let place = match (&args.socket, &args.url) {
            (Some(path), _) => Some(Place::Socket(path.clone())),
            (None, Some(url)) => Some(Place::Http(address(url)?)),
            (None, None) => admin.socket.map(Place::Socket).or(admin.http.map(Place::Http)),
        };
        let place = place.ok_or_else(|| {
            let what = "which switch? --socket PATH, --url URL, or --config FILE with a socket or \
                        http in [admin]";
            CommandError::Refused { exit_code: 2, what: what.to_owned() }
        })?;
        let token_file = args.token_file.clone().or(match place {
            Place::Http(_) => admin.token_file,
            Place::Socket(_) => None,
        });
        let token = token_file.as_deref().map(read_token).transpose();
        let token = token.map_err(|error| CommandError::Failed(error.to_string()))?;
        Ok(Self { place, token })
    }

    fn ask(&self, path: &str, is_order: bool, patience: Duration) -> Result<Answer, CommandError> {
        self.exchange(path, (is_order, ""), patience)
    }

    /// An order, with words.
    fn tell(&self, path: &str, words: &str, patience: Duration) -> Result<Answer, CommandError> {
        self.exchange(path, (true, words), patience)
    }

    fn exchange(
        &self,
        path: &str,
        (is_order, words): (bool, &str),
        patience: Duration,
    ) -> Result<Answer, CommandError> {
        let token = self.token.as_ref().map(|token| token.as_str());
        let asked = Ask { place: &self.place, path, is_order, token, patience };
        tell(&asked, words).map_err(|error| match error {
            AskError::NobodyThere { .. } => {
                CommandError::Refused { exit_code: 69, what: error.to_string() }
            }
            AskError::BrokenOff { .. } | AskError::TooLate { .. } => {
                CommandError::Failed(error.to_string())
            }
        })
    }

    /// What an answer says, or why it was refused.
    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, CommandError> {
        if let Ok(Refusal { error }) = serde_json::from_slice(&answer.body) {
            let exit_code = if answer.status == 403 { 77 } else { 1 };
            return Err(CommandError::Refused { exit_code, what: format!("refused: {error}") });
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            let (place, status) = (&self.place, answer.status);
            CommandError::Failed(format!(
                "{place} answered {status} with something else than was asked for ({error}); likely \
                 cause: another program, or another version of the switch"
            ))
        })
    }
}

/// `http://127.0.0.1:9583`, with or without the scheme and a slash behind it.
fn address(url: &str) -> Result<SocketAddr, CommandError> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| {
        let what = format!("`{url}` is not an address: as in http://127.0.0.1:9583");
        CommandError::Refused { exit_code: 2, what }
    })
}

fn show(
    at: &At,
    what: Shown,
    is_json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), CommandError> {
    let status: Status = at.read(&at.ask("/status.json", false, PATIENCE)?)?;
    let out = &mut *streams.output;
    if !is_json {
        return Ok(tables::show(out, what, &status)?);
    }
    match what {
        Shown::Issuers => json(out, &status.issuers),
        Shown::Links => json(out, &status.links),
        Shown::Shards | Shown::Pending => json(out, &status.shards),
        Shown::Totals => json(out, &status.totals),
        Shown::LastErrors => json(out, &status.last_errors),
        Shown::Parked => json(out, &status.parked),
        Shown::Config => json(
            out,
            &status
                .config
                .iter()
                .map(|(key, value)| (key.clone(), value.clone().into()))
                .collect::<serde_json::Map<_, _>>(),
        ),
    }
}

fn json<T: Serialize>(out: &mut dyn Write, value: &T) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok(writeln!(out, "{text}")?)
}

fn reload(at: &At, is_json: bool, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let report: ReloadReport = at.read(&at.ask("/reload", true, PATIENCE)?)?;
    let out = &mut *streams.output;
    if is_json {
        json(out, &report)?;
    } else {
        let is_taken = report.outcome == ReloadOutcome::Taken;
        for difference in &report.differences {
            let needs =
                !is_taken && report.needs_restart.iter().any(|key| names(key, &difference.key));
            let needs = if needs { "  (needs a restart)" } else { "" };
            writeln!(out, "{difference}{needs}")?;
        }
        if is_taken && report.differences.is_empty() {
            writeln!(out, "nothing has changed")?;
        }
        for problem in &report.problems {
            writeln!(out, "{problem}")?;
        }
        if is_taken {
            writeln!(out, "{}", report.said)?;
        }
    }
    let exit_code = match report.outcome {
        ReloadOutcome::Taken => return Ok(()),
        ReloadOutcome::Mistakes => 78,
        ReloadOutcome::NeedsRestart => 75,
        ReloadOutcome::NoFile | ReloadOutcome::Stopped => 1,
    };
    Err(CommandError::Refused { exit_code, what: report.said })
}

/// Whether what needs a restart, a key, a section or a counter, is this key's.
fn names(needed: &str, key: &str) -> bool {
    let section = needed.trim_start_matches('[').trim_end_matches(']');
    match needed.strip_prefix("counter `") {
        Some(counter) => {
            let counter = counter.trim_end_matches('`');
            key.strip_prefix("velocity.counter.").is_some_and(|rest| is_in(counter, rest))
        }
        None if needed.starts_with("the table of IINs") => key.starts_with("iin."),
        None => is_in(section, key),
    }
}

fn is_in(section: &str, key: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn drain(
    at: &At,
    patience: Duration,
    is_json: bool,
    streams: &mut Streams<'_>,
) -> Result<(), CommandError> {
    let report: DrainReport = at.read(&at.ask("/drain", true, patience)?)?;
    let out = &mut *streams.output;
    if is_json {
        json(out, &report)?;
    }
    if !report.is_clean {
        let what = format!("stopped, but: {}", report.problems.join("; "));
        return Err(CommandError::Failed(what));
    }
    if !is_json {
        let DrainReport { answered, owed, .. } = report;
        writeln!(out, "stopped: nothing left in flight; {answered} answers since the start")?;
        if owed > 0 {
            writeln!(out, "{owed} messages owed to issuers are kept: the next start sends them")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_and_without_what_is_around() {
        for url in ["http://127.0.0.1:9583", "127.0.0.1:9583", "http://127.0.0.1:9583/"] {
            assert_eq!(address(url).unwrap(), ([127, 0, 0, 1], 9_583).into());
        }
        assert_eq!(address("https://127.0.0.1:9583").unwrap_err().exit_code(), 2);
        assert_eq!(address("localhost").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn keys_that_need_a_restart_are_found_among_the_differences() {
        for (needed, key, is_its) in [
            ("switch.shards", "switch.shards", true),
            ("switch.shard", "switch.shards", false),
            ("[journal]", "journal.data_dir", true),
            ("[issuer.ABC]", "issuer.ABC.in_flight_max", true),
            ("[issuer.AB]", "issuer.ABC.in_flight_max", false),
            ("counter `day`", "velocity.counter.day.window", true),
            ("counter `day`", "velocity.limit.day.when", false),
            ("the table of IINs (switch.iin_file)", "iin.622848", true),
        ] {
            assert_eq!(names(needed, key), is_its, "{needed} {key}");
        }
    }
}
