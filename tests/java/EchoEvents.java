// Reads events with Apicurio's deserializers, in the form that Confluent's clients have, says what it read, and writes the same events again
// with Apicurio's serializers, which register their own schemas. In: bootstrap servers, the registry's own API, a file with the descriptors of
// the events, and for each topic format:topic:topic to write to:number of records:subject of the schema. Out: topic, tab, event in JSON, a line each.

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.DynamicMessage;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import com.squareup.wire.schema.Location;
import com.squareup.wire.schema.internal.parser.MessageElement;
import com.squareup.wire.schema.internal.parser.ProtoParser;
import com.squareup.wire.schema.internal.parser.TypeElement;
import io.apicurio.registry.resolver.ParsedSchema;
import io.apicurio.registry.resolver.SchemaParser;
import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaDeserializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaSerializer;
import io.apicurio.registry.serde.protobuf.ProtobufKafkaDeserializer;
import io.apicurio.registry.serde.protobuf.ProtobufKafkaSerializer;
import io.apicurio.registry.serde.protobuf.ProtobufSchemaParser;
import io.apicurio.registry.utils.protobuf.schema.ProtobufSchema;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serializer;

public class EchoEvents {
    /** The files of the events, each behind those that it imports. */
    static List<FileDescriptor> files = new ArrayList<>();

    static void read(String path) throws Exception {
        var known = new HashMap<String, FileDescriptor>();
        for (var file : FileDescriptorSet.parseFrom(Files.readAllBytes(Path.of(path))).getFileList()) {
            var imports = file.getDependencyList().stream().map(known::get).toArray(FileDescriptor[]::new);
            known.put(file.getName(), FileDescriptor.buildFrom(file, imports));
            files.add(known.get(file.getName()));
        }
    }

    public static void main(String[] args) throws Exception {
        read(args[2]);
        for (int a = 3; a < args.length; a++) {
            var job = args[a].split(":");
            Map<String, Object> settings = new HashMap<>(Map.of(
                "bootstrap.servers", args[0],
                "enable.auto.commit", false,
                "enable.metrics.push", false,
                "apicurio.registry.url", args[1],
                "apicurio.registry.as-confluent", true,
                "apicurio.registry.use-id", "contentId",
                "apicurio.registry.headers.enabled", false));
            switch (job[0]) {
                case "protobuf" -> echo(job, settings, new IndexedDeserializer(), new IndexedSerializer());
                // Apicurio's own form, which has the message's name where Confluent's has indexes.
                case "protobuf-named" -> echo(job, settings, new IndexedDeserializer(), new ProtobufKafkaSerializer<DynamicMessage>());
                case "avro" -> echo(job, settings, new AvroKafkaDeserializer<Object>(), new AvroKafkaSerializer<Object>());
                case "json" -> {
                    settings.put("apicurio.registry.deserializer.value.return-class", JsonNode.class.getName());
                    settings.put("apicurio.registry.artifact.artifact-id", job[4]);
                    echo(job, settings, new JsonSchemaKafkaDeserializer<JsonNode>(), new JsonSchemaKafkaSerializer<JsonNode>());
                }
                default -> throw new IllegalArgumentException(job[0]);
            }
        }
    }

    static <T> void echo(String[] job, Map<String, Object> settings, Deserializer<T> deserializer, Serializer<T> serializer) throws Exception {
        deserializer.configure(settings, false);
        Map<String, Object> writing = new HashMap<>(settings);
        // JSON has no schema of its own to register: its is the one that is there.
        writing.put(job[0].equals("json") ? "apicurio.registry.find-latest" : "apicurio.registry.auto-register", true);
        serializer.configure(writing, false);
        int left = Integer.parseInt(job[3]);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), deserializer);
             var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), serializer)) {
            var partition = List.of(new TopicPartition(job[1], 0));
            consumer.assign(partition);
            consumer.seekToBeginning(partition);
            var until = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            while (left > 0) {
                if (System.nanoTime() > until) {
                    throw new IllegalStateException(left + " records of " + job[1] + " did not come");
                }
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    var value = record.value();
                    System.out.println(job[1] + "\t" + (value instanceof Message message
                        ? JsonFormat.printer().omittingInsignificantWhitespace().preservingProtoFieldNames().print(message)
                        : value.toString()));
                    // Without any header: that its reader finds the event's type is the schema's business.
                    producer.send(new ProducerRecord<>(job[2], record.key(), value)).get();
                    left--;
                }
            }
        }
    }

    /**
     * Apicurio's does not find what imported files import. What a message looks like is known without it, as with generated classes; the text
     * from the registry says which messages there are, in which order.
     */
    static class KnownFilesParser extends ProtobufSchemaParser<DynamicMessage> {
        @Override
        public ProtobufSchema parseSchema(byte[] text, Map<String, ParsedSchema<ProtobufSchema>> references) {
            var read = ProtoParser.Companion.parse(Location.get("events.proto"), new String(text, UTF_8));
            var messages = read.getTypes().stream().filter(it -> it instanceof MessageElement).map(TypeElement::getName).toList();
            var known = files.stream().filter(file -> names(file).equals(messages)).findFirst().orElseThrow();
            return new ProtobufSchema(known, read);
        }

        static List<String> names(FileDescriptor file) {
            return file.getMessageTypes().stream().map(Descriptor::getName).toList();
        }
    }

    /** Apicurio's, with the message's place in its file in front of the message, as Confluent's clients read it. */
    static class IndexedDeserializer extends ProtobufKafkaDeserializer<DynamicMessage> {
        @Override
        public SchemaParser<ProtobufSchema, DynamicMessage> schemaParser() {
            return new KnownFilesParser();
        }

        @Override
        protected DynamicMessage readData(ParsedSchema<ProtobufSchema> schema, ByteBuffer buffer, int start, int length) {
            var in = new ByteArrayInputStream(buffer.array(), start, length);
            var indexes = new ArrayDeque<Integer>();
            for (int count = varint(in); count > 0; count--) {
                indexes.add(varint(in));
            }
            var file = schema.getParsedSchema().getFileDescriptor();
            Descriptor type = file.getMessageTypes().get(indexes.isEmpty() ? 0 : indexes.remove());
            while (!indexes.isEmpty()) {
                type = type.getNestedTypes().get(indexes.remove());
            }
            try {
                return DynamicMessage.parseFrom(type, in);
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        static int varint(ByteArrayInputStream in) {
            int number = 0;
            for (int shift = 0; ; shift += 7) {
                int part = in.read();
                number |= (part & 0x7f) << shift;
                if ((part & 0x80) == 0) {
                    return (number >>> 1) ^ -(number & 1);
                }
            }
        }
    }

    static class IndexedSerializer extends ProtobufKafkaSerializer<DynamicMessage> {
        @Override
        protected void serializeData(ParsedSchema<ProtobufSchema> schema, DynamicMessage data, OutputStream out) throws IOException {
            var indexes = new ArrayDeque<Integer>();
            for (Descriptor type = data.getDescriptorForType(); type != null; type = type.getContainingType()) {
                indexes.addFirst(type.getIndex());
            }
            var coded = CodedOutputStream.newInstance(out);
            if (List.copyOf(indexes).equals(List.of(0))) {
                coded.writeSInt32NoTag(0);
            } else {
                coded.writeSInt32NoTag(indexes.size());
                for (int index : indexes) {
                    coded.writeSInt32NoTag(index);
                }
            }
            coded.flush();
            data.writeTo(out);
        }
    }
}
