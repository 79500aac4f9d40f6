// Reads record batches with Kafka's classes, and makes batches of its own.
// In: a file with a batch in hex on each line. Out: a line per batch, what Java reads in it, its checksum verified; then a
// line per batch that Java made: "magic codec bytes text".
//
// The text of a batch: its producer id, epoch and sequence, whether it is transactional and control, then the records as
// "offset:timestamp:key:value:header=value,…", bytes in hex, null as "-".

import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;

public class RecodeBatches {
    static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        var out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16));
        for (var line : Files.readAllLines(Path.of(args[0]))) {
            out.println(text(ByteBuffer.wrap(HEX.parseHex(line))));
        }
        for (byte magic = 0; magic <= 2; magic++) {
            for (var codec : CompressionType.values()) {
                if (codec == CompressionType.ZSTD && magic < 2) {
                    continue;
                }
                for (int kind = 0; kind < 8; kind++) {
                    var bytes = made(magic, codec, kind);
                    out.println(magic + " " + codec.name + " " + hex(bytes.duplicate()) + " " + text(bytes));
                }
            }
        }
        out.flush();
    }

    static ByteBuffer made(byte magic, CompressionType codec, int kind) {
        var random = new Random(kind);
        var time = magic > 0 && kind % 3 == 2 ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
        boolean transactional = magic == 2 && kind % 2 == 1;
        var buffer = ByteBuffer.allocate(1024);
        var builder = MemoryRecords.builder(buffer, magic, Compression.of(codec).build(), time, 1000L * kind, 1_700_000_000_000L,
            transactional ? 77 : -1, (short) (transactional ? 3 : -1), transactional ? 500 : -1, transactional, 9);
        long offset = 1000L * kind;
        int count = 1 << kind;
        for (int i = 0; i < count; i++) {
            long timestamp = magic == 0 ? RecordBatch.NO_TIMESTAMP : 1_700_000_000_000L + random.nextInt(100_000);
            var headers = new Header[magic < 2 ? 0 : random.nextInt(3)];
            for (int h = 0; h < headers.length; h++) {
                headers[h] = new RecordHeader("header-" + h, bytes(random, 30));
            }
            builder.appendWithOffset(offset, timestamp, bytes(random, 40), bytes(random, 3000), headers);
            // As compaction leaves it.
            offset += 1 + (kind > 4 ? random.nextInt(3) : 0);
        }
        return builder.build().buffer();
    }

    // Null now and then, and otherwise words that compress.
    static byte[] bytes(Random random, int most) {
        if (random.nextInt(8) == 0) {
            return null;
        }
        var bytes = new byte[random.nextInt(most)];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) ('a' + i % (2 + random.nextInt(4)));
        }
        return bytes;
    }

    static String text(ByteBuffer bytes) {
        var text = new StringBuilder();
        for (var batch : MemoryRecords.readableRecords(bytes).batches()) {
            batch.ensureValid();
            if (text.length() == 0) {
                text.append(batch.producerId()).append('/').append(batch.producerEpoch()).append('/').append(batch.baseSequence());
                text.append('/').append(batch.isTransactional()).append('/').append(batch.isControlBatch());
            }
            for (var record : batch) {
                text.append(';').append(record.offset()).append(':').append(record.timestamp());
                text.append(':').append(hex(record.key())).append(':').append(hex(record.value())).append(':');
                for (var header : record.headers()) {
                    var value = header.value();
                    text.append(header.key()).append('=').append(hex(value == null ? null : ByteBuffer.wrap(value))).append(',');
                }
            }
        }
        return text.toString();
    }

    static String hex(ByteBuffer bytes) {
        if (bytes == null) {
            return "-";
        }
        var array = new byte[bytes.remaining()];
        bytes.get(array);
        return HEX.formatHex(array);
    }
}
