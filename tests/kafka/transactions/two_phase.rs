//! Transactions that are prepared, and decided by somebody else (KIP-939). In: a broker that lets them, as Kafka 4.4 does where it is told to; and one that
//! does not. Out: what was decided is seen, and nothing before that; or an error that says what the broker lacks.

use pat_events::kafka::{
    ErrorKind, PreparedTransaction, ProducerConfig, TransactionalProducer, WriteOutcome,
};
use protocol::ErrorCode;
use protocol::messages::InitProducerIdRequest;

use super::{PARTITIONS, POLL, numbered};
use crate::fleet::Target;
use crate::raw::Raw;
use crate::support::kafka::Secured;

const TWO_PHASE: (&str, &str) = ("transaction.two.phase.commit.enable", "true");

/// What Kafka 4.4 is to be told: the version of InitProducerId that says so is not stable yet.
pub fn allowed() -> Secured {
    Secured {
        properties: "transaction.two.phase.commit.enable=true\nunstable.api.versions.enable=true"
            .to_owned(),
        ..Secured::default()
    }
}

pub async fn a_prepared_transaction_is_seen_when_it_is_decided(target: Target) {
    let topic = target.topic("two-phase").await;
    let mut producer = target.transactional("two-phase", &[TWO_PHASE]).await;
    let mut reader = target.committed_reader(&topic, PARTITIONS).await;
    for commits in [true, false, true] {
        let transaction = producer.begin().await.expect("begun");
        let number = u64::from(commits).to_be_bytes();
        let sent = transaction.send(numbered(&topic, &number)).await;
        sent.expect("written");
        let prepared = transaction.prepare().await.expect("prepared");
        assert_eq!(producer.prepared(), Some(prepared));
        let text = prepared.to_string();
        let read: PreparedTransaction = text.parse().expect("as it was written");
        assert_eq!(read, prepared);
        let error = producer.begin().await.expect_err("one is not decided");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let records = reader.poll(POLL).await.expect("polled");
        assert!(records.is_empty(), "nobody has decided");
        drop(records);
        let decided = commits.then_some(&read);
        let committed = producer.complete(decided).await.expect("decided");
        assert_eq!(committed, commits);
        assert_eq!(producer.prepared(), None);
        let mut seen = 0;
        while commits && seen == 0 {
            seen = reader.poll(POLL).await.expect("polled").count();
        }
    }
    assert_eq!(target.visible(&topic, 2).await, [1, 1]);
    // Without a decision it can be aborted only by who takes over the id.
    let transaction = producer.begin().await.expect("begun");
    let sent = transaction
        .send(numbered(&topic, &7u64.to_be_bytes()))
        .await;
    sent.expect("written");
    let prepared = transaction.prepare().await.expect("prepared");
    assert_eq!(
        resumed(&target).await,
        ErrorCode::UNSUPPORTED_VERSION,
        "what is prepared can be resumed: let TransactionalProducer do so"
    );
    let next = target.transactional("two-phase", &[TWO_PHASE]).await;
    let error = producer.complete(Some(&prepared)).await;
    let error = error.expect_err("another one has the id");
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Fenced, WriteOutcome::NotWritten),
        "{error}"
    );
    drop(next);
    assert_eq!(target.visible(&topic, 2).await, [1, 1]);
}

/// What a broker says to a producer that wants to decide what another one of its id has prepared.
async fn resumed(target: &Target) -> ErrorCode {
    let mut raw = Raw::connect(&target.bootstrap).await.expect("a connection");
    let request = InitProducerIdRequest {
        transactional_id: Some("two-phase".to_owned()),
        transaction_timeout_ms: 10_000,
        producer_id: -1,
        producer_epoch: -1,
        enable2_pc: true,
        keep_prepared_txn: true,
        ..Default::default()
    };
    raw.call(6, &request).await.expect("an answer").error_code
}

pub async fn who_may_not_prepare_is_told_what_the_broker_lacks(target: Target) {
    let given = [
        ("bootstrap.servers", target.bootstrap.as_str()),
        ("transactional.id", "two-phase-refused"),
        TWO_PHASE,
    ];
    let config = ProducerConfig::from_properties(given).expect("good properties");
    let refused = TransactionalProducer::connect(config, "two-phase-refused").await;
    let error = refused.expect_err("the broker has it not");
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("KIP-939") && text.contains("unstable.api.versions.enable"),
        "{text}"
    );
}
