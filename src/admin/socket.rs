//! The Unix socket's file: made for its owner alone, taken over from a process that is no more, and
//! removed at the end.

use std::fs::{Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// For its owner alone.
const MODE: u32 = 0o600;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("{} is in use: somebody answers there, perhaps another run of this switch", .path.display())]
    InUse {
        /// Which path.
        path: PathBuf,
    },
    /// What is there is no socket.
    #[error("{} is there already and no socket: it is left alone", .path.display())]
    NotASocket {
        /// Which path.
        path: PathBuf,
    },
    /// The kernel refuses it.
    #[error("cannot make the socket {}: {source}", .path.display())]
    Refused {
        /// Which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The file of a socket that this process listens at; it goes away with this value.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Which file of the file system it is.
    identity: (u64, u64),
    /// Another process goes on with it: it stays.
    is_left: bool,
}

impl SocketFile {
    /// That of a listener that was inherited with its file, if it is there still.
    pub(super) fn adopt(path: &Path) -> Option<Self> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        metadata.file_type().is_socket().then(|| Self {
            path: path.to_owned(),
            identity: identity(&metadata),
            is_left: false,
        })
    }

    /// It stays when this value goes.
    pub(super) fn leave(mut self) {
        self.is_left = true;
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Listens at a path.
pub(crate) fn listen(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
    let refused = |source| SocketError::Refused { path: path.to_owned(), source };
    make_way(path)?;
    // Made under another name, so that nobody connects before the mode is right.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let made = PathBuf::from(name);
    let _ = std::fs::remove_file(&made);
    let listener = UnixListener::bind(&made).map_err(refused)?;
    let moved = std::fs::set_permissions(&made, Permissions::from_mode(MODE))
        .and_then(|()| std::fs::rename(&made, path))
        .and_then(|()| std::fs::symlink_metadata(path));
    match moved {
        Ok(metadata) => {
            let identity = identity(&metadata);
            let file = SocketFile { path: path.to_owned(), identity, is_left: false };
            Ok((listener, file))
        }
        Err(source) => {
            let _ = std::fs::remove_file(&made);
            Err(refused(source))
        }
    }
}

/// What is there may be replaced only if it is a socket at which nobody answers.
fn make_way(path: &Path) -> Result<(), SocketError> {
    let refused = |source| SocketError::Refused { path: path.to_owned(), source };
    let there = match std::fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
    };
    if !there.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        // Only if it still is the one that was made.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|it| identity(&it) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
