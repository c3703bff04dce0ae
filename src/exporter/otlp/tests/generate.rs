//! Requests made up along the schema, from a seed.
//!
//! [`Form::Canonical`] is what a generated encoder would write. [`Form::Wild`] means something too,
//! but is written as no encoder would: fields in any order, lists in pieces, messages in two halves,
//! repeated numbers unpacked, defaults written, values overwritten, fields that nobody knows.

use crate::exporter::otlp::protobuf::{Value, close, open, put_tag, put_value};
use crate::exporter::otlp::schema::{Field, Kind, Label, Message, Role, Signal, Wire};

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Canonical,
    Wild,
}

/// A valid request.
pub(super) fn request(signal: Signal, form: Form, seed: u64) -> Vec<u8> {
    let mut maker = Maker { state: seed, form };
    let mut out = Vec::new();
    maker.message(signal.request(), 0, &mut out);
    out
}

struct Maker {
    state: u64,
    form: Form,
}

impl Maker {
    fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// SplitMix64.
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// `depth` counts the messages that are neither items nor lead to them.
    fn message(&mut self, message: &'static Message, depth: u64, out: &mut Vec<u8>) {
        let mut fields: Vec<_> = message.fields.iter().collect();
        fields.sort_by_key(|field| message.rank(field));
        let oneofs = fields.iter().filter(|field| field.label == Label::Oneof).count();
        let chosen = self.below(oneofs as u64 + 1);
        let mut oneof = 0;
        let rounds = if self.form == Form::Wild { 1 + self.below(2) } else { 1 };
        for _ in 0..rounds {
            if self.form == Form::Wild && self.below(2) == 1 {
                fields.reverse();
            }
            for field in &fields {
                if field.label == Label::Oneof {
                    oneof += 1;
                    // Were all of them written, only the first and the last would ever remain.
                    if oneof == chosen || self.form == Form::Wild && self.below(4) == 0 {
                        self.field(field, depth, out);
                    }
                } else if leads_to_items(field) || self.below(3) > 0 {
                    self.field(field, depth, out);
                }
            }
            if self.form == Form::Wild && self.below(4) == 1 {
                put_tag(out, 2000, Wire::Length);
                put_value(out, Value::Bytes(b"unknown"));
            }
        }
    }

    fn field(&mut self, field: &Field, depth: u64, out: &mut Vec<u8>) {
        let count = match field.label {
            Label::Repeated if leads_to_items(field) => 1 + self.below(2),
            Label::Repeated => self.below(4),
            _ => 1,
        };
        let is_packed = field.is_packed() && !(self.form == Form::Wild && self.below(2) == 1);
        if is_packed {
            if count > 0 || self.form == Form::Wild {
                let opened = open(out, field.number);
                for _ in 0..count {
                    self.scalar(field.kind, |value| put_value(out, value));
                }
                close(out, opened);
            }
            return;
        }
        for _ in 0..count {
            if let Kind::Message(inner) = field.kind {
                let below = depth + u64::from(inner.role == Role::Part);
                // The deeper, the rarer, so that values of values end.
                if self.below(below.max(1)) == 0 {
                    let opened = open(out, field.number);
                    self.message(inner, below, out);
                    close(out, opened);
                }
                continue;
            }
            let is_written = field.label != Label::Implicit || self.form == Form::Wild;
            self.scalar(field.kind, |value| {
                if is_written || !value.is_default() {
                    put_tag(out, field.number, value.wire());
                    put_value(out, value);
                }
            });
        }
    }

    fn scalar(&mut self, kind: Kind, put: impl FnOnce(Value<'_>)) {
        let interesting = usize::try_from(self.below(4)).unwrap();
        let bits = match interesting {
            0 => 0,
            1 => self.below(200),
            2 => self.bits(),
            _ => u64::MAX - self.below(3),
        };
        let low = bits & u64::from(u32::MAX);
        match kind {
            Kind::Bool => put(Value::Varint(bits & 1)),
            // As protobuf writes negative numbers of 32 bits: in 64.
            Kind::Int32 | Kind::Enum(_) => put(Value::Varint(match low >> 31 {
                0 => low,
                _ => low | u64::from(u32::MAX) << 32,
            })),
            Kind::Uint32 | Kind::Sint32 => put(Value::Varint(low)),
            Kind::Int64 | Kind::Uint64 => put(Value::Varint(bits)),
            Kind::Fixed32 => put(Value::Fixed32(u32::try_from(low).unwrap())),
            Kind::Fixed64 | Kind::Sfixed64 => put(Value::Fixed64(bits)),
            Kind::Double => put(Value::Fixed64(double(bits).to_bits())),
            Kind::String => {
                put(Value::Bytes(["", "a", "\"\\\u{1}\n", "\u{1f600}"][interesting].as_bytes()))
            }
            Kind::Bytes => put(Value::Bytes(&bits.to_le_bytes()[..interesting])),
            Kind::Id(size) => {
                let id = [bits.to_le_bytes(), [1; 8]].concat();
                put(Value::Bytes(&id[..if interesting == 0 { 0 } else { size }]));
            }
            Kind::Message(_) => unreachable!("written by its fields"),
        }
    }
}

fn leads_to_items(field: &Field) -> bool {
    matches!(field.kind, Kind::Message(inner) if inner.role != Role::Part)
}

/// One NaN instead of many, which JSON has no words for, and no minus zero, which the generated
/// types drop where a default is not written.
fn double(bits: u64) -> f64 {
    match f64::from_bits(bits) {
        value if value.is_nan() => f64::NAN,
        value => value + 0.0,
    }
}
