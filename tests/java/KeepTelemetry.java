// A plugin of a broker that keeps what clients tell of themselves (KIP-714). In: pushes. Out: a file of text for each, in the folder that
// keep.telemetry.folder names: CLIENT-NUMBER.txt, or CLIENT-NUMBER-last.txt where the client says that it is the last.

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.metrics.MetricsReporter;
import org.apache.kafka.server.telemetry.ClientTelemetryExporter;
import org.apache.kafka.server.telemetry.ClientTelemetryExporterProvider;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.MetricsData;

public class KeepTelemetry implements MetricsReporter, ClientTelemetryExporterProvider {
    private final AtomicInteger count = new AtomicInteger();
    private Path folder;

    @Override
    public void configure(Map<String, ?> configs) {
        folder = Path.of((String) configs.get("keep.telemetry.folder"));
    }

    @Override
    public ClientTelemetryExporter clientTelemetryExporter() {
        return (context, payload) -> {
            String last = payload.isTerminating() ? "-last" : "";
            String name = context.authorizableRequestContext().clientId() + "-" + count.incrementAndGet() + last + ".txt";
            try {
                String text = MetricsData.parseFrom(payload.data()).toString();
                Path whole = Files.writeString(folder.resolve(name + ".part"), text);
                Files.move(whole, folder.resolve(name), StandardCopyOption.ATOMIC_MOVE);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        };
    }

    @Override
    public void init(List<KafkaMetric> metrics) {}

    @Override
    public void metricChange(KafkaMetric metric) {}

    @Override
    public void metricRemoval(KafkaMetric metric) {}

    @Override
    public void close() {}
}
