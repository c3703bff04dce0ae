//! Values of properties: from text, as librdkafka reads it.
//!
//! Its C roots show, and configurations rely on them: a number may be octal or hexadecimal, and
//! what follows it is ignored, so `100ms` is 100. Decides nothing about what a value does.

use super::error::PropertyError;
use crate::sasl::Secret;

/// What a property takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// Any text, which is shown to nobody.
    Secret,
    /// Yes or no.
    Flag,
    /// A whole number within a range, or one of these names for one.
    Number { min: i64, max: i64, names: &'static [(&'static str, i64)] },
    /// A number within a range.
    Fraction { min: i64, max: i64 },
    /// One of these words, in either case.
    Choice(&'static [&'static str]),
    /// Any of these words, in either case, separated by commas.
    Flags(&'static [&'static str]),
    /// Nothing that a text could say.
    Pointer,
}

/// A property's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Secret(Secret),
    Flag(bool),
    Number(i64),
    Fraction(f64),
    Choice(&'static str),
}

impl Kind {
    /// Reads `text`, which was given for `name`.
    pub(super) fn parse(self, name: &'static str, text: &str) -> Result<Value, PropertyError> {
        let invalid =
            |fault: String| Err(PropertyError::Invalid { name, value: text.to_owned(), fault });
        match self {
            Self::Text => Ok(Value::Text(text.trim_start().to_owned())),
            Self::Secret => Ok(Value::Secret(Secret::new(text))),
            Self::Flag => match flag(text) {
                Some(flag) => Ok(Value::Flag(flag)),
                None => invalid("expected true or false".to_owned()),
            },
            Self::Number { min, max, names } => {
                let named = || names.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
                match leading_integer(text).or_else(|| named().map(|(_, number)| *number)) {
                    Some(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
                    Some(number) => out_of_range(name, number.to_string(), min, max),
                    None => invalid("expected a number".to_owned()),
                }
            }
            Self::Fraction { min, max } => match leading_fraction(text) {
                // The bounds are small numbers, exact in either form.
                Some(number) if number >= min as f64 && number <= max as f64 => {
                    Ok(Value::Fraction(number))
                }
                Some(number) => out_of_range(name, number.to_string(), min, max),
                None => invalid("expected a number".to_owned()),
            },
            Self::Choice(words) => match find_word(words, text) {
                Some(word) => Ok(Value::Choice(word)),
                None => invalid(format!("expected one of {}", words.join(", "))),
            },
            Self::Flags(words) => {
                let stranger =
                    text.split(',').map(str::trim).find(|part| find_word(words, part).is_none());
                match stranger {
                    Some(part) if !text.trim().is_empty() => {
                        invalid(format!("{part:?} is none of {}", words.join(", ")))
                    }
                    _ => Ok(Value::Text(text.trim().to_owned())),
                }
            }
            Self::Pointer => Err(PropertyError::Callback { name }),
        }
    }
}

fn out_of_range(
    name: &'static str,
    value: String,
    min: i64,
    max: i64,
) -> Result<Value, PropertyError> {
    Err(PropertyError::OutOfRange { name, value, min, max })
}

fn find_word(words: &[&'static str], text: &str) -> Option<&'static str> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied()
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// The integer that `text` begins with, as C's `strtol` reads it with base 0. One that is too large
/// saturates, and so is outside any range.
fn leading_integer(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    let (base, digits) = match digits.get(..2) {
        Some("0x" | "0X") if digits[2..].starts_with(|c: char| c.is_ascii_hexdigit()) => {
            (16, &digits[2..])
        }
        _ if digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    };
    digits.chars().next()?.to_digit(base)?;
    let magnitude = digits
        .chars()
        .map_while(|digit| digit.to_digit(base))
        .fold(0_i64, |all, digit| all.saturating_mul(base.into()).saturating_add(digit.into()));
    Some(if negative { -magnitude } else { magnitude })
}

/// The number that `text` begins with, as C's `strtod` reads it, but for infinity and fractions in
/// hexadecimal.
fn leading_fraction(text: &str) -> Option<f64> {
    let (negative, number) = sign(text);
    if matches!(number.get(..2), Some("0x" | "0X")) {
        return leading_integer(text).map(|number| number as f64);
    }
    let whole = count_digits(number);
    let mut end = whole;
    if let Some(fraction) = number[whole..].strip_prefix('.') {
        end += 1 + count_digits(fraction);
        if end == 1 {
            return None;
        }
    }
    if let Some(rest) = number[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(rest.starts_with(['+', '-']));
        match count_digits(&rest[sign..]) {
            0 => {}
            digits => end += 1 + sign + digits,
        }
    }
    let magnitude: f64 = number[..end].parse().ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Takes white space and a sign off; whether it is a minus.
fn sign(text: &str) -> (bool, &str) {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn count_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_as_strtol_reads_them() {
        for (text, number) in [
            ("100", Some(100)),
            (" \t100", Some(100)),
            ("100ms", Some(100)),
            ("+7", Some(7)),
            ("-1", Some(-1)),
            ("0x1F", Some(31)),
            ("-0x10", Some(-16)),
            ("0xg", Some(0)),
            ("010", Some(8)),
            ("09", Some(0)),
            ("1 000", Some(1)),
            ("99999999999999999999", Some(i64::MAX)),
            ("", None),
            ("ms", None),
            ("-", None),
            (" ", None),
        ] {
            assert_eq!(leading_integer(text), number, "{text:?}");
        }
    }

    #[test]
    fn fractions_are_read_as_strtod_reads_them() {
        for (text, number) in [
            ("5", Some(5.0)),
            ("0.5", Some(0.5)),
            (".5ms", Some(0.5)),
            ("5.", Some(5.0)),
            ("5e2", Some(500.0)),
            ("5e-1x", Some(0.5)),
            ("5e", Some(5.0)),
            ("-2.5", Some(-2.5)),
            ("0x10", Some(16.0)),
            ("010", Some(10.0)),
            (".", None),
            ("", None),
            ("e5", None),
            ("nan", None),
        ] {
            assert_eq!(leading_fraction(text), number, "{text:?}");
        }
    }

    #[test]
    fn flags_and_words_are_read_in_either_case() {
        for (text, value) in [("true", true), ("T", true), ("1", true), ("FALSE", false)] {
            assert_eq!(Kind::Flag.parse("x", text).unwrap(), Value::Flag(value));
        }
        assert!(Kind::Flag.parse("x", "yes").is_err());
        let choice = Kind::Choice(&["none", "gzip"]);
        assert_eq!(choice.parse("x", "GZip").unwrap(), Value::Choice("gzip"));
        assert!(choice.parse("x", "gzip ").is_err());
        let flags = Kind::Flags(&["broker", "msg"]);
        assert!(flags.parse("x", "broker, MSG").is_ok() && flags.parse("x", "").is_ok());
        let error = flags.parse("x", "broker,all").unwrap_err().to_string();
        assert!(error.contains("\"all\" is none of broker, msg"), "{error}");
    }

    #[test]
    fn names_stand_for_numbers_and_ranges_hold_for_both() {
        let acks = Kind::Number { min: -1, max: 1000, names: &[("all", -1)] };
        assert_eq!(acks.parse("acks", "ALL").unwrap(), Value::Number(-1));
        assert_eq!(
            acks.parse("acks", "1001").unwrap_err().to_string(),
            "configuration property \"acks\" value 1001 is outside allowed range -1..1000"
        );
        let linger = Kind::Fraction { min: 0, max: 900_000 };
        assert_eq!(
            linger.parse("linger.ms", "900000.5").unwrap_err().to_string(),
            "configuration property \"linger.ms\" value 900000.5 is outside allowed range 0..900000"
        );
        assert!(linger.parse("linger.ms", "1e999").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            for kind in [
                Kind::Text,
                Kind::Flag,
                Kind::Number { min: 0, max: 10, names: &[] },
                Kind::Fraction { min: 0, max: 10 },
                Kind::Choice(&["a"]),
                Kind::Flags(&["a"]),
            ] {
                drop(kind.parse("x", &text));
            }
        }

        #[test]
        fn whole_numbers_are_the_same_in_both_forms(number in -1_000_000_i64..1_000_000) {
            prop_assert_eq!(leading_integer(&number.to_string()), Some(number));
            prop_assert_eq!(leading_fraction(&number.to_string()), Some(number as f64));
        }
    }
}
