//! The end: every transaction is settled, both ledgers say the same, and the disks know what the shards
//! know.

use super::book::{Kind, View};
use super::issuer::Standing;
use super::oracle::Bounds;
use super::world::World;
use crate::shard::{AcquirerId, Now, Shard};

impl World {
    /// The first transaction that is not settled for its acquirer.
    pub(super) fn first_unsettled(&self) -> Option<u32> {
        (1..self.book.len()).find(|number| {
            let entry = self.book.at(*number);
            matches!(entry.view, View::Waiting | View::Reversing) && !self.is_gone(entry.acquirer)
        })
    }

    /// After the liveness phase.
    pub(super) fn check_the_end(&mut self) {
        for number in 1..self.book.len() {
            self.check_money(number);
        }
        self.check_scopes();
        self.check_replay();
    }

    /// I-10 of merchants, terminals and acquirers: over all shards is counted what counts for sure at
    /// least, and what may count at most.
    pub(super) fn check_scopes(&mut self) {
        let now = self.clock.now(self.now_ns);
        for Bounds { scope, acquirer, card, least, most } in self.oracle.limits.scopes.bounds(now) {
            let counted = self.switch.counted(now, scope, (acquirer, card));
            let is_within = |of: usize| (least[of]..=most[of]).contains(&counted[of]);
            if !(0..2).all(is_within) {
                let limit = self.plan.scopes[scope];
                let text = format!(
                    "of {limit:?} (acquirer {acquirer}, cards as {card}) the shards have counted \
                     {counted:?}, transactions and money: {least:?} at least and {most:?} at most"
                );
                self.fail("I-10", 0, text);
            }
        }
    }

    /// I-2 and I-3: acquirer and issuer agree about every transaction.
    fn check_money(&mut self, number: u32) {
        let entry = self.book.at(number);
        let (kind, view, amount, voided) = (entry.kind, entry.view, entry.amount, entry.voided);
        if matches!(kind, Kind::Reversal { .. } | Kind::Inquiry | Kind::Malformed | Kind::Conflict)
        {
            return;
        }
        match view {
            View::Approved => self.tally.approved += 1,
            View::Declined => self.tally.declined += 1,
            View::Waiting | View::Reversing | View::Reversed => self.tally.reversed += 1,
        }
        let holding: Vec<_> =
            self.issuers.all(number).filter(|it| it.standing == Standing::Held).collect();
        if holding.len() > 1 {
            let text = format!("{kind:?} is held by {} issuers", holding.len());
            return self.fail("I-3", number, text);
        }
        let issuer = holding.first();
        let holds = issuer.is_some();
        if self.is_gone(self.book.at(number).acquirer)
            && let Some(is_wrong) = self.stands_with_nobody(number, holds)
        {
            if is_wrong {
                let text = format!("its issuer holds {kind:?}, and its answer reached nobody");
                self.fail("I-3", number, text);
            }
            return;
        }
        let expects = view == View::Approved && !voided;
        if holds != expects {
            let who =
                if holds { "its issuer holds money for it" } else { "its issuer holds nothing" };
            let books: Vec<_> = self.issuers.all(number).map(|it| it.standing).collect();
            let text = format!("{kind:?} is {view:?} for its acquirer, and {who} ({books:?})");
            self.fail("I-3", number, text);
        } else if let Some(issuer) = issuer
            && issuer.amount != amount
        {
            let text = format!("its issuer holds {}, its acquirer says {amount}", issuer.amount);
            self.fail("I-3", number, text);
        }
    }

    /// I-13: what is on the disks makes the same state as the one that served.
    fn check_replay(&mut self) {
        let now = self.clock.now(self.now_ns);
        for shard in 0..self.plan.shards {
            let live = hash_at(now, &mut self.switch.units[shard].shard);
            let replayed = self
                .switch
                .recover(shard, &mut self.streams.disk)
                .map(|mut replayed| hash_at(now, &mut replayed));
            match replayed {
                Ok(replayed) if replayed == live => {}
                Ok(_) => {
                    let text = format!("shard {shard} replayed is not the shard that served");
                    self.fail("I-13", 0, text);
                }
                Err(text) => self.fail("I-13", 0, text),
            }
        }
    }
}

/// A number for what a shard knows. What has rolled out of a window by now counts for nobody.
fn hash_at(now: Now, shard: &mut Shard) -> u64 {
    shard.on_batch_end(now);
    let _ = shard.counted_of(now, 0, (AcquirerId(0), b"", b""));
    shard.state_hash()
}
