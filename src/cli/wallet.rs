//! Orders about tokens, as the thread that runs the switch has them: given a number, handed to the shard,
//! told and written down when it has done them.
//!
//! Not here: the port (`admin`), the shard's part (`shard::wallet`).

use super::operators::audit;
use crate::admin::audit::{AuditEvent, AuditResult};
use crate::admin::{Board, Order, OrderKind, Reply, ShownToken};
use crate::admin::{WalletAsk, WalletKind, WalletReport, WalletStatus};
use crate::config::RequestorConfig;
use crate::io::{ShardOrder, ShardOutcome, Switch};
use crate::shard::Shard;
use crate::shard::wallet::{TokenView, WalletKeys, WalletOrder, WalletOutcome};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use tapswitch_protocol::TokenRequestor;

/// A number that is taken is one of billions: more than a few are not bad luck.
const NUMBERS_MAX: u8 = 8;

/// Orders that shards have not answered.
pub(super) struct WalletDesk {
    board: Arc<Board>,
    keys: WalletKeys,
    waiting: Vec<Waiting>,
}

struct Waiting {
    order: Order,
    /// Numbers that were taken.
    tries: u8,
    outcomes: Vec<Receiver<ShardOutcome>>,
    /// What shards said.
    told: Vec<WalletOutcome>,
}

impl WalletDesk {
    pub(super) const fn new(board: Arc<Board>, keys: WalletKeys) -> Self {
        Self { board, keys, waiting: Vec::new() }
    }

    /// Whether somebody waits.
    pub(super) const fn is_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands an order on.
    pub(super) fn take(
        &mut self,
        order: Order,
        (switch, requestors): (&Switch<Shard>, &[RequestorConfig]),
    ) {
        self.ask((order, 0), (switch, requestors));
    }

    fn ask(
        &mut self,
        (order, tries): (Order, u8),
        (switch, requestors): (&Switch<Shard>, &[RequestorConfig]),
    ) {
        let OrderKind::Wallet(wallet) = &order.kind else { return };
        let asked: Option<Vec<_>> = match self.shard_order(wallet, tries, requestors) {
            Err(outcome) => return self.end(order, outcome),
            Ok((Some(shard), ask)) => switch.order(shard, ask).map(|outcome| vec![outcome]),
            Ok((None, ask)) => {
                (0..self.keys.shards()).map(|shard| switch.order(shard, ask)).collect()
            }
        };
        match asked {
            Some(outcomes) => {
                self.waiting.push(Waiting { order, tries, outcomes, told: Vec::new() });
            }
            None => self.end_unavailable(order, "the shard has too much to do: ask again"),
        }
    }

    /// What is asked of which shard; of all of them where none is named.
    fn shard_order(
        &self,
        wallet: &WalletKind,
        tries: u8,
        requestors: &[RequestorConfig],
    ) -> Result<(Option<usize>, ShardOrder), WalletOutcome> {
        let (token, order) = match &wallet.ask {
            WalletAsk::OfAccount(par) => (None, WalletOrder::OfAccount(*par)),
            WalletAsk::Show(token) => (Some(*token), WalletOrder::Show(*token)),
            WalletAsk::Change(token, action) => {
                (Some(*token), WalletOrder::Change(*token, *action))
            }
            WalletAsk::Provision(provision) => {
                let prefix = prefix_of(requestors, provision.requestor);
                let prefix = prefix.ok_or(WalletOutcome::NotOfRequestor)?;
                let number = self.keys.number(prefix, &wallet.request_id, tries);
                (Some(number), WalletOrder::Provision(number, *provision))
            }
        };
        let request = self.keys.request(&wallet.request_id, &wallet.contents, order);
        Ok((token.map(|token| self.keys.shard_of(token)), ShardOrder::Wallet(request)))
    }

    /// Tells what shards have done.
    pub(super) fn look(&mut self, switch: &Switch<Shard>, requestors: &[RequestorConfig]) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            let mut is_gone = false;
            waiting.outcomes.retain(|outcome| match outcome.try_recv() {
                Ok(ShardOutcome::Wallet(outcome)) => {
                    waiting.told.push(outcome);
                    false
                }
                Err(TryRecvError::Empty) => true,
                Ok(ShardOutcome::Parked(_)) | Err(TryRecvError::Disconnected) => {
                    is_gone = true;
                    false
                }
            });
            if is_gone {
                self.end_unavailable(waiting.order, "the switch stopped");
            } else if !waiting.outcomes.is_empty() {
                self.waiting.push(waiting);
            } else {
                self.on_told(waiting, (switch, requestors));
            }
        }
    }

    fn on_told(&mut self, waiting: Waiting, switch: (&Switch<Shard>, &[RequestorConfig])) {
        let Waiting { order, tries, mut told, .. } = waiting;
        if told.contains(&WalletOutcome::NumberTaken) && tries < NUMBERS_MAX {
            return self.ask((order, tries + 1), switch);
        }
        let all: Option<Vec<TokenView>> = told
            .iter()
            .map(|outcome| match outcome {
                WalletOutcome::Tokens(tokens) => Some(tokens.clone()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|tokens| tokens.concat());
        let outcome = match all {
            Some(tokens) => WalletOutcome::Tokens(tokens),
            None => told.swap_remove(0),
        };
        self.end(order, outcome);
    }

    /// The switch stops: nobody is left waiting.
    pub(super) fn stop(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let why = "the switch stops: it may have been done; the same order again tells";
            self.end_unavailable(waiting.order, why);
        }
    }

    fn end_unavailable(&self, order: Order, why: &str) {
        let (status, said) = (WalletStatus::Unavailable, why.to_owned());
        self.reply(order, WalletReport { status, said, tokens: Vec::new() });
    }

    fn end(&self, order: Order, outcome: WalletOutcome) {
        self.reply(order, report(outcome));
    }

    fn reply(&self, order: Order, report: WalletReport) {
        let OrderKind::Wallet(wallet) = &order.kind else { return };
        if wallet.changes() {
            let is_done = report.status == WalletStatus::Done;
            let result = if is_done { AuditResult::Done } else { AuditResult::Failed };
            let (who, from, what) = (order.who.as_str(), order.from.as_str(), wallet.name());
            let of = report.tokens.first();
            let of = of.map(|token| format!(" for card {}", token.card)).unwrap_or_default();
            let detail = format!("{}{of}", report.said);
            audit(&self.board, &AuditEvent { who, from, what, detail, result });
        }
        // He may be gone.
        let _ = order.reply.send(Reply::Wallet(report));
    }
}

/// With which digits a new token of a requestor begins.
fn prefix_of(requestors: &[RequestorConfig], id: TokenRequestor) -> Option<&str> {
    let requestor = requestors.iter().find(|requestor| requestor.id == id)?;
    requestor.token_prefixes.first().map(String::as_str)
}

fn report(outcome: WalletOutcome) -> WalletReport {
    let (status, said, tokens) = match outcome {
        WalletOutcome::Done(view) => {
            let state = view.entry.state.name();
            let said = format!("the token of requestor {} is {state}", view.entry.requestor);
            (WalletStatus::Done, said, vec![view])
        }
        WalletOutcome::Tokens(tokens) => {
            (WalletStatus::Done, format!("the account has {} tokens", tokens.len()), tokens)
        }
        WalletOutcome::NotFound => {
            (WalletStatus::NotFound, "there is no such token".to_owned(), Vec::new())
        }
        WalletOutcome::NotFrom(state) => {
            let said = format!("the token is {}: that cannot be done with it", state.name());
            (WalletStatus::Conflict, said, Vec::new())
        }
        WalletOutcome::Conflict => {
            let said = "an order of this request_id came before, with other contents";
            (WalletStatus::Conflict, said.to_owned(), Vec::new())
        }
        WalletOutcome::NotOfRequestor => {
            let said = "this requestor is not configured, or has no token_prefixes";
            (WalletStatus::Refused, said.to_owned(), Vec::new())
        }
        WalletOutcome::Red => {
            let said = "the card's bank does not know the holder: no token is made";
            (WalletStatus::Refused, said.to_owned(), Vec::new())
        }
        WalletOutcome::Expired => {
            let said = "the card, or the token, would have expired already";
            (WalletStatus::Refused, said.to_owned(), Vec::new())
        }
        WalletOutcome::NumberTaken => {
            let said = "no free number was found: the range of the requestor is too small";
            (WalletStatus::Unavailable, said.to_owned(), Vec::new())
        }
        WalletOutcome::Full => {
            let said = "there is no room for another token, or the journal's disk is full";
            (WalletStatus::Unavailable, said.to_owned(), Vec::new())
        }
    };
    WalletReport { status, said, tokens: tokens.iter().map(ShownToken::of).collect() }
}
