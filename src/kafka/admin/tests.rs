//! An admin client and a controller that answers as it is told to, on a paused clock.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::BytesMut;
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{
    ApiVersionsResponse, CreateTopicsResponse, DeleteTopicsResponse, MetadataResponse,
};
use protocol::{Decoder, Message, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use tokio::time::Instant;

use super::*;
use crate::kafka::Transport;
use crate::kafka::admin::each::was_not_tried;
use crate::kafka::net::{BoxFuture, BoxStream};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Address, ClientConfig};

/// What the controller says and was asked.
#[derive(Debug, Default)]
struct Script {
    /// What it answers about a topic, first to last; success after that.
    codes: BTreeMap<String, VecDeque<ErrorCode>>,
    /// What it answers about every topic, for ever.
    always: Option<ErrorCode>,
    /// The topics that it leaves out of its answers.
    left_out: Vec<String>,
    /// The topics of each request to change some, and the time it was given in milliseconds.
    asked: Vec<(Vec<String>, i32)>,
    metadata_requests: usize,
    /// The newest version of CreateTopics.
    create_topics: Option<i16>,
}

#[derive(Clone, Debug, Default)]
struct Controller(Arc<Mutex<Script>>);

impl Transport for Controller {
    fn connect(&self, _: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let controller = self.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(1 << 20);
            tokio::spawn(async move {
                // However it ends, the client hung up.
                let _ = controller.serve(far).await;
            });
            Ok(Box::new(near) as BoxStream)
        })
    }
}

impl Controller {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock()
    }

    async fn admin(&self) -> Admin {
        let config = ClientConfig {
            transport: Arc::new(self.clone()),
            seed: Some(7),
            ..ClientConfig::new("kafka:9092")
        };
        Admin::connect(config).await.expect("a cluster")
    }

    async fn serve(&self, mut stream: DuplexStream) -> io::Result<()> {
        loop {
            let mut frame = BytesMut::zeroed(stream.read_i32().await? as usize);
            stream.read_exact(&mut frame).await?;
            let mut input = Decoder::new(frame.freeze());
            let header = frame::decode_request_header(&mut input).map_err(io::Error::other)?;
            let (version, id) = (header.request_api_version, header.correlation_id);
            let answer = match ApiKey(header.request_api_key) {
                ApiKey::API_VERSIONS => frame::encode_response(version, id, &self.versions()),
                ApiKey::METADATA => {
                    let request = MetadataRequest::decode(&mut input, version);
                    let request = request.map_err(io::Error::other)?;
                    frame::encode_response(version, id, &self.metadata(request))
                }
                ApiKey::CREATE_TOPICS => {
                    let request = CreateTopicsRequest::decode(&mut input, version);
                    let request = request.map_err(io::Error::other)?;
                    let names = request.topics.into_iter().map(|topic| topic.name);
                    let said = self.said(names.collect(), request.timeout_ms);
                    let topics = said
                        .into_iter()
                        .map(|(name, error_code)| CreatableTopicResult {
                            name,
                            error_code,
                            ..Default::default()
                        });
                    let response = CreateTopicsResponse {
                        topics: topics.collect(),
                        ..Default::default()
                    };
                    frame::encode_response(version, id, &response)
                }
                _ => {
                    let request = DeleteTopicsRequest::decode(&mut input, version);
                    let request = request.map_err(io::Error::other)?;
                    let names = request.topics.into_iter().filter_map(|topic| topic.name);
                    let said = self.said(names.collect(), request.timeout_ms);
                    let topics = said
                        .into_iter()
                        .map(|(name, error_code)| DeletableTopicResult {
                            name: Some(name),
                            error_code,
                            ..Default::default()
                        });
                    let response = DeleteTopicsResponse {
                        responses: topics.collect(),
                        ..Default::default()
                    };
                    frame::encode_response(version, id, &response)
                }
            };
            for segment in answer.map_err(io::Error::other)? {
                stream.write_all(&segment).await?;
            }
        }
    }

    /// What it says about each topic, the last one first.
    fn said(&self, names: Vec<String>, timeout_ms: i32) -> Vec<(String, ErrorCode)> {
        let mut script = self.script();
        script.asked.push((names.clone(), timeout_ms));
        let names = names.into_iter().rev();
        names
            .filter(|name| !script.left_out.contains(name))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|name| {
                let next = script.codes.get_mut(&name).and_then(VecDeque::pop_front);
                let code = script.always.or(next).unwrap_or(ErrorCode::NONE);
                (name, code)
            })
            .collect()
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let mut script = self.script();
        script.metadata_requests += 1;
        let asked = request.topics.unwrap_or_else(|| {
            let all = ["a", "b", "c"].map(|name| MetadataRequestTopic {
                name: Some(name.to_string()),
                ..Default::default()
            });
            all.to_vec()
        });
        let topics = asked.into_iter().rev().map(|topic| {
            let name = topic.name.unwrap_or_default();
            let next = script.codes.get_mut(&name).and_then(VecDeque::pop_front);
            MetadataResponseTopic {
                error_code: next.unwrap_or(ErrorCode::NONE),
                name: Some(name),
                partitions: vec![MetadataResponsePartition::default()],
                ..Default::default()
            }
        });
        MetadataResponse {
            topics: topics.collect(),
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "kafka".to_string(),
                port: 9092,
                ..Default::default()
            }],
            controller_id: 1,
            ..Default::default()
        }
    }

    fn versions(&self) -> ApiVersionsResponse {
        let create_topics = self.script().create_topics;
        let keys = [
            ApiKey::API_VERSIONS,
            ApiKey::METADATA,
            ApiKey::CREATE_TOPICS,
            ApiKey::DELETE_TOPICS,
        ];
        let of = |key: ApiKey| {
            let newest = key.versions().map_or(0, |range| range.max);
            ApiVersion {
                api_key: key.0,
                min_version: 0,
                max_version: match key {
                    ApiKey::CREATE_TOPICS => create_topics.unwrap_or(newest),
                    _ => newest,
                },
                ..Default::default()
            }
        };
        ApiVersionsResponse {
            api_keys: keys.into_iter().map(of).collect(),
            ..Default::default()
        }
    }
}

fn new(name: &str) -> NewTopic {
    NewTopic::new(name, 1).replication_factor(1)
}

fn asked(controller: &Controller) -> Vec<Vec<String>> {
    let script = controller.script();
    script
        .asked
        .iter()
        .map(|(names, _)| names.clone())
        .collect()
}

/// By name, what became of it.
fn codes<T>(results: &BTreeMap<String, Result<T>>) -> Vec<(&str, Option<&'static str>)> {
    let code = |error: &Error| error.server_error().map_or("no code", |code| code.name());
    results
        .iter()
        .map(|(name, result)| (name.as_str(), result.as_ref().err().map(code)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn only_what_the_controller_did_not_get_to_is_asked_for_again() {
    for not_tried in [
        ErrorCode::NOT_CONTROLLER,
        ErrorCode::THROTTLING_QUOTA_EXCEEDED,
    ] {
        for create in [true, false] {
            let controller = Controller::default();
            let admin = controller.admin().await;
            let exists = ErrorCode::TOPIC_ALREADY_EXISTS;
            controller.script().codes = BTreeMap::from([
                ("a".to_string(), VecDeque::from([exists])),
                ("b".to_string(), VecDeque::from([not_tried, not_tried])),
            ]);
            let results = match create {
                true => {
                    let topics = ["a", "b", "c"].map(new);
                    admin.create_topics(&topics).await.expect("answers")
                }
                false => admin
                    .delete_topics(&["a", "b", "c"])
                    .await
                    .expect("answers"),
            };
            assert_eq!(
                codes(&results),
                [("a", Some(exists.name())), ("b", None), ("c", None)]
            );
            assert_eq!(
                asked(&controller),
                [vec!["a", "b", "c"], vec!["b"], vec!["b"]]
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn results_are_found_by_name_also_of_names_given_twice() {
    let controller = Controller::default();
    let admin = controller.admin().await;
    controller.script().codes = BTreeMap::from([(
        "a".to_string(),
        VecDeque::from([ErrorCode::TOPIC_AUTHORIZATION_FAILED; 3]),
    )]);
    controller.script().left_out.push("c".to_string());
    let described = admin.describe_topics(&["b", "a", "b", "b c", ""]).await;
    let described = described.expect("answers");
    let denied = Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED.name());
    let wrong = Some("no code");
    assert_eq!(
        codes(&described),
        [("", wrong), ("a", denied), ("b", None), ("b c", wrong)]
    );
    assert_eq!(described["b"].as_ref().expect("described").name, "b");
    let topics = [
        new("b"),
        new("a"),
        new("b"),
        new("d"),
        new("d").config("x", "y"),
        new("c"),
        new(".."),
    ];
    let created = admin.create_topics(&topics).await.expect("answers");
    assert_eq!(
        codes(&created),
        [
            ("..", wrong),
            ("a", denied),
            ("b", None),
            ("c", wrong),
            ("d", wrong)
        ]
    );
    assert!(
        created["c"]
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Protocol)
    );
    let deleted = admin
        .delete_topics(&["b", "b", "a", "."])
        .await
        .expect("answers");
    assert_eq!(codes(&deleted), [(".", wrong), ("a", denied), ("b", None)]);
    assert_eq!(asked(&controller), [vec!["a", "b", "c"], vec!["a", "b"]]);
    // Nothing to ask for: nobody is asked.
    assert_eq!(
        codes(&admin.delete_topics(&["."]).await.expect("answers")),
        [(".", wrong)]
    );
    assert!(admin.create_topics(&[]).await.expect("nothing").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_cannot_be_described_is_listed_with_its_error() {
    let controller = Controller::default();
    let admin = controller.admin().await;
    controller.script().codes = BTreeMap::from([(
        "b".to_string(),
        VecDeque::from([ErrorCode::LEADER_NOT_AVAILABLE]),
    )]);
    let listed = admin.list_topics().await.expect("topics");
    assert_eq!(
        codes(&listed),
        [
            ("a", None),
            ("b", Some("LEADER_NOT_AVAILABLE")),
            ("c", None)
        ]
    );
    let error = listed["b"].as_ref().expect_err("no leader").to_string();
    assert!(error.contains("topic b"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_controller_gets_less_time_than_its_answer_is_waited_for() {
    let controller = Controller::default();
    let admin = controller.admin().await;
    admin.create_topic(&new("a")).await.expect("created");
    admin.delete_topics(&["a"]).await.expect("deleted");
    let ours = admin.cluster.config().request_timeout.as_millis() as i32;
    for (_, theirs) in &controller.script().asked {
        assert!((ours * 8 / 10..ours).contains(theirs), "{theirs}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_defaults_is_not_asked_for_them() {
    let controller = Controller::default();
    controller.script().create_topics = Some(CreateTopicsRequest::DEFAULTS_FROM - 1);
    let admin = controller.admin().await;
    let topics = [
        new("whole"),
        NewTopic::new("copies", 1),
        NewTopic {
            partitions: None,
            ..new("partitions")
        },
    ];
    let results = admin.create_topics(&topics).await.expect("answers");
    assert!(results["whole"].is_ok());
    for (name, missing) in [
        ("copies", "replication factor"),
        ("partitions", "number of partitions"),
    ] {
        let error = results[name].as_ref().expect_err("no default");
        let text = error.to_string();
        assert!(
            text.contains("older than Kafka 2.4") && text.contains(missing),
            "{text}"
        );
        assert!(!error.is_fatal() && !error.is_retriable());
    }
    assert_eq!(asked(&controller), [["whole"]]);
}

/// Every code there is, and one that there is not: once, and for ever. The next call is not harmed, what was perhaps done is not repeated, and
/// no repetition is without a pause.
#[tokio::test(start_paused = true)]
async fn every_code_is_a_result_or_got_over_and_never_a_loop() {
    let codes = ErrorCode::all().chain([ErrorCode(31_999)]);
    for code in codes.filter(|code| *code != ErrorCode::NONE) {
        let again = was_not_tried(&Error::server(code, None));
        for create in [true, false] {
            let controller = Controller::default();
            let admin = controller.admin().await;
            let change = async || match create {
                true => admin.create_topics(&[new("a")]).await,
                false => admin.delete_topics(&["a"]).await,
            };
            let flat = |results: Result<BTreeMap<String, Result<()>>>| {
                results.and_then(|all| all.into_values().collect::<Result<()>>())
            };
            let once = VecDeque::from([code]);
            controller.script().codes.insert("a".to_string(), once);
            let result = flat(change().await);
            assert_eq!(result.is_ok(), again, "{}", code.name());
            assert_eq!(
                asked(&controller).len(),
                1 + usize::from(again),
                "{}",
                code.name()
            );
            assert!(flat(change().await).is_ok(), "{}", code.name());
            controller.script().always = Some(code);
            let started = Instant::now();
            let error = flat(change().await).expect_err("for ever");
            assert_eq!(error.server_error(), Some(code));
            assert!(
                started.elapsed() <= Duration::from_secs(31),
                "{}",
                code.name()
            );
            assert!(asked(&controller).len() <= 60, "{}", code.name());
        }
    }
}
