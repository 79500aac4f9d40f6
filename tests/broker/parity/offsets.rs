//! ListOffsets: the ends of logs, and times within.

use protocol::compression::{Codec, Compression};
use protocol::messages::ListOffsetsRequest;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::records::SealOptions;

use super::Session;
use crate::raw::batch_of;

pub async fn run(session: &mut Session) {
    session.topic("times", 3, &[]).await;
    let plain =
        |timestamps: &[i64]| batch_of(timestamps, 10, SealOptions::default(), Compression::NONE);
    session.append(9, "times", 0, plain(&[100, 300, 200])).await;
    let zstd = Compression::from(Codec::Zstd);
    session
        .append(
            9,
            "times",
            0,
            batch_of(&[400, 600, 500], 10, SealOptions::default(), zstd),
        )
        .await;
    session.append(9, "times", 0, plain(&[150, 600])).await;
    for version in [1, 4, 6, 7, 8, 9, 10, 11] {
        for timestamp in [-1, -2, -3, -4, -5, -6, -7] {
            list(session, version, 0, timestamp, -1).await;
        }
    }
    for timestamp in [0, 100, 101, 250, 300, 301, 500, 501, 600, 601, i64::MAX] {
        list(session, 8, 0, timestamp, -1).await;
    }
    for timestamp in [-1, -2, -3, 5] {
        list(session, 8, 1, timestamp, -1).await;
        list(session, 8, 9, timestamp, -1).await;
    }
    for epoch in [0, 1] {
        list(session, 8, 0, -1, epoch).await;
    }
    let topics = vec![asked("nowhere".into(), 0, -1, -1)];
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics,
        ..Default::default()
    };
    let response = session.ask(8, &request).await;
    session.say(
        "list offsets of an unknown topic",
        response.topics[0].partitions[0].error_code,
    );
    let read_committed = vec![asked(session.name("times"), 0, -1, -1)];
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: read_committed,
        ..Default::default()
    };
    let response = session.ask(8, &request).await;
    session.say(
        "list offsets read_committed",
        response.topics[0].partitions[0].offset,
    );
}

fn asked(
    name: String,
    partition_index: i32,
    timestamp: i64,
    current_leader_epoch: i32,
) -> ListOffsetsTopic {
    let partition = ListOffsetsPartition {
        partition_index,
        timestamp,
        current_leader_epoch,
        ..Default::default()
    };
    ListOffsetsTopic {
        name,
        partitions: vec![partition],
        ..Default::default()
    }
}

async fn list(session: &mut Session, version: i16, partition: i32, timestamp: i64, epoch: i32) {
    let topics = vec![asked(session.name("times"), partition, timestamp, epoch)];
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics,
        ..Default::default()
    };
    let response = session.ask(version, &request).await;
    let found = &response.topics[0].partitions[0];
    let what = format!("list offsets v{version} of {partition} at {timestamp} in epoch {epoch}");
    session.say(
        &what,
        (
            found.error_code,
            found.offset,
            found.timestamp,
            found.leader_epoch,
        ),
    );
}
