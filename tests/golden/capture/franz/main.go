// Writes the records of records.json with franz-go, one batch per topic.
//
//	go run . BROKERS RECORDS_JSON
//
// Topics are named franz-CODEC and franz-CODEC-idempotent; the broker creates them, and capture.sh reads its segments.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type record struct {
	Timestamp int64        `json:"timestamp"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	Headers   [][2]*string `json:"headers"`
}

func main() {
	text, err := os.ReadFile(os.Args[2])
	check(err)
	var records []record
	check(json.Unmarshal(text, &records))
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()},
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
	for _, c := range codecs {
		write(os.Args[1], records, "franz-"+c.name, c.codec, kgo.DisableIdempotentWrite())
		write(os.Args[1], records, "franz-"+c.name+"-idempotent", c.codec)
	}
}

func write(brokers string, records []record, topic string, codec kgo.CompressionCodec, more ...kgo.Opt) {
	// The linger is longer than the program lives: only Flush sends, so all records share a batch.
	options := append([]kgo.Opt{
		kgo.SeedBrokers(brokers),
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerBatchCompression(codec),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(time.Minute),
	}, more...)
	client, err := kgo.NewClient(options...)
	check(err)
	defer client.Close()
	for _, r := range records {
		out := &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(r.Timestamp), Key: unhex(r.Key), Value: unhex(r.Value)}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: *h[0], Value: unhex(h[1])})
		}
		client.Produce(context.Background(), out, func(_ *kgo.Record, err error) { check(err) })
	}
	check(client.Flush(context.Background()))
}

func unhex(text *string) []byte {
	if text == nil {
		return nil
	}
	bytes, err := hex.DecodeString(*text)
	check(err)
	return bytes
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
