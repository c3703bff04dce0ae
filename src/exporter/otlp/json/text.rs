//! Values as JSON spells them in OTLP.
//!
//! Decides the spelling of strings, numbers, ids and bytes, as the Collector writes them. Which
//! field has which is left to the schema.
//!
//! Mapping: <https://protobuf.dev/programming-guides/json/>, with ids in hex by
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use std::io::Write as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Writes UTF-8 as a JSON string. Escapes only what RFC 8259 section 7 demands.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        put_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn put_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            put_hex(out, &[byte]);
        }
    }
}

/// Writes a number of up to 32 bits.
pub(crate) fn put_number(out: &mut Vec<u8>, value: i64) {
    write!(out, "{value}").expect("a Vec takes every write");
}

/// Writes a whole number of 64 bits, which is a string: many readers have only doubles.
pub(crate) fn put_long(out: &mut Vec<u8>, value: impl Into<i128>) {
    write!(out, "\"{}\"", value.into()).expect("a Vec takes every write");
}

/// Writes a double with as many digits as it needs; a string if JSON has no number for it. Exponents
/// are used where Go and JavaScript use them, and have two digits at least, as Go's do.
pub(crate) fn put_double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    } else if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        write!(out, "{value}").expect("a Vec takes every write");
    } else {
        let start = out.len();
        write!(out, "{value:e}").expect("a Vec takes every write");
        let exponent = out.iter().rposition(|byte| *byte == b'e').map_or(start, |at| at + 1);
        // Rust writes 1e21 and 1e-7 where Go writes 1e+21 and 1e-07.
        match out[exponent..] {
            [b'-', _] => out.insert(exponent + 1, b'0'),
            [b'-', ..] => {}
            _ => out.insert(exponent, b'+'),
        }
    }
}

/// Writes bytes in lower-case hex, without quotes.
pub(crate) fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(
        bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]),
    );
}

/// Writes bytes in base64, without quotes.
pub(crate) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).expect("four characters for every three bytes");
}

/// Reads an id of that many bytes. `None` unless it is so many, in hex of any case.
pub(crate) fn read_id(text: &str, size: usize) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if text.len() != 2 * size {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Reads base64 of either alphabet.
pub(crate) fn read_base64(text: &str) -> Option<Vec<u8>> {
    let standard = if text.contains(['-', '_']) {
        BASE64.decode(text.replace('-', "+").replace('_', "/"))
    } else {
        BASE64.decode(text)
    };
    standard.ok()
}

/// Reads a double from a string: a number, or one that JSON does not have.
pub(crate) fn read_double(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    // A number beyond the largest double is not infinite: it is a mistake.
    let spelled = !text.bytes().any(|byte| byte.is_ascii_digit());
    (value.is_finite() || spelled).then_some(value)
}

/// Reads a whole number from a string, which may have a fraction of zero and an exponent.
pub(crate) fn read_whole(text: &str) -> Option<i128> {
    text.parse().ok().or_else(|| whole(text.parse().ok()?))
}

/// A double as the whole number that it is, if it is one of 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "it is whole and within bounds")]
pub(crate) fn whole(value: f64) -> Option<i128> {
    const BOUND: f64 = 18_446_744_073_709_551_616.0;
    (value.fract() == 0.0 && value.abs() <= BOUND).then_some(value as i128)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_spelled_as_the_collector_spells_them() {
        for (value, text) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.000_001, "0.000001"),
            (1.5e-7, "1.5e-07"),
            (1e-10, "1e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e300, "-2.5e+300"),
            (160.000_005_4, "160.0000054"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(written(|out| put_double(out, value)), text);
        }
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction_or_an_exponent_but_must_be_whole() {
        for (text, value) in [
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("1e3", Some(1000)),
            ("5.0", Some(5)),
            ("5.5", None),
            ("", None),
            (" 5", None),
            ("1e300", None),
            ("NaN", None),
            ("0x10", None),
        ] {
            assert_eq!(read_whole(text), value, "{text:?}");
        }
    }

    #[test]
    fn a_number_beyond_the_doubles_is_no_infinity() {
        assert_eq!(read_double("Infinity"), Some(f64::INFINITY));
        assert_eq!(read_double("-Infinity"), Some(f64::NEG_INFINITY));
        assert!(read_double("NaN").unwrap().is_nan());
        assert_eq!(read_double("1.5"), Some(1.5));
        assert_eq!(read_double("1e400"), None);
        assert_eq!(read_double("seven"), None);
    }

    #[test]
    fn base64_is_read_in_both_alphabets_with_and_without_padding() {
        for text in ["+/8=", "-_8=", "+/8", "-_8"] {
            assert_eq!(read_base64(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(read_base64(""), Some(vec![]));
        assert_eq!(read_base64("a"), None);
        assert_eq!(read_base64("a b="), None);
    }

    #[test]
    fn ids_are_hex_of_any_case_and_of_one_length() {
        assert_eq!(read_id("00aBFf", 3), Some(vec![0x00, 0xab, 0xff]));
        for text in ["00abf", "00abff00", "00abfg", "é0000", ""] {
            assert_eq!(read_id(text, 3), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_read_back(text in any::<String>()) {
            let json = written(|out| put_string(out, text.as_bytes()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn doubles_are_read_back_to_the_last_bit(value in any::<f64>()) {
            let json = written(|out| put_double(out, value));
            let read = read_double(json.trim_matches('"')).unwrap();
            prop_assert!(read.to_bits() == value.to_bits() || value.is_nan() && read.is_nan());
        }

        #[test]
        fn bytes_are_read_back(bytes: Vec<u8>) {
            let base64 = written(|out| put_base64(out, &bytes));
            prop_assert_eq!(read_base64(&base64), Some(bytes.clone()));
            let hex = written(|out| put_hex(out, &bytes));
            prop_assert_eq!(read_id(&hex, bytes.len()), Some(bytes));
        }
    }
}
