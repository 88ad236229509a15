//! A connection that a bank makes to its switch: made, lost, and made again after a pause.
//!
//! Not here: what it carries (`desk`), the pauses (`dial`).

use crate::io::dial::{CONNECT_MS_MAX, NS_PER_MS, Retries, connect, watch_over};
use crate::io::visits::Visits;
use socket2::SockRef;
use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use tokio::task::{JoinHandle, spawn_local};

enum Stage {
    Resting {
        until_ns: u64,
    },
    Connecting {
        made: Rc<Cell<Option<io::Result<TcpStream>>>>,
        task: JoinHandle<()>,
        give_up_ns: u64,
    },
    Made {
        since_ns: u64,
    },
}

/// One such connection. Dropping it ends a try that is under way.
pub(super) struct Call {
    address: SocketAddr,
    retries: Retries,
    stage: Stage,
}

impl Call {
    /// To be made at once. `spread` should differ from call to call.
    pub(super) const fn new(address: SocketAddr, spread: u64) -> Self {
        Self { address, retries: Retries::new(spread), stage: Stage::Resting { until_ns: 0 } }
    }

    /// When it wants to be looked at, if nothing happens.
    pub(super) const fn due_ns(&self) -> Option<u64> {
        match self.stage {
            Stage::Resting { until_ns } => Some(until_ns),
            Stage::Connecting { give_up_ns, .. } => Some(give_up_ns),
            Stage::Made { .. } => None,
        }
    }

    /// Does what is due, and visits under `slot` when there is news. The connection, once it is made.
    pub(super) fn look(
        &mut self,
        now_ns: u64,
        (slot, visits): (u16, &Rc<Visits>),
    ) -> Option<TcpStream> {
        match &self.stage {
            Stage::Resting { until_ns } if *until_ns <= now_ns => {
                let made = Rc::new(Cell::new(None));
                let (outcome, visits) = (Rc::clone(&made), Rc::clone(visits));
                let address = self.address;
                let task = spawn_local(async move {
                    outcome.set(Some(connect(address).await));
                    visits.push(slot);
                });
                let give_up_ns = now_ns + CONNECT_MS_MAX * NS_PER_MS;
                self.stage = Stage::Connecting { made, task, give_up_ns };
            }
            Stage::Connecting { made, task, give_up_ns } => match made.take() {
                Some(Ok(stream)) => {
                    // A peer that is gone already is found by reading.
                    let _ = watch_over(SockRef::from(&stream));
                    self.stage = Stage::Made { since_ns: now_ns };
                    return Some(stream);
                }
                Some(Err(_)) => self.rest(now_ns),
                None if *give_up_ns <= now_ns => {
                    task.abort();
                    self.rest(now_ns);
                }
                None => {}
            },
            Stage::Resting { .. } | Stage::Made { .. } => {}
        }
        None
    }

    /// Its connection is lost.
    pub(super) fn lost(&mut self, now_ns: u64) {
        if let Stage::Made { since_ns } = self.stage {
            self.retries.lost(since_ns, now_ns);
            self.rest(now_ns);
        }
    }

    fn rest(&mut self, now_ns: u64) {
        self.stage = Stage::Resting { until_ns: self.retries.next_ns(now_ns) };
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Stage::Connecting { task, .. } = &self.stage {
            task.abort();
        }
    }
}
