//! What most fields are, seen at a glance.
//!
//! Decides for the forms that nearly all bytes of a request have whether they are what they should
//! be. It says yes, or nothing: what it does not know may be right all the same, and is for the walk
//! to read field by field, which alone says what is wrong. So a fault has one place where it is found.

/// What a field holds behind a length of one or two bytes, and what comes behind the field.
#[inline(always)]
pub(super) fn measured(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match *bytes {
        [length @ ..0x80, ref rest @ ..] => rest.split_at_checked(usize::from(length)),
        [low, high @ ..0x80, ref rest @ ..] => {
            rest.split_at_checked(usize::from(low & 0x7f) | usize::from(high) << 7)
        }
        _ => None,
    }
}

/// What comes behind a varint of at most 63 bits.
#[inline(always)]
pub(super) fn past_varint(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().take(9).position(|byte| *byte < 0x80)?;
    bytes.get(last + 1..)
}

/// What comes behind an id of so many bytes.
#[inline(always)]
pub(super) fn past_id(bytes: &[u8], size: u8) -> Option<&[u8]> {
    match bytes {
        [found, id @ ..] if *found == size => id.get(usize::from(size)..),
        _ => None,
    }
}

/// What comes behind a string.
#[inline(always)]
pub(super) fn past_text(bytes: &[u8]) -> Option<&[u8]> {
    let (text, rest) = measured(bytes)?;
    (is_ascii(text) || std::str::from_utf8(text).is_ok()).then_some(rest)
}

/// What comes behind a `KeyValue` that is a name and a value of a string or a number, all of it short
/// and ASCII: as nearly all are. Most encoders write the name first, the Collector's the value.
#[inline(always)]
pub(super) fn past_plain_pair(bytes: &[u8]) -> Option<&[u8]> {
    const NAME: u8 = 1 << 3 | 2;
    const VALUE: u8 = 2 << 3 | 2;
    const TEXT: u8 = 1 << 3 | 2;
    const BOOL: u8 = 2 << 3;
    const INTEGER: u8 = 3 << 3;
    let [size @ ..0x80, rest @ ..] = bytes else { return None };
    let (pair, rest) = rest.split_at_checked(usize::from(*size))?;
    let [first_tag, size @ ..0x80, fields @ ..] = pair else { return None };
    let (first, second) = fields.split_at_checked(usize::from(*size))?;
    let [second_tag, size @ ..0x80, second @ ..] = second else { return None };
    if second.len() != usize::from(*size) {
        return None;
    }
    let (name, held) = match (*first_tag, *second_tag) {
        (NAME, VALUE) => (first, second),
        (VALUE, NAME) => (second, first),
        _ => return None,
    };
    let is_plain = match held {
        // All tags and lengths are ASCII as well, so that one look at the whole pair does.
        [TEXT, size, text @ ..] => text.len() == usize::from(*size) && is_ascii(pair),
        [BOOL | INTEGER, number @ ..] => {
            past_varint(number).is_some_and(<[u8]>::is_empty) && is_ascii(name)
        }
        _ => false,
    };
    is_plain.then_some(rest)
}

/// Whether all of them are ASCII. Strings are short: they are seen in two looks, which overlap, where
/// the library would go byte by byte.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    let seen = match bytes.len() {
        0..4 => bytes.iter().fold(0, |seen, byte| seen | u128::from(*byte)),
        4..8 => ends(bytes, |four| u128::from(u32::from_ne_bytes(four))),
        8..16 => ends(bytes, |eight| u128::from(u64::from_ne_bytes(eight))),
        16..32 => ends(bytes, u128::from_ne_bytes),
        32..=64 => ends(bytes, |half: [u8; 32]| {
            half.as_chunks().0.iter().fold(0, |seen, part| seen | u128::from_ne_bytes(*part))
        }),
        _ => return bytes.is_ascii(),
    };
    seen & HIGH_BITS == 0
}

const HIGH_BITS: u128 = u128::from_ne_bytes([0x80; 16]);

/// The first and the last `N` bytes, one over the other.
#[inline(always)]
fn ends<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> u128) -> u128 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => number(*first) | number(*last),
        _ => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use prost::Message as _;

    fn pair(name: &'static str, text: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            text.prop_map(Value::StringValue),
            any::<bool>().prop_map(Value::BoolValue),
            (0..i64::MAX).prop_map(Value::IntValue),
        ];
        (name, value, any::<bool>()).prop_map(|(key, value, name_first)| {
            let name = KeyValue { key, ..Default::default() }.encode_to_vec();
            let value = Some(AnyValue { value: Some(value) });
            let value = KeyValue { value, ..Default::default() }.encode_to_vec();
            let pair = if name_first { [name, value] } else { [value, name] }.concat();
            [vec![u8::try_from(pair.len()).unwrap()], pair].concat()
        })
    }

    proptest! {
        #[test]
        fn short_pairs_are_plain_as_encoders_write_them(
            pair in pair("[a-z._]{1,40}", "[ -~]{0,75}"), behind: Vec<u8>,
        ) {
            let bytes = [&pair[..], &behind[..]].concat();
            prop_assert_eq!(past_plain_pair(&bytes), Some(&behind[..]));
        }

        #[test]
        fn what_is_plain_the_generated_types_can_decode(
            mut pair in pair("[a-zé.]{1,40}", ".{0,30}"),
            changes in vec((any::<Index>(), any::<u8>()), 1..4), end: Index,
        ) {
            for (at, byte) in changes {
                let at = at.index(pair.len());
                pair[at] = byte;
            }
            for pair in [&pair[..], &pair[..end.index(pair.len())]] {
                if let Some(rest) = past_plain_pair(pair) {
                    let pair = &pair[..pair.len() - rest.len()];
                    prop_assert!(KeyValue::decode_length_delimited(pair).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_byte_beyond_ascii_is_seen_wherever_it_is() {
        for size in 0..200 {
            let mut bytes = vec![b'x'; size];
            assert!(is_ascii(&bytes), "{size}");
            for at in 0..size {
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes), "{at} of {size}");
                bytes[at] = 0x7f;
            }
        }
    }

    #[test]
    fn text_is_utf8_whether_it_is_ascii_or_not() {
        assert_eq!(past_text("\u{4}füra".as_bytes()), Some(&b"a"[..]));
        assert_eq!(past_text(b"\x04f\xc3\xbc\xc3a"), None);
        assert_eq!(past_text(b"\x00a"), Some(&b"a"[..]));
    }

    #[test]
    fn lengths_are_read_with_one_byte_or_two_and_no_further_than_the_bytes() {
        assert_eq!(measured(b"\x02abc"), Some((&b"ab"[..], &b"c"[..])));
        assert_eq!(measured(b"\x82\0abc"), Some((&b"ab"[..], &b"c"[..])));
        let long = [&[0xac, 0x02][..], &[7; 301]].concat();
        assert_eq!(measured(&long), Some((&[7; 300][..], &[7][..])));
        for unknown in [&b""[..], b"\x80", b"\x04abc", b"\x80\x80\0", b"\x80\x01abc"] {
            assert_eq!(measured(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn varints_are_passed_over_where_they_end() {
        assert_eq!(past_varint(b"\x7fa"), Some(&b"a"[..]));
        assert_eq!(past_varint(b"\xff\xff\xff\xff\xff\xff\xff\xff\x7fa"), Some(&b"a"[..]));
        for unknown in [&b""[..], b"\x80", &[0x80; 9], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"]
        {
            assert_eq!(past_varint(unknown), None, "{unknown:?}");
        }
    }
}
