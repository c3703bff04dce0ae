//! The properties in words, for people who have a configuration and wonder.

use super::rows::{GLOBAL, TOPIC};
use super::table::{Effect, Row};
use super::value::Kind;

/// Every property of a producer, as a Markdown table.
pub(super) fn markdown() -> String {
    let mut table = String::from("| property | values | default | in ottla |\n|---|---|---|---|\n");
    for row in GLOBAL.iter().chain(TOPIC) {
        if let Some(effect) = effect(row) {
            let Row { name, kind, default, .. } = row;
            let values = values(*kind);
            table.push_str(&format!("| `{name}` | {values} | {default} | {effect} |\n"));
        }
    }
    table
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Secret | Kind::Pointer => String::new(),
        Kind::Flag => "true, false".to_owned(),
        Kind::Number { min, max, .. } | Kind::Fraction { min, max } => format!("{min} to {max}"),
        Kind::Choice(words) => words.join(", "),
        Kind::Flags(_) => "words".to_owned(),
    }
}

/// `None` for a row that no name leads to.
fn effect(row: &Row) -> Option<String> {
    Some(match row.effect {
        Effect::Alias(canonical) => format!("as `{canonical}`"),
        Effect::Sets(field, _) | Effect::Rule(field) => format!("**`{field}`**"),
        Effect::Inert(reason) => format!("no effect: {reason}"),
        Effect::Deprecated => "no effect: deprecated".to_owned(),
        Effect::Consumer => "no effect".to_owned(),
        Effect::Refused(reason) => format!("refused: {reason}"),
        Effect::Callback => "refused: a callback or pointer".to_owned(),
        Effect::Shadowed => return None,
    })
}
