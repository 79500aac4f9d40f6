//! Transactions: ids and epochs, both flows, markers, offsets, and what operators are told.
//!
//! Kafka writes markers after it has answered, so each step that ends a transaction waits until it is over. Producer ids are told by whether they
//! are the ones before.

mod flows;
mod ids;
mod markers;
mod offsets;
mod producer;

use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest};

use super::Session;
use producer::Producer;

pub async fn run(session: &mut Session) {
    session.topic("txn", 3, &[]).await;
    warm_up(session).await;
    ids::run(session).await;
    flows::run(session).await;
    markers::run(session).await;
    offsets::run(session).await;
}

/// Waits until there is a coordinator of transactional ids.
async fn warm_up(session: &mut Session) {
    loop {
        let find = FindCoordinatorRequest {
            key_type: 1,
            coordinator_keys: vec![session.name("warm-up")],
            ..Default::default()
        };
        let found = session.ask(4, &find).await.coordinators[0].error_code;
        let init = InitProducerIdRequest {
            transactional_id: Some(session.name("warm-up")),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        if found == ErrorCode::NONE && session.ask(4, &init).await.error_code == ErrorCode::NONE {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Produces a producer's next batch outside of its transaction.
async fn produce_plain(
    session: &mut Session,
    producer: &Producer,
    transactional_id: Option<&str>,
) -> ErrorCode {
    let name = session.name("txn");
    let mut request = super::produce_request(name, 1, -1, Some(producer.batch(false)));
    request.transactional_id = transactional_id.map(Into::into);
    super::outcome(&session.ask(12, &request).await).0
}
