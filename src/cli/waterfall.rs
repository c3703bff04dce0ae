//! A trace as a waterfall of spans: who called whom, when, and for how long.
//!
//! ```text
//! trace 0e8b9293a69d4652804d2ab61121c1f2   1.12 s   6 spans
//! /v1/chat/completions            1.12 s  |################################|
//! +- plugin.telemetry.prehook       8 us  |#                               |
//! `- chat gpt-4o-mini             1.10 s  | ###############################|  17 tokens
//! ```

use super::plural;
use super::terminal::{Style, harmless};
use crate::exporter::bifrost::{Span, Trace, traces};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::str::FromStr;

/// Columns of the bars, and of the names at most.
const BAR_WIDTH: usize = 36;
const NAME_WIDTH_MAX: usize = 44;

/// Spans shown of one trace.
const SPANS_MAX: usize = 200;

/// Attributes worth a place beside the bar, and what to call them.
const NOTES: [(&str, &str); 3] = [
    ("http.status_code", "status"),
    ("gen_ai.usage.total_tokens", "tokens"),
    ("gen_ai.usage.cost", "cost"),
];

/// Renders a record's value; `None` if that is no trace.
pub(super) fn render(value: &[u8], style: Style) -> Option<String> {
    let trace = traces(value).next()?.ok()?;
    let rows = rows(&trace);
    if rows.is_empty() {
        return None;
    }
    let times = || rows.iter().filter_map(|row| row.interval);
    let start = times().map(|interval| interval.start).min().unwrap_or(0);
    let end = times().map(|interval| interval.end).max().unwrap_or(start);
    let frame = Interval { start, end };
    let name_width = rows.iter().map(|row| width(&row.name)).max().unwrap_or(0);
    let name_width = name_width.min(NAME_WIDTH_MAX);

    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "trace {}   ", style.bold(&harmless(&trace.trace_id)));
    if times().next().is_some() {
        let _ = write!(text, "{}   ", human(frame.nanos()));
    }
    let _ = writeln!(text, "{}", plural(rows.len() as u64, "span"));
    for row in rows.iter().take(SPANS_MAX) {
        let duration = row.interval.map_or_else(String::new, |interval| human(interval.nanos()));
        let bar = row.interval.map_or_else(|| " ".repeat(BAR_WIDTH), |i| i.bar(frame));
        let bar = match row.status {
            "error" => style.red(&bar),
            _ if row.is_llm => style.cyan(&bar),
            _ => bar,
        };
        let name = fit(&row.name, name_width);
        let _ = write!(text, "{name}  {duration:>8}  \u{2502}{bar}\u{2502}");
        if !row.note.is_empty() {
            let _ = write!(text, " {}", style.dim(&row.note));
        }
        text.push('\n');
    }
    if rows.len() > SPANS_MAX {
        let _ = writeln!(text, "... and {}", plural((rows.len() - SPANS_MAX) as u64, "more span"));
    }
    Some(text)
}

struct Row<'a> {
    /// With the branches that lead to it.
    name: String,
    interval: Option<Interval>,
    status: &'a str,
    is_llm: bool,
    note: String,
}

/// Nanoseconds since the epoch.
#[derive(Clone, Copy)]
struct Interval {
    start: i128,
    end: i128,
}

impl Interval {
    const fn nanos(self) -> i128 {
        self.end - self.start
    }

    /// This interval as a part of `frame`, in whole columns and at least one.
    fn bar(self, frame: Self) -> String {
        let whole = frame.nanos().max(1);
        let columns = i128::try_from(BAR_WIDTH).unwrap_or(1);
        let column = |at: i128| usize::try_from((at - frame.start) * columns / whole).unwrap_or(0);
        let from = column(self.start).min(BAR_WIDTH - 1);
        let to = column(self.end).clamp(from + 1, BAR_WIDTH);
        format!(
            "{}{}{}",
            " ".repeat(from),
            "\u{2588}".repeat(to - from),
            " ".repeat(BAR_WIDTH - to)
        )
    }
}

/// The spans as a tree, parents before their children. A span whose parent is missing is a root,
/// and so is one of a ring.
fn rows<'a>(trace: &'a Trace<'_>) -> Vec<Row<'a>> {
    let root = trace.root_span.as_ref();
    let others = trace.spans.iter().filter(|span| root.is_none_or(|r| r.span_id != span.span_id));
    let spans: Vec<&Span<'_>> = root.into_iter().chain(others).collect();
    let known: HashSet<&str> = spans.iter().map(|span| span.span_id.as_ref()).collect();
    let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let parent = span.parent_id.as_ref();
        if known.contains(parent) && parent != span.span_id {
            children.entry(parent).or_default().push(index);
        } else {
            roots.push(index);
        }
    }
    let mut seen = vec![false; spans.len()];
    let mut rows = Vec::with_capacity(spans.len());
    // Those of a ring are reached from no root: they follow as roots of their own.
    for start in roots.into_iter().chain(0..spans.len()) {
        let mut stack = vec![(start, String::new(), String::new())];
        while let Some((index, lead, indent)) = stack.pop() {
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            rows.push(row(spans[index], &lead));
            let below = children.get(spans[index].span_id.as_ref()).map_or(&[][..], Vec::as_slice);
            for (place, child) in below.iter().enumerate().rev() {
                let last = place + 1 == below.len();
                let (branch, gap) = if last {
                    ("\u{2514}\u{2500} ", "   ")
                } else {
                    ("\u{251c}\u{2500} ", "\u{2502}  ")
                };
                stack.push((*child, format!("{indent}{branch}"), format!("{indent}{gap}")));
            }
        }
    }
    rows
}

fn row<'a>(span: &'a Span<'_>, lead: &str) -> Row<'a> {
    let nanos = |time: &str| jiff::Timestamp::from_str(time).ok().map(|t| t.as_nanosecond());
    let unset = |at: &i128| *at > -62_135_596_800_000_000_000;
    let start = nanos(span.start_time.as_str()).filter(unset);
    let end = nanos(span.end_time.as_str()).filter(unset);
    let interval = start.zip(end).filter(|(start, end)| start <= end);
    let attribute = |name: &str| span.attributes.as_ref().and_then(|all| all.get(name));
    let notes = NOTES.iter().filter_map(|(name, label)| {
        attribute(name).map(|value| format!("{label} {}", harmless(value.as_json())))
    });
    let failed = (span.status == "error").then(|| match span.status_message.as_ref() {
        "" => "error".to_owned(),
        message => format!("error: {}", harmless(message)),
    });
    Row {
        name: format!("{lead}{}", harmless(&span.name)),
        interval: interval.map(|(start, end)| Interval { start, end }),
        status: span.status.as_ref(),
        is_llm: span.kind == "llm.call",
        note: notes.chain(failed).collect::<Vec<_>>().join("  "),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// `text` in exactly so many columns.
fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return format!("{text:<columns$}");
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}\u{2026}")
}

/// Three figures and a unit.
fn human(nanos: i128) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three figures are shown")]
    let value = nanos as f64;
    let (value, unit) = match nanos {
        ..1_000 => (value, "ns"),
        1_000..1_000_000 => (value / 1e3, "us"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let decimals = if unit == "ns" || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hang_below_their_parents_and_bars_lie_within_the_trace() {
        let value = br#"{"TraceID":"t1","RootSpan":{"SpanID":"r","Name":"/v1/chat",
            "StartTime":"2026-01-01T00:00:00Z","EndTime":"2026-01-01T00:00:01Z"},
            "Spans":[{"SpanID":"b","ParentID":"a","Name":"inner","Kind":"llm.call",
            "StartTime":"2026-01-01T00:00:00.5Z","EndTime":"2026-01-01T00:00:01Z",
            "Attributes":{"gen_ai.usage.total_tokens":17}},
            {"SpanID":"a","ParentID":"r","Name":"outer","Status":"error","StatusMsg":"no",
            "StartTime":"2026-01-01T00:00:00Z","EndTime":"2026-01-01T00:00:00.25Z"}]}"#;
        let shown = render(value, Style::PLAIN).unwrap();
        let full = "\u{2588}".repeat(36);
        let half = format!("{}{}", " ".repeat(18), "\u{2588}".repeat(18));
        let quarter = format!("{}{}", "\u{2588}".repeat(9), " ".repeat(27));
        let expected = [
            "trace t1   1.00 s   3 spans".to_owned(),
            format!("/v1/chat       1.00 s  \u{2502}{full}\u{2502}"),
            format!("\u{2514}\u{2500} outer       250 ms  \u{2502}{quarter}\u{2502} error: no"),
            format!("   \u{2514}\u{2500} inner    500 ms  \u{2502}{half}\u{2502} tokens 17"),
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn rings_orphans_and_missing_times_are_shown_too() {
        let value = br#"{"TraceID":"t","Spans":[{"SpanID":"a","ParentID":"b","Name":"a"},
            {"SpanID":"b","ParentID":"a","Name":"b"},{"SpanID":"c","ParentID":"x","Name":"c"}]}"#;
        let shown = render(value, Style::PLAIN).unwrap();
        assert_eq!(shown.lines().count(), 4, "{shown}");
        assert!(render(b"no trace", Style::PLAIN).is_none());
    }

    #[test]
    fn durations_have_three_figures() {
        for (nanos, shown) in
            [(7, "7 ns"), (8_000, "8.00 us"), (12_340_000, "12.3 ms"), (1_119_000_000, "1.12 s")]
        {
            assert_eq!(human(nanos), shown);
        }
    }
}
