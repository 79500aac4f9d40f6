//! Topics: waited for, asked for alone, forgotten, never created by accident.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_topic_is_waited_for_while_it_comes_into_being() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let creating = async {
        tokio::time::sleep(SECOND).await;
        network
            .scene()
            .topics
            .insert("emails".to_string(), vec![(1, 0)]);
    };
    let (topic, ()) = tokio::join!(cluster.topic("emails", soon(10)), creating);
    assert_eq!(topic.expect("the topic").partitions[0].leader, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_is_one_clear_error_within_the_deadline() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let started = Instant::now();
    let error = cluster
        .topic("emials", soon(2))
        .await
        .expect_err("no such topic");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    let text = error.to_string();
    assert!(
        text.starts_with("topic emials: the topic does not exist"),
        "{text}"
    );
    assert!(started.elapsed() <= SECOND * 2);
    assert!(
        network.scene().metadata_requests < 40,
        "with pauses in between"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_topic_is_asked_for_at_once() {
    let network = Network::new(1);
    network
        .scene()
        .topics
        .insert("emails".to_string(), vec![(1, 0)]);
    let cluster = connected(&network).await;
    let started = Instant::now();
    cluster.topic("emails", soon(10)).await.expect("the topic");
    assert!(
        started.elapsed() < Duration::from_millis(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_deleted_is_not_created_again_by_a_refresh() {
    let network = Network::new(1);
    network.scene().auto_create = true;
    let cluster = Cluster::connect(&network.creating(), soon(10))
        .await
        .expect("a cluster");
    cluster.topic("emails", soon(5)).await.expect("created");
    network.scene().topics.clear();
    for _ in 0..3 {
        cluster.refreshed(soon(5)).await.expect("fresh metadata");
    }
    assert!(network.scene().topics.is_empty());
    // It is still known, and a new one can still come into being.
    assert!(cluster.metadata().topic("emails").is_some());
    cluster.topic("news", soon(5)).await.expect("created");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_is_not_asked_for_for_ever() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    for name in ["emials", "emals"] {
        let error = cluster
            .topic(name, soon(1))
            .await
            .expect_err("no such topic");
        assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    }
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert!(
        network.scene().asked.is_empty(),
        "{:?}",
        network.scene().asked
    );
    assert!(cluster.metadata().topic_errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_who_gives_up_waiting_for_a_topic_takes_it_from_nobody_else() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let creating = async {
        tokio::time::sleep(SECOND * 3).await;
        network
            .scene()
            .topics
            .insert("emails".to_string(), vec![(1, 0)]);
    };
    let (hasty, patient, ()) = tokio::join!(
        cluster.topic("emails", soon(1)),
        cluster.topic("emails", soon(10)),
        creating
    );
    assert!(hasty.is_err());
    assert!(patient.is_ok());
    // Nor from those who want to hear of it whenever it comes.
    cluster.track(["later"]);
    assert!(cluster.topic("later", soon(1)).await.is_err());
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.scene().asked, ["emails", "later"]);
}

#[tokio::test(start_paused = true)]
async fn asking_again_and_again_for_a_topic_that_does_not_exist_makes_few_requests() {
    let network = Network::new(1);
    let cluster = connected(&network).await;
    let before = network.scene().metadata_requests;
    let until = soon(2);
    while Instant::now() < until {
        let deadline = Instant::now() + Duration::from_millis(2);
        assert!(cluster.topic("emials", deadline).await.is_err());
    }
    let requests = network.scene().metadata_requests - before;
    assert!((5..=50).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn the_first_use_of_each_topic_asks_for_that_topic_alone() {
    const TOPICS: usize = 300;
    let network = Network::new(3);
    let cluster = connected(&network).await;
    let names: Vec<_> = (0..TOPICS).map(|number| format!("t{number}")).collect();
    for name in &names {
        let topics = &mut network.scene().topics;
        topics.insert(name.clone(), vec![(1, 0)]);
    }
    network.scene().all_asked.clear();
    let started = Instant::now();
    for name in &names {
        cluster.topic(name, soon(10)).await.expect("the topic");
    }
    let asked: usize = {
        let scene = network.scene();
        scene.all_asked.iter().map(|(topics, _)| topics.len()).sum()
    };
    assert_eq!(asked, TOPICS);
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.scene().asked.len(), TOPICS);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_does_not_come_back_because_a_new_one_is_asked_for() {
    let network = Network::new(1);
    network.scene().auto_create = true;
    let cluster = Cluster::connect(&network.creating(), soon(10))
        .await
        .expect("a cluster");
    cluster.topic("old", soon(5)).await.expect("created");
    network.scene().topics.clear();
    network.scene().all_asked.clear();
    cluster.track(["new"]);
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    cluster.topic("newer", soon(5)).await.expect("created");
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    let scene = network.scene();
    assert!(!scene.topics.contains_key("old"), "{:?}", scene.topics);
    assert!(scene.topics.contains_key("new"));
    for (topics, may_create) in &scene.all_asked {
        let asks_for_old = topics.iter().any(|topic| topic == "old");
        assert!(!(asks_for_old && *may_create), "{topics:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_uses_is_forgotten_and_asked_for_when_it_is_used_again() {
    let network = Network::new(1);
    for name in ["idle", "used", "subscribed"] {
        let topics = &mut network.scene().topics;
        topics.insert(name.to_string(), vec![(1, 0)]);
    }
    let config = ClientConfig {
        metadata_max_idle: SECOND * 10,
        ..network.config()
    };
    let cluster = Cluster::connect(&config, soon(5)).await.expect("a cluster");
    for name in ["idle", "used", "subscribed"] {
        cluster.topic(name, soon(5)).await.expect("the topic");
    }
    cluster.track(["subscribed"]);
    tokio::time::sleep(SECOND * 6).await;
    cluster.used(["used"]);
    tokio::time::sleep(SECOND * 6).await;
    cluster.refreshed(soon(5)).await.expect("fresh metadata");
    assert_eq!(network.scene().asked, ["subscribed", "used"]);
    assert!(cluster.metadata().topic("idle").is_none());
    cluster.used(["idle"]);
    tokio::time::sleep(SECOND / 10).await;
    assert!(cluster.metadata().topic("idle").is_some());
}

#[tokio::test(start_paused = true)]
async fn names_that_cannot_be_harm_nobody_else() {
    let network = Network::new(1);
    let emails = vec![(1, 0)];
    network.scene().topics.insert("emails".to_string(), emails);
    let cluster = connected(&network).await;
    for name in [&*"t".repeat(40_000), "", "a b", ".."] {
        let started = Instant::now();
        let error = cluster.topic(name, soon(5)).await.expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(started.elapsed() < SECOND / 10);
        // Whoever names them: the subscription of another member of the group, say.
        cluster.track([name]);
        cluster.used([name]);
        cluster.refreshed(soon(5)).await.expect("fresh metadata");
    }
    cluster.topic("emails", soon(5)).await.expect("the topic");
}

/// However many topics there are, each costs the same: what is known already is not asked for with a new one.
#[tokio::test(start_paused = true)]
async fn each_of_many_topics_is_asked_for_once_when_it_is_first_used() {
    for (count, at_once) in [(200, false), (800, false), (800, true)] {
        let network = Network::new(1);
        let names: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
        let topics = names.iter().map(|name| (name.clone(), vec![(1, 0)]));
        network.scene().topics.extend(topics);
        let cluster = connected(&network).await;
        let before = network.scene().metadata_requests;
        match at_once {
            true => {
                let mut asking = tokio::task::JoinSet::new();
                for name in names {
                    let cluster = cluster.clone();
                    asking.spawn(async move { cluster.topic(&name, soon(10)).await.map(drop) });
                }
                for asked in asking.join_all().await {
                    asked.expect("the topic");
                }
            }
            false => {
                for name in &names {
                    cluster.topic(name, soon(10)).await.expect("the topic");
                }
            }
        }
        let scene = network.scene();
        let requests = scene.metadata_requests - before;
        match at_once {
            true => assert!(requests <= 20, "{requests}"),
            false => assert_eq!(requests, count),
        }
        let asked: usize = scene.all_asked.iter().map(|(names, _)| names.len()).sum();
        assert_eq!(asked, count, "each by one request");
    }
}
