//! A broker in memory, batches for its logs, a consumer connected to it, and what it read.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pat_events::broker::Broker;
use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{
    Address, ClientConfig, Clock, Consumer, ConsumerConfig, ErrorKind, OffsetReset, Records,
    StartOffset, TopicPartition, Transport,
};
use protocol::compression::{Compression, Compressor};
use protocol::frame::{decode_body, decode_request_header};
use protocol::messages::FetchRequest;
use protocol::records::{BatchBuilder, ControlRecord, SealOptions};
use protocol::{ApiKey, Decoder};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

pub use crate::embedded::{cluster, one_broker};
use crate::in_memory::InMemory;

/// How a [`Wire`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    Open,
    /// Connections are refused, and those that there were are reset.
    Refused,
    /// Nothing comes back: neither connections nor answers.
    Hung,
}

/// A network to the embedded broker that can be cut, and that counts the requests of each API.
#[derive(Clone, Debug)]
pub struct Wire {
    broker: Broker,
    state: Arc<Mutex<WireState>>,
}

#[derive(Debug, Default)]
struct WireState {
    network: Network,
    readers: Vec<Waker>,
    requests: BTreeMap<i16, u64>,
    /// How many more bytes come back; none says all.
    allowance: Option<usize>,
    /// How many connections were asked for.
    dialled: u64,
    /// The fetches that were sent, once they are kept.
    fetches: Option<Vec<FetchRequest>>,
    /// The next response to a fetch of version 11 that has something of one partition names this replica to fetch from.
    preferred: Option<i32>,
}

impl Wire {
    pub fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.clone(),
            state: Arc::default(),
        }
    }

    pub fn set(&self, network: Network) {
        self.change(|state| state.network = network);
    }

    /// Lets so many more bytes come back, and then nothing; `None` lets all come.
    pub fn allow(&self, bytes: Option<usize>) {
        self.change(|state| state.allowance = bytes);
    }

    /// Makes the leader name `replica` as the one to fetch from, once (KIP-392).
    pub fn prefer(&self, replica: i32) {
        self.change(|state| state.preferred = Some(replica));
    }

    fn change(&self, change: impl FnOnce(&mut WireState)) {
        let mut state = self.lock();
        change(&mut state);
        std::mem::take(&mut state.readers)
            .iter()
            .for_each(Waker::wake_by_ref);
    }

    /// How many requests of this API were sent so far.
    pub fn requests(&self, api: ApiKey) -> u64 {
        self.lock().requests.get(&api.0).copied().unwrap_or(0)
    }

    /// How many connections were asked for so far.
    pub fn dialled(&self) -> u64 {
        self.lock().dialled
    }

    /// Keeps what fetches ask for, from now on.
    pub fn keep_fetches(&self) {
        self.lock().fetches = Some(Vec::new());
    }

    /// The fetches that were sent since they are kept.
    pub fn fetches(&self) -> Vec<FetchRequest> {
        self.lock().fetches.clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, WireState> {
        self.state.lock().expect("no panic")
    }
}

impl Transport for Wire {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (wire, address) = (self.clone(), address.clone());
        Box::pin(async move {
            let network = {
                let mut state = wire.lock();
                state.dialled += 1;
                state.network
            };
            match network {
                Network::Open => {}
                Network::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                Network::Hung => std::future::pending().await,
            }
            let stream = wire.broker.dial(address.host(), address.port())?;
            let frame = Vec::new();
            Ok(Box::new(Wired {
                stream,
                wire,
                frame,
            }) as BoxStream)
        })
    }
}

/// A connection over a [`Wire`].
struct Wired {
    stream: DuplexStream,
    wire: Wire,
    /// The frame that is being written, so far.
    frame: Vec<u8>,
}

impl Wired {
    /// Counts the requests in what was written.
    fn count(&mut self, written: &[u8]) {
        self.frame.extend_from_slice(written);
        while let Some(length) = self.frame.first_chunk::<4>() {
            let end = 4 + u32::from_be_bytes(*length) as usize;
            if self.frame.len() < end {
                break;
            }
            let api = i16::from_be_bytes([self.frame[4], self.frame[5]]);
            let mut state = self.wire.lock();
            *state.requests.entry(api).or_default() += 1;
            if let Some(fetches) = &mut state.fetches
                && ApiKey(api) == ApiKey::FETCH
            {
                let mut frame = Decoder::new(Bytes::copy_from_slice(&self.frame[4..end]));
                let header = decode_request_header(&mut frame).expect("a header");
                let fetch = decode_body(&mut frame, header.request_api_version);
                fetches.push(fetch.expect("a fetch"));
            }
            drop(state);
            self.frame.drain(..end);
        }
    }
}

/// Names `replica` in a response to a fetch of version 11, if it is one with something of one partition of `t`.
fn prefer(frame: &mut [u8], replica: i32) -> bool {
    // After length, correlation id, throttle, error and session.
    const TOPICS: usize = 4 + 4 + 4 + 2 + 4;
    // One topic, its name, one partition.
    const HEAD: [u8; 11] = [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1];
    // After index, error, watermarks, log start and aborted transactions.
    const AT: usize = TOPICS + HEAD.len() + 4 + 2 + 3 * 8 + 4;
    let found = frame.len() >= AT + 4 && frame[TOPICS..].starts_with(&HEAD);
    if found {
        frame[AT..AT + 4].copy_from_slice(&replica.to_be_bytes());
    }
    found
}

impl AsyncRead for Wired {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.wire.lock();
        if !state.readers.iter().any(|it| it.will_wake(context.waker())) {
            state.readers.push(context.waker().clone());
        }
        let (network, allowance) = (state.network, state.allowance);
        drop(state);
        match network {
            Network::Open if allowance == Some(0) => Poll::Pending,
            Network::Open => {
                let most = buffer.remaining().min(allowance.unwrap_or(usize::MAX));
                let mut read = ReadBuf::new(buffer.initialize_unfilled_to(most));
                let polled = Pin::new(&mut self.stream).poll_read(context, &mut read);
                let count = read.filled().len();
                let mut state = self.wire.lock();
                if let Some(allowance) = &mut state.allowance {
                    *allowance -= count;
                }
                if let Some(replica) = state.preferred
                    && prefer(read.filled_mut(), replica)
                {
                    state.preferred = None;
                }
                drop(state);
                buffer.advance(count);
                polled
            }
            Network::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Network::Hung => Poll::Pending,
        }
    }
}

impl AsyncWrite for Wired {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.count(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How a consumer without a group reaches `broker`.
pub fn config(broker: &Broker) -> ConsumerConfig {
    let mut config = ConsumerConfig::default();
    config.client = ClientConfig::new(&broker.bootstrap_servers());
    config.client.transport = Arc::new(InMemory(broker.clone()));
    config.client.clock = Clock::simulated(1_700_000_000_000);
    config.client.seed = Some(42);
    config.auto_offset_reset = OffsetReset::Earliest;
    config
}

pub async fn consumer(broker: &Broker, change: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
    let mut config = config(broker);
    change(&mut config);
    Consumer::connect(config)
        .await
        .expect("a consumer connects")
}

/// A consumer of the first `partitions` of `t`, from their start.
pub async fn reader(
    broker: &Broker,
    partitions: i32,
    change: impl FnOnce(&mut ConsumerConfig),
) -> Consumer {
    let mut consumer = consumer(broker, change).await;
    let all: Vec<_> = (0..partitions)
        .map(|partition| (tp(partition), StartOffset::Earliest))
        .collect();
    consumer.assign(&all).await.expect("partitions that exist");
    consumer
}

/// A member of the group `g` that subscribed to `t`.
pub async fn member(broker: &Broker, change: impl FnOnce(&mut ConsumerConfig)) -> Consumer {
    let mut consumer = consumer(broker, |config| {
        config.group_id = Some("g".to_string());
        change(config);
    })
    .await;
    consumer
        .subscribe(&["t"])
        .await
        .expect("a topic that exists");
    consumer
}

/// Partition `partition` of `t`.
pub fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A batch whose values are the numbers `range`.
pub fn batch(range: Range<u32>, compression: Compression, options: &SealOptions) -> Bytes {
    let mut builder = BatchBuilder::new(Vec::new());
    for number in range {
        let value = number.to_be_bytes();
        builder
            .append(
                1_000 + i64::from(number),
                Some(b"key"),
                Some(&value),
                [("h", Some(&b"1"[..]))],
            )
            .expect("room in the batch");
    }
    builder
        .seal(options, &mut Compressor::new(compression))
        .bytes()
        .clone()
}

/// The marker that ends the transaction of `producer_id`.
pub fn marker(producer_id: i64, commit: bool) -> Bytes {
    let marker = match commit {
        true => ControlRecord::Commit {
            coordinator_epoch: 0,
        },
        false => ControlRecord::Abort {
            coordinator_epoch: 0,
        },
    };
    let mut builder = BatchBuilder::new(Vec::new());
    let value = marker.marker_value().expect("a marker");
    let none: [(&str, Option<&[u8]>); 0] = [];
    builder
        .append(1_000, Some(&marker.key()), Some(&value), none)
        .expect("room in the batch");
    let options = SealOptions {
        producer_id,
        producer_epoch: 0,
        transactional: true,
        control: true,
        ..Default::default()
    };
    builder
        .seal(&options, &mut Compressor::new(Compression::NONE))
        .bytes()
        .clone()
}

/// Appends the numbers `range` to `t`-`partition`, `each` to a batch.
pub fn fill(broker: &Broker, partition: i32, range: Range<u32>, each: u32) {
    fill_with(broker, partition, range, each, Compression::NONE);
}

pub fn fill_with(
    broker: &Broker,
    partition: i32,
    range: Range<u32>,
    each: u32,
    compression: Compression,
) {
    let mut batches = BytesMut::new();
    for start in range.clone().step_by(each as usize) {
        let end = range.end.min(start + each);
        batches.extend_from_slice(&batch(start..end, compression, &SealOptions::default()));
    }
    broker.append_unchecked("t", partition, batches.freeze());
}

/// The numbers in `records`, each checked to lie at the offset of the same number.
pub fn numbers(records: &Records) -> Vec<u32> {
    values(records)
        .into_iter()
        .map(|(_, number)| number)
        .collect()
}

/// Offset and number of each record.
pub fn values(records: &Records) -> Vec<(i64, u32)> {
    records
        .iter()
        .map(|record| {
            let value = record.value.expect("a value");
            (
                record.offset,
                u32::from_be_bytes(value.try_into().expect("four bytes")),
            )
        })
        .collect()
}

/// Polls until `count` numbers came, or nothing came for ten seconds. Retriable errors are polled through.
pub async fn read(consumer: &mut Consumer, count: usize) -> Vec<u32> {
    let mut all = Vec::new();
    while all.len() < count {
        match consumer.poll(ms(10_000)).await {
            Ok(records) if records.is_empty() => break,
            Ok(records) => all.extend(numbers(&records)),
            Err(error) if error.is_retriable() && error.kind() != ErrorKind::CorruptBatch => {}
            Err(error) => panic!("{error}"),
        }
    }
    all
}

/// Polls until the consumer holds `count` partitions.
pub async fn assigned(consumer: &mut Consumer, count: usize) {
    for _ in 0..600 {
        consumer.poll(ms(50)).await.expect("a poll");
        if consumer.assignment().len() == count {
            return;
        }
    }
    panic!(
        "{} of {count} partitions after 30 s",
        consumer.assignment().len()
    );
}
