//! The house keeps its shape: imports point one way, and every file says what it decides.
//!
//! Reads the sources. An arrow against the direction, or a module that the lists below do not
//! know, fails with the file and the line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each top-level module may import of the others.
const CRATE: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("sasl", &[]),
    ("producer", &["protocol", "sasl"]),
    ("exporter", &["protocol", "sasl", "producer"]),
    ("broker", &["protocol", "sasl"]),
    ("fuzzing", &["protocol", "sasl", "producer", "exporter"]),
    ("service", &["protocol", "producer", "exporter"]),
    ("cli", &["protocol", "sasl", "producer", "exporter", "broker", "service"]),
];

/// The producer's files in the order of their arrows: each may import those before it.
const PRODUCER: &[&str] = &[
    "partitioner",
    "tls",
    "config",
    "properties",
    "record",
    "completion",
    "budget",
    "backoff",
    "accumulator",
    "sequencer",
    "cluster",
    "in_flight",
    "versions",
    "login",
    "handshake",
    "verdict",
    "meters",
    "engine",
    "net",
    "driver",
    "client",
    "session",
    "admin",
    "probe",
];

/// The only files of the producer that may import its sockets.
const NET_USERS: &[&str] = &["driver", "session", "client"];

/// Modules whose files take time as an argument: no clock, runtime or randomness in them.
const PURE: &[&str] = &["protocol", "sasl", "producer", "exporter"];

/// The files of those that are not pure, and are known for it.
const IMPURE: &[&str] = &[
    "producer/engine/hostile.rs",
    "producer/net/mod.rs",
    "producer/net/tls.rs",
    "producer/driver.rs",
    "producer/client.rs",
    "producer/session.rs",
    "producer/admin.rs",
    "producer/mod.rs",
    "exporter/complaints.rs",
    "exporter/sink.rs",
    "exporter/bifrost/exporter.rs",
    "exporter/bifrost/meter.rs",
    "exporter/otlp/exporter.rs",
    "exporter/otlp/sending.rs",
    "exporter/otlp/dead_letters.rs",
    "exporter/otlp/meter.rs",
    "exporter/tensorzero/exporter.rs",
    "exporter/tensorzero/meter.rs",
    "exporter/sdk/mod.rs",
    "exporter/sdk/client.rs",
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 40, "the sources are not where they were");
    // Tests may know what the code they test may not.
    files.retain(|(name, _)| !name.contains("/tests/") && !name.ends_with("/tests.rs"));
    files.sort();
    files
}

/// Lines of code, numbered: no comments, and nothing from the tests at a file's end on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

/// Names that follow `prefix` in a line, as in `crate::name` or `crate::{name, other::..}`.
fn named_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(prefix) {
        rest = &rest[at + prefix.len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in list {
            let end = name.trim().find(|c: char| !c.is_alphanumeric() && c != '_');
            let name = name.trim();
            names.push(&name[..end.unwrap_or(name.len())]);
        }
    }
    names
}

#[test]
fn imports_between_modules_point_one_way() {
    let allowed: BTreeMap<_, _> = CRATE.iter().copied().collect();
    for (file, text) in sources() {
        let Some((module, _)) = file.split_once('/') else { continue };
        let allowed = allowed.get(module).unwrap_or_else(|| panic!("unknown module {module}"));
        for (number, line) in code(&text) {
            for name in named_after(line, "crate::") {
                let other = CRATE.iter().any(|(other, _)| *other == name && name != module);
                assert!(
                    !other || allowed.contains(&name),
                    "src/{file}:{number}: {module} must not import {name}"
                );
            }
        }
    }
}

#[test]
fn imports_within_the_producer_point_one_way() {
    let place = |name: &str| PRODUCER.iter().position(|known| *known == name);
    for (file, text) in sources() {
        let Some(inner) = file.strip_prefix("producer/").filter(|inner| *inner != "mod.rs") else {
            continue;
        };
        let stem = inner.split(['/', '.']).next().unwrap();
        let here = place(stem).unwrap_or_else(|| panic!("src/{file} has no place in PRODUCER"));
        // From inside a folder the producer's modules are two steps up.
        let up = if inner.contains('/') && !inner.ends_with("/mod.rs") {
            "super::super::"
        } else {
            "super::"
        };
        for (number, line) in code(&text) {
            let mut names = named_after(line, up);
            names.extend(named_after(line, "crate::producer::"));
            for name in names {
                let Some(there) = place(name) else { continue };
                assert!(there <= here, "src/{file}:{number}: {stem} must not import {name}");
                assert!(
                    name != "net" || NET_USERS.contains(&stem),
                    "src/{file}:{number}: only {NET_USERS:?} use sockets"
                );
            }
        }
    }
}

#[test]
fn pure_files_know_no_runtime() {
    for (file, text) in sources() {
        let module = file.split('/').next().unwrap();
        if !PURE.contains(&module) || IMPURE.contains(&file.as_str()) {
            continue;
        }
        for (number, line) in code(&text) {
            let impure = ["tokio::", "Instant::now", "SystemTime::now", "std::net::Tcp"];
            let found = impure.into_iter().find(|word| line.contains(word));
            assert!(found.is_none(), "src/{file}:{number}: {} in a pure file", found.unwrap());
        }
    }
}

#[test]
fn kafka_protocol_is_named_where_control_messages_are_and_nowhere_else() {
    for (file, text) in sources() {
        // A property that compares the two names both.
        if file.starts_with("protocol/messages/")
            || file.starts_with("broker/")
            || file == "fuzzing.rs"
        {
            continue;
        }
        for (number, line) in code(&text) {
            assert!(!line.contains("kafka_protocol::"), "src/{file}:{number}: another decoder");
        }
    }
}

#[test]
fn every_file_has_a_header_and_none_outgrows_it() {
    for (file, text) in sources() {
        assert!(text.starts_with("//! "), "src/{file} does not say what it decides");
        let lines = text.lines().count();
        assert!(lines <= 800, "src/{file} has {lines} lines: it is two things");
    }
}

/// How many rows the rules have under each letter, and the faults.
const SEMANTICS: &[(&str, std::ops::RangeInclusive<u32>)] = &[
    ("A", 1..=9),
    ("M", 1..=11),
    ("R", 1..=10),
    ("I", 1..=17),
    ("E", 1..=2),
    ("Z", 1..=1),
    ("T", 1..=8),
    ("K", 2..=2),
    ("B", 1..=11),
    ("C", 1..=14),
    ("S", 1..=6),
    ("F", 1..=60),
];

/// What stands in a row instead of a test.
const WITHOUT_TEST: [&str; 4] = ["not yet: ", "not here: ", "not shown: ", "not offered"];

/// The documentation of every test, by its name. Names that two tests share have both.
fn tests() -> BTreeMap<String, String> {
    let mut found = BTreeMap::<String, String>::new();
    for text in files_below("src").into_values().chain(files_below("tests/it").into_values()) {
        let (mut doc, mut is_test) = (String::new(), false);
        for line in text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                doc.push_str(words);
            } else if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            } else {
                let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                if let Some((name, _)) = name.filter(|_| is_test).and_then(|it| it.split_once('('))
                {
                    found.entry(name.to_owned()).or_default().push_str(&doc);
                }
                (doc, is_test) = (String::new(), false);
            }
        }
    }
    found
}

/// The sources below a folder of the crate, by path.
fn files_below(folder: &str) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// What stands in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether the words name this row, and not only one that begins like it.
fn names_row(doc: &str, row: &str) -> bool {
    doc.split(|c: char| !c.is_alphanumeric()).any(|word| word == row)
}

#[test]
fn every_promise_names_the_file_that_keeps_it_and_the_test_that_shows_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table = fs::read_to_string(root.join("producer/semantics.md")).unwrap();
    let tests = tests();
    let mut rows = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (row, shown_by) = (cells[0], *cells.last().unwrap());
        if row == "row" {
            continue;
        }
        rows.push(row);
        for file in cells[2..cells.len() - 1].iter().copied().flat_map(quoted) {
            assert!(root.join(file).is_file(), "{row}: there is no src/{file}");
        }
        let mut named = quoted(shown_by).peekable();
        let excused = WITHOUT_TEST.iter().any(|excuse| shown_by.starts_with(excuse));
        assert!(named.peek().is_some() != excused, "{row}: neither shown nor excused: {shown_by}");
        for test in named {
            let doc = tests.get(test).unwrap_or_else(|| panic!("{row}: there is no test {test}"));
            let is_fault = row.starts_with('F');
            assert!(
                !is_fault || names_row(doc, row),
                "{row}: {test} does not say that it shows it"
            );
        }
    }
    let numbers = |(letter, range): &(&str, std::ops::RangeInclusive<u32>)| {
        range.clone().map(|number| format!("{letter}{number}")).collect::<Vec<_>>()
    };
    assert_eq!(rows, SEMANTICS.iter().flat_map(numbers).collect::<Vec<_>>());
}
