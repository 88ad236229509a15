//! The card population: up to 10^9 cards that exist nowhere. How often a card is used follows
//! Zipf's law; its rank is scattered by a keyed bijection, so that the busy cards belong to all
//! issuers; its place in the table of prefixes and its serial give the PAN. Memory does not grow
//! with the number of cards.
//!
//! Invariants: different ranks have different PANs; every PAN ends in its Luhn digit, and the
//! longest prefix of the table that it matches is the one it was made from.

use crate::decimal;
use crate::iin::{AccountKind, IinRow, IinTable};
use crate::permutation::Permutation;
use rand::Rng;
use rand_distr::{Distribution, Zipf};
use tapswitch_protocol::Pan;

/// Most cards of a population.
pub const CARDS_MAX: u64 = 1_000_000_000;

/// A card as a message names it.
#[derive(Clone, Copy)]
pub(crate) struct Card {
    pub(crate) pan: Pan,
    /// Place in [`IinTable::issuers`].
    pub(crate) issuer: u16,
}

/// How much of the traffic an issuer has, relative to the others: the big five most. No public
/// figure says it for a phone wallet; an issuer that is not listed counts 1.
const ISSUER_WEIGHTS: [(&str, u64); 20] = [
    ("ICBC", 160),
    ("CCB", 140),
    ("ABC", 140),
    ("BOC", 110),
    ("CMB", 90),
    ("COMM", 70),
    ("PSBC", 70),
    ("CITIC", 30),
    ("CEB", 30),
    ("SPDB", 30),
    ("CIB", 30),
    ("CMBC", 25),
    ("GDB", 25),
    ("SPABANK", 25),
    ("HXBANK", 10),
    ("SHBANK", 8),
    ("BJBANK", 7),
    ("JSBANK", 7),
    ("NBBANK", 5),
    ("HZCB", 3),
];

/// The cards of one prefix.
struct Block {
    /// First scattered rank that falls here.
    first: u64,
    prefix: Vec<u8>,
    issuer: u16,
    pan_length: usize,
    /// Serials that a longer prefix of the table takes away: (first, count), ascending.
    taken: Vec<(u64, u64)>,
}

/// A population of cards.
pub(crate) struct CardPopulation {
    zipf: Zipf<f64>,
    permutation: Permutation,
    cards: u64,
    blocks: Vec<Block>,
}

/// Why a population cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PopulationError {
    /// No cards, or too many.
    #[error("the number of cards is 1 to {CARDS_MAX}")]
    Cards,
    /// Not a finite number from 0.
    #[error("the exponent of Zipf's law is a finite number from 0")]
    Exponent,
    /// The debit and credit prefixes of the table hold fewer PANs than that.
    #[error("the IIN table has not so many debit and credit cards")]
    TableTooSmall,
}

impl CardPopulation {
    /// A population over the debit and credit prefixes of `table`.
    pub(crate) fn new(
        table: &IinTable,
        cards: u64,
        zipf_s: f64,
        seed: u64,
    ) -> Result<Self, PopulationError> {
        if !(1..=CARDS_MAX).contains(&cards) {
            return Err(PopulationError::Cards);
        }
        if !zipf_s.is_finite() {
            return Err(PopulationError::Exponent);
        }
        // Below 2^53, so exact.
        let zipf = Zipf::new(cards as f64, zipf_s).map_err(|_| PopulationError::Exponent)?;
        let blocks = share(table, cards).ok_or(PopulationError::TableTooSmall)?;
        Ok(Self { zipf, permutation: Permutation::new(cards, seed), cards, blocks })
    }

    /// Draws a card; rank 0 is the one used most.
    #[inline]
    pub(crate) fn draw(&self, random: &mut impl Rng) -> Card {
        // A whole number from 1 to the number of cards.
        let rank = self.zipf.sample(random) as u64;
        self.card(rank.clamp(1, self.cards) - 1)
    }

    /// The card of this rank, which is below the number of cards.
    #[inline]
    #[expect(clippy::panic, reason = "a broken invariant of the table of blocks is our own bug")]
    pub(crate) fn card(&self, rank: u64) -> Card {
        let scattered = self.permutation.apply(rank);
        let after = self.blocks.partition_point(|block| block.first <= scattered);
        let block = after.checked_sub(1).and_then(|place| self.blocks.get(place));
        let card = block.and_then(|block| block.card(scattered - block.first));
        card.unwrap_or_else(|| panic!("Invariant: every scattered rank has a block and a PAN"))
    }
}

impl Block {
    /// Digits between prefix and check digit.
    fn serial_digits(&self) -> usize {
        self.pan_length - self.prefix.len() - 1
    }

    /// Serials that are free, all told.
    fn capacity(&self) -> u64 {
        let all = 10u64.pow(u32::try_from(self.serial_digits()).unwrap_or(19).min(19));
        all - self.taken.iter().map(|(_, count)| count).sum::<u64>()
    }

    #[inline]
    fn card(&self, number: u64) -> Option<Card> {
        let mut serial = number;
        for &(first, count) in &self.taken {
            if serial < first {
                break;
            }
            serial += count;
        }
        let mut digits = [b'0'; 19];
        let pan = digits.get_mut(..self.pan_length)?;
        let (check, body) = pan.split_last_mut()?;
        let (prefix, places) = body.split_at_mut_checked(self.prefix.len())?;
        prefix.copy_from_slice(&self.prefix);
        decimal::put(serial, places);
        *check = decimal::luhn(body);
        Some(Card { pan: Pan::from_digits(pan).ok()?, issuer: self.issuer })
    }
}

/// Divides `cards` among the prefixes by the weight of their issuers; what does not fit under a
/// prefix goes to those with room. `None` when the table is too small.
fn share(table: &IinTable, cards: u64) -> Option<Vec<Block>> {
    let wanted = |row: &&IinRow| row.kind != AccountKind::Other;
    let mut rows_of = vec![0u64; table.issuers().len()];
    for row in table.rows().iter().filter(wanted) {
        *rows_of.get_mut(usize::from(row.issuer))? += 1;
    }
    // Every prefix of an issuer has the same part of the issuer's weight.
    let weight = |row: &IinRow| {
        let name = table.issuers().get(usize::from(row.issuer)).map_or("", String::as_str);
        let listed = ISSUER_WEIGHTS.iter().find(|(listed, _)| *listed == name);
        let rows = rows_of.get(usize::from(row.issuer)).copied().unwrap_or(1).max(1);
        listed.map_or(1, |(_, weight)| *weight) as f64 / rows as f64
    };
    let weight_all: f64 = table.rows().iter().filter(wanted).map(weight).sum();
    let mut blocks: Vec<(Block, u64)> = Vec::new();
    for row in table.rows().iter().filter(wanted) {
        let block = Block {
            first: 0,
            prefix: row.prefix.as_bytes().to_vec(),
            issuer: row.issuer,
            pan_length: usize::from(row.pan_length),
            taken: taken(table, row),
        };
        let part = (cards as f64 * weight(row) / weight_all) as u64;
        let count = part.min(block.capacity());
        blocks.push((block, count));
    }
    let mut rest = cards.checked_sub(blocks.iter().map(|(_, count)| count).sum())?;
    for (block, count) in &mut blocks {
        let more = rest.min(block.capacity() - *count);
        *count += more;
        rest -= more;
    }
    if rest > 0 {
        return None;
    }
    let mut first = 0;
    for (block, count) in &mut blocks {
        block.first = first;
        first += *count;
    }
    Some(blocks.into_iter().filter(|(_, count)| *count > 0).map(|(block, _)| block).collect())
}

/// The serials under `row` that a longer prefix of the table routes elsewhere.
fn taken(table: &IinTable, row: &IinRow) -> Vec<(u64, u64)> {
    let serial_digits = usize::from(row.pan_length) - row.prefix.len() - 1;
    let mut taken: Vec<(u64, u64)> = table
        .rows()
        .iter()
        .filter_map(|other| other.prefix.strip_prefix(row.prefix.as_str()))
        .filter(|rest| !rest.is_empty() && rest.len() <= serial_digits)
        .filter_map(|rest| {
            let count = 10u64.pow(u32::try_from(serial_digits - rest.len()).ok()?);
            Some((rest.parse::<u64>().ok()? * count, count))
        })
        .collect();
    taken.sort_unstable();
    // A prefix inside a longer one is taken already.
    let mut end = 0;
    taken.retain(|&(first, count)| {
        let outside = first >= end;
        end = end.max(first + count);
        outside
    });
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::BTreeSet;

    fn population(cards: u64, seed: u64) -> CardPopulation {
        CardPopulation::new(&IinTable::shipped(), cards, 0.7, seed).unwrap()
    }

    fn assert_routable(table: &IinTable, card: &Card) {
        let pan = card.pan.digits();
        let (check, body) = pan.split_last().unwrap();
        assert_eq!(decimal::luhn(body), *check);
        let row = table.route(pan).unwrap();
        assert_eq!(row.issuer, card.issuer);
        assert_eq!(usize::from(row.pan_length), pan.len());
        assert_ne!(row.kind, AccountKind::Other);
    }

    #[test]
    fn pans_are_distinct_and_routed_to_their_issuer() {
        let table = IinTable::shipped();
        let cards = population(20_000, 3);
        let pans: BTreeSet<Vec<u8>> = (0..20_000)
            .map(|rank| {
                let card = cards.card(rank);
                assert_routable(&table, &card);
                card.pan.digits().to_vec()
            })
            .collect();
        assert_eq!(pans.len(), 20_000);
    }

    #[test]
    fn the_largest_population_is_routable_too() {
        let table = IinTable::shipped();
        let cards = population(CARDS_MAX, 3);
        let mut random = StdRng::seed_from_u64(1);
        for rank in (0..CARDS_MAX).step_by(9_999_991).chain([CARDS_MAX - 1]) {
            assert_routable(&table, &cards.card(rank));
            assert_routable(&table, &cards.draw(&mut random));
        }
    }

    #[test]
    fn serials_of_a_longer_prefix_are_left_out() {
        let table = IinTable::parse(
            "62100,ABC,debit,13\n621003,BOC,debit,13\n6210031,ICBC,debit,13\n62100999,CMB,credit,13",
        )
        .unwrap();
        // 62100 has 7 serial digits less the 10^6 of 621003 and the 10^4 of 62100999.
        let all = 8_990_000 + 900_000 + 100_000 + 10_000;
        let cards = CardPopulation::new(&table, all, 0.0, 1).unwrap();
        for rank in (0..all).step_by(97) {
            assert_routable(&table, &cards.card(rank));
        }
        assert_eq!(
            CardPopulation::new(&table, all + 1, 0.0, 1).err(),
            Some(PopulationError::TableTooSmall)
        );
    }

    #[test]
    fn the_seed_chooses_the_cards_and_all_issuers_have_some() {
        let drawn = |seed| {
            let cards = population(10_000_000, seed);
            let mut random = StdRng::seed_from_u64(seed);
            (0..5_000).map(|_| cards.draw(&mut random)).collect::<Vec<_>>()
        };
        let pans = |cards: &[Card]| {
            cards.iter().map(|card| card.pan.digits().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(pans(&drawn(5)), pans(&drawn(5)));
        assert_ne!(pans(&drawn(5)), pans(&drawn(6)));
        let issuers: BTreeSet<u16> = drawn(5).iter().map(|card| card.issuer).collect();
        assert_eq!(issuers.len(), 20);
        let distinct: BTreeSet<_> = pans(&drawn(5)).into_iter().collect();
        assert!(distinct.len() > 3_000, "most cards are seen once");
        assert!(distinct.len() < 5_000, "the busy ones are seen again");
    }

    #[test]
    fn impossible_populations_are_refused() {
        let table = IinTable::shipped();
        let refused = |cards, s| CardPopulation::new(&table, cards, s, 1).err();
        assert_eq!(refused(0, 0.7), Some(PopulationError::Cards));
        assert_eq!(refused(CARDS_MAX + 1, 0.7), Some(PopulationError::Cards));
        assert_eq!(refused(10, -1.0), Some(PopulationError::Exponent));
        assert_eq!(refused(10, f64::NAN), Some(PopulationError::Exponent));
    }
}
