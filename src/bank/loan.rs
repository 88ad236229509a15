//! How a purchase on a consumer loan is owed: in monthly instalments that add up to the principal.
//!
//! A plan is computed from the principal and the card's number of instalments, never stored: the
//! first instalments are one minor unit higher where the principal cannot be divided evenly.
//!
//! Not here: the line (`accounts`), and what the books have per due month (`books`). No interest is
//! charged, and instalments are not collected: that is a lender's work, not a switch's.

use serde::Serialize;

/// Instalments of one principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    principal_minor: u64,
    count: u64,
}

/// One instalment of a loan, as the ledger file shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instalment {
    /// Month and day, MMDD: as many months after the purchase as this is the first, second ….
    /// Empty where the purchase had no date.
    pub due: String,
    /// Principal, in minor units.
    pub amount_minor: u64,
}

impl Plan {
    pub(super) fn new(principal_minor: u64, count: usize) -> Self {
        Self { principal_minor, count: count.max(1) as u64 }
    }

    /// The instalments, from the first.
    #[inline]
    pub(super) fn amounts(self) -> impl Iterator<Item = u64> {
        let (each, higher) = (self.principal_minor / self.count, self.principal_minor % self.count);
        (0..self.count).map(move |number| each + u64::from(number < higher))
    }

    /// The instalments with their due dates; `sent` is the purchase's time, MMDDhhmmss.
    pub(super) fn instalments(self, sent: u32) -> Vec<Instalment> {
        let (month, day) = (sent / 100_000_000, sent / 1_000_000 % 100);
        let dated = (1..=12).contains(&month) && (1..=31).contains(&day);
        let due = |number: u32| {
            // No month is shorter than 28 days.
            let month = (month - 1 + number) % 12 + 1;
            format!("{month:02}{:02}", day.min(28))
        };
        let numbered = (1..).zip(self.amounts());
        let instalment = |(number, amount_minor)| Instalment {
            due: if dated { due(number) } else { String::new() },
            amount_minor,
        };
        numbered.map(instalment).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INSTALMENTS_MAX;
    use proptest::prelude::*;

    #[test]
    fn due_dates_follow_the_months() {
        let plan = Plan::new(1_000, 3).instalments(1_231_093_015);
        let rows: Vec<_> = plan.iter().map(|it| (it.due.as_str(), it.amount_minor)).collect();
        assert_eq!(rows, [("0128", 334), ("0228", 333), ("0328", 333)]);
        assert_eq!(Plan::new(5, 1).instalments(0)[0].due, "");
    }

    proptest! {
        #[test]
        fn instalments_add_up_to_the_principal(
            principal in 0..=999_999_999_999u64, count in 1..=INSTALMENTS_MAX,
        ) {
            let amounts: Vec<u64> = Plan::new(principal, count).amounts().collect();
            prop_assert_eq!(amounts.len(), count);
            prop_assert_eq!(amounts.iter().sum::<u64>(), principal);
            prop_assert!(amounts[0] - amounts[count - 1] <= 1);
        }
    }
}
