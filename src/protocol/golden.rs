//! Golden bytes: what other clients write and Kafka answers, against our readers and writers.
//!
//! The round trips beside the code share their author's mistakes; these bytes do not. How they were
//! captured, and what each file holds, is told in `tests/golden/README.md`. A version that ottla
//! does not speak is passed over, but every version that it shares with a broker must be there.

mod responses;

use super::compression::{Codec, Compressor, decompress};
use super::messages::produce::{self, PartitionBatch, ProduceRequest, TopicBatches};
use super::messages::{ApiKey, RequestHeader};
use super::record::{ConsumedRecord, Content, Header};
use super::record_batch::{
    BatchBuilder, BatchLimits, BatchReader, ConsumedBatch, HEADER_SIZE, ProducerStamp,
};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, str};

const CORRELATION_ID: i32 = 0x0a0b_0c0d;

const APIS: [(&str, ApiKey); 7] = [
    ("api-versions", ApiKey::ApiVersions),
    ("create-topics", ApiKey::CreateTopics),
    ("fetch", ApiKey::Fetch),
    ("init-producer-id", ApiKey::InitProducerId),
    ("list-offsets", ApiKey::ListOffsets),
    ("metadata", ApiKey::Metadata),
    ("produce", ApiKey::Produce),
];

#[test]
fn every_clients_batches_are_read_as_the_records_that_it_was_given() {
    let Some(stems) = stems("batches") else { return };
    for stem in &stems {
        let mut name = stem.split('-');
        let (client, codec) = (name.next().unwrap(), name.next().unwrap());
        let batch = read_batch(file(&format!("batches/{stem}.bin")));
        assert_eq!(batch.records, records(0), "{stem}");
        assert_eq!((batch.base_offset, batch.last_offset), (0, 5), "{stem}");
        assert_eq!(batch.codec, codec.parse().unwrap(), "{stem}");
        assert!(!batch.is_control, "{stem}");
        let ProducerStamp { producer_id, epoch, base_sequence } = batch.stamp;
        if name.next() == Some("idempotent") {
            assert!(producer_id >= 0, "{stem}");
            assert_eq!((epoch, base_sequence), (0, 0), "{stem}");
        } else {
            // franz-go numbers its records whether or not anyone looks at the number.
            let unused = if client == "franz" { 0 } else { -1 };
            assert_eq!((producer_id, epoch, base_sequence), (-1, -1, unused), "{stem}");
        }
    }
    assert_eq!(stems.len(), 30);
    println!("{} batches of three clients read", stems.len());
}

/// All three clients agree on every byte in front of compression, and so must we. What the broker
/// writes into a batch is left out: the base offset, which is 0 here as we send it, and the leader
/// epoch.
#[test]
fn our_batches_are_the_bytes_of_every_client() {
    let Some(stems) = stems("batches") else { return };
    let mut identical = 0;
    for stem in &stems {
        let theirs = file(&format!("batches/{stem}.bin"));
        let ConsumedBatch { stamp, codec, .. } = read_batch(theirs.clone());
        let sealed = builder(&records(0)).seal(&mut Compressor::new(codec.into()));
        let mut header = sealed.header(stamp);
        header[12..16].copy_from_slice(&theirs[12..16]);
        // From the attributes on. In front of them stand the length and the CRC of compressed
        // bytes, and two encoders of one codec need not agree on those.
        assert_eq!(header[21..], theirs[21..HEADER_SIZE], "{stem}");
        let inflated = |body| decompress(codec, body, 1 << 20).unwrap();
        assert_eq!(inflated(&sealed.body().concat()), inflated(&theirs[HEADER_SIZE..]), "{stem}");
        if codec == Codec::None {
            assert_eq!([&header[..], &sealed.body().concat()].concat(), theirs, "{stem}");
            identical += 1;
        }
    }
    assert_eq!(identical, 6);
    println!("{identical} batches byte-identical, {} equal once inflated", stems.len() - identical);
}

#[test]
fn our_produce_requests_are_the_bytes_of_java() {
    let Some(stems) = stems("requests") else { return };
    let batch = file("batches/java-none.bin");
    let body = [batch.slice(HEADER_SIZE..)];
    let mut versions = BTreeSet::new();
    for stem in &stems {
        let theirs = file(&format!("requests/{stem}.bin"));
        let (api, version) = api_and_version(stem);
        let topic = TopicBatches {
            name: "golden",
            id: topic_id_of_request(&theirs),
            partitions: vec![PartitionBatch {
                partition: 0,
                header: *batch.first_chunk().unwrap(),
                body: &body,
            }],
        };
        let header = RequestHeader {
            api,
            version,
            correlation_id: CORRELATION_ID,
            client_id: "ottla-golden",
        };
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topics: &[topic] };
        let ours = request.encode(header).concat();
        let (length, ours) = ours.split_at(4);
        assert_eq!(length, u32::try_from(theirs.len()).unwrap().to_be_bytes());
        assert_eq!(ours, theirs, "{stem}");
        versions.insert(version);
    }
    assert_eq!(versions, produce::VERSIONS.collect());
    println!("Produce requests byte-identical in versions {versions:?}");
}

/// Where version 13 has it: behind the header, a null transactional id, acks, timeout and count.
fn topic_id_of_request(request: &[u8]) -> [u8; 16] {
    let header_size = 2 + 2 + 4 + 2 + "ottla-golden".len() + 1;
    request[header_size + 1 + 2 + 4 + 1..][..16].try_into().unwrap()
}

fn builder(records: &[ConsumedRecord]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(BatchLimits { bytes_max: 1 << 20, records_max: 100 });
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| Header { key, value: value.as_deref() })
            .collect();
        let content = Content {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        builder.try_append(record.timestamp, &content);
    }
    builder
}

fn read_batch(bytes: Bytes) -> ConsumedBatch {
    let mut reader = BatchReader::new(bytes, 1 << 20);
    let batch = reader.next_batch().unwrap().unwrap();
    assert_eq!(reader.next_batch(), Ok(None), "one batch");
    batch
}

/// The records of `records.json`, as they are read at this offset.
fn records(base_offset: i64) -> Vec<ConsumedRecord> {
    let hex = |value: &Value| {
        let digits = value.as_str()?.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        Some(Bytes::from_iter(digits.map(byte)))
    };
    let header = |header: &Value| (header[0].as_str().unwrap().to_owned(), hex(&header[1]));
    let record = |(offset, record): (i64, &Value)| ConsumedRecord {
        offset,
        timestamp: record["timestamp"].as_i64().unwrap(),
        key: hex(&record["key"]),
        value: hex(&record["value"]),
        headers: record["headers"].as_array().unwrap().iter().map(header).collect(),
    };
    let listed = json_file("records.json");
    (base_offset..).zip(listed.as_array().unwrap()).map(record).collect()
}

/// `produce-v10-invalid-record` is Produce in version 10.
fn api_and_version(stem: &str) -> (ApiKey, i16) {
    let rest_of = |(name, api): (&str, ApiKey)| {
        let rest = stem.strip_prefix(name)?.strip_prefix("-v")?;
        Some((api, rest))
    };
    let (api, rest) = APIS.into_iter().find_map(rest_of).unwrap();
    let version = rest.split('-').next().unwrap();
    (api, version.parse().unwrap())
}

/// The names of the `.bin` files in a folder; `None` where the packaged crate, which is published
/// without them, is tested.
fn stems(folder: &str) -> Option<Vec<String>> {
    if Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml.orig").exists() {
        println!("skipped: the packaged crate has no golden bytes");
        return None;
    }
    let mut stems: Vec<_> = fs::read_dir(path(folder))
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".bin")?.to_owned())
        })
        .collect();
    stems.sort();
    Some(stems)
}

fn json_file(name: &str) -> Value {
    serde_json::from_slice(&file(name)).unwrap()
}

fn file(name: &str) -> Bytes {
    fs::read(path(name)).unwrap().into()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}
