//! The names of topics that a coordinator has named by id.

use std::time::Duration;

use protocol::messages::MetadataRequest;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use crate::kafka::cluster::{Cluster, Judged, Target};
use crate::kafka::model::names::is_topic;

/// The longest pause between two questions for topics that nobody knows.
pub(super) const LONGEST_TOPIC_REFRESH_PAUSE: Duration = Duration::from_secs(5);
/// For how long heartbeats wait for the names of topics.
const NAMES_WITHIN: Duration = Duration::from_secs(2);

/// Asks for the names of topics: they are tracked from then on, and the metadata with them comes by itself.
pub(super) async fn find_topics(cluster: &Cluster, ids: &[Uuid], request_timeout: Duration) {
    // It may be one that is tracked, and has come, or grown, since.
    cluster.refresh();
    let topics = ids.iter().map(|id| MetadataRequestTopic {
        topic_id: *id,
        name: None,
        ..Default::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let deadline = Instant::now() + NAMES_WITHIN.min(request_timeout);
    let asked = cluster.request(
        Target::Any,
        deadline,
        |_| Ok(request.clone()),
        |answer| match answer {
            Ok(answer) => Judged::Done(answer.response),
            Err(error) => Judged::failed(error),
        },
    );
    // Without an answer it is asked again.
    let Ok(response) = asked.await else { return };
    let known = response.topics.iter();
    let known = known.filter(|topic| topic.error_code == ErrorCode::NONE);
    let names = known.filter_map(|topic| topic.name.as_deref());
    cluster.track(names.filter(|name| is_topic(name)));
}
