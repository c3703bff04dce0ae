// Records what a real broker answers, frame by frame, in every version that both it and Kafka's Java client know.
//
//   java -cp 'LIBS/*' Responses.java BROKER BATCH OUT [REQUESTS]
//
// OUT gets API-vN.bin (the response without its length prefix) and decoded.json (what Kafka's own code reads from
// each). With REQUESTS, that folder gets the Produce requests, without their length prefix. BATCH is a RecordBatch with
// a record without a key. Requests are built and responses read by the client's generated message classes.

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.IntFunction;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicCollection;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfig;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfigCollection;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.FetchPartition;
import org.apache.kafka.common.message.FetchRequestData.FetchTopic;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataRequestData.MetadataRequestTopic;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceRequestData.PartitionProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceDataCollection;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.requests.RequestUtils;

public final class Responses {
    private static final String TOPIC = "golden";
    private static final String COMPACTED = "golden-compacted";
    private static final String MISSING = "golden-missing";
    private static final String CLIENT_ID = "ottla-golden";
    private static final int CORRELATION_ID = 0x0a0b0c0d;

    private final DataInputStream in;
    private final DataOutputStream out;
    private final byte[] batch;
    private final Path responses;
    private final Path requests;
    private final Map<Short, Short> brokerMax = new HashMap<>();
    private final Map<String, Uuid> topicIds = new HashMap<>();
    private final List<String> decoded = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        int colon = args[0].lastIndexOf(':');
        try (Socket socket = new Socket(args[0].substring(0, colon), Integer.parseInt(args[0].substring(colon + 1)))) {
            socket.setSoTimeout(30_000);
            new Responses(socket, args).run();
        }
    }

    private Responses(Socket socket, String[] args) throws IOException {
        in = new DataInputStream(socket.getInputStream());
        out = new DataOutputStream(socket.getOutputStream());
        batch = Files.readAllBytes(Path.of(args[1]));
        responses = Files.createDirectories(Path.of(args[2]));
        requests = args.length > 3 ? Files.createDirectories(Path.of(args[3])) : null;
    }

    private void run() throws Exception {
        learnVersions();
        setUpTopics();
        captureTooNewApiVersions();
        capture(ApiKeys.API_VERSIONS, "", version -> apiVersions());
        capture(ApiKeys.METADATA, "", this::metadata);
        capture(ApiKeys.INIT_PRODUCER_ID, "", version -> new InitProducerIdRequestData()
            .setTransactionalId(null).setTransactionTimeoutMs(60_000));
        capture(ApiKeys.CREATE_TOPICS, "", this::createTopics);
        capture(ApiKeys.PRODUCE, "", version -> produce(version, TOPIC));
        capture(ApiKeys.PRODUCE, "-invalid-record", version -> produce(version, COMPACTED));
        capture(ApiKeys.PRODUCE, "-unknown-topic", version -> produce(version, MISSING));
        capture(ApiKeys.LIST_OFFSETS, "", version -> listOffsets());
        capture(ApiKeys.FETCH, "", this::fetch);
        Files.writeString(responses.resolve("decoded.json"), "{\n" + String.join(",\n", decoded) + "\n}\n");
    }

    private void learnVersions() throws Exception {
        ApiVersionsResponseData answer = (ApiVersionsResponseData) ask(ApiKeys.API_VERSIONS, (short) 3, apiVersions());
        answer.apiKeys().forEach(api -> brokerMax.put(api.apiKey(), api.maxVersion()));
    }

    private void setUpTopics() throws Exception {
        CreatableTopicCollection topics = new CreatableTopicCollection();
        topics.add(topic(TOPIC, 3));
        topics.add(topic(COMPACTED, 1).setConfigs(new CreatableTopicConfigCollection(List.of(
            new CreatableTopicConfig().setName("cleanup.policy").setValue("compact")).iterator())));
        ask(ApiKeys.CREATE_TOPICS, (short) 5, new CreateTopicsRequestData().setTopics(topics).setTimeoutMs(30_000));
        topicIds.put(MISSING, new Uuid(1, 2));
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (!topicIds.keySet().containsAll(List.of(TOPIC, COMPACTED))) {
            if (System.nanoTime() > deadline) {
                throw new IOException("the topics have no leaders");
            }
            Thread.sleep(50);
            MetadataResponseData answer = (MetadataResponseData) ask(ApiKeys.METADATA, (short) 10,
                new MetadataRequestData().setTopics(null));
            answer.topics().stream()
                .filter(topic -> topic.partitions().stream().allMatch(partition -> partition.leaderId() >= 0))
                .forEach(topic -> topicIds.put(topic.name(), topic.topicId()));
        }
    }

    // A broker answers a version that it does not know in version 0, with an error.
    private void captureTooNewApiVersions() throws Exception {
        ByteBuffer request = RequestUtils.serialize(
            header(ApiKeys.API_VERSIONS, (short) 3), (short) 2, apiVersions(), (short) 3);
        request.putShort(2, (short) 99);
        byte[] frame = exchange(request);
        save(ApiKeys.API_VERSIONS, "v99", frame, (short) 0);
    }

    private void capture(ApiKeys api, String suffix, IntFunction<ApiMessage> request) throws Exception {
        int newest = Math.min(api.latestVersion(false), brokerMax.get(api.id));
        for (short version = api.oldestVersion(); version <= newest; version++) {
            ByteBuffer bytes = RequestUtils.serialize(
                header(api, version), api.requestHeaderVersion(version), request.apply(version), version);
            if (requests != null && api == ApiKeys.PRODUCE && suffix.isEmpty()) {
                Files.write(requests.resolve(name(api) + "-v" + version + ".bin"), bytes.array());
            }
            save(api, "v" + version + suffix, exchange(bytes), version);
        }
    }

    private void save(ApiKeys api, String suffix, byte[] frame, short version) throws Exception {
        String stem = name(api) + "-" + suffix;
        ApiMessage message = decode(api, version, frame);
        Class<?> converter = Class.forName(message.getClass().getName() + "JsonConverter");
        // Records as a size: the converter would write them as empty.
        Object json = converter.getMethod("write", message.getClass(), short.class, boolean.class)
            .invoke(null, message, version, false);
        Files.write(responses.resolve(stem + ".bin"), frame);
        decoded.add("\"" + stem + "\": " + json);
    }

    private ApiMessage ask(ApiKeys api, short version, ApiMessage request) throws IOException {
        return decode(api, version, exchange(RequestUtils.serialize(
            header(api, version), api.requestHeaderVersion(version), request, version)));
    }

    private static ApiMessage decode(ApiKeys api, short version, byte[] frame) throws IOException {
        ByteBufferAccessor readable = new ByteBufferAccessor(ByteBuffer.wrap(frame));
        if (new ResponseHeaderData(readable, api.responseHeaderVersion(version)).correlationId() != CORRELATION_ID) {
            throw new IOException(api + " v" + version + ": answer to another request");
        }
        ApiMessage message = api.messageType.newResponse();
        message.read(readable, version);
        if (readable.remaining() > 0) {
            throw new IOException(api + " v" + version + ": bytes left over");
        }
        return message;
    }

    private byte[] exchange(ByteBuffer request) throws IOException {
        out.writeInt(request.remaining());
        out.write(request.array(), request.position(), request.remaining());
        out.flush();
        byte[] frame = new byte[in.readInt()];
        in.readFully(frame);
        return frame;
    }

    private static RequestHeaderData header(ApiKeys api, short version) {
        return new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion(version)
            .setClientId(CLIENT_ID).setCorrelationId(CORRELATION_ID);
    }

    // METADATA is "metadata", INIT_PRODUCER_ID is "init-producer-id".
    private static String name(ApiKeys api) {
        return api.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    private static ApiVersionsRequestData apiVersions() {
        return new ApiVersionsRequestData().setClientSoftwareName("ottla-golden").setClientSoftwareVersion("1");
    }

    private MetadataRequestData metadata(int version) {
        return new MetadataRequestData()
            .setTopics(List.of(new MetadataRequestTopic().setName(TOPIC), new MetadataRequestTopic().setName(MISSING)))
            .setAllowAutoTopicCreation(version < 4);
    }

    private static CreatableTopic topic(String name, int partitions) {
        return new CreatableTopic().setName(name).setNumPartitions(partitions).setReplicationFactor((short) 1);
    }

    private CreateTopicsRequestData createTopics(int version) {
        CreatableTopicCollection topics = new CreatableTopicCollection();
        topics.add(topic("golden-created-v" + version, 2));
        topics.add(topic(TOPIC, 1));
        return new CreateTopicsRequestData().setTopics(topics).setTimeoutMs(30_000);
    }

    private ProduceRequestData produce(int version, String name) {
        TopicProduceData topic = new TopicProduceData().setPartitionData(List.of(new PartitionProduceData()
            .setIndex(0).setRecords(MemoryRecords.readableRecords(ByteBuffer.wrap(batch)))));
        if (version < 13) {
            topic.setName(name);
        } else {
            topic.setTopicId(topicIds.get(name));
        }
        return new ProduceRequestData().setTransactionalId(null).setAcks((short) -1).setTimeoutMs(30_000)
            .setTopicData(new TopicProduceDataCollection(List.of(topic).iterator()));
    }

    // Partition 0 has records, partition 1 none, partition 9 does not exist.
    private ListOffsetsRequestData listOffsets() {
        List<ListOffsetsPartition> partitions = List.of(
            new ListOffsetsPartition().setPartitionIndex(0).setTimestamp(-1),
            new ListOffsetsPartition().setPartitionIndex(1).setTimestamp(-2),
            new ListOffsetsPartition().setPartitionIndex(9).setTimestamp(-1));
        return new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(
            new ListOffsetsTopic().setName(TOPIC).setPartitions(partitions)));
    }

    // One batch from partition 0, nothing from partition 1, an offset out of range in partition 2.
    private FetchRequestData fetch(int version) {
        FetchTopic topic = new FetchTopic().setPartitions(List.of(
            new FetchPartition().setPartition(0).setPartitionMaxBytes(1),
            new FetchPartition().setPartition(1).setPartitionMaxBytes(1),
            new FetchPartition().setPartition(2).setFetchOffset(77).setPartitionMaxBytes(1)));
        if (version < 13) {
            topic.setTopic(TOPIC);
        } else {
            topic.setTopicId(topicIds.get(TOPIC));
        }
        return new FetchRequestData().setMaxWaitMs(0).setMinBytes(0).setMaxBytes(1 << 20).setTopics(List.of(topic));
    }
}
