// Prints what Java's assignors make of random groups: a line for each seed, with the CRC-32C of each assignor's assignment. The groups are
// drawn exactly as in the library's `assignor/against_java.rs`. `failed` stands where Java's assignor throws, `wrong` where it assigns a
// partition to a member that has not subscribed to its topic. With `text` as third argument, prints the assignments themselves.
//
// Assignments FIRST COUNT [text]

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

public class Assignments {
    /** SplitMix64. */
    static long state;

    static int draw(int below) {
        state += 0x9E3779B97F4A7C15L;
        long z = state;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        z = z ^ (z >>> 31);
        return (int) Long.remainderUnsigned(z, below);
    }

    static class Member {
        String id;
        String instance;
        String rack;
        int generation;
        List<String> topics = new ArrayList<>();
        List<TopicPartition> owned = new ArrayList<>();

        Subscription subscription(boolean byUserData) {
            ByteBuffer userData = byUserData && generation >= 0 ? userData() : null;
            List<TopicPartition> listed = byUserData ? List.of() : owned;
            Subscription subscription = new Subscription(topics, userData, listed, generation, Optional.ofNullable(rack));
            subscription.setGroupInstanceId(Optional.ofNullable(instance));
            return subscription;
        }

        ByteBuffer userData() {
            Map<String, List<Integer>> byTopic = new TreeMap<>();
            for (TopicPartition tp : owned)
                byTopic.computeIfAbsent(tp.topic(), t -> new ArrayList<>()).add(tp.partition());
            ByteBuffer out = ByteBuffer.allocate(1 << 16);
            out.putInt(byTopic.size());
            byTopic.forEach((topic, partitions) -> {
                out.putShort((short) topic.length());
                out.put(topic.getBytes(StandardCharsets.UTF_8));
                out.putInt(partitions.size());
                partitions.forEach(out::putInt);
            });
            out.putInt(generation);
            out.flip();
            return out;
        }
    }

    public static void main(String[] args) {
        long first = Long.parseLong(args[0]), count = Long.parseLong(args[1]);
        boolean text = args.length > 2;
        for (long seed = first; seed < first + count; seed++) {
            state = seed;
            group(seed, text);
        }
    }

    static void group(long seed, boolean text) {
        int memberCount = 1 + draw(draw(8) == 0 ? 40 : 12);
        int topicCount = 1 + draw(6);
        boolean alike = draw(2) == 0, racks = draw(3) == 0, owns = draw(4) != 0, statics = draw(4) == 0;
        List<Node> nodes = new ArrayList<>();
        for (int i = 0; i < 4; i++)
            nodes.add(new Node(i, "h", 9092, racks ? "rack-" + i : null));
        List<PartitionInfo> partitions = new ArrayList<>();
        Map<String, Integer> counts = new TreeMap<>();
        for (int topic = 0; topic < topicCount; topic++) {
            String name = "topic-" + (char) ('a' + topic) + "-" + draw(1000);
            int many = draw(8) == 0 ? 40 : 9;
            counts.put(name, draw(many));
            for (int partition = 0; partition < counts.get(name); partition++) {
                Node[] replicas = new Node[1 + draw(2)];
                for (int i = 0; i < replicas.length; i++)
                    replicas[i] = nodes.get(draw(4));
                partitions.add(new PartitionInfo(name, partition, replicas[0], replicas, replicas));
            }
        }
        List<Member> members = new ArrayList<>();
        for (int i = 0; i < memberCount; i++) {
            Member member = new Member();
            member.id = "member-" + draw(1_000_000) + "-" + i;
            if (statics && draw(2) == 0)
                member.instance = "instance-" + draw(1000) + "-" + i;
            if (racks && draw(4) != 0)
                member.rack = "rack-" + draw(4);
            int age = draw(12);
            member.generation = age == 0 ? -1 : age < 3 ? 4 : 5;
            for (String topic : counts.keySet())
                if (alike || draw(3) != 0)
                    member.topics.add(topic);
            if (member.topics.isEmpty())
                member.topics.add(counts.keySet().iterator().next());
            members.add(member);
        }
        if (owns) {
            for (Map.Entry<String, Integer> topic : counts.entrySet())
                for (int partition = 0; partition < topic.getValue(); partition++) {
                    if (draw(4) == 0)
                        continue;
                    TopicPartition tp = new TopicPartition(topic.getKey(), partition);
                    int owner = draw(memberCount);
                    members.get(owner).owned.add(tp);
                    if (draw(20) == 0) {
                        int other = draw(memberCount);
                        if (other != owner)
                            members.get(other).owned.add(tp);
                    }
                }
        }
        Cluster cluster = new Cluster("c", nodes, partitions, Set.of(), Set.of());
        StringBuilder line = new StringBuilder().append(seed);
        ConsumerPartitionAssignor[] assignors = {
            new RangeAssignor(), new RoundRobinAssignor(), new StickyAssignor(), new CooperativeStickyAssignor()
        };
        for (ConsumerPartitionAssignor assignor : assignors) {
            Map<String, Subscription> subscriptions = new HashMap<>();
            for (Member member : members)
                subscriptions.put(member.id, member.subscription(assignor instanceof StickyAssignor));
            String assigned;
            boolean wrong = false;
            try {
                Map<String, ConsumerPartitionAssignor.Assignment> assignment =
                    assignor.assign(cluster, new GroupSubscription(subscriptions)).groupAssignment();
                assigned = written(assignment);
                for (Member member : members)
                    for (TopicPartition tp : assignment.get(member.id).partitions())
                        wrong |= !member.topics.contains(tp.topic());
            } catch (RuntimeException e) {
                assigned = "failed: " + e.getClass().getSimpleName();
            }
            if (text) {
                System.out.println(seed + " " + assignor.name() + "\n" + assigned);
            }
            CRC32C crc = new CRC32C();
            crc.update(assigned.getBytes(StandardCharsets.UTF_8));
            line.append(assigned.startsWith("failed") ? " failed" : wrong ? " wrong" : String.format(" %08x", crc.getValue()));
        }
        if (!text)
            System.out.println(line);
    }

    static String written(Map<String, ConsumerPartitionAssignor.Assignment> assignment) {
        StringBuilder out = new StringBuilder();
        for (Map.Entry<String, ConsumerPartitionAssignor.Assignment> entry : new TreeMap<>(assignment).entrySet()) {
            out.append(entry.getKey()).append(':');
            Map<String, Set<Integer>> byTopic = new TreeMap<>();
            for (TopicPartition tp : entry.getValue().partitions())
                byTopic.computeIfAbsent(tp.topic(), t -> new TreeSet<>()).add(tp.partition());
            byTopic.forEach((topic, numbers) -> numbers.forEach(n -> out.append(' ').append(topic).append('/').append(n)));
            out.append('\n');
        }
        return out.toString();
    }
}
