//! Fetch: offsets, epochs, sizes, waiting, and incremental sessions.

use std::time::{Duration, Instant};

use protocol::Uuid;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use protocol::messages::{FetchRequest, FetchResponse};

use super::Session;
use crate::raw::{batch, batch_of};
use protocol::compression::Compression;
use protocol::records::SealOptions;

pub async fn run(session: &mut Session) {
    errors(session).await;
    sizes(session).await;
    waiting(session).await;
    sessions(session).await;
}

fn partition(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

fn fetch(topic: &str, topic_id: Uuid, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topics = match partitions.is_empty() {
        true => vec![],
        false => vec![FetchTopic {
            topic: topic.into(),
            topic_id,
            partitions,
            ..Default::default()
        }],
    };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 20,
        topics,
        ..Default::default()
    }
}

/// Everything but ids: the session's error, and of each partition what it says.
fn shown(response: &FetchResponse) -> String {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions).map(|partition| {
        let aborted = partition.aborted_transactions.as_ref().map(Vec::len);
        let diverging = (partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset);
        format!(
            "[{} {} hw {} lso {} start {} diverging {diverging:?} leader {} aborted {aborted:?} replica {} bytes {:?}]",
            partition.partition_index,
            partition.error_code,
            partition.high_watermark,
            partition.last_stable_offset,
            partition.log_start_offset,
            partition.current_leader.leader_id,
            partition.preferred_read_replica,
            partition.records.as_ref().map(bytes::Bytes::len),
        )
    });
    let partitions: Vec<_> = partitions.collect();
    let session = if response.session_id == 0 {
        "none"
    } else {
        "some"
    };
    format!(
        "{} session {session} endpoints {} {}",
        response.error_code,
        response.node_endpoints.len(),
        partitions.join(" ")
    )
}

async fn errors(session: &mut Session) {
    let id = session.topic("fetching", 2, &[]).await;
    let name = session.name("fetching");
    session.append(9, "fetching", 0, batch(3)).await;
    session.append(9, "fetching", 0, batch(4)).await;
    for version in [4, 5, 7, 9, 11, 12, 13, 16, 18] {
        for (what, partition) in [
            ("ok", partition(0, 0)),
            ("beyond", partition(0, 8)),
            ("negative", partition(0, -1)),
            ("end", partition(0, 7)),
            ("empty", partition(1, 0)),
            ("unknown", partition(2, 0)),
        ] {
            let response = session
                .ask(version, &fetch(&name, id, vec![partition]))
                .await;
            session.say(&format!("fetch v{version} {what}"), shown(&response));
        }
        let request = fetch("nowhere", Uuid::from_u128(99 << 64), vec![partition(0, 0)]);
        let response = session.ask(version, &request).await;
        session.say(
            &format!("fetch v{version} an unknown topic"),
            shown(&response),
        );
    }
    for (current_leader_epoch, last_fetched_epoch, fetch_offset) in [
        (0, -1, 0),
        (1, -1, 0),
        (5, -1, 0),
        (0, 0, 3),
        (0, 0, 7),
        (0, 3, 3),
        (0, 0, 9),
        (-1, 0, 8),
    ] {
        let partition = FetchPartition {
            current_leader_epoch,
            last_fetched_epoch,
            ..partition(0, fetch_offset)
        };
        let response = session.ask(16, &fetch(&name, id, vec![partition])).await;
        let what = format!(
            "fetch {fetch_offset} in epoch {current_leader_epoch} after epoch {last_fetched_epoch}"
        );
        session.say(&what, shown(&response));
    }
    let read_committed = FetchRequest {
        isolation_level: 1,
        ..fetch(&name, id, vec![partition(0, 0)])
    };
    let response = session.ask(16, &read_committed).await;
    session.say("fetch read_committed", shown(&response));
}

async fn sizes(session: &mut Session) {
    let id = session.topic("sizes", 2, &[]).await;
    let name = session.name("sizes");
    for partition in [0, 1] {
        for _ in 0..4 {
            let records = batch_of(&[1], 939, SealOptions::default(), Compression::NONE);
            session.append(9, "sizes", partition, records).await;
        }
    }
    for (max_bytes, partition_max_bytes) in [
        (0, 0),
        (0, 1 << 20),
        (10, 1 << 20),
        (1 << 20, 10),
        (1 << 20, 0),
        (1500, 1 << 20),
        (5000, 1 << 20),
        (1 << 20, 1500),
        (1 << 20, 1016),
        (1 << 20, 2100),
        (1 << 20, 1 << 20),
    ] {
        let limited = |index| FetchPartition {
            partition_max_bytes,
            ..partition(index, 0)
        };
        let request = FetchRequest {
            max_bytes,
            ..fetch(&name, id, vec![limited(0), limited(1)])
        };
        let response = session.ask(13, &request).await;
        let sizes = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions);
        let sizes: Vec<_> = sizes
            .map(|partition| partition.records.as_ref().map(bytes::Bytes::len))
            .collect();
        session.say(
            &format!("fetch at most {max_bytes}, {partition_max_bytes} of a partition"),
            sizes,
        );
    }
    let middle = session
        .ask(13, &fetch(&name, id, vec![partition(0, 2)]))
        .await;
    session.say("fetch from the third batch", shown(&middle));
}

async fn waiting(session: &mut Session) {
    let id = session.topic("waiting", 1, &[]).await;
    let name = session.name("waiting");
    let wait = FetchRequest {
        max_wait_ms: 300,
        min_bytes: 1,
        ..fetch(&name, id, vec![partition(0, 0)])
    };
    let began = Instant::now();
    let response = session.ask(13, &wait).await;
    session.say(
        "fetch waits for its time",
        (
            shown(&response),
            began.elapsed() >= Duration::from_millis(300),
        ),
    );
    let mut other = session.another().await;
    let patient = FetchRequest {
        max_wait_ms: 30_000,
        ..wait.clone()
    };
    other.send(13, &patient).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    session.append(9, "waiting", 0, batch(1)).await;
    let response = other.receive::<FetchRequest>(13).await.expect("an answer");
    session.say("fetch is woken by an append", shown(&response));
    let unknown = FetchRequest {
        max_wait_ms: 30_000,
        min_bytes: 1,
        ..fetch(&name, id, vec![partition(5, 0)])
    };
    let response = session.ask(13, &unknown).await;
    session.say("fetch does not wait with an error", shown(&response));
    let nothing = FetchRequest {
        max_wait_ms: 30_000,
        min_bytes: 1,
        ..fetch(&name, id, vec![])
    };
    let response = session.ask(13, &nothing).await;
    session.say("fetch does not wait for nothing", shown(&response));
}

async fn sessions(session: &mut Session) {
    let id = session.topic("sessions", 3, &[]).await;
    let name = session.name("sessions");
    session.append(9, "sessions", 0, batch(2)).await;
    let in_session = |session_id, session_epoch, partitions| FetchRequest {
        session_id,
        session_epoch,
        ..fetch(&name, id, partitions)
    };
    let all = || vec![partition(0, 0), partition(1, 0), partition(2, 0)];
    let first = session.ask(13, &in_session(0, 0, all())).await;
    session.say("a new session", shown(&first));
    let at = first.session_id;
    let steps = [
        (
            "nothing new but the records again",
            in_session(at, 1, vec![]),
        ),
        ("past them", in_session(at, 2, vec![partition(0, 2)])),
        ("a wrong epoch", in_session(at, 9, vec![])),
        ("an epoch gone by", in_session(at, 2, vec![])),
        ("the right one after that", in_session(at, 3, vec![])),
        (
            "an unknown partition is added",
            in_session(at, 4, vec![partition(7, 0)]),
        ),
        ("it stays an error", in_session(at, 5, vec![])),
        (
            "it is forgotten",
            FetchRequest {
                forgotten_topics_data: vec![ForgottenTopic {
                    topic_id: id,
                    partitions: vec![7],
                    ..Default::default()
                }],
                ..in_session(at, 6, vec![])
            },
        ),
        (
            "an offset out of range",
            in_session(at, 7, vec![partition(0, 99)]),
        ),
        ("back in range", in_session(at, 8, vec![partition(0, 2)])),
        ("nothing new", in_session(at, 9, vec![])),
        ("an unknown session", in_session(12_345, 1, vec![])),
        (
            "everything forgotten",
            FetchRequest {
                forgotten_topics_data: vec![ForgottenTopic {
                    topic_id: id,
                    partitions: vec![0, 1, 2],
                    ..Default::default()
                }],
                ..in_session(at, 10, vec![])
            },
        ),
        ("after that", in_session(at, 11, vec![])),
        ("no session for epoch -1", in_session(0, -1, all())),
        ("an empty new session", in_session(0, 0, vec![])),
    ];
    for (what, request) in steps {
        let response = session.ask(13, &request).await;
        session.say(&format!("session: {what}"), shown(&response));
    }
    let second = session.ask(13, &in_session(0, 0, all())).await;
    let by_name = session
        .ask(12, &in_session(second.session_id, 1, vec![]))
        .await;
    session.say("session: from ids to names", shown(&by_name));
    let again = session
        .ask(13, &in_session(second.session_id, 1, vec![]))
        .await;
    session.say("session: and on with ids", shown(&again));
    let closed = session
        .ask(13, &in_session(second.session_id, -1, vec![]))
        .await;
    session.say("session: closed", shown(&closed));
    let gone = session
        .ask(13, &in_session(second.session_id, 2, vec![]))
        .await;
    session.say("session: gone", shown(&gone));
    let third = session.ask(13, &in_session(0, 0, all())).await;
    let renewed = session
        .ask(13, &in_session(third.session_id, 0, all()))
        .await;
    session.say(
        "session: renewed has another id",
        (shown(&renewed), renewed.session_id != third.session_id),
    );
    session.append(9, "sessions", 2, batch(1)).await;
    session.append(9, "sessions", 1, batch(1)).await;
    let moved = session
        .ask(
            13,
            &in_session(renewed.session_id, 1, vec![partition(0, 2)]),
        )
        .await;
    session.say("session: two have news", shown(&moved));
    session.append(9, "sessions", 0, batch(1)).await;
    let moved = session
        .ask(13, &in_session(renewed.session_id, 2, vec![]))
        .await;
    session.say("session: who gave records comes last", shown(&moved));
}
