//! Keys of records.
//!
//! Decides the bytes of each kind of key:
//!
//! * a trace id is 32 lower-case hex characters, as the Collector writes it; an id that is empty,
//!   zero or not of 16 bytes is no key;
//! * a hash of attributes is the 16 raw bytes of the Collector's `pdatautil.MapHash`, so that both
//!   may feed one topic: no attributes at all are 16 zero bytes, attributes are taken in the order
//!   of their names, and of a name that comes more than once the first value counts, each time;
//! * chosen attributes are hashed in the same way, as a map of those that are there. A name is
//!   looked for in the resource, and if it is not there, in the item. None found is no key.
//!
//! No key is a null key, so that the partitioner is free.
//!
//! Spec: <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/pkg/pdatautil>.

use twox_hash::XxHash64;

use crate::exporter::otlp::protobuf::{Value, well_formed};

/// Values within values that are hashed; deeper ones count as empty.
const DEPTH_MAX: u32 = 64;

/// What a record is keyed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// A null key.
    None,
    /// A trace id, not zero.
    Trace([u8; 16]),
    /// The hash of attributes.
    Hash([u8; 16]),
}

/// Room for the longest key.
pub type KeyBuffer = [u8; 32];

impl Key {
    /// The bytes of the record's key, written into `buffer` where they need to be; `None` is null.
    pub fn write<'a>(&'a self, buffer: &'a mut KeyBuffer) -> Option<&'a [u8]> {
        match self {
            Self::None => None,
            Self::Hash(hash) => Some(hash),
            Self::Trace(id) => {
                for (pair, byte) in buffer.chunks_exact_mut(2).zip(id) {
                    pair[0] = HEX[usize::from(byte >> 4)];
                    pair[1] = HEX[usize::from(byte & 0xf)];
                }
                Some(buffer)
            }
        }
    }

    /// The key of the item with these bytes whose trace id is in the field `number`.
    pub(super) fn of_trace(item: &[u8], number: u32) -> Self {
        let id = well_formed(item).filter_map(|field| field.bytes_of(number)).last();
        match id.and_then(|id| id.try_into().ok()) {
            Some(id) if id != [0; 16] => Self::Trace(id),
            _ => Self::None,
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// An attribute: its name, and the `KeyValue` it was read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a [u8],
    pub(super) pair: &'a [u8],
}

/// The attributes in the field `number` of `message`.
pub(super) fn attributes(message: &[u8], number: u32) -> impl Iterator<Item = Attribute<'_>> {
    well_formed(message).filter_map(move |field| field.bytes_of(number)).map(|pair| {
        let name = well_formed(pair).filter_map(|field| field.bytes_of(1)).last();
        Attribute { name: name.unwrap_or_default(), pair }
    })
}

impl<'a> Attribute<'a> {
    /// Its value, if that is a string.
    pub(super) fn text(&self) -> Option<&'a [u8]> {
        match any_value(values(self.pair))? {
            (1, Value::Bytes(text)) => Some(text),
            _ => None,
        }
    }
}

/// Hashes attributes; keeps its memory for the next time.
#[derive(Debug, Default)]
pub(super) struct MapHash {
    bytes: Vec<u8>,
}

impl MapHash {
    /// The Collector's hash of these attributes, whatever their order.
    pub(super) fn hash<'a>(&mut self, attributes: impl Iterator<Item = Attribute<'a>>) -> [u8; 16] {
        self.bytes.clear();
        self.put_map(attributes, DEPTH_MAX);
        if self.bytes.is_empty() {
            return [0; 16];
        }
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&XxHash64::oneshot(0, &self.bytes).to_le_bytes());
        self.bytes.push(0xf3);
        hash[8..].copy_from_slice(&XxHash64::oneshot(0, &self.bytes).to_le_bytes());
        hash
    }

    fn put_map<'a>(&mut self, map: impl Iterator<Item = Attribute<'a>>, depth_left: u32) {
        let mut map: Vec<_> = map.collect();
        map.sort_by_key(|attribute| attribute.name);
        let mut first: Option<Attribute<'_>> = None;
        for attribute in map {
            let counted = first.filter(|first| first.name == attribute.name).unwrap_or(attribute);
            first = Some(counted);
            self.bytes.push(0xf4);
            self.bytes.extend(attribute.name);
            self.put_value(any_value(values(counted.pair)), depth_left);
        }
    }

    fn put_value(&mut self, value: Option<(u32, Value<'_>)>, depth_left: u32) {
        let depth_left = depth_left.saturating_sub(1);
        match value {
            Some((1, Value::Bytes(text))) => self.put(0xf7, text),
            Some((2, Value::Varint(bit))) => self.bytes.push(if bit == 0 { 0xf9 } else { 0xf8 }),
            Some((3, Value::Varint(integer))) => self.put(0xfa, &integer.to_le_bytes()),
            Some((4, Value::Fixed64(double))) => self.put(0xfb, &double.to_le_bytes()),
            Some((5, Value::Bytes(array))) if depth_left > 0 => {
                self.bytes.push(0xfe);
                for element in well_formed(array).filter_map(|field| field.bytes_of(1)) {
                    self.put_value(any_value(std::iter::once(element)), depth_left);
                }
                self.bytes.push(0xff);
            }
            Some((6, Value::Bytes(list))) if depth_left > 0 => {
                self.bytes.push(0xfc);
                self.put_map(attributes(list, 1), depth_left);
                self.bytes.push(0xfd);
            }
            Some((7, Value::Bytes(bytes))) => self.put(0xf6, bytes),
            _ => self.bytes.push(0xf5),
        }
    }

    fn put(&mut self, prefix: u8, bytes: &[u8]) {
        self.bytes.push(prefix);
        self.bytes.extend(bytes);
    }
}

/// The `AnyValue`s of a `KeyValue`: one, unless its writer wrote the field more than once.
fn values(pair: &[u8]) -> impl Iterator<Item = &[u8]> {
    well_formed(pair).filter_map(|field| field.bytes_of(2))
}

/// The variant of an `AnyValue` that counts: the last of those that were written.
fn any_value<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Option<(u32, Value<'a>)> {
    let fields = messages.flat_map(well_formed);
    fields.filter(|field| matches!(field.number, 1..=7)).map(|f| (f.number, f.value)).last()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message as _;

    use super::*;

    fn pair(name: &str, value: Option<Any>) -> KeyValue {
        KeyValue { key: name.into(), value: Some(AnyValue { value }), ..Default::default() }
    }

    fn hash(pairs: impl IntoIterator<Item = (&'static str, Option<Any>)>) -> String {
        let attributes = pairs.into_iter().map(|(name, value)| pair(name, value)).collect();
        hash_of(attributes)
    }

    fn hash_of(pairs: Vec<KeyValue>) -> String {
        let resource = Resource { attributes: pairs, ..Default::default() }.encode_to_vec();
        let hash = MapHash::default().hash(attributes(&resource, 1));
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn text(text: &str) -> Option<Any> {
        Some(Any::StringValue(text.into()))
    }

    #[test]
    fn hashes_are_those_of_the_collector() {
        let array = ArrayValue {
            values: [text("a"), Some(Any::IntValue(2))].map(|value| AnyValue { value }).to_vec(),
        };
        let map =
            KeyValueList { values: vec![pair("z", Some(Any::IntValue(1))), pair("y", text("q"))] };
        let bytes = Some(Any::BytesValue(vec![1, 2, 0xff]));
        assert_eq!(hash([]), "00000000000000000000000000000000");
        assert_eq!(hash([("service.name", text("a"))]), "13c6781e10752709d91a9cfdc6c9b1dc");
        assert_eq!(
            hash([
                ("b", text("x")),
                ("c", Some(Any::BoolValue(true))),
                ("a", Some(Any::IntValue(1))),
            ]),
            "8edc2f595761145786d5f8af85e06920"
        );
        assert_eq!(hash([("d", Some(Any::DoubleValue(1.5)))]), "e9ac7482188b99e7943fb4acef29b912");
        assert_eq!(hash([("n", None)]), "0e135f1675cd7ba121fa29ac27b66339");
        assert_eq!(hash([("by", bytes)]), "ac6bee10dadb1ecc72c0b4c5169985bd");
        assert_eq!(hash([("s", Some(Any::ArrayValue(array)))]), "106aff3ea6d3679973abaf32442112a4");
        assert_eq!(hash([("m", Some(Any::KvlistValue(map)))]), "ab75fb17a4c4ccb41c0107a3d7f2e814");
        assert_eq!(hash([("b", Some(Any::BoolValue(false)))]), "dc1cf58c4e51ed2ba539cbb279f24481");
    }

    #[test]
    fn xxh64_gives_its_published_values() {
        assert_eq!(XxHash64::oneshot(0, b""), 0xef46_db37_51d8_e999);
        assert_eq!(XxHash64::oneshot(0, b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(XxHash64::oneshot(0, b"as"), 0x1c33_0fb2_d66b_e179);
    }

    #[test]
    fn order_is_no_matter_and_of_a_repeated_name_the_first_value_counts() {
        assert_eq!(hash([("a", text("1")), ("b", None)]), hash([("b", None), ("a", text("1"))]));
        assert_eq!(
            hash([("a", text("1")), ("a", text("2"))]),
            hash([("a", text("1")), ("a", text("1"))])
        );
        assert_ne!(hash([("a", text("1")), ("a", text("1"))]), hash([("a", text("1"))]));
    }

    #[test]
    fn a_value_that_is_missing_is_empty_and_of_several_variants_the_last_counts() {
        let missing = KeyValue { key: "n".into(), ..Default::default() };
        assert_eq!(hash_of(vec![missing]), hash([("n", None)]));

        let twice = [pair("k", text("first")), pair("k", Some(Any::IntValue(7)))]
            .map(|pair| pair.encode_to_vec())
            .concat();
        let mut resource = Vec::new();
        crate::exporter::otlp::protobuf::put_head(&mut resource, 1, twice.len());
        resource.extend(twice);
        let merged = Resource::decode(&resource[..]).unwrap();
        assert_eq!(merged.attributes, [pair("k", Some(Any::IntValue(7)))]);
        assert_eq!(
            MapHash::default().hash(attributes(&resource, 1)),
            MapHash::default().hash(attributes(&merged.encode_to_vec(), 1))
        );
    }

    #[test]
    fn values_in_values_without_end_are_cut_off() {
        let mut value = text("core");
        for _ in 0..200 {
            let values = vec![AnyValue { value }];
            value = Some(Any::ArrayValue(ArrayValue { values }));
        }
        assert_eq!(hash([("deep", value)]).len(), 32);
    }

    #[test]
    fn a_trace_id_is_lower_case_hex_and_none_is_null() {
        let key = |trace_id: &[u8]| {
            let span = Span { trace_id: trace_id.into(), name: "n".into(), ..Default::default() };
            Key::of_trace(&span.encode_to_vec(), 1)
        };
        let id: Vec<u8> = (0..16).map(|n| n * 17).collect();
        assert_eq!(key(&id).write(&mut [0; 32]), Some(&b"00112233445566778899aabbccddeeff"[..]));
        for none in [&[][..], &[0; 16], &[1; 15], &[1; 17]] {
            assert_eq!(key(none), Key::None);
        }
        assert_eq!(Key::None.write(&mut [0; 32]), None);
        assert_eq!(Key::Hash([7; 16]).write(&mut [0; 32]), Some(&[7; 16][..]));
    }
}
