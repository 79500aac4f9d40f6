//! A connection to a broker that speaks plain protocol messages, and record batches of all kinds.
//!
//! In: requests. Out: decoded answers, or that the broker closed the connection.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pat_events::broker::Broker;
use protocol::compression::{Compression, Compressor};
use protocol::frame::{decode_body, decode_response_header, encode_request};
use protocol::records::{BatchBuilder, HEADER_LEN, RecordBatch, RecordError, SealOptions};
use protocol::{Decoder, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Raw {
    stream: Box<dyn Stream>,
    correlation_id: i32,
}

impl Raw {
    /// Connects to a node of an embedded broker in memory.
    pub fn dial(broker: &Broker, node: i32) -> io::Result<Raw> {
        let address = broker.bootstrap_servers();
        let at = broker
            .node_ids()
            .iter()
            .position(|id| *id == node)
            .expect("the node exists");
        let (host, port) = address
            .split(',')
            .nth(at)
            .and_then(|a| a.rsplit_once(':'))
            .expect("host:port");
        Ok(Raw::new(broker.dial(host, port.parse().expect("a port"))?))
    }

    pub async fn connect(address: &str) -> io::Result<Raw> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Raw::new(stream))
    }

    fn new(stream: impl Stream + 'static) -> Raw {
        Raw {
            stream: Box::new(stream),
            correlation_id: 0,
        }
    }

    /// Sends a request and reads its answer; `UnexpectedEof` when the broker closes the connection instead.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request).await?;
        self.receive::<R>(version).await
    }

    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.send_before(version, request, &[]).await
    }

    /// Sends a request with bytes behind its message, within its frame.
    pub async fn send_before<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        spare: &[u8],
    ) -> io::Result<()> {
        self.correlation_id += 1;
        let frame = encode_request(version, self.correlation_id, Some("raw"), request)
            .expect("an encodable request");
        let mut frame = [&frame.concat()[..], spare].concat();
        let length = i32::try_from(frame.len() - 4).expect("a short frame");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).await
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut input = Decoder::new(self.receive_frame().await?);
        let correlation_id =
            decode_response_header(&mut input, R::KEY, version).expect("a response header");
        assert_eq!(correlation_id, self.correlation_id);
        let response = decode_body(&mut input, version).expect("a response");
        // Readers ignore spare bytes; the broker sends none.
        input.finish().expect("nothing after the response");
        Ok(response)
    }

    pub async fn receive_frame(&mut self) -> io::Result<Bytes> {
        let read = async {
            let length = self.stream.read_i32().await?;
            let mut frame = BytesMut::zeroed(usize::try_from(length).expect("a length"));
            self.stream.read_exact(&mut frame).await?;
            Ok(frame.freeze())
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A batch of records with these timestamps; keys are numbers, values `size` bytes.
pub fn batch_of(
    timestamps: &[i64],
    size: usize,
    options: SealOptions,
    compression: Compression,
) -> Bytes {
    let mut builder = BatchBuilder::new(Vec::new());
    for (index, timestamp) in timestamps.iter().enumerate() {
        let key = index.to_string();
        builder
            .append(
                *timestamp,
                Some(key.as_bytes()),
                Some(&vec![b'v'; size]),
                [],
            )
            .expect("room for a record");
    }
    builder
        .seal(&options, &mut Compressor::new(compression))
        .into_bytes()
}

/// A batch of records with these timestamps and keys.
pub fn keyed(records: &[(i64, Option<&str>)], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(Vec::new());
    for (timestamp, key) in records {
        builder
            .append(*timestamp, key.map(str::as_bytes), Some(b"value"), [])
            .expect("room for a record");
    }
    builder
        .seal(&SealOptions::default(), &mut Compressor::new(compression))
        .into_bytes()
}

/// A plain batch of `records` records.
pub fn batch(records: usize) -> Bytes {
    batch_of(
        &vec![1_000; records],
        10,
        SealOptions::default(),
        Compression::NONE,
    )
}

/// A batch of an idempotent producer.
pub fn sequenced(
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    records: usize,
) -> Bytes {
    let options = SealOptions {
        producer_id,
        producer_epoch,
        base_sequence,
        ..Default::default()
    };
    batch_of(&vec![1_000; records], 10, options, Compression::NONE)
}

/// A batch with some header bytes replaced, and the CRC that then belongs to it.
pub fn edited(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut edited = batch.to_vec();
    edited[at..at + bytes.len()].copy_from_slice(bytes);
    assert!(edited.len() >= HEADER_LEN);
    if let Ok(parsed) = RecordBatch::read(Bytes::from(edited.clone()))
        && let Err(RecordError::Crc { actual, .. }) = parsed.verify_crc()
    {
        edited[17..21].copy_from_slice(&actual.to_be_bytes());
    }
    Bytes::from(edited)
}
