// Reads a whole topic with Kafka's own client, CRC checks on, and prints one line a record, in order per partition.
// In: bootstrap servers, topic. Out: partition, offset, timestamp, key, value, name=value of each header; tabs between,
// bytes in hex, "-" for null.

import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class ReadRecords {
    public static void main(String[] args) {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", args[0],
            "check.crcs", true,
            "enable.auto.commit", false,
            "enable.metrics.push", false);
        var out = new StringBuilder();
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(args[1]).stream()
                .map(p -> new TopicPartition(p.topic(), p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    out.append(record.partition()).append('\t').append(record.offset()).append('\t').append(record.timestamp());
                    out.append('\t').append(hex(record.key())).append('\t').append(hex(record.value()));
                    for (var header : record.headers()) {
                        out.append('\t').append(header.key()).append('=').append(hex(header.value()));
                    }
                    out.append('\n');
                }
            }
        }
        System.out.print(out);
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "-" : HexFormat.of().formatHex(bytes);
    }
}
