//! A connection against a peer in memory that misbehaves in every way we know of, on a paused clock.

mod giving_up;
mod handshake;

use std::sync::Mutex;

use bytes::BytesMut;
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::*;
use protocol::{ApiKey, ErrorCode, Message, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::kafka::ClientConfig;
use crate::kafka::net::{BoxFuture, Transport};
use crate::kafka::observe::Observer;
use crate::kafka::runtime::tasks::Tasks;

const SECOND: Duration = Duration::from_secs(1);

impl Connection {
    fn submit<R: Request>(&self, request: &R, deadline: Instant) -> Result<Pending<R>> {
        self.submit_at(request, self.version_of::<R>()?, deadline)
    }

    fn submit_without_response<R: Request>(
        &self,
        request: &R,
        deadline: Instant,
    ) -> Result<Written<R>> {
        self.submit_without_response_at(request, self.version_of::<R>()?, deadline)
    }
}

/// A network on which one peer listens, everywhere; it takes one connection.
#[derive(Debug)]
struct OnePeer(Mutex<Option<DuplexStream>>);

impl Transport for OnePeer {
    fn connect(&self, _: &Address) -> BoxFuture<'static, std::io::Result<BoxStream>> {
        let stream = self.0.lock().expect("no panic").take();
        Box::pin(async move {
            match stream {
                Some(stream) => Ok(Box::new(stream) as BoxStream),
                None => Err(std::io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

/// A configuration whose network has one peer, and the peer's end of the stream, which takes `room` bytes before it blocks.
fn network(room: usize) -> (ClientConfig, DuplexStream) {
    let (near, far) = tokio::io::duplex(room);
    let config = ClientConfig {
        transport: Arc::new(OnePeer(Mutex::new(Some(near)))),
        ..ClientConfig::default()
    };
    (config, far)
}

async fn dial(config: &ClientConfig) -> Result<Connection> {
    let address = Address::new("kafka", 9092);
    let (pool, tasks) = (FramePool::default(), Tasks::new().expect("a runtime"));
    Dialer::new(config.clone(), pool, tasks)
        .dial(1, &address, soon(60))
        .await
}

/// Returns when the connection has ended.
async fn ended(connection: &Connection) {
    while connection.is_open() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn soon(seconds: u32) -> Instant {
    Instant::now() + SECOND * seconds
}

/// The peer's side of the wire.
struct Peer(DuplexStream);

impl Peer {
    /// The next request: its header and the rest of its frame.
    async fn request(&mut self) -> (RequestHeader, Decoder) {
        let len = self.0.read_i32().await.expect("a frame");
        let mut frame = BytesMut::zeroed(len as usize);
        self.0.read_exact(&mut frame).await.expect("a whole frame");
        let mut input = Decoder::new(frame.freeze());
        let header = frame::decode_request_header(&mut input).expect("a header");
        (header, input)
    }

    async fn answer<R: Response>(&mut self, header: &RequestHeader, response: &R) {
        let version = header.request_api_version;
        for segment in
            frame::encode_response(version, header.correlation_id, response).expect("a response")
        {
            self.0.write_all(&segment).await.expect("an open stream");
        }
    }

    async fn answer_versions(&mut self) {
        let (header, _) = self.request().await;
        assert_eq!(header.request_api_key, ApiKey::API_VERSIONS.0);
        self.answer(&header, &all_versions()).await;
    }

    /// Reads a heartbeat and answers it with `code`, which tells answers apart.
    async fn beat(&mut self, code: i16) {
        let (header, _) = self.request().await;
        self.answer(&header, &beaten(code)).await;
    }
}

fn all_versions() -> ApiVersionsResponse {
    let of = |key: ApiKey, last| ApiVersion {
        api_key: key.0,
        min_version: 0,
        max_version: last,
        ..Default::default()
    };
    ApiVersionsResponse {
        api_keys: vec![
            of(ApiKey::PRODUCE, 7),
            of(ApiKey::HEARTBEAT, 4),
            of(ApiKey::API_VERSIONS, 3),
        ],
        ..Default::default()
    }
}

fn beaten(code: i16) -> HeartbeatResponse {
    HeartbeatResponse {
        error_code: ErrorCode(code),
        ..Default::default()
    }
}

fn beat() -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: "mailers".to_string(),
        ..Default::default()
    }
}

/// A produce request of so many bytes: something that takes long to write.
fn bulk(bytes: usize) -> ProduceRequest {
    ProduceRequest {
        topic_data: vec![produce_request::TopicProduceData {
            name: "emails".to_string(),
            partition_data: vec![produce_request::PartitionProduceData {
                records: Some(Bytes::from(vec![7; bytes])),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A connection and its peer, after the handshake.
async fn connected(room: usize) -> (Connection, Peer) {
    let (config, far) = network(room);
    let mut peer = Peer(far);
    let (connection, ()) = tokio::join!(dial(&config), peer.answer_versions());
    (connection.expect("a connection"), peer)
}

#[tokio::test(start_paused = true)]
async fn answers_reach_those_who_asked_in_order() {
    let (connection, mut peer) = connected(1 << 16).await;
    let pending: Vec<_> = (0..20)
        .map(|_| connection.submit(&beat(), soon(5)).expect("room"))
        .collect();
    tokio::spawn(async move {
        for code in 0..20 {
            peer.beat(code).await;
        }
        peer.0.flush().await.expect("open");
        std::future::pending::<()>().await;
    });
    for (code, pending) in (0..20).zip(pending) {
        assert_eq!(
            pending.await.expect("an answer").error_code,
            ErrorCode(code)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_frame_fails_its_request_as_unknown() {
    let (connection, mut peer) = connected(1 << 16).await;
    let pending = connection.submit(&beat(), soon(5)).expect("room");
    peer.request().await;
    peer.0.write_all(&[0, 0, 0, 50, 1, 2]).await.expect("open");
    drop(peer);
    let error = pending.await.expect_err("truncated");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert_eq!(error.outcome(), WriteOutcome::Unknown);
    let text = error.to_string();
    assert!(
        text.starts_with("Heartbeat, broker 1 (kafka:9092): the connection ended"),
        "{text}"
    );
    assert!(!connection.is_open());
    ended(&connection).await;
}

#[tokio::test(start_paused = true)]
async fn an_absurd_length_ends_the_connection() {
    for prefix in [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0; 4]] {
        let (connection, mut peer) = connected(1 << 16).await;
        let pending = connection.submit(&beat(), soon(5)).expect("room");
        peer.0.write_all(&prefix).await.expect("open");
        let error = pending.await.expect_err("absurd");
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!connection.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_ends_the_connection() {
    let (connection, mut peer) = connected(1 << 16).await;
    let pending = connection.submit(&beat(), soon(5)).expect("room");
    let (mut header, _) = peer.request().await;
    header.correlation_id += 1;
    peer.answer(&header, &beaten(0)).await;
    let error = pending.await.expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("was due"), "{error}");
    assert!(!connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_fails_only_its_request() {
    let (connection, mut peer) = connected(1 << 16).await;
    let pending = connection.submit(&beat(), soon(5)).expect("room");
    let (header, _) = peer.request().await;
    peer.0.write_all(&5_u32.to_be_bytes()).await.expect("open");
    peer.0
        .write_all(&header.correlation_id.to_be_bytes())
        .await
        .expect("open");
    peer.0.write_all(&[0]).await.expect("open");
    let error = pending.await.expect_err("garbage");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let (answer, ()) = tokio::join!(
        connection.submit(&beat(), soon(5)).expect("room"),
        peer.beat(27)
    );
    assert_eq!(answer.expect("an answer").error_code, ErrorCode(27));
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_a_call_waits_for_room() {
    let (connection, mut peer) = connected(1 << 20).await;
    let mut pending = Vec::new();
    let error = loop {
        match connection.submit(&beat(), soon(50)) {
            Ok(one) => pending.push(one),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::BufferFull);
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    let error = connection
        .call(&beat(), soon(1))
        .await
        .expect_err("no room in time");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let request = beat();
    let waiting = connection.call(&request, soon(50));
    let answering = async {
        for _ in 0..pending.len() + 1 {
            peer.beat(0).await;
        }
    };
    let (answer, ()) = tokio::join!(waiting, answering);
    assert!(answer.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let (connection, _peer) = connected(1 << 16).await;
    let started = Instant::now();
    ended(&connection).await;
    let idle = ClientConfig::default().connections_max_idle;
    assert!(started.elapsed() >= idle && started.elapsed() < idle + SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_response_resolves_when_its_bytes_are_out() {
    let (connection, mut peer) = connected(1 << 10).await;
    let written = connection
        .submit_without_response(&bulk(1 << 16), soon(5))
        .expect("room");
    let (written, (header, _)) = tokio::join!(written, peer.request());
    written.expect("written");
    assert_eq!(header.request_api_key, ApiKey::PRODUCE.0);
    let (answer, ()) = tokio::join!(
        connection.submit(&beat(), soon(5)).expect("room"),
        peer.beat(4)
    );
    assert_eq!(answer.expect("an answer").error_code, ErrorCode(4));
}

#[tokio::test(start_paused = true)]
async fn the_earliest_deadline_of_writes_without_a_response_counts_whatever_their_order() {
    let (connection, _peer) = connected(1 << 10).await;
    let patient = connection
        .submit_without_response(&bulk(1 << 16), soon(50))
        .expect("room");
    let hasty = connection
        .submit_without_response(&bulk(1 << 16), soon(2))
        .expect("room");
    let started = Instant::now();
    let error = hasty.await.expect_err("stuck");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    assert!(started.elapsed() < SECOND * 3);
    let error = patient.await.expect_err("given up");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert_eq!(error.outcome(), WriteOutcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_connection_after_what_was_queued() {
    let (connection, mut peer) = connected(1 << 10).await;
    let written = connection
        .submit_without_response(&bulk(1 << 16), soon(5))
        .expect("room");
    drop(written);
    drop(connection);
    let (header, _) = peer.request().await;
    assert_eq!(header.request_api_key, ApiKey::PRODUCE.0);
    assert_eq!(peer.0.read(&mut [0; 10]).await.expect("a clean end"), 0);
}

/// Whether each connection that ended was expected to.
#[derive(Debug, Default)]
struct Ends(Mutex<Vec<bool>>);

impl Observer for Ends {
    fn on_event(&self, event: &ClientEvent<'_>) {
        if let ClientEvent::Disconnected { expected, .. } = event {
            self.0.lock().expect("no panic").push(*expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_ends_as_expected_whoever_is_first_to_end_it() {
    for is_in_use in [false, true] {
        let ends = Arc::<Ends>::default();
        let (mut config, far) = network(1 << 10);
        config.observer = Some(ends.clone());
        let mut peer = Peer(far);
        let (connection, ()) = tokio::join!(dial(&config), peer.answer_versions());
        let connection = connection.expect("connected");
        let kept = is_in_use.then(|| connection.clone());
        drop(connection);
        drop(peer);
        while ends.0.lock().expect("no panic").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(*ends.0.lock().expect("no panic"), [!is_in_use]);
        drop(kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_at_any_byte_says_what_is_known_of_each_request() {
    for cut in [0, 1, 3, 50, 5_000, 70_000] {
        let (connection, mut peer) = connected(1 << 10).await;
        let one = connection.submit(&bulk(1 << 16), soon(5)).expect("room");
        let two = connection.submit(&beat(), soon(5)).expect("room");
        let mut part = vec![0; cut.min(65_000)];
        peer.0.read_exact(&mut part).await.expect("a part");
        drop(peer);
        let (one, two) = tokio::join!(one, two);
        let (one, two) = (one.expect_err("cut"), two.expect_err("cut"));
        assert_eq!(one.kind(), ErrorKind::Disconnected);
        assert!(one.is_retriable());
        // The transport takes bytes ahead of the peer: only what it never took is certainly not written.
        if cut < 60_000 {
            assert_eq!(two.outcome(), WriteOutcome::NotWritten);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_is_let_go_once_it_is_written() {
    let (connection, mut peer) = connected(4 << 20).await;
    let request = bulk(1 << 20);
    let records = request.topic_data[0].partition_data[0]
        .records
        .clone()
        .expect("records");
    let pending = connection.submit(&request, soon(5)).expect("room");
    drop(request);
    assert!(!records.is_unique());
    peer.request().await;
    assert!(records.is_unique(), "its owner can use the memory again");
    drop(pending);
}

/// What was left in the queue when the outbox was full, and then went out at once, waited for the timer.
#[tokio::test(start_paused = true)]
async fn an_outbox_that_fills_and_drains_at_once_leaves_nothing_in_the_queue() {
    let (connection, _peer) = connected(4 << 20).await;
    let started = Instant::now();
    let written: Vec<_> = (0..3)
        .map(|_| connection.submit_without_response(&bulk(1 << 20), soon(50)))
        .collect();
    for written in written {
        written.expect("room").await.expect("written");
    }
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
}

/// librdkafka's mock cluster sends some.
#[tokio::test(start_paused = true)]
async fn bytes_after_the_end_of_a_response_are_ignored() {
    let (config, far) = network(1 << 16);
    let mut peer = Peer(far);
    let (connection, ()) = tokio::join!(dial(&config), peer.answer_versions());
    let connection = connection.expect("a connection");
    let heartbeat = HeartbeatRequest::default();
    for code in [3, 5] {
        let asked = connection.call(&heartbeat, soon(5));
        let answering = async {
            let (header, _) = peer.request().await;
            let version = header.request_api_version;
            let frame = frame::encode_response(version, header.correlation_id, &beaten(code));
            let frame = frame.expect("a response").concat();
            let length = (frame.len() - 4 + 3) as u32;
            let spare = [&length.to_be_bytes(), &frame[4..], &[0, 1, 2]].concat();
            peer.0.write_all(&spare).await.expect("an open stream");
        };
        let (answer, ()) = tokio::join!(asked, answering);
        assert_eq!(answer.expect("an answer").error_code, ErrorCode(code));
    }
}
