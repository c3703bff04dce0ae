//! Two texts of JSON that say the same, in the same words.
//!
//! Decides whether every member, element, string and number of the one is in the other, in order and
//! as it was spelled; only whitespace between tokens may differ. Cut into parts by serde_json alone,
//! so that what is judged does not judge itself.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Panics unless the two texts have the same members.
pub(super) fn assert_same(one: &str, other: &str) {
    match one.trim_start().as_bytes().first() {
        Some(b'{') => {
            let [one, other] = [one, other].map(parts::<Members<'_>>);
            assert_eq!(one.0.len(), other.0.len());
            for ((name, value), (other_name, other_value)) in one.0.iter().zip(other.0) {
                assert_eq!(name.get(), other_name.get());
                assert_same(value.get(), other_value.get());
            }
        }
        Some(b'[') => {
            let [one, other] = [one, other].map(parts::<Vec<&RawValue>>);
            assert_eq!(one.len(), other.len());
            for (value, other) in one.iter().zip(other) {
                assert_same(value.get(), other.get());
            }
        }
        _ => assert_eq!(one.trim(), other.trim()),
    }
}

/// Whether the object has a member of that name whose value is that string, however either is
/// spelled.
pub(super) fn is_member(object: &str, name: &str, value: &str) -> bool {
    let says = |quoted: &RawValue, text: &str| {
        serde_json::from_str::<String>(quoted.get()).is_ok_and(|said| said == text)
    };
    let members = parts::<Members<'_>>(object).0;
    members.iter().any(|(its_name, its_value)| says(its_name, name) && says(its_value, value))
}

fn parts<'a, T: Deserialize<'a>>(json: &'a str) -> T {
    match serde_json::from_str(json) {
        Ok(parts) => parts,
        Err(error) => unreachable!("it was read before: {error}"),
    }
}

/// An object's members in their order, names as they are spelled.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_alone_may_differ() {
        let json = r#"{"a" : [1e400, {"\u0062": "\ud800"}],
            "a": null}"#;
        let compact = r#"{"a":[1e400,{"\u0062":"\ud800"}],"a":null}"#;
        assert_same(json, compact);
        for other in [
            r#"{"a":[1e400,{"\u0062":"\ud800"}]}"#,
            r#"{"a":[1e400,{"b":"\ud800"}],"a":null}"#,
            r#"{"a":[1e400],"a":null}"#,
            r#"{"a":null,"a":[1e400,{"\u0062":"\ud800"}]}"#,
        ] {
            assert!(std::panic::catch_unwind(|| assert_same(json, other)).is_err(), "{other}");
        }
        assert!(is_member(r#"{"\u0061":"\u0062"}"#, "a", "b"));
        assert!(!is_member(r#"{"a":{"a":"b"}}"#, "a", "b"));
    }
}
