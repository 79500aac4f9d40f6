//! Finding the cluster: the bootstrap list, its failures, and coming back to it.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_bootstrap_address_that_answers_is_enough() {
    let network = Network::new(3);
    network.scene().listening.remove(&home(1));
    let cluster = connected(&network).await;
    assert_eq!(cluster.metadata().brokers.len(), 2);
    assert_eq!(cluster.metadata().controller_id, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_bootstrap_lists_each_address_and_why_by_the_deadline() {
    let network = Network::new(0);
    let started = Instant::now();
    let error = Cluster::connect(&network.config(), soon(5))
        .await
        .expect_err("nobody there");
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    assert!(
        text.contains("kafka-1:9092") && text.contains("kafka-2:9092"),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
    assert!(started.elapsed() <= SECOND * 5);
    assert!(network.scene().dials >= 4, "it tried more than once");
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_address_that_keeps_silent_leaves_time_for_the_others() {
    for silent in [1, 2] {
        let network = Network::new(3);
        network.scene().silent.push(silent);
        let started = Instant::now();
        connected(&network).await;
        assert!(started.elapsed() < SECOND * 6);
    }
}

#[tokio::test(start_paused = true)]
async fn no_bootstrap_address_is_a_configuration_error() {
    let error = Cluster::connect(&ClientConfig::default(), soon(5))
        .await
        .expect_err("no address");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn when_all_brokers_are_gone_the_client_bootstraps_again() {
    let network = Network::new(2);
    network
        .scene()
        .listening
        .insert(Address::new("moved-1", 1), 3);
    network
        .scene()
        .listening
        .insert(Address::new("moved-2", 2), 4);
    let cluster = connected(&network).await;
    // The whole cluster is replaced: only the bootstrap addresses lead to the new brokers.
    {
        let mut scene = network.scene();
        scene.listening.clear();
        scene.listening.insert(home(1), 11);
        scene.listening.insert(Address::new("new", 9), 12);
    }
    let metadata = cluster.refreshed(soon(60)).await.expect("fresh metadata");
    assert_eq!(
        metadata.brokers.keys().copied().collect::<Vec<_>>(),
        [11, 12]
    );
    cluster
        .connection(12, Channel::Fetch, soon(5))
        .await
        .expect("a connection");
}

#[tokio::test(start_paused = true)]
async fn however_many_brokers_keep_silent_the_bootstrap_list_is_reached_soon() {
    for nodes in [1, 3, 12, 40] {
        let network = Network::new(nodes);
        let address = Address::new("bootstrap", 1);
        network.scene().listening.insert(address, 1_000);
        network.scene().hidden.push(1_000);
        let config = ClientConfig {
            bootstrap_servers: vec!["bootstrap:1".to_string()],
            ..network.config()
        };
        let cluster = Cluster::connect(&config, soon(5)).await.expect("a cluster");
        cluster.refreshed(soon(5)).await.expect("fresh metadata");
        network.scene().silent.extend(1..=nodes);
        let started = Instant::now();
        cluster.refreshed(soon(60)).await.expect("fresh metadata");
        assert!(
            started.elapsed() < SECOND * 3,
            "{nodes}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bootstrap_servers_are_tried_side_by_side() {
    let network = Network::new(5);
    network.scene().silent.extend([1, 2, 3, 4]);
    let servers = (1..=5).map(|node| format!("kafka-{node}:9092"));
    let config = ClientConfig {
        bootstrap_servers: servers.collect(),
        ..network.config()
    };
    let started = Instant::now();
    Cluster::connect(&config, soon(60))
        .await
        .expect("a cluster");
    assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_hangs_up_at_our_first_bytes_is_an_error_at_once_that_says_what_it_may_be()
{
    for sasl in [false, true] {
        let network = Network::new(2);
        match sasl {
            true => network.scene().wants_sasl = true,
            false => network.scene().dropping = true,
        }
        let started = Instant::now();
        let error = Cluster::connect(&network.config(), soon(60)).await;
        let error = error.expect_err("no broker for us");
        assert!(started.elapsed() < SECOND * 2, "{:?}", started.elapsed());
        let text = error.to_string();
        assert!(
            text.contains("another security.protocol (TLS or SASL, or neither)"),
            "{text}"
        );
        assert!(text.contains("kafka-1:9092"), "{text}");
    }
    // A broker that is just starting does so for a moment.
    let network = Network::new(2);
    network.scene().dropping = true;
    let starting = async {
        tokio::time::sleep(SECOND / 10).await;
        network.scene().dropping = false;
    };
    let config = network.config();
    let (cluster, ()) = tokio::join!(Cluster::connect(&config, soon(60)), starting);
    cluster.expect("a cluster");
}

#[tokio::test(start_paused = true)]
async fn a_lazy_cluster_sends_nothing_before_it_is_needed_and_is_looked_for_once() {
    let network = Network::new(3);
    let cluster = Cluster::lazy(&network.config()).expect("a runtime");
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(network.scene().dials, 0);
    let users: Vec<_> = (0..10).map(|_| cluster.for_another()).collect();
    let calls = users
        .into_iter()
        .map(|user| tokio::spawn(async move { user.any_connection(soon(5)).await.map(drop) }));
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic").expect("a connection");
    }
    // One to a bootstrap address, and no more than one to each broker.
    let dials = network.scene().dials;
    assert!(dials <= 4, "{dials}");
}

#[tokio::test(start_paused = true)]
async fn each_first_call_of_a_lazy_cluster_ends_by_its_own_deadline() {
    let network = Network::new(0);
    let cluster = Cluster::lazy(&network.config()).expect("a runtime");
    let started = Instant::now();
    let call = async |seconds| {
        let error = cluster.topic("emails", soon(seconds)).await;
        (error.expect_err("nobody there"), started.elapsed())
    };
    for (error, took) in <[_; 3]>::from(tokio::join!(call(2), call(4), call(3))) {
        assert!(took <= SECOND * 5, "{took:?}");
        assert!(error.to_string().contains("kafka-1:9092"), "{error}");
    }
    network.scene().listening.insert(home(1), 1);
    cluster.any_connection(soon(5)).await.expect("it came");
}
