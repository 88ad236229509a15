//! Why a switch does not start or stop, each in one sentence that names the likely cause.

use super::recover::RecoveryError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a switch does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error("cannot listen on {address} for acquirer `{acquirer}`: {}", cause(.source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// For whom.
        acquirer: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A bank's listener cannot be opened.
    #[error("cannot listen on {address} for the bank `{issuer}`: {}", cause(.source))]
    ListenBank {
        /// Where.
        address: SocketAddr,
        /// For whom.
        issuer: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// io_uring is demanded and refused.
    #[error(
        "the kernel refuses io_uring ({0}); containers often do: choose engine \"auto\" or \"tokio\""
    )]
    Engine(io::Error),
    /// A thread cannot be pinned.
    #[error(
        "cannot pin {thread} to core {core} ({source}); cores this process may use: {allowed:?}"
    )]
    Core {
        /// Which thread.
        thread: String,
        /// The core asked for.
        core: usize,
        /// The cores that it could have.
        allowed: Vec<usize>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel gives no thread, runtime or file descriptor.
    #[error("cannot start {thread}: {source}")]
    Thread {
        /// Which thread.
        thread: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("{0}")]
    Recovery(RecoveryError),
    /// The outcome log cannot be begun.
    #[error("cannot begin the outcome log in {}: {source}", .dir.display())]
    OutcomeLog {
        /// Its folder.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A thread ended before it was ready.
    #[error("a thread ended while it started; its own message stands above")]
    Ended,
}

impl StartError {
    /// The process's exit code for it, after sysexits where one fits.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Recovery(error) => error.exit_code(),
            _ => 1,
        }
    }
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is busy, another process (or another run of this one) listens there".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".into()
        }
        _ => error.to_string(),
    }
}

/// Why a switch did not stop in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// A thread panicked.
    #[error("{thread} panicked; its own message stands above")]
    Panicked {
        /// Which thread.
        thread: String,
    },
}
