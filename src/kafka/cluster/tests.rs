//! A client against a small cluster in memory that loses brokers, moves leaders and keeps silent, on a paused clock.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::metadata_response::*;
use protocol::messages::*;
use protocol::{ApiKey, Decoder, ErrorCode, Message, Uuid, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::kafka::Address;
use crate::kafka::net::{BoxFuture, BoxStream, Transport};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster in memory. Broker `n` listens at `kafka-n:9092` unless it moved.
#[derive(Debug, Default)]
struct World {
    /// Who listens where.
    listening: BTreeMap<Address, i32>,
    /// Brokers that take connections and bytes but never answer.
    silent: Vec<i32>,
    /// Topics and the leader of each partition.
    topics: BTreeMap<String, Vec<(i32, i32)>>,
    /// What brokers answer to FindCoordinator, first to last; the last one stays.
    coordinators: Vec<(ErrorCode, i32)>,
    /// Whether connections are dropped instead of requests answered.
    dropping: bool,
    /// Whether topics are created when a request that allows it asks for them.
    auto_create: bool,
    /// The topics that the last metadata request asked for.
    asked: Vec<String>,
    /// What every metadata request asked for, and whether it allowed topics to be created.
    all_asked: Vec<(Vec<String>, bool)>,
    /// Who listens and is not in the metadata.
    hidden: Vec<i32>,
    /// Whether connections are dropped at the first request after the handshake, as a SASL listener does.
    wants_sasl: bool,
    /// The codes that the next requests of an API are answered with, and how often.
    codes: BTreeMap<ApiKey, (ErrorCode, usize)>,
    dials: usize,
    metadata_requests: usize,
    coordinator_requests: usize,
    open: usize,
}

#[derive(Clone, Debug)]
struct Network(Arc<Mutex<World>>);

impl Transport for Network {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (network, address) = (self.clone(), address.clone());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (near, far) = tokio::io::duplex(1 << 16);
            let node = {
                let mut world = network.world();
                world.dials += 1;
                world.listening.get(&address).copied()
            };
            let Some(node) = node else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            network.world().open += 1;
            tokio::spawn(async move {
                // However it ends, the client hung up or the broker did.
                let _ = network.serve(node, far).await;
                network.world().open -= 1;
            });
            Ok(Box::new(near) as BoxStream)
        })
    }
}

impl Network {
    fn new(nodes: i32) -> Self {
        let mut world = World {
            coordinators: vec![(ErrorCode::NONE, 1)],
            ..World::default()
        };
        for node in 1..=nodes {
            world.listening.insert(home(node), node);
        }
        Self(Arc::new(Mutex::new(world)))
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> ClientConfig {
        ClientConfig {
            bootstrap_servers: vec!["kafka-1:9092".to_string(), "kafka-2:9092".to_string()],
            transport: Arc::new(self.clone()),
            seed: Some(7),
            ..ClientConfig::default()
        }
    }

    /// As [`Network::config`], for a client that lets topics be created.
    fn creating(&self) -> ClientConfig {
        ClientConfig {
            allow_auto_create_topics: true,
            ..self.config()
        }
    }

    async fn serve(&self, node: i32, mut stream: DuplexStream) -> io::Result<()> {
        loop {
            let mut frame = BytesMut::zeroed(stream.read_i32().await? as usize);
            stream.read_exact(&mut frame).await?;
            let mut input = Decoder::new(frame.freeze());
            let header = frame::decode_request_header(&mut input).map_err(io::Error::other)?;
            let gone = !self.world().listening.values().any(|alive| *alive == node);
            if gone || self.world().dropping {
                return Ok(());
            }
            if self.world().silent.contains(&node) {
                std::future::pending::<()>().await;
            }
            let is_handshake = header.request_api_key == ApiKey::API_VERSIONS.0;
            if self.world().wants_sasl && !is_handshake {
                return Ok(());
            }
            let (version, id) = (header.request_api_version, header.correlation_id);
            let answer = match ApiKey(header.request_api_key) {
                ApiKey::API_VERSIONS => {
                    let response = ApiVersionsResponse {
                        error_code: self.code(ApiKey::API_VERSIONS),
                        ..versions()
                    };
                    // As in Kafka: what says that the version is not known is in version 0.
                    let version = match response.error_code {
                        ErrorCode::UNSUPPORTED_VERSION => 0,
                        _ => version,
                    };
                    frame::encode_response(version, id, &response)
                }
                ApiKey::METADATA => {
                    let request =
                        MetadataRequest::decode(&mut input, version).map_err(io::Error::other)?;
                    frame::encode_response(version, id, &self.metadata(&request))
                }
                _ => frame::encode_response(version, id, &self.coordinator()),
            };
            for segment in answer.map_err(io::Error::other)? {
                stream.write_all(&segment).await?;
            }
        }
    }

    /// What the next request of the API is answered with.
    fn code(&self, api: ApiKey) -> ErrorCode {
        match self.world().codes.get_mut(&api) {
            Some((code, times @ 1..)) => {
                *times -= 1;
                *code
            }
            _ => ErrorCode::NONE,
        }
    }

    /// Answers the next requests of the API with `code`.
    fn answer(&self, api: ApiKey, code: ErrorCode, times: usize) {
        self.world().codes.insert(api, (code, times));
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        // It is about topics: a request for none shows nothing.
        let code = match request.topics.as_deref() {
            Some([_, ..]) => self.code(ApiKey::METADATA),
            _ => ErrorCode::NONE,
        };
        let mut world = self.world();
        world.metadata_requests += 1;
        let brokers = world
            .listening
            .iter()
            .filter(|(_, node)| !world.hidden.contains(node))
            .map(|(address, node)| MetadataResponseBroker {
                node_id: *node,
                host: address.host().to_string(),
                port: address.port().into(),
                ..Default::default()
            });
        let asked: Vec<_> = request
            .topics
            .iter()
            .flatten()
            .filter_map(|topic| topic.name.clone())
            .collect();
        let topics = asked
            .iter()
            .cloned()
            .map(|name| match world.topics.get(&name) {
                Some(_) if code != ErrorCode::NONE => MetadataResponseTopic {
                    error_code: code,
                    name: Some(name),
                    ..Default::default()
                },
                Some(leaders) => topic(name, leaders),
                None => MetadataResponseTopic {
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    name: Some(name),
                    ..Default::default()
                },
            });
        let response = MetadataResponse {
            brokers: brokers.collect(),
            topics: topics.collect(),
            controller_id: 1,
            ..Default::default()
        };
        if world.auto_create && request.allow_auto_topic_creation {
            // As in Kafka, it is under way: the next request will find it.
            for name in &asked {
                world
                    .topics
                    .entry(name.clone())
                    .or_insert_with(|| vec![(1, 0)]);
            }
        }
        let may_create = request.allow_auto_topic_creation;
        world.all_asked.push((asked.clone(), may_create));
        world.asked = asked;
        response
    }

    fn coordinator(&self) -> FindCoordinatorResponse {
        let code = self.code(ApiKey::FIND_COORDINATOR);
        let mut world = self.world();
        world.coordinator_requests += 1;
        let (error_code, node_id) = match world.coordinators.len() {
            1 => world.coordinators[0],
            _ => world.coordinators.remove(0),
        };
        let error_code = match code {
            ErrorCode::NONE => error_code,
            code => code,
        };
        FindCoordinatorResponse {
            coordinators: vec![find_coordinator_response::Coordinator {
                key: "mailers".to_string(),
                error_code,
                node_id,
                host: home(node_id).host().to_string(),
                port: 9092,
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}

fn home(node: i32) -> Address {
    Address::new(format!("kafka-{node}"), 9092)
}

fn topic(name: String, leaders: &[(i32, i32)]) -> MetadataResponseTopic {
    let partitions = leaders
        .iter()
        .zip(0..)
        .map(|(leader, index)| MetadataResponsePartition {
            partition_index: index,
            leader_id: leader.0,
            leader_epoch: leader.1,
            ..Default::default()
        });
    MetadataResponseTopic {
        name: Some(name),
        topic_id: Uuid::from_u128(1),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn versions() -> ApiVersionsResponse {
    let of = |key: ApiKey| ApiVersion {
        api_key: key.0,
        min_version: 0,
        max_version: key.versions().map_or(0, |range| range.max),
        ..Default::default()
    };
    let keys = [
        ApiKey::METADATA,
        ApiKey::FIND_COORDINATOR,
        ApiKey::API_VERSIONS,
    ];
    ApiVersionsResponse {
        api_keys: keys.into_iter().map(of).collect(),
        ..Default::default()
    }
}

/// The leader of the first partition of the topic `emails`.
fn leader(cluster: &Cluster) -> Option<i32> {
    cluster.metadata().topic("emails")?.partitions[0].leader
}

fn soon(seconds: u32) -> Instant {
    Instant::now() + SECOND * seconds
}

async fn connected(network: &Network) -> Cluster {
    Cluster::connect(&network.config(), soon(10))
        .await
        .expect("a cluster")
}

#[tokio::test(start_paused = true)]
async fn one_bootstrap_address_that_answers_is_enough() {
    let network = Network::new(3);
    network.world().listening.remove(&home(1));
    let cluster = connected(&network).await;
    assert_eq!(cluster.metadata().brokers.len(), 2);
    assert_eq!(cluster.metadata().controller_id, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_bootstrap_lists_each_address_and_why_by_the_deadline() {
    let network = Network::new(0);
    let started = Instant::now();
    let error = Cluster::connect(&network.config(), soon(5))
        .await
        .expect_err("nobody there");
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    assert!(
        text.contains("kafka-1:9092") && text.contains("kafka-2:9092"),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
    assert!(started.elapsed() <= SECOND * 5);
    assert!(network.world().dials >= 4, "it tried more than once");
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_address_that_keeps_silent_leaves_time_for_the_others() {
    for silent in [1, 2] {
        let network = Network::new(3);
        network.world().silent.push(silent);
        let started = Instant::now();
        connected(&network).await;
        assert!(started.elapsed() < SECOND * 6);
    }
}

#[tokio::test(start_paused = true)]
async fn no_bootstrap_address_is_a_configuration_error() {
    let error = Cluster::connect(&ClientConfig::default(), soon(5))
        .await
        .expect_err("no address");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_waited_for_while_it_comes_into_being() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let creating = async {
        tokio::time::sleep(SECOND).await;
        network
            .world()
            .topics
            .insert("emails".to_string(), vec![(1, 0)]);
    };
    let (topic, ()) = tokio::join!(cluster.topic("emails", soon(10)), creating);
    assert_eq!(topic.expect("the topic").partitions[0].leader, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_is_one_clear_error_within_the_deadline() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let started = Instant::now();
    let error = cluster
        .topic("emials", soon(2))
        .await
        .expect_err("no such topic");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    let text = error.to_string();
    assert!(
        text.starts_with("topic emials: the topic does not exist"),
        "{text}"
    );
    assert!(started.elapsed() <= SECOND * 2);
    assert!(
        network.world().metadata_requests < 40,
        "with pauses in between"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_topic_is_asked_for_at_once() {
    let network = Network::new(1);
    network
        .world()
        .topics
        .insert("emails".to_string(), vec![(1, 0)]);
    let cluster = connected(&network).await;
    let started = Instant::now();
    cluster.topic("emails", soon(10)).await.expect("the topic");
    assert!(
        started.elapsed() < Duration::from_millis(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn many_wishes_become_few_requests() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.world().metadata_requests;
    for _ in 0..1_000 {
        cluster.refresh();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let requests = network.world().metadata_requests - before;
    assert!((5..=20).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_refreshed_when_it_gets_old() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.world().metadata_requests;
    tokio::time::sleep(cluster.config().metadata_max_age + SECOND).await;
    assert_eq!(network.world().metadata_requests, before + 1);
}

#[tokio::test(start_paused = true)]
async fn when_all_brokers_are_gone_the_client_bootstraps_again() {
    let network = Network::new(2);
    network
        .world()
        .listening
        .insert(Address::new("moved-1", 1), 3);
    network
        .world()
        .listening
        .insert(Address::new("moved-2", 2), 4);
    let cluster = connected(&network).await;
    // The whole cluster is replaced: only the bootstrap addresses lead to the new brokers.
    {
        let mut world = network.world();
        world.listening.clear();
        world.listening.insert(home(1), 11);
        world.listening.insert(Address::new("new", 9), 12);
    }
    let metadata = cluster.refreshed(soon(60)).await.expect("fresh metadata");
    assert_eq!(
        metadata.brokers.keys().copied().collect::<Vec<_>>(),
        [11, 12]
    );
    cluster
        .connection(12, Purpose::Fetch, soon(5))
        .await
        .expect("a connection");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_keeps_silent_does_not_hold_up_a_refresh_for_good() {
    let network = Network::new(3);
    let cluster = connected(&network).await;
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    network.world().silent.push(1);
    network.world().silent.push(2);
    cluster.refreshed(soon(60)).await.expect("fresh metadata");
}

#[tokio::test(start_paused = true)]
async fn a_leader_hint_is_used_at_once() {
    let network = Network::new(3);
    network
        .world()
        .topics
        .insert("emails".to_string(), vec![(1, 5)]);
    let cluster = connected(&network).await;
    cluster.topic("emails", soon(5)).await.expect("the topic");
    let mut changes = cluster.watch();
    changes.mark_unchanged();
    assert!(!cluster.leader_hint("emails", 0, 2, 5, None));
    assert!(!changes.has_changed().expect("open"));
    assert!(cluster.leader_hint("emails", 0, 2, 6, None));
    assert!(changes.has_changed().expect("open"));
    assert_eq!(leader(&cluster), Some(2));
    // A broker that has not heard of it yet does not take it back.
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(leader(&cluster), Some(2));
}

#[tokio::test(start_paused = true)]
async fn each_purpose_has_one_connection_however_many_ask() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.world().dials;
    let dialling: Vec<_> = (0..20)
        .map(|i| {
            let cluster = cluster.clone();
            let purpose = if i % 2 == 0 {
                Purpose::Produce
            } else {
                Purpose::Fetch
            };
            tokio::spawn(async move { cluster.connection(1, purpose, soon(5)).await.map(drop) })
        })
        .collect();
    for one in dialling {
        one.await.expect("no panic").expect("a connection");
    }
    assert_eq!(network.world().dials, before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_is_made_anew_with_pauses_between_failures() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    let first = cluster
        .connection(1, Purpose::Produce, soon(5))
        .await
        .expect("a connection");
    network.world().listening.remove(&home(1));
    assert!(
        first
            .call(&MetadataRequest::default(), soon(5))
            .await
            .is_err()
    );
    assert!(!first.is_open());
    let before = network.world().dials;
    let started = Instant::now();
    let address = home(1);
    let connections = cluster.0.refresher.connections();
    for _ in 0..6 {
        let error = connections
            .connect(1, Purpose::Produce, &address, soon(5))
            .await;
        assert_eq!(error.expect_err("gone").kind(), ErrorKind::Connect);
    }
    assert_eq!(network.world().dials, before + 6);
    // 50 + 100 + 200 + 400 + 800 ms, give or take a fifth.
    let took = started.elapsed().as_millis();
    assert!((1_200..=1_900).contains(&took), "{took}");
    network.world().listening.insert(home(1), 1);
    connections
        .connect(1, Purpose::Produce, &address, soon(5))
        .await
        .expect("it is back");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_drops_every_connection_is_not_dialled_without_a_pause() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    let before = network.world().dials;
    let until = soon(1);
    while Instant::now() < until {
        let connection = cluster.connection(2, Purpose::Fetch, soon(5)).await;
        let connection = connection.expect("a connection");
        network.world().dropping = true;
        let answer = connection.call(&MetadataRequest::default(), soon(5)).await;
        assert!(answer.is_err());
        network.world().dropping = false;
    }
    let dials = network.world().dials - before;
    assert!((10..=30).contains(&dials), "{dials}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_moved_is_dialled_at_its_new_address() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    let old = cluster
        .connection(2, Purpose::Fetch, soon(5))
        .await
        .expect("a connection");
    network.world().listening.remove(&home(2));
    network
        .world()
        .listening
        .insert(Address::new("elsewhere", 7), 2);
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    let new = cluster
        .connection(2, Purpose::Fetch, soon(5))
        .await
        .expect("a connection");
    assert_eq!(old.broker().1, &home(2));
    assert_eq!(new.broker().1, &Address::new("elsewhere", 7));
}

#[tokio::test(start_paused = true)]
async fn a_broker_nobody_knows_is_asked_about_once_and_then_an_error() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let error = cluster
        .connection(9, Purpose::Other, soon(5))
        .await
        .expect_err("unknown");
    assert!(
        error.to_string().contains("broker 9 is not in the cluster"),
        "{error}"
    );
    assert!(error.is_retriable());
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_is_asked_for_until_there_is_one_and_then_remembered() {
    let network = Network::new(2);
    network.world().coordinators = vec![
        (ErrorCode::COORDINATOR_NOT_AVAILABLE, -1),
        (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, -1),
        (ErrorCode::NONE, 2),
    ];
    let cluster = connected(&network).await;
    for _ in 0..3 {
        let found = cluster
            .coordinator(CoordinatorKind::Group, "mailers", soon(5))
            .await;
        assert_eq!(found.expect("a coordinator"), 2);
    }
    assert_eq!(network.world().coordinator_requests, 3);
    network.world().coordinators = vec![(ErrorCode::NONE, 1)];
    cluster.coordinator_lost(CoordinatorKind::Group, "mailers");
    let found = cluster
        .coordinator(CoordinatorKind::Group, "mailers", soon(5))
        .await;
    assert_eq!(found.expect("a coordinator"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_refused_twice_is_an_error_soon() {
    let network = Network::new(1);
    network.world().coordinators = vec![(ErrorCode::GROUP_AUTHORIZATION_FAILED, -1)];
    let cluster = connected(&network).await;
    let started = Instant::now();
    let error = cluster
        .coordinator(CoordinatorKind::Group, "mailers", soon(5))
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Authorization);
    assert!(started.elapsed() < SECOND);
    assert_eq!(network.world().coordinator_requests, 2);
    network.world().coordinators = vec![
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, -1),
        (ErrorCode::NONE, 1),
    ];
    let found = cluster
        .coordinator(CoordinatorKind::Group, "mailers", soon(5))
        .await;
    assert_eq!(found.expect("one bad answer is no verdict"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_all_tasks_and_connections() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    cluster
        .connection(1, Purpose::Produce, soon(5))
        .await
        .expect("a connection");
    cluster
        .connection(2, Purpose::Fetch, soon(5))
        .await
        .expect("a connection");
    assert!(network.world().open >= 2);
    drop(cluster);
    tokio::time::sleep(SECOND).await;
    assert_eq!(network.world().open, 0);
    let requests = network.world().metadata_requests;
    tokio::time::sleep(SECOND * 1_000).await;
    assert_eq!(network.world().metadata_requests, requests);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_keeps_silent_leaves_time_for_another_one_to_be_asked() {
    for silent in [1, 2] {
        let network = Network::new(2);
        let cluster = connected(&network).await;
        network.world().silent.push(silent);
        let started = Instant::now();
        let connection = cluster.any_connection(soon(6)).await.expect("a connection");
        assert_ne!(connection.broker().0, silent);
        assert!(started.elapsed() < SECOND * 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_deleted_is_not_created_again_by_a_refresh() {
    let network = Network::new(1);
    network.world().auto_create = true;
    let cluster = Cluster::connect(&network.creating(), soon(10))
        .await
        .expect("a cluster");
    cluster.topic("emails", soon(5)).await.expect("created");
    network.world().topics.clear();
    for _ in 0..3 {
        cluster.refreshed(soon(5)).await.expect("fresh metadata");
    }
    assert!(network.world().topics.is_empty());
    // It is still known, and a new one can still come into being.
    assert!(cluster.metadata().topic("emails").is_some());
    cluster.topic("news", soon(5)).await.expect("created");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_is_not_asked_for_for_ever() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    for name in ["emials", "emals"] {
        let error = cluster
            .topic(name, soon(1))
            .await
            .expect_err("no such topic");
        assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    }
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert!(
        network.world().asked.is_empty(),
        "{:?}",
        network.world().asked
    );
    assert!(cluster.metadata().topic_errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_who_gives_up_waiting_for_a_topic_takes_it_from_nobody_else() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let creating = async {
        tokio::time::sleep(SECOND * 3).await;
        network
            .world()
            .topics
            .insert("emails".to_string(), vec![(1, 0)]);
    };
    let (hasty, patient, ()) = tokio::join!(
        cluster.topic("emails", soon(1)),
        cluster.topic("emails", soon(10)),
        creating
    );
    assert!(hasty.is_err());
    assert!(patient.is_ok());
    // Nor from those who want to hear of it whenever it comes.
    cluster.track(["later"]);
    assert!(cluster.topic("later", soon(1)).await.is_err());
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.world().asked, ["emails", "later"]);
}

#[tokio::test(start_paused = true)]
async fn asking_again_and_again_for_a_topic_that_does_not_exist_makes_few_requests() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.world().metadata_requests;
    let until = soon(2);
    while Instant::now() < until {
        let deadline = Instant::now() + Duration::from_millis(2);
        assert!(cluster.topic("emials", deadline).await.is_err());
    }
    let requests = network.world().metadata_requests - before;
    assert!((5..=50).contains(&requests), "{requests}");
}

/// The node to which there is an open connection for short questions.
fn open_node(cluster: &Cluster) -> i32 {
    let connections = cluster.0.refresher.connections();
    let metadata = cluster.metadata();
    let open = metadata.brokers.values().find(|broker| {
        let connection = connections.open(broker.id, Purpose::Other, &broker.address);
        connection.is_some()
    });
    open.expect("an open connection").id
}

#[tokio::test(start_paused = true)]
async fn a_hung_broker_with_the_one_open_connection_delays_nothing_for_long() {
    let network = Network::new(3);
    let cluster = connected(&network).await;
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    let hung = open_node(&cluster);
    network.world().silent.push(hung);
    let started = Instant::now();
    cluster.refreshed(soon(30)).await.expect("fresh metadata");
    assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
    // It is known by now that it owes an answer.
    for _ in 0..3 {
        let started = Instant::now();
        let group = cluster.coordinator(CoordinatorKind::Group, "mailers", soon(30));
        group.await.expect("a coordinator");
        cluster.coordinator_lost(CoordinatorKind::Group, "mailers");
        assert!(started.elapsed() < SECOND / 10, "{:?}", started.elapsed());
        let other = cluster.any_connection(soon(5)).await.expect("a connection");
        assert_ne!(other.broker().0, hung);
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_brokers_keep_silent_the_bootstrap_list_is_reached_soon() {
    for nodes in [1, 3, 12, 40] {
        let network = Network::new(nodes);
        let address = Address::new("bootstrap", 1);
        network.world().listening.insert(address, 1_000);
        network.world().hidden.push(1_000);
        let config = ClientConfig {
            bootstrap_servers: vec!["bootstrap:1".to_string()],
            ..network.config()
        };
        let cluster = Cluster::connect(&config, soon(5)).await.expect("a cluster");
        cluster.refreshed(soon(5)).await.expect("fresh metadata");
        network.world().silent.extend(1..=nodes);
        let started = Instant::now();
        cluster.refreshed(soon(60)).await.expect("fresh metadata");
        assert!(
            started.elapsed() < SECOND * 3,
            "{nodes}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bootstrap_servers_are_tried_side_by_side() {
    let network = Network::new(5);
    network.world().silent.extend([1, 2, 3, 4]);
    let servers = (1..=5).map(|node| format!("kafka-{node}:9092"));
    let config = ClientConfig {
        bootstrap_servers: servers.collect(),
        ..network.config()
    };
    let started = Instant::now();
    Cluster::connect(&config, soon(60))
        .await
        .expect("a cluster");
    assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_first_use_of_each_topic_asks_for_that_topic_alone() {
    const TOPICS: usize = 300;
    let network = Network::new(3);
    let cluster = connected(&network).await;
    let names: Vec<_> = (0..TOPICS).map(|number| format!("t{number}")).collect();
    for name in &names {
        let topics = &mut network.world().topics;
        topics.insert(name.clone(), vec![(1, 0)]);
    }
    network.world().all_asked.clear();
    let started = Instant::now();
    for name in &names {
        cluster.topic(name, soon(10)).await.expect("the topic");
    }
    let asked: usize = {
        let world = network.world();
        world.all_asked.iter().map(|(topics, _)| topics.len()).sum()
    };
    assert_eq!(asked, TOPICS);
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.world().asked.len(), TOPICS);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_does_not_come_back_because_a_new_one_is_asked_for() {
    let network = Network::new(1);
    network.world().auto_create = true;
    let cluster = Cluster::connect(&network.creating(), soon(10))
        .await
        .expect("a cluster");
    cluster.topic("old", soon(5)).await.expect("created");
    network.world().topics.clear();
    network.world().all_asked.clear();
    cluster.track(["new"]);
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    cluster.topic("newer", soon(5)).await.expect("created");
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    let world = network.world();
    assert!(!world.topics.contains_key("old"), "{:?}", world.topics);
    assert!(world.topics.contains_key("new"));
    for (topics, may_create) in &world.all_asked {
        let asks_for_old = topics.iter().any(|topic| topic == "old");
        assert!(!(asks_for_old && *may_create), "{topics:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_uses_is_forgotten_and_asked_for_when_it_is_used_again() {
    let network = Network::new(1);
    for name in ["idle", "used", "subscribed"] {
        let topics = &mut network.world().topics;
        topics.insert(name.to_string(), vec![(1, 0)]);
    }
    let config = ClientConfig {
        metadata_max_idle: SECOND * 10,
        ..network.config()
    };
    let cluster = Cluster::connect(&config, soon(5)).await.expect("a cluster");
    for name in ["idle", "used", "subscribed"] {
        cluster.topic(name, soon(5)).await.expect("the topic");
    }
    cluster.track(["subscribed"]);
    tokio::time::sleep(SECOND * 6).await;
    cluster.used(["used"]);
    tokio::time::sleep(SECOND * 6).await;
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.world().asked, ["subscribed", "used"]);
    assert!(cluster.metadata().topic("idle").is_none());
    cluster.used(["idle"]);
    tokio::time::sleep(SECOND / 10).await;
    assert!(cluster.metadata().topic("idle").is_some());
}

#[tokio::test(start_paused = true)]
async fn names_that_cannot_be_harm_nobody_else() {
    let network = Network::new(1);
    let emails = vec![(1, 0)];
    network.world().topics.insert("emails".to_string(), emails);
    let cluster = connected(&network).await;
    for name in [&*"t".repeat(40_000), "", "a b", ".."] {
        let started = Instant::now();
        let error = cluster.topic(name, soon(5)).await.expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(started.elapsed() < SECOND / 10);
        // Whoever names them: the subscription of another member of the group, say.
        cluster.track([name]);
        cluster.used([name]);
        cluster.refreshed(soon(5)).await.expect("fresh metadata");
    }
    cluster.topic("emails", soon(5)).await.expect("the topic");
}

#[tokio::test(start_paused = true)]
async fn what_keeps_the_metadata_from_coming_is_told() {
    for hung in [false, true] {
        let network = Network::new(2);
        let cluster = connected(&network).await;
        let patience = cluster.config().request_timeout;
        assert!(cluster.overdue(patience).is_none());
        match hung {
            true => network.world().silent.extend([1, 2]),
            false => network.world().listening.clear(),
        }
        let reason = if hung { "did not answer" } else { "refused" };
        let started = Instant::now();
        let error = cluster.topic("emails", soon(30)).await.expect_err("down");
        assert!(started.elapsed() <= SECOND * 31);
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains("kafka-"), "{text}");
        cluster.refresh();
        // Long enough for one refresh more to hang.
        tokio::time::sleep(patience).await;
        let error = cluster.overdue(patience).expect("failing for long");
        assert!(error.is_retriable(), "{error}");
        assert!(error.to_string().contains("kafka-"), "{error}");
        assert!(cluster.overdue(patience).is_none(), "once in that time");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_hangs_up_at_our_first_bytes_is_an_error_at_once_that_says_what_it_may_be()
{
    for sasl in [false, true] {
        let network = Network::new(2);
        match sasl {
            true => network.world().wants_sasl = true,
            false => network.world().dropping = true,
        }
        let started = Instant::now();
        let error = Cluster::connect(&network.config(), soon(60)).await;
        let error = error.expect_err("no broker for us");
        assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
        let text = error.to_string();
        assert!(text.contains("TLS or SASL listener"), "{text}");
        assert!(text.contains("kafka-1:9092"), "{text}");
    }
    // A broker that is just starting does so for a moment.
    let network = Network::new(2);
    network.world().dropping = true;
    let starting = async {
        tokio::time::sleep(SECOND / 10).await;
        network.world().dropping = false;
    };
    let config = network.config();
    let (cluster, ()) = tokio::join!(Cluster::connect(&config, soon(60)), starting);
    cluster.expect("a cluster");
}

/// Every code there is, and one that there is not, but that of success.
fn all_codes() -> impl Iterator<Item = ErrorCode> {
    let codes = ErrorCode::all().chain([ErrorCode(31_999)]);
    codes.filter(|code| *code != ErrorCode::NONE)
}

/// What is decided is told at once; whatever else is answered once, or for ever, must not end the client nor make it ask without pauses.
#[tokio::test(start_paused = true)]
async fn one_bad_answer_is_got_over_and_one_for_ever_is_an_error_in_time() {
    let asked = |network: &Network| {
        let world = network.world();
        world.metadata_requests + world.coordinator_requests + world.dials
    };
    for api in [
        ApiKey::API_VERSIONS,
        ApiKey::METADATA,
        ApiKey::FIND_COORDINATOR,
    ] {
        for code in all_codes() {
            // The other bootstrap server may have a better answer than the first, and a refused coordinator is asked for twice.
            let decided = api == ApiKey::METADATA && !may_pass(&Error::server(code, None));
            // An older version of ApiVersions is asked for then.
            let negotiates = api == ApiKey::API_VERSIONS && code == ErrorCode::UNSUPPORTED_VERSION;
            let what = format!("{} {}", api.name(), code.name());
            for times in [1, usize::MAX] {
                let network = Network::new(1);
                let emails = vec![(1, 0)];
                network.world().topics.insert("emails".to_string(), emails);
                network.answer(api, code, times);
                let before = Instant::now();
                let result: Result<()> = async {
                    let cluster = Cluster::connect(&network.config(), soon(10)).await?;
                    cluster.topic("emails", soon(10)).await?;
                    let group = cluster.coordinator(CoordinatorKind::Group, "mailers", soon(10));
                    group.await.map(drop)
                }
                .await;
                assert!(before.elapsed() <= SECOND * 31, "{what}");
                match result {
                    Ok(()) => assert!(times == 1 && (!decided || negotiates), "{what}: no error"),
                    Err(error) => {
                        assert!(times > 1 || decided, "{what}: {error}");
                        assert!(
                            error.to_string().contains(code.name())
                                || code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                                || negotiates,
                            "{what}: {error}"
                        );
                    }
                }
                let requests = asked(&network);
                // In ten seconds, with pauses of at least 100 ms, give or take a fifth.
                assert!(requests <= 130, "{what}: {requests} requests");
            }
        }
    }
}
