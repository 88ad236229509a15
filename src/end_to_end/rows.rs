//! Which fault is tried where: the rows of the fault catalogue, framing (A), connections (B), issuers
//! (C), repeats and reversals (D), velocity and time (E), storage (F), the process (G), each with the
//! tests that hold it, or with what is missing. A table a letter, in `rows/`.
//!
//! Tests named there exist, or this module's own test fails.

/// A row a line: its name, the fault, and behind `:` tests by name, or behind `-` why there is none.
const TABLES: [(char, usize, &str); 7] = [
    ('A', 24, include_str!("rows/a_framing.txt")),
    ('B', 12, include_str!("rows/b_connections.txt")),
    ('C', 21, include_str!("rows/c_issuers.txt")),
    ('D', 20, include_str!("rows/d_repeats.txt")),
    ('E', 12, include_str!("rows/e_velocity.txt")),
    ('F', 15, include_str!("rows/f_storage.txt")),
    ('G', 6, include_str!("rows/g_process.txt")),
];

/// Name, and tests; none where something is missing.
fn rows() -> Vec<(String, Vec<String>)> {
    let mut rows: Vec<String> = Vec::new();
    for line in
        TABLES.iter().flat_map(|(_, _, table)| table.lines()).filter(|line| !line.is_empty())
    {
        match rows.last_mut() {
            Some(row) if line.starts_with(' ') => row.push_str(line),
            _ => rows.push(line.to_owned()),
        }
    }
    let read = |row: String| {
        let (name, rest) = row.split_once(' ').expect("a name");
        let tests = rest.split_once(" : ").map_or("", |(_, tests)| tests);
        assert!(!tests.is_empty() || rest.contains(" - "), "{name}: tests or a reason");
        (name.to_owned(), tests.split_whitespace().map(str::to_owned).collect())
    };
    rows.into_iter().map(read).collect()
}

fn sources(folder: &std::path::Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Whether a function of this name follows its mark; a property test has arguments, others are marked
/// to panic as well.
fn is_test(source: &str, name: &str) -> bool {
    const MARKS_BYTES: usize = 200;
    source.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let before = &source.as_bytes()[at.saturating_sub(MARKS_BYTES)..at];
        let marks = String::from_utf8_lossy(before);
        let mark = marks.rsplit_once("#[test]").map(|(_, between)| between);
        mark.is_some_and(|between| !between.contains("fn ") && !between.contains('}'))
    })
}

#[test]
fn every_row_is_here_and_its_tests_exist() {
    let rows = rows();
    let expected = TABLES
        .into_iter()
        .flat_map(|(letter, count, _)| (1..=count).map(move |number| format!("{letter}{number}")));
    assert!(rows.iter().map(|(name, _)| name.clone()).eq(expected), "{rows:?}");
    let mut source = String::new();
    for folder in ["src", "protocol/src", "protocol/tests"] {
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut source);
    }
    for (name, tests) in &rows {
        for test in tests {
            let exists = is_test(&source, test);
            assert!(exists, "{name}: there is no test {test}");
        }
    }
}
