//! OTLP against the Collector: what its own code reads, it must read as we meant it.
//!
//! The requests are made up by the Collector's code too, from a seed. Without its program the tests
//! are skipped, and say so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::Value as Json;

use super::generate::{Form, request};
use super::{canonical, json_of, read};
use crate::exporter::otlp::cut::{
    self, By, Cut, Level, Limits, Otherwise, Piece, Plan, PointKind, Protobuf, cut,
};
use crate::exporter::otlp::json::write_message;
use crate::exporter::otlp::schema::{Kind, Message, Signal};
use crate::exporter::otlp::validate;

#[path = "../../../../tests/otlp/program.rs"]
mod program;

use program::Program;

const COUNT: usize = 500;

const FORMS: [Form; 2] = [Form::Canonical, Form::Wild];

/// Sizes of records between which most of the requests lie, and one that is never reached.
const SIZES: [usize; 4] = [200, 700, 2_500, 1 << 30];

struct Oracle(Program);

/// A request that the Collector's code made up.
struct Made {
    signal: Signal,
    protobuf: Bytes,
    json: String,
}

/// What the Collector's code has read, as it writes it.
struct Seen {
    items: usize,
    protobuf: Vec<u8>,
    json: String,
}

impl Oracle {
    fn start() -> Option<Self> {
        Program::start().map(Self)
    }

    fn corpus(&mut self) -> Vec<Made> {
        let seed = std::env::var("OTTLA_OTLP_SEED").unwrap_or_else(|_| "1".into());
        println!("OTTLA_OTLP_SEED={seed}");
        self.0.say(&format!("corpus {seed} {COUNT}"));
        let made = |_| {
            let line = self.0.hear();
            let [_, signal, protobuf, json] = words(&line);
            let signal = Signal::ALL.into_iter().find(|of| name(*of) == signal).unwrap();
            Made { signal, protobuf: binary(protobuf).into(), json: text(json) }
        };
        (0..COUNT).map(made).collect()
    }

    fn protobuf(&mut self, signal: Signal, protobuf: &[u8]) -> Seen {
        self.decode(signal, "protobuf", protobuf)
    }

    fn json(&mut self, signal: Signal, json: &str) -> Seen {
        self.decode(signal, "json", json.as_bytes())
    }

    fn decode(&mut self, signal: Signal, format: &str, bytes: &[u8]) -> Seen {
        self.0.say(&format!("decode {} {format} {}", name(signal), BASE64.encode(bytes)));
        let line = self.0.hear();
        assert!(line.starts_with("ok "), "{line}, of {format} {}", BASE64.encode(bytes));
        let [_, items, protobuf, json] = words(&line);
        Seen { items: items.parse().unwrap(), protobuf: binary(protobuf), json: text(json) }
    }
}

/// The four words of an answer. An empty request is an empty word.
fn words(line: &str) -> [&str; 4] {
    let words: Vec<_> = line.split(' ').collect();
    words.try_into().unwrap_or_else(|_| panic!("not an answer: {line}"))
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "traces",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    }
}

fn binary(word: &str) -> Vec<u8> {
    BASE64.decode(word).unwrap()
}

fn text(word: &str) -> String {
    String::from_utf8(binary(word)).unwrap()
}

/// JSON has one NaN, which Go reads as another than Rust does: here it is Rust's. The bytes of Go's
/// stand for nothing else in these requests.
fn one_nan(mut protobuf: Vec<u8>) -> Vec<u8> {
    const GO: [u8; 8] = 0x7ff8_0000_0000_0001_u64.to_le_bytes();
    for at in 0..protobuf.len().saturating_sub(7) {
        if protobuf[at..at + 8] == GO {
            protobuf[at..at + 8].copy_from_slice(&f64::NAN.to_le_bytes());
        }
    }
    protobuf
}

#[test]
fn what_the_collector_writes_is_valid_and_has_as_many_items_as_it_says() {
    let Some(mut oracle) = Oracle::start() else { return };
    for Made { signal, protobuf, .. } in oracle.corpus() {
        let seen = oracle.protobuf(signal, &protobuf);
        let validated = validate(signal, &protobuf).unwrap();
        assert_eq!((validated.items(), validated.refused()), (seen.items, None));
    }
}

#[test]
fn the_collector_reads_in_our_json_what_is_in_its_protobuf() {
    let Some(mut oracle) = Oracle::start() else { return };
    for Made { signal, protobuf, .. } in oracle.corpus() {
        let meant = oracle.protobuf(signal, &protobuf);
        let json = json_of(signal, &protobuf);
        let seen = oracle.json(signal, &json);
        assert_eq!(seen.items, meant.items);
        assert_eq!(one_nan(seen.protobuf), one_nan(meant.protobuf), "{json}");
    }
}

#[test]
fn we_read_in_the_collectors_json_what_is_in_its_protobuf() {
    let Some(mut oracle) = Oracle::start() else { return };
    for Made { signal, protobuf, json } in oracle.corpus() {
        let meant = oracle.protobuf(signal, &protobuf);
        let seen = oracle.protobuf(signal, &read(signal, &json));
        assert_eq!(seen.items, meant.items);
        assert_eq!(one_nan(seen.protobuf), one_nan(meant.protobuf), "{json}");
    }
}

#[test]
fn our_json_is_the_collectors_byte_for_byte() {
    let Some(mut oracle) = Oracle::start() else { return };
    for Made { signal, protobuf, json } in oracle.corpus() {
        let ours = json_of(signal, &protobuf);
        assert!(is_same_text(&ours, &json), "{ours}\nis not the Collector's\n{json}");
    }
}

/// Whether texts differ in nothing but digits of doubles that are the same: where two spellings are
/// as short and as near as each other, Go takes the even one, and Rust the larger.
fn is_same_text(one: &str, other: &str) -> bool {
    let digits = |(a, b): (u8, u8)| a == b || (a.is_ascii_digit() && b.is_ascii_digit());
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).all(digits)
        && parsed(one) == parsed(other)
}

/// Of what no encoder would write, the Collector is shown what it means: where a list of numbers
/// comes in two runs or a message of a `oneof` in two halves, it keeps the second only, against
/// protobuf's rules.
#[test]
fn the_collector_reads_in_our_json_what_requests_of_our_own_mean() {
    let Some(mut oracle) = Oracle::start() else { return };
    for seed in 0..COUNT as u64 {
        for (signal, form) in Signal::ALL.into_iter().flat_map(|s| FORMS.map(|form| (s, form))) {
            let protobuf = request(signal, form, seed);
            let meant = oracle.protobuf(signal, &canonical(signal, &protobuf).unwrap());
            let json = json_of(signal, &protobuf);
            let seen = oracle.json(signal, &json);
            assert_eq!(seen.items, meant.items);
            assert_eq!(one_nan(seen.protobuf), one_nan(meant.protobuf), "{form:?} {json}");
        }
    }
}

/// Checks every piece by itself, and that together they are the request.
fn check_pieces(oracle: &mut Oracle, made: &Made, cut: &Cut) {
    let mut found = Vec::new();
    for Piece { items, value, .. } in cut.pieces().chain(cut.dead_letters()) {
        let seen = oracle.protobuf(made.signal, &value);
        let again = oracle.json(made.signal, &json_of(made.signal, &value));
        assert_eq!((seen.items, again.items), (items as usize, items as usize));
        assert_eq!(seen.json, again.json);
        found.extend(items_of(made.signal, &seen.json));
    }
    let mut expected = items_of(made.signal, &made.json);
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn pieces_are_requests_to_the_collector_and_together_have_every_item_once() {
    let Some(mut oracle) = Oracle::start() else { return };
    let names = ["service.name", "tenant"].map(String::from);
    for made in oracle.corpus() {
        for by in [By::Request, By::Resource, By::TraceId, By::Attributes(&names)] {
            for (size_max, topic_attribute) in
                SIZES.into_iter().zip([None, Some("host.name")].into_iter().cycle())
            {
                let limits = limits(size_max);
                let plan = Plan { signal: made.signal, by, topic_attribute, limits };
                let cut = cut(&made.protobuf, &plan, &mut Protobuf).unwrap();
                assert!(cut.pieces().all(|piece| piece.value.len() <= size_max));
                check_pieces(&mut oracle, &made, &cut);
            }
        }
    }
}

#[test]
fn pieces_cut_by_the_size_of_their_json_are_no_larger() {
    let Some(mut oracle) = Oracle::start() else { return };
    for made in oracle.corpus() {
        for size_max in SIZES {
            let (signal, limits) = (made.signal, limits(size_max));
            let plan = Plan { signal, by: By::TraceId, topic_attribute: None, limits };
            let length = |level, bytes: &[u8]| {
                let mut out = Vec::new();
                write_message(message(level), bytes, &mut out);
                out.len()
            };
            let cut = cut(&made.protobuf, &plan, &mut cut::Json::new(length)).unwrap();
            assert!(cut.pieces().all(|piece| json_of(signal, &piece.value).len() <= size_max));
            assert!(cut.dead_letters().all(|piece| json_of(signal, &piece.value).len() > size_max));
            check_pieces(&mut oracle, &made, &cut);
        }
    }
}

#[test]
fn pieces_with_shortened_items_are_requests_to_the_collector() {
    let Some(mut oracle) = Oracle::start() else { return };
    for Made { signal, protobuf, .. } in oracle.corpus() {
        for size_max in SIZES {
            let limits = Limits { truncate: true, ..limits(size_max) };
            let plan = Plan { signal, by: By::Resource, topic_attribute: None, limits };
            let cut = cut(&protobuf, &plan, &mut Protobuf).unwrap();
            let mut items = 0;
            for piece in cut.pieces().chain(cut.dead_letters()) {
                let seen = oracle.protobuf(signal, &piece.value);
                let again = oracle.json(signal, &json_of(signal, &piece.value));
                assert_eq!((seen.items, seen.json), (again.items, again.json));
                items += seen.items;
            }
            assert_eq!(items, oracle.protobuf(signal, &protobuf).items);
        }
    }
}

fn limits(size_max: usize) -> Limits {
    let otherwise = Otherwise::DeadLetter;
    Limits { size_max, written_max: 1 << 30, truncate: false, otherwise }
}

/// The message at a level.
fn message(level: Level) -> &'static Message {
    let inner = |message: &'static Message, number| match message.field(number).unwrap().kind {
        Kind::Message(inner) => inner,
        _ => panic!("{message:?} holds none"),
    };
    let data = |kind| match kind {
        PointKind::Gauge => 5,
        PointKind::Sum => 7,
        PointKind::Histogram => 9,
        PointKind::ExponentialHistogram => 10,
        PointKind::Summary => 11,
    };
    match level {
        Level::Request(signal) => signal.request(),
        Level::Resource(signal) => inner(signal.request(), 1),
        Level::Scope(signal) => inner(message(Level::Resource(signal)), 2),
        Level::Item(signal) => inner(message(Level::Scope(signal)), 2),
        Level::Metric(_) => message(Level::Item(Signal::Metrics)),
        Level::Data(kind) => inner(message(Level::Metric(kind)), data(kind)),
        Level::Point(kind) => inner(message(Level::Data(kind)), 1),
    }
}

fn parsed(json: &str) -> Json {
    serde_json::from_str(json).unwrap()
}

/// Every item of a request, each with the resource, the scope and the metric that it is of. A metric
/// without data points is one too.
fn items_of(signal: Signal, json: &str) -> Vec<String> {
    let path = match signal {
        Signal::Traces => ["resourceSpans", "scopeSpans", "spans"],
        Signal::Metrics => ["resourceMetrics", "scopeMetrics", "metrics"],
        Signal::Logs => ["resourceLogs", "scopeLogs", "logRecords"],
    };
    let mut out = Vec::new();
    descend(parsed(json), &path, "", &mut out);
    out
}

fn descend(mut json: Json, path: &[&str], around: &str, out: &mut Vec<String>) {
    let Some((name, rest)) = path.split_first() else { return leaf(json, around, out) };
    let children = json.get_mut(*name).map(Json::take);
    let around = format!("{around}{json}");
    for child in children.iter().filter_map(Json::as_array).flatten() {
        descend(child.clone(), rest, &around, out);
    }
}

fn leaf(mut json: Json, around: &str, out: &mut Vec<String>) {
    const DATA: [&str; 5] = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];
    let kind = DATA.into_iter().find(|kind| json.get(kind).is_some());
    let points = kind.and_then(|kind| json[kind].get_mut("dataPoints")).map(Json::take);
    match points.as_ref().and_then(Json::as_array) {
        Some(points) => out.extend(points.iter().map(|point| format!("{around}{json}{point}"))),
        None => out.push(format!("{around}{json}")),
    }
}
