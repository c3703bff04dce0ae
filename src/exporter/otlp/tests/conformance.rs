//! What other writers of OTLP/JSON write, and what other readers need.
//!
//! The fixtures are what the Collector's pdata v0.159 wrote. The other tests are the cases in which
//! writers and readers in use differ, one by one.

use super::{json_of, read};
use crate::exporter::otlp::schema::Signal;
use crate::exporter::otlp::{Fault, Place, Reason, json, validate};

const SPANS: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},"scopeSpans":[{"scope":{},"spans":[{"traceId":"01000000000000000000000000000000","spanId":"0200000000000000","name":"n","kind":2,"startTimeUnixNano":"1544712660000000000","attributes":[{"key":"es","value":{"arrayValue":{}}},{"key":"em","value":{"kvlistValue":{}}},{"key":"nil","value":{}},{"key":"i","value":{"intValue":"5"}},{"key":"d","value":{"doubleValue":1}},{"key":"by","value":{"bytesValue":"AQL/"}},{"key":"nan","value":{"doubleValue":"NaN"}}],"status":{}}]}]}]}"#;
const GAUGE_NAN: &str = r#"{"resourceMetrics":[{"resource":{},"scopeMetrics":[{"scope":{},"metrics":[{"name":"g","gauge":{"dataPoints":[{"asDouble":"NaN"}]}}]}]}]}"#;
const METRICS: &str = r#"{"resourceMetrics":[{"resource":{},"scopeMetrics":[{"scope":{},"metrics":[{"name":"g","gauge":{"dataPoints":[{"asInt":"7"}]}},{"name":"h","histogram":{"dataPoints":[{"count":"3","bucketCounts":["1","2"],"explicitBounds":[1]}]}}]}]}]}"#;

/// A request with that one span.
fn span(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
}

/// A request with that one log record.
fn log(record: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#)
}

/// A request with that one metric.
fn metric(metric: &str) -> String {
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#)
}

/// What is written of JSON that is accepted.
fn rewritten(signal: Signal, json: &str) -> String {
    json_of(signal, &read(signal, json))
}

/// Both ways of writing something are read as the first.
#[track_caller]
fn same(signal: Signal, written: &str, other: &str) {
    assert_eq!(rewritten(signal, other), written);
    assert_eq!(rewritten(signal, written), written);
}

fn refusal(signal: Signal, json: &str) -> Fault {
    json::to_protobuf(signal, json.as_bytes()).unwrap_err()
}

#[test]
fn what_the_collector_wrote_is_written_again_byte_for_byte() {
    assert_eq!(rewritten(Signal::Traces, SPANS), SPANS);
    assert_eq!(rewritten(Signal::Metrics, GAUGE_NAN), GAUGE_NAN);
    assert_eq!(rewritten(Signal::Metrics, METRICS), METRICS);
}

#[test]
fn ids_are_lower_case_hex_and_read_in_any_case() {
    same(
        Signal::Traces,
        &span(r#"{"traceId":"0123456789abcdef0123456789abcdef","spanId":"abcdefabcdefabcd"}"#),
        &span(r#"{"traceId":"0123456789ABCDEF0123456789abcdef","spanId":"ABCDEFABCDEFabcd"}"#),
    );
}

#[test]
fn empty_ids_are_left_out() {
    same(Signal::Traces, &span("{}"), &span(r#"{"traceId":"","spanId":"","parentSpanId":null}"#));
}

#[test]
fn times_are_strings_and_read_as_numbers_too() {
    same(
        Signal::Traces,
        &span(r#"{"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1"}"#),
        &span(r#"{"startTimeUnixNano":1544712660000000000,"endTimeUnixNano":1.0}"#),
    );
}

#[test]
fn whole_numbers_of_64_bits_are_strings_in_metrics_too() {
    same(
        Signal::Metrics,
        &metric(
            r#"{"histogram":{"dataPoints":[{"count":"18446744073709551615","bucketCounts":["1","0"]}]}}"#,
        ),
        &metric(
            r#"{"histogram":{"dataPoints":[{"count":18446744073709551615,"bucketCounts":[1,"0"]}]}}"#,
        ),
    );
    same(
        Signal::Metrics,
        &metric(r#"{"gauge":{"dataPoints":[{"asInt":"-7"}]}}"#),
        &metric(r#"{"gauge":{"dataPoints":[{"asInt":-7}]}}"#),
    );
}

#[test]
fn numbers_of_32_bits_are_numbers_and_read_as_strings_too() {
    same(
        Signal::Metrics,
        &metric(
            r#"{"exponentialHistogram":{"dataPoints":[{"scale":-1,"positive":{"offset":2,"bucketCounts":["3"]},"flags":1}]}}"#,
        ),
        &metric(
            r#"{"exponentialHistogram":{"dataPoints":[{"scale":"-1","positive":{"offset":"2","bucketCounts":["3"]},"flags":"1"}]}}"#,
        ),
    );
}

#[test]
fn the_value_of_an_exemplar_stands_in_the_exemplar() {
    let json = metric(r#"{"gauge":{"dataPoints":[{"exemplars":[{"asInt":"7"},{"asDouble":0}]}]}}"#);
    assert_eq!(rewritten(Signal::Metrics, &json), json);
}

#[test]
fn an_empty_request_is_read() {
    for json in ["{}", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":null}"#] {
        same(Signal::Traces, "{}", json);
    }
}

#[test]
fn a_missing_sum_min_or_max_is_left_out_and_a_zero_is_not() {
    let point = |inner: &str| metric(&format!(r#"{{"histogram":{{"dataPoints":[{inner}]}}}}"#));
    same(
        Signal::Metrics,
        &point(r#"{"count":"1"}"#),
        &point(r#"{"count":"1","sum":null,"min":null,"max":null}"#),
    );
    let zeros = point(r#"{"sum":0,"min":0,"max":0}"#);
    assert_eq!(rewritten(Signal::Metrics, &zeros), zeros);
}

#[test]
fn nan_and_infinities_are_strings() {
    let json = metric(
        r#"{"histogram":{"dataPoints":[{"sum":"Infinity","explicitBounds":[1,"Infinity"],"min":"-Infinity","max":"NaN"}]}}"#,
    );
    assert_eq!(rewritten(Signal::Metrics, &json), json);
    let json = log(r#"{"body":{"doubleValue":"NaN"}}"#);
    assert_eq!(rewritten(Signal::Logs, &json), json);
}

#[test]
fn a_double_is_read_as_a_string_too() {
    same(
        Signal::Logs,
        &log(r#"{"body":{"doubleValue":1.5}}"#),
        &log(r#"{"body":{"doubleValue":"1.5"}}"#),
    );
    same(
        Signal::Logs,
        &log(r#"{"body":{"doubleValue":"-Infinity"}}"#),
        &log(r#"{"body":{"doubleValue":"-Inf"}}"#),
    );
}

/// The JavaScript and Rust SDKs write NaN so.
#[test]
fn a_null_double_is_an_empty_value_and_the_batch_is_read() {
    same(
        Signal::Traces,
        &span(r#"{"attributes":[{"key":"tokens","value":{}}]}"#),
        &span(r#"{"attributes":[{"key":"tokens","value":{"doubleValue":null}}]}"#),
    );
}

#[test]
fn nan_without_quotes_is_no_json() {
    let fault = refusal(Signal::Logs, &log(r#"{"body":{"doubleValue":NaN}}"#));
    assert_eq!(fault.path, "resourceLogs[0].scopeLogs[0].logRecords[0].body.doubleValue");
    assert!(matches!(fault.place, Some(Place::Line { line: 1, .. })));
}

#[test]
fn an_empty_array_may_lack_its_values() {
    same(
        Signal::Logs,
        &log(r#"{"body":{"arrayValue":{}}}"#),
        &log(r#"{"body":{"arrayValue":{"values":[]}}}"#),
    );
}

#[test]
fn null_is_absent_for_every_kind_of_field() {
    same(
        Signal::Traces,
        &span("{}"),
        &span(
            r#"{"traceId":null,"name":null,"kind":null,"flags":null,"startTimeUnixNano":null,"attributes":null,"droppedAttributesCount":null,"events":null,"status":null}"#,
        ),
    );
}

#[test]
fn a_null_among_values_is_an_empty_value() {
    same(
        Signal::Logs,
        &log(r#"{"body":{"arrayValue":{"values":[{"intValue":"1"},{},{"intValue":"2"}]}}}"#),
        &log(r#"{"body":{"arrayValue":{"values":[{"intValue":"1"},null,{"intValue":"2"}]}}}"#),
    );
}

#[test]
fn enums_are_numbers_and_read_by_name_too() {
    same(
        Signal::Traces,
        &span(r#"{"kind":2,"status":{"code":2}}"#),
        &span(r#"{"kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_ERROR"}}"#),
    );
    same(
        Signal::Logs,
        &log(r#"{"severityNumber":24}"#),
        &log(r#"{"severityNumber":"SEVERITY_NUMBER_FATAL4"}"#),
    );
    same(
        Signal::Metrics,
        &metric(r#"{"sum":{"aggregationTemporality":2}}"#),
        &metric(r#"{"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE"}}"#),
    );
}

#[test]
fn values_of_newer_enums_are_kept() {
    let json = span(r#"{"kind":77}"#);
    assert_eq!(rewritten(Signal::Traces, &json), json);
}

#[test]
fn keys_in_snake_case_are_read() {
    same(
        Signal::Traces,
        &span(r#"{"traceId":"01000000000000000000000000000000","startTimeUnixNano":"5"}"#),
        r#"{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"01000000000000000000000000000000","start_time_unix_nano":"5"}]}]}]}"#,
    );
}

#[test]
fn a_wrong_id_refuses_its_span_and_no_other() {
    for id in [r#""xyz""#, r#""0123""#, "5", "[1,2]", "{}", "true", r#""AAAAAAAAAAAAAAAAAAAAAA==""#]
    {
        let bad = format!(r#"{{"spanId":{id},"name":"bad"}}"#);
        let json = span(&format!(r#"{{"name":"first"}},{bad},{{"name":"last"}},{bad}"#));
        let read = json::to_protobuf(Signal::Traces, json.as_bytes()).unwrap();
        let kept = span(r#"{"name":"first"},{"name":"last"}"#);
        assert_eq!(json_of(Signal::Traces, &read.protobuf), kept);
        let refused = read.refused.unwrap();
        assert_eq!((read.items, refused.items), (2, 2));
        assert_eq!(
            refused.to_string(),
            "resourceSpans[0].scopeSpans[0].spans[1].spanId: not a span id of 16 hex characters; \
             and 1 more items refused"
        );
    }
}

#[test]
fn a_wrong_id_in_a_link_or_an_exemplar_refuses_the_item_around_it() {
    let json = span(r#"{"links":[{"traceId":"00"},{"traceId":"01"}]},{"name":"kept"}"#);
    let read = json::to_protobuf(Signal::Traces, json.as_bytes()).unwrap();
    assert_eq!(json_of(Signal::Traces, &read.protobuf), span(r#"{"name":"kept"}"#));
    let refused = read.refused.unwrap();
    assert_eq!(refused.first.path, "resourceSpans[0].scopeSpans[0].spans[0].links[0].traceId");
    assert_eq!(refused.items, 1);

    let json = metric(
        r#"{"name":"m","gauge":{"dataPoints":[{"asInt":"1","exemplars":[{"spanId":"0"}]},{"asInt":"2"}]}}"#,
    );
    let read = json::to_protobuf(Signal::Metrics, json.as_bytes()).unwrap();
    assert_eq!(
        json_of(Signal::Metrics, &read.protobuf),
        metric(r#"{"name":"m","gauge":{"dataPoints":[{"asInt":"2"}]}}"#)
    );
    assert_eq!(
        read.refused.unwrap().first.path,
        "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].exemplars[0].spanId"
    );
}

#[test]
fn a_null_among_numbers_refuses_its_data_point() {
    let json = metric(
        r#"{"histogram":{"dataPoints":[{"explicitBounds":[1,null,3]},{"count":"1"},{"bucketCounts":[null]}]}}"#,
    );
    let read = json::to_protobuf(Signal::Metrics, json.as_bytes()).unwrap();
    let refused = read.refused.unwrap();
    assert_eq!((read.items, refused.items), (1, 2));
    assert_eq!(refused.first.reason, Reason::NullInList);
    assert!(refused.first.path.ends_with("dataPoints[0].explicitBounds[1]"));
}

#[test]
fn a_key_given_twice_refuses_its_item_or_outside_of_one_the_request() {
    for record in [
        r#"{"severityText":"a","severityText":"b"}"#,
        r#"{"severityText":"a","severity_text":"a"}"#,
        r#"{"attributes":[],"attributes":[]}"#,
        r#"{"body":{"stringValue":"a","intValue":"1"}}"#,
    ] {
        let json = log(&format!(r#"{record},{{"severityText":"kept"}}"#));
        let read = json::to_protobuf(Signal::Logs, json.as_bytes()).unwrap();
        let kept = log(r#"{"severityText":"kept"}"#);
        assert_eq!(json_of(Signal::Logs, &read.protobuf), kept, "{record}");
        assert_eq!(read.refused.unwrap().first.reason, Reason::Twice);
    }
    let fault = refusal(Signal::Logs, r#"{"resourceLogs":[],"resourceLogs":[]}"#);
    assert_eq!((fault.path.as_str(), fault.reason), ("resourceLogs", Reason::Twice));
    let fault = refusal(Signal::Metrics, &metric(r#"{"gauge":{},"sum":{}}"#));
    assert_eq!(fault.path, "resourceMetrics[0].scopeMetrics[0].metrics[0].sum");
}

#[test]
fn a_null_beside_a_value_does_not_give_it_twice() {
    same(
        Signal::Logs,
        &log(r#"{"body":{"intValue":"1"}}"#),
        &log(r#"{"body":{"stringValue":null,"intValue":"1","intValue":null}}"#),
    );
}

#[test]
fn unknown_fields_are_passed_over_in_values_too() {
    same(
        Signal::Logs,
        &log(r#"{"body":{"intValue":"1"}}"#),
        r#"{"a":[{"b":null}],"resourceLogs":[{"scopeLogs":[{"logRecords":[{"new":{"c":[1e9]},"body":{"newValue":"x","intValue":"1"}}],"d":"\ud83d\ude00"}]}]}"#,
    );
}

#[test]
fn base64_is_read_in_both_alphabets() {
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        same(
            Signal::Logs,
            &log(r#"{"body":{"bytesValue":"+/8="}}"#),
            &log(&format!(r#"{{"body":{{"bytesValue":"{text}"}}}}"#)),
        );
    }
}

#[test]
fn a_wrong_value_refuses_the_request_by_path_line_and_column() {
    let json = "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{},\n  {\"body\":{\"intValue\":\"5.5\"}}]}]}]}";
    let fault = refusal(Signal::Logs, json);
    assert_eq!(
        fault.to_string(),
        "resourceLogs[0].scopeLogs[0].logRecords[1].body.intValue: not a whole number of 64 bits, \
         at line 2 column 27"
    );
}

#[test]
fn wrong_values_are_refused_and_not_repeated() {
    for record in [
        r#"{"severityNumber":"my secret"}"#,
        r#"{"severityNumber":2147483648}"#,
        r#"{"flags":-1}"#,
        r#"{"flags":4294967296}"#,
        r#"{"flags":true}"#,
        r#"{"timeUnixNano":"18446744073709551616"}"#,
        r#"{"timeUnixNano":18446744073709551616}"#,
        r#"{"timeUnixNano":""}"#,
        r#"{"severityText":5}"#,
        r#"{"severityText":["my secret"]}"#,
        r#"{"body":"my secret"}"#,
        r#"{"body":["my secret"]}"#,
        r#"{"body":{"boolValue":"my secret"}}"#,
        r#"{"body":{"boolValue":1}}"#,
        r#"{"body":{"doubleValue":"1e400"}}"#,
        r#"{"body":{"doubleValue":1e400}}"#,
        r#"{"body":{"bytesValue":"my secret!"}}"#,
        r#"{"attributes":"my secret"}"#,
        r#"{"attributes":{"my secret":1}}"#,
        r#"{"attributes":[["my secret"]]}"#,
        r#"{"attributes":["my secret"]}"#,
        r#"{"severityText":"\ud800"}"#,
        "5",
        r#""my secret""#,
    ] {
        let fault = refusal(Signal::Logs, &log(record));
        assert!(fault.path.starts_with("resourceLogs[0].scopeLogs[0].logRecords[0]"), "{fault}");
        assert!(!fault.to_string().contains("secret"), "{fault}");
    }
}

#[test]
fn what_is_no_object_is_no_request() {
    for json in ["", "null", "[]", "5", "\"a\"", "{}{}", "{} x", "{\"resourceSpans\":[]"] {
        let fault = refusal(Signal::Traces, json);
        assert!(fault.place.is_some(), "{json}: {fault}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let json = log(r#"{"severityText":"?"}"#).into_bytes();
    let json: Vec<_> =
        json.into_iter().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    assert!(json::to_protobuf(Signal::Logs, &json).is_err());
}

#[test]
fn json_is_written_without_the_items_that_are_refused() {
    let good = read(Signal::Logs, &log(r#"{"severityText":"kept"}"#));
    // A second request appended to the first is one with the resources of both.
    let bad = read(Signal::Logs, &log(r#"{"spanId":"0102030405060708"}"#));
    let cut = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        // The id loses its last byte, and everything around it is one byte shorter.
        bytes.pop();
        let depths = [1, 3, 5, 7];
        for at in depths {
            bytes[at] -= 1;
        }
        bytes
    };
    let both = [good, cut(&bad)].concat();
    let request = validate(Signal::Logs, &both).unwrap();
    assert_eq!((request.items(), request.refused().unwrap().items), (1, 1));
    let mut out = Vec::new();
    json::from_protobuf(&request, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"kept"}]}]},{"scopeLogs":[{}]}]}"#
    );
}
