//! Protobuf requests, checked where they lie.
//!
//! Decides whether bytes are the request they should be: every known field has its own wire type,
//! strings are UTF-8, lengths fit, messages nest no deeper than 100. Unknown fields are
//! passed over, and kept. One such fault refuses the request. An id of a wrong length refuses its
//! span, data point or log record only: the Collector would refuse the whole record for it, and
//! OTLP has partial success for this.
//!
//! One pass, no allocation while nothing is wrong. The path of a fault is found afterwards, by a
//! second walk to its offset.
//!
//! Partial success: <https://opentelemetry.io/docs/specs/otlp/#partial-success>.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::fault::{Fault, Place, Reason, Refused};
use super::protobuf::{self, DEPTH_MAX, Entry, Fields, Flaw, Value};
use super::schema::{Field, Kind, Label, Look, Message, Role, Signal};

mod quick;

/// The field of a resource's items before there were scopes (OTLP 0.14 and older). Some readers still
/// know it, so that it can be neither passed on nor passed over.
const DEPRECATED_LISTS: u32 = 1000;

/// Checks a request.
///
/// # Errors
///
/// The fault that refuses the request as a whole.
pub fn validate(signal: Signal, bytes: &[u8]) -> Result<Validated<'_>, Fault> {
    let mut walk = Walk::over(bytes);
    walk.message(signal.request(), bytes, 0).map_err(|flaw| located(signal, bytes, *flaw))?;
    let refused =
        walk.first.map(|flaw| Refused { items: walk.refused, first: located(signal, bytes, flaw) });
    Ok(Validated { signal, bytes, items: walk.items, refused })
}

/// A request that is what it should be, but for the items that are refused.
#[derive(Debug, Clone)]
pub struct Validated<'a> {
    signal: Signal,
    bytes: &'a [u8],
    items: usize,
    refused: Option<Refused>,
}

impl<'a> Validated<'a> {
    /// The signal it was checked for.
    pub const fn signal(&self) -> Signal {
        self.signal
    }

    /// How many spans, data points or log records are accepted.
    pub const fn items(&self) -> usize {
        self.items
    }

    /// The items that are not, if any.
    pub const fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// The request with its accepted items: the bytes that came, unless items were refused. Those
    /// are cut out, and everything else stays as it was.
    pub fn accepted(&self) -> Cow<'a, [u8]> {
        if self.refused.is_none() {
            return Cow::Borrowed(self.bytes);
        }
        let mut out = Vec::with_capacity(self.bytes.len());
        copy_accepted(self.signal.request(), self.bytes, &mut out);
        Cow::Owned(out)
    }
}

struct Walk<'a> {
    /// What offsets are counted in.
    request: &'a [u8],
    items: usize,
    refused: usize,
    first: Option<Flaw>,
    /// The first id of a wrong length in the item that is being walked.
    wrong_id: Option<Flaw>,
}

/// Rare, and large: it is carried by the way that everything right takes, too.
type Fatal = Box<Flaw>;

impl<'a> Walk<'a> {
    const fn over(request: &'a [u8]) -> Self {
        Self { request, items: 0, refused: 0, first: None, wrong_id: None }
    }

    /// Checks a message, most of whose fields are known by their first byte.
    fn message(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        depth: usize,
    ) -> Result<(), Fatal> {
        let mut rest = bytes;
        while let [tag, value @ ..] = rest {
            let seen = match message.look(*tag) {
                Look::Varint => quick::past_varint(value),
                Look::Fixed(size) => value.get(usize::from(size)..),
                Look::Id(size) => quick::past_id(value, size),
                Look::Bytes => quick::measured(value).map(|(_, rest)| rest),
                Look::String => quick::past_text(value),
                Look::Pair if depth + 1 < DEPTH_MAX => match quick::past_plain_pair(value) {
                    None => self.nested(message, *tag, value, depth)?,
                    seen => seen,
                },
                Look::Pair | Look::Message => self.nested(message, *tag, value, depth)?,
                Look::Closer => None,
            };
            rest = match seen {
                Some(rest) => rest,
                None => self.field(message, rest, depth)?,
            };
        }
        Ok(())
    }

    /// Checks a message in a field of `outer` that begins with `tag`, if it is short enough to be seen
    /// at a glance where it ends. What comes behind it.
    #[inline]
    fn nested(
        &mut self,
        outer: &'static Message,
        tag: u8,
        value: &'a [u8],
        depth: usize,
    ) -> Result<Option<&'a [u8]>, Fatal> {
        match (outer.inner(tag), quick::measured(value)) {
            (Some(inner), Some((content, rest))) if depth < DEPTH_MAX => {
                self.inner(inner, content, depth + 1)?;
                Ok(Some(rest))
            }
            _ => Ok(None),
        }
    }

    /// Checks the first field of `rest`, whatever it is. What comes behind it.
    #[inline(never)]
    fn field(
        &mut self,
        message: &'static Message,
        rest: &'a [u8],
        depth: usize,
    ) -> Result<&'a [u8], Fatal> {
        let mut fields = Fields::new(rest);
        let Some(entry) = fields.next().map_err(|flaw| self.flaw(rest, flaw.reason))? else {
            return Ok(&[]);
        };
        let behind = &rest[entry.end..];
        let Some(field) = message.field(entry.number) else {
            if message.is_resource() && entry.number == DEPRECATED_LISTS {
                return Err(self.flaw(rest, Reason::Deprecated));
            }
            return Ok(behind);
        };
        match (field.kind, entry.value) {
            (Kind::Message(_), Value::Bytes(_)) if depth == DEPTH_MAX => {
                return Err(self.flaw(rest, Reason::TooDeep(DEPTH_MAX)));
            }
            (Kind::Message(inner), Value::Bytes(content)) => {
                self.inner(inner, content, depth + 1)?;
            }
            (kind, value) => match scalar(field, kind, value) {
                Ok(()) => {}
                Err(reason @ Reason::IdSize { .. }) => {
                    let flaw = self.flaw(rest, reason);
                    self.wrong_id.get_or_insert(*flaw);
                }
                Err(reason) => return Err(self.flaw(rest, reason)),
            },
        }
        Ok(behind)
    }

    #[inline]
    fn inner(
        &mut self,
        message: &'static Message,
        bytes: &'a [u8],
        depth: usize,
    ) -> Result<(), Fatal> {
        self.message(message, bytes, depth)?;
        if message.role != Role::Item {
            return Ok(());
        }
        match self.wrong_id.take() {
            None => self.items += 1,
            Some(flaw) => {
                self.refused += 1;
                self.first.get_or_insert(flaw);
            }
        }
        Ok(())
    }

    /// What is wrong with the field that `rest`, a part of the request, begins with.
    #[cold]
    fn flaw(&self, rest: &[u8], reason: Reason) -> Fatal {
        let offset = rest.as_ptr().addr() - self.request.as_ptr().addr();
        Box::new(Flaw { offset, reason })
    }
}

#[inline]
fn scalar(field: &Field, kind: Kind, value: Value<'_>) -> Result<(), Reason> {
    match (kind, value) {
        (Kind::String, Value::Bytes(content)) => {
            std::str::from_utf8(content).map(drop).map_err(|_| Reason::NotUtf8)
        }
        (Kind::Id(expected), Value::Bytes(content)) => match content.len() {
            found if found == 0 || found == expected => Ok(()),
            found => Err(Reason::IdSize { found, expected }),
        },
        _ if kind.wire() == value.wire() => Ok(()),
        // Readers must take both forms of a repeated number, whichever the schema asks for.
        (_, Value::Bytes(content)) if field.label == Label::Repeated => {
            let mut values = Fields::new(content);
            while values.next_packed(kind).map_err(|flaw| flaw.reason)?.is_some() {}
            Ok(())
        }
        _ => Err(Reason::WrongWireType {
            found: value.wire().number(),
            expected: kind.wire().number(),
        }),
    }
}

/// Copies a message on the path to items, without the items that are refused.
fn copy_accepted(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    let mut fields = Fields::new(bytes);
    while let Ok(Some(entry)) = fields.next() {
        match (message.field(entry.number).map(|field| field.kind), entry.value) {
            (
                Some(Kind::Message(inner @ Message { role: Role::Path, .. })),
                Value::Bytes(content),
            ) => {
                let opened = protobuf::open(out, entry.number);
                copy_accepted(inner, content, out);
                protobuf::close(out, opened);
            }
            (
                Some(Kind::Message(inner @ Message { role: Role::Item, .. })),
                Value::Bytes(content),
            ) if has_wrong_id(inner, content) => {}
            _ => out.extend_from_slice(&bytes[entry.start..entry.end]),
        }
    }
}

fn has_wrong_id(item: &'static Message, bytes: &[u8]) -> bool {
    let mut walk = Walk::over(bytes);
    // Whatever else is wrong was found before.
    let _ = walk.message(item, bytes, 0);
    walk.wrong_id.is_some()
}

/// The fault of a flaw, with the path to it.
#[cold]
fn located(signal: Signal, bytes: &[u8], flaw: Flaw) -> Fault {
    let mut path = String::new();
    let (mut message, mut bytes, mut base) = (signal.request(), bytes, 0);
    while let Some((field, entry)) = step(message, bytes, flaw.offset - base, &mut path) {
        let (Kind::Message(inner), Value::Bytes(content)) = (field.kind, entry.value) else {
            break;
        };
        if flaw.offset < base + entry.content_start() {
            break;
        }
        base += entry.content_start();
        (message, bytes) = (inner, content);
    }
    Fault { path, place: Some(Place::Byte(flaw.offset)), reason: flaw.reason }
}

/// The known field of a message that holds the byte at `offset`; its name goes to the path.
fn step<'a>(
    message: &'static Message,
    bytes: &'a [u8],
    offset: usize,
    path: &mut String,
) -> Option<(&'static Field, Entry<'a>)> {
    let mut counts = [0_usize; super::schema::NUMBERS];
    let mut fields = Fields::new(bytes);
    while let Some(entry) = fields.next().ok().flatten() {
        let Some(field) = message.field(entry.number) else { continue };
        if offset < entry.end {
            let dot = if path.is_empty() { "" } else { "." };
            let _ = write!(path, "{dot}{}", field.json);
            if field.label == Label::Repeated {
                let _ = write!(path, "[{}]", counts[field.number as usize]);
            }
            return Some((field, entry));
        }
        counts[field.number as usize] += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wraps content in fields of these numbers, the outermost first.
    fn within(numbers: &[u32], content: &[u8]) -> Vec<u8> {
        numbers.iter().rev().fold(content.to_vec(), |content, number| {
            let mut out = Vec::new();
            let opened = protobuf::open(&mut out, *number);
            out.extend(content);
            protobuf::close(&mut out, opened);
            out
        })
    }

    fn fault(signal: Signal, bytes: &[u8]) -> Fault {
        validate(signal, bytes).unwrap_err()
    }

    #[test]
    fn a_valid_request_stays_where_it_lies() {
        let bytes = within(&[1, 2, 2], b"\x2a\x01n");
        let request = validate(Signal::Traces, &bytes).unwrap();
        assert!(matches!(request.accepted(), Cow::Borrowed(same) if same == bytes));
        assert_eq!((request.items(), request.refused()), (1, None));
    }

    #[test]
    fn unknown_fields_are_kept_whatever_they_are() {
        let span = b"\xc0\x3e\x05\xc9\x3e12345678\xcd\x3e1234\xc2\x3e\x02\xff\xff";
        let bytes = within(&[1, 2, 2], span);
        assert_eq!(*validate(Signal::Traces, &bytes).unwrap().accepted(), bytes);
    }

    #[test]
    fn repeated_numbers_are_accepted_packed_and_one_by_one() {
        let point = b"\x32\x10\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x31\x03\0\0\0\0\0\0\0\x32\0";
        let bytes = within(&[1, 2, 2, 9, 1], point);
        assert_eq!(validate(Signal::Metrics, &bytes).unwrap().items(), 1);
        let broken = within(&[1, 2, 2, 9, 1], b"\x32\x03\0\0\0");
        assert_eq!(
            fault(Signal::Metrics, &broken).to_string(),
            "resourceMetrics[0].scopeMetrics[0].metrics[0].histogram.dataPoints[0].bucketCounts[0]: \
             cut short: send the whole request, as protobuf, at byte 10"
        );
    }

    #[test]
    fn a_fault_is_named_by_path_and_offset() {
        let spans = [within(&[2], b""), within(&[2], b"\x2a\x01\xff")].concat();
        let bytes = [within(&[1], b""), within(&[1, 2], &spans)].concat();
        let fault = fault(Signal::Traces, &bytes);
        assert_eq!(fault.path, "resourceSpans[1].scopeSpans[0].spans[1].name");
        assert_eq!(fault.reason, Reason::NotUtf8);
        let Some(Place::Byte(offset)) = fault.place else { panic!("{fault}") };
        assert_eq!(&bytes[offset..], b"\x2a\x01\xff");
    }

    #[test]
    fn a_known_field_with_another_wire_type_is_refused() {
        let bytes = within(&[1, 2, 2], b"\x28\x01");
        assert_eq!(
            fault(Signal::Traces, &bytes).to_string(),
            "resourceSpans[0].scopeSpans[0].spans[0].name: wire type 0 where 2 belongs: use the \
             schema of OTLP 1.x, at byte 6"
        );
        let bytes = within(&[1, 2, 2], b"\x3a\x08\0\0\0\0\0\0\0\0");
        assert!(matches!(
            fault(Signal::Traces, &bytes).reason,
            Reason::WrongWireType { found: 2, expected: 1 }
        ));
        assert!(matches!(
            fault(Signal::Traces, b"\x08\x01").reason,
            Reason::WrongWireType { found: 0, expected: 2 }
        ));
    }

    #[test]
    fn an_id_of_a_wrong_length_refuses_its_item_which_is_cut_out() {
        let good = within(&[2], b"\x12\x0812345678");
        let bad = within(&[2], b"\x12\x071234567\x2a\x01n");
        let nested = within(&[2, 13], b"\x0a\x011");
        let around = |spans: &[&[u8]]| {
            let scope = [b"\x1a\x01s", &spans.concat()[..], b"\xc0\x3e\x05"].concat();
            [within(&[1, 2], &scope), b"\xc0\x3e\x07".to_vec()].concat()
        };
        let bytes = around(&[&bad, &good, &nested, &good]);
        let request = validate(Signal::Traces, &bytes).unwrap();
        assert_eq!(*request.accepted(), around(&[&good, &good]));
        assert_eq!(request.items(), 2);
        let refused = request.refused().unwrap();
        assert_eq!(refused.items, 2);
        assert_eq!(
            refused.first.to_string(),
            "resourceSpans[0].scopeSpans[0].spans[0].spanId: an id of 7 bytes: send 8, or none, \
             at byte 9"
        );
    }

    #[test]
    fn items_in_lists_that_are_no_longer_read_refuse_the_request() {
        for signal in Signal::ALL {
            let fault = fault(signal, &within(&[1, 1000, 2], b""));
            assert!(fault.reason.to_string().contains("use scopes"), "{fault}");
        }
    }

    #[test]
    fn what_is_malformed_behind_a_wrong_id_refuses_the_request() {
        let bytes = within(&[1, 2, 2], b"\x12\x071234567\x2a\x01\xff");
        let fault = fault(Signal::Traces, &bytes);
        assert_eq!(fault.path, "resourceSpans[0].scopeSpans[0].spans[0].name");
        assert_eq!(fault.reason, Reason::NotUtf8);
    }

    #[test]
    fn data_points_are_refused_one_by_one() {
        let bad = within(&[1, 5], b"\x22\x01x");
        let points = [within(&[1], b""), bad, within(&[1], b"")].concat();
        let bytes = within(&[1, 2, 2, 5], &points);
        let request = validate(Signal::Metrics, &bytes).unwrap();
        assert_eq!(
            *request.accepted(),
            within(&[1, 2, 2, 5], &[within(&[1], b""), within(&[1], b"")].concat())
        );
        assert_eq!(
            request.refused().unwrap().first.path,
            "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[1].exemplars[0].spanId"
        );
    }

    #[test]
    fn a_pair_at_the_limit_of_nesting_has_no_room_for_a_value() {
        let numbers = [&[1, 2, 2, 5][..], &[5, 1, 5, 1], &[6, 1, 2].repeat(30), &[6, 1]].concat();
        assert_eq!(numbers.len(), DEPTH_MAX);
        assert!(validate(Signal::Logs, &within(&numbers, b"\x0a\x01k")).is_ok());
        let fault = fault(Signal::Logs, &within(&numbers, b"\x0a\x01k\x12\x02\x0a\0"));
        assert_eq!(fault.reason, Reason::TooDeep(DEPTH_MAX));
    }

    #[test]
    fn ids_may_be_empty() {
        let bytes = within(&[1, 2, 2], b"\x0a\0\x12\0\x22\0");
        assert_eq!(validate(Signal::Traces, &bytes).unwrap().refused(), None);
    }
}
