//! Bytes from nowhere: refused or read, in bounded memory, and never a panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{canonical, sample};
use crate::exporter::otlp::protobuf::{self, DEPTH_MAX};
use crate::exporter::otlp::schema::Signal;
use crate::exporter::otlp::{Reason, json, validate};

/// A log record whose body nests so many messages below the request.
fn nested(depth: usize) -> Vec<u8> {
    // The value at the end, and around it lists of values: fields 5 of `AnyValue` and 1 of the list.
    let mut numbers = vec![1, 2, 2, 5];
    numbers.extend([5, 1].iter().cycle().take(depth - numbers.len()));
    let mut content = Vec::new();
    for number in numbers.into_iter().rev() {
        let mut out = Vec::new();
        let opened = protobuf::open(&mut out, number);
        out.append(&mut content);
        protobuf::close(&mut out, opened);
        content = out;
    }
    content
}

#[test]
fn messages_nest_as_deep_as_generated_decoders_let_them_in_both_encodings() {
    for depth in [5, 6, DEPTH_MAX] {
        let bytes = nested(depth);
        assert_eq!(canonical(Signal::Logs, &bytes).unwrap(), bytes);
        let text = super::json_of(Signal::Logs, &bytes);
        assert_eq!(super::read(Signal::Logs, &text), bytes);
    }
    let bytes = nested(DEPTH_MAX + 1);
    assert!(canonical(Signal::Logs, &bytes).is_err());
    let fault = validate(Signal::Logs, &bytes).unwrap_err();
    assert_eq!(fault.reason, Reason::TooDeep(DEPTH_MAX));
    assert!(fault.path.starts_with("resourceLogs[0].scopeLogs[0].logRecords[0].body.arrayValue"));
    assert!(fault.path.ends_with("arrayValue.values[0].arrayValue"), "{}", fault.path);
}

#[test]
fn json_that_nests_without_end_is_refused_where_it_is_too_deep() {
    let open = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":"#.to_owned();
    let body = open + &r#"{"arrayValue":{"values":["#.repeat(100_000);
    let fault = json::to_protobuf(Signal::Logs, body.as_bytes()).unwrap_err();
    assert_eq!(fault.reason, Reason::TooDeep(DEPTH_MAX));
    assert!(fault.path.ends_with("values[0].arrayValue"), "{}", fault.path);
}

#[test]
fn unknown_json_may_nest_without_end() {
    let deep = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(super::read(Signal::Traces, &deep), b"");
}

#[test]
fn every_prefix_of_a_request_is_read_or_refused_as_the_generated_types_do() {
    for signal in Signal::ALL {
        let bytes = sample::full(signal);
        for end in 0..bytes.len() {
            let prefix = &bytes[..end];
            let ours = validate(signal, prefix);
            assert_eq!(ours.is_ok(), canonical(signal, prefix).is_ok(), "{end}: {ours:?}");
        }
    }
}

#[test]
fn every_prefix_of_a_json_request_is_refused_with_a_place() {
    for signal in Signal::ALL {
        let text = super::json_of(signal, &sample::full(signal));
        for end in (0..text.len()).step_by(11) {
            let fault = json::to_protobuf(signal, &text.as_bytes()[..end]).unwrap_err();
            assert!(fault.place.is_some());
        }
    }
}

#[test]
fn a_message_given_in_many_pieces_nested_in_many_pieces_is_not_copied() {
    // Every value is given twice: first empty, then with all that is below it. Were the pieces put
    // together by copying them, each level would copy all the levels below.
    let numbers = [5_u32].into_iter().chain([6, 1, 2].into_iter().cycle().take(90));
    let mut content = vec![b'x'; 1 << 20];
    content.splice(0..0, [0x0a, 0x80, 0x80, 0x40]);
    for number in numbers.collect::<Vec<_>>().into_iter().rev() {
        let mut out = Vec::new();
        if number != 1 {
            let empty = protobuf::open(&mut out, number);
            protobuf::close(&mut out, empty);
        }
        let opened = protobuf::open(&mut out, number);
        out.append(&mut content);
        protobuf::close(&mut out, opened);
        content = out;
    }
    for number in [2, 2, 1] {
        let mut out = Vec::new();
        let opened = protobuf::open(&mut out, number);
        out.append(&mut content);
        protobuf::close(&mut out, opened);
        content = out;
    }
    let meant = canonical(Signal::Logs, &content).unwrap();
    assert_eq!(super::json_of(Signal::Logs, &content), super::json_of(Signal::Logs, &meant));
}

/// A request, some of whose bytes have been changed.
fn damaged() -> impl Strategy<Value = (Signal, Vec<u8>)> {
    let changes = vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6);
    (proptest::sample::select(Signal::ALL.to_vec()), changes).prop_map(|(signal, changes)| {
        let mut bytes = sample::full(signal);
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        (signal, bytes)
    })
}

proptest! {
    #[test]
    fn what_is_accepted_the_generated_types_can_decode((signal, bytes) in damaged()) {
        if let Ok(request) = validate(signal, &bytes) {
            let accepted = request.accepted();
            prop_assert!(canonical(signal, &accepted).is_ok());
            let again = validate(signal, &accepted).unwrap();
            prop_assert_eq!(again.refused(), None);
            prop_assert_eq!(again.items(), request.items());
            let mut text = Vec::new();
            json::from_protobuf(&request, &mut text);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        } else {
            prop_assert!(canonical(signal, &bytes).is_err());
        }
    }

    #[test]
    fn bytes_from_nowhere_are_written_in_bounded_memory(
        signal in proptest::sample::select(Signal::ALL.to_vec()), bytes in vec(any::<u8>(), 0..256)
    ) {
        let _ = validate(signal, &bytes);
        let mut text = Vec::new();
        json::write_message(signal.request(), &bytes, &mut text);
        prop_assert!(text.len() <= 64 + 64 * bytes.len());
    }

    #[test]
    fn text_from_nowhere_is_read_or_refused(
        signal in proptest::sample::select(Signal::ALL.to_vec()),
        words in vec(proptest::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "null", "1", "-1", "1e9", "true", "\"\"", "\"NaN\"",
            "\"resourceSpans\"", "\"scopeSpans\"", "\"spans\"", "\"traceId\"", "\"attributes\"",
            "\"resourceMetrics\"", "\"bucketCounts\"", "\"value\"", "\"key\"", "\"é\"", " ",
        ]), 0..40)
    ) {
        let text = words.concat();
        if let Ok(read) = json::to_protobuf(signal, text.as_bytes()) {
            prop_assert!(validate(signal, &read.protobuf).is_ok());
        }
    }
}
