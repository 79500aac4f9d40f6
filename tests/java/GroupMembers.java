// Members of consumer groups, as many as it is told of. In: bootstrap servers, and a folder. For each NAME.member that appears there (lines of
// name=value: the consumer's settings, and its topic) one begins; it closes when NAME.stop is there. Out: NAME.notes, a line for what happens: "assigned",
// "revoked", "lost" and the partitions' numbers, "read" and partition, offset, value (8 bytes, as a number), "closed", "failed" and why.

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class GroupMembers {
    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[1]);
        Set<Path> known = new HashSet<>();
        while (true) {
            List<Path> members;
            try (var files = Files.list(folder)) {
                members = files.filter(it -> it.toString().endsWith(".member")).toList();
            }
            for (Path member : members) {
                if (known.add(member)) {
                    new Thread(() -> run(args[0], member)).start();
                }
            }
            Thread.sleep(50);
        }
    }

    static Path beside(Path member, String what) {
        String name = member.getFileName().toString().replace(".member", "." + what);
        return member.resolveSibling(name);
    }

    static void run(String bootstrap, Path member) {
        Path notes = beside(member, "notes");
        try {
            Properties settings = new Properties();
            try (var lines = Files.newBufferedReader(member)) {
                settings.load(lines);
            }
            String topic = (String) settings.remove("topic");
            settings.put("bootstrap.servers", bootstrap);
            settings.put("enable.metrics.push", "false");
            Path stop = beside(member, "stop");
            var bytes = new ByteArrayDeserializer();
            try (var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
                consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                    @Override
                    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                        note(notes, "assigned" + numbers(partitions) + "\n");
                    }

                    @Override
                    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                        note(notes, "revoked" + numbers(partitions) + "\n");
                    }

                    @Override
                    public void onPartitionsLost(Collection<TopicPartition> partitions) {
                        note(notes, "lost" + numbers(partitions) + "\n");
                    }
                });
                while (!Files.exists(stop)) {
                    var read = new StringBuilder();
                    for (var record : consumer.poll(Duration.ofMillis(100))) {
                        long value = ByteBuffer.wrap(record.value()).getLong();
                        read.append("read ").append(record.partition()).append(' ').append(record.offset());
                        read.append(' ').append(value).append('\n');
                    }
                    note(notes, read.toString());
                }
            }
            note(notes, "closed\n");
        } catch (Throwable failure) {
            note(notes, "failed " + failure + "\n");
        }
    }

    static String numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(it -> " " + it.partition()).collect(Collectors.joining());
    }

    static void note(Path notes, String text) {
        try {
            Files.writeString(notes, text, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException error) {
            throw new RuntimeException(error);
        }
    }
}
