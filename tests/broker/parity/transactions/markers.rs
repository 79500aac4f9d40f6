//! WriteTxnMarkers; DescribeProducers, DescribeTransactions, ListTransactions.

use protocol::ErrorCode;
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};

use super::Session;
use super::producer::{Producer, fetched, record_time};

pub async fn run(session: &mut Session) {
    session.topic("marked", 1, &[]).await;
    by_hand(session).await;
    described(session).await;
    listed(session).await;
}

async fn producers(session: &mut Session, topic: &str, partition: i32) {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: session.name(topic),
            partition_indexes: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = session.ask(0, &request).await;
    let partition = &response.topics[0].partitions[0];
    let mut producers: Vec<_> = partition.active_producers.iter().collect();
    producers.sort_unstable_by_key(|it| it.producer_id);
    // Markers have the time of day.
    let told: Vec<_> = producers
        .iter()
        .map(|it| {
            let age = it.last_timestamp - record_time();
            let timestamp = (age <= 1).then_some(age);
            let state = (
                it.producer_epoch,
                it.last_sequence,
                it.coordinator_epoch.min(0),
            );
            (state, timestamp, it.current_txn_start_offset)
        })
        .collect();
    session.say("producers", (partition.error_code, told));
}

async fn by_hand(session: &mut Session) {
    let mut producer = Producer::begun(session, "by-hand").await;
    let end = fetched(session, 2, 0).await.0;
    producer.produce(session, 12, 2).await;
    let seen = fetched(session, 2, 1).await;
    session.say("open", (seen.0 - end, seen.1 - end));
    let cases = [
        ("an older epoch", 2, -1, 0, 0),
        ("the epoch, by version 2", 2, 0, 0, 2),
        ("the epoch", 1, 0, 0, 0),
        ("the epoch again", 1, 0, 0, 0),
        ("an older coordinator", 1, 0, -1, 0),
        ("the next epoch, by version 2", 2, 1, 0, 2),
        ("the next epoch again, by version 2", 2, 1, 0, 2),
        ("the next epoch again", 2, 1, 0, 1),
        ("the epoch before", 1, 0, 0, 0),
    ];
    for (what, version, producer_epoch, coordinator_epoch, transaction_version) in cases {
        let marker = WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch,
            topics: vec![WritableTxnMarkerTopic {
                name: session.name("txn"),
                partition_indexes: vec![2],
                ..Default::default()
            }],
            coordinator_epoch,
            transaction_version,
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest {
            markers: vec![marker],
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let error = response.markers[0].topics[0].partitions[0].error_code;
        let seen = fetched(session, 2, 1).await;
        session.say(
            &format!("a marker with {what}"),
            (error, seen.0 - end, seen.1 - end),
        );
    }
    let marker = WritableTxnMarker {
        topics: ["txn", "nowhere"]
            .map(|name| WritableTxnMarkerTopic {
                name: session.name(name),
                partition_indexes: vec![7],
                ..Default::default()
            })
            .to_vec(),
        ..Default::default()
    };
    let request = WriteTxnMarkersRequest {
        markers: vec![marker],
        ..Default::default()
    };
    let response = session.ask(1, &request).await;
    let topics = response.markers[0].topics.iter();
    let errors: Vec<ErrorCode> = topics.map(|it| it.partitions[0].error_code).collect();
    session.say("markers to unknown partitions", errors);
    let nothing = session.ask(1, &WriteTxnMarkersRequest::default()).await;
    session.say("no markers", nothing.markers.len());
}

async fn described(session: &mut Session) {
    producers(session, "nowhere", 0).await;
    producers(session, "marked", 9).await;
    producers(session, "marked", 0).await;
    let mut producer = Producer::begun(session, "described").await;
    let topic = session.name("marked");
    for (what, flow, committed) in [
        ("newer", 12, true),
        ("newer", 12, false),
        ("older", 11, true),
    ] {
        let name = producer.transactional_id.clone();
        if flow < 12 {
            let add = protocol::messages::AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: name.clone(),
                v3_and_below_producer_id: producer.id,
                v3_and_below_producer_epoch: producer.epoch,
                v3_and_below_topics: vec![
                    protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                        name: topic.clone(),
                        partitions: vec![0],
                        ..Default::default()
                    },
                ],
                ..Default::default()
            };
            session.ask(3, &add).await;
        }
        let mut request =
            crate::parity::produce_request(topic.clone(), 0, -1, Some(producer.batch(true)));
        request.transactional_id = Some(name);
        let written = crate::parity::outcome(&session.ask(flow, &request).await).0;
        session.say(&format!("written in the {what} flow"), written);
        producers(session, "marked", 0).await;
        states(session, &["described"]).await;
        let ended = producer
            .end(session, if flow < 12 { 4 } else { 5 }, committed)
            .await;
        session.say("ended", ended.0);
        producers(session, "marked", 0).await;
        states(session, &["described"]).await;
    }
    states(session, &["nobody"]).await;
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![String::new()],
        ..Default::default()
    };
    let response = session.ask(0, &request).await;
    let error = response.transaction_states[0].error_code;
    session.say("describe an empty id", error);
}

async fn states(session: &mut Session, names: &[&str]) {
    let request = DescribeTransactionsRequest {
        transactional_ids: names.iter().map(|name| session.name(name)).collect(),
        ..Default::default()
    };
    let response = session.ask(0, &request).await;
    let states: Vec<_> = response
        .transaction_states
        .iter()
        .map(|it| {
            let partitions: Vec<_> = it.topics.iter().map(|topic| &topic.partitions).collect();
            (
                it.error_code,
                it.transaction_state.clone(),
                (it.transaction_timeout_ms, it.transaction_start_time_ms > 0),
                (it.producer_id > 0, it.producer_epoch),
                format!("{partitions:?}"),
            )
        })
        .collect();
    session.say("states", states);
}

async fn listed(session: &mut Session) {
    let mut ongoing = Producer::begun(session, "listed-a").await;
    ongoing.produce(session, 12, 2).await;
    Producer::begun(session, "listed-b").await;
    let mut over = Producer::begun(session, "listed-c").await;
    over.produce(session, 12, 2).await;
    over.end(session, 5, true).await;
    let run = session.name("");
    let pattern = |name: &str| Some(format!("{name}{run}"));
    let base = ListTransactionsRequest {
        transactional_id_pattern: pattern("listed-."),
        ..Default::default()
    };
    let cases = [
        ("by pattern", base.clone()),
        (
            "by part of a name",
            ListTransactionsRequest {
                transactional_id_pattern: pattern("isted-."),
                ..Default::default()
            },
        ),
        (
            "by a wrong pattern",
            ListTransactionsRequest {
                transactional_id_pattern: Some("(".into()),
                ..Default::default()
            },
        ),
        (
            "by state",
            ListTransactionsRequest {
                state_filters: vec!["Ongoing".into(), "CompleteCommit".into()],
                ..base.clone()
            },
        ),
        (
            "by unknown states",
            ListTransactionsRequest {
                state_filters: vec!["Sleeping".into(), "ongoing".into(), "Dead".into()],
                ..base.clone()
            },
        ),
        (
            "by producer",
            ListTransactionsRequest {
                producer_id_filters: vec![ongoing.id, over.id],
                ..base.clone()
            },
        ),
        (
            "that run for an hour",
            ListTransactionsRequest {
                duration_filter: 3_600_000,
                ..base.clone()
            },
        ),
    ];
    for (what, request) in cases {
        let response = session.ask(2, &request).await;
        let mut found: Vec<_> = response
            .transaction_states
            .iter()
            .map(|it| {
                let name = it.transactional_id.strip_suffix(&run);
                (
                    name.unwrap_or_default().to_owned(),
                    it.transaction_state.clone(),
                )
            })
            .collect();
        found.sort_unstable();
        session.say(
            &format!("list {what}"),
            (response.error_code, response.unknown_state_filters, found),
        );
    }
    ongoing.end(session, 5, false).await;
}
