//! All shards of a process, which talk to each other, end, and begin again as others: the fixture of
//! limits that shards share.

use super::fixture::{Request, cups_header, issuer_answer, pan, secrets, with_view};
use crate::config::Config;
use crate::shard::snapshot::SnapshotStep;
use crate::shard::state_layout::StateLayout;
use crate::shard::{
    AcquirerId, Action, ConnectionId, Counter, IssuerId, MeshKind, MeshMessage, Now, Outbox, Shard,
    ShardId,
};
use tapswitch_protocol::{Dialect, FrameStep, Framing};

/// All shards of a process, with what each wrote down.
pub(super) struct Process {
    pub(super) config: Config,
    pub(super) shards: Vec<Shard>,
    pub(super) outboxes: Vec<Outbox>,
    pub(super) records: Vec<Vec<u8>>,
    pub(super) base: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) now: Now,
    pub(super) stan: u32,
    pub(super) forwards: Vec<(usize, IssuerId, Vec<u8>)>,
    pub(super) answers: Vec<String>,
    /// Whether messages about leases arrive.
    pub(super) delivers: bool,
}

const START: Now = Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 };

fn on(shard: usize) -> ConnectionId {
    ConnectionId { shard: ShardId(shard as u8), acquirer: AcquirerId(0), slot: 1, generation: 1 }
}

impl Process {
    pub(super) fn new(config: Config) -> Self {
        let count = config.switch.shards;
        let shards = (0..count).map(|id| Shard::new(ShardId(id as u8), &config, &secrets()));
        let mut shards: Vec<_> = shards.collect();
        for (id, shard) in shards.iter_mut().enumerate() {
            shard.on_connection_open(on(id));
        }
        Self {
            config,
            shards,
            outboxes: (0..count).map(|_| Outbox::journaling()).collect(),
            records: vec![Vec::new(); count],
            base: Vec::new(),
            now: START,
            stan: 0,
            forwards: Vec::new(),
            answers: Vec::new(),
            delivers: true,
        }
    }

    /// Sends a message and carries everything between the shards. What the acquirer is told is kept.
    pub(super) fn send(&mut self, shard: usize, request: &Request<'_>) -> Option<String> {
        let shard = shard % self.shards.len();
        let message = request.message(Dialect::cups());
        let staged = self.shards[shard].stage(on(shard), &message);
        let outbox = &mut self.outboxes[shard];
        self.shards[shard].on_request(self.now, staged, &cups_header(), &message, outbox);
        self.carry();
        self.answers.pop()
    }

    pub(super) fn carry(&mut self) {
        loop {
            let mut mesh = Vec::new();
            for (from, outbox) in self.outboxes.iter_mut().enumerate() {
                self.records[from].extend_from_slice(outbox.records().0);
                for action in outbox.actions() {
                    match action {
                        Action::Respond { bytes, .. } => {
                            let bytes = outbox.bytes(bytes);
                            let Ok(FrameStep::Message { body, .. }) =
                                Framing::Cups.next(bytes, 4_096)
                            else {
                                panic!("a response is one whole frame");
                            };
                            let code = with_view(body, |view| view.response_code());
                            self.answers.push(code.unwrap().to_string());
                        }
                        Action::NoAnswer { .. }
                        | Action::Tell { .. }
                        | Action::CloseConnection { .. }
                        | Action::Manage { .. }
                        | Action::CloseLink { .. } => {}
                        Action::Forward { issuer, bytes, .. } => {
                            self.forwards.push((from, *issuer, outbox.bytes(bytes).to_vec()));
                        }
                        Action::Mesh { to, kind, connection, header_bytes, bytes } => {
                            let bytes = outbox.bytes(bytes).to_vec();
                            mesh.push((from, *to, *kind, *connection, *header_bytes, bytes));
                        }
                    }
                }
                outbox.clear();
            }
            if mesh.is_empty() {
                return;
            }
            for (from, to, kind, connection, header_bytes, bytes) in mesh {
                let is_lease = matches!(kind, MeshKind::LeaseAsk | MeshKind::LeaseGrant);
                if is_lease && !self.delivers {
                    continue;
                }
                let message = MeshMessage { kind, connection, header_bytes, bytes: &bytes };
                let (to, from) = (usize::from(to.0), ShardId(from as u8));
                self.shards[to].on_mesh(self.now, from, message, &mut self.outboxes[to]);
            }
        }
    }

    /// The issuer answers what was forwarded last.
    pub(super) fn answer(&mut self, code: &str, changes: &[(u8, &[u8])]) -> Option<String> {
        let (shard, issuer, forward) = self.forwards.pop().unwrap();
        let answer = issuer_answer(&forward, code, changes);
        let outbox = &mut self.outboxes[shard];
        self.shards[shard].on_issuer_response(self.now, issuer, AcquirerId(0), &answer, outbox);
        self.carry();
        self.answers.pop()
    }

    pub(super) fn request<'a>(&mut self, amount: u64, pan: &'a str) -> Request<'a> {
        self.stan += 1;
        // Made after all restarts: no process before can have lost it.
        let extra: &[(u8, &[u8])] = &[(7, b"1122130000")];
        Request { pan, stan: self.stan, amount: Some(amount), extra, ..Request::default() }
    }

    /// A purchase by some card, approved if it is within the limits.
    pub(super) fn buy(&mut self, card: u32, amount: u64) -> String {
        let pan = format!("622848{card:013}");
        let request = self.request(amount, &pan);
        match self.send(card as usize, &request) {
            Some(code) => code,
            None => self.answer("00", &[]).unwrap(),
        }
    }

    /// What may still be spent at the merchant, by one shard's cards.
    pub(super) fn left(&mut self) -> u64 {
        let (mut low, mut high) = (0, 30_000);
        while low < high {
            let middle = u64::midpoint(low, high + 1);
            let request = self.request(middle, pan("C2"));
            match self.send(0, &request) {
                None => {
                    assert_eq!(self.answer("51", &[]).as_deref(), Some("51"));
                    low = middle;
                }
                Some(code) => {
                    assert_eq!(code, "61");
                    high = middle - 1;
                }
            }
        }
        low
    }

    pub(super) fn total(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|shard| shard.counters().value(counter)).sum()
    }

    pub(super) fn recovered(
        &self,
        config: &Config,
        id: usize,
        base: &[(Vec<u8>, Vec<u8>)],
    ) -> Shard {
        let mut shard = Shard::new(ShardId(id as u8), config, &secrets());
        shard.begin_recovery();
        for (header, bytes) in base {
            shard.load_begin(header).unwrap();
            bytes.chunks(777).for_each(|part| shard.load(part).unwrap());
            shard.load_end().unwrap();
        }
        shard
    }

    /// The process ends, and one of the same layout begins.
    pub(super) fn restart(&mut self) {
        for id in 0..self.shards.len() {
            let mut shard = self.recovered(&self.config, id, &self.base);
            shard.replay(&self.records[id], 0).unwrap();
            assert_eq!(shard.state_hash(), self.shards[id].state_hash(), "what it knew");
            self.begin(id, shard);
        }
        self.carry();
    }

    pub(super) fn begin(&mut self, id: usize, mut shard: Shard) {
        shard.on_connection_open(on(id));
        let outbox = &mut self.outboxes[id];
        while shard.on_recovered(self.now, outbox) {}
        self.shards[id] = shard;
    }

    /// The process ends, and one with so many shards begins.
    pub(super) fn reshard(mut self, config: Config) -> Self {
        let before = StateLayout::of(&self.config).config(&self.config);
        let left = (0..self.shards.len()).map(|id| {
            let mut shard = self.recovered(&before, id, &self.base);
            shard.replay(&self.records[id], 0).unwrap();
            assert!(!shard.on_recovered(self.now, &mut Outbox::new()));
            let header = shard.carry_begin(self.now);
            let mut bytes = Vec::new();
            while shard.snapshot_next(&mut bytes, 1_000) == SnapshotStep::More {}
            (header, bytes)
        });
        let base: Vec<_> = left.collect();
        let mut next = Self::new(config);
        (next.now, next.stan, next.base) = (self.now, self.stan, base);
        for id in 0..next.shards.len() {
            let shard = next.recovered(&next.config, id, &next.base);
            next.begin(id, shard);
        }
        next.carry();
        self.shards.clear();
        next
    }
}
