//! What is asked and what comes back, without sockets: requests are drawn, written and remembered;
//! every response is matched to its request by a wide key (DE 7, 11, 32 and 37, and the connection),
//! verified, and counted.
//!
//! Invariant: sent = answered + unanswered + in flight.
//!
//! Not here: when to ask (see `schedule`), and how bytes move (see `worker`).

use crate::in_flight::{Found, InFlight, Left, Waiting};
use crate::merchants::Merchants;
use crate::message::Conventions;
use crate::mix::Kind;
use crate::plan::{LoadPlan, PlanError};
use crate::stamp::Stamp;
use crate::tally::Tally;
use crate::template::Templates;
use crate::transaction::{Transaction, TransactionSource};
use crate::verify::{Problem, Verdict, verify};
use tapswitch_protocol::error::WriteError;
use tapswitch_protocol::{FieldTable, MessageView, ResponseCode};

/// When and where a request is asked.
#[derive(Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) connection: u32,
    /// When it should be sent.
    pub(crate) intended_ns: u64,
    pub(crate) now_ns: u64,
}

/// Both ends of a run's exchanges.
pub(crate) struct Exchange {
    conventions: Conventions,
    templates: Templates,
    merchants: Merchants,
    source: TransactionSource,
    in_flight: InFlight,
    table: FieldTable,
    tally: Tally,
    deadline_ns: u64,
    shed_codes: Vec<ResponseCode>,
}

/// Why an exchange cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("a request cannot be written in this dialect: {0}")]
    Write(#[from] WriteError),
}

impl Exchange {
    /// For a plan that begins at `stamp`.
    pub(crate) fn new(plan: &LoadPlan, stamp: &Stamp) -> Result<Self, ExchangeError> {
        plan.check()?;
        let conventions = Conventions::new(plan, stamp);
        let merchants = Merchants::new();
        Ok(Self {
            conventions,
            templates: Templates::new(&conventions, &merchants)?,
            merchants,
            source: TransactionSource::new(plan)?,
            in_flight: InFlight::new(plan.window()),
            table: FieldTable::default(),
            tally: Tally::new(plan.iins.issuers()),
            deadline_ns: u64::try_from(plan.answer_deadline.as_nanos()).unwrap_or(u64::MAX),
            shed_codes: plan.shed_codes.clone(),
        })
    }

    /// Requests that wait.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    /// What was counted.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// What was counted, at the end.
    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }

    /// Forgets what was counted; what waits is counted as sent again.
    pub(crate) fn restart_tally(&mut self, plan: &LoadPlan) {
        self.tally = Tally::new(plan.iins.issuers());
        self.tally.sent = self.in_flight.count() as u64;
    }

    /// Draws the next transaction and appends its frame to `out`; gives its place, or `None` when
    /// the window is full or no trace number is free in this second.
    #[inline]
    pub(crate) fn ask(&mut self, asking: Asking, stamp: &Stamp, out: &mut Vec<u8>) -> Option<u32> {
        let in_flight = &self.in_flight;
        let transaction = self.source.next(stamp, |stan| in_flight.has(stan))?;
        self.send(asking, transaction, out)
    }

    /// Appends a sign-on to `out`.
    pub(crate) fn ask_sign_on(
        &mut self,
        asking: Asking,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) -> Option<u32> {
        let transaction = self.source.sign_on(stamp)?;
        self.send(asking, transaction, out)
    }

    #[inline]
    fn send(&mut self, asking: Asking, transaction: Transaction, out: &mut Vec<u8>) -> Option<u32> {
        let Asking { connection, intended_ns, now_ns } = asking;
        let waiting = Waiting { transaction, connection, intended_ns, written_ns: now_ns };
        let place = self.in_flight.insert(waiting)?;
        let merchant = self.merchants.at(transaction.merchant);
        self.templates.append(&transaction, merchant, out);
        self.tally.sent += 1;
        Some(place)
    }

    /// Notes that the request in this place was written.
    #[inline]
    pub(crate) fn on_written(&mut self, place: u32, now_ns: u64) {
        self.in_flight.set_written(place, now_ns);
        if let Some(waiting) = self.in_flight.waiting(place) {
            self.tally.lag.saturating_record(now_ns.saturating_sub(waiting.intended_ns));
        }
    }

    /// Takes a message that came on `connection`. Gives the connection whose request it answers.
    #[inline]
    pub(crate) fn on_message(
        &mut self,
        now_ns: u64,
        connection: u32,
        message: &[u8],
    ) -> Option<u32> {
        let Self { conventions, table, in_flight, tally, .. } = self;
        let response = match conventions.table().parse(message, table) {
            Ok(response) => response,
            Err(error) => {
                tally.wrong += 1;
                tally.problem(Problem::Unreadable, || error.to_string());
                return None;
            }
        };
        let found = find(conventions, in_flight, &response);
        let place = match found {
            Found::Waiting(place) => place,
            Found::Answered | Found::GivenUp | Found::Nothing => {
                unmatched(tally, found, &response);
                return None;
            }
        };
        let waiting = in_flight.take(place, Left::Answered)?;
        let asked = &waiting.transaction;
        tally.answered += 1;
        tally.latency(
            now_ns.saturating_sub(waiting.intended_ns),
            now_ns.saturating_sub(waiting.written_ns),
        );
        let merchant = self.merchants.at(asked.merchant);
        let verdict = verify(conventions, asked, merchant, &response);
        let is_foreign = waiting.connection != connection;
        if is_foreign || !verdict.is_right() {
            describe(tally, &verdict, is_foreign, asked);
        }
        if let Some(code) = verdict.code {
            let response_ns = now_ns.saturating_sub(waiting.intended_ns);
            tally.served_or_shed(response_ns, self.shed_codes.contains(&code));
            let approved_minor = match code {
                ResponseCode::PARTIAL_APPROVAL => {
                    response.amount().map_or(asked.amount_minor, |amount| amount.0)
                }
                _ => asked.amount_minor,
            };
            tally.outcome(asked, code, approved_minor);
            // What was approved in part has no original of that amount to take back.
            if code.is_approval()
                && asked.kind.is_purchase()
                && approved_minor == asked.amount_minor
                && let Some(approval) = response.raw(38).and_then(|raw| raw.try_into().ok())
            {
                self.source.keep_approved(asked, approval);
            }
        }
        Some(waiting.connection)
    }

    /// Notes a frame that cannot be used, or the end of framing on a connection.
    pub(crate) fn on_bad_frame(&mut self, problem: Problem, what: &str) {
        self.tally.wrong += 1;
        self.tally.problem(problem, || what.to_owned());
    }

    /// Gives up the requests whose deadline has passed; `freed` is told the connection of each.
    #[inline]
    pub(crate) fn expire(&mut self, now_ns: u64, mut freed: impl FnMut(u32)) {
        while let Some((place, waiting)) = self.in_flight.oldest()
            && now_ns >= waiting.written_ns.saturating_add(self.deadline_ns)
        {
            if let Some(waiting) = self.in_flight.take(place, Left::GivenUp) {
                self.tally.unanswered += 1;
                freed(waiting.connection);
            }
        }
    }

    /// When the next deadline may pass.
    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        let (_, waiting) = self.in_flight.oldest()?;
        Some(waiting.written_ns.saturating_add(self.deadline_ns))
    }

    /// Gives up the requests of a lost connection.
    pub(crate) fn on_connection_lost(&mut self, connection: u32) {
        for place in self.in_flight.on_connection(connection) {
            if self.in_flight.take(place, Left::GivenUp).is_some() {
                self.tally.unanswered += 1;
            }
        }
    }
}

/// What a response answers, by the fields of its key that its request had.
#[inline]
fn find(conventions: &Conventions, in_flight: &InFlight, response: &MessageView<'_>) -> Found {
    let (Some(stan), Some(transmission)) =
        (response.stan(), response.raw(7).and_then(|raw| raw.try_into().ok()))
    else {
        return Found::Nothing;
    };
    let found = in_flight.find(stan.0, transmission);
    let Found::Waiting(place) = found else { return found };
    let Some(Waiting { transaction: asked, .. }) = in_flight.waiting(place) else {
        return Found::Nothing;
    };
    let rest_is_right = asked.kind.is_network_management()
        || (response.raw(37) == Some(&asked.rrn)
            && response.raw(32) == Some(conventions.acquirer.digits()));
    if asked.transmission == *transmission && rest_is_right { found } else { Found::Nothing }
}

/// Counts a response that answers nothing that waits.
fn unmatched(tally: &mut Tally, found: Found, response: &MessageView<'_>) {
    let problem = match found {
        Found::Answered => Problem::Duplicate,
        Found::GivenUp => Problem::Late,
        Found::Nothing | Found::Waiting(_) => Problem::Orphan,
    };
    tally.wrong += 1;
    tally.problem(problem, || {
        let stan = response.stan().map_or(0, |stan| stan.0);
        let time = response.transmission_time().map_or(0, |time| time.0);
        format!("{} with DE 7 {time:010}, DE 11 {stan:06}", response.mti())
    });
}

/// Counts what is wrong with a response.
fn describe(tally: &mut Tally, verdict: &Verdict, is_foreign: bool, asked: &Transaction) {
    tally.wrong += 1;
    let foreign = is_foreign.then_some(Problem::WrongConnection);
    for problem in foreign.into_iter().chain(verdict.problems()) {
        tally.problem(problem, || {
            let fields: Vec<String> =
                verdict.changed.into_iter().map(|field| format!(" DE {field}")).collect();
            let changed =
                if problem == Problem::ChangedEcho { fields.concat() } else { String::new() };
            let card = match asked.kind {
                Kind::EchoTest | Kind::SignOn => String::new(),
                _ => format!(", card {}", asked.card.pan.masked()),
            };
            format!("response to {:?}, DE 11 {:06}{card}{changed}", asked.kind, asked.stan)
        });
    }
}

#[cfg(test)]
mod tests;
