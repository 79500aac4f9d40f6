// Reads messages with Kafka's classes and writes them again, and makes messages of its own.
// In: a file with a line per message: class, version, bytes in hex; how many messages to make of each class and version.
// Out: the same lines with the bytes that Java wrote, then a line per message that Java made.
//
// Java makes a message from the schemas that its classes carry (a codec apart from the generated one): random values,
// written through the schema, read and written by the class.

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class RecodeMessages {
    record Case(String name, short version) { }

    public static void main(String[] args) throws Exception {
        var out = new StringBuilder();
        var cases = new LinkedHashSet<Case>();
        for (var line : Files.readAllLines(Path.of(args[0]))) {
            var parts = line.split(" ", -1);
            var one = new Case(parts[0], Short.parseShort(parts[1]));
            cases.add(one);
            print(out, one, recode(one, ByteBuffer.wrap(HexFormat.of().parseHex(parts[2]))));
        }
        for (var one : cases) {
            var random = new Random(one.hashCode());
            for (int i = 0; i < Integer.parseInt(args[1]); i++) {
                print(out, one, recode(one, made(one, random)));
            }
        }
        System.out.print(out);
    }

    static void print(StringBuilder out, Case one, ByteBuffer bytes) {
        var array = new byte[bytes.remaining()];
        bytes.get(array);
        out.append(one.name).append(' ').append(one.version).append(' ').append(HexFormat.of().formatHex(array)).append('\n');
    }

    static Class<?> type(Case one) throws ClassNotFoundException {
        return Class.forName("org.apache.kafka.common.message." + one.name);
    }

    static ByteBuffer recode(Case one, ByteBuffer bytes) throws Exception {
        try {
            var constructor = type(one).getConstructor(Readable.class, short.class);
            var message = (Message) constructor.newInstance(new ByteBufferAccessor(bytes), one.version);
            if (bytes.hasRemaining()) {
                throw new IOException(bytes.remaining() + " bytes not read");
            }
            return MessageUtil.toByteBufferAccessor(message, one.version).buffer();
        } catch (Exception e) {
            throw new IOException(one + " of " + HexFormat.of().formatHex(bytes.array()), e);
        }
    }

    static ByteBuffer made(Case one, Random random) throws Exception {
        var schema = ((Schema[]) type(one).getField("SCHEMAS").get(null))[one.version];
        var struct = structure(schema, random);
        var bytes = ByteBuffer.allocate(struct.sizeOf());
        struct.writeTo(bytes);
        return bytes.flip();
    }

    static Struct structure(Schema schema, Random random) {
        var struct = new Struct(schema);
        for (var field : schema.fields()) {
            struct.set(field, value(field.def.type, random));
        }
        return struct;
    }

    static Object value(Type type, Random random) {
        if (type.isNullable() && random.nextInt(4) == 0) {
            return null;
        }
        if (type instanceof Schema schema) {
            return structure(schema, random);
        }
        if (type instanceof TaggedFields tagged) {
            var values = new TreeMap<Integer, Object>();
            tagged.fields().forEach((tag, field) -> {
                if (random.nextBoolean()) {
                    values.put(tag, value(field.type, random));
                }
            });
            return values;
        }
        if (type.isArray()) {
            var elements = new Object[random.nextInt(4)];
            for (int i = 0; i < elements.length; i++) {
                elements[i] = value(type.arrayElementType().get(), random);
            }
            return elements;
        }
        return switch (type.toString().replace("COMPACT_", "").replace("NULLABLE_", "")) {
            case "BOOLEAN" -> random.nextBoolean();
            case "INT8" -> (byte) random.nextInt();
            case "INT16" -> (short) random.nextInt();
            case "UINT16" -> random.nextInt(1 << 16);
            case "INT32" -> random.nextInt();
            case "UINT32" -> random.nextLong(1L << 32);
            case "INT64" -> random.nextLong();
            case "FLOAT64" -> random.nextDouble();
            case "UUID" -> new Uuid(random.nextLong(), random.nextLong());
            case "STRING" -> text(random);
            case "BYTES" -> bytes(random);
            case "RECORDS" -> MemoryRecords.readableRecords(bytes(random));
            default -> throw new IllegalArgumentException(type.toString());
        };
    }

    static String text(Random random) {
        return random.ints(random.nextInt(12), 0, 0x250).collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append).toString();
    }

    static ByteBuffer bytes(Random random) {
        return ByteBuffer.wrap(text(random).getBytes(StandardCharsets.UTF_8));
    }
}
