//! All issuers' banks for one shard, and their end of the ring.
//!
//! Not here: what a bank decides (`issuing_bank`), when the ring is polled (`src/io`).

use super::behaviour::{Seed, Timing};
use super::delayed::Delayed;
use super::fund::Day;
use super::issuing_bank::{IssuingBank, Shared, Verdict};
use super::ledger::{Flows, Ledger};
use super::products::Products;
use super::recent::{RECENT_MAX, RecentTable};
use super::response;
use super::ring::{BankMessage, BankRing};
use super::stage::{Reading, STAGED_MAX, Stage, look_ahead};
use super::statement::{BankTotals, Statement, StatementEntry};
use crate::config::{BankConfig, Config, IinRow, IssuerConfig};
use crate::limits::FRAME_BYTES_MAX;
use crate::shard::{IssuerId, Now};
use tapswitch_protocol::{Dialect, MessageView, ResponseCode};

/// When an answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// At once.
    Now,
    /// At this moment.
    At {
        /// Monotonic nanoseconds.
        due_ns: u64,
    },
    /// Never: the request was processed and the answer is lost. The message is empty.
    Silent,
}

/// All issuers' banks for one shard.
pub struct BankSet {
    /// By acquirer.
    dialects: Vec<&'static Dialect>,
    /// By issuer.
    banks: Vec<IssuingBank>,
    /// By issuer: whether its bank is served here.
    served: Vec<bool>,
    shared: Shared,
    delayed: Delayed,
    stages: Box<[Stage]>,
    /// Messages that are staged; empty between polls.
    staged: Vec<BankMessage>,
    response: Box<[u8; FRAME_BYTES_MAX]>,
}

/// Accounts of a bank that is served elsewhere: none are ever touched.
const ACCOUNTS_ELSEWHERE: usize = 1;

impl BankSet {
    /// The banks of a configuration's issuers that live in the switch, nothing touched yet. One for
    /// each shard.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let dialects = config.acquirers.iter().map(|acquirer| acquirer.dialect).collect();
        Self::serving(config, dialects, |_, issuer| issuer.link.is_none())
    }

    /// Those banks of a configuration's issuers that are served here; `dialects` by acquirer.
    #[must_use]
    pub fn serving(
        config: &Config,
        dialects: Vec<&'static Dialect>,
        is_served: impl Fn(IssuerId, &IssuerConfig) -> bool,
    ) -> Self {
        let issuers = (0..).map(IssuerId).zip(&config.issuers);
        let served = issuers.map(|(id, issuer)| is_served(id, issuer)).collect();
        Self::with(&config.bank, (&config.issuers, served), &config.iins, dialects)
    }

    /// The same from the parts that matter to banks; `dialects` by acquirer.
    #[must_use]
    pub fn of(
        config: &BankConfig,
        issuers: &[IssuerConfig],
        iins: &[IinRow],
        dialects: Vec<&'static Dialect>,
    ) -> Self {
        Self::with(config, (issuers, vec![true; issuers.len()]), iins, dialects)
    }

    fn with(
        config: &BankConfig,
        (issuers, served): (&[IssuerConfig], Vec<bool>),
        iins: &[IinRow],
        dialects: Vec<&'static Dialect>,
    ) -> Self {
        assert_eq!(
            config.behaviour.len(),
            issuers.len(),
            "Invariant: a checked configuration says how each issuer's bank behaves"
        );
        let elsewhere = BankConfig { accounts_max: ACCOUNTS_ELSEWHERE, ..config.clone() };
        let banks = (0..).map(IssuerId).zip(issuers).zip(&config.behaviour).zip(&served);
        let banks = banks
            .map(|(((id, issuer), behaviour), &here)| {
                let config = if here { config } else { &elsewhere };
                IssuingBank::new(&issuer.name, id, config, behaviour)
            })
            .collect();
        let shared = Shared {
            seed: Seed::new(config.seed),
            products: Products::new(iins),
            recent: RecentTable::new(RECENT_MAX),
        };
        Self {
            dialects,
            banks,
            served,
            shared,
            delayed: Delayed::new(),
            stages: (0..STAGED_MAX).map(|_| Stage::new()).collect(),
            staged: Vec::with_capacity(STAGED_MAX),
            response: Box::new([0; FRAME_BYTES_MAX]),
        }
    }

    /// Answers what is on the ring and sends what is due, at most `budget` messages. Returns how
    /// many: fewer than `budget` means that nothing is left to do before [`BankSet::next_due_ns`].
    /// Afterwards ask `ring.from_bank.must_wake()`.
    pub fn poll(&mut self, now: Now, ring: &BankRing, budget: usize) -> usize {
        let mut handled = 0;
        while handled < budget
            && let Some(message) = self.delayed.pop_due(now.mono_ns)
        {
            send_back(ring, message);
            handled += 1;
        }
        loop {
            let batch = (budget - handled).min(STAGED_MAX);
            self.staged.extend((0..batch).map_while(|_| ring.to_bank.receive()));
            if self.staged.is_empty() {
                return handled;
            }
            handled += self.staged.len();
            self.answer_staged(now, ring);
        }
    }

    /// Reads all staged messages, then decides them in turn.
    fn answer_staged(&mut self, now: Now, ring: &BankRing) {
        let mut staged = core::mem::take(&mut self.staged);
        for (stage, message) in self.stages.iter_mut().zip(&staged) {
            match self.dialects.get(usize::from(message.acquirer.0)) {
                Some(dialect) => stage.read(dialect, message.bytes(), &self.shared),
                None => stage.reading = Reading::Unanswerable,
            }
        }
        let issuers = staged.iter().map(|message| message.issuer);
        look_ahead(issuers.zip(&self.stages), &self.banks, &self.shared);
        for (place, mut message) in staged.drain(..).enumerate() {
            match self.conclude(place, now, &mut message) {
                Disposition::At { due_ns } if due_ns > now.mono_ns => {
                    self.delayed.push(due_ns, message);
                }
                Disposition::At { .. } | Disposition::Now | Disposition::Silent => {
                    send_back(ring, message);
                }
            }
        }
        self.staged = staged;
    }

    /// When the next waiting answer is due.
    #[inline]
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.delayed.next_due_ns()
    }

    /// Answers that wait for their time.
    #[inline]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.delayed.len()
    }

    /// Processes one request and writes the answer over it. What cannot be answered at all (no MTI,
    /// or one that is a response) is silence.
    pub fn answer(&mut self, now: Now, message: &mut BankMessage) -> Disposition {
        if let Some(stage) = self.stages.first_mut() {
            match self.dialects.get(usize::from(message.acquirer.0)) {
                Some(dialect) => stage.read(dialect, message.bytes(), &self.shared),
                None => stage.reading = Reading::Unanswerable,
            }
        }
        self.conclude(0, now, message)
    }

    /// Decides the message that was read into the stage at `place`.
    #[inline]
    fn conclude(&mut self, place: usize, now: Now, message: &mut BankMessage) -> Disposition {
        let dialect = self.dialects.get(usize::from(message.acquirer.0)).copied();
        let (bytes, disposition) = match dialect {
            Some(dialect) => self.decide(place, now, (message.issuer, dialect), message.bytes()),
            None => (0, Disposition::Silent),
        };
        message.replace(self.response.get(..bytes).unwrap_or_default());
        disposition
    }

    /// The same for bytes from elsewhere: a bank that is reached over TCP. The answer is empty when
    /// there is none.
    pub fn answer_bytes(
        &mut self,
        now: Now,
        (issuer, dialect): (IssuerId, &'static Dialect),
        request: &[u8],
    ) -> (Disposition, &[u8]) {
        if let Some(stage) = self.stages.first_mut() {
            stage.read(dialect, request, &self.shared);
        }
        let (bytes, disposition) = self.decide(0, now, (issuer, dialect), request);
        (disposition, self.response.get(..bytes).unwrap_or_default())
    }

    /// Writes the answer to the request that was read into the stage at `place` into `response`.
    #[inline]
    fn decide(
        &mut self,
        place: usize,
        now: Now,
        (issuer, dialect): (IssuerId, &'static Dialect),
        request: &[u8],
    ) -> (usize, Disposition) {
        let Self { banks, shared, stages, response, .. } = self;
        let stage = stages.get(place);
        let view = stage.and_then(|stage| stage.view(dialect, request));
        let decided = stage.zip(view).and_then(|(stage, view)| {
            let bank = banks.get_mut(usize::from(issuer.0));
            let (verdict, disposition) = decide(bank, shared, &stage.reading, &view, now)?;
            let bytes = response::write(&view, &verdict, now.wall_ms, &mut **response)?;
            (disposition != Disposition::Silent).then_some((bytes, disposition))
        });
        decided.unwrap_or((0, Disposition::Silent))
    }

    /// From now on [`BankSet::statement`] has what is done.
    pub fn keep_statement(&mut self) {
        self.shared.recent.keep_references();
    }

    /// What was done, transaction by transaction, and the books.
    #[must_use]
    pub fn statement(&self) -> Statement {
        let books = self.ledgers();
        let transactions = self.shared.recent.iter().filter_map(|(recent, rrn)| {
            let pan = recent.key.pan.pan()?;
            let issuer = self.shared.products.of(&pan)?.issuer;
            let bank = self.banks.get(usize::from(issuer.0))?;
            let mut entry = StatementEntry::new(&bank.name, &pan, recent, rrn)?;
            entry.instalments = bank.instalments(&self.shared, recent);
            Some(entry)
        });
        Statement {
            transactions: transactions.collect(),
            sessions: Vec::new(),
            banks: books.iter().map(|(name, ledger)| BankTotals::new(name, ledger)).collect(),
        }
    }

    /// What a bank has counted so far; cheap.
    #[must_use]
    pub fn flows(&self, issuer: IssuerId) -> Option<&Flows> {
        self.banks.get(usize::from(issuer.0)).map(|bank| &bank.flows)
    }

    /// The books of every bank served here, added up from all accounts: for the end of a run.
    #[must_use]
    pub fn ledgers(&self) -> Vec<(String, Ledger)> {
        let served = self.banks.iter().zip(&self.served).filter(|&(_, &here)| here);
        served.map(|(bank, _)| (bank.name.clone(), bank.ledger(&self.shared))).collect()
    }
}

/// Decides one message, whatever it is; `None` for one that gets no answer.
#[inline]
fn decide(
    bank: Option<&mut IssuingBank>,
    shared: &mut Shared,
    reading: &Reading,
    view: &MessageView<'_>,
    now: Now,
) -> Option<(Verdict, Disposition)> {
    let Some(bank) = bank else {
        return Some((Verdict::new(ResponseCode::NO_SUCH_ISSUER), Disposition::Now));
    };
    match reading {
        Reading::Unanswerable => None,
        Reading::Refused(code) => Some((bank.decline(*code), Disposition::Now)),
        Reading::Network => Some((network_management(view), Disposition::Now)),
        Reading::Request(request, draws) => {
            let (verdict, timing) = bank.decide(shared, request, draws, Day::at(now.wall_ms));
            let after = |delay_ns| Disposition::At { due_ns: now.mono_ns.saturating_add(delay_ns) };
            let disposition = match timing {
                Timing::After { delay_ns: 0 } => Disposition::Now,
                Timing::After { delay_ns } => after(delay_ns),
                Timing::Late => after(bank.late_ns()),
                Timing::Silent => Disposition::Silent,
            };
            Some((verdict, disposition))
        }
    }
}

/// Sign-on, sign-off and echo test are granted; a bank knows no others.
fn network_management(view: &MessageView<'_>) -> Verdict {
    match view.number(70) {
        Some(1 | 2 | 301) => Verdict::new(ResponseCode::APPROVED),
        Some(_) => Verdict::new(ResponseCode::INVALID_TRANSACTION),
        None => Verdict::new(ResponseCode::FORMAT_ERROR),
    }
}

/// Gives a buffer back to the shard, with an answer or without.
#[inline]
fn send_back(ring: &BankRing, message: BankMessage) {
    let sent = ring.from_bank.send(message);
    assert!(sent.is_ok(), "Invariant: every message out has a slot on the way back");
}
