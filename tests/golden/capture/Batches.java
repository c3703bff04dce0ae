// Writes the records of records.json with Apache Kafka's Java client, one batch per topic.
//
//   java -cp 'LIBS/*' Batches.java BROKERS RECORDS_JSON
//
// Topics are named java-CODEC and java-CODEC-idempotent; the broker creates them, and capture.sh reads its segments.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Batches {
    public static void main(String[] args) throws Exception {
        JsonNode records = new ObjectMapper().readTree(new File(args[1]));
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            write(args[0], records, codec, false);
            write(args[0], records, codec, true);
        }
    }

    private static void write(String brokers, JsonNode records, String codec, boolean idempotent) throws Exception {
        // The linger is longer than the program lives: only flush() sends, so all records share a batch.
        Map<String, Object> config = Map.of(
            "bootstrap.servers", brokers,
            "compression.type", codec,
            "enable.idempotence", idempotent,
            "acks", "all",
            "batch.size", 1 << 20,
            "linger.ms", 60_000,
            "delivery.timeout.ms", 120_000);
        String topic = "java-" + codec + (idempotent ? "-idempotent" : "");
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode record : records) {
                sent.add(producer.send(new ProducerRecord<>(topic, 0, record.get("timestamp").asLong(),
                    bytes(record.get("key")), bytes(record.get("value")), headers(record.get("headers")))));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) {
                one.get();
            }
        }
    }

    private static byte[] bytes(JsonNode hex) {
        return hex.isNull() ? null : HexFormat.of().parseHex(hex.asText());
    }

    private static List<Header> headers(JsonNode pairs) {
        List<Header> headers = new ArrayList<>();
        for (JsonNode pair : pairs) {
            headers.add(new RecordHeader(pair.get(0).asText(), bytes(pair.get(1))));
        }
        return headers;
    }
}
