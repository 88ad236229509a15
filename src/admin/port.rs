//! The port's thread: its own runtime, its listeners, a bounded number of connections. Started before
//! the switch, so that it can say that it is starting; ended after it, so that it can say how it ended.

use super::board::Board;
use super::caller::Caller;
use super::order::Orders;
use super::routes::{Answers, router};
use super::socket::{SocketError, SocketFile, listen};
use super::token::{Token, TokenError};
use crate::config::AdminConfig;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// Connections at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// A request's head must have come within this, from the start or from the answer before it.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// At the end, answers under way have so long.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// After a failed accept: no file descriptor may be free.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why there is no operators' port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Its socket cannot be made.
    #[error("operators' port: {0}")]
    Socket(#[from] SocketError),
    /// Its token cannot be used.
    #[error("operators' port: {0}")]
    Token(#[from] TokenError),
    /// Its address cannot be listened at.
    #[error("operators' port: cannot listen at {address}: {source}")]
    Http {
        /// Which address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Its thread cannot be started.
    #[error("operators' port: {0}")]
    Thread(io::Error),
}

impl PortError {
    /// After sysexits: 73 what is to be made cannot be made, 78 a wrong token file, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Socket(_) => 73,
            Self::Token(_) => 78,
            Self::Http { .. } | Self::Thread(_) => 1,
        }
    }
}

/// What a port is made of.
pub struct PortSettings<'s> {
    /// Where it is, and who may change something.
    pub admin: &'s AdminConfig,
    /// What it shows.
    pub board: Arc<Board>,
    /// Where its orders go.
    pub orders: Orders,
    /// What the process before listened at, as far as this one wants it.
    pub inherited: PortListeners,
}

/// The sockets that a port listens at, open once more: who connects waits as long as somebody has them.
#[derive(Debug, Default)]
pub struct PortListeners {
    /// The Unix socket, and its file.
    pub socket: Option<(PathBuf, std::os::unix::net::UnixListener)>,
    /// The address that speaks HTTP, as it is configured.
    pub http: Option<(SocketAddr, std::net::TcpListener)>,
}

impl PortListeners {
    /// Open once more.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.as_ref().map(|(path, it)| Ok((path.clone(), it.try_clone()?)));
        let http = self.http.as_ref().map(|(address, it)| Ok((*address, it.try_clone()?)));
        Ok(Self {
            socket: socket.transpose().map_err(|error: io::Error| error)?,
            http: http.transpose().map_err(|error: io::Error| error)?,
        })
    }

    /// What these settings ask for; what is not there is made.
    fn open(self, admin: &AdminConfig) -> Result<(Self, Option<SocketFile>), PortError> {
        let is_wanted = |path: &PathBuf| Some(path) == admin.socket.as_ref();
        if let Some((path, _)) = self.socket.as_ref().filter(|(path, _)| !is_wanted(path)) {
            // Nobody listens there any more.
            drop(SocketFile::adopt(path));
        }
        let inherited = self.socket.filter(|(path, _)| is_wanted(path));
        let (socket, file) = match (inherited, &admin.socket) {
            (Some((path, listener)), _) if let Some(file) = SocketFile::adopt(&path) => {
                (Some((path, listener)), Some(file))
            }
            // Also when somebody has removed the file of the one that was inherited.
            (_, Some(path)) => {
                let (listener, file) = listen(path)?;
                (Some((path.clone(), listener)), Some(file))
            }
            (_, None) => (None, None),
        };
        let http = match (self.http.filter(|(at, _)| Some(*at) == admin.http), admin.http) {
            (Some(inherited), _) => Some(inherited),
            (None, Some(address)) => Some((address, bind(address)?)),
            (None, None) => None,
        };
        Ok((Self { socket, http }, file))
    }
}

/// A running port.
pub struct Port {
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
    socket: Option<SocketFile>,
    http: Option<SocketAddr>,
    listeners: PortListeners,
}

impl Port {
    /// Listens, and starts its thread.
    ///
    /// # Errors
    /// See [`PortError`].
    pub fn start(settings: PortSettings<'_>) -> Result<Self, PortError> {
        let PortSettings { admin, board, orders, inherited } = settings;
        let token = admin.token_file.as_deref().map(Token::read).transpose()?;
        let (listeners, socket) = inherited.open(admin)?;
        let local = listeners.http.as_ref().map(|(_, listener)| listener.local_addr()).transpose();
        let served = listeners.try_clone().map_err(PortError::Thread)?;
        let own_uid = rustix::process::geteuid().as_raw();
        let answers = Arc::new(Answers { board, orders, token, own_uid });
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(PortError::Thread)?;
        let served = {
            // Listeners belong to the runtime that is entered.
            let _entered = runtime.enter();
            Listeners::new(served).map_err(PortError::Thread)?
        };
        let spawned = Builder::new()
            .name("operators".into())
            .spawn(move || runtime.block_on(serve(served, router(answers), stopped)));
        Ok(Self {
            thread: Some(spawned.map_err(PortError::Thread)?),
            stop: Some(stop),
            socket,
            http: local.map_err(PortError::Thread)?,
            listeners,
        })
    }

    /// Its socket's path.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.listeners.socket.as_ref().map(|(path, _)| path.as_path())
    }

    /// Where it speaks HTTP.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What it listens at, open once more.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn listeners(&self) -> io::Result<PortListeners> {
        self.listeners.try_clone()
    }

    /// Ends as when it is dropped, but its socket's file stays: another process listens there.
    pub fn leave(mut self) {
        if let Some(file) = self.socket.take() {
            file.leave();
        }
    }
}

impl Drop for Port {
    /// Answers under way are given, then it is gone.
    fn drop(&mut self) {
        drop(self.socket.take());
        self.listeners = PortListeners::default();
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, PortError> {
    let bound = std::net::TcpListener::bind(address);
    bound.map_err(|source| PortError::Http { address, source })
}

struct Listeners {
    socket: Option<UnixListener>,
    http: Option<TcpListener>,
}

impl Listeners {
    fn new(PortListeners { socket, http }: PortListeners) -> io::Result<Self> {
        let socket = socket.map(|(_, listener)| {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        let http = http.map(|(_, listener)| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        Ok(Self { socket: socket.transpose()?, http: http.transpose()? })
    }
}

/// Serves until it is told to stop, or nobody can tell it any more.
async fn serve(listeners: Listeners, router: Router, stopped: oneshot::Receiver<()>) {
    let door = Door {
        router,
        graceful: GracefulShutdown::new(),
        room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    };
    take_until_told(&door, &listeners, stopped).await;
    drop(listeners);
    let _ = timeout(LAST_ANSWERS, door.graceful.shutdown()).await;
}

async fn take_until_told(door: &Door, listeners: &Listeners, stopped: oneshot::Receiver<()>) {
    let socket = async {
        match &listeners.socket {
            Some(listener) => door.take_from_socket(listener).await,
            None => std::future::pending().await,
        }
    };
    let http = async {
        match &listeners.http {
            Some(listener) => door.take_from_http(listener).await,
            None => std::future::pending().await,
        }
    };
    let (mut socket, mut http, mut stopped) = (pin!(socket), pin!(http), pin!(stopped));
    // Accepting may be given up at any point; connections are tasks of their own.
    poll_fn(|context| {
        let is_over = socket.as_mut().poll(context).is_ready()
            | http.as_mut().poll(context).is_ready()
            | stopped.as_mut().poll(context).is_ready();
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

struct Door {
    router: Router,
    graceful: GracefulShutdown,
    room: Arc<Semaphore>,
}

impl Door {
    async fn take_from_socket(&self, listener: &UnixListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    // A process whose user the kernel does not tell may not even read.
                    let Ok(peer) = stream.peer_cred() else { continue };
                    self.serve(stream, Caller::Socket { uid: peer.uid(), pid: peer.pid() }, permit);
                }
                Err(_) => sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    async fn take_from_http(&self, listener: &TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => self.serve(stream, Caller::Http(peer), permit),
                Err(_) => sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    fn serve<S>(&self, stream: S, caller: Caller, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(caller)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .serve_connection(TokioIo::new(stream), service);
        let watched = self.graceful.watch(connection);
        tokio::spawn(async move {
            // What a peer does wrong ends its connection and nothing else.
            let _ = watched.await;
            drop(permit);
        });
    }
}
