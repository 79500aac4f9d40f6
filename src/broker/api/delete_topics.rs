//! DeleteTopics: by name, and from version 6 by id.

use protocol::ErrorCode;
use protocol::messages::DeleteTopicsRequest;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use super::create_topics::duplicates;
use super::{Api, Context, Reply};
use crate::broker::security::{AclOperation, ResourceKind};

impl Api for DeleteTopicsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<DeleteTopicsResponse> {
        let asked = asked(&self, context.version);
        let twice = duplicates(
            asked
                .iter()
                .map(|topic| (topic.name.as_deref(), topic.topic_id)),
        );
        let delete = |topic: &DeleteTopicState| {
            if twice.contains(&(topic.name.as_deref(), topic.topic_id)) {
                return failed(topic, ErrorCode::INVALID_REQUEST);
            }
            delete(topic, context)
        };
        Reply::Message(DeleteTopicsResponse {
            responses: asked.iter().map(delete).collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, version: i16, error: ErrorCode) -> DeleteTopicsResponse {
        let responses = asked(self, version)
            .iter()
            .map(|topic| failed(topic, error))
            .collect();
        DeleteTopicsResponse {
            responses,
            ..Default::default()
        }
    }
}

/// Up to version 5 topics are named in a list of their own.
fn asked(request: &DeleteTopicsRequest, version: i16) -> Vec<DeleteTopicState> {
    if version >= 6 {
        return request.topics.clone();
    }
    let named = |name: &String| DeleteTopicState {
        name: Some(name.clone()),
        ..Default::default()
    };
    request.topic_names.iter().map(named).collect()
}

fn delete(asked: &DeleteTopicState, context: &Context<'_>) -> DeletableTopicResult {
    let by_id = !asked.topic_id.is_zero();
    let name = match (&asked.name, by_id) {
        // Exactly one of them says which topic is meant.
        (Some(_), true) | (None, false) => return failed(asked, ErrorCode::INVALID_REQUEST),
        (Some(name), false) => name.clone(),
        (None, true) => {
            let topic = context.cluster.directory().topic_by_id(&asked.topic_id);
            match topic {
                Some(topic) => topic.name.clone(),
                None => return failed(asked, ErrorCode::UNKNOWN_TOPIC_ID),
            }
        }
    };
    let allows = |operation| {
        context.allows_cluster(AclOperation::Delete)
            || context.allows(operation, ResourceKind::Topic, &name)
    };
    let refused = failed(asked, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    // Its id is no secret, its name is.
    if !allows(AclOperation::Describe) {
        return refused;
    }
    let topic = context.cluster.directory().topic(&name);
    if topic.is_some() && !allows(AclOperation::Delete) {
        return DeletableTopicResult {
            name: Some(name),
            ..refused
        };
    }
    let unknown = if by_id {
        ErrorCode::UNKNOWN_TOPIC_ID
    } else {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    };
    match context.cluster.delete_topic(&name) {
        Ok(topic) => DeletableTopicResult {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            ..Default::default()
        },
        Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => failed(asked, unknown),
        Err(error) => failed(asked, error),
    }
}

fn failed(asked: &DeleteTopicState, error: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult {
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        error_code: error,
        ..Default::default()
    }
}
