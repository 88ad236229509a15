//! Whom a command asks, with which cards, and over how many connections: what every command that
//! sends transactions can be told.
//!
//! Not here: how fast, and for how long.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tapswitch_loadgen::{Arrivals, IinTable, IinTableError, InstitutionId, LoadDialect, LoadPlan};

/// Whom to ask, and what.
#[derive(clap::Args)]
pub(crate) struct Asking {
    /// Address of the switch, host:port.
    #[arg(long, value_parser = parse_target)]
    target: SocketAddr,
    /// Dialect: cups or iso87-ascii.
    #[arg(long, default_value = "cups", value_parser = parse_dialect)]
    dialect: LoadDialect,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Unanswered requests that a connection may have.
    #[arg(long, default_value_t = 64)]
    in_flight: u32,
    /// Fixes cards, kinds of transactions, amounts and arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How arrivals are spread: constant or poisson.
    #[arg(long, default_value = "poisson", value_parser = parse_arrivals)]
    arrivals: Arrivals,
    /// Cards, up to 10^9.
    #[arg(long, default_value_t = 10_000_000)]
    cards: u64,
    /// Exponent of Zipf's law of how often a card is used; 0 is uniform.
    #[arg(long, default_value_t = 0.7)]
    zipf: f64,
    /// Cards of these issuers only, as the shipped table of IINs names them: CMB,ICBC
    #[arg(long, value_delimiter = ',')]
    issuers: Vec<String>,
    /// Acquiring and forwarding institution, DE 32 and 33: at most 11 digits.
    #[arg(long, default_value = "03330000", value_parser = parse_institution)]
    acquirer: InstitutionId,
    /// Keep the sending thread on this core.
    #[arg(long)]
    pin_core: Option<usize>,
    /// Sign every connection on first.
    #[arg(long)]
    sign_on: bool,
    /// How long to wait for an answer, in milliseconds.
    #[arg(long, default_value_t = 15_000)]
    answer_deadline_ms: u64,
}

fn parse_target(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "the host has no address".to_owned())
}

fn parse_dialect(text: &str) -> Result<LoadDialect, &'static str> {
    LoadDialect::named(text).ok_or("the dialects are cups and iso87-ascii")
}

fn parse_arrivals(text: &str) -> Result<Arrivals, &'static str> {
    match text {
        "constant" => Ok(Arrivals::Constant),
        "poisson" => Ok(Arrivals::Poisson),
        _ => Err("arrivals are constant or poisson"),
    }
}

fn parse_institution(text: &str) -> Result<InstitutionId, &'static str> {
    InstitutionId::parse(text).ok_or("an institution is 1 to 11 digits")
}

impl Asking {
    /// A plan that asks as fast as can be.
    ///
    /// # Errors
    /// An issuer that the table of IINs does not have.
    pub(crate) fn plan(&self) -> Result<LoadPlan, IinTableError> {
        let all = IinTable::shipped();
        let iins = if self.issuers.is_empty() { all } else { all.only(&self.issuers)? };
        Ok(LoadPlan {
            connections: self.connections,
            in_flight: self.in_flight,
            arrivals: self.arrivals,
            seed: self.seed,
            zipf_s: self.zipf,
            cards: self.cards,
            iins,
            acquirer: self.acquirer,
            forwarder: self.acquirer,
            pin_core: self.pin_core,
            sign_on: self.sign_on,
            answer_deadline: Duration::from_millis(self.answer_deadline_ms),
            ..LoadPlan::new(self.target, self.dialect)
        })
    }
}
