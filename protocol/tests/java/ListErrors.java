// Prints Kafka's error codes. In: nothing. Out: a line per code: number, name, whether Kafka's clients retry it.

import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

public class ListErrors {
    public static void main(String[] args) {
        for (var error : Errors.values()) {
            var retriable = error.exception() instanceof RetriableException;
            System.out.println(error.code() + " " + error.name() + " " + retriable);
        }
    }
}
