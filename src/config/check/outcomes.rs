//! `[outcomes]`: where the outcome log is, and how large it gets.

use super::section::Section;
use crate::config::OutcomesConfig;
use crate::config::file::RawOutcomes;
use crate::config::problem::Problems;
use crate::limits::{OUTCOME_LOG_BYTES_MAX, OUTCOME_LOG_BYTES_MIN};
use std::path::Path;

pub(super) fn check(
    raw: &RawOutcomes,
    problems: &mut Problems<'_>,
    folder: &Path,
) -> Option<OutcomesConfig> {
    let mut section = Section::new(problems, "outcomes", None);
    let range = OUTCOME_LOG_BYTES_MIN as i64..=OUTCOME_LOG_BYTES_MAX as i64;
    let bytes_max = section.number("bytes_max", &raw.bytes_max, range);
    let dir = raw.dir.as_ref()?;
    if dir.value.is_empty() {
        section.error(dir.at, "dir", "is empty", "leave the key out to log nothing");
    }
    Some(OutcomesConfig { dir: folder.join(&dir.value), bytes_max })
}
