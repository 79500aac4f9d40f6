// Creates topics and writes to each the records that tests/kafka/interop.rs describes, with Kafka's own client.
// In: bootstrap servers, partitions, number of records, topic=codec of each topic. Out: nothing but the exit status.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class WriteRecords {
    public static void main(String[] args) throws Exception {
        int partitions = Integer.parseInt(args[1]);
        int count = Integer.parseInt(args[2]);
        try (var admin = Admin.create(Map.of("bootstrap.servers", args[0], "enable.metrics.push", false))) {
            for (int a = 3; a < args.length; a++) {
                String[] topicAndCodec = args[a].split("=");
                admin.createTopics(List.of(new NewTopic(topicAndCodec[0], partitions, (short) 1))).all().get();
                write(args[0], topicAndCodec[0], topicAndCodec[1], partitions, count);
            }
        }
    }

    static void write(String servers, String topic, String codec, int partitions, int count) throws Exception {
        // One in flight: a leader that is a moment old may refuse a first batch and accept the second, after which
        // Kafka's producer is refused for ever.
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", servers, "compression.type", codec, "linger.ms", 20, "enable.metrics.push", false,
            "max.in.flight.requests.per.connection", 1);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                sent.add(producer.send(record(topic, i, partitions)));
            }
            for (var future : sent) {
                future.get();
            }
        }
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int i, int partitions) {
        byte[] key = i % 5 == 0 ? null : bytes("key-" + i % 50);
        byte[] value = i % 7 == 0 ? null : bytes("value-" + i + "-" + "abcdefgh".repeat(i % 40));
        var record = new ProducerRecord<>(topic, i % partitions, 1_700_000_000_000L + i, key, value);
        if (i % 2 == 1) {
            record.headers().add(new RecordHeader("number", bytes(String.valueOf(i))));
            record.headers().add(new RecordHeader("number", bytes(String.valueOf(i + 1))));
        }
        if (i % 3 == 1) {
            record.headers().add(new RecordHeader("empty", new byte[0]));
            record.headers().add(new RecordHeader("null", (byte[]) null));
        }
        return record;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
