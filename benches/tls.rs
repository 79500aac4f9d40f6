//! What TLS costs: connecting, and reading 60,000 records of 300 bytes, through an in-memory connection to the embedded broker. Both ends
//! are in the figures, by the same cryptography: that of the feature the bench was built with. Side by side:
//!
//! ```sh
//! for features in tls tls-ring tls-aws-lc-rs; do cargo bench --bench tls --features "$features"; done
//! ```

#[path = "../tests/support/in_memory.rs"]
mod in_memory;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use in_memory::InMemory;
use pat_events::broker::{Broker, BrokerTls};
use pat_events::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, Pem, SecurityProtocol, StartOffset,
    TlsVersions, TopicPartition,
};
use protocol::compression::{Codec, Compressor};
use protocol::records::{BatchBuilder, SealOptions};
use tokio::runtime::Runtime;

// Made by `../tests/support/tls/renew`.
const AUTHORITY: &str = include_str!("../tests/support/tls/authority.pem");
const CERTIFICATE: &str = include_str!("../tests/support/tls/broker.pem");
const KEY: &str = include_str!("../tests/support/tls/broker.key");

const BATCHES: usize = 120;
const RECORDS_A_BATCH: usize = 500;
const RECORDS: usize = BATCHES * RECORDS_A_BATCH;
const RECORD_BYTES: usize = 300;

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A broker, and how to connect to it: in plaintext without versions.
fn cluster(runtime: &Runtime, versions: Option<TlsVersions>) -> (Broker, ClientConfig) {
    let mut builder = Broker::builder();
    if versions.is_some() {
        builder = builder.tls(BrokerTls::new(CERTIFICATE, KEY));
    }
    let broker = runtime.block_on(async {
        let broker = builder.start_in_memory().expect("a broker");
        broker.create_topic("t", 1).expect("a new topic");
        broker
    });
    let mut config = ClientConfig::new(&broker.bootstrap_servers());
    config.transport = Arc::new(InMemory(broker.clone()));
    if let Some(versions) = versions {
        config.security.protocol = SecurityProtocol::Ssl;
        config.security.tls.roots = Pem::text(AUTHORITY).into();
        config.security.tls.versions = versions;
    }
    (broker, config)
}

/// Connecting, certificates checked, up to the cluster's metadata.
#[divan::bench(args = [None, Some(TlsVersions::Tls12), Some(TlsVersions::Tls13)], sample_count = 200)]
fn connect(bencher: Bencher<'_, '_>, versions: Option<TlsVersions>) {
    let runtime = runtime();
    let (_broker, config) = cluster(&runtime, versions);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        runtime
            .block_on(Client::connect(config.clone()))
            .expect("a client")
    });
}

fn log() -> Bytes {
    let none: [(&str, Option<&[u8]>); 0] = [];
    let mut compressor = Compressor::new(Codec::None.into());
    let mut bytes = BytesMut::new();
    let value = [7; RECORD_BYTES];
    for _ in 0..BATCHES {
        let mut builder = BatchBuilder::new(Vec::new());
        for _ in 0..RECORDS_A_BATCH {
            let appended = builder.append(0, None, Some(&value), none);
            appended.expect("room in the batch");
        }
        let sealed = builder.seal(&SealOptions::default(), &mut compressor);
        bytes.extend_from_slice(sealed.bytes());
    }
    bytes.freeze()
}

#[divan::bench(args = [None, Some(TlsVersions::Tls12), Some(TlsVersions::Tls13)], sample_count = 20)]
fn read(bencher: Bencher<'_, '_>, versions: Option<TlsVersions>) {
    let runtime = runtime();
    let (broker, client) = cluster(&runtime, versions);
    broker.append_unchecked("t", 0, log());
    let mut config = ConsumerConfig::default();
    config.client = client;
    bencher
        .counter(BytesCount::new(RECORDS * RECORD_BYTES))
        .bench_local(|| runtime.block_on(read_all(config.clone())));
}

async fn read_all(config: ConsumerConfig) {
    let mut consumer = Consumer::connect(config).await.expect("a consumer");
    let start = [(TopicPartition::new("t", 0), StartOffset::Earliest)];
    consumer.assign(&start).await.expect("a partition");
    let mut count = 0;
    while count < RECORDS {
        let records = consumer.poll(Duration::from_secs(1)).await;
        count += records.expect("records").count();
    }
}
