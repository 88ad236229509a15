//! One transaction as it is asked for: drawn from the seed, numbered, remembered until answered.
//!
//! What is drawn for the n-th transaction depends on the seed and n only, never on how fast answers
//! come; a reversal that finds no approved purchase to reverse is asked for as the purchase that was
//! drawn for its place.

use crate::cards::{Card, CardPopulation};
use crate::decimal;
use crate::merchants::Merchants;
use crate::mix::{Kind, KindDraw, draw_amount};
use crate::numbers::Numbers;
use crate::permutation::scramble;
use crate::plan::{LoadPlan, PlanError};
use crate::stamp::Stamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;

/// The earlier transaction that a reversal or refund names.
#[derive(Clone, Copy)]
pub(crate) struct Original {
    pub(crate) kind: Kind,
    pub(crate) stan: [u8; 6],
    pub(crate) transmission: [u8; 10],
    /// DE 38 of its response.
    pub(crate) approval: [u8; 6],
}

/// A transaction.
#[derive(Clone, Copy)]
pub(crate) struct Transaction {
    pub(crate) kind: Kind,
    pub(crate) card: Card,
    pub(crate) amount_minor: u64,
    /// Place in [`Merchants`].
    pub(crate) merchant: u16,
    /// DE 11 as a number.
    pub(crate) stan: u32,
    /// DE 11.
    pub(crate) stan_text: [u8; 6],
    /// DE 7.
    pub(crate) transmission: [u8; 10],
    /// DE 12.
    pub(crate) local_time: [u8; 6],
    /// DE 13.
    pub(crate) local_date: [u8; 4],
    /// DE 37.
    pub(crate) rrn: [u8; 12],
    /// What a reversal or refund is about.
    pub(crate) original: Option<Original>,
}

/// Approved purchases kept for reversals and refunds; they are asked for soon after, as
/// cancellations at a counter are.
const APPROVED_MAX: usize = 256;

/// Draws transactions.
pub(crate) struct TransactionSource {
    cards: CardPopulation,
    kinds: KindDraw,
    numbers: Numbers,
    approved: VecDeque<Transaction>,
    // A stream for each thing drawn: how much one of them takes does not move the others.
    card_random: StdRng,
    kind_random: StdRng,
    amount_random: StdRng,
    merchant_random: StdRng,
}

impl TransactionSource {
    /// For a plan.
    pub(crate) fn new(plan: &LoadPlan) -> Result<Self, PlanError> {
        let stream = |salt| StdRng::seed_from_u64(stream_seed(plan.seed, salt));
        let permutation_seed = stream_seed(plan.seed, b"ranks");
        Ok(Self {
            cards: CardPopulation::new(&plan.iins, plan.cards, plan.zipf_s, permutation_seed)?,
            kinds: KindDraw::new(&plan.mix)?,
            numbers: Numbers::new(),
            approved: VecDeque::with_capacity(APPROVED_MAX),
            card_random: stream(b"cards"),
            kind_random: stream(b"kinds"),
            amount_random: stream(b"money"),
            merchant_random: stream(b"shops"),
        })
    }

    /// Draws the next transaction; `None` when no trace number is free in this second.
    #[inline]
    pub(crate) fn next(
        &mut self,
        stamp: &Stamp,
        in_flight: impl Fn(u32) -> bool,
    ) -> Option<Transaction> {
        let stan = self.numbers.next(stamp.unix_s, in_flight)?;
        let drawn = self.kinds.draw(self.kind_random.next_u32());
        let approved = if drawn.has_original() { self.approved.pop_front() } else { None };
        let kind = if drawn.has_original() && approved.is_none() { Kind::Tap } else { drawn };
        let card = self.cards.draw(&mut self.card_random);
        let amount_minor = draw_amount(kind, &mut self.amount_random);
        // The low 16 bits.
        let merchant = Merchants::pick(kind, self.merchant_random.next_u32() as u16);
        let first = Transaction::first(Asking { kind, stan, stamp }, card, amount_minor, merchant);
        Some(match approved {
            None => first,
            Some(approved) => approved.follow_up(&first),
        })
    }

    /// A sign-on.
    pub(crate) fn sign_on(&mut self, stamp: &Stamp) -> Option<Transaction> {
        let stan = self.numbers.next(stamp.unix_s, |_| false)?;
        let asking = Asking { kind: Kind::SignOn, stan, stamp };
        Some(Transaction::first(asking, self.cards.card(0), 0, 0))
    }

    /// Keeps an approved purchase for a reversal or refund, while there is room.
    #[inline]
    pub(crate) fn keep_approved(&mut self, approved: &Transaction, approval: [u8; 6]) {
        if self.approved.len() < APPROVED_MAX {
            let original = Original {
                kind: approved.kind,
                stan: approved.stan_text,
                transmission: approved.transmission,
                approval,
            };
            self.approved.push_back(Transaction { original: Some(original), ..*approved });
        }
    }
}

/// What, under which number, when.
struct Asking<'a> {
    kind: Kind,
    stan: u32,
    stamp: &'a Stamp,
}

impl Transaction {
    #[inline]
    fn first(asking: Asking<'_>, card: Card, amount_minor: u64, merchant: u16) -> Self {
        let Asking { kind, stan, stamp } = asking;
        let stan_text: [u8; 6] = decimal::text(u64::from(stan));
        // hhmmss and the trace number: as unique in a day as DE 7 and 11 are.
        let mut rrn = [0; 12];
        let (time, number) = rrn.split_at_mut(6);
        time.copy_from_slice(&stamp.local_time);
        number.copy_from_slice(&stan_text);
        Self {
            kind,
            card,
            amount_minor,
            merchant,
            stan,
            stan_text,
            transmission: stamp.transmission,
            local_time: stamp.local_time,
            local_date: stamp.local_date,
            rrn,
            original: None,
        }
    }

    /// The reversal or refund of this approved purchase, under the numbers of `first`. A reversal
    /// keeps DE 12, 13 and 37 of its original; a refund has its own.
    fn follow_up(&self, first: &Self) -> Self {
        let own = Self {
            kind: first.kind,
            stan: first.stan,
            stan_text: first.stan_text,
            transmission: first.transmission,
            ..*self
        };
        if first.kind == Kind::Reversal {
            return own;
        }
        Self { local_time: first.local_time, local_date: first.local_date, rrn: first.rrn, ..own }
    }
}

/// The seed of one stream of random numbers.
pub(crate) fn stream_seed(seed: u64, salt: &[u8; 5]) -> u64 {
    scramble(salt.iter().fold(scramble(seed), |hash, &byte| scramble(hash ^ u64::from(byte))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Mix;
    use crate::plan::LoadDialect;
    use std::net::SocketAddr;

    fn plan(seed: u64) -> LoadPlan {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        LoadPlan { seed, cards: 1_000, ..LoadPlan::new(target, LoadDialect::Cups) }
    }

    fn draw(seed: u64, approve: bool) -> Vec<Transaction> {
        let mut source = TransactionSource::new(&plan(seed)).unwrap();
        (0..2_000)
            .map(|second| {
                let transaction = source.next(&Stamp::at(second), |_| false).unwrap();
                if approve && transaction.kind.is_purchase() {
                    source.keep_approved(&transaction, *b"A12345");
                }
                transaction
            })
            .collect()
    }

    #[test]
    fn the_seed_fixes_what_is_asked_for() {
        let drawn = |seed| {
            let name = |t: &Transaction| (t.kind, t.card.pan.digits().to_vec(), t.amount_minor);
            draw(seed, true).iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn answers_do_not_move_the_draws() {
        let (with, without) = (draw(1, true), draw(1, false));
        let mut follow_ups = 0;
        for (a, b) in with.iter().zip(&without) {
            assert!(!b.kind.has_original(), "nothing was approved");
            if a.kind.has_original() {
                follow_ups += 1;
            } else {
                assert_eq!(a.card.pan.digits(), b.card.pan.digits());
                assert_eq!((a.kind, a.amount_minor), (b.kind, b.amount_minor));
            }
        }
        assert!(follow_ups > 20, "reversals and refunds are 2.6 % of the mix");
    }

    #[test]
    fn a_follow_up_names_its_original_and_has_own_numbers() {
        let all = draw(1, true);
        for kind in [Kind::Reversal, Kind::Refund] {
            let found = all.iter().find(|transaction| transaction.kind == kind).unwrap();
            let named = found.original.unwrap();
            let original = all.iter().find(|t| t.stan_text == named.stan).unwrap();
            assert_eq!(named.transmission, original.transmission);
            assert_eq!(found.card.pan.digits(), original.card.pan.digits());
            assert_eq!(found.amount_minor, original.amount_minor);
            assert_ne!(found.stan, original.stan);
            assert_ne!(found.transmission, original.transmission);
            let same_reference = found.rrn == original.rrn;
            assert_eq!(same_reference, kind == Kind::Reversal);
        }
    }

    #[test]
    fn the_mix_decides_what_is_drawn() {
        let only_balance = Mix {
            tap: 0.0,
            tap_with_pin: 0.0,
            transit: 0.0,
            qr_code: 0.0,
            pre_authorization: 0.0,
            reversal: 0.0,
            refund: 0.0,
            echo_test: 0.0,
            ..Mix::default()
        };
        let plan = LoadPlan { mix: only_balance, ..plan(1) };
        let mut source = TransactionSource::new(&plan).unwrap();
        let transaction = source.next(&Stamp::at(0), |_| false).unwrap();
        assert_eq!(transaction.kind, Kind::Balance);
    }
}
