//! The other end: one request to a running switch's port, and its answer. For `tapswitch ctl`, and for
//! whoever tests the port.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A Unix socket.
    Socket(PathBuf),
    /// An address that speaks HTTP.
    Http(SocketAddr),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Http(address) => write!(f, "http://{address}"),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Of whom.
    pub place: &'a Place,
    /// As in `/metrics`.
    pub path: &'a str,
    /// Whether it changes something (POST).
    pub is_order: bool,
    /// What shows that one may, over HTTP.
    pub token: Option<&'a str>,
    /// No answer after this is none.
    pub patience: Duration,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("nobody answers at {place}: {source}; likely cause: {likely_cause}")]
    NobodyThere {
        /// Where.
        place: Place,
        /// What the kernel said.
        source: io::Error,
        /// What probably is the matter.
        likely_cause: &'static str,
    },
    /// It answers no more.
    #[error("{place} broke off: {what}")]
    BrokenOff {
        /// Where.
        place: Place,
        /// What happened.
        what: String,
    },
    /// It takes too long.
    #[error("{place} did not answer within {} s", .within.as_secs())]
    TooLate {
        /// Where.
        place: Place,
        /// How long was waited.
        within: Duration,
    },
}

/// Asks, and waits for the answer.
///
/// # Errors
/// There is none: see [`AskError`].
pub fn ask(asked: &Ask<'_>) -> Result<Answer, AskError> {
    tell(asked, "")
}

/// Asks, or orders, with words beside it, and waits for the answer.
///
/// # Errors
/// There is none: see [`AskError`].
pub fn tell(asked: &Ask<'_>, words: &str) -> Result<Answer, AskError> {
    let broken = |what: String| AskError::BrokenOff { place: asked.place.clone(), what };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| broken(error.to_string()))?;
    runtime.block_on(async {
        let answered = timeout(asked.patience, connect_and_ask(asked, words)).await;
        answered.unwrap_or_else(|_| {
            Err(AskError::TooLate { place: asked.place.clone(), within: asked.patience })
        })
    })
}

async fn connect_and_ask(asked: &Ask<'_>, words: &str) -> Result<Answer, AskError> {
    let nobody = |source: io::Error| {
        let likely_cause = likely_cause(&source);
        AskError::NobodyThere { place: asked.place.clone(), source, likely_cause }
    };
    match asked.place {
        Place::Socket(path) => {
            exchange(UnixStream::connect(path).await.map_err(nobody)?, asked, words).await
        }
        Place::Http(address) => {
            exchange(TcpStream::connect(address).await.map_err(nobody)?, asked, words).await
        }
    }
}

fn likely_cause(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "no switch runs with this socket, or the path is another",
        ErrorKind::ConnectionRefused => "the switch has ended, or listens elsewhere",
        ErrorKind::PermissionDenied => "the switch is another user's: ask as that user, or as root",
        _ => "the address is wrong, or of another machine",
    }
}

async fn exchange<S>(stream: S, asked: &Ask<'_>, words: &str) -> Result<Answer, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |what: String| AskError::BrokenOff { place: asked.place.clone(), what };
    let shaken = handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| broken(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let method = if asked.is_order { Method::POST } else { Method::GET };
    let mut request = Request::builder().method(method).uri(asked.path).header(HOST, "tapswitch");
    if let Some(token) = asked.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::<Bytes>::from(words.to_owned()));
    let request = request.map_err(|error| broken(error.to_string()))?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| broken(error.to_string()))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| broken(error.to_string()))?.to_bytes().to_vec();
    connection.abort();
    Ok(Answer { status, body })
}
