//! From a broker's address to a connection that carries requests: the byte stream, TLS, the handshake, authentication.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::ApiKey;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::auth::Authenticator;
use super::frame_reader::FrameReader;
use super::handshake::Handshake;
use super::tls::TlsConnector;
use super::{Address, BoxStream, Connection, FramePool};
use crate::kafka::config::security::{CertificateCheck, SecurityConfig, SecurityProtocol};
use crate::kafka::observe::metrics::{Recorder, Snapshot, Source, of_brokers};
use crate::kafka::observe::{BrokerCounters, BrokerMetrics, ClientEvent};
use crate::kafka::runtime::Mutex;
use crate::kafka::runtime::tasks::Tasks;
use crate::kafka::{ClientConfig, Error, ErrorKind, Random, Result, WriteOutcome};

/// What all connections of a client have in common.
#[derive(Debug)]
pub(crate) struct Dialer {
    config: ClientConfig,
    frames: FramePool,
    tasks: Tasks,
    tls: Option<TlsConnector>,
    authenticator: Option<Authenticator>,
    random: Mutex<Random>,
    /// What went on with each broker, by node; they outlive its connections, and its place in the metadata.
    counters: Arc<CountersByBroker>,
    /// Told when a broker offers to take what the client measures.
    telemetry_offered: Arc<Notify>,
}

/// The counters of each broker that was dialled, by node.
type CountersByBroker = Mutex<BTreeMap<i32, Arc<BrokerCounters>>>;

fn read(counters: &CountersByBroker) -> BTreeMap<i32, BrokerMetrics> {
    let counters = counters.lock();
    let each = counters.iter();
    each.map(|(node, counters)| (*node, counters.read()))
        .collect()
}

/// A client's connections, as they are measured.
struct MeasuredBrokers {
    client_id: String,
    counters: Arc<CountersByBroker>,
}

impl Source for MeasuredBrokers {
    fn measure(&self, to: &mut Snapshot) -> bool {
        let mut to = Recorder::new(to, &self.client_id, None);
        of_brokers(&mut to, &read(&self.counters));
        // Besides what looks at them, there is who dials.
        Arc::strong_count(&self.counters) > 1
    }

    fn trouble(&self) -> Option<String> {
        if Arc::strong_count(&self.counters) == 1 {
            return None;
        }
        let counters = self.counters.lock();
        let (connected, failing) = (
            counters.values().any(|of| of.is_connected()),
            counters.values().any(|of| of.is_failing()),
        );
        let client = &self.client_id;
        (failing && !connected).then(|| format!("client {client} is connected to no broker"))
    }
}

impl Dialer {
    pub fn new(config: ClientConfig, frames: FramePool, tasks: Tasks) -> Self {
        let security = &config.security;
        for what in unprotected(security) {
            config.tell(|| ClientEvent::Unprotected { what });
        }
        let tls = security.protocol.uses_tls();
        let tls = tls.then(|| TlsConnector::new(security.tls.clone()));
        let authenticator = Authenticator::new(&config);
        let random = Mutex::new(config.random("sessions"));
        let counters = Arc::<CountersByBroker>::default();
        config.metrics.register(MeasuredBrokers {
            client_id: config.client_id.clone(),
            counters: counters.clone(),
        });
        Self {
            config,
            frames,
            tasks,
            tls,
            authenticator,
            random,
            counters,
            telemetry_offered: Arc::new(Notify::new()),
        }
    }

    /// Told when a broker offers to take what the client measures.
    pub fn telemetry_offered(&self) -> &Arc<Notify> {
        &self.telemetry_offered
    }

    /// What went on with each broker that was dialled, by node.
    pub fn metrics(&self) -> BTreeMap<i32, BrokerMetrics> {
        read(&self.counters)
    }

    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub fn frames(&self) -> &FramePool {
        &self.frames
    }

    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Connects to the broker `node` (-1 while its id is not known) and does all that comes before its first request.
    ///
    /// Fails by `deadline`, or sooner after the configured timeout, with an error that names the address. Cancel safe: an abandoned attempt
    /// leaves nothing behind.
    pub async fn dial(
        &self,
        node: i32,
        address: &Address,
        deadline: Instant,
    ) -> Result<Connection> {
        let counters = self.counters.lock().entry(node).or_default().clone();
        let began = Instant::now();
        let limit = began + self.config.connect_timeout;
        let until = deadline.min(limit);
        // What is left of a caller's deadline is no setting: it would be shown as some odd number.
        let in_time = || match until == limit {
            true => format!(
                "within socket.connection.setup.timeout.ms = {}",
                self.config.connect_timeout.as_millis()
            ),
            false => format!(
                "before the deadline of the call, which ended sooner than socket.connection.setup.timeout.ms = {}",
                self.config.connect_timeout.as_millis()
            ),
        };
        let failures = counters.useless_streams();
        let connecting = self.config.transport.connect_after(failures, address);
        let connected = match timeout_at(until, connecting).await {
            Ok(Ok(stream)) => {
                let preparing = self.prepare(node, address, stream, &counters);
                let prepared = timeout_at(until, preparing).await.unwrap_or_else(|_| {
                    Err(Error::new(
                        ErrorKind::Connect,
                        format!(
                            "it took the connection but did not answer {}: is it a Kafka broker{}?",
                            in_time(),
                            match self.tls {
                                Some(_) => ", and this its listener for TLS",
                                None => "",
                            }
                        ),
                    ))
                });
                if prepared.is_err() {
                    counters.useless_stream_after(failures);
                }
                prepared
            }
            Ok(Err(error)) => {
                Err(Error::new(ErrorKind::Connect, cannot_connect(node)).because(error))
            }
            Err(_) => Err(Error::new(
                ErrorKind::Connect,
                format!("{} {}", cannot_connect(node), in_time()),
            )),
        };
        counters.connected(connected.is_ok());
        let connected = connected.map_err(|error| {
            error
                .broker(node, address)
                .with_outcome(WriteOutcome::NotWritten)
        })?;
        self.config.tell(|| ClientEvent::Connected {
            broker: node,
            address,
            took: began.elapsed(),
        });
        Ok(connected)
    }

    async fn prepare(
        &self,
        node: i32,
        address: &Address,
        stream: BoxStream,
        counters: &Arc<BrokerCounters>,
    ) -> Result<Connection> {
        let mut stream = match &self.tls {
            Some(tls) => tls.connect(address, stream).await?,
            None => stream,
        };
        let mut reader = FrameReader::new(self.frames.clone(), self.config.max_frame_bytes);
        let mut handshake =
            Handshake::new(&mut stream, &mut reader, &self.config.client_id, address);
        let established = handshake
            .run(self.authenticator.as_ref(), &self.random)
            .await?;
        let offers = established.versions.range(ApiKey::PUSH_TELEMETRY);
        if offers.is_some() {
            self.telemetry_offered.notify_one();
        }
        Ok(Connection::start(
            self,
            node,
            address,
            stream,
            reader,
            established,
            counters,
        ))
    }
}

/// What this configuration lets others on the network do.
fn unprotected(security: &SecurityConfig) -> impl Iterator<Item = &'static str> {
    let in_plaintext = security.protocol == SecurityProtocol::SaslPlaintext;
    let unchecked = security.protocol.uses_tls()
        && security.tls.certificate == CertificateCheck::DangerouslyOff;
    let plaintext = in_plaintext.then_some(
        "security.protocol = SASL_PLAINTEXT does not encrypt: others on the network can read all records, and with PLAIN and OAUTHBEARER what \
         the client is known by; SASL_SSL does",
    );
    let certificate = unchecked.then_some(
        "enable.ssl.certificate.verification = false: anybody on the network can pose as a broker; name whom to trust in \
         ssl.truststore.location instead",
    );
    plaintext.into_iter().chain(certificate)
}

pub(super) fn cannot_connect(node: i32) -> &'static str {
    match node {
        ..0 => "cannot connect",
        // The address is the broker's word, not the configuration's: that is where to look for what is wrong.
        0.. => "cannot connect to the address that the broker advertises",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_to_others_is_told() {
        let mut security = SecurityConfig::default();
        let told = |security: &SecurityConfig| unprotected(security).collect::<Vec<_>>();
        security.tls.certificate = CertificateCheck::DangerouslyOff;
        assert!(told(&security).is_empty(), "there is no TLS");
        security.protocol = SecurityProtocol::SaslSsl;
        assert!(told(&security)[0].contains("verification = false"));
        security.tls.certificate = CertificateCheck::default();
        assert!(told(&security).is_empty());
        security.protocol = SecurityProtocol::SaslPlaintext;
        assert!(told(&security)[0].contains("SASL_SSL"));
    }
}
