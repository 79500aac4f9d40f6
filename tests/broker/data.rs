//! A data directory: what outlives a broker, and what a client hears when its disk does not take something.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pat_events::broker::{Acl, AclOperation, AclResource, Broker, BrokerBuilder, FsyncPolicy};
use protocol::ErrorCode;
use protocol::messages::create_acls_request::AclCreation;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch,
};
use protocol::messages::{
    CreateAclsRequest, DescribeAclsRequest, FetchRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, OffsetCommitRequest, ShareAcknowledgeRequest, ShareFetchRequest,
    ShareGroupHeartbeatRequest, share_fetch_request,
};
use protocol::records::BatchIter;

use crate::parity::produce_request;
use crate::raw::{Raw, batch, sequenced};
use crate::transactions::producer::{Producer, V2_PRODUCE};

/// A folder for one test, which goes with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pat-events-{}-{name}", std::process::id()));
        // What a process of the same id has left.
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn builder(&self) -> BrokerBuilder {
        Broker::builder()
            .seed(1)
            .default_partitions(1)
            .data(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(builder: BrokerBuilder) -> Broker {
    builder.start_in_memory().expect("a broker")
}

async fn produce(raw: &mut Raw, records: bytes::Bytes) -> (ErrorCode, i64) {
    let request = produce_request("t".into(), 0, -1, Some(records));
    let response = raw.call(10, &request).await.expect("an answer");
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

async fn commit(raw: &mut Raw, offset: i64) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_metadata: Some("seen".into()),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = raw.call(8, &request).await.expect("an answer");
    response.topics[0].partitions[0].error_code
}

async fn producer_id(raw: &mut Raw) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let response = raw.call(4, &request).await.expect("an answer");
    assert_eq!(response.error_code, ErrorCode::NONE);
    response.producer_id
}

async fn fetch(raw: &mut Raw, offset: i64) -> (ErrorCode, usize) {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        max_wait_ms: 10,
        min_bytes: 1,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = raw.call(11, &request).await.expect("an answer");
    let partition = &response.responses[0].partitions[0];
    let records = partition.records.as_ref().map_or(0, bytes::Bytes::len);
    (partition.error_code, records)
}

#[tokio::test]
async fn topics_records_offsets_and_producers_are_there_after_a_restart() {
    let folder = Folder::new("restart");
    let mut ids = Vec::new();
    let broker = start(folder.builder());
    let configs = [("max.message.bytes", "2000")];
    broker.create_topic_with("t", 1, &configs).expect("created");
    broker.create_topic("gone", 1).expect("created");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    ids.push(producer_id(&mut raw).await);
    assert_eq!(produce(&mut raw, batch(3)).await, (ErrorCode::NONE, 0));
    for (index, records) in [2, 3, 4].into_iter().enumerate() {
        let first = [0, 2, 5][index];
        let written = produce(&mut raw, sequenced(ids[0], 0, first, records)).await;
        assert_eq!(written, (ErrorCode::NONE, 3 + i64::from(first)));
    }
    assert_eq!(commit(&mut raw, 5).await, ErrorCode::NONE);
    broker.add_partitions("t", 3).expect("added");
    assert!(broker.delete_topic("gone"));
    let before = broker.log("t", 0).expect("there");
    broker.shutdown().await;
    drop(broker);

    let broker = start(folder.builder());
    assert_eq!(broker.topics(), ["t"]);
    let after = broker.log("t", 0).expect("there");
    assert_eq!((&after.batches, after.end_offset), (&before.batches, 12));
    assert!(after.leader_epoch > before.leader_epoch);
    assert_eq!(broker.log("t", 2).expect("there").end_offset, 0);
    assert_eq!(broker.committed_offset("g", "t", 0), Some(5));
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    ids.push(producer_id(&mut raw).await);
    assert!(ids[1] > ids[0], "{ids:?}");
    let again = produce(&mut raw, sequenced(ids[0], 0, 2, 3)).await;
    assert_eq!(again, (ErrorCode::NONE, 5), "it was there already");
    let gap = produce(&mut raw, sequenced(ids[0], 0, 10, 1)).await;
    assert_eq!(gap.0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let next = produce(&mut raw, sequenced(ids[0], 0, 9, 1)).await;
    assert_eq!(next, (ErrorCode::NONE, 12));
    let large = produce(&mut raw, batch(200)).await;
    assert_eq!(
        large.0,
        ErrorCode::MESSAGE_TOO_LARGE,
        "its setting is there"
    );
    let size: usize = before.batches.iter().map(bytes::Bytes::len).sum();
    let (error, len) = fetch(&mut raw, 0).await;
    assert!(error == ErrorCode::NONE && len > size, "{error} {len}");
}

#[tokio::test]
async fn where_a_log_begins_and_who_led_it_is_there_after_a_restart() {
    let folder = Folder::new("beginning");
    let broker = start(folder.builder().nodes(3).fsync(FsyncPolicy::Never));
    broker.create_topic("t", 1).expect("created");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    for _ in 0..4 {
        assert_eq!(produce(&mut raw, batch(5)).await.0, ErrorCode::NONE);
    }
    for node in [2, 3, 1] {
        assert!(broker.move_leader("t", 0, node));
    }
    let request = protocol::messages::DeleteRecordsRequest {
        topics: vec![
            protocol::messages::delete_records_request::DeleteRecordsTopic {
                name: "t".into(),
                partitions: vec![
                    protocol::messages::delete_records_request::DeleteRecordsPartition {
                        partition_index: 0,
                        offset: 7,
                        ..Default::default()
                    },
                ],
                ..Default::default()
            },
        ],
        timeout_ms: 1_000,
        ..Default::default()
    };
    let deleted = raw.call(2, &request).await.expect("an answer");
    assert_eq!(deleted.topics[0].partitions[0].low_watermark, 7);
    broker.shutdown().await;

    // With fewer nodes than there were.
    let broker = start(folder.builder());
    let log = broker.log("t", 0).expect("there");
    assert_eq!(
        (log.start_offset, log.end_offset, log.leader),
        (7, 20, Some(1))
    );
    assert!(log.leader_epoch > 3, "{}", log.leader_epoch);
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    assert_eq!(fetch(&mut raw, 6).await.0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(fetch(&mut raw, 7).await.0, ErrorCode::NONE);
}

#[tokio::test]
async fn rules_and_settings_that_clients_have_changed_are_there_after_a_restart() {
    let folder = Folder::new("rules");
    let of_the_settings = Acl::allow("User:x", AclOperation::Read, AclResource::topic("x"));
    let builder = || {
        let builder = folder.builder().super_user("User:ANONYMOUS");
        builder.acl(of_the_settings.clone())
    };
    let rules = async |raw: &mut Raw| {
        let request = DescribeAclsRequest {
            resource_type_filter: 1,
            resource_name_filter: None,
            pattern_type_filter: 1,
            principal_filter: None,
            host_filter: None,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        };
        let response = raw.call(3, &request).await.expect("an answer");
        let names = response.resources.into_iter().map(|it| it.resource_name);
        names.collect::<Vec<_>>()
    };
    let broker = start(builder());
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let creation = AclCreation {
        resource_type: 2,
        resource_name: "emails".into(),
        resource_pattern_type: 3,
        principal: "User:a".into(),
        host: "*".into(),
        operation: 3,
        permission_type: 3,
        ..Default::default()
    };
    let request = CreateAclsRequest {
        creations: vec![creation],
        ..Default::default()
    };
    raw.call(3, &request).await.expect("an answer");
    assert_eq!(rules(&mut raw).await, ["emails", "x"]);
    let delete = protocol::messages::DeleteAclsRequest {
        filters: vec![protocol::messages::delete_acls_request::DeleteAclsFilter {
            resource_type_filter: 2,
            resource_name_filter: Some("x".into()),
            pattern_type_filter: 3,
            principal_filter: None,
            host_filter: None,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    raw.call(3, &delete).await.expect("an answer");
    let config = |value: &str| IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 32,
            resource_name: "g".into(),
            configs: vec![AlterableConfig {
                name: "share.delivery.count.limit".into(),
                value: Some(value.into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let altered = raw.call(1, &config("7")).await.expect("an answer");
    assert_eq!(altered.responses[0].error_code, ErrorCode::NONE);
    broker.shutdown().await;
    let broker = start(builder());
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    assert_eq!(rules(&mut raw).await, ["emails"]);
}

#[tokio::test]
async fn a_directory_is_free_after_shutdown_and_soon_after_the_last_handle_is_gone() {
    let folder = Folder::new("free");
    let broker = start(folder.builder());
    let error = folder.builder().start_in_memory().expect_err("in use");
    assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}");
    broker.shutdown().await;
    let broker = start(folder.builder());
    drop(broker);
    for _ in 0..500 {
        match folder.builder().start_tcp("127.0.0.1:0").await {
            Ok(broker) => return broker.shutdown().await,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is still in use");
}

#[tokio::test]
async fn a_damaged_log_keeps_a_broker_from_starting_and_the_error_says_what_to_do() {
    let folder = Folder::new("damaged");
    let broker = start(folder.builder());
    broker.create_topic("t", 1).expect("created");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    for _ in 0..3 {
        assert_eq!(produce(&mut raw, batch(5)).await.0, ErrorCode::NONE);
    }
    broker.shutdown().await;
    let file = folder.path().join("t-0/00000000000000000000.log");
    let bytes = fs::read(&file).expect("read");
    let mut damaged = bytes.clone();
    damaged[70] ^= 1;
    fs::write(&file, &damaged).expect("written");
    let error = folder.builder().start_in_memory().expect_err("damaged");
    let text = error.to_string();
    assert!(
        text.contains("the batch at byte 0, of offset 0, is damaged"),
        "{text}"
    );
    assert!(text.contains("truncate -s 0 "), "{text}");
    // The directory is free again, and what the error says helps.
    for _ in 0..500 {
        fs::write(&file, &bytes[..bytes.len() - 1]).expect("written");
        match folder.builder().start_in_memory() {
            Ok(broker) => {
                assert_eq!(broker.log("t", 0).expect("there").end_offset, 10);
                return;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is still in use");
}

#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_takes_nothing_is_told_to_clients_and_taken_up_again_when_it_does() {
    let folder = Folder::new("full");
    let broker = start(folder.builder());
    broker.create_topic("t", 1).expect("created");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    // Where a file stands, there is no room for a folder.
    let place = folder.path().join("t-0");
    fs::write(&place, "").expect("written");
    let refused = produce(&mut raw, sequenced(7, 0, 0, 2)).await;
    assert_eq!(refused.0, ErrorCode::KAFKA_STORAGE_ERROR);
    let problem = broker.storage_problem().expect("it is told");
    assert!(problem.contains("t-0"), "{problem}");
    assert_eq!(commit(&mut raw, 0).await, ErrorCode::NONE);
    fs::remove_file(&place).expect("removed");
    let taken = produce(&mut raw, sequenced(7, 0, 0, 2)).await;
    assert_eq!(taken, (ErrorCode::NONE, 0), "nothing of it was there");
    assert_eq!(broker.storage_problem(), None);
}

#[tokio::test]
async fn transactions_go_on_or_end_as_they_were_decided_after_a_restart() {
    let folder = Folder::new("transactions");
    let broker = start(folder.builder());
    broker.create_topic("t", 1).expect("created");
    let mut committed = Producer::begun(&broker, 1, "committed").await;
    let mut open = Producer::begun(&broker, 1, "open").await;
    for producer in [&mut committed, &mut open] {
        let produced = producer.produce(V2_PRODUCE, "t", 0).await;
        assert_eq!(produced, ErrorCode::NONE);
    }
    let waits = committed.commit_offset(5, "g", "t", 7).await;
    assert_eq!(waits, ErrorCode::NONE);
    broker.shutdown().await;

    // Both are under way: they go on where they were.
    let broker = start(folder.builder());
    let dial = |broker| Raw::dial(broker, 1).expect("a connection");
    (committed.raw, open.raw) = (dial(&broker), dial(&broker));
    assert_eq!(broker.committed_offset("g", "t", 0), None);
    assert_eq!(committed.ends("t").await, (2, 0));
    let ongoing = (ErrorCode::NONE, "Ongoing".to_owned());
    assert_eq!(committed.state().await, ongoing);
    let produced = committed.produce(V2_PRODUCE, "t", 0).await;
    assert_eq!(produced, ErrorCode::NONE);
    assert_eq!(committed.end(5, true).await, ErrorCode::NONE);
    assert_eq!(broker.committed_offset("g", "t", 0), Some(7));
    broker.shutdown().await;

    let broker = start(folder.builder());
    (committed.raw, open.raw) = (dial(&broker), dial(&broker));
    assert_eq!(broker.committed_offset("g", "t", 0), Some(7));
    let complete = (ErrorCode::NONE, "CompleteCommit".to_owned());
    assert_eq!(committed.state().await, complete);
    assert_eq!(
        open.ends("t").await,
        (4, 1),
        "two records, one more, a marker"
    );
    // The next transaction of the first one begins where its epoch and its sequences are.
    let produced = committed.produce(V2_PRODUCE, "t", 0).await;
    assert_eq!(produced, ErrorCode::NONE);
    assert_eq!(committed.end(5, false).await, ErrorCode::NONE);
    // Another with the id of the other aborts that, and has an epoch of its own.
    let mut again = Producer::new(&broker, 1, "open");
    while again.init().await == ErrorCode::CONCURRENT_TRANSACTIONS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (end, stable) = again.ends("t").await;
    assert_eq!((end, stable), (7, 7));
    let fenced = open.produce(V2_PRODUCE, "t", 0).await;
    assert_eq!(fenced, ErrorCode::INVALID_PRODUCER_EPOCH);
    broker.shutdown().await;

    // What readers have to skip is there again, from the log.
    let broker = start(folder.builder());
    again.raw = dial(&broker);
    let seen = again.read("t", 0).await;
    assert_eq!((seen.last_stable_offset, seen.batches), (7, 7));
    let aborted = [(open.id, 1), (committed.id, 4)];
    let mut found = seen.aborted;
    found.sort_by_key(|(_, first)| *first);
    assert_eq!(found, aborted);
}

#[tokio::test]
async fn a_transaction_that_only_a_log_knows_is_aborted_at_the_start() {
    let folder = Folder::new("forgotten");
    let broker = start(folder.builder());
    broker.create_topic("t", 1).expect("created");
    let mut lost = Producer::begun(&broker, 1, "lost").await;
    assert_eq!(lost.produce(V2_PRODUCE, "t", 0).await, ErrorCode::NONE);
    broker.shutdown().await;
    // As when the machine fails before the disk has taken what the coordinator wrote.
    let metadata = folder.path().join("metadata.log");
    let bytes = fs::read(&metadata).expect("read");
    let mut kept = 0;
    for batch in BatchIter::strict(bytes::Bytes::from(bytes.clone())) {
        let batch = batch.expect("a batch");
        let is_about_it = batch.bytes().windows(4).any(|it| it == b"lost");
        if is_about_it {
            break;
        }
        kept += batch.bytes().len();
    }
    fs::write(&metadata, &bytes[..kept]).expect("written");
    let broker = start(folder.builder());
    lost.raw = Raw::dial(&broker, 1).expect("a connection");
    assert_eq!(lost.ends("t").await, (2, 2));
    assert_eq!(lost.read("t", 0).await.aborted, [(lost.id, 0)]);
}

#[tokio::test]
async fn a_share_group_goes_on_where_it_was_done_after_a_restart() {
    let folder = Folder::new("shared");
    let builder = || folder.builder().share_groups_from_earliest(true);
    let broker = start(builder());
    broker.create_topic("t", 1).expect("created");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    assert_eq!(produce(&mut raw, batch(5)).await.0, ErrorCode::NONE);
    let heartbeat = ShareGroupHeartbeatRequest {
        group_id: "sharers".into(),
        member_id: "m".into(),
        subscribed_topic_names: Some(vec!["t".into()]),
        ..Default::default()
    };
    let joined = raw.call(1, &heartbeat).await.expect("an answer");
    let assigned = joined.assignment.expect("an assignment").topic_partitions;
    let topic_id = assigned[0].topic_id;
    let fetch = ShareFetchRequest {
        group_id: Some("sharers".into()),
        member_id: Some("m".into()),
        max_records: 10,
        max_bytes: 100_000,
        topics: vec![share_fetch_request::FetchTopic {
            topic_id,
            partitions: vec![share_fetch_request::FetchPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let fetched = raw.call(1, &fetch).await.expect("an answer");
    let partition = &fetched.responses[0].partitions[0];
    let acquired = &partition.acquired_records[0];
    assert_eq!((acquired.first_offset, acquired.last_offset), (0, 4));
    let acknowledge = ShareAcknowledgeRequest {
        group_id: Some("sharers".into()),
        member_id: Some("m".into()),
        share_session_epoch: 1,
        topics: vec![AcknowledgeTopic {
            topic_id,
            partitions: vec![AcknowledgePartition {
                acknowledgement_batches: vec![AcknowledgementBatch {
                    first_offset: 0,
                    last_offset: 2,
                    acknowledge_types: vec![1],
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = raw.call(1, &acknowledge).await.expect("an answer");
    let answer = &answer.responses[0].partitions[0];
    assert_eq!(answer.error_code, ErrorCode::NONE);
    assert_eq!(broker.share_start_offset("sharers", "t", 0), Some(3));
    broker.shutdown().await;
    let broker = start(builder());
    assert_eq!(broker.share_start_offset("sharers", "t", 0), Some(3));
}
