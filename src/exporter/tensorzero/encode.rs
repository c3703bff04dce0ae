//! One row to one Kafka record.
//!
//! Decides the bytes: the key is the first of the row's ids that is not empty, and the value the row
//! as its writer spelled it, on one line. Records are lines to many readers, so a row that has line
//! ends between its tokens loses the whitespace there; any other is not touched.

use super::config::KeyField;
use super::receive::Row;
use crate::exporter::json::compact;
use std::borrow::Cow;

/// What one row becomes in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRecord<'a> {
    /// Rows with the same key share a partition. `None` when the row has no id.
    pub key: Option<&'a str>,
    /// The row as one line of JSON.
    pub value: Cow<'a, str>,
}

/// Encodes `row`, keyed by that field, or where it is empty by the first that is not.
pub fn encode<'a>(row: &'a Row<'_>, by: KeyField) -> RowRecord<'a> {
    let json = row.as_json();
    // Inside strings line ends are escaped.
    let value = match json.contains(['\n', '\r']) {
        true => Cow::Owned(compact(json)),
        false => Cow::Borrowed(json),
    };
    RowRecord { key: row.key(by), value }
}

#[cfg(test)]
mod tests {
    use super::super::{DataType, rows};
    use super::*;

    fn record(body: &str, by: KeyField) -> (Option<String>, String) {
        let row = rows(DataType::ChatInference, body.as_bytes()).next().unwrap().unwrap();
        let record = encode(&row, by);
        (record.key.map(str::to_owned), record.value.into_owned())
    }

    fn chat(ids: &str) -> String {
        format!(r#"{{{ids}, "function_name":"f","variant_name":"v", "input":{{}},"output":[]}}"#)
    }

    #[test]
    fn the_key_is_the_chosen_id_or_the_first_that_is_not_empty() {
        for (ids, by, key) in [
            (r#""id":"a","episode_id":"e""#, KeyField::Id, Some("a")),
            (r#""id":"a","episode_id":"e""#, KeyField::EpisodeId, Some("e")),
            (r#""id":"a","episode_id":"e""#, KeyField::InferenceId, Some("a")),
            (r#""id":"a","episode_id":"","inference_id":"i""#, KeyField::EpisodeId, Some("a")),
            (r#""id":"","episode_id":"e","inference_id":"i""#, KeyField::Id, Some("i")),
            (r#""id":"","episode_id":"e","inference_id":7"#, KeyField::Id, Some("e")),
            (r#""id":"","episode_id":"","target_id":"t""#, KeyField::Id, Some("t")),
            (r#""id":"","episode_id":"","target_id":null"#, KeyField::Id, None),
            (r#""id":"a","id":"b","episode_id":"e""#, KeyField::Id, Some("b")),
            (r#""id":"\u0061\n","episode_id":"e""#, KeyField::Id, Some("a\n")),
        ] {
            assert_eq!(record(&chat(ids), by).0.as_deref(), key, "{ids}");
        }
    }

    #[test]
    fn a_row_on_one_line_is_the_bytes_that_came() {
        let body =
            chat(r#" "id" : "a\n" , "episode_id":"e", "x" : [1e400, 160.0000054, "\u0041"]"#);
        assert_eq!(record(&format!("  {body}\n"), KeyField::Id).1, body);
    }

    #[test]
    fn a_row_on_many_lines_is_put_on_one() {
        for end in ["\n", "\r\n", "\r"] {
            let body = chat(&format!(r#""id": {end} "a \" b","episode_id":"e""#));
            let (_, value) = record(&body, KeyField::Id);
            let start =
                r#"{"id":"a \" b","episode_id":"e","function_name":"f","variant_name":"v","#;
            assert_eq!(value, format!(r#"{start}"input":{{}},"output":[]}}"#));
        }
    }
}
