//! Finds sections in a file, in its order: one under a key, those that have a name each, and lists of them.
//!
//! Not here: what is in a section (`file`).

use super::kinds::kind_of;
use super::{Named, join};
use crate::config::problem::Problems;
use toml::de::DeTable;

/// The table under `key`, and its offset.
pub(super) fn table_at<'t, 'i>(
    problems: &mut Problems<'_>,
    path: &str,
    table: &'t DeTable<'i>,
    key: &str,
) -> Option<(&'t DeTable<'i>, usize)> {
    let (name, value) = table.get_key_value(key)?;
    let at = name.span().start;
    let inner = value.get_ref().as_table();
    if inner.is_none() {
        let message = format!("must be a section, not {}", kind_of(value.get_ref()));
        let cause = format!("write [{}] on a line of its own", join(path, key));
        problems.error(Some(at), &join(path, key), message, cause);
    }
    inner.map(|inner| (inner, at))
}

/// Sections `[group.NAME]`, in the order of the file.
pub(super) fn read_named<T>(
    problems: &mut Problems<'_>,
    root: &DeTable<'_>,
    group: &str,
    mut read: impl FnMut(&mut Problems<'_>, &str, &DeTable<'_>) -> T,
) -> Vec<Named<T>> {
    let Some((table, _)) = table_at(problems, "", root, group) else { return Vec::new() };
    let mut names: Vec<(usize, &str)> =
        table.keys().map(|name| (name.span().start, name.get_ref().as_ref())).collect();
    names.sort_unstable();
    let mut sections = Vec::with_capacity(names.len());
    for (_, name) in names {
        if let Some((inner, at)) = table_at(problems, group, table, name) {
            let section = read(problems, &join(group, name), inner);
            sections.push(Named { name: name.to_owned(), at: Some(at), section });
        }
    }
    sections
}

/// Sections `[[GROUP.KEY]]`, in the order of the file; `None` when there are none at all.
pub(super) fn read_list<T>(
    problems: &mut Problems<'_>,
    (group, table): (&str, &DeTable<'_>),
    key: &str,
    mut read: impl FnMut(&mut Problems<'_>, &str, &DeTable<'_>) -> T,
) -> Option<Vec<Named<T>>> {
    let (name, value) = table.get_key_value(key)?;
    let at = name.span().start;
    let whole = join(group, key);
    let Some(items) = value.get_ref().as_array() else {
        let cause = format!("write [[{whole}]], with two brackets, above each {key}");
        problems.error(Some(at), &whole, format!("must be a list of {key}s"), cause);
        return Some(Vec::new());
    };
    let mut sections = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let path = format!("{whole}[{place}]");
        let at = item.span().start;
        let Some(table) = item.get_ref().as_table() else {
            let cause = format!("write [[{whole}]] above it");
            problems.error(Some(at), &path, "must be a section", cause);
            continue;
        };
        let section = read(problems, &path, table);
        sections.push(Named { name: path, at: Some(at), section });
    }
    Some(sections)
}
