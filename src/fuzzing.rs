//! What holds for any bytes whatever: properties, one function each.
//!
//! A fuzzer runs them (`fuzz/`), and so does a test, over the inputs that the fuzzer found worth
//! keeping (`fuzz/corpus/`, one folder per property, by its name). A property that does not hold
//! panics. What a decoder may cost is part of it: so many bytes of memory for each byte that came.

mod memory;
pub use memory::count_memory_with;

mod members;

use crate::exporter::bifrost::{
    BifrostConfig, ContentLogging, Filter, FilterMode, KafkaEntry, PluginSpanFilter,
};
use crate::exporter::bifrost::{encode, traces};
use crate::exporter::otlp::cut::{self, By, Limits, Otherwise, Outcome, Plan};
use crate::exporter::otlp::{Signal, json, validate};
use crate::exporter::tensorzero::{self, DataType, KeyField, rows};
use crate::producer::{Properties, hostile};
use crate::protocol::compression::{Compressor, decompress};
use crate::protocol::frame::{FrameDecoder, PREFIX_SIZE};
use crate::protocol::messages::{ApiKey, fetch, list_offsets, metadata, produce};
use crate::protocol::messages::{api_versions, create_topics, init_producer_id};
use crate::protocol::messages::{response_body, sasl_authenticate, sasl_handshake};
use crate::protocol::record::{ConsumedRecord, Content, Header};
use crate::protocol::record_batch::{
    Appended, BatchBuilder, BatchLimits, BatchReader, ProducerStamp,
};
use crate::protocol::{Codec, DecodeError};
use crate::sasl::{Credentials, Exchange, SaslMechanism, Secret, Step};
use bytes::Bytes;
use kafka_protocol::messages::ProduceResponse as TheirProduceResponse;
use kafka_protocol::protocol::Decodable;
use members::{assert_same, is_member};
use memory::frugal;

/// Something that holds for any bytes, or panics.
pub type Property = fn(&[u8]);

/// Every property, by the name of its folder.
pub const PROPERTIES: [(&str, Property); 12] = [
    ("frames", frames),
    ("responses", responses),
    ("peer", peer),
    ("record_batch", record_batch),
    ("round_trip", round_trip),
    ("decompress", inflate),
    ("scram", scram),
    ("bifrost_traces", bifrost_traces),
    ("bifrost_config", bifrost_config),
    ("tensorzero_rows", tensorzero_rows),
    ("otlp", otlp),
    ("properties", properties),
];

/// What a batch or a body may inflate to here.
const INFLATED_MAX: usize = 1 << 20;

/// What a codec may need beside its output: windows, blocks, tables.
const CODEC_MEMORY: usize = 24 << 20;

/// A text that nothing may repeat.
const CANARY: &str = "correct-horse-battery-staple";

/// However a stream is cut into reads, the same frames come out, and the same error.
pub fn frames(data: &[u8]) {
    const SIZE_MAX: usize = 4096;
    let Some((step, stream)) = data.split_first() else { return };
    let cut = |step: usize| {
        let mut decoder = FrameDecoder::new(SIZE_MAX);
        let mut frames = Vec::new();
        for chunk in stream.chunks(step.max(1)) {
            decoder.feed(chunk);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
            assert!(decoder.buffer_mut().len() < SIZE_MAX + PREFIX_SIZE);
        }
        (frames, None)
    };
    let whole = frugal("a stream", 64 * stream.len() + (4 << 10), || cut(stream.len()));
    assert_eq!(cut(usize::from(*step)), whole);
    let taken: usize = whole.0.iter().map(|frame| frame.len() + 4).sum();
    assert!(taken <= stream.len(), "more came out than went in");
}

/// An answer of any API in any version is read or refused, and holds no more things than bytes.
pub fn responses(data: &[u8]) {
    let [api, version, frame @ ..] = data else { return };
    let api = ApiKey::ALL[usize::from(*api) % ApiKey::ALL.len()];
    let spoken: Vec<_> = api.versions().collect();
    let version = spoken[usize::from(*version) % spoken.len()];
    let frame = Bytes::copy_from_slice(frame);
    let Ok(body) = response_body(api, version, &frame) else { return };
    let cost_max = 128 * body.len() + (4 << 10);
    if let Ok(things) = frugal("an answer", cost_max, || count_things(api, version, &body)) {
        assert!(things <= body.len(), "{things} things in {} bytes", body.len());
        if api == ApiKey::Produce {
            assert_read_alike(version, &body);
        }
    }
}

/// Another decoder that understands the answer too finds the same results in it.
fn assert_read_alike(version: i16, body: &Bytes) {
    let Ok(ours) = produce::ProduceResponse::decode(version, body) else { return };
    let Ok(theirs) = TheirProduceResponse::decode(&mut body.clone(), version) else { return };
    let ours = ours.partitions.iter().map(|told| (told.partition, told.error.0, told.base_offset));
    let theirs = theirs.responses.iter().flat_map(|topic| &topic.partition_responses);
    assert!(ours.eq(theirs.map(|told| (told.index, told.error_code, told.base_offset))));
}

/// Whatever brokers answer, every record ends, and at a price.
pub fn peer(data: &[u8]) {
    frugal("a conversation", 256 * data.len() + (16 << 20), || hostile::converse(data));
}

/// The elements of all lists of an answer.
fn count_things(api: ApiKey, version: i16, body: &Bytes) -> Result<usize, DecodeError> {
    Ok(match api {
        ApiKey::Produce => {
            let answer = produce::ProduceResponse::decode(version, body)?;
            answer.partitions.len() + answer.node_endpoints.len()
        }
        ApiKey::Fetch => fetch::FetchResponse::decode(version, body)?.partitions.len(),
        ApiKey::ListOffsets => {
            list_offsets::ListOffsetsResponse::decode(version, body)?.partitions.len()
        }
        ApiKey::Metadata => {
            let answer = metadata::MetadataResponse::decode(version, body)?;
            let partitions: usize = answer.topics.iter().map(|topic| topic.partitions.len()).sum();
            answer.brokers.len() + answer.topics.len() + partitions
        }
        ApiKey::SaslHandshake => {
            sasl_handshake::SaslHandshakeResponse::decode(version, body)?.mechanisms.len()
        }
        ApiKey::ApiVersions => {
            api_versions::ApiVersionsResponse::decode(version, body)?.ranges.len()
        }
        ApiKey::CreateTopics => {
            create_topics::CreateTopicsResponse::decode(version, body)?.topics.len()
        }
        ApiKey::InitProducerId => {
            init_producer_id::InitProducerIdResponse::decode(version, body).map(|_| 0)?
        }
        ApiKey::SaslAuthenticate => {
            sasl_authenticate::SaslAuthenticateResponse::decode(version, body)?.answer.len()
        }
    })
}

/// What can be read of a batch can be written again, in its codec, and reads the same.
pub fn record_batch(data: &[u8]) {
    let mut bytes = data.to_vec();
    // No mutation would ever find the right checksum.
    if let Some(checked) = bytes.get(21..) {
        let crc = crc32c::crc32c(checked);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let mut reader = BatchReader::new(bytes.into(), INFLATED_MAX);
    let cost_max = 24 * (INFLATED_MAX + data.len()) + CODEC_MEMORY;
    while let Ok(Some(batch)) = frugal("a batch", cost_max, || reader.next_batch()) {
        if !batch.is_control {
            assert_writes_again(batch.codec, &batch.records);
        }
    }
}

fn assert_writes_again(codec: Codec, records: &[ConsumedRecord]) {
    let limits = BatchLimits { bytes_max: usize::MAX, records_max: u32::MAX };
    let mut builder = BatchBuilder::new(limits);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| Header { key: name, value: value.as_deref() })
            .collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let content = Content { key, value, headers: &headers };
        if !matches!(builder.try_append(record.timestamp, &content), Appended::Index(_)) {
            return;
        }
    }
    if records.is_empty() {
        return;
    }
    let sealed = builder.seal(&mut Compressor::new(codec.into()));
    let mut reader = BatchReader::new(sealed.to_bytes(ProducerStamp::NONE), usize::MAX >> 1);
    let Ok(Some(again)) = reader.next_batch() else { unreachable!("what was written is read") };
    let content = |record: &ConsumedRecord| {
        (record.timestamp, record.key.clone(), record.value.clone(), record.headers.clone())
    };
    assert!(again.records.iter().map(content).eq(records.iter().map(content)));
}

/// Any records make a batch that is read back, whatever the codec.
pub fn round_trip(data: &[u8]) {
    let Some((codec, mut rest)) = data.split_first() else { return };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    let mut records = Vec::new();
    while let [shape, timestamp, size, tail @ ..] = rest {
        let (value, tail) = tail.split_at(usize::from(*size).min(tail.len()));
        let value = Bytes::copy_from_slice(value);
        let header = ("name".to_owned(), (shape & 8 == 0).then(|| value.clone()));
        records.push(ConsumedRecord {
            offset: 0,
            timestamp: i64::from(*timestamp) << (shape >> 3),
            key: (shape & 1 == 0).then(|| value.slice(value.len() / 2..)),
            value: (shape & 2 == 0).then_some(value),
            headers: if shape & 4 == 0 { Vec::new() } else { vec![header] },
        });
        rest = tail;
    }
    assert_writes_again(codec, &records);
}

/// Nothing inflates beyond the bound, and what is compressed inflates to what it was.
pub fn inflate(data: &[u8]) {
    let Some((codec, bytes)) = data.split_first() else { return };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    let cost_max = 4 * INFLATED_MAX + CODEC_MEMORY;
    let inflate = || decompress(codec, bytes, INFLATED_MAX);
    if let Ok(inflated) = frugal("inflating", cost_max, inflate) {
        assert!(inflated.len() <= INFLATED_MAX);
    }
    if let Some(compressed) = Compressor::new(codec.into()).compress(bytes) {
        assert_eq!(decompress(codec, &compressed, bytes.len()).as_deref(), Ok(bytes));
    }
}

/// A broker that does not know the password proves nothing, whatever it says, and is told nothing
/// but a proof.
pub fn scram(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut said = text.split('\n');
    for mechanism in [SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let credentials = Credentials::new(Secret::new("user"), Secret::new(CANARY));
        let Ok(credentials) = credentials else { unreachable!("they are whole") };
        let mut exchange = Exchange::new(mechanism, credentials, "fyko".to_owned());
        let mut told = vec![exchange.start()];
        for challenge in said.by_ref().take(3) {
            match exchange.step(challenge.as_bytes()) {
                Ok(Step::Derive(derivation)) if derivation.iterations() <= 5000 => {
                    let Ok(message) = exchange.derived(&derivation.run()) else {
                        unreachable!("it was asked for")
                    };
                    told.push(message);
                }
                Ok(Step::Derive(_) | Step::Respond(_)) => break,
                Ok(Step::Finished) => unreachable!("nobody has proven anything"),
                Err(error) => {
                    assert!(!error.to_string().contains(char::is_control), "{error:?}");
                    break;
                }
            }
        }
        for message in told {
            assert!(!String::from_utf8_lossy(message.expose()).contains(CANARY));
        }
    }
}

/// What is a trace becomes JSON that is the same trace; what is none is refused.
pub fn bifrost_traces(data: &[u8]) {
    let mut config = BifrostConfig::new(["localhost:9092"], "t");
    let keep_all = Filter::new(&config);
    config.content_logging = ContentLogging::Strict;
    config.request_headers = vec!["x-*".to_owned()];
    let plugins = vec!["logging".to_owned()];
    config.plugin_span_filter = Some(PluginSpanFilter { mode: FilterMode::Exclude, plugins });
    let strict = Filter::new(&config);
    let cost_max = 400 * data.len() + (4 << 10);
    let read = || traces(data).flatten().collect::<Vec<_>>();
    for trace in frugal("traces", cost_max, read) {
        for filter in [&keep_all, &strict] {
            let mut trace = trace.clone();
            filter.apply(&mut trace);
            let record = encode(&trace);
            assert_eq!(record.key, trace.trace_id.as_bytes());
            let again: Vec<_> = traces(record.value.as_ref()).collect();
            let [Ok(again)] = &again[..] else { unreachable!("it was one trace: {again:?}") };
            assert_eq!(encode(again).value, record.value);
        }
    }
}

/// A configuration file is read or refused in one line that repeats no secret.
pub fn bifrost_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A fuzzer finds the canary by watching comparisons; in the open it is no secret.
    if text.contains(CANARY) {
        return;
    }
    let lookup = |name: &str| (!name.len().is_multiple_of(3)).then(|| CANARY.to_owned());
    let read = || KafkaEntry::from_json(&text, &lookup);
    match frugal("a file", 64 * data.len() + (64 << 10), read) {
        Ok(entry) => assert!(!format!("{entry:?}").contains(CANARY)),
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains(CANARY) && !said.contains('\n') && said.len() < 4096, "{said}");
        }
    }
}

/// What is a row of one kind becomes a record on one line with each of its members, keyed by one of
/// its ids, and reads the same; what is none is refused.
pub fn tensorzero_rows(data: &[u8]) {
    let cost_max = 200 * data.len() + (4 << 10);
    for kind in DataType::ALL {
        let read = || rows(kind, data).flatten().collect::<Vec<_>>();
        for row in frugal("rows", cost_max, read) {
            for by in [KeyField::Id, KeyField::InferenceId, KeyField::EpisodeId] {
                let record = tensorzero::encode(&row, by);
                assert!(!record.value.contains(['\n', '\r']), "{}", record.value);
                assert_same(row.as_json(), &record.value);
                let ids = ["id", "inference_id", "episode_id", "target_id"];
                let is_id = |key: &str| ids.iter().any(|id| is_member(&record.value, id, key));
                assert!(record.key.is_none_or(|key| !key.is_empty() && is_id(key)), "{record:?}");
                let again: Vec<_> = rows(kind, record.value.as_bytes()).collect();
                let [Ok(again)] = &again[..] else { unreachable!("it was one row: {again:?}") };
                assert_eq!(tensorzero::encode(again, by), record);
            }
        }
    }
}

/// A request of OpenTelemetry is refused, or all of its accepted items are in what it is cut into, each
/// piece a request and none too large; and it is the same request when it has been JSON.
pub fn otlp(data: &[u8]) {
    let [choice, size, request @ ..] = data else { return };
    let signal = Signal::ALL[usize::from(*choice) % 3];
    let read = match choice & 0x80 {
        0 => validate(signal, request).map(|valid| valid.accepted().into_owned()),
        _ => json::to_protobuf(signal, request).map(|read| read.protobuf),
    };
    let Ok(request) = read else { return };
    let Ok(valid) = validate(signal, &request) else { unreachable!("what was accepted is valid") };
    assert_eq!(valid.refused(), None);
    let mut text = Vec::new();
    json::from_protobuf(&valid, &mut text);
    let Ok(again) = json::to_protobuf(signal, &text) else { unreachable!("what we write we read") };
    assert_eq!((again.items, again.refused), (valid.items(), None));
    let names = ["k".to_owned(), "service.name".to_owned()];
    let by = match choice / 3 % 4 {
        0 => By::Request,
        1 => By::Resource,
        2 => By::TraceId,
        _ => By::Attributes(&names),
    };
    let limits = Limits {
        size_max: 16 * (usize::from(*size) + 1),
        written_max: 1 << 20,
        truncate: choice & 0x40 != 0,
        otherwise: Otherwise::DeadLetter,
    };
    let plan = Plan { signal, by, topic_attribute: (size & 1 == 0).then_some("t"), limits };
    let items = valid.items();
    let Ok(cut) = cut::cut(&Bytes::from(request.clone()), &plan, &mut cut::Protobuf) else {
        return;
    };
    let mut found = 0;
    for (piece, size_max) in cut
        .pieces()
        .map(|piece| (piece, limits.size_max))
        .chain(cut.dead_letters().map(|piece| (piece, usize::MAX)))
    {
        let Ok(valid) = validate(signal, &piece.value) else { unreachable!("pieces are requests") };
        assert!(piece.value.len() <= size_max);
        assert_eq!(piece.items as usize, valid.items());
        found += valid.items();
    }
    assert!(cut.oversized().iter().all(|item| item.outcome != Outcome::Dropped));
    assert_eq!(found, items);
}

/// Properties are read or refused in one line that repeats no secret.
pub fn properties(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.contains(CANARY) {
        return;
    }
    let mut properties = Properties::new();
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let is_secret = ["sasl.password", "sasl.username", "ssl.key.password"].contains(&name);
        let value = if is_secret { CANARY } else { value };
        if let Err(error) = properties.set(name, value) {
            assert!(!error.to_string().contains(CANARY), "{error}");
        }
    }
    assert!(!format!("{properties:?}").contains(CANARY));
    match properties.into_config() {
        Ok((config, notes)) => {
            assert!(config.validate().is_ok());
            assert!(!format!("{config:?} {notes:?}").contains(CANARY));
        }
        Err(error) => assert!(!error.to_string().contains(CANARY), "{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
    use std::alloc::System;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    #[global_allocator]
    static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

    #[test]
    fn every_property_holds_for_every_input_that_is_kept() {
        assert_all_hold();
    }

    /// In a process of its own: other tests allocate, too.
    #[test]
    fn every_property_holds_for_every_input_that_is_kept_at_its_price() {
        let this = std::env::current_exe().unwrap();
        let name = "fuzzing::tests::with_memory_counted";
        let arguments = ["--exact", name, "--ignored", "--test-threads=1", "--nocapture"];
        let run = Command::new(this).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
        assert!(said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "counts the memory of a whole process: another test runs it"]
    fn with_memory_counted() {
        count_memory_with(|| INSTRUMENTED_SYSTEM.stats().bytes_allocated);
        assert_all_hold();
    }

    fn assert_all_hold() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        if !corpus.is_dir() {
            println!("skipped: the corpus is not part of this package");
            return;
        }
        for (name, property) in PROPERTIES {
            let mut count = 0;
            for entry in fs::read_dir(corpus.join(name)).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                property(&fs::read(&path).unwrap());
                count += 1;
            }
            assert!(count > 0, "no input is kept for {name}");
        }
    }
}
