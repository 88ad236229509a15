//! A shard's end of the ring to its simulated banks, which are polled by the shard's own driver
//! or by a thread of their own (`bank_thread`).

use super::wake::Wake;
use crate::bank::{BankMessage, BankRing, BankSet, BufferPool};
use crate::shard::{AcquirerId, IssuerId, Now};
use std::sync::Arc;

/// Messages that the driver's own banks handle before the driver looks at other things.
const INLINE_BUDGET: usize = 1_024;

/// Who polls the banks.
pub(crate) enum Banks {
    /// The shard's driver.
    Inline(Box<BankSet>),
    /// Another thread; this wakes it.
    Thread(Arc<Wake>),
}

/// The shard's end of the ring, and the banks themselves if they live here.
pub(crate) struct BankPort {
    ring: Arc<BankRing>,
    pool: BufferPool,
    banks: Banks,
    /// Something was sent since the banks' thread was last looked after.
    sent: bool,
}

impl BankPort {
    pub(crate) fn new(ring: Arc<BankRing>, banks: Banks) -> Self {
        Self { ring, pool: BufferPool::default(), banks, sent: false }
    }

    /// Sends a message to a bank; `false` when no buffer is free.
    #[inline]
    pub(crate) fn forward(&mut self, issuer: IssuerId, acquirer: AcquirerId, body: &[u8]) -> bool {
        let sent = self.ring.try_send(&mut self.pool, issuer, acquirer, body).is_ok();
        self.sent |= sent;
        sent
    }

    /// A bank's answer; give it back with [`BankPort::give`]. Silence is dealt with here.
    #[inline]
    pub(crate) fn receive(&mut self) -> Option<BankMessage> {
        loop {
            let message = self.ring.from_bank.receive()?;
            if !message.is_silence() {
                return Some(message);
            }
            self.pool.give(message);
        }
    }

    /// An answer has been dealt with.
    #[inline]
    pub(crate) fn give(&mut self, message: BankMessage) {
        self.pool.give(message);
    }

    /// Lets the banks work that the driver polls itself. Tells how many messages they handled.
    #[inline]
    pub(crate) fn poll(&mut self, now: Now) -> usize {
        match &mut self.banks {
            Banks::Inline(banks) => banks.poll(now, &self.ring, INLINE_BUDGET),
            Banks::Thread(_) => 0,
        }
    }

    /// After a batch of forwards: wakes the banks' thread if it sleeps. Tells whether it did.
    #[inline]
    pub(crate) fn wake(&mut self) -> bool {
        let sent = std::mem::take(&mut self.sent);
        match &self.banks {
            Banks::Thread(wake) if sent && self.ring.to_bank.must_wake() => {
                wake.signal();
                true
            }
            Banks::Inline(_) | Banks::Thread(_) => false,
        }
    }

    /// When the driver's own banks want to be polled next.
    #[inline]
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        match &self.banks {
            Banks::Inline(banks) => banks.next_due_ns(),
            Banks::Thread(_) => None,
        }
    }

    /// Before the driver sleeps: whether it may. Its own banks leave nothing behind on the ring.
    pub(crate) fn may_sleep(&self) -> bool {
        match &self.banks {
            Banks::Inline(_) => self.ring.to_bank.is_empty() && self.ring.from_bank.is_empty(),
            Banks::Thread(_) => self.ring.from_bank.may_sleep(),
        }
    }

    /// After the driver slept.
    pub(crate) fn on_wake(&self) {
        match &self.banks {
            Banks::Inline(_) => {}
            Banks::Thread(_) => self.ring.from_bank.on_wake(),
        }
    }

    /// The banks, if they live here.
    pub(crate) fn into_banks(self) -> Option<BankSet> {
        match self.banks {
            Banks::Inline(banks) => Some(*banks),
            Banks::Thread(_) => None,
        }
    }
}
