//! What acquirers know of their transactions: every message that they began, by number, and how each
//! of them ended for them.

/// What sort of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Purchase,
    Preauthorization,
    /// Of a pre-authorization, `related`.
    Completion,
    /// Takes `related` back.
    Void,
    Advice,
    Refund,
    Inquiry,
    /// Of `related`, whole; or so much of it is to stand.
    Reversal {
        left: Option<u64>,
    },
    /// A request under the key of `related` for another amount: answered 94 or, by mistake, at all.
    Conflict,
    /// Never sent: what a reversal names that nobody knows.
    Phantom,
    /// Cannot be read or lacks something.
    Malformed,
}

impl Kind {
    /// Its type, unrepeated.
    pub(super) const fn mti(self, reverses_by_advice: bool) -> u16 {
        match self {
            Self::Preauthorization => 100,
            Self::Advice | Self::Refund => 220,
            Self::Reversal { .. } if reverses_by_advice => 420,
            Self::Reversal { .. } => 400,
            Self::Purchase
            | Self::Completion
            | Self::Void
            | Self::Inquiry
            | Self::Conflict
            | Self::Phantom
            | Self::Malformed => 200,
        }
    }

    pub(super) const fn processing(self) -> &'static [u8; 6] {
        match self {
            Self::Preauthorization => b"030000",
            Self::Void | Self::Refund => b"200000",
            Self::Inquiry => b"310000",
            _ => b"000000",
        }
    }

    /// Whether its acquirer sends it until it is accepted.
    pub(super) const fn is_stored(self) -> bool {
        matches!(self, Self::Advice | Self::Refund | Self::Reversal { .. })
    }

    /// Whether an approval of it means money at the issuer.
    pub(super) const fn moves_money(self) -> bool {
        matches!(
            self,
            Self::Purchase
                | Self::Preauthorization
                | Self::Completion
                | Self::Advice
                | Self::Refund
        )
    }

    /// Whether the limits judge it.
    pub(super) const fn is_limited(self) -> bool {
        matches!(self, Self::Purchase | Self::Preauthorization)
    }
}

/// How a transaction stands for its acquirer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// No answer yet.
    Waiting,
    Approved,
    Declined,
    /// Given up or taken back: the reversal is not acknowledged yet.
    Reversing,
    Reversed,
}

/// One message of an acquirer.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) kind: Kind,
    pub(super) acquirer: u8,
    pub(super) card: u32,
    pub(super) amount: u64,
    /// DE 7, in the acquirer's true time.
    pub(super) time: u32,
    pub(super) related: u32,
    pub(super) view: View,
    pub(super) sent: u16,
    pub(super) answers: u16,
    /// The first answer's code.
    pub(super) code: [u8; 2],
    /// A digest of the first answer, its type apart.
    pub(super) digest: u64,
    /// When it was answered first.
    pub(super) answered_ns: u64,
    /// Its latest reversal or void, 0 for none.
    pub(super) undone_by: u32,
    /// A void of it was approved.
    pub(super) voided: bool,
    /// The connection that it was sent on last.
    pub(super) connection: u32,
}

impl Transaction {
    pub(super) fn new(kind: Kind, acquirer: u8, card: u32, amount: u64, time: u32) -> Self {
        Self {
            kind,
            acquirer,
            card,
            amount,
            time,
            related: 0,
            view: View::Waiting,
            sent: 0,
            answers: 0,
            code: [0; 2],
            digest: 0,
            answered_ns: 0,
            undone_by: 0,
            voided: false,
            connection: 0,
        }
    }
}

/// Trace numbers are six digits: a number's last six.
pub(super) const STANS: u32 = 1_000_000;

/// All of them; a number is a place. 0 is none.
pub(super) struct Book {
    all: Vec<Transaction>,
}

impl Book {
    pub(super) fn new() -> Self {
        let none = Transaction::new(Kind::Phantom, 0, 0, 0, 0);
        Self { all: vec![Transaction { view: View::Declined, ..none }] }
    }

    pub(super) fn add(&mut self, transaction: Transaction) -> u32 {
        if (self.all.len() as u32).is_multiple_of(STANS) {
            // No trace number is 000000.
            self.all.push(Transaction { view: View::Declined, ..transaction.clone() });
        }
        self.all.push(transaction);
        self.all.len() as u32 - 1
    }

    pub(super) fn len(&self) -> u32 {
        self.all.len() as u32
    }

    pub(super) fn get(&self, number: u32) -> Option<&Transaction> {
        self.all.get(number as usize).filter(|_| number > 0)
    }

    pub(super) fn at(&self, number: u32) -> &Transaction {
        &self.all[number as usize]
    }

    pub(super) fn at_mut(&mut self, number: u32) -> &mut Transaction {
        &mut self.all[number as usize]
    }

    pub(super) fn stan(number: u32) -> u32 {
        number % STANS
    }

    /// The newest of this trace number.
    pub(super) fn of_stan(&self, stan: u32) -> Option<u32> {
        let newest = self.all.len() as u32 - 1;
        let back = (newest % STANS + STANS - stan % STANS) % STANS;
        newest.checked_sub(back).filter(|number| *number > 0)
    }

    /// The transaction that a message's DE 37 names: of reversals their original.
    pub(super) fn reference(&self, number: u32) -> u32 {
        match self.at(number).kind {
            Kind::Reversal { .. } => self.at(number).related,
            _ => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_numbers_name_the_newest() {
        let mut book = Book::new();
        let one = Transaction::new(Kind::Purchase, 0, 1, 1, 1);
        for _ in 0..5 {
            book.add(one.clone());
        }
        assert_eq!(book.of_stan(3), Some(3));
        assert_eq!(book.of_stan(0), None);
        assert_eq!(book.of_stan(6), None);
    }
}
