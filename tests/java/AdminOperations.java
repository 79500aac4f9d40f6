// What Kafka's own Admin sees of what another client has done, and what it does for that one to see.
// In: bootstrap servers; those of a listener with SASL/PLAIN, and the password of its user "admin". Out: a line for each method of Admin, for all
// that "ours" is said of, and "done".

import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateDelegationTokenOptions;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListStreamsGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourcePatternFilter;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;

public class AdminOperations {
    public static void main(String[] args) throws Exception {
        var methods = new TreeSet<String>();
        for (Method method : Admin.class.getDeclaredMethods()) {
            if (!method.isSynthetic()) {
                methods.add(method.getName());
            }
        }
        methods.forEach(method -> System.out.println("method " + method));
        try (var admin = Admin.create(Map.of("bootstrap.servers", args[0], "enable.metrics.push", false));
                var known = Admin.create(login(args[1], args[2]))) {
            see(admin, known);
            act(admin, known);
        }
        System.out.println("done");
    }

    static Map<String, Object> login(String servers, String password) {
        String jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\""
            + password + "\";";
        return Map.of("bootstrap.servers", servers, "security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", "PLAIN",
            "sasl.jaas.config", jaas, "enable.metrics.push", false);
    }

    static void see(Admin admin, Admin known) throws Exception {
        var topic = admin.describeTopics(List.of("ours")).allTopicNames().get().get("ours");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, "ours");
        var configs = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        System.out.println("topic " + topic.partitions().size() + " " + configs.get("retention.ms").value());
        var rules = new AclBindingFilter(ResourcePatternFilter.ANY,
            new AccessControlEntryFilter("User:ours", null, AclOperation.ANY, AclPermissionType.ANY));
        for (AclBinding rule : admin.describeAcls(rules).values().get()) {
            System.out.println("rule " + rule.pattern().resourceType() + " " + rule.pattern().patternType() + " "
                + rule.pattern().name() + " " + rule.entry().operation() + " " + rule.entry().permissionType() + " "
                + rule.entry().host());
        }
        var user = admin.describeUserScramCredentials(List.of("ours")).description("ours").get();
        for (ScramCredentialInfo info : user.credentialInfos()) {
            System.out.println("user " + info.mechanism().mechanismName() + " " + info.iterations());
        }
        var filter = ClientQuotaFilter.contains(List.of(ClientQuotaFilterComponent.ofEntity("user", "ours")));
        var quotas = admin.describeClientQuotas(filter).entities().get();
        quotas.forEach((entity, values) -> System.out.println("quota " + entity.entries() + " " + values));
        var offsets = admin.listConsumerGroupOffsets("ours").partitionsToOffsetAndMetadata().get();
        offsets.forEach((at, offset) -> System.out.println("offset " + at + " " + offset.offset() + " " + offset.metadata()));
        var streams = admin.describeStreamsGroups(List.of("ours-streams")).all().get().get("ours-streams");
        var parts = streams.subtopologies().stream().map(it -> it.subtopologyId() + it.sourceTopics()).toList();
        System.out.println("streams " + streams.groupState() + " " + streams.topologyEpoch() + " " + parts);
        var kept = admin.listStreamsGroupOffsets(Map.of("ours-streams", new ListStreamsGroupOffsetsSpec()))
            .partitionsToOffsetAndMetadata("ours-streams").get();
        kept.forEach((at, offset) -> System.out.println("kept " + at + " " + offset.offset()));
        for (var transaction : admin.listTransactions().all().get()) {
            if (transaction.transactionalId().equals("ours")) {
                System.out.println("transaction " + transaction.state());
            }
        }
        for (var token : known.describeDelegationToken().delegationTokens().get()) {
            System.out.println("token " + token.tokenInfo().owner() + " " + token.tokenInfo().renewers() + " "
                + token.hmacAsBase64String());
        }
        var metrics = admin.listConfigResources(java.util.Set.of(ConfigResource.Type.CLIENT_METRICS), new ListConfigResourcesOptions());
        for (ConfigResource it : metrics.all().get()) {
            System.out.println("metrics " + it.name());
        }
        var directories = admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1);
        for (var directory : directories.values()) {
            var replica = directory.replicaInfos().get(new TopicPartition("ours", 0));
            System.out.println("replica " + (replica != null));
        }
        System.out.println("features " + admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("metadata.version").maxVersionLevel());
        System.out.println("quorum " + admin.describeMetadataQuorum().quorumInfo().get().leaderId());
        System.out.println("moving " + admin.listPartitionReassignments().reassignments().get().size());
    }

    static void act(Admin admin, Admin known) throws Exception {
        var topic = new NewTopic("theirs", Optional.of(2), Optional.empty()).configs(Map.of("retention.ms", "54321"));
        admin.createTopics(List.of(topic)).all().get();
        var resource = new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "theirs");
        Collection<AlterConfigOp> interval =
            List.of(new AlterConfigOp(new ConfigEntry("interval.ms", "70000"), AlterConfigOp.OpType.SET));
        admin.incrementalAlterConfigs(Map.of(resource, interval)).all().get();
        admin.createAcls(List.of(new AclBinding(new ResourcePattern(ResourceType.GROUP, "theirs-", PatternType.PREFIXED),
            new AccessControlEntry("User:theirs", "10.0.0.9", AclOperation.DELETE, AclPermissionType.DENY)))).all().get();
        admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(
            "theirs", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 5000), "a secret"))).all().get();
        var names = new HashMap<String, String>();
        names.put(ClientQuotaEntity.USER, "theirs");
        names.put(ClientQuotaEntity.CLIENT_ID, null);
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(new ClientQuotaEntity(names),
            List.of(new ClientQuotaAlteration.Op("consumer_byte_rate", 2048.0))))).all().get();
        admin.alterConsumerGroupOffsets("theirs",
            Map.of(new TopicPartition("ours", 1), new OffsetAndMetadata(3, "from Java"))).all().get();
        admin.alterStreamsGroupOffsets("ours-streams",
            Map.of(new TopicPartition("ours", 1), new OffsetAndMetadata(4))).all().get();
        admin.deleteRecords(Map.of(new TopicPartition("ours", 0), RecordsToDelete.beforeOffset(2))).all().get();
        var renewers = Arrays.asList(new KafkaPrincipal("User", "theirs"));
        known.createDelegationToken(new CreateDelegationTokenOptions().renewers(renewers)).delegationToken().get();
        admin.fenceProducers(List.of("ours")).all().get();
    }
}
