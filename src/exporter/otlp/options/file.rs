//! Options in a file, or in a program's own settings, by serde.
//!
//! Decides how values are written there: as a flag would have them, or as the number, switch or list
//! that they are. Names are those of the table, with `_` or `-`; `properties` is a table of
//! librdkafka's. No value is repeated in an error: it may be a secret.

use super::{Origin, OtlpOptions};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

impl<'de> Deserialize<'de> for OtlpOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OptionsVisitor)
    }
}

struct OptionsVisitor;

impl<'de> Visitor<'de> for OptionsVisitor {
    type Value = OtlpOptions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of options")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OtlpOptions, A::Error> {
        let mut options = OtlpOptions::new();
        while let Some(name) = map.next_key::<String>()? {
            let named = |error: A::Error| A::Error::custom(format_args!("{name}: {error}"));
            if name == "properties" {
                let properties = map.next_value::<BTreeMap<String, FlagText>>().map_err(named)?;
                for (name, FlagText(text)) in properties {
                    options.set_property(&name, &text, Origin::File);
                }
            } else {
                let FlagText(text) = map.next_value().map_err(named)?;
                options.set(&name, &text, Origin::File).map_err(A::Error::custom)?;
            }
        }
        Ok(options)
    }
}

/// A value as a flag would have it; lists are separated by commas there.
pub(crate) struct FlagText(pub(crate) String);

impl<'de> Deserialize<'de> for FlagText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagTextVisitor)
    }
}

struct FlagTextVisitor;

impl FlagTextVisitor {
    fn refuse<T, E: Error>() -> Result<T, E> {
        Err(E::custom("write a text, a whole number, true, false, or a list of those"))
    }
}

impl<'de> Visitor<'de> for FlagTextVisitor {
    type Value = FlagText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number, true, false, or a list of those")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<FlagText, E> {
        Ok(FlagText(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<FlagText, E> {
        Ok(FlagText(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<FlagText, E> {
        Ok(FlagText(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<FlagText, E> {
        Ok(FlagText(value.to_string()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<FlagText, E> {
        Self::refuse()
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<FlagText, A::Error> {
        Self::refuse()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FlagText, A::Error> {
        let mut texts = Vec::new();
        while let Some(FlagText(text)) = list.next_element()? {
            texts.push(text);
        }
        Ok(FlagText(texts.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_what_they_are_or_as_flags() {
        for file in [
            r#"{"brokers": ["a:1", "b:2"], "linger_ms": 25, "partition_traces_by_id": true,
                "properties": {"enable.idempotence": true}}"#,
            r#"{"brokers": "a:1,b:2", "linger-ms": "25", "partition-traces-by-id": "true",
                "properties": {"enable.idempotence": "true"}}"#,
        ] {
            let options: OtlpOptions = serde_json::from_str(file).unwrap();
            let (config, _) = options.into_config(&|_| None).unwrap();
            assert_eq!(config.producer.bootstrap.len(), 2);
            assert_eq!(config.producer.linger.as_millis(), 25);
            assert!(config.producer.idempotence);
        }
    }

    #[test]
    fn what_cannot_be_is_named_and_not_repeated() {
        fn error(file: &str) -> String {
            serde_json::from_str::<OtlpOptions>(file).unwrap_err().to_string()
        }
        assert!(error(r#"{"linger": 5}"#).starts_with("no such option: \"linger\": did you mean"));
        for value in ["1.5", "{\"a\": 1.5}", "[[1.5]]"] {
            let error = error(&format!(r#"{{"sasl_password": {value}}}"#));
            let told = "sasl_password: write a text, a whole number, true, false, or a list";
            assert!(error.starts_with(told) && !error.contains("1.5"), "{error}");
        }
    }
}
