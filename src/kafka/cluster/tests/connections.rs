//! The pool: one connection for each broker and channel, dialled with pauses.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_channel_has_one_connection_however_many_ask() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.scene().dials;
    let dialling: Vec<_> = (0..20)
        .map(|i| {
            let cluster = cluster.clone();
            let channel = if i % 2 == 0 {
                Channel::Produce
            } else {
                Channel::Fetch
            };
            tokio::spawn(async move { cluster.connection(1, channel, soon(5)).await.map(drop) })
        })
        .collect();
    for one in dialling {
        one.await.expect("no panic").expect("a connection");
    }
    assert_eq!(network.scene().dials, before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_is_re_created_with_pauses_between_failures() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    let first = cluster
        .connection(1, Channel::Produce, soon(5))
        .await
        .expect("a connection");
    network.scene().listening.remove(&home(1));
    assert!(
        first
            .call(&MetadataRequest::default(), soon(5))
            .await
            .is_err()
    );
    assert!(!first.is_open());
    let before = network.scene().dials;
    let started = Instant::now();
    let address = home(1);
    let connections = cluster.refresher().connections();
    let place = cluster.place(1, Channel::Produce);
    for _ in 0..6 {
        let error = connections.connect(place, &address, soon(5)).await;
        assert_eq!(error.expect_err("gone").kind(), ErrorKind::Connect);
    }
    assert_eq!(network.scene().dials, before + 6);
    // 50 + 100 + 200 + 400 + 800 ms, give or take a fifth.
    let took = started.elapsed().as_millis();
    assert!((1_200..=1_900).contains(&took), "{took}");
    network.scene().listening.insert(home(1), 1);
    connections
        .connect(place, &address, soon(5))
        .await
        .expect("it is back");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_drops_every_connection_is_not_dialled_without_a_pause() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    let before = network.scene().dials;
    let until = soon(1);
    while Instant::now() < until {
        let connection = cluster.connection(2, Channel::Fetch, soon(5)).await;
        let connection = connection.expect("a connection");
        network.scene().dropping = true;
        let answer = connection.call(&MetadataRequest::default(), soon(5)).await;
        assert!(answer.is_err());
        network.scene().dropping = false;
    }
    let dials = network.scene().dials - before;
    assert!((10..=30).contains(&dials), "{dials}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_moved_is_dialled_at_its_new_address() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    let old = cluster
        .connection(2, Channel::Fetch, soon(5))
        .await
        .expect("a connection");
    network.scene().listening.remove(&home(2));
    network
        .scene()
        .listening
        .insert(Address::new("elsewhere", 7), 2);
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    let new = cluster
        .connection(2, Channel::Fetch, soon(5))
        .await
        .expect("a connection");
    assert_eq!(old.broker().1, &home(2));
    assert_eq!(new.broker().1, &Address::new("elsewhere", 7));
}

#[tokio::test(start_paused = true)]
async fn a_broker_nobody_knows_is_asked_about_once_and_then_an_error() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let error = cluster
        .connection(9, Channel::Shared, soon(5))
        .await
        .expect_err("unknown");
    assert!(
        error.to_string().contains("broker 9 is not in the cluster"),
        "{error}"
    );
    assert!(error.is_retriable());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_all_tasks_and_connections() {
    let network = Network::new(2);
    let cluster = connected(&network).await;
    cluster
        .connection(1, Channel::Produce, soon(5))
        .await
        .expect("a connection");
    cluster
        .connection(2, Channel::Fetch, soon(5))
        .await
        .expect("a connection");
    assert!(network.scene().open >= 2);
    drop(cluster);
    tokio::time::sleep(SECOND).await;
    assert_eq!(network.scene().open, 0);
    let requests = network.scene().metadata_requests;
    tokio::time::sleep(SECOND * 1_000).await;
    assert_eq!(network.scene().metadata_requests, requests);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_keeps_silent_leaves_time_for_another_one_to_be_asked() {
    for silent in [1, 2] {
        let network = Network::new(2);
        let cluster = connected(&network).await;
        network.scene().silent.push(silent);
        let started = Instant::now();
        let connection = cluster.any_connection(soon(6)).await.expect("a connection");
        assert_ne!(connection.broker().0, silent);
        assert!(started.elapsed() < SECOND * 6);
    }
}

#[tokio::test(start_paused = true)]
async fn users_share_what_is_short_and_have_their_own_for_what_waits() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let (first, second) = (cluster.for_another(), cluster.for_another());
    let address = async |user: &Cluster, channel| {
        let connection = user.connection(1, channel, soon(5)).await;
        format!("{:p}", connection.expect("a connection").broker().1)
    };
    for (channel, is_shared) in [
        (Channel::Shared, true),
        (Channel::Fetch, false),
        (Channel::Coordinator, false),
    ] {
        let of_first = address(&first, channel).await;
        assert_eq!(of_first, address(&first, channel).await);
        let of_second = address(&second, channel).await;
        assert_eq!(of_first == of_second, is_shared, "{channel:?}");
    }
    tokio::time::sleep(SECOND).await;
    let open = network.scene().open;
    drop(second);
    tokio::time::sleep(SECOND).await;
    assert_eq!(network.scene().open, open - 2, "its own ended with it");
    first
        .connection(1, Channel::Fetch, soon(5))
        .await
        .expect("open");
}

#[tokio::test(start_paused = true)]
async fn topics_that_a_user_tracked_are_let_go_once_it_is_gone_and_they_are_idle() {
    let network = Network::new(1);
    let topics = ["mine", "ours"].map(|name| (name.to_string(), vec![(1, 0)]));
    network.scene().topics.extend(topics);
    let cluster = connected(&network).await;
    cluster.track(["ours"]);
    let user = cluster.for_another();
    for _ in 0..2 {
        user.track(["mine", "ours"]);
    }
    drop(user);
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.scene().asked, ["mine", "ours"]);
    tokio::time::sleep(cluster.config().metadata_max_idle + SECOND).await;
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.scene().asked, ["ours"]);
}
