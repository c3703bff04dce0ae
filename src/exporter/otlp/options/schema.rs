//! The options in the schema of ottla's own file: written from the table, and held against it.
//!
//! Decides nothing that the table does not say. What is around the options in the schema, and what a
//! whole file may hold, is the command line's to hold against it.
//!
//! Schema: `docs/schemas/ottla-config.schema.json`, for
//! <https://json-schema.org/draft/2020-12/schema>.

use super::*;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Set to anything, it has the test write the file.
const RENEW: &str = "OTTLA_RENEW_SCHEMAS";

/// What is said of a value, first things first.
const ORDER: [&str; 13] = [
    "description",
    "type",
    "enum",
    "anyOf",
    "items",
    "minItems",
    "minLength",
    "minimum",
    "maximum",
    "pattern",
    "propertyNames",
    "additionalProperties",
    "default",
];

/// What stands before the options in the file.
const BEFORE: &str = "      \"additionalProperties\": false,\n      \"properties\": {\n";

/// What stands behind them.
const BEHIND: &str = "\n      }\n    }\n  }\n}\n";

#[test]
fn the_schema_has_every_option_as_the_table_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/ottla-config.schema.json");
    let file = fs::read_to_string(&path).unwrap();
    let (before, _) = file.split_once(BEFORE).unwrap();
    let renewed = format!("{before}{BEFORE}{}{BEHIND}", members(8, &options()));
    serde_json::from_str::<Value>(&renewed).unwrap();
    if std::env::var_os(RENEW).is_some() {
        fs::write(&path, renewed).unwrap();
        return;
    }
    let stale = renewed.lines().zip(file.lines()).find(|(wanted, found)| wanted != found);
    assert!(
        renewed == file,
        "docs/schemas/ottla-config.schema.json is not what the options' table makes of it: renew it \
         with {RENEW}=1 cargo test --lib options::schema\nwanted, found: {stale:#?}"
    );
}

/// Members of an object, a line each, so far to the right.
fn members(columns: usize, members: &[(String, Value)]) -> String {
    let line = |(name, value): &(String, Value)| {
        format!("{:columns$}{}: {}", "", json!(name), spaced(value))
    };
    members.iter().map(line).collect::<Vec<_>>().join(",\n")
}

/// JSON on one line, with spaces for people.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name));
            let member =
                |(name, value): (&String, &Value)| format!("{}: {}", json!(name), spaced(value));
            let members: Vec<_> = members.into_iter().map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(spaced).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// Every option by its name in TOML, and the table of properties behind them.
fn options() -> Vec<(String, Value)> {
    let named = |row: &OptionRow| (row.name.replace('-', "_"), option(row));
    let may_be_set = |property: &Documented| !canonical(property).effect.starts_with("refused");
    let names: Vec<_> = table().filter(may_be_set).map(|property| property.name).collect();
    let properties = json!({
        "description": "Properties of librdkafka, by its names; applied last.",
        "type": "object",
        "propertyNames": { "enum": names },
        "additionalProperties": {
            "type": ["string", "integer", "boolean", "array"],
            "items": { "type": ["string", "integer", "boolean"] },
        },
    });
    OPTIONS.iter().map(named).chain([("properties".to_owned(), properties)]).collect()
}

fn option(row: &OptionRow) -> Value {
    let mut schema = json!({ "description": row.help });
    let mut say = |name: &str, value: Value| schema[name] = value;
    if !row.choices().is_empty() {
        let words: Vec<_> = row.choices().iter().flat_map(|word| spellings(word)).collect();
        let pattern = either_case(row.choices());
        say("anyOf", json!([{ "enum": words }, { "type": "string", "pattern": pattern }]));
    } else if row.is_list() {
        say("type", json!(["string", "array"]));
        say("items", json!({ "type": ["string", "integer", "boolean"] }));
        if !row.default.is_empty() {
            say("minLength", json!(1));
            say("minItems", json!(1));
        }
    } else {
        say("type", json!(["string", "integer"]));
        if let Some([min, max]) = bounds(row) {
            say("minimum", json!(min));
            say("maximum", json!(max));
            let unit = if is_time(row) { "\\s*(ms|s|m|h)?" } else { "" };
            say("pattern", json!(format!("^\\s*[0-9]+{unit}\\s*$")));
        } else if matches!(row.kind, Text) && !row.default.is_empty() {
            say("minLength", json!(1));
        }
    }
    if let Some(default) = spellings(row.default).first().filter(|_| !row.default.is_empty()) {
        say("default", default.clone());
    }
    schema
}

/// A word as TOML may have it: a number or a switch needs no quotes, and may have them.
fn spellings(word: &str) -> Vec<Value> {
    let bare = word.parse().ok().filter(|bare: &Value| bare.is_i64() || bare.is_boolean());
    bare.into_iter().chain([json!(word)]).collect()
}

/// Matches these words in either case, with `-` or `_`.
fn either_case(words: &[&str]) -> String {
    let letter = |letter: char| match letter {
        '-' | '_' => "[-_]".to_owned(),
        _ if letter.is_ascii_alphabetic() => {
            format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase())
        }
        _ => letter.to_string(),
    };
    let words = words.iter().filter(|word| word.parse::<i64>().is_err());
    let words: Vec<String> = words.map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})$", words.join("|"))
}

const fn is_time(row: &OptionRow) -> bool {
    matches!(row.kind, Time(_))
}

/// The numbers that the option takes, or its property, if it is one of numbers.
fn bounds(row: &OptionRow) -> Option<[i64; 2]> {
    if let Some(max) = row.count_max() {
        return Some([1, max.into()]);
    }
    let (Property(name) | Time(name) | Word(name)) = row.kind else { return None };
    let property = table().find(|property| property.name == name).unwrap();
    let (min, max) = canonical(&property).values.split_once(" to ")?;
    Some([min.parse().unwrap(), max.parse().unwrap()])
}

/// A property of librdkafka, by the table that people read.
#[derive(Clone, Copy)]
struct Documented {
    name: &'static str,
    values: &'static str,
    effect: &'static str,
}

fn table() -> impl Iterator<Item = Documented> {
    static TABLE: LazyLock<String> = LazyLock::new(Properties::table);
    TABLE.lines().skip(2).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        Documented { name: cells[1].trim_matches('`'), values: cells[2], effect: cells[4] }
    })
}

/// The property that this one is another name of, or itself.
fn canonical(property: &Documented) -> Documented {
    let Some(name) = property.effect.strip_prefix("as ") else { return *property };
    table().find(|other| other.name == name.trim_matches('`')).unwrap()
}

/// What an option needs beside it with this value.
fn beside(name: &str, text: &str) -> &'static [(&'static str, &'static str)] {
    const LOGIN: &[(&str, &str)] = &[
        ("sasl-username", "u"),
        ("sasl-password", "p"),
        ("sasl-mechanism", "PLAIN"),
        ("security-protocol", "SASL_SSL"),
    ];
    let text = text.to_ascii_lowercase();
    match name {
        "sasl-mechanism" => LOGIN,
        "security-protocol" if text.starts_with("sasl") => LOGIN,
        "oversize" if text == "dead-letter" => &[("dead-letter-topic", "t")],
        "linger-ms" => &[("message-timeout-ms", "2147483647")],
        _ => &[],
    }
}

fn is_read(name: &str, text: &str) -> bool {
    let mut options = OtlpOptions::new();
    for (name, text) in beside(name, text).iter().chain([&(name, text)]) {
        options.set(name, text, Origin::File).unwrap();
    }
    options.into_config(&|_| None).is_ok()
}

#[test]
fn the_words_of_the_table_are_those_that_are_read() {
    for row in OPTIONS.iter().filter(|row| !row.choices().is_empty()) {
        let schema = jsonschema::validator_for(&option(row)).unwrap();
        for word in row.choices() {
            for spelled in [(*word).to_owned(), word.to_lowercase(), word.to_uppercase()] {
                assert!(is_read(row.name, &spelled), "{} {spelled}", row.name);
                assert!(schema.is_valid(&json!(spelled)), "{} {spelled}", row.name);
            }
        }
        for word in ["brotli", "7", "-7", ""] {
            assert!(!is_read(row.name, word), "{} {word}", row.name);
            assert!(!schema.is_valid(&json!(word)), "{} {word}", row.name);
        }
    }
}

#[test]
fn the_limits_of_the_schema_are_those_of_the_reader() {
    for (row, [min, max]) in OPTIONS.iter().filter_map(|row| Some((row, bounds(row)?))) {
        let schema = jsonschema::validator_for(&option(row)).unwrap();
        for (value, is_good) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
            if row.choices().is_empty() {
                assert_eq!(is_read(row.name, &value.to_string()), is_good, "{} {value}", row.name);
                assert_eq!(schema.is_valid(&json!(value)), is_good, "{} {value}", row.name);
            }
        }
    }
}
