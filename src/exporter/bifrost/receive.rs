//! Traces out of a request body or of standard input.
//!
//! Decides that an item is a trace. How a body is cut into items is
//! [`exporter::receive`](crate::exporter::receive)'s to say, and what a trace may hold the model's.

use super::model::Trace;
use crate::exporter::receive::{Items, Reader};
use serde_json::Deserializer;

pub use crate::exporter::receive::ReceiveError;

/// The traces of `body`, each a trace or the reason why it is none. A body without any is empty.
pub fn traces(body: &[u8]) -> Traces<'_> {
    Traces(Items::new(TraceReader, body))
}

/// An iterator over the traces of a body. See [`traces`].
#[derive(Debug, Clone)]
pub struct Traces<'a>(Items<'a, TraceReader>);

impl<'a> Iterator for Traces<'a> {
    type Item = Result<Trace<'a>, ReceiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

#[derive(Debug, Clone)]
struct TraceReader;

impl<'a> Reader<'a> for TraceReader {
    type Item = Trace<'a>;

    const NOUN: &'static str = "trace";

    fn read(&self, json: &'a [u8]) -> Option<Result<(Trace<'a>, usize), serde_json::Error>> {
        let mut stream = Deserializer::from_slice(json).into_iter();
        let trace = stream.next()?;
        Some(trace.map(|trace| (trace, stream.byte_offset())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ids of the traces; errors as they are shown.
    fn read_all(body: &str) -> Vec<String> {
        traces(body.as_bytes())
            .map(|trace| match trace {
                Ok(trace) => trace.trace_id.into_owned(),
                Err(error) => error.to_string(),
            })
            .collect()
    }

    #[test]
    fn an_object_an_array_and_lines_are_read() {
        assert_eq!(read_all(r#"{"TraceID":"a"}"#), ["a"]);
        assert_eq!(read_all("{\n  \"TraceID\":\n \"a\"\n}\n"), ["a"]);
        assert_eq!(read_all(r#" [ {"TraceID":"a"} , {"TraceID":"b"} ] "#), ["a", "b"]);
        assert_eq!(read_all("[\n{\"TraceID\":\"a\"},\n{\"TraceID\":\"b\"}\n]"), ["a", "b"]);
        assert_eq!(
            read_all("{\"TraceID\":\"a\"}\r\n\n[{\"TraceID\":\"b\"}]\n{\"TraceID\":\"c\"}"),
            ["a", "b", "c"],
        );
        assert_eq!(read_all("{\"TraceID\":\n\"a\"}\n{\"TraceID\":\n\"b\"}"), ["a", "b"]);
    }

    #[test]
    fn nothing_is_no_traces() {
        for body in ["", " \n ", "[]", "[ ]\n[]"] {
            assert!(read_all(body).is_empty(), "{body:?}");
        }
    }

    #[test]
    fn a_refused_trace_does_not_take_others_with_it() {
        let refused = "trace 1 is refused at line 2 column 2: TraceID: missing or empty; it is \
                       the record's key";
        assert_eq!(read_all("{\"TraceID\":\"a\"}\n{}\n{\"TraceID\":\"c\"}"), ["a", refused, "c"]);
        assert_eq!(
            read_all("[{\"TraceID\":\"a\"},\n{},\n{\"TraceID\":\"c\"}]"),
            ["a", refused, "c"]
        );
        assert_eq!(
            read_all(r#"[{"TraceID":"a"}, {"TraceID":"b","Attributes":["my prompt"]}]"#),
            [
                "a",
                "trace 1 is refused at line 1 column 47: Attributes: invalid type: sequence, \
                 expected an object",
            ],
        );
        assert_eq!(
            read_all("7\n{\"TraceID\":\"b\"}"),
            [
                "trace 0 is refused at line 1 column 1: invalid type: integer `7`, expected a \
                 trace object",
                "b",
            ],
        );
    }

    #[test]
    fn broken_lines_are_skipped() {
        assert_eq!(
            read_all(
                "{\"TraceID\":\"a\"\n{\"TraceID\":\"b\"}\n{\"TraceID\":}\n{\"TraceID\":\"d\"}"
            ),
            [
                "trace 0 is not valid JSON at line 2 column 1: expected `,` or `}`",
                "b",
                "trace 2 is not valid JSON at line 3 column 12: expected value",
                "d",
            ],
        );
        assert_eq!(
            read_all("{\"TraceID\":\"a\"} nonsense\n{\"TraceID\":\"b\"}"),
            ["a", "trace 1 is not valid JSON at line 1 column 18: expected ident", "b"],
        );
        assert_eq!(
            read_all("{\n  \"TraceID\": \"a\",\n  \"Spans\": [}\n}\n{\"TraceID\":\"b\"}"),
            ["trace 0 is not valid JSON at line 3 column 13: expected value", "b"],
        );
    }

    #[test]
    fn a_broken_array_ends_the_body() {
        for (body, error) in [
            (
                r#"[{"TraceID":"a"},{"TraceID":]"#,
                "trace 1 is not valid JSON at line 1 column 29: expected value",
            ),
            (
                r#"[{"TraceID":"a"} {"TraceID":"b"}]"#,
                "trace 1 is not valid JSON at line 1 column 18: expected `,` or `]`",
            ),
            (
                r#"[{"TraceID":"a"},]"#,
                "trace 1 is not valid JSON at line 1 column 18: expected value",
            ),
            (
                "[{\"TraceID\":\"a\"},\n",
                "trace 1 is not valid JSON at line 2 column 1: the array has no end",
            ),
        ] {
            assert_eq!(read_all(body), ["a", error]);
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused_alone() {
        let body =
            b"{\"TraceID\":\"a\xff\"}\n{\"TraceID\":\"b\",\"X\":\"\xff\"}\n{\"TraceID\":\"c\"}";
        let found = traces(body).collect::<Vec<_>>();
        assert!(matches!(found[0], Err(ReceiveError::Malformed { index: 0, line: 1, .. })));
        assert!(matches!(found[1], Err(ReceiveError::Malformed { index: 1, line: 2, .. })));
        assert_eq!(found[2].as_ref().unwrap().trace_id, "c");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn depth_is_limited_and_costs_no_stack() {
        for open in ["[", "{\"a\":", "{\"TraceID\":\"t\",\"X\":["] {
            let found = read_all(&open.repeat(500_000));
            assert_eq!(found.len(), 1, "{open}");
        }
        let deep = format!(r#"{{"TraceID":"t","X":{}{}}}"#, "[".repeat(121), "]".repeat(121));
        let error = read_all(&deep).remove(0);
        assert!(error.ends_with("X: nested deeper than 120 levels"), "{error}");
        // The deepest that is taken is read by serde_json with its own limit, too.
        let attributes = format!("{{\"x\":{}{}}}", "[".repeat(120), "]".repeat(120));
        let root = format!(r#"{{"SpanID":"r","Events":[{{"Attributes":{attributes}}}]}}"#);
        let body = format!(r#"[{{"TraceID":"t","RootSpan":{root}}}]"#);
        let trace = traces(body.as_bytes()).next().unwrap().unwrap();
        let record = crate::exporter::bifrost::encode(&trace);
        assert!(serde_json::from_slice::<serde_json::Value>(&record.value).is_ok());
    }

    #[test]
    fn hostile_lines_are_read_a_bounded_number_of_times() {
        for line in ["{\"a\":[\n", "[{\"a\":[\n", "{\n", "\n{\"a\":\"", "7\n", "{}"] {
            let body = line.repeat(100_000);
            assert!(traces(body.as_bytes()).count() <= 100_000, "{line}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_neither_panic_nor_hang(body in any::<Vec<u8>>()) {
            prop_assert!(traces(&body).count() <= body.len() + 1);
        }

        #[test]
        fn arbitrary_json_punctuation_neither_panics_nor_hangs(
            body in "([\\[\\]{},:\n ]|\"TraceID\"|\"Spans\"|\"Events\"|\"a\"|1|null){0,40}",
        ) {
            prop_assert!(traces(body.as_bytes()).count() <= body.len() + 1);
        }

        #[test]
        fn broken_lines_never_hide_good_ones(
            junk in prop::collection::vec("[a-z{}\\[\\]:,\"0-9]{0,12}", 0..6),
        ) {
            // A line that opens an array takes the rest with it, as documented.
            prop_assume!(junk.iter().all(|line| !line.contains('[')));
            let mut body = String::new();
            for line in &junk {
                body.push_str(line);
                body.push_str("\n{\"TraceID\":\"good\"}\n");
            }
            let good = traces(body.as_bytes())
                .filter(|trace| trace.as_ref().is_ok_and(|trace| trace.trace_id == "good"));
            prop_assert_eq!(good.count(), junk.len());
        }
    }
}
