//! DescribeLogDirs: the one place where a node keeps its replicas, and how large they are (KIP-113, KIP-827).

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::DescribeLogDirsRequest;
use protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use super::{Api, Context, Reply};
use crate::broker::security::AclOperation;

/// The name of the place that is none.
const IN_MEMORY: &str = "memory";

impl Api for DescribeLogDirsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<DescribeLogDirsResponse> {
        if !context.allows_cluster(AclOperation::Describe) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let asked: Option<BTreeMap<String, Vec<i32>>> = self.topics.map(|topics| {
            let topics = topics.into_iter();
            topics.map(|it| (it.topic, it.partitions)).collect()
        });
        let is_asked_for = |topic: &str, index: i32| match &asked {
            None => true,
            Some(asked) => asked.get(topic).is_some_and(|it| it.contains(&index)),
        };
        let topics: Vec<_> = context.cluster.directory().topics().cloned().collect();
        let topics = topics.iter().map(|topic| {
            let partitions = topic.partitions().zip(0..);
            let here = partitions.filter(|(partition, index)| {
                partition.replicas.contains(&context.node) && is_asked_for(&topic.name, *index)
            });
            DescribeLogDirsTopic {
                name: topic.name.clone(),
                partitions: here
                    .map(|(partition, partition_index)| DescribeLogDirsPartition {
                        partition_index,
                        partition_size: i64::try_from(partition.log.size_bytes())
                            .unwrap_or(i64::MAX),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }
        });
        let log_dir = match &context.cluster.data {
            Some(data) => data.folder().display().to_string(),
            None => IN_MEMORY.to_owned(),
        };
        Reply::Message(DescribeLogDirsResponse {
            results: vec![DescribeLogDirsResult {
                log_dir,
                topics: topics.filter(|it| !it.partitions.is_empty()).collect(),
                ..Default::default()
            }],
            ..Default::default()
        })
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> DescribeLogDirsResponse {
        // Older versions have no place for it but a directory.
        let of_none = DescribeLogDirsResult {
            error_code: error,
            ..Default::default()
        };
        DescribeLogDirsResponse {
            error_code: if version >= 3 { error } else { ErrorCode::NONE },
            results: if version >= 3 {
                Vec::new()
            } else {
                vec![of_none]
            },
            ..Default::default()
        }
    }
}
