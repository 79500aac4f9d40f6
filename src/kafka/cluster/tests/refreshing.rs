//! Refreshes: when they happen, whom they ask, what a silent broker costs.

use super::*;
use crate::kafka::TopicPartition;

#[tokio::test(start_paused = true)]
async fn many_calls_become_few_requests() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.scene().metadata_requests;
    for _ in 0..1_000 {
        cluster.refresh();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let requests = network.scene().metadata_requests - before;
    assert!((5..=20).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_refreshed_when_it_gets_old() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.scene().metadata_requests;
    tokio::time::sleep(cluster.config().metadata_max_age + SECOND).await;
    assert_eq!(network.scene().metadata_requests, before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_keeps_silent_does_not_hold_up_a_refresh_for_good() {
    let network = Network::new(3);
    let cluster = connected(&network).await;
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    network.scene().silent.push(1);
    network.scene().silent.push(2);
    cluster.refreshed(soon(60)).await.expect("fresh metadata");
}

#[tokio::test(start_paused = true)]
async fn a_leader_hint_is_used_at_once() {
    let network = Network::new(3);
    network
        .scene()
        .topics
        .insert("emails".to_string(), vec![(1, 5)]);
    let cluster = connected(&network).await;
    cluster.topic("emails", soon(5)).await.expect("the topic");
    let mut changes = cluster.watch();
    changes.skip();
    let hint = |leader_epoch| LeaderHint {
        partition: TopicPartition::new("emails", 0),
        leader: 2,
        leader_epoch,
        endpoint: None,
    };
    cluster.leader_hints(&[hint(5)]);
    assert!(!changes.has_changed());
    cluster.leader_hints(&[hint(5), hint(6)]);
    assert!(changes.has_changed());
    assert_eq!(leader(&cluster), Some(2));
    // A broker that has not heard of it yet does not take it back.
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(leader(&cluster), Some(2));
}

/// The node to which there is an open connection for short questions.
fn open_node(cluster: &Cluster) -> i32 {
    let connections = cluster.refresher().connections();
    let metadata = cluster.metadata();
    let open = metadata.brokers.values().find(|broker| {
        let connection = connections.open(Place::shared(broker.id), &broker.address);
        connection.is_some()
    });
    open.expect("an open connection").id
}

#[tokio::test(start_paused = true)]
async fn a_hung_broker_with_the_one_open_connection_delays_nothing_for_long() {
    let network = Network::new(3);
    let cluster = connected(&network).await;
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    let hung = open_node(&cluster);
    network.scene().silent.push(hung);
    let started = Instant::now();
    cluster.refreshed(soon(30)).await.expect("fresh metadata");
    assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
    // It is known by now that it owes an answer.
    for _ in 0..3 {
        let started = Instant::now();
        let group = cluster.coordinator(CoordinatorKind::Group, "mailers", soon(30));
        group.await.expect("a coordinator");
        cluster.coordinator_lost(CoordinatorKind::Group, "mailers");
        assert!(started.elapsed() < SECOND / 10, "{:?}", started.elapsed());
        let other = cluster.any_connection(soon(5)).await.expect("a connection");
        assert_ne!(other.broker().0, hung);
    }
}

#[tokio::test(start_paused = true)]
async fn what_keeps_the_metadata_from_coming_is_told() {
    for hung in [false, true] {
        let network = Network::new(2);
        let cluster = connected(&network).await;
        let patience = cluster.config().request_timeout;
        assert!(cluster.overdue(patience).is_none());
        match hung {
            true => network.scene().silent.extend([1, 2]),
            false => network.scene().listening.clear(),
        }
        let reason = if hung { "did not answer" } else { "refused" };
        let started = Instant::now();
        let error = cluster.topic("emails", soon(30)).await.expect_err("down");
        assert!(started.elapsed() <= SECOND * 31);
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains("kafka-"), "{text}");
        cluster.refresh();
        // Long enough for one refresh more to hang.
        tokio::time::sleep(patience).await;
        let error = cluster.overdue(patience).expect("failing for long");
        assert!(error.is_retriable(), "{error}");
        assert!(error.to_string().contains("kafka-"), "{error}");
        assert!(cluster.overdue(patience).is_none(), "once in that time");
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_is_published_only_when_something_changed() {
    let network = Network::new(2);
    let emails = vec![(1, 0)];
    network.scene().topics.insert("emails".to_string(), emails);
    let cluster = connected(&network).await;
    cluster.topic("emails", soon(5)).await.expect("the topic");
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    let mut changes = cluster.watch();
    changes.skip();
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert!(!changes.has_changed());
    let moved = vec![(2, 1)];
    network.scene().topics.insert("emails".to_string(), moved);
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert!(changes.has_changed());
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_again_to_whoever_it_is_for_until_it_is_done() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    let started = Instant::now();
    let mut answers = 0;
    let judge = |answer: Result<Answer<MetadataRequest>>| {
        answers += 1;
        let answer = answer.expect("an answer");
        match answers {
            1 => Judged::Again(answer.error(ErrorCode::REQUEST_TIMED_OUT, None)),
            2 => Judged::Rerouted(answer.error(ErrorCode::NOT_CONTROLLER, None)),
            _ => Judged::Done(answer.connection.broker().0),
        }
    };
    let request = |_| Ok(MetadataRequest::default());
    let asked = cluster.request(Target::Controller, soon(10), request, judge);
    assert_eq!(asked.await.expect("done"), 1);
    assert_eq!(answers, 3);
    // 100 and 200 ms, give or take a fifth.
    let took = started.elapsed().as_millis();
    assert!((240..=400).contains(&took), "{took}");
    // And no longer than there is time.
    let started = Instant::now();
    let judge = |answer: Result<Answer<MetadataRequest>>| {
        let answer = answer.expect("an answer");
        Judged::<()>::Again(answer.error(ErrorCode::NOT_CONTROLLER, None))
    };
    let asked = cluster.request(Target::Any, soon(5), request, judge);
    let error = asked.await.expect_err("never done");
    assert!(started.elapsed() <= SECOND * 5);
    let text = error.to_string();
    assert!(
        text.contains("attempt") && text.contains("kafka-"),
        "{text}"
    );
}
