//! The embedded broker is held to the transcript of a real Kafka.

use std::time::Duration;

use pat_events::broker::Broker;

use crate::parity;

#[tokio::test]
async fn the_embedded_broker_answers_as_kafka_does() {
    let broker = Broker::builder()
        .seed(1)
        .max_message_bytes(16 << 20)
        // As the Kafka of the tests is set up.
        .consumer_group_session_timeout(Duration::from_secs(6))
        .share_group_session_timeout(Duration::from_secs(6))
        .consumer_group_heartbeat_interval(Duration::from_millis(500))
        .share_group_heartbeat_interval(Duration::from_millis(500))
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a free port");
    let transcript = parity::transcript(broker.bootstrap_servers(), String::new()).await;
    broker.shutdown().await;
    parity::assert_as_recorded(&transcript);
}
