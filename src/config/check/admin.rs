//! `[admin]`: the operators' port. It is nobody else's: addresses that other machines reach are
//! refused unless that is said to be meant.

use super::section::Section;
use crate::config::AdminConfig;
use crate::config::file::{Found, RawAdmin};
use crate::config::problem::{Problems, quoted};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A path of a Unix socket is at most 107 bytes long; it is made under a name with a number behind it.
const SOCKET_PATH_BYTES_MAX: usize = 95;

pub(in crate::config) fn check(
    raw: &RawAdmin,
    problems: &mut Problems<'_>,
    folder: &Path,
) -> AdminConfig {
    let mut section = Section::new(problems, "admin", None);
    let socket = path(&mut section, "socket", &raw.socket, folder);
    if let (Some(socket), Some(found)) = (&socket, &raw.socket) {
        let bytes = socket.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            let message = format!("is {bytes} bytes long with its folder");
            let cause =
                format!("at most {SOCKET_PATH_BYTES_MAX}: a kernel takes no long paths here");
            section.error(found.at, "socket", message, cause);
        }
    }
    let http = http(&mut section, raw);
    let token_file = path(&mut section, "token_file", &raw.token_file, folder);
    if let (Some(_), None, Some(found)) = (&token_file, &http, &raw.token_file) {
        let cause = "a token is for http; on the socket the kernel says who asks";
        section.error(found.at, "token_file", "is of no use without http", cause);
    }
    let audit_file = path(&mut section, "audit_file", &raw.audit_file, folder);
    AdminConfig { socket, http, token_file, audit_file }
}

fn path(
    section: &mut Section<'_, '_>,
    key: &str,
    found: &Option<Found<String>>,
    folder: &Path,
) -> Option<PathBuf> {
    let found = found.as_ref()?;
    if found.value.is_empty() {
        section.error(found.at, key, "is empty", "leave the key out to have none");
    }
    Some(folder.join(&found.value))
}

fn http(section: &mut Section<'_, '_>, raw: &RawAdmin) -> Option<SocketAddr> {
    let found = raw.http.as_ref()?;
    let Ok(address) = found.value.parse::<SocketAddr>() else {
        let message = format!("`{}` is not an IP address and port", quoted(&found.value));
        section.error(found.at, "http", message, "as in 127.0.0.1:9583 or [::1]:9583");
        return None;
    };
    let is_meant = raw.http_beyond_loopback.as_ref().is_some_and(|found| found.value);
    if !address.ip().is_loopback() && !is_meant {
        let message = format!("{address} is reached from other machines");
        let cause = "127.0.0.1 is this machine only; if others are meant say \
                     http_beyond_loopback = true";
        section.error(found.at, "http", message, cause);
    }
    Some(address)
}
