//! Plain tokio: epoll.
//!
//! A read or write that moved fewer bytes than it could have tells that the socket has no more to
//! give or take: readiness is then cleared at once, which saves the call that would only be told
//! "not now". tokio drops the clearing if the kernel reported news in between.

use crate::io::watched_fd::watch;
use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;
use std::future::Future;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

pub(super) fn run_thread<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    Ok(runtime.block_on(LocalSet::new().run_until(future)))
}

pub(crate) struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    pub(super) fn from_std(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        watch(stream.into()).map(Self)
    }

    pub(super) async fn read(
        &self,
        mut buffer: BytesMut,
        at: usize,
    ) -> (io::Result<usize>, BytesMut) {
        let room = buffer.get_mut(at..).unwrap_or_default();
        let result = loop {
            let mut ready = match self.0.readable().await {
                Ok(ready) => ready,
                Err(error) => break Err(error),
            };
            match recv(self.0.get_ref(), &mut *room, RecvFlags::empty()) {
                Ok((bytes, _)) => {
                    if bytes > 0 && bytes < room.len() {
                        ready.clear_ready();
                    }
                    break Ok(bytes);
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        (result, buffer)
    }

    pub(super) async fn write(
        &self,
        buffer: BytesMut,
        part: Range<usize>,
    ) -> (io::Result<usize>, BytesMut) {
        let bytes = buffer.get(part).unwrap_or_default();
        let result = loop {
            let mut ready = match self.0.writable().await {
                Ok(ready) => ready,
                Err(error) => break Err(error),
            };
            match send(self.0.get_ref(), bytes, SendFlags::NOSIGNAL) {
                Ok(written) => {
                    if written < bytes.len() {
                        ready.clear_ready();
                    }
                    break Ok(written);
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        (result, buffer)
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(self.0.get_ref()).shutdown(how)
    }
}
