//! The table: by user and question, what comes of it.

/// What each user is told. Of answers that name what they are about, that stands behind the error.
pub(super) const TABLE: &[(&str, &[(&str, &str)])] = &[
    (
        "nobody",
        &[
            ("produce", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("produce, unknown name", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("produce by id", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("produce by unknown id", "UNKNOWN_TOPIC_ID -1"),
            (
                "produce in a transaction",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED -1",
            ),
            ("fetch", "NONE, TOPIC_AUTHORIZATION_FAILED -1"),
            ("fetch, unknown name", "NONE, TOPIC_AUTHORIZATION_FAILED -1"),
            ("fetch by id", "NONE, TOPIC_AUTHORIZATION_FAILED -1"),
            ("fetch by unknown id", "NONE, UNKNOWN_TOPIC_ID -1"),
            ("list offsets", "TOPIC_AUTHORIZATION_FAILED -1"),
            (
                "list offsets, unknown name",
                "TOPIC_AUTHORIZATION_FAILED -1",
            ),
            (
                "metadata",
                "TOPIC_AUTHORIZATION_FAILED acls-topic, no id, 0 partitions, may -2147483648",
            ),
            (
                "metadata, unknown name",
                "TOPIC_AUTHORIZATION_FAILED acls-missing, no id, 0 partitions, may -2147483648",
            ),
            (
                "metadata by id",
                "TOPIC_AUTHORIZATION_FAILED no name, id, 0 partitions, may -2147483648",
            ),
            (
                "metadata by unknown id",
                "UNKNOWN_TOPIC_ID no name, id, 0 partitions, may -2147483648",
            ),
            ("metadata of all", ""),
            ("metadata, cluster operations", "0"),
            ("offset commit", "GROUP_AUTHORIZATION_FAILED"),
            ("offset commit by id", "GROUP_AUTHORIZATION_FAILED"),
            ("offset fetch", "GROUP_AUTHORIZATION_FAILED"),
            ("offset fetch of all", "GROUP_AUTHORIZATION_FAILED"),
            ("offset fetch by id", "GROUP_AUTHORIZATION_FAILED"),
            (
                "find coordinator of a group",
                "GROUP_AUTHORIZATION_FAILED -1",
            ),
            (
                "find coordinator of a group, old",
                "GROUP_AUTHORIZATION_FAILED -1",
            ),
            (
                "find coordinator of a transactional id",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED -1",
            ),
            ("join group", "GROUP_AUTHORIZATION_FAILED \"\" -1"),
            ("sync group", "GROUP_AUTHORIZATION_FAILED"),
            ("heartbeat", "GROUP_AUTHORIZATION_FAILED"),
            ("leave group", "GROUP_AUTHORIZATION_FAILED, 0 members"),
            (
                "create topics",
                "TOPIC_AUTHORIZATION_FAILED Some(\"Authorization failed.\") -1 -1 0",
            ),
            (
                "delete topics",
                "TOPIC_AUTHORIZATION_FAILED acls-topic, no id",
            ),
            (
                "delete topics, unknown name",
                "TOPIC_AUTHORIZATION_FAILED acls-missing, no id",
            ),
            (
                "delete topics by id",
                "TOPIC_AUTHORIZATION_FAILED no name, id",
            ),
            (
                "delete topics by unknown id",
                "UNKNOWN_TOPIC_ID no name, id",
            ),
            ("init producer id", "CLUSTER_AUTHORIZATION_FAILED -1 -1"),
            (
                "init producer id of a transactional id",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED -1 -1",
            ),
            (
                "transaction, add partitions",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            ),
            (
                "transaction, add offsets",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            ),
            (
                "transaction, commit offsets",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            ),
            ("transaction, end", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
            (
                "transaction, describe",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            ),
            ("describe acls", "CLUSTER_AUTHORIZATION_FAILED 0"),
            ("create acls", "CLUSTER_AUTHORIZATION_FAILED"),
            ("delete acls", "CLUSTER_AUTHORIZATION_FAILED 0"),
            ("describe scram users", "CLUSTER_AUTHORIZATION_FAILED"),
            ("alter scram users", "CLUSTER_AUTHORIZATION_FAILED"),
            (
                "configs described of a topic",
                "TOPIC_AUTHORIZATION_FAILED Some(\"Topic authorization failed.\")",
            ),
            (
                "configs described of a broker",
                "CLUSTER_AUTHORIZATION_FAILED Some(\"Cluster authorization failed.\")",
            ),
            (
                "configs described of a metrics",
                "CLUSTER_AUTHORIZATION_FAILED Some(\"Cluster authorization failed.\")",
            ),
            (
                "configs described of a group",
                "GROUP_AUTHORIZATION_FAILED Some(\"Group authorization failed.\")",
            ),
            (
                "configs altered of a topic",
                "TOPIC_AUTHORIZATION_FAILED Some(\"Topic authorization failed.\")",
            ),
            (
                "configs altered of a broker",
                "CLUSTER_AUTHORIZATION_FAILED None",
            ),
            (
                "configs altered of a metrics",
                "CLUSTER_AUTHORIZATION_FAILED Some(\"Cluster authorization failed.\")",
            ),
            (
                "configs altered of a group",
                "GROUP_AUTHORIZATION_FAILED Some(\"Group authorization failed.\")",
            ),
            (
                "configs replaced of a topic",
                "TOPIC_AUTHORIZATION_FAILED Some(\"Topic authorization failed.\")",
            ),
            (
                "configs replaced of a broker",
                "CLUSTER_AUTHORIZATION_FAILED None",
            ),
            (
                "configs replaced of a metrics",
                "CLUSTER_AUTHORIZATION_FAILED Some(\"Cluster authorization failed.\")",
            ),
            (
                "configs replaced of a group",
                "GROUP_AUTHORIZATION_FAILED Some(\"Group authorization failed.\")",
            ),
            ("configs listed", "CLUSTER_AUTHORIZATION_FAILED 0"),
            ("configs of the quorum", "CLUSTER_AUTHORIZATION_FAILED 0"),
        ],
    ),
    (
        // In the group, and allowed to see the topics, but not to read them.
        "member",
        &[
            ("produce", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("produce by id", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("fetch", "NONE, TOPIC_AUTHORIZATION_FAILED -1"),
            ("fetch by id", "NONE, TOPIC_AUTHORIZATION_FAILED -1"),
            ("list offsets", "NONE 0"),
            (
                "list offsets, unknown name",
                "UNKNOWN_TOPIC_OR_PARTITION -1",
            ),
            ("metadata", "NONE acls-topic, id, 1 partitions, may 256"),
            // It may not create it.
            (
                "metadata, unknown name",
                "TOPIC_AUTHORIZATION_FAILED acls-missing, no id, 0 partitions, may -2147483648",
            ),
            (
                "metadata by id",
                "NONE acls-topic, id, 1 partitions, may 256",
            ),
            ("metadata of all", "acls-topic"),
            ("offset commit", "TOPIC_AUTHORIZATION_FAILED"),
            ("offset commit by id", "TOPIC_AUTHORIZATION_FAILED"),
            ("offset fetch", "NONE, NONE -1"),
            ("offset fetch by id", "NONE, NONE -1"),
            ("find coordinator of a group", "NONE 1"),
            (
                "create topics",
                "TOPIC_AUTHORIZATION_FAILED Some(\"Authorization failed.\") -1 -1 0",
            ),
            (
                "delete topics",
                "TOPIC_AUTHORIZATION_FAILED acls-topic, no id",
            ),
            (
                "delete topics, unknown name",
                "UNKNOWN_TOPIC_OR_PARTITION acls-missing, no id",
            ),
            (
                "delete topics by id",
                "TOPIC_AUTHORIZATION_FAILED acls-topic, id",
            ),
            ("init producer id", "CLUSTER_AUTHORIZATION_FAILED -1 -1"),
        ],
    ),
    (
        "reader",
        &[
            ("produce", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("fetch", "NONE, NONE 0"),
            ("fetch by id", "NONE, NONE 0"),
            ("metadata", "NONE acls-topic, id, 1 partitions, may 264"),
            ("metadata of all", "acls-topic"),
            ("offset commit", "NONE"),
            ("offset commit by id", "NONE"),
            ("offset fetch of all", "NONE, NONE 0"),
            ("init producer id", "CLUSTER_AUTHORIZATION_FAILED -1 -1"),
        ],
    ),
    (
        // Allowed to write to all topics but this one.
        "writer",
        &[
            ("produce", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("produce, unknown name", "UNKNOWN_TOPIC_OR_PARTITION -1"),
            ("produce by id", "TOPIC_AUTHORIZATION_FAILED -1"),
            (
                "produce in a transaction",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED -1",
            ),
            ("fetch", "NONE, TOPIC_AUTHORIZATION_FAILED -1"),
            ("list offsets", "NONE 0"),
            ("metadata", "NONE acls-topic, id, 1 partitions, may 256"),
            ("init producer id", "NONE"),
            (
                "init producer id of a transactional id",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED -1 -1",
            ),
        ],
    ),
    (
        // Allowed to see the transactional id, but not to write under it.
        "watcher",
        &[
            ("find coordinator of a transactional id", "NONE 1"),
            (
                "init producer id of a transactional id",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED -1 -1",
            ),
            (
                "produce in a transaction",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED -1",
            ),
            (
                "transaction, add partitions",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            ),
            (
                "transaction, add offsets",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            ),
            (
                "transaction, commit offsets",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            ),
            ("transaction, end", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
            ("transaction, describe", "NONE"),
        ],
    ),
    (
        // Allowed to write under the transactional id, but neither to the topic nor for the group.
        "transactor",
        &[
            ("find coordinator of a transactional id", "NONE 1"),
            ("init producer id of a transactional id", "NONE"),
            ("produce in a transaction", "TOPIC_AUTHORIZATION_FAILED -1"),
            ("transaction, add partitions", "TOPIC_AUTHORIZATION_FAILED"),
            ("transaction, add offsets", "GROUP_AUTHORIZATION_FAILED"),
            ("transaction, commit offsets", "GROUP_AUTHORIZATION_FAILED"),
            ("transaction, end", "INVALID_PRODUCER_ID_MAPPING"),
            ("transaction, describe", "NONE"),
        ],
    ),
    (
        "creator",
        &[
            (
                "metadata",
                "TOPIC_AUTHORIZATION_FAILED acls-topic, no id, 0 partitions, may -2147483648",
            ),
            // Without a word on its settings, which it may not see.
            ("create topics", "NONE None -1 -1 29"),
        ],
    ),
];
