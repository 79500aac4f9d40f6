//! Transactional ids and rights: what each request is answered, and what the application of a producer is told that lacks one: which id, and which right.

use std::time::Duration;

use pat_events::kafka::admin::{AclBinding, AclBindingFilter, AclOperation, AclResource};
use pat_events::kafka::{
    Admin, ClientConfig, ConsumerGroupMetadata, Error, ErrorKind, NewTopic, OffsetAndMetadata,
    ProducerConfig, Record, Result, TopicPartition, TransactionalProducer, WriteOutcome,
};
use protocol::ErrorCode;
use protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    TxnOffsetCommitRequest,
};
use tokio::time::{sleep, timeout};

use super::questions::told;
use super::{GROUP, PASSWORD, TOPIC, TRANSACTIONAL_ID};
use crate::raw::Raw;

/// Nobody has it.
const PRODUCER_ID: i64 = 1 << 40;
const ID: &str = "rights-1";
const WRITTEN: &str = "rights-written";
const FORBIDDEN: &str = "rights-forbidden";
const OF_GROUP: &str = "rights-group";
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request of a transaction is answered.
pub(super) async fn ask(raw: &mut Raw, what: &str) -> String {
    let transactional_id = TRANSACTIONAL_ID.to_owned();
    let (producer_id, producer_epoch, group_id) = (PRODUCER_ID, 0, GROUP.to_owned());
    let error = match what {
        "add partitions" => {
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: transactional_id,
                v3_and_below_producer_id: producer_id,
                v3_and_below_producer_epoch: producer_epoch,
                v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                    name: TOPIC.to_owned(),
                    partitions: vec![0],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let response = told(raw, 3, &request).await;
            let topic = &response.results_by_topic_v3_and_below[0];
            ErrorCode(topic.results_by_partition[0].partition_error_code)
        }
        "add offsets" => {
            let request = AddOffsetsToTxnRequest {
                transactional_id,
                producer_id,
                producer_epoch,
                group_id,
                ..Default::default()
            };
            told(raw, 3, &request).await.error_code
        }
        "commit offsets" => {
            let request = TxnOffsetCommitRequest {
                transactional_id,
                group_id,
                producer_id,
                producer_epoch,
                generation_id_or_member_epoch: -1,
                topics: vec![TxnOffsetCommitRequestTopic {
                    name: TOPIC.to_owned(),
                    partitions: vec![TxnOffsetCommitRequestPartition::default()],
                    ..Default::default()
                }],
                ..Default::default()
            };
            let response = told(raw, 3, &request).await;
            response.topics[0].partitions[0].error_code
        }
        "end" => {
            let request = EndTxnRequest {
                transactional_id,
                producer_id,
                producer_epoch,
                committed: true,
                ..Default::default()
            };
            told(raw, 3, &request).await.error_code
        }
        "describe" => {
            let request = DescribeTransactionsRequest {
                transactional_ids: vec![transactional_id],
                ..Default::default()
            };
            let response = told(raw, 0, &request).await;
            response.transaction_states[0].error_code
        }
        what => panic!("nobody knows how to {what}"),
    };
    error.name().to_owned()
}

fn logged_in<'a>(address: &'a str, user: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("bootstrap.servers", address),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", PASSWORD),
    ]
}

async fn connect(address: &str, user: &str) -> Result<TransactionalProducer> {
    let idempotent = ("enable.idempotence", "true");
    let pairs = logged_in(address, user).into_iter().chain([idempotent]);
    let config = ProducerConfig::from_librdkafka(pairs);
    let config = config.expect("good properties").0;
    let connecting = TransactionalProducer::connect(config, ID);
    timeout(PATIENCE, connecting).await.expect("an end")
}

/// The error is about rights, and says which and on what.
fn says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{text}");
}

pub(super) async fn who_may_not_is_told(address: &str) {
    let config = ClientConfig::from_librdkafka(logged_in(address, "admin"));
    let config = config.expect("good properties").0;
    let admin = Admin::connect(config).await.expect("connected");
    for topic in [WRITTEN, FORBIDDEN] {
        let created = admin.create_topic(&NewTopic::new(topic, 1)).await;
        created.expect("a new topic");
    }
    let may = |operation, resource| AclBinding::allow("User:transactor", operation, resource);
    let writes_under_the_id = may(AclOperation::Write, AclResource::transactional_id(ID));
    let sees_the_id = may(AclOperation::Describe, AclResource::transactional_id(ID));
    let grant = async |rule: &AclBinding| {
        let granted = admin.create_acls(std::slice::from_ref(rule)).await;
        granted.expect("answered")[rule].clone().expect("granted");
    };
    let revoke = async |rule: &AclBinding| {
        let revoked = admin.delete_acls(&[AclBindingFilter::exactly(rule)]).await;
        let revoked = revoked.expect("answered").into_values().next();
        revoked.expect("one filter").expect("revoked");
    };
    grant(&may(AclOperation::Write, AclResource::topic(WRITTEN))).await;
    grant(&may(AclOperation::Describe, AclResource::topic(FORBIDDEN))).await;

    // Nobody coordinates for who may not see the id.
    let error = connect(address, "nobody").await.expect_err("no right");
    assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
    let describe = "DESCRIBE on the transactional id";
    says(&error, &[ID, "FindCoordinator", describe]);
    // Who may see it, may not write under it.
    grant(&sees_the_id).await;
    let write = "WRITE on the transactional id";
    let error = loop {
        let error = connect(address, "transactor").await.expect_err("no right");
        assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
        // A rule is in force a little later.
        match error.to_string().contains("FindCoordinator") {
            true => sleep(Duration::from_millis(100)).await,
            false => break error,
        }
    };
    says(&error, &[ID, "InitProducerId", write]);
    grant(&writes_under_the_id).await;
    let mut producer = loop {
        match connect(address, "transactor").await {
            Ok(producer) => break producer,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Authorization, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    commits(&mut producer).await;

    // Of the topic, it is told which.
    let transaction = producer.begin().await.expect("begun");
    let sent = transaction.send(Record::new(FORBIDDEN).value(b"v"));
    let error = sent.await.expect_err("no right");
    assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
    says(&error, &[FORBIDDEN, "WRITE on the topic"]);
    let error = transaction
        .commit()
        .await
        .expect_err("a record was refused");
    assert_eq!(error.kind(), ErrorKind::TransactionAborted, "{error}");
    says(&error, &[FORBIDDEN, "WRITE on the topic"]);
    // And of the group.
    let transaction = producer.begin().await.expect("begun");
    let offsets = [(TopicPartition::new(WRITTEN, 0), OffsetAndMetadata::new(1))];
    let group = ConsumerGroupMetadata::standalone(OF_GROUP);
    let error = transaction.send_offsets(offsets, &group).await;
    let error = error.expect_err("no right");
    says(&error, &[OF_GROUP, "on the group"]);
    transaction.abort().await.expect("aborted");
    commits(&mut producer).await;

    // The right is taken away in the middle of a transaction.
    let transaction = producer.begin().await.expect("begun");
    let sent = transaction.send(Record::new(WRITTEN).value(b"v"));
    sent.await.expect("written");
    revoke(&writes_under_the_id).await;
    let error = loop {
        let sent = transaction.send(Record::new(WRITTEN).value(b"v"));
        match sent.await {
            Ok(_) => sleep(Duration::from_millis(100)).await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
    says(&error, &[ID, "Produce", write]);
    let error = timeout(PATIENCE, transaction.commit()).await;
    let error = error.expect("an end").expect_err("no right");
    says(&error, &[ID, write]);
    let error = timeout(PATIENCE, producer.begin()).await;
    let error = error.expect("an end").map(drop).expect_err("no right");
    assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
    says(&error, &[ID, "InitProducerId", write]);
    // The producer goes on when it is given back.
    grant(&writes_under_the_id).await;
    while let Err(error) = producer.begin().await.map(drop) {
        assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
        sleep(Duration::from_millis(100)).await;
    }
    commits(&mut producer).await;
}

async fn commits(producer: &mut TransactionalProducer) {
    let transaction = producer.begin().await.expect("begun");
    let sent = transaction.send(Record::new(WRITTEN).value(b"v"));
    sent.await.expect("written");
    transaction.commit().await.expect("committed");
}
