//! A request between being read and being decided.
//!
//! Some messages are read together, then their places in the tables are looked at together, and
//! only then are they decided one by one: the cache misses of different requests overlap instead
//! of following each other. Reading changes nothing, so the decisions are those made one by one.

use super::issuing_bank::{Draws, IssuingBank, Shared};
use super::request::BankRequest;
use crate::shard::IssuerId;
use core::hint::black_box;
use tapswitch_protocol::{Dialect, FieldTable, MessageView, Mti, ResponseCode};

/// Messages read before the first of them is decided.
pub(super) const STAGED_MAX: usize = 16;

/// What a message turned out to be.
pub(super) enum Reading {
    /// It has no MTI, or one that expects no response.
    Unanswerable,
    /// It is refused without a look at any account.
    Refused(ResponseCode),
    /// Network management.
    Network,
    /// It can be decided.
    Request(BankRequest, Draws),
}

/// One message read, and its fields, which the response needs.
pub(super) struct Stage {
    table: FieldTable,
    pub(super) reading: Reading,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { table: FieldTable::default(), reading: Reading::Unanswerable }
    }

    /// Reads a message.
    #[inline]
    pub(super) fn read(&mut self, dialect: &Dialect, bytes: &[u8], shared: &Shared) {
        let well_formed = dialect.parse(bytes, &mut self.table).is_ok();
        self.reading = match self.view(dialect, bytes) {
            None => Reading::Unanswerable,
            Some(view) if !view.mti().expects_response() => Reading::Unanswerable,
            Some(_) if !well_formed => Reading::Refused(ResponseCode::FORMAT_ERROR),
            Some(view) => match view.mti().without_repeat() {
                Mti::NETWORK_REQUEST | Mti::NETWORK_ADVICE => Reading::Network,
                _ => match BankRequest::read(&view) {
                    Err(code) => Reading::Refused(code),
                    Ok(request) => Reading::Request(request, Draws::new(&shared.seed, &request)),
                },
            },
        };
    }

    /// The fields of the message, which must be the one that was read.
    #[inline]
    pub(super) fn view<'a>(
        &'a self,
        dialect: &'a Dialect,
        bytes: &'a [u8],
    ) -> Option<MessageView<'a>> {
        self.table.view(dialect, bytes)
    }
}

/// Looks at the places in the tables that the staged requests, each of its bank, will need.
#[inline]
pub(super) fn look_ahead<'a>(
    staged: impl Iterator<Item = (IssuerId, &'a Stage)> + Clone,
    banks: &[IssuingBank],
    shared: &Shared,
) {
    let requests = staged.filter_map(|(issuer, stage)| match &stage.reading {
        Reading::Request(request, draws) => {
            banks.get(usize::from(issuer.0)).map(|bank| (bank, request, draws))
        }
        Reading::Unanswerable | Reading::Refused(_) | Reading::Network => None,
    });
    // Two rounds: where an account is says the first.
    let places = requests.clone().fold(0, |seen, (bank, request, draws)| {
        seen ^ bank.look_at_place(draws) ^ shared.recent.look_at_place(request.key, draws.hash())
    });
    let rows = requests
        .fold(0, |seen, (bank, request, draws)| seen ^ bank.look_at_account(request, draws));
    // What was seen does not matter, but looking must not be optimised away.
    black_box((places, rows));
}
