//! Partitions added to topics (KIP-195). In: how many each topic is to have. Out: a result for each.

use std::collections::BTreeMap;

use protocol::messages::CreatePartitionsRequest;
use protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};

use super::Admin;
use super::each::{Round, checked};
use super::topics::{changed_topics, named};
use crate::kafka::Result;
use crate::kafka::cluster::Answer;

/// How many partitions a topic is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewPartitions {
    /// How many it is to have in all, those that it has included.
    pub total: i32,
    /// The brokers that keep each of the new ones, the preferred leader first; empty where brokers choose.
    pub replicas: Vec<Vec<i32>>,
}

impl NewPartitions {
    /// So many in all, those that the topic has included; brokers choose who keeps the new ones.
    pub fn total(total: i32) -> Self {
        Self {
            total,
            replicas: Vec::new(),
        }
    }

    /// Kept by these brokers: a list for each of the new ones, the preferred leader first.
    pub fn replicas(mut self, replicas: Vec<Vec<i32>>) -> Self {
        self.replicas = replicas;
        self
    }
}

impl Admin {
    /// Adds partitions to topics: a result for each name. A topic never loses any: a total that it has, or less, is an error
    /// (`INVALID_PARTITIONS`). Records keep their partitions, but keys get others from then on.
    ///
    /// With `validate_only` brokers only say what would become of it.
    pub async fn create_partitions(
        &self,
        topics: &BTreeMap<&str, NewPartitions>,
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<()>>> {
        let names: Vec<&str> = topics.keys().copied().collect();
        let (mut results, open) = named(&names);
        let build = |round: &mut Round<String>| {
            let names = round.items.iter();
            Ok(CreatePartitionsRequest {
                topics: names.map(|name| wanted(name, &topics[&**name])).collect(),
                timeout_ms: round.timeout_ms,
                validate_only,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<CreatePartitionsRequest>, _: &Round<String>| {
            let results = answer.response.results.iter();
            results
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || ());
                    (it.name.clone(), result)
                })
                .collect()
        };
        let created = self.each(changed_topics(open), build, read).await?;
        results.extend(created);
        Ok(results)
    }
}

fn wanted(name: &str, new: &NewPartitions) -> CreatePartitionsTopic {
    let assignments = new.replicas.iter();
    let assignments = assignments.map(|brokers| CreatePartitionsAssignment {
        broker_ids: brokers.clone(),
        ..Default::default()
    });
    CreatePartitionsTopic {
        name: name.to_string(),
        count: new.total,
        assignments: (!new.replicas.is_empty()).then(|| assignments.collect()),
        ..Default::default()
    }
}
