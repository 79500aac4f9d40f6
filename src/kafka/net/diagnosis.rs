//! How far a connection gets, step by step. In: a configuration, an address. Out: what each step found; the last of them may have failed.

use std::time::Duration;

use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse, MetadataRequest};
use protocol::{ErrorCode, Request};
use tokio::time::{Instant, timeout_at};

use super::auth::Authenticator;
use super::dialer::cannot_connect;
use super::frame_reader::FrameReader;
use super::handshake::Handshake;
use super::tls::TlsConnector;
use super::versions::ApiVersions;
use super::{Address, FramePool};
use crate::kafka::config::security::SaslMechanism;
use crate::kafka::error::sanitised;
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

/// The topic whose leader tells the time: the log of the controllers.
const CONTROLLERS_LOG: &str = "__cluster_metadata";

/// What a client does before its first request to a broker, and some questions that any client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The byte stream: TCP, or whatever the transport takes.
    Connect,
    /// The encryption.
    Tls,
    /// What both sides speak.
    Versions,
    /// Who the client is.
    Sasl,
    /// Who belongs to the cluster.
    Metadata,
    /// What time it is there.
    Clock,
}

/// One step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// Which.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
    /// What it found, or why the connection gets no further.
    pub result: Result<Finding>,
}

/// What a step found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// There is a byte stream.
    Connected,
    /// It is encrypted.
    Encrypted {
        /// The version of TLS.
        version: String,
        /// How it is encrypted.
        cipher: String,
    },
    /// Every API that either side knows, by number.
    Versions(Vec<ApiVersions>),
    /// The broker knows who the client is.
    Authenticated {
        /// By which mechanism.
        mechanism: SaslMechanism,
        /// How long it believes that; `None`: as long as the connection lasts.
        session: Option<Duration>,
    },
    /// Who belongs to the cluster.
    Cluster {
        /// Its id.
        id: Option<String>,
        /// The broker that takes requests for the controller.
        controller: Option<i32>,
        /// The live brokers, and the addresses that they advertise to this listener's clients.
        brokers: Vec<(i32, Address)>,
    },
    /// How far the controller's clock is ahead of this machine's, in milliseconds, and how much that may be off; `None` when no broker says
    /// what time it is. Brokers do since Kafka 3.3 (`DescribeQuorum`), to clients that may describe the cluster.
    Clock(Option<(i64, u64)>),
}

/// How far a connection gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The steps that were tried, in order. Only the last one can have failed.
    pub steps: Vec<Step>,
    /// The certificates that the broker showed, in DER, its own first; also when they are not accepted.
    pub certificates: Vec<Vec<u8>>,
}

/// Diagnoses connections to the brokers of one cluster. Whatever is asked for once and then good for a while, such as a token, serves all of
/// them.
#[derive(Debug)]
pub struct Diagnoser {
    config: ClientConfig,
    authenticator: Option<Authenticator>,
}

impl Diagnoser {
    /// Needs no network. Fails when the configuration is not [valid](ClientConfig::validate).
    pub fn new(config: ClientConfig) -> Result<Self> {
        config.validate()?;
        let authenticator = Authenticator::new(&config);
        Ok(Self {
            config,
            authenticator,
        })
    }

    /// Connects to the broker at `address` as every client with this configuration does, asks what any client may ask, and hangs up.
    ///
    /// The steps before the first request take [`connect_timeout`](ClientConfig::connect_timeout) together, each question
    /// [`request_timeout`](ClientConfig::request_timeout). Cancel safe.
    pub async fn diagnose(&self, address: &Address) -> Diagnosis {
        let mut diagnosis = Diagnosis {
            steps: Vec::new(),
            certificates: Vec::new(),
        };
        let until = Instant::now() + self.config.connect_timeout;
        // A step that fails ends it, and has been noted.
        let _ended = diagnosis.run(self, address, until).await;
        diagnosis
    }
}

impl Diagnosis {
    async fn run(
        &mut self,
        diagnoser: &Diagnoser,
        address: &Address,
        until: Instant,
    ) -> Option<()> {
        let Diagnoser {
            config,
            authenticator,
        } = diagnoser;
        let security = &config.security;
        let uses_tls = security.protocol.uses_tls();
        let connecting = async {
            let connected = config.transport.connect(address).await;
            let stream = connected.map_err(|error| {
                Error::new(ErrorKind::Connect, cannot_connect(-1)).because(error)
            })?;
            Ok((stream, Finding::Connected))
        };
        let mut stream = self.step(Stage::Connect, until, connecting).await?;
        if uses_tls {
            let mut certificates = Vec::new();
            let tls = TlsConnector::new(security.tls.clone());
            let encrypting = async {
                let (stream, version, cipher) =
                    tls.examine(address, stream, &mut certificates).await?;
                Ok((stream, Finding::Encrypted { version, cipher }))
            };
            let encrypted = self.step(Stage::Tls, until, encrypting).await;
            self.certificates = certificates;
            stream = encrypted?;
        }
        let mut reader = FrameReader::new(FramePool::default(), config.max_frame_bytes);
        let mut handshake = Handshake::new(&mut stream, &mut reader, &config.client_id, address);
        let negotiating = async {
            let versions = handshake.negotiate().await?;
            let found = Finding::Versions(versions.beside_ours());
            Ok((versions, found))
        };
        let versions = self.step(Stage::Versions, until, negotiating).await?;
        if let Some(authenticator) = authenticator {
            let authenticating = async {
                let session = handshake.authenticate(authenticator, &versions).await?;
                let mechanism = authenticator.mechanism();
                Ok(((), Finding::Authenticated { mechanism, session }))
            };
            self.step(Stage::Sasl, until, authenticating).await?;
        }
        let until = Instant::now() + config.request_timeout;
        let asking = async {
            let request = MetadataRequest {
                topics: Some(Vec::new()),
                ..Default::default()
            };
            let version = versions.choose::<MetadataRequest>()?;
            let response = handshake.ask(&request, version).await?;
            if response.error_code != ErrorCode::NONE {
                return Err(Error::server(response.error_code, None).api(MetadataRequest::KEY));
            }
            let brokers = response.brokers.iter().map(|broker| {
                let port = u16::try_from(broker.port).map_err(|_| {
                    let host = sanitised(&broker.host);
                    let message = format!(
                        "broker {} advertises {host} with port {}",
                        broker.node_id, broker.port
                    );
                    Error::new(ErrorKind::Protocol, message).api(MetadataRequest::KEY)
                })?;
                Ok((broker.node_id, Address::new(broker.host.as_str(), port)))
            });
            let found = Finding::Cluster {
                brokers: brokers.collect::<Result<_>>()?,
                controller: (response.controller_id >= 0).then_some(response.controller_id),
                id: response.cluster_id,
            };
            Ok(((), found))
        };
        self.step(Stage::Metadata, until, asking).await?;
        let until = Instant::now() + config.request_timeout;
        let asking = async {
            let Ok(version) = versions.choose::<DescribeQuorumRequest>() else {
                return Ok(((), Finding::Clock(None)));
            };
            let log = TopicData {
                topic_name: CONTROLLERS_LOG.to_string(),
                partitions: vec![PartitionData::default()],
                ..Default::default()
            };
            let request = DescribeQuorumRequest {
                topics: vec![log],
                ..Default::default()
            };
            let asked_ms = config.clock.now_ms();
            let response = handshake.ask(&request, version).await?;
            let answered_ms = config.clock.now_ms();
            let difference = leaders_time(&response).map(|time_ms| {
                let on_the_way = answered_ms.saturating_sub(asked_ms);
                let middle = asked_ms.saturating_add(on_the_way / 2);
                (
                    time_ms.saturating_sub(middle),
                    on_the_way.unsigned_abs() / 2 + 1,
                )
            });
            Ok(((), Finding::Clock(difference)))
        };
        self.step(Stage::Clock, until, asking).await
    }

    /// Does one step and notes what came of it; `None` when it failed.
    async fn step<T>(
        &mut self,
        stage: Stage,
        until: Instant,
        work: impl Future<Output = Result<(T, Finding)>>,
    ) -> Option<T> {
        let began = Instant::now();
        let done = match timeout_at(until, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(ErrorKind::Timeout, silence(stage))),
        };
        let (value, result) = match done {
            Ok((value, found)) => (Some(value), Ok(found)),
            Err(error) => (None, Err(error)),
        };
        self.steps.push(Step {
            stage,
            took: began.elapsed(),
            result,
        });
        value
    }
}

/// What it means that nothing came.
fn silence(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => {
            "no answer within socket.connection.setup.timeout.ms: a firewall swallows it, or nobody has the address"
        }
        Stage::Tls => {
            "the peer takes the connection and says nothing: is it a listener for TLS? One for PLAINTEXT waits for more"
        }
        Stage::Versions => {
            "the peer takes the connection and says nothing: is it a Kafka broker, and does its listener want TLS (security.protocol)?"
        }
        Stage::Sasl => {
            "the broker, or whoever has the token, says nothing within socket.connection.setup.timeout.ms"
        }
        Stage::Metadata | Stage::Clock => "the broker says nothing within request.timeout.ms",
    }
}

/// What time it was where the leader of the controllers stands, in milliseconds since 1970: it was there that it last saw itself.
fn leaders_time(response: &DescribeQuorumResponse) -> Option<i64> {
    let log = response.topics.first()?.partitions.first()?;
    let is_good = response.error_code == ErrorCode::NONE && log.error_code == ErrorCode::NONE;
    let mut voters = log.current_voters.iter();
    let leader = voters.find(|voter| is_good && voter.replica_id == log.leader_id)?;
    (leader.last_fetch_timestamp > 0).then_some(leader.last_fetch_timestamp)
}
