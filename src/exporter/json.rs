//! JSON that is carried, not interpreted.
//!
//! Decides how a value is kept exactly as it was written ([`Value`]), how the members of an object
//! keep their order ([`Object`]), and how strings are quoted. Only whitespace between tokens is
//! lost. What the members mean is left to the model and the configuration.
//!
//! Grammar: <https://www.rfc-editor.org/rfc/rfc8259>.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

/// How deep a [`Value`] may nest. A record adds at most six levels around it and a body one more,
/// and readers built on serde_json refuse the 128th.
pub const VALUE_DEPTH_MAX: usize = 120;

/// One JSON value as its writer spelled it: `160.0000054`, `1e400` and `"\u0041"` stay so.
///
/// Always valid, compact, and no deeper than [`VALUE_DEPTH_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value<'a>(Cow<'a, str>);

impl<'a> Value<'a> {
    /// `null`.
    pub const NULL: Value<'static> = Value(Cow::Borrowed("null"));

    /// Anything serde can write. NaN and infinities become `null`, which is JSON's only way.
    ///
    /// # Errors
    ///
    /// `ValueError::Unwritable` when `value` refuses, as a map with keys that are no strings does;
    /// `ValueError::TooDeep` beyond [`VALUE_DEPTH_MAX`].
    pub fn new<T: serde::Serialize + ?Sized>(value: &T) -> Result<Value<'static>, ValueError> {
        let json = serde_json::to_string(value).map_err(ValueError::Unwritable)?;
        let survey = Survey::of(&json);
        match survey.depth {
            0..=VALUE_DEPTH_MAX if survey.spaced => Ok(Value(Cow::Owned(compact(&json)))),
            0..=VALUE_DEPTH_MAX => Ok(Value(Cow::Owned(json))),
            _ => Err(ValueError::TooDeep),
        }
    }

    /// The value's JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Removes members of this value, or of a value within it, as [`Removal`] says. A value
    /// without such members stays as it is, byte for byte.
    pub(super) fn remove(&mut self, removal: &Removal) {
        if self.0.starts_with(['{', '[']) {
            let mut walk = Walk { json: &self.0, at: 0, out: String::new(), changed: false };
            walk.value(removal);
            if walk.changed {
                self.0 = Cow::Owned(walk.out);
            }
        }
    }

    fn from_valid(json: &'a str) -> Result<Self, ValueError> {
        // Numbers, strings and literals are most values, and have neither depth nor inner spaces.
        if !json.starts_with(['{', '[']) {
            return Ok(Self(Cow::Borrowed(json)));
        }
        let survey = Survey::of(json);
        match survey.depth {
            0..=VALUE_DEPTH_MAX if survey.spaced => Ok(Self(Cow::Owned(compact(json)))),
            0..=VALUE_DEPTH_MAX => Ok(Self(Cow::Borrowed(json))),
            _ => Err(ValueError::TooDeep),
        }
    }
}

impl From<&str> for Value<'static> {
    fn from(text: &str) -> Self {
        let mut json = String::with_capacity(text.len() + 2);
        push_quoted(&mut json, text);
        Self(Cow::Owned(json))
    }
}

impl From<bool> for Value<'static> {
    fn from(value: bool) -> Self {
        Self(Cow::Borrowed(if value { "true" } else { "false" }))
    }
}

impl From<i64> for Value<'static> {
    fn from(value: i64) -> Self {
        Self(Cow::Owned(value.to_string()))
    }
}

impl From<u64> for Value<'static> {
    fn from(value: u64) -> Self {
        Self(Cow::Owned(value.to_string()))
    }
}

/// Borrows from the input, so only serde_json over a string or a slice can be the deserializer.
impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        Value::from_valid(raw.get()).map_err(D::Error::custom)
    }
}

/// A value that cannot be carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Serialization failed.
    #[error("not writable as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// Nested deeper than [`VALUE_DEPTH_MAX`].
    #[error("nested deeper than {VALUE_DEPTH_MAX} levels")]
    TooDeep,
}

/// The members of a JSON object, in their order. A name given twice is kept twice: readers take the
/// last, as they would have from the original.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// `{}`.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a member at the end.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        self.0.push((name.into(), value.into()));
    }

    /// Keeps the members that `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Value<'a>) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Removes members, at any depth, as [`Removal`] says.
    pub(super) fn remove(&mut self, removal: &Removal) {
        self.0.retain_mut(|(name, value)| {
            match removal.substitute {
                _ if !(removal.is_removed)(name) => value.remove(removal),
                Some(substitute) => *value = substitute(value),
                None => return false,
            }
            true
        });
    }

    /// The value of the last member of that name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.iter().rev().find(|(member, _)| *member == name).map(|(_, value)| value)
    }

    /// The members in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is `{}`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members, to be changed one by one.
    pub(super) fn into_members(self) -> Vec<(Cow<'a, str>, Value<'a>)> {
        self.0
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Pairs::deserialize(deserializer).map(|Pairs(members)| Self(members))
    }
}

/// Which members go, and what comes in the place of their values.
pub(super) struct Removal {
    /// Whether a member of that name goes.
    pub(super) is_removed: fn(&str) -> bool,
    /// The value that the member gets instead. Without it, the whole member goes.
    pub(super) substitute: Option<fn(&Value<'_>) -> Value<'static>>,
}

/// A walk through a [`Value`] that copies what stays. Every byte is seen at most three times, and
/// the stack is as deep as the value.
struct Walk<'a> {
    json: &'a str,
    at: usize,
    out: String,
    changed: bool,
}

impl<'a> Walk<'a> {
    fn value(&mut self, removal: &Removal) {
        match self.json.as_bytes()[self.at] {
            b'{' => self.members(removal),
            b'[' => self.elements(removal),
            _ => {
                let scalar = self.skip();
                self.out.push_str(scalar);
            }
        }
    }

    fn elements(&mut self, removal: &Removal) {
        self.copy_byte();
        while self.json.as_bytes()[self.at] != b']' {
            if self.json.as_bytes()[self.at] == b',' {
                self.copy_byte();
            }
            self.value(removal);
        }
        self.copy_byte();
    }

    fn members(&mut self, removal: &Removal) {
        self.copy_byte();
        let mut separator = "";
        while self.json.as_bytes()[self.at] != b'}' {
            if self.json.as_bytes()[self.at] == b',' {
                self.at += 1;
            }
            let name = self.skip();
            self.at += 1;
            let is_removed = is_named(name, removal.is_removed);
            self.changed |= is_removed;
            if is_removed && removal.substitute.is_none() {
                self.skip();
                continue;
            }
            for part in [separator, name, ":"] {
                self.out.push_str(part);
            }
            separator = ",";
            match removal.substitute.filter(|_| is_removed) {
                Some(substitute) => {
                    let value = Value(Cow::Borrowed(self.skip()));
                    self.out.push_str(substitute(&value).as_json());
                }
                None => self.value(removal),
            }
        }
        self.copy_byte();
    }

    /// Copies one byte of punctuation.
    fn copy_byte(&mut self) {
        self.out.push(char::from(self.json.as_bytes()[self.at]));
        self.at += 1;
    }

    /// The value that starts here, and goes past it.
    fn skip(&mut self) -> &'a str {
        let rest = &self.json[self.at..];
        let end = value_end(rest.as_bytes());
        self.at += end;
        &rest[..end]
    }
}

/// Whether a quoted name is one that `test` is true of. One that is no text, being half of a
/// surrogate pair, is taken for such: nobody can tell what it says.
fn is_named(quoted: &str, test: fn(&str) -> bool) -> bool {
    if quoted.contains('\\') {
        return serde_json::from_str::<String>(quoted).map_or(true, |name| test(&name));
    }
    test(quoted.trim_matches('"'))
}

/// Where the value ends that `json` starts with, which is valid and compact.
fn value_end(json: &[u8]) -> usize {
    let (mut open, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' if in_string && open == 0 => return at + 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => open += 1,
            // The end of what a number or literal is in.
            b',' | b'}' | b']' if open == 0 => return at,
            b'}' | b']' => {
                open -= 1;
                if open == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    json.len()
}

/// The members of an object whose values are read as `V`.
pub(super) struct Pairs<'a, V>(pub(super) Vec<(Cow<'a, str>, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<'de, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
    type Value = Pairs<'de, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            let value = member(&mut map, &name)?;
            members.push((name, value));
        }
        Ok(Pairs(members))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(unexpected_string(&self))
    }
}

/// A string, borrowed where it has no escapes. `null` is the empty string, as Go reads it.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed("")))
    }
}

/// The value of the member `name`, whose errors name it.
pub(super) fn member<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    name: &str,
) -> Result<T, A::Error> {
    map.next_value().map_err(|error| A::Error::custom(format_args!("{}: {error}", clip(name))))
}

/// A string where something else belongs. serde's own error would repeat the string, and strings
/// hold prompts and passwords.
pub(super) fn unexpected_string<'de, V: Visitor<'de>, E: Error>(expected: &V) -> E {
    E::invalid_type(Unexpected::Other("a string"), expected)
}

/// As much of `text` as an error message should repeat.
pub(super) fn clip(text: &str) -> Cow<'_, str> {
    const CHARS_MAX: usize = 80;
    let (kept, more) = match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => (&text[..end], "..."),
        None => (text, ""),
    };
    // What a log would take for a new line, or a terminal for an order.
    if more.is_empty() && !kept.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let shown: String = kept.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    Cow::Owned(shown + more)
}

/// Where a byte stands: line and column, both counted from 1, columns in bytes.
pub(super) fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let newlines = before.iter().filter(|byte| **byte == b'\n').count();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (newlines + 1, offset - line_start + 1)
}

/// What is wrong, without the line and column that serde_json ends its message with.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.truncate(text.strip_suffix(&place).unwrap_or(&text).len());
    text
}

/// Writes `text` as a JSON string. Escapes only what RFC 8259 section 7 demands.
pub(super) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.push_str(&rest[..at]);
        push_escape(out, rest.as_bytes()[at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

fn push_escape(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        _ => {
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
    }
}

/// What must be known of a valid JSON text before it is carried.
struct Survey {
    depth: usize,
    spaced: bool,
}

impl Survey {
    fn of(json: &str) -> Self {
        let (mut open, mut survey) = (0, Self { depth: 0, spaced: false });
        for_each_structural(json, |byte, _| match byte {
            b'{' | b'[' => {
                open += 1;
                survey.depth = survey.depth.max(open);
            }
            b'}' | b']' => open -= 1,
            b' ' | b'\t' | b'\n' | b'\r' => survey.spaced = true,
            _ => {}
        });
        survey
    }
}

/// How deep valid JSON nests.
#[cfg(feature = "tensorzero")]
pub(super) fn depth(json: &str) -> usize {
    Survey::of(json).depth
}

/// Valid JSON without the whitespace between its tokens.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut kept = 0;
    for_each_structural(json, |byte, at| {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push_str(&json[kept..at]);
            kept = at + 1;
        }
    });
    out.push_str(&json[kept..]);
    out
}

/// Calls `see` with every byte of valid JSON that is outside a string, and its offset.
fn for_each_structural(json: &str, mut see: impl FnMut(u8, usize)) {
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if !in_string => see(byte, at),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(json: &str) -> Value<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_and_escapes_keep_their_spelling() {
        for json in ["160.0000054", "1e400", "-0", "123456789012345678901234567890", r#""\u0041""#]
        {
            assert_eq!(value(json).as_json(), json);
        }
    }

    #[test]
    fn spaces_between_tokens_go_and_spaces_in_strings_stay() {
        let spaced = "{ \"a b\" : [ 1 ,\n\t\"c \\\" d\\\\\" , { } ] }";
        assert_eq!(value(spaced).as_json(), r#"{"a b":[1,"c \" d\\",{}]}"#);
    }

    #[test]
    fn a_value_may_nest_to_the_limit_and_no_deeper() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(serde_json::from_str::<Value<'_>>(&nested(VALUE_DEPTH_MAX)).is_ok());
        for depth in [VALUE_DEPTH_MAX + 1, 1_000_000] {
            let error = serde_json::from_str::<Value<'_>>(&nested(depth)).unwrap_err();
            assert!(error.to_string().contains("nested deeper than 120 levels"), "{error}");
        }
    }

    #[test]
    fn members_keep_order_and_duplicates_and_the_last_is_found() {
        let object: Object<'_> = serde_json::from_str(r#"{"b":1,"a":2,"b":3}"#).unwrap();
        assert_eq!(object.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a", "b"]);
        assert_eq!(object.get("b").unwrap().as_json(), "3");
    }

    #[test]
    fn a_string_in_place_of_an_object_is_not_repeated() {
        let error = serde_json::from_str::<Object<'_>>(r#""my secret""#).unwrap_err().to_string();
        assert_eq!(error, "invalid type: a string, expected an object at line 1 column 11");
    }

    #[test]
    fn values_can_be_made_from_rust() {
        assert_eq!(Value::from("a\"b\u{1}").as_json(), r#""a\"b\u0001""#);
        assert_eq!(Value::from(true).as_json(), "true");
        assert_eq!(Value::from(-7_i64).as_json(), "-7");
        assert_eq!(Value::from(u64::MAX).as_json(), "18446744073709551615");
        assert_eq!(Value::new(&["stop"]).unwrap().as_json(), r#"["stop"]"#);
        assert_eq!(Value::new(&f64::NAN).unwrap(), Value::NULL);
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position(b"ab\ncd", 0), (1, 1));
        assert_eq!(position(b"ab\ncd", 4), (2, 2));
    }

    fn removed(json: &str, substitute: Option<fn(&Value<'_>) -> Value<'static>>) -> String {
        let mut object: Object<'_> = serde_json::from_str(json).unwrap();
        object.remove(&Removal { is_removed: |name| name == "x", substitute });
        let members = object.iter().map(|(name, value)| format!("{name}={}", value.as_json()));
        members.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn members_are_removed_at_any_depth() {
        for (json, left) in [
            (r#"{"x":1,"a":2,"x":3}"#, "a=2"),
            (r#"{"a":{"x":[{}],"b":1e400}}"#, r#"a={"b":1e400}"#),
            (r#"{"a":{"b":"x","x":"}\"{","x":null}}"#, r#"a={"b":"x"}"#),
            (r#"{"a":[1,{"x":1},[{"b":{"x":{"x":1}},"c":[]}]]}"#, r#"a=[1,{},[{"b":{},"c":[]}]]"#),
            (r#"{"a":{"\u0078":1,"\ud800":2,"\\x":3}}"#, r#"a={"\\x":3}"#),
            (r#"{"a":{ "b" : [ "x" ] }}"#, r#"a={"b":["x"]}"#),
        ] {
            assert_eq!(removed(json, None), left, "{json}");
        }
    }

    #[test]
    fn a_substitute_takes_the_place_of_a_value() {
        let count: fn(&Value<'_>) -> Value<'static> =
            |value| Value::from(u64::try_from(value.as_json().len()).unwrap());
        assert_eq!(
            removed(r#"{"x":"ab","a":[{"x":{"x":[1,2]},"b":0,"x":7}]}"#, Some(count)),
            r#"x=4 a=[{"x":11,"b":0,"x":1}]"#,
        );
    }

    #[test]
    fn a_raw_value_of_the_caller_is_compacted() {
        let raw = RawValue::from_string("{\"a\" :\n[ 1 ]}".to_owned()).unwrap();
        assert_eq!(Value::new(&raw).unwrap().as_json(), r#"{"a":[1]}"#);
    }

    proptest! {
        #[test]
        fn removing_agrees_with_a_tree(
            json in "(\\{\"x\":|\\{\"a\":|\\[|\\]|\\}|,|,\"x\":|,\"b\":|1|\"x\"|\"\\\\\"\"){0,30}",
        ) {
            fn prune(tree: &mut serde_json::Value) {
                match tree {
                    serde_json::Value::Object(members) => {
                        members.remove("x");
                        members.values_mut().for_each(prune);
                    }
                    serde_json::Value::Array(elements) => elements.iter_mut().for_each(prune),
                    _ => {}
                }
            }
            let json = format!("[{json}]");
            let Ok(mut tree) = serde_json::from_str::<serde_json::Value>(&json) else {
                return Ok(());
            };
            prune(&mut tree);
            let mut value = value(&json);
            value.remove(&Removal { is_removed: |name| name == "x", substitute: None });
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(value.as_json()).unwrap(), tree);
        }

        #[test]
        fn quoting_is_read_back(text in any::<String>()) {
            let mut json = String::new();
            push_quoted(&mut json, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
