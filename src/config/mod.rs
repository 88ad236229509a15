//! What an operator edits, checked and typed. Immutable once made: shards share it.
//!
//! `file` reads TOML, key by key; `check` makes of it what is declared here, or names everything
//! that is wrong; `default` is the shipped file, which documents every key and fills in what others
//! leave out. Not here: the bounds themselves (`limits`), and whether an address can be bound.

mod admin;
mod check;
mod default;
mod file;
mod host;
mod iins;
mod journal;
mod listing;
mod peers;
mod problem;
mod reload;
mod requestor;
mod stand_in;
#[cfg(test)]
mod tests;
mod velocity;

use crate::shard::{AcquirerId, IssuerId};
pub use admin::AdminConfig;
pub use default::{DEFAULT_TOML, Loaded};
pub use host::Host;
pub use journal::{Durability, JournalConfig};
pub use listing::Difference;
pub use peers::{PEERS_MAX, PeerError, PeerNet, Peers};
pub use problem::{ConfigError, Problem};
pub use reload::NeedsRestart;
pub use requestor::{CryptogramConfig, RequestorConfig, WalletConfig};
pub use stand_in::{StandInReasons, StandInRule};
use std::net::SocketAddr;
use std::path::PathBuf;
use tapswitch_protocol::{Dialect, FieldSet, Framing, ResponseCode};
pub use velocity::{
    PinPresence, QrCode, QrLevel, TransactionKind, VelocityCondition, VelocityConfig,
    VelocityCounter, VelocityLimit, VelocityScope, VelocityWindow,
};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads, engine, idling.
    pub switch: SwitchConfig,
    /// Acquirer profiles, each with its listener. `AcquirerId` is the place here.
    pub acquirers: Vec<AcquirerConfig>,
    /// Issuers. `IssuerId` is the place here.
    pub issuers: Vec<IssuerConfig>,
    /// Issuer by IIN prefix.
    pub iins: Vec<IinRow>,
    /// Counters and limits per card.
    pub velocity: VelocityConfig,
    /// Token requestors: the level of payments by code, and their tokens.
    pub requestors: Vec<RequestorConfig>,
    /// How many tokens there can be.
    pub wallet: WalletConfig,
    /// The simulated banks.
    pub bank: BankConfig,
    /// What outlives the process.
    pub journal: JournalConfig,
    /// Where keys are.
    pub keys: KeysConfig,
    /// The outcome log; none: nothing is logged.
    pub outcomes: Option<OutcomesConfig>,
    /// Where operators reach the switch.
    pub admin: AdminConfig,
}

/// The outcome log: what happened to each transaction, for `tapswitch find`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomesConfig {
    /// The folder in which `outcomes/` is made.
    pub dir: PathBuf,
    /// Bytes of all files together; the oldest are deleted.
    pub bytes_max: u64,
}

/// Where keys are; never the keys themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysConfig {
    /// The file of the card key; none: a credential of the service, or random for the process.
    pub card_key_file: Option<PathBuf>,
}

/// Threads, engine, idling, and what a shard may hold.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// Shards; at least 1.
    pub shards: usize,
    /// Core of each shard, in turn; empty: not pinned.
    pub cores: Vec<usize>,
    /// What a shard does when there is nothing to do.
    pub idle: Idle,
    /// Which I/O engine.
    pub engine: EngineChoice,
    /// Requests waiting for their issuer, per shard.
    pub pending_max: usize,
    /// Duplicate memory in bytes, per shard: answers.
    pub duplicates_bytes: usize,
    /// Open pre-authorizations, per shard.
    pub preauthorizations_max: usize,
    /// Duplicate memory in bytes, per shard: originals.
    pub originals_bytes: usize,
    /// How long a graceful stop may take.
    pub drain_ms: u64,
    /// Longest jump ahead of the wall clock that is followed, in milliseconds; 0: any.
    pub clock_step_max_ms: u64,
    /// A shard that does not come back for so long ends the process, in milliseconds; 0: never.
    pub stall_abort_ms: u64,
    /// When a settlement date ends; none: at midnight UTC, and answers state no date.
    pub cutoff: Option<CutOff>,
}

/// The time of day at which a settlement date ends and the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Minutes after midnight; 0: dates are those of the calendar.
    pub minute: u32,
    /// Minutes east of UTC.
    pub zone_offset_minutes: i32,
}

impl core::fmt::Display for CutOff {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (hour, minute) = (self.minute / 60, self.minute % 60);
        let zone = self.zone_offset_minutes;
        let (sign, zone) = (if zone < 0 { '-' } else { '+' }, zone.unsigned_abs());
        write!(f, "{hour:02}:{minute:02} UTC{sign}{:02}:{:02}", zone / 60, zone % 60)
    }
}

/// What a shard does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Sleep until the kernel has something.
    Park,
    /// Poll the kernel without sleeping.
    Spin,
}

/// Which I/O engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// io_uring, or plain tokio when the kernel refuses it.
    Auto,
    /// io_uring or nothing.
    TokioUring,
    /// Plain tokio (epoll).
    Tokio,
}

/// One acquirer profile and its listener.
#[derive(Clone, Debug)]
pub struct AcquirerConfig {
    /// Its name in counters and messages.
    pub name: String,
    /// Where it connects to.
    pub listen: SocketAddr,
    /// How its messages are written.
    pub dialect: &'static Dialect,
    /// How they are told apart.
    pub framing: Framing,
    /// Whether transactions need an 0800/0820 sign-on first.
    pub sign_on_required: bool,
    /// What becomes of its connections.
    pub session: AcquirerSession,
    /// Every request is answered within this.
    pub answer_within_ms: u64,
    /// How long before that the issuer's time is over.
    pub answer_margin_ms: u64,
    /// The same for transit merchants (`transit_mccs`), who let nobody wait.
    pub transit_answer_within_ms: u64,
    /// Margin of transit requests.
    pub transit_answer_margin_ms: u64,
    /// MCCs of transit.
    pub transit_mccs: Vec<u16>,
    /// Where a request says which sort of code was read; `None`: nowhere.
    pub qr_code: Option<QrCodeField>,
    /// Data elements whose contents name a transaction, besides the MTI's class.
    pub duplicate_key: FieldSet,
    /// The switch's own answers.
    pub codes: OwnCodes,
}

/// What becomes of an acquirer's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquirerSession {
    /// A signed-on connection on which nothing has come for so long is asked for an echo; 0: never.
    pub echo_idle_ms: u64,
    /// So many echoes in a row unanswered, and the connection is closed.
    pub echo_misses: u32,
    /// Connections at once; 0: any number.
    pub connections_max: u32,
    /// Whether a further one takes the place of the oldest, or is refused.
    pub takeover: bool,
    /// Who may connect.
    pub peers: Peers,
    /// Connections a second from one address; more are closed at once. 0: any number.
    pub connects_per_second: u32,
}

impl Default for AcquirerSession {
    fn default() -> Self {
        Self {
            echo_idle_ms: 0,
            echo_misses: 3,
            connections_max: 0,
            takeover: true,
            peers: Peers::default(),
            connects_per_second: 0,
        }
    }
}

/// Where a request by QR or bar code says whether the code was a static or a dynamic one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCodeField {
    /// Data element.
    pub field: u8,
    /// First character in it, from 0.
    pub at: usize,
    /// What stands there for a static code.
    pub is_static: String,
    /// What stands there for a dynamic code.
    pub is_dynamic: String,
}

/// The switch's own answers, one code for each reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnCodes {
    /// MTI, or network management code, that the switch does not serve.
    pub unknown_mti: ResponseCode,
    /// Not well-formed, or a mandatory field is missing.
    pub format: ResponseCode,
    /// The IIN belongs to no issuer.
    pub no_route: ResponseCode,
    /// Issuer down, its window full, no trace number free, or the switch is draining.
    pub issuer_unavailable: ResponseCode,
    /// The issuer did not answer in time.
    pub time_out: ResponseCode,
    /// A table or ring of the switch is full.
    pub overload: ResponseCode,
    /// The issuer's answer does not fit its request.
    pub mis_echoed: ResponseCode,
    /// Same key, other contents.
    pub duplicate: ResponseCode,
    /// Velocity, by amount.
    pub amount_limit: ResponseCode,
    /// Velocity, by count.
    pub count_limit: ResponseCode,
    /// The connection has not signed on.
    pub not_signed_on: ResponseCode,
    /// PAN shorter than any card's.
    pub invalid_card: ResponseCode,
    /// Amount zero.
    pub invalid_amount: ResponseCode,
    /// A 0400 names an original that is not known.
    pub original_not_found: ResponseCode,
}

/// One issuer.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// Its short name, as in the IIN table.
    pub name: String,
    /// Requests under way at it, per shard; more are answered "issuer unavailable".
    pub in_flight_max: u32,
    /// Whether a request's record is durable before the request leaves.
    pub intent_first: bool,
    /// Messages owed to it that it gets in a second after an outage, from all shards together.
    pub saf_rate: u32,
    /// Whether an owed message that is sent again says so in its MTI (0421 after 0420); `None`: as its
    /// dialect has it.
    pub marks_repeats: Option<bool>,
    /// Where it is reached over TCP; `None`: its simulated bank lives in this process.
    pub link: Option<IssuerLinkConfig>,
    /// Who gets its new requests while it cannot be reached.
    pub failover: Option<IssuerId>,
}

/// How an issuer is reached over TCP, by some connections of each shard.
#[derive(Clone, Debug)]
pub struct IssuerLinkConfig {
    /// Where it listens; `None`: it connects to `listen`.
    pub connect: Option<SocketAddr>,
    /// Where the switch listens for it. With `connect`: a link is a pair of connections, requests go
    /// by the one and answers come by the other.
    pub listen: Option<SocketAddr>,
    /// Who may connect there.
    pub peers: Peers,
    /// A CUPS link by which nothing was sent for so long gets an idle probe; 0: never.
    pub probe_idle_ms: u64,
    /// How messages are written. Requests of acquirers with another dialect cannot be forwarded.
    pub dialect: &'static Dialect,
    /// How they are told apart.
    pub framing: Framing,
    /// Connections of each shard.
    pub connections: u8,
    /// Whether a connection is of use only after the issuer has granted a sign-on.
    pub sign_on: bool,
    /// A link on which nothing has come for so long is asked for an echo.
    pub echo_idle_ms: u64,
    /// So many echoes in a row unanswered, and the link is given up.
    pub echo_misses: u32,
    /// So many requests in a row timed out, and the issuer is asked no more than once a second; 0:
    /// never.
    pub breaker_timeouts: u32,
    /// Whether it is sent the switch's totals after each cut-off.
    pub reconciles: bool,
}

impl IssuerLinkConfig {
    /// Where an issuer is and how it speaks; the rest as when the file does not say it.
    #[must_use]
    pub const fn new(connect: SocketAddr, dialect: &'static Dialect, framing: Framing) -> Self {
        Self {
            connect: Some(connect),
            listen: None,
            peers: Peers::ANYBODY,
            probe_idle_ms: 0,
            dialect,
            framing,
            connections: 1,
            sign_on: true,
            echo_idle_ms: 30_000,
            echo_misses: 3,
            breaker_timeouts: 20,
            reconciles: false,
        }
    }
}

impl core::fmt::Display for IssuerLinkConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.connect, self.listen) {
            (Some(connect), None) => write!(f, "{connect}"),
            (Some(connect), Some(listen)) => write!(f, "{connect}, answers at {listen}"),
            (None, Some(listen)) => write!(f, "{listen}, where it connects to"),
            (None, None) => f.write_str("nowhere"),
        }
    }
}

/// One IIN prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IinRow {
    /// The prefix as a number.
    pub prefix: u32,
    /// Its digits: 5 to 9.
    pub digits: u8,
    /// Whose it is.
    pub issuer: IssuerId,
    /// Debit or credit.
    pub kind: CardKind,
    /// Digits of its PANs.
    pub pan_digits: u8,
}

/// What sort of account stands behind a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardKind {
    /// A balance that must cover the amount.
    Debit,
    /// A credit line (credit and quasi-credit).
    Credit,
    /// A prepaid balance.
    Prepaid,
}

/// The simulated banks. Every issuer of the configuration has one.
#[derive(Clone, Debug)]
pub struct BankConfig {
    /// Threads of their own; 0: the shards' drivers poll them.
    pub threads: usize,
    /// Cores of those threads, in turn; empty: not pinned.
    pub cores: Vec<usize>,
    /// Opening balances, declines, delays and silence are drawn from this.
    pub seed: u64,
    /// Accounts that can be touched, per bank and shard; a power of two.
    pub accounts_max: usize,
    /// Opening balance of a debit or prepaid account, from and to, in minor units.
    pub balance_minor: (u64, u64),
    /// Credit line, from and to, in minor units.
    pub credit_line_minor: (u64, u64),
    /// What else may stand behind a card.
    pub products: BankProducts,
    /// Behaviour of every bank, in the order of `Config::issuers`.
    pub behaviour: Vec<BankBehaviour>,
}

/// Money-market funds behind debit cards, and consumer loans behind credit cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BankProducts {
    /// Of so many debit cards, in parts of a million, the balance is held in units of a fund.
    pub fund_share_ppm: u32,
    /// Value of a unit on 1 January 2026, in ten-thousandths of a CNY.
    pub fund_nav: u32,
    /// What a unit gains each day, likewise.
    pub fund_nav_daily_gain: u32,
    /// What one account may redeem a day, in minor units.
    pub fund_redemption_day_minor_max: u64,
    /// Behind so many credit cards, in parts of a million, is a consumer loan.
    pub loan_share_ppm: u32,
    /// Line of a consumer loan, from and to, in minor units.
    pub loan_line_minor: (u64, u64),
    /// Number of instalments, from and to.
    pub loan_instalments: (u64, u64),
}

impl BankProducts {
    /// Neither funds nor loans.
    pub const NONE: Self = Self {
        fund_share_ppm: 0,
        fund_nav: 10_000,
        fund_nav_daily_gain: 0,
        fund_redemption_day_minor_max: 0,
        loan_share_ppm: 0,
        loan_line_minor: (0, 0),
        loan_instalments: (1, 1),
    };
}

/// How one simulated bank behaves. Rates are parts of a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankBehaviour {
    /// Median delay of an answer.
    pub delay_median_us: u64,
    /// 99th percentile of the delay (log-normal); equal to the median: constant.
    pub delay_p99_us: u64,
    /// Declines with code 51 regardless of the account.
    pub insufficient_funds_ppm: u32,
    /// Declines with code 54.
    pub expired_ppm: u32,
    /// Declines with code 55, of requests that carry a PIN.
    pub wrong_pin_ppm: u32,
    /// Declines with code 05.
    pub do_not_honor_ppm: u32,
    /// Cards that the bank does not know (code 14).
    pub unknown_card_ppm: u32,
    /// Requests processed but never answered.
    pub silence_ppm: u32,
    /// Requests answered only after `late_ms`.
    pub late_ppm: u32,
    /// How late.
    pub late_ms: u64,
}

/// What a configuration is laid out for; nothing runs by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Requests a second that are expected at most, all shards together.
    pub peak_per_second: u64,
    /// How long acquirers may repeat a request; the longest of them.
    pub retry_window_s: u64,
    /// Answers that one shard remembers, about.
    pub duplicates_max: u64,
    /// How long answers are remembered at the peak, about.
    pub duplicates_cover_ms: u64,
    /// Originals that one shard remembers.
    pub originals_max: u64,
    /// How long originals are remembered at the peak, were every request one.
    pub originals_cover_ms: u64,
}

impl Config {
    /// Whose cards an issuer's bank has: its own, or, of a second route, those of the issuer that it
    /// stands in for.
    #[must_use]
    pub fn books_of(&self, issuer: IssuerId) -> IssuerId {
        if self.iins.iter().any(|row| row.issuer == issuer) {
            return issuer;
        }
        let first = self.issuers.iter().position(|other| other.failover == Some(issuer));
        // At most ISSUERS_MAX.
        first.map_or(issuer, |first| IssuerId(first as u8))
    }

    /// The profile of an acquirer.
    #[must_use]
    pub fn acquirer(&self, id: AcquirerId) -> Option<&AcquirerConfig> {
        self.acquirers.get(usize::from(id.0))
    }
}
