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

/// What comes behind an id of `SIZE` bytes, or none.
#[inline(always)]
pub(super) fn past_id<const SIZE: usize>(bytes: &[u8]) -> Option<&[u8]> {
    let (id, rest) = measured(bytes)?;
    (id.len() == SIZE || id.is_empty()).then_some(rest)
}

/// Whether these bytes are UTF-8.
#[inline(always)]
pub(super) fn is_text(bytes: &[u8]) -> bool {
    is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

/// Whether a `KeyValue` is a name and, behind it, a value of a string or a number: as nearly all
/// are, and as all encoders write them.
#[inline]
pub(super) fn is_plain_pair(bytes: &[u8]) -> bool {
    const NAME: u8 = 1 << 3 | 2;
    const VALUE: u8 = 2 << 3 | 2;
    const TEXT: u8 = 1 << 3 | 2;
    const BOOL: u8 = 2 << 3;
    const INTEGER: u8 = 3 << 3;
    let [NAME, name @ ..] = bytes else { return false };
    let Some((name, [VALUE, value @ ..])) = measured(name) else { return false };
    let Some((value, [])) = measured(value) else { return false };
    let held = match value {
        [TEXT, text @ ..] => match measured(text) {
            Some((text, [])) => is_text(text),
            _ => false,
        },
        [BOOL | INTEGER, number @ ..] => past_varint(number).is_some_and(<[u8]>::is_empty),
        _ => false,
    };
    held && is_text(name)
}

/// Whether all of them are ASCII. Strings are short: they are seen in two looks, which overlap, where
/// the library would go byte by byte.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    let seen = match bytes.len() {
        0..4 => bytes.iter().fold(0, |seen, byte| seen | u128::from(*byte)),
        4..8 => ends(bytes, |four| u128::from(u32::from_ne_bytes(four))),
        8..16 => ends(bytes, |eight| u128::from(u64::from_ne_bytes(eight))),
        16..=32 => ends(bytes, u128::from_ne_bytes),
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

    fn pair() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            ".{0,80}".prop_map(Value::StringValue),
            any::<bool>().prop_map(Value::BoolValue),
            (0..i64::MAX).prop_map(Value::IntValue),
        ];
        ("[a-zé.]{1,40}", value).prop_map(|(key, value)| {
            let value = Some(AnyValue { value: Some(value) });
            KeyValue { key, value, ..Default::default() }.encode_to_vec()
        })
    }

    proptest! {
        #[test]
        fn pairs_are_plain_as_encoders_write_them(pair in pair()) {
            prop_assert!(is_plain_pair(&pair));
        }

        #[test]
        fn what_is_plain_the_generated_types_can_decode(
            mut pair in pair(), changes in vec((any::<Index>(), any::<u8>()), 1..4), end: Index,
        ) {
            for (at, byte) in changes {
                let at = at.index(pair.len());
                pair[at] = byte;
            }
            for pair in [&pair[..], &pair[..end.index(pair.len())]] {
                prop_assert!(!is_plain_pair(pair) || KeyValue::decode(pair).is_ok());
            }
        }
    }

    #[test]
    fn a_byte_beyond_ascii_is_seen_wherever_it_is() {
        for size in 0..200 {
            let mut bytes = vec![b'x'; size];
            assert!(is_ascii(&bytes) && is_text(&bytes), "{size}");
            for at in 0..size {
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes) && !is_text(&bytes), "{at} of {size}");
                bytes[at] = 0x7f;
            }
        }
        assert!(!is_ascii("für".as_bytes()) && is_text("für".as_bytes()));
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
