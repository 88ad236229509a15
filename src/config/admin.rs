//! `[admin]`: where operators reach the switch, who may change it, and where that is written down.

use super::ConfigError;
use super::check::check_admin;
use super::default::read_text;
use super::file::RawFile;
use super::problem::Problems;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The operators' port; without a socket and an address there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminConfig {
    /// A Unix socket, for the operator's own machine: who asks is known by the kernel.
    pub socket: Option<PathBuf>,
    /// Where HTTP is spoken: read only, unless there is a token.
    pub http: Option<SocketAddr>,
    /// The file of the token that lets HTTP change something.
    pub token_file: Option<PathBuf>,
    /// The file that every change, and every attempt at one, is written to.
    pub audit_file: Option<PathBuf>,
}

impl AdminConfig {
    /// What a file says of it, whatever else is wrong with that file: a switch that runs by an older
    /// version of it is found all the same.
    ///
    /// # Errors
    /// It cannot be read, is not TOML, or what it says of this is wrong.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = read_text(path).map_err(|reason| ConfigError::unreadable(&name, reason))?;
        let mut elsewhere = Problems::new(&name, &text);
        let raw = RawFile::read(&mut elsewhere, &text);
        let mut problems = Problems::new(&name, &text);
        let admin = check_admin(&raw.admin, &mut problems, path.parent().unwrap_or(Path::new("")));
        if problems.error_count() > 0 {
            return Err(problems.into_error());
        }
        if !admin.is_on() && elsewhere.error_count() > 0 {
            return Err(elsewhere.into_error());
        }
        Ok(admin)
    }

    /// Whether there is a port at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.socket.is_some() || self.http.is_some()
    }
}
