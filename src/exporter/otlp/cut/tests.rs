//! Cut requests, read back by another implementation.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as Logs;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Traces;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::exporter::otlp::protobuf::{close, open, well_formed};

const NO_LIMITS: Limits = Limits {
    size_max: usize::MAX,
    written_max: usize::MAX,
    truncate: false,
    otherwise: Otherwise::Drop,
};

fn up_to(size_max: usize) -> Limits {
    Limits { size_max, ..NO_LIMITS }
}

fn plan(signal: Signal, by: By<'_>, limits: Limits) -> Plan<'_> {
    Plan { signal, by, topic_attribute: None, limits }
}

fn cut_up(request: &Bytes, plan: &Plan<'_>) -> Cut {
    let cut = cut(request, plan, &mut Protobuf).unwrap();
    let written = cut.pieces().chain(cut.dead_letters()).map(|piece| piece.value.len());
    assert_eq!(written.sum::<usize>(), cut.size());
    cut
}

fn put_length_delimited(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let opened = open(out, number);
    content(out);
    close(out, opened);
}

fn text(name: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(text.into())) });
    KeyValue { key: name.into(), value, ..Default::default() }
}

fn resource(attributes: &[KeyValue]) -> Option<Resource> {
    Some(Resource { attributes: attributes.to_vec(), ..Default::default() })
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: name.into(), ..Default::default() })
}

fn span(trace: u8, name: &str) -> Span {
    let trace_id = if trace == 0 { Vec::new() } else { vec![trace; 16] };
    Span { trace_id, name: name.into(), ..Default::default() }
}

/// One resource for each list of spans, with the attributes before it.
fn traces(resources: &[(&[KeyValue], &[Span])]) -> Bytes {
    let resource_spans = resources
        .iter()
        .map(|(attributes, spans)| ResourceSpans {
            resource: resource(attributes),
            scope_spans: vec![ScopeSpans {
                scope: scope("s"),
                spans: spans.to_vec(),
                ..Default::default()
            }],
            schema_url: "url".into(),
        })
        .collect();
    Traces { resource_spans }.encode_to_vec().into()
}

fn metrics(attributes: &[KeyValue], metrics: Vec<Metric>) -> Bytes {
    let resource_metrics = vec![ResourceMetrics {
        resource: resource(attributes),
        scope_metrics: vec![ScopeMetrics { scope: scope("s"), metrics, ..Default::default() }],
        ..Default::default()
    }];
    Metrics { resource_metrics }.encode_to_vec().into()
}

fn sum(name: &str, points: impl Iterator<Item = NumberDataPoint>) -> Metric {
    Metric {
        name: name.into(),
        description: "how many".into(),
        unit: "1".into(),
        metadata: vec![text("meta", "data")],
        data: Some(Data::Sum(Sum {
            data_points: points.collect(),
            aggregation_temporality: 2,
            is_monotonic: true,
        })),
    }
}

fn point(time: u64, attributes: &[KeyValue]) -> NumberDataPoint {
    let attributes = attributes.to_vec();
    NumberDataPoint { time_unix_nano: time, attributes, ..Default::default() }
}

/// Spans, log records or data points, each with all that it stands in, as text to compare.
fn rows(signal: Signal, request: &[u8]) -> Vec<String> {
    macro_rules! rows {
        ($request:ident.$resources:ident.$scopes:ident.$items:ident, $rows:expr) => {{
            let mut rows = Vec::new();
            for of in $request::decode(request).unwrap().$resources {
                for inner in of.$scopes {
                    let around = (&of.resource, &of.schema_url, inner.scope, inner.schema_url);
                    let items = inner.$items.iter().flat_map($rows);
                    rows.extend(items.map(|item| format!("{around:?} {item}")));
                }
            }
            rows
        }};
    }
    match signal {
        Signal::Traces => rows!(Traces.resource_spans.scope_spans.spans, |s| [format!("{s:?}")]),
        Signal::Logs => rows!(Logs.resource_logs.scope_logs.log_records, |l| [format!("{l:?}")]),
        Signal::Metrics => rows!(Metrics.resource_metrics.scope_metrics.metrics, point_rows),
    }
}

fn point_rows(metric: &Metric) -> Vec<String> {
    let mut header = metric.clone();
    let points: Vec<_> = match &mut header.data {
        Some(Data::Sum(sum)) => sum.data_points.drain(..).map(|p| format!("{p:?}")).collect(),
        Some(Data::Gauge(gauge)) => gauge.data_points.drain(..).map(|p| format!("{p:?}")).collect(),
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.drain(..).map(|p| format!("{p:?}")).collect()
        }
        _ => Vec::new(),
    };
    points.into_iter().map(|point| format!("{header:?} {point}")).collect()
}

fn key_text(key: Key) -> Option<String> {
    let mut buffer = [0; 32];
    key.write(&mut buffer).map(|key| String::from_utf8_lossy(key).into_owned())
}

fn names(value: &[u8]) -> Vec<String> {
    let resources = Traces::decode(value).unwrap().resource_spans.into_iter();
    let spans = resources.flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
    spans.map(|span| span.name).collect()
}

#[test]
fn a_request_that_needs_no_cutting_is_forwarded_in_the_same_memory() {
    let request = traces(&[(&[text("a", "1")], &[span(1, "x"), span(1, "y")])]);
    let names = ["a".to_owned()];
    for by in [By::Request, By::Resource, By::TraceId, By::Attributes(&names)] {
        let cut = cut_up(&request, &plan(Signal::Traces, by, up_to(request.len())));
        let pieces: Vec<_> = cut.pieces().collect();
        assert_eq!(pieces.len(), 1, "{by:?}");
        assert_eq!(pieces[0].value.as_ptr(), request.as_ptr(), "{by:?}");
        assert_eq!((pieces[0].value.len(), pieces[0].items), (request.len(), 2));
        assert_eq!(pieces[0].key == Key::None, by == By::Request);
    }
}

#[test]
fn a_request_without_items_is_no_record() {
    let empty = traces(&[(&[text("a", "1")], &[])]);
    for request in [Bytes::new(), empty] {
        for by in [By::Request, By::Resource, By::TraceId] {
            let cut = cut_up(&request, &plan(Signal::Traces, by, NO_LIMITS));
            assert_eq!(cut.pieces().count(), 0);
        }
    }
}

#[test]
fn spans_of_a_trace_gather_from_all_resources_in_their_order() {
    let request = traces(&[
        (&[text("a", "1")], &[span(1, "1"), span(2, "2"), span(1, "3"), span(0, "4")]),
        (&[text("a", "2")], &[span(2, "5"), span(1, "6")]),
    ]);
    let cut = cut_up(&request, &plan(Signal::Traces, By::TraceId, NO_LIMITS));
    let pieces: Vec<_> =
        cut.pieces().map(|p| (key_text(p.key), names(&p.value), p.items)).collect();
    let expected = [
        (Some("01".repeat(16)), &["1", "3", "6"][..]),
        (Some("02".repeat(16)), &["2", "5"]),
        (None, &["4"]),
    ];
    let expected = expected.map(|(key, names)| {
        let count = u32::try_from(names.len()).unwrap();
        (key, names.iter().map(|name| (*name).to_owned()).collect(), count)
    });
    assert_eq!(pieces, expected);
}

#[test]
fn envelopes_are_repeated_byte_for_byte_with_fields_that_are_unknown() {
    let unknown = |mark: u8| [0xfa, 0x3f, 0x02, mark, mark];
    let (first, second) = (span(1, "x").encode_to_vec(), span(2, "y").encode_to_vec());
    let build = |spans: &[&[u8]]| {
        let mut out = Vec::new();
        out.extend(unknown(1));
        put_length_delimited(&mut out, 1, |out| {
            out.extend(resource_field());
            out.extend([0x1a, 0x01, b'u']); // schema_url
            out.extend(unknown(2));
            put_length_delimited(out, 2, |out| {
                out.extend([0x0a, 0x00]); // scope {}
                out.extend(unknown(3));
                spans.iter().for_each(|span| {
                    put_length_delimited(out, 2, |out| out.extend(*span));
                });
            });
        });
        out
    };
    let request = Bytes::from(build(&[&first, &second, &first]));
    let cut = cut_up(&request, &plan(Signal::Traces, By::TraceId, NO_LIMITS));
    let values: Vec<_> = cut.pieces().map(|piece| piece.value).collect();
    assert_eq!(values, [build(&[&first, &first]), build(&[&second])]);
}

fn resource_field() -> Vec<u8> {
    let mut out = Vec::new();
    let resource = resource(&[text("a", "1")]).unwrap().encode_to_vec();
    put_length_delimited(&mut out, 1, |out| out.extend(resource));
    out
}

#[test]
fn each_resource_has_the_key_that_the_collector_gives_it() {
    let request = traces(&[
        (&[text("service.name", "a")], &[span(1, "1")]),
        (&[], &[span(1, "2")]),
        (&[text("service.name", "a")], &[span(1, "3")]),
    ]);
    let cut = cut_up(&request, &plan(Signal::Traces, By::Resource, NO_LIMITS));
    let keys: Vec<_> = cut.pieces().map(|piece| (piece.key, names(&piece.value))).collect();
    let hash = Key::Hash(0x13c6_781e_1075_2709_d91a_9cfd_c6c9_b1dc_u128.to_be_bytes());
    let none = Key::Hash([0; 16]);
    let expected = [(hash, "1"), (none, "2"), (hash, "3")];
    assert_eq!(keys, expected.map(|(key, name)| (key, vec![name.to_owned()])));
}

#[test]
fn chosen_attributes_are_looked_for_in_the_resource_and_then_in_the_item() {
    let with = |name, value| Span { attributes: vec![text("t", value)], ..span(1, name) };
    let request = traces(&[
        (&[text("t", "a"), text("x", "0")], &[with("1", "ignored"), span(1, "2")]),
        (&[text("x", "1")], &[with("3", "b"), span(1, "4"), with("5", "a")]),
    ]);
    let by = ["t".to_owned()];
    let cut = cut_up(&request, &plan(Signal::Traces, By::Attributes(&by), NO_LIMITS));
    let pieces: Vec<_> = cut.pieces().map(|piece| (piece.key, names(&piece.value))).collect();
    assert_eq!(
        pieces.iter().map(|(_, names)| names.concat()).collect::<Vec<_>>(),
        ["125", "3", "4"]
    );
    assert_eq!(pieces[2].0, Key::None);

    let alone = traces(&[(&[text("t", "b")], &[span(1, "1")])]);
    let cut = cut_up(&alone, &plan(Signal::Traces, By::Resource, NO_LIMITS));
    assert_eq!(cut.pieces().next().unwrap().key, pieces[1].0, "the hash of a map of those found");
}

#[test]
fn metrics_are_keyed_by_attributes_of_their_data_points() {
    let tenant = |name| [text("tenant", name)];
    let points = (0..6).map(|n| {
        point(
            n,
            &tenant(if n % 3 == 0 {
                "a"
            } else if n % 3 == 1 {
                "b"
            } else {
                "c"
            }),
        )
    });
    let empty = Metric { name: "empty".into(), ..Default::default() };
    let request = metrics(&[], vec![sum("m", points), empty]);
    let by = ["tenant".to_owned()];
    let cut = cut_up(&request, &plan(Signal::Metrics, By::Attributes(&by), NO_LIMITS));
    let pieces: Vec<_> = cut.pieces().collect();
    let shape: Vec<_> = pieces.iter().map(|piece| (piece.key == Key::None, piece.items)).collect();
    assert_eq!(shape, [(false, 2), (false, 2), (false, 2), (true, 0)]);
    let first = &Metrics::decode(&pieces[0].value[..]).unwrap().resource_metrics[0];
    let expected = sum("m", [0, 3].into_iter().map(|n| point(n, &tenant("a"))));
    assert_eq!(first.scope_metrics[0].metrics, [expected]);

    let request = metrics(&tenant("z"), vec![sum("m", (0..6).map(|n| point(n, &tenant("a"))))]);
    let cut = cut_up(&request, &plan(Signal::Metrics, By::Attributes(&by), NO_LIMITS));
    assert_eq!(cut.pieces().count(), 1, "the resource comes first");
}

#[test]
fn topics_are_named_by_resources_and_never_mixed() {
    let request = traces(&[
        (&[text("topic", "a")], &[span(1, "1"), span(2, "2")]),
        (&[text("topic", "b")], &[span(1, "3")]),
        (&[text("other", "b")], &[span(1, "4")]),
        (&[text("topic", "a")], &[span(1, "5")]),
    ]);
    let of = |by| {
        let plan = Plan { topic_attribute: Some("topic"), ..plan(Signal::Traces, by, NO_LIMITS) };
        let cut = cut_up(&request, &plan);
        let topic =
            |piece: Piece<'_>| (piece.topic.map(str::to_owned), names(&piece.value).concat());
        cut.pieces().map(topic).collect::<Vec<_>>()
    };
    let named = |topic: &str, names: &str| (Some(topic.to_owned()), names.to_owned());
    assert_eq!(of(By::Request), [named("a", "125"), named("b", "3"), (None, "4".into())]);
    assert_eq!(
        of(By::TraceId),
        [named("a", "15"), named("a", "2"), named("b", "3"), (None, "4".into())]
    );
}

#[test]
fn a_metric_too_large_is_cut_into_its_data_points_under_copies_of_its_header() {
    let points = (0..100_000).map(|n| point(n, &[text("host", "h")]));
    let request = metrics(&[text("a", "1")], vec![sum("m", points)]);
    let cut = cut_up(&request, &plan(Signal::Metrics, By::Request, up_to(100_000)));
    let pieces: Vec<_> = cut.pieces().collect();
    assert!(cut.oversized().is_empty());
    assert_eq!(pieces.len(), request.len().div_ceil(99_900));
    assert_eq!(pieces.iter().map(|piece| piece.items).sum::<u32>(), 100_000);
    let rows_of = |piece: &Piece<'_>| rows(Signal::Metrics, &piece.value);
    let cut: Vec<_> = pieces.iter().flat_map(rows_of).collect();
    assert!(cut == rows(Signal::Metrics, &request));
}

#[test]
fn an_item_too_large_is_dropped_or_put_aside_and_reported_with_its_size() {
    let big = span(2, &"n".repeat(500));
    let request = traces(&[(&[text("a", "1")], &[span(1, "1"), big, span(1, "3")])]);
    for otherwise in [Otherwise::Drop, Otherwise::DeadLetter] {
        let limits = Limits { otherwise, ..up_to(200) };
        let cut = cut_up(&request, &plan(Signal::Traces, By::Request, limits));
        let pieces: Vec<_> = cut.pieces().map(|piece| names(&piece.value).concat()).collect();
        assert_eq!(pieces, ["13"], "the open piece goes on");
        let [report] = cut.oversized() else { panic!("{:?}", cut.oversized()) };
        assert_eq!(report.path, Path { resource: 0, scope: 0, item: 1, point: None });
        assert_eq!(report.name, "n".repeat(128));
        let letters: Vec<_> = cut.dead_letters().collect();
        if otherwise == Otherwise::Drop {
            assert_eq!((report.outcome, letters.len()), (Outcome::Dropped, 0));
        } else {
            assert_eq!((report.outcome, letters.len()), (Outcome::DeadLetter, 1));
            assert_eq!(letters[0].value.len(), report.record_size);
            assert_eq!(names(&letters[0].value).concat().len(), 500);
        }
    }
}

#[test]
fn an_item_too_large_is_shortened_to_fit_and_says_so() {
    let attributes = vec![text("long", &"é".repeat(400)), text("short", "stays")];
    let big = Span { attributes, ..span(2, "name") };
    let size = big.encoded_len();
    let request = traces(&[(&[text("a", "1")], &[span(1, "1"), big, span(1, "3")])]);
    let limits = Limits { truncate: true, ..up_to(300) };
    let cut = cut_up(&request, &plan(Signal::Traces, By::TraceId, limits));
    let piece = cut.pieces().find(|piece| piece.key == Key::Trace([2; 16])).unwrap();
    let [report] = cut.oversized() else { panic!("{:?}", cut.oversized()) };
    assert_eq!(report.outcome, Outcome::Truncated { record_size: piece.value.len() });
    assert!((240..=300).contains(&piece.value.len()), "{}", piece.value.len());
    let span = &Traces::decode(&piece.value[..]).unwrap().resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.name, "name");
    assert_eq!(span.attributes[1], text("short", "stays"));
    assert_eq!(span.attributes[2].key, "ottla.truncated");
    let marker = span.attributes[2].value.clone().unwrap().value;
    assert_eq!(marker, Some(Any::IntValue(i64::try_from(size).unwrap())));
}

#[test]
fn a_data_point_too_large_is_shortened_in_a_metric_of_its_own() {
    let big = point(2, &[text("k", &"v".repeat(900))]);
    let request = metrics(&[], vec![sum("m", [point(1, &[]), big, point(3, &[])].into_iter())]);
    let limits = Limits { truncate: true, ..up_to(200) };
    let cut = cut_up(&request, &plan(Signal::Metrics, By::Request, limits));
    let [report] = cut.oversized() else { panic!("{:?}", cut.oversized()) };
    assert_eq!((&report.name[..], report.path.point), ("m", Some(1)));
    let mut times = Vec::new();
    let mut marked = 0;
    for piece in cut.pieces() {
        assert!(piece.value.len() <= 200);
        let metrics = Metrics::decode(&piece.value[..]).unwrap().resource_metrics.remove(0);
        for metric in &metrics.scope_metrics[0].metrics {
            let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
            times.extend(sum.data_points.iter().map(|point| point.time_unix_nano));
            marked += metric.metadata.iter().filter(|a| a.key == "ottla.truncated").count();
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        }
    }
    assert_eq!((&times[..], marked), (&[1, 2, 3][..], 1));
}

#[test]
fn an_item_that_nothing_can_make_fit_is_not_shortened() {
    let request = traces(&[(&[text("a", &"r".repeat(500))], &[span(1, "name")])]);
    let limits = Limits { truncate: true, ..up_to(200) };
    let cut = cut_up(&request, &plan(Signal::Traces, By::Request, limits));
    assert_eq!(cut.oversized()[0].outcome, Outcome::Dropped);
    assert_eq!(cut.pieces().count(), 0);
}

#[test]
fn a_large_resource_repeated_for_many_items_is_refused() {
    let spans: Vec<_> = (0..2_000)
        .map(|n| Span { trace_id: (n + 1_u128).to_be_bytes().to_vec(), ..Default::default() })
        .collect();
    let request = traces(&[(&[text("a", &"r".repeat(100_000))], &spans)]);
    let limits = Limits { written_max: 10_000_000, ..NO_LIMITS };
    let refused = cut(&request, &plan(Signal::Traces, By::TraceId, limits), &mut Protobuf);
    assert!(matches!(refused, Err(CutError::Expands { .. })), "{refused:?}");
}

#[test]
fn a_large_attribute_hashed_for_many_items_is_refused() {
    let spans = vec![span(1, "x"); 2_000];
    let request = traces(&[(&[text("a", &"r".repeat(100_000))], &spans)]);
    let names = ["a".to_owned(), "b".to_owned()];
    let limits = Limits { written_max: 10_000_000, ..NO_LIMITS };
    let plan = plan(Signal::Traces, By::Attributes(&names), limits);
    let refused = cut(&request, &plan, &mut Protobuf);
    assert!(matches!(refused, Err(CutError::Expands { .. })), "{refused:?}");
}

#[test]
fn a_large_metric_of_many_points_is_given_up_before_it_has_been_copied_for_each() {
    let mut metric = sum("m", (0..50_000).map(|n| point(n, &[])));
    metric.unit = "u".repeat(100_000);
    let request = metrics(&[], vec![metric]);
    let limits = Limits { truncate: true, written_max: 10_000_000, ..up_to(1_000) };
    let cut = cut_up(&request, &plan(Signal::Metrics, By::Request, limits));
    assert_eq!(cut.oversized().len(), 50_000);
    assert!(cut.oversized().iter().all(|item| item.outcome == Outcome::Dropped));
}

/// A JSON of the test's own: what a message has of its own in hex, then its children.
fn json(level: Level, bytes: &[u8]) -> String {
    let kind = |bytes| well_formed(bytes).find_map(|field| PointKind::of_field(field.number));
    let container = match (level, kind(bytes)) {
        (Level::Item(Signal::Metrics), Some(kind)) => Level::Metric(kind),
        _ => level,
    };
    let (child, name) = (container.child(), container.child_name());
    let is_child = |number| child.is_some_and(|(of, _)| of == number);
    let (mut own, mut children) = (String::new(), Vec::new());
    for field in well_formed(bytes) {
        match (child, field.bytes_of(field.number)) {
            (Some((_, child)), Some(bytes)) if is_child(field.number) => {
                children.push(json(child, bytes));
            }
            _ => own.extend(bytes[field.start..field.end].iter().map(|b| format!("{b:02x}"))),
        }
    }
    let mut members = Vec::new();
    if !own.is_empty() {
        members.push(format!("\"own\":\"{own}\""));
    }
    match container {
        _ if children.is_empty() => {}
        Level::Metric(_) => members.push(format!("\"{name}\":{}", children.concat())),
        _ => members.push(format!("\"{name}\":[{}]", children.join(","))),
    }
    format!("{{{}}}", members.join(","))
}

#[test]
fn sizes_in_json_are_exact() {
    let some = sum("m", (0..50).map(|n| point(n, &[text("k", &n.to_string())])));
    let gauge = Metric {
        data: Some(Data::Gauge(Gauge { data_points: vec![point(1, &[]); 9] })),
        ..Default::default()
    };
    let request = metrics(&[text("a", "1")], vec![some, gauge.clone(), gauge]);
    let length = |message, bytes: &[u8]| json(message, bytes).len();
    let whole = length(Level::Request(Signal::Metrics), &request);
    for size_max in (400..whole + 100).step_by(7) {
        let plan = plan(Signal::Metrics, By::Request, up_to(size_max));
        let cut = cut(&request, &plan, &mut Json::new(length)).unwrap();
        let pieces: Vec<_> = cut.pieces().collect();
        assert!(cut.oversized().is_empty());
        assert_eq!(pieces.len() == 1, size_max >= whole, "{size_max} of {whole}");
        let sizes = pieces.iter().map(|p| length(Level::Request(Signal::Metrics), &p.value));
        assert!(sizes.max().unwrap() <= size_max);
        assert_eq!(pieces.iter().map(|piece| piece.items).sum::<u32>(), 68);
    }
}

#[test]
fn an_item_too_large_in_json_is_shortened_by_its_json() {
    let big = Span { attributes: vec![text("k", &"v".repeat(900))], ..span(1, "n") };
    let request = traces(&[(&[], &[big])]);
    let limits = Limits { truncate: true, ..up_to(600) };
    let length = |message, bytes: &[u8]| json(message, bytes).len();
    let plan = plan(Signal::Traces, By::Request, limits);
    let cut = cut(&request, &plan, &mut Json::new(length)).unwrap();
    let piece = cut.pieces().next().unwrap();
    assert!(length(Level::Request(Signal::Traces), &piece.value) <= 600);
}

/// Requests of each signal: resources of scopes of items, an item being a trace and a size.
type Shape = Vec<Vec<Vec<(u8, usize)>>>;

fn shapes() -> impl Strategy<Value = (Signal, Shape)> {
    let item = (0_u8..4, prop_oneof![9 => 0_usize..60, 1 => 100_usize..700]);
    let scopes = prop::collection::vec(prop::collection::vec(item, 0..6), 0..4);
    let signal = prop_oneof![Just(Signal::Traces), Just(Signal::Logs), Just(Signal::Metrics)];
    (signal, prop::collection::vec(scopes, 0..4))
}

fn build(signal: Signal, shape: &Shape) -> Bytes {
    let mut number = 0;
    let mut name = |size| {
        number += 1;
        format!("{number}{}", "n".repeat(size))
    };
    let url = |place: usize| "u".repeat(place * 40);
    macro_rules! request {
        ($request:ident, $resource:ident, $scope:ident, $resources:ident.$scopes:ident.$items:ident,
            $item:expr) => {{
            let mut scopes_of = |(place, items): (usize, &Vec<(u8, usize)>)| $scope {
                scope: scope(&url(place)),
                $items: items
                    .iter()
                    .map(|(small, size)| $item(*small, *size, name(*size)))
                    .collect(),
                schema_url: url(place),
            };
            let resources = shape.iter().enumerate().map(|(place, scopes)| $resource {
                resource: resource(&[text("t", &place.to_string())]),
                $scopes: scopes.iter().enumerate().map(&mut scopes_of).collect(),
                schema_url: url(place),
            });
            $request { $resources: resources.collect() }.encode_to_vec().into()
        }};
    }
    let span = |trace, _, name: String| span(trace, &name);
    match signal {
        Signal::Traces => {
            request!(Traces, ResourceSpans, ScopeSpans, resource_spans.scope_spans.spans, span)
        }
        Signal::Logs => {
            request!(Logs, ResourceLogs, ScopeLogs, resource_logs.scope_logs.log_records, log)
        }
        Signal::Metrics => request!(
            Metrics,
            ResourceMetrics,
            ScopeMetrics,
            resource_metrics.scope_metrics.metrics,
            metric
        ),
    }
}

fn log(trace: u8, _: usize, body: String) -> LogRecord {
    let trace_id = span(trace, "").trace_id;
    LogRecord { trace_id, body: text("", &body).value, ..Default::default() }
}

fn metric(count: u8, size: usize, name: String) -> Metric {
    let attributes = vec![text("k", &"v".repeat(size / 10))];
    let histogram = HistogramDataPoint { attributes, ..Default::default() };
    let data = match size % 3 {
        0 => return sum(&name, (0..u64::from(count) * 3).map(|n| point(n, &[]))),
        1 => Data::Gauge(Gauge { data_points: vec![point(7, &[text("t", "0")])] }),
        _ => Data::Histogram(Histogram {
            data_points: vec![histogram; usize::from(count)],
            aggregation_temporality: 1,
        }),
    };
    Metric { name, data: Some(data), ..Default::default() }
}

/// One way to cut of four, since a strategy cannot hand out what is borrowed.
fn by(place: usize, names: &[String]) -> By<'_> {
    [By::Request, By::Resource, By::TraceId, By::Attributes(names)][place]
}

proptest! {
    #[test]
    fn nothing_is_lost_and_order_is_kept((signal, shape) in shapes(), place in 0_usize..4, size in 40_usize..900) {
        let names = ["t".to_owned(), "k".to_owned()];
        let by = by(place, &names);
        let request = build(signal, &shape);
        let limits = Limits { otherwise: Otherwise::DeadLetter, ..up_to(size) };
        let cut = cut_up(&request, &plan(signal, by, limits));
        let all = rows(signal, &request);
        let mut seen = Vec::new();
        let mut last = std::collections::HashMap::new();
        for piece in cut.pieces() {
            prop_assert!(piece.value.len() <= size);
            let rows = rows(signal, &piece.value);
            prop_assert_eq!(rows.len(), piece.items as usize);
            for row in rows {
                // Data points of one metric may be equal.
                let place = all.iter().position(|other| *other == row);
                let place = place.expect("every row was in the request");
                let before = last.insert(piece.key, place).unwrap_or(0);
                prop_assert!(before <= place || by == By::Resource);
                seen.push(row);
            }
        }
        let letters = cut.dead_letters().map(|piece| rows(signal, &piece.value));
        prop_assert_eq!(cut.dead_letters().count(), cut.oversized().len());
        seen.extend(letters.flatten());
        seen.sort();
        let mut all = all;
        all.sort();
        prop_assert_eq!(seen, all);
    }

    #[test]
    fn a_piece_is_as_full_as_the_next_item_lets_it_be(
        items in prop::collection::vec((0_u8..1, 0_usize..60), 1..40), size in 150_usize..400,
    ) {
        let request = build(Signal::Traces, &vec![vec![items]]);
        let cut = cut_up(&request, &plan(Signal::Traces, By::Request, up_to(size)));
        let pieces: Vec<_> = cut.pieces().map(|p| Traces::decode(&p.value[..]).unwrap()).collect();
        for pair in pieces.windows(2) {
            let mut fuller = pair[0].clone();
            let next = pair[1].resource_spans[0].scope_spans[0].spans[0].clone();
            fuller.resource_spans[0].scope_spans[0].spans.push(next);
            prop_assert!(fuller.encoded_len() > size);
        }
    }

    #[test]
    fn shortened_or_not_every_record_fits((signal, shape) in shapes(), place in 0_usize..4, size in 40_usize..500) {
        let names = ["t".to_owned(), "k".to_owned()];
        let by = by(place, &names);
        let request = build(signal, &shape);
        let limits = Limits { truncate: true, ..up_to(size) };
        let cut = cut_up(&request, &plan(signal, by, limits));
        let mut items = 0;
        for piece in cut.pieces() {
            prop_assert!(piece.value.len() <= size);
            prop_assert_eq!(rows(signal, &piece.value).len(), piece.items as usize);
            items += piece.items;
        }
        let dropped = cut.oversized().iter().filter(|item| item.outcome == Outcome::Dropped);
        let dropped: u32 = dropped.map(|item| item.items).sum();
        prop_assert_eq!((items + dropped) as usize, rows(signal, &request).len());
    }

    #[test]
    fn any_bytes_are_cut_or_refused(
        (signal, shape) in shapes(),
        place in 0_usize..4,
        size in 0_usize..300,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        truncate: bool,
    ) {
        let names = ["t".to_owned(), "k".to_owned()];
        let by = by(place, &names);
        let mut request = build(signal, &shape).to_vec();
        for (place, byte) in changes.iter().filter(|_| !request.is_empty()).collect::<Vec<_>>() {
            let place = place.index(request.len());
            request[place] = *byte;
        }
        let limits = Limits { truncate, otherwise: Otherwise::DeadLetter, ..up_to(size) };
        let plan = Plan { topic_attribute: Some("t"), ..plan(signal, by, limits) };
        if let Ok(cut) = cut(&request.into(), &plan, &mut Protobuf) {
            prop_assert!(cut.pieces().all(|piece| piece.value.len() <= size));
            let _ = cut.dead_letters().count();
        }
    }
}
