// Takes over the transactional id "with-java" with Kafka's own producer: commits 2, leaves a transaction with 3 open, creates a file, waits for
// another, and commits: it has been fenced meanwhile.
// In: bootstrap servers, topic, the file to create, the file to wait for. Out: "fenced", or what it says instead.

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class FencedTransactions {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", args[0], "transactional.id", "with-java", "enable.metrics.push", false);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(record(args[1], 2)).get();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(record(args[1], 3)).get();
            Files.createFile(Path.of(args[2]));
            while (!Files.exists(Path.of(args[3]))) {
                Thread.sleep(50);
            }
            try {
                producer.commitTransaction();
                System.out.println("committed");
            } catch (ProducerFencedException | InvalidProducerEpochException fenced) {
                System.out.println("fenced");
            } catch (KafkaException other) {
                System.out.println("other: " + other);
            }
        }
    }

    static ProducerRecord<byte[], byte[]> record(String topic, long number) {
        byte[] bytes = ByteBuffer.allocate(8).putLong(number).array();
        return new ProducerRecord<>(topic, bytes, bytes);
    }
}
