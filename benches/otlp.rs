//! What it costs to cut an OTLP request into records, as ratios.
//!
//! One request of 1,000 spans of about 1 KB (16 attributes, an event, a link), from 4 resources, of
//! 100 traces whose spans come interleaved. Time is told in decodings: a decoding is what others do
//! for the same records, `prost` structs from bytes, grouped by trace id, encoded again. Memory is
//! told in allocations per request. All rows take turns in one run, and medians of rounds count.
//!
//! The numbers expected, and why:
//!
//! * **decode, group, encode**: 1, and some 45 allocations a span, for each string and list of it.
//! * **cut by trace id**: below 0.1. It passes over each span's fields once for the id, and copies
//!   each span once; the rest is per trace. Some 40 allocations: lists that grow by doubling, and
//!   one megabyte of output at a time.
//! * **cut by resource, by size**: below by trace id, since spans are not looked into and neighbours
//!   are copied together.
//! * **forward**: below 0.01, with no allocation: a hop from span to span.
//! * **validate**: below 0.2, with no allocation: every field is read, and every string checked.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "spans/mod.rs"]
mod spans;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Traces;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use ottla::exporter::otlp::cut::{By, Limits, Otherwise, Plan, Protobuf, cut};
use ottla::exporter::otlp::{Signal, validate};
use prost::Message;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SPANS: usize = 1_000;

/// Odd, so that one of them is the median.
const ROUNDS: usize = 21;

/// A turn goes on for this long at least, so that the clock and an interrupt cost little of it.
const TURN_MIN: Duration = Duration::from_millis(5);

const NO_LIMITS: Limits = Limits {
    size_max: usize::MAX,
    written_max: usize::MAX,
    truncate: false,
    otherwise: Otherwise::Drop,
};

/// A name, and what is done to the request; the records it gives.
type Row<'a> = (&'a str, Box<dyn Fn() -> usize + 'a>);

fn main() {
    let request = spans::request(0, SPANS);
    let by = |by, size_max| {
        let limits = Limits { size_max, ..NO_LIMITS };
        let plan = Plan { signal: Signal::Traces, by, topic_attribute: None, limits };
        let request = &request;
        Box::new(move || {
            let cut = cut(request, &plan, &mut Protobuf).expect("the request is well-formed");
            cut.pieces().map(black_box).count()
        })
    };
    let rows: [Row<'_>; 6] = [
        ("decode, group, encode", Box::new(|| decode_group_encode(&request))),
        ("cut by trace id", by(By::TraceId, usize::MAX)),
        ("cut by resource", by(By::Resource, usize::MAX)),
        ("cut by size, 100 KB", by(By::Request, 100_000)),
        ("forward", by(By::Request, usize::MAX)),
        ("validate", Box::new(|| validate(Signal::Traces, &request).map_or(0, |_| 1))),
    ];
    println!("{SPANS} spans, {} bytes", request.len());
    println!("{:24}{:>10}{:>12}{:>14}", "", "records", "decodings", "allocations");
    measure(&rows);
}

fn measure(rows: &[Row<'_>]) {
    let mut times = vec![Vec::new(); rows.len()];
    let mut seen = vec![(0, 0); rows.len()];
    for _ in 0..=ROUNDS {
        let mut decoding = None;
        for ((times, seen), (_, row)) in times.iter_mut().zip(&mut seen).zip(rows) {
            let region = Region::new(ALLOCATOR);
            let records = row();
            let change = region.change();
            *seen = (records, change.allocations + change.reallocations);
            let time = turn(row);
            times.push(time / *decoding.get_or_insert(time));
        }
    }
    for (((name, _), times), (records, allocations)) in rows.iter().zip(&mut times).zip(seen) {
        // The first round warmed up.
        let times = &mut times[1..];
        times.sort_by(f64::total_cmp);
        println!("{name:24}{records:>10}{:>12.4}{allocations:>14}", times[times.len() / 2]);
    }
}

/// Seconds for one request.
fn turn(row: &dyn Fn() -> usize) -> f64 {
    let started = Instant::now();
    let mut requests = 0_u32;
    while requests == 0 || started.elapsed() < TURN_MIN {
        black_box(row());
        requests += 1;
    }
    started.elapsed().as_secs_f64() / f64::from(requests)
}

/// The same records by way of structs: containers are cloned for each trace, spans are moved.
fn decode_group_encode(request: &Bytes) -> usize {
    let traces = Traces::decode(request.clone()).expect("the request is well-formed");
    let mut places = HashMap::new();
    let mut records: Vec<Traces> = Vec::new();
    for mut resource in traces.resource_spans {
        for mut scope in std::mem::take(&mut resource.scope_spans) {
            let mut parts: HashMap<usize, Vec<Span>> = HashMap::new();
            for span in std::mem::take(&mut scope.spans) {
                let place = *places.entry(span.trace_id.clone()).or_insert_with(|| {
                    records.push(Traces::default());
                    records.len() - 1
                });
                parts.entry(place).or_default().push(span);
            }
            for (place, spans) in parts {
                let scope_spans = vec![ScopeSpans { spans, ..scope.clone() }];
                records[place]
                    .resource_spans
                    .push(ResourceSpans { scope_spans, ..resource.clone() });
            }
        }
    }
    records.iter().for_each(|record| drop(black_box(record.encode_to_vec())));
    records.len()
}
