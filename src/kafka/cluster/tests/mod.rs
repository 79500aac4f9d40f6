//! A client against a small cluster in memory that loses brokers, moves leaders and keeps silent, on a paused clock. The cluster is here; the
//! tests are in files by subject.

mod bootstrap;
mod codes;
mod connections;
mod coordinators;
mod refreshing;
mod topics;

use std::collections::BTreeMap;
use std::io;
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
use crate::kafka::runtime::Mutex;

const SECOND: Duration = Duration::from_secs(1);

/// A cluster in memory. Broker `n` listens at `kafka-n:9092` unless it moved.
#[derive(Debug, Default)]
struct Scene {
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
struct Network(Arc<Mutex<Scene>>);

impl Transport for Network {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (network, address) = (self.clone(), address.clone());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (near, far) = tokio::io::duplex(1 << 16);
            let node = {
                let mut scene = network.scene();
                scene.dials += 1;
                scene.listening.get(&address).copied()
            };
            let Some(node) = node else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            network.scene().open += 1;
            tokio::spawn(async move {
                // However it ends, the client hung up or the broker did.
                let _ = network.serve(node, far).await;
                network.scene().open -= 1;
            });
            Ok(Box::new(near) as BoxStream)
        })
    }
}

impl Network {
    fn new(nodes: i32) -> Self {
        let mut scene = Scene {
            coordinators: vec![(ErrorCode::NONE, 1)],
            ..Scene::default()
        };
        for node in 1..=nodes {
            scene.listening.insert(home(node), node);
        }
        Self(Arc::new(Mutex::new(scene)))
    }

    fn scene(&self) -> std::sync::MutexGuard<'_, Scene> {
        self.0.lock()
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
            let gone = !self.scene().listening.values().any(|alive| *alive == node);
            if gone || self.scene().dropping {
                return Ok(());
            }
            if self.scene().silent.contains(&node) {
                std::future::pending::<()>().await;
            }
            let is_handshake = header.request_api_key == ApiKey::API_VERSIONS.0;
            if self.scene().wants_sasl && !is_handshake {
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
        match self.scene().codes.get_mut(&api) {
            Some((code, times @ 1..)) => {
                *times -= 1;
                *code
            }
            _ => ErrorCode::NONE,
        }
    }

    /// Answers the next requests of the API with `code`.
    fn answer(&self, api: ApiKey, code: ErrorCode, times: usize) {
        self.scene().codes.insert(api, (code, times));
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        // It is about topics: a request for none shows nothing.
        let code = match request.topics.as_deref() {
            Some([_, ..]) => self.code(ApiKey::METADATA),
            _ => ErrorCode::NONE,
        };
        let mut scene = self.scene();
        scene.metadata_requests += 1;
        let brokers = scene
            .listening
            .iter()
            .filter(|(_, node)| !scene.hidden.contains(node))
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
            .map(|name| match scene.topics.get(&name) {
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
        if scene.auto_create && request.allow_auto_topic_creation {
            // As in Kafka, it is under way: the next request will find it.
            for name in &asked {
                scene
                    .topics
                    .entry(name.clone())
                    .or_insert_with(|| vec![(1, 0)]);
            }
        }
        let may_create = request.allow_auto_topic_creation;
        scene.all_asked.push((asked.clone(), may_create));
        scene.asked = asked;
        response
    }

    fn coordinator(&self) -> FindCoordinatorResponse {
        let code = self.code(ApiKey::FIND_COORDINATOR);
        let mut scene = self.scene();
        scene.coordinator_requests += 1;
        let (error_code, node_id) = match scene.coordinators.len() {
            1 => scene.coordinators[0],
            _ => scene.coordinators.remove(0),
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
