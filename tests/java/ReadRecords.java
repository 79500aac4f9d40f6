// Reads what is committed of whole topics with Kafka's own client, CRC checks on, and prints one line a record, in order per partition.
// In: bootstrap servers, topics. Out: topic, partition, offset, timestamp, key, value, name=value of each header; tabs
// between, bytes in hex, "-" for null.

import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class ReadRecords {
    public static void main(String[] args) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", args[0],
            "check.crcs", true,
            "enable.auto.commit", false,
            "isolation.level", "read_committed",
            "enable.metrics.push", false);
        var out = new StringBuilder();
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var partitions = Arrays.stream(args).skip(1).flatMap(topic -> consumer.partitionsFor(topic).stream())
                .map(p -> new TopicPartition(p.topic(), p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> print(record, out));
            }
        }
        System.out.print(out);
    }

    static void print(ConsumerRecord<byte[], byte[]> record, StringBuilder out) {
        out.append(record.topic()).append('\t').append(record.partition()).append('\t').append(record.offset());
        out.append('\t').append(record.timestamp()).append('\t').append(hex(record.key())).append('\t').append(hex(record.value()));
        for (var header : record.headers()) {
            out.append('\t').append(header.key()).append('=').append(hex(header.value()));
        }
        out.append('\n');
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "-" : HexFormat.of().formatHex(bytes);
    }
}
