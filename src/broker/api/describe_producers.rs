//! DescribeProducers: who writes to partitions, and where their open transactions begin (KIP-664).

use protocol::ErrorCode;
use protocol::messages::DescribeProducersRequest;
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::{Api, Context, Reply};
use crate::broker::security::AclOperation;
use crate::broker::topic::name_problem;

impl Api for DescribeProducersRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeProducersResponse> {
        Reply::Message(self.answer(|topic, index| describe(topic, index, context)))
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> DescribeProducersResponse {
        self.answer(|_, _| Err(error))
    }
}

fn describe(
    topic: &str,
    index: i32,
    context: &Context<'_>,
) -> Result<Vec<ProducerState>, ErrorCode> {
    if name_problem(topic).is_some() {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let topic = context.topic(topic, None, AclOperation::Read)?;
    let partition = topic.partition(index);
    let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    partition.check_leader(context.node, -1)?;
    Ok(partition.active_producers())
}

trait Answer {
    fn answer(
        &self,
        each: impl Fn(&str, i32) -> Result<Vec<ProducerState>, ErrorCode>,
    ) -> DescribeProducersResponse;
}

impl Answer for DescribeProducersRequest {
    fn answer(
        &self,
        each: impl Fn(&str, i32) -> Result<Vec<ProducerState>, ErrorCode>,
    ) -> DescribeProducersResponse {
        let topic = |topic: &TopicRequest| {
            let partition = |index: &i32| {
                let described = each(&topic.name, *index);
                PartitionResponse {
                    partition_index: *index,
                    error_code: described.as_ref().err().copied().unwrap_or(ErrorCode::NONE),
                    active_producers: described.unwrap_or_default(),
                    ..Default::default()
                }
            };
            TopicResponse {
                name: topic.name.clone(),
                partitions: topic.partition_indexes.iter().map(partition).collect(),
                ..Default::default()
            }
        };
        DescribeProducersResponse {
            topics: self.topics.iter().map(topic).collect(),
            ..Default::default()
        }
    }
}
