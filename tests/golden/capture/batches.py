"""Writes the records of records.json with librdkafka, one batch per topic.

    python3 batches.py BROKERS RECORDS_JSON

Topics are named librdkafka-CODEC and librdkafka-CODEC-idempotent; the broker creates them, and capture.sh reads its
segments. Needs the package confluent-kafka.
"""

import json
import sys
import time

from confluent_kafka import Producer


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def await_leader(producer, topic):
    """Creates the topic. Records produced before it has a leader would reach the partition's queue one by one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        metadata = producer.list_topics(topic, timeout=10).topics[topic]
        if metadata.partitions and metadata.partitions[0].leader >= 0:
            return
        time.sleep(0.05)
    sys.exit(f"{topic}: no leader")


def write(brokers, records, codec, idempotent):
    # The linger is longer than the program lives: only flush() sends, so all records share a batch.
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "compression.type": codec,
            "enable.idempotence": idempotent,
            "acks": "all",
            "linger.ms": 60_000,
        }
    )
    failures = []
    topic = f"librdkafka-{codec}" + ("-idempotent" if idempotent else "")
    await_leader(producer, topic)
    for record in records:
        producer.produce(
            topic,
            partition=0,
            timestamp=record["timestamp"],
            key=unhex(record["key"]),
            value=unhex(record["value"]),
            headers=[(name, unhex(value)) for name, value in record["headers"]],
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    undelivered = producer.flush(60)
    if failures or undelivered:
        sys.exit(f"{topic}: {failures or undelivered} not delivered")


def main():
    brokers, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        records = json.load(file)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        for idempotent in (False, True):
            write(brokers, records, codec, idempotent)


if __name__ == "__main__":
    main()
