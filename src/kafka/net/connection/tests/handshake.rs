//! Connections that come to nothing, and brokers of another version.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_older_broker_is_spoken_to_in_a_version_it_knows() {
    let (config, far) = network(1 << 16);
    let mut peer = Peer(far);
    let answering = async {
        let (header, _) = peer.request().await;
        // Kafka 2.1 answers in version 0, with nothing but the code.
        let mut refusal = BytesMut::from(&10_u32.to_be_bytes()[..]);
        refusal.extend(header.correlation_id.to_be_bytes());
        refusal.extend(ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
        refusal.extend([0; 4]);
        peer.0.write_all(&refusal).await.expect("open");
        let (header, _) = peer.request().await;
        assert_eq!(header.request_api_version, 0);
        peer.answer(&header, &all_versions()).await;
    };
    let (connection, ()) = tokio::join!(dial(&config), answering);
    let connection = connection.expect("a connection");
    assert_eq!(connection.version_of::<ProduceRequest>().ok(), Some(7));
    let error = connection
        .version_of::<FetchRequest>()
        .expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
}

#[tokio::test(start_paused = true)]
async fn no_broker_there_is_one_clear_error() {
    let (config, _far) = network(1 << 16);
    config
        .transport
        .connect(&Address::new("x", 1))
        .await
        .map(drop)
        .expect("taken");
    let error = dial(&config).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    assert!(
        text.contains("kafka:9092") && text.contains("refused"),
        "{text}"
    );
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
}

/// A network whose streams have no other end; it notes after how many failures each is dialled.
#[derive(Debug, Default)]
struct Useless(Mutex<Vec<usize>>);

impl Transport for Useless {
    fn connect(&self, _: &Address) -> BoxFuture<'static, std::io::Result<BoxStream>> {
        let (near, _) = tokio::io::duplex(1 << 10);
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(Box::new(near) as BoxStream)
        })
    }

    fn connect_after(
        &self,
        failures: usize,
        address: &Address,
    ) -> BoxFuture<'static, std::io::Result<BoxStream>> {
        self.0.lock().expect("no panic").push(failures);
        self.connect(address)
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_stream_of_no_use_a_dial_goes_on_to_the_next_address() {
    let transport = Arc::new(Useless::default());
    let config = ClientConfig {
        transport: transport.clone(),
        ..ClientConfig::default()
    };
    let (pool, tasks) = (FramePool::default(), Tasks::new().expect("a runtime"));
    let dialer = Dialer::new(config, pool, tasks);
    let address = Address::new("kafka", 9092);
    for _ in 0..2 {
        // Two at once count as one: with two addresses they would come back to the same.
        let dials = (
            dialer.dial(1, &address, soon(60)),
            dialer.dial(1, &address, soon(60)),
        );
        let (one, other) = tokio::join!(dials.0, dials.1);
        assert!(one.is_err() && other.is_err());
    }
    dialer
        .dial(2, &address, soon(60))
        .await
        .expect_err("no broker");
    assert_eq!(*transport.0.lock().expect("no panic"), [0, 0, 1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_talks_http_is_named_as_such() {
    let (config, mut far) = network(1 << 16);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        .await
        .expect("room");
    let error = dial(&config).await.expect_err("no Kafka");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("speaks HTTP"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_talks_tls_is_named_as_such() {
    let (config, mut far) = network(1 << 16);
    far.write_all(&[0x15, 3, 3, 0, 2, 2, 80])
        .await
        .expect("room");
    let error = dial(&config).await.expect_err("no plain Kafka");
    assert!(error.to_string().contains("speaks TLS"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_the_handshake_is_left_by_the_deadline() {
    let (config, _far) = network(1 << 16);
    let started = Instant::now();
    let error = dial(&config).await.expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(
        error
            .to_string()
            .contains("did not answer within socket.connection.setup.timeout.ms = 10000"),
        "{error}"
    );
    assert!(started.elapsed() < config.connect_timeout + SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_in_the_handshake_is_an_error() {
    let (config, far) = network(1 << 16);
    let mut peer = Peer(far);
    let hanging_up = async {
        peer.request().await;
        drop(peer);
    };
    let (error, ()) = tokio::join!(dial(&config), hanging_up);
    let error = error.expect_err("hung up");
    assert!(
        error
            .to_string()
            .contains("closed the connection in the handshake"),
        "{error}"
    );
}
