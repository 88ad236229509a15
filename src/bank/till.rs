//! One movement of money: on the customer's account, in the fund's units, in the instalments, in the
//! double-entry books and in the counts of the ledger, all of them or none.
//!
//! Not here: which movements a request means (`movements`).

use super::accounts::Account;
use super::books::{Books, LedgerAccount};
use super::fund::{Day, Valuation};
use super::ledger::Flows;
use super::loan::Plan;
use super::products::AccountKind;
use crate::config::BankProducts;
use tapswitch_protocol::ResponseCode;

/// What is moved back: of an amount, all but what is left standing.
#[derive(Clone, Copy)]
pub(super) struct Back {
    pub(super) amount: u64,
    pub(super) left: u64,
    /// The day at whose price it was moved.
    pub(super) day: Day,
}

impl Back {
    pub(super) const fn all(amount: u64, day: Day) -> Self {
        Self { amount, left: 0, day }
    }

    /// Rounded as it was when it was moved: parts add up to the whole.
    fn units(&self, units: impl Fn(u64) -> i128) -> i128 {
        units(self.amount) - units(self.left)
    }
}

/// One account, and everything that a movement on it is written into.
pub(super) struct Till<'a> {
    pub(super) account: Account<'a>,
    pub(super) flows: &'a mut Flows,
    pub(super) books: &'a mut Books,
    pub(super) products: &'a BankProducts,
    /// Into how many instalments the card's loans are divided.
    pub(super) instalments: usize,
    pub(super) today: Day,
}

impl Till<'_> {
    /// Whether the account can pay an amount of which `held` is set aside for it already, `held_today` of
    /// that since today. What was set aside on another day was within that day's limit.
    #[inline]
    pub(super) fn covers(
        &mut self,
        amount: u64,
        (held, held_today): (u64, u64),
    ) -> Result<(), ResponseCode> {
        let available = self.account.available().saturating_add_unsigned(held);
        if !u64::try_from(available).is_ok_and(|available| available >= amount) {
            return Err(ResponseCode::INSUFFICIENT_FUNDS);
        }
        let (today, day_max) = (self.today, self.products.fund_redemption_day_minor_max);
        let more = amount.saturating_sub(held - held_today);
        let redeemed = self.account.fund().map(|fund| fund.redeemed(today));
        match redeemed.map(|redeemed| redeemed.saturating_sub(held_today)) {
            Some(redeemed) if more > 0 && redeemed + more > day_max => {
                Err(ResponseCode::AMOUNT_LIMIT)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The customer's money goes to the acquirer.
    #[inline]
    pub(super) fn pay(&mut self, amount: u64) {
        self.take(amount, self.today);
        self.flows.approved.add(amount);
    }

    /// What was given back is paid again.
    pub(super) fn pay_again(&mut self, amount: u64, day: Day) {
        self.take(amount, day);
        self.flows.reinstated.add(amount);
    }

    #[inline]
    fn take(&mut self, amount: u64, day: Day) {
        self.account.take_back(amount);
        self.redeem(amount, day);
        self.books.post(self.customer(), LedgerAccount::AcquirerSettlement, amount);
        self.owe(amount, true);
        self.revalue();
    }

    /// What was paid comes back.
    pub(super) fn give_back(&mut self, back: Back) {
        let amount = back.amount - back.left;
        self.account.give_back(amount);
        self.restore(back);
        self.books.post(LedgerAccount::AcquirerSettlement, self.customer(), amount);
        // What is left is owed by a plan of its own: each plan adds up to its principal.
        self.owe(back.amount, false);
        self.owe(back.left, true);
        self.revalue();
        self.flows.reversed.add(amount);
    }

    /// The customer's money is set aside for the acquirer.
    #[inline]
    pub(super) fn hold(&mut self, amount: u64, day: Day) {
        self.account.take_back(amount);
        self.account.hold(amount);
        self.redeem(amount, day);
        self.books.post(self.customer(), LedgerAccount::PreAuthorized, amount);
        self.revalue();
        self.flows.holds.add(amount);
    }

    /// What was set aside comes back.
    #[inline]
    pub(super) fn end_hold(&mut self, back: Back) {
        let amount = back.amount - back.left;
        self.account.give_back(amount);
        self.account.release(amount);
        self.restore(back);
        self.books.post(LedgerAccount::PreAuthorized, self.customer(), amount);
        self.revalue();
        self.flows.holds_ended.add(amount);
    }

    /// The acquirer's money goes to the customer; `false`, and nothing done, beyond the balance's bounds.
    pub(super) fn refund(&mut self, amount: u64) -> bool {
        if !self.account.credit(amount) {
            return false;
        }
        self.move_units(self.valuation(self.today).units_bought(amount));
        self.books.post(LedgerAccount::AcquirerSettlement, self.customer(), amount);
        self.owe(amount, false);
        self.revalue();
        self.flows.refunded.add(amount);
        true
    }

    /// A refund is undone.
    pub(super) fn take_refund(&mut self, amount: u64, day: Day) {
        self.account.take_back(amount);
        self.move_units(-self.valuation(day).units_bought(amount));
        self.books.post(self.customer(), LedgerAccount::AcquirerSettlement, amount);
        self.owe(amount, true);
        self.revalue();
        self.flows.reinstated.add(amount);
    }

    /// An account's first transaction: what it holds is somebody's already.
    pub(super) fn open(&mut self, (available, units): (i64, i128)) {
        self.books.units += units;
        if !self.account.kind().has_line() {
            let amount = available.unsigned_abs();
            self.books.post(LedgerAccount::OpeningAssets, self.customer(), amount);
        }
    }

    /// What units of a fund are worth today becomes what the customer has, in the books too.
    #[inline]
    pub(super) fn revalue(&mut self) {
        if self.account.kind() != AccountKind::Fund {
            return;
        }
        let grown = self.account.revalue(&self.valuation(self.today));
        let (debit, credit) = match grown {
            0 => return,
            1.. => (LedgerAccount::FundResult, LedgerAccount::FundShares),
            _ => (LedgerAccount::FundShares, LedgerAccount::FundResult),
        };
        self.books.post(debit, credit, grown.unsigned_abs());
        self.flows.revalued_minor += i128::from(grown);
    }

    #[inline]
    fn customer(&self) -> LedgerAccount {
        LedgerAccount::of(self.account.kind())
    }

    #[inline]
    fn valuation(&self, day: Day) -> Valuation {
        Valuation::on(day, self.products)
    }

    #[inline]
    fn redeem(&mut self, amount: u64, day: Day) {
        let units = -self.valuation(day).units_for(amount);
        self.move_units(units);
        let today = self.today;
        if let Some(fund) = self.account.fund().filter(|_| day == today) {
            fund.redeem(today, amount);
        }
    }

    #[inline]
    fn restore(&mut self, back: Back) {
        let valuation = self.valuation(back.day);
        self.move_units(back.units(|amount| valuation.units_for(amount)));
        if let Some(fund) = self.account.fund() {
            fund.restore(back.day, back.amount - back.left);
        }
    }

    #[inline]
    fn move_units(&mut self, units: i128) {
        if let Some(fund) = self.account.fund() {
            fund.units += units;
            self.books.units += units;
        }
    }

    #[inline]
    fn owe(&mut self, amount: u64, is_owed: bool) {
        if self.account.kind() == AccountKind::Loan && amount > 0 {
            self.books.owe(Plan::new(amount, self.instalments), is_owed);
        }
    }
}
