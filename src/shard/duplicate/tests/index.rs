//! The index against an ordered map, crowded so that entries run into each other and round the end.

use super::super::index::{Index, Place};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 500 } else { 20_000 }))]

    #[test]
    fn entries_are_found_until_they_are_removed(
        // A few homes, the last slots among them.
        steps in prop::collection::vec((any::<bool>(), 0..6u32, 0..8u32), 1..200),
    ) {
        let mut index = Index::new(23);
        let mut model = BTreeMap::new();
        for (add, home, number) in steps {
            let hash = match home {
                0 => 0,
                1 => 1,
                2 => u32::MAX / 2,
                3 => u32::MAX / 23 * 22,
                _ => u32::MAX - home,
            };
            let place = if number < 4 { Place::InFlight(number) } else { Place::Answered(number) };
            let found = index.find(hash, |other| other == place);
            prop_assert_eq!(found.is_ok(), model.contains_key(&(hash, number)));
            match found {
                Err(slot) if add && model.len() < 11 => {
                    index.insert(slot, hash, place);
                    model.insert((hash, number), place);
                }
                Ok(slot) if !add => {
                    prop_assert_eq!(index.place(slot), place);
                    index.remove(slot);
                    model.remove(&(hash, number));
                }
                _ => {}
            }
            prop_assert_eq!(index.assert_invariants().count(), model.len());
        }
        for (&(hash, _), &place) in &model {
            prop_assert!(index.find(hash, |other| other == place).is_ok());
        }
    }
}
