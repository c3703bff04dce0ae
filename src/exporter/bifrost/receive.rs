//! Traces out of a request body or of standard input.
//!
//! Decides how a body is cut into traces: one JSON object, an array of them, or NDJSON, which are
//! objects or arrays one a line. Whole bodies may also follow each other without newlines. How many
//! bytes a body may have is the service's to limit, and what to do about a refused trace the
//! caller's.
//!
//! A trace that is valid JSON but no valid trace is refused alone. Broken JSON ends an array and
//! everything after it, because nothing says where the next trace starts; outside arrays reading
//! goes on at the next line that starts with `{` or `[`. Either way the traces before are good.
//! Every byte is read a bounded number of times.

use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::json::reason;
use super::model::Trace;

/// The traces of `body`, each a trace or the reason why it is none. A body without any is empty.
pub fn traces(body: &[u8]) -> Traces<'_> {
    let line = Line { number: 1, start: 0, end: line_end(body, 0) };
    Traces { body, offset: 0, line, index: 0, place: Place::Between, line_by_line: false }
}

/// A trace that was refused. Index from 0; line and column from 1, in the whole body, the column in
/// bytes. The reason names the field and does not repeat message content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Not JSON. What followed on that line, or in that array, was not read.
    #[error("trace {index} is not valid JSON at line {line} column {column}: {reason}")]
    Malformed {
        /// Which trace of the body.
        index: usize,
        /// The line of the body where the JSON breaks.
        line: usize,
        /// The column of that line.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// JSON, but no trace. The traces after it can be read.
    #[error("trace {index} is refused at line {line} column {column}: {reason}")]
    Invalid {
        /// Which trace of the body.
        index: usize,
        /// The line of the body where the offending value ends.
        line: usize,
        /// The column of that line.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

/// An iterator over the traces of a body. See [`traces`].
#[derive(Debug, Clone)]
pub struct Traces<'a> {
    body: &'a [u8],
    offset: usize,
    line: Line,
    index: usize,
    place: Place,
    /// Broken JSON was met: values no longer span lines.
    line_by_line: bool,
}

/// The line that the offset is in. Kept, so that neither a body without newlines nor one full of
/// errors is searched for them again and again.
#[derive(Debug, Clone, Copy)]
struct Line {
    number: usize,
    start: usize,
    /// Of its newline, or of the body's end.
    end: usize,
}

/// What may come next in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A trace, an array or the end.
    Between,
    /// A trace or the end of the array, after `[`.
    ArrayStart,
    /// A trace, after a comma.
    ArrayElement,
    /// A comma or the end of the array.
    ArrayComma,
    /// Nothing.
    Done,
}

/// What the bytes at the offset turned out to be. Ends are relative to it.
enum Found<'a> {
    Trace { trace: Box<Trace<'a>>, end: usize },
    Invalid { error: serde_json::Error, end: usize },
    Malformed { error: serde_json::Error },
}

impl<'a> Iterator for Traces<'a> {
    type Item = Result<Trace<'a>, ReceiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.skip_spaces();
            let byte = self.body.get(self.offset).copied();
            let place = match (self.place, byte) {
                (Place::Done, _) | (Place::Between, None) => return None,
                (Place::Between, Some(b'[')) => Place::ArrayStart,
                (Place::Between, Some(_)) => return Some(self.take_between()),
                (Place::ArrayStart | Place::ArrayComma, Some(b']')) => Place::Between,
                (Place::ArrayComma, Some(b',')) => Place::ArrayElement,
                (Place::ArrayStart | Place::ArrayElement, Some(_)) => {
                    return Some(self.take_element());
                }
                (Place::ArrayComma, Some(_)) => return Some(self.end("expected `,` or `]`")),
                (_, None) => return Some(self.end("the array has no end")),
            };
            self.place = place;
            self.offset += 1;
        }
    }
}

impl<'a> Traces<'a> {
    fn skip_spaces(&mut self) {
        let rest = &self.body[self.offset..];
        self.offset +=
            rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        while self.line.end < self.offset {
            let start = self.line.end + 1;
            self.line =
                Line { number: self.line.number + 1, start, end: line_end(self.body, start) };
        }
    }

    fn take_element(&mut self) -> Result<Trace<'a>, ReceiveError> {
        let found = read(&self.body[self.offset..]);
        self.place = match found {
            Found::Malformed { .. } => Place::Done,
            _ => Place::ArrayComma,
        };
        self.settle(found)
    }

    fn take_between(&mut self) -> Result<Trace<'a>, ReceiveError> {
        let rest = &self.body[self.offset..];
        let mut found = read(&self.body[self.offset..self.line.end]);
        if let Found::Malformed { error } = &found
            && error.is_eof()
            && !self.line_by_line
        {
            found = read(rest);
        }
        let malformed = matches!(found, Found::Malformed { .. });
        let trace = self.settle(found);
        if malformed {
            self.line_by_line = true;
            self.offset = next_start(self.body, self.line.end);
        }
        trace
    }

    fn settle(&mut self, found: Found<'a>) -> Result<Trace<'a>, ReceiveError> {
        let index = self.index;
        self.index += 1;
        match found {
            Found::Trace { trace, end } => {
                self.offset += end;
                Ok(*trace)
            }
            Found::Invalid { error, end } => {
                let (line, column, reason) = self.locate(&error);
                self.offset += end;
                Err(ReceiveError::Invalid { index, line, column, reason })
            }
            Found::Malformed { error } => {
                let (line, column, reason) = self.locate(&error);
                Err(ReceiveError::Malformed { index, line, column, reason })
            }
        }
    }

    /// Where in the body an error is that was found in what starts at the offset, and its reason.
    fn locate(&self, error: &serde_json::Error) -> (usize, usize, String) {
        let reason = reason(error);
        match error.line() {
            0 | 1 => (self.line.number, self.offset - self.line.start + error.column(), reason),
            below => (self.line.number + below - 1, error.column(), reason),
        }
    }

    fn end(&mut self, reason: &str) -> Result<Trace<'a>, ReceiveError> {
        self.place = Place::Done;
        Err(ReceiveError::Malformed {
            index: self.index,
            line: self.line.number,
            column: self.offset - self.line.start + 1,
            reason: reason.to_owned(),
        })
    }
}

/// Reads the trace that `json` starts with. A refused one is read again, only to find its end.
fn read(json: &[u8]) -> Found<'_> {
    let mut stream = Deserializer::from_slice(json).into_iter::<Trace<'_>>();
    let error = match stream.next() {
        Some(Ok(trace)) => {
            return Found::Trace { trace: Box::new(trace), end: stream.byte_offset() };
        }
        Some(Err(error)) => error,
        None => serde::de::Error::custom("expected a trace object"),
    };
    let mut stream = Deserializer::from_slice(json).into_iter::<&RawValue>();
    match stream.next() {
        Some(Err(error)) => Found::Malformed { error },
        _ => Found::Invalid { error, end: stream.byte_offset() },
    }
}

/// The offset, from that of a newline on, of the next line that can start a trace.
fn next_start(body: &[u8], newline: usize) -> usize {
    let starts = |pair: &[u8]| matches!(pair, b"\n{" | b"\n[");
    body[newline..].windows(2).position(starts).map_or(body.len(), |at| newline + at + 1)
}

/// The offset of the newline at or after `start`, or of the end.
fn line_end(body: &[u8], start: usize) -> usize {
    body[start..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |at| start + at)
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
