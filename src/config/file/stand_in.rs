//! The keys of `[[stand_in]]`. Not here: what conditions are made of.

use super::{Found, Layer, Named, RawWhen, read_key, read_list, refuse_unknown};
use crate::config::problem::Problems;
use toml::de::DeTable;

section! {
    /// `[[stand_in]]`, without its conditions.
    RawStandIn {
        name: String,
        amount_minor_max: i64,
        counter: String,
        count_max: i64,
        sum_minor_max: i64,
        window_full: bool,
        after_time_out: bool,
        reason_field: i64,
        reason_unreachable: String,
        reason_signed_off: String,
        reason_time_out: String,
        mark_field: i64,
        mark_text: String,
    }
}

/// All rules, in the order of the file; `None` when there are none.
pub(super) fn read(
    problems: &mut Problems<'_>,
    root: &DeTable<'_>,
) -> Option<Vec<Named<(RawStandIn, RawWhen)>>> {
    read_list(problems, ("", root), "stand_in", |problems, path, table| {
        refuse_unknown(problems, path, table, &[RawStandIn::KEYS, RawWhen::KEYS]);
        let rule = RawStandIn::read(problems, path, table);
        (rule, RawWhen::read(problems, path, table))
    })
}
