//! What other threads may see of a running switch, without holding it: whoever has this keeps nothing
//! running, and no shard waits for him.

use super::Switch;
use crate::io::config_offer::Offers;
use crate::io::counters::{AcceptCounters, IoCounters};
use crate::io::decider::Decider;
use crate::io::journal::{Space, SpaceWatch};
use std::net::SocketAddr;
use std::sync::Arc;

/// What a running switch publishes.
pub struct SwitchView<D: Decider> {
    engine: String,
    local_addrs: Vec<SocketAddr>,
    shards: Vec<(Arc<IoCounters>, Arc<D::Published>)>,
    accept_counters: Arc<AcceptCounters>,
    offers: Arc<Offers>,
    space: Option<SpaceWatch>,
}

impl<D: Decider> Switch<D> {
    /// What it publishes, for another thread.
    #[must_use]
    pub fn view(&self) -> SwitchView<D> {
        let shards = self.shards.iter();
        let shards = shards.map(|it| (Arc::clone(&it.counters), Arc::clone(&it.published)));
        SwitchView {
            engine: self.engine.to_string(),
            local_addrs: self.local_addrs.clone(),
            shards: shards.collect(),
            accept_counters: Arc::clone(&self.accept_counters),
            offers: Arc::clone(&self.controls.offers),
            space: self.journals.as_ref().map(|journals| journals.stock.space_watch()),
        }
    }
}

impl<D: Decider> SwitchView<D> {
    /// Which engine is used, and why.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// Where the acquirers' listeners are, by acquirer.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// What each shard's kernel side and its decider published, by shard.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = (&IoCounters, &D::Published)> {
        self.shards.iter().map(|(counters, published)| (&**counters, &**published))
    }

    /// What the acceptor counts.
    #[must_use]
    pub fn accept_counters(&self) -> &AcceptCounters {
        &self.accept_counters
    }

    /// Number of the configuration that every shard judges by; 0 while one has still to finish what
    /// the process before left.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.offers.taken_by_all()
    }

    /// Whether the journal's disk takes more; `None` without a journal.
    #[must_use]
    pub fn journal_space(&self) -> Option<Space> {
        self.space.as_ref().map(SpaceWatch::space)
    }
}
