//! Runs that a signal ends.

use super::*;

pub async fn a_member_that_is_ended_by_a_signal_leaves_its_group() {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("left", 1).expect("a topic");
    let brokers = broker.bootstrap_servers();
    // Long enough that whoever has to wait for it is late.
    let session = "session.timeout.ms=120000";
    let consume = [
        "consume", "-b", &brokers, "-t", "left", "-G", "g", "-X", session,
    ];
    for (number, signal) in ["TERM", "INT"].into_iter().enumerate() {
        // A signal that comes during the commit leaves it to end.
        let slow = FaultAction::Delay(Duration::from_secs(1));
        broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, slow));
        let line = format!("{number}\n");
        let member = Program::start(&consume);
        tokio::task::block_in_place(|| {
            run(&["produce", "-b", &brokers, "-t", "left"], Some(&line))
        });
        member.prints(&line).await;
        member.signal(signal);
        let ended = member.end().await;
        assert_eq!(ended.status, Some(0), "{signal}: {ended:?}");
        let next = tokio::task::block_in_place(|| run(&[&consume[..], &["-e"]].concat(), None));
        assert_eq!(next, "", "it was committed");
    }
}

pub async fn broker_and_demo_end_cleanly_by_either_signal() {
    for signal in ["TERM", "INT"] {
        let broker = Program::start(&["broker", "--listen", "127.0.0.1:0"]);
        broker.prints("127.0.0.1:").await;
        broker.signal(signal);
        let ended = broker.end().await;
        assert_eq!(ended.status, Some(0), "{signal}: {ended:?}");
        let own = Broker::builder()
            .start_tcp("127.0.0.1:0")
            .await
            .expect("a broker");
        let brokers = own.bootstrap_servers();
        let demo = Program::start(&[
            "demo",
            "--json",
            "--brokers",
            &brokers,
            "--rate",
            "500",
            "--events",
            "1000000",
        ]);
        while own
            .topics()
            .iter()
            .all(|topic| own.log(topic, 0).is_none_or(|log| log.end_offset < 50))
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        demo.signal(signal);
        let ended = demo.end().await;
        assert_eq!(ended.status, Some(0), "{signal}: {ended:?}");
        assert!(ended.output.contains("\"missing\":0"), "{ended:?}");
        assert_eq!(own.topics(), [] as [String; 0]);
    }
}

pub async fn a_producer_that_is_ended_by_a_signal_writes_what_it_has_read() {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("typed-in", 1).expect("a topic");
    let brokers = broker.bootstrap_servers();
    let mut producer = Program::start(&[
        "produce",
        "-b",
        &brokers,
        "-t",
        "typed-in",
        "-X",
        "linger.ms=1000",
    ]);
    producer.types("one\ntwo\n");
    // Long enough for the lines to be read and not for the batch to be sent.
    tokio::time::sleep(Duration::from_millis(800)).await;
    producer.signal("TERM");
    let ended = producer.end().await;
    assert!(
        ended.errors.contains("ended by a signal after line 2"),
        "{ended:?}"
    );
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(broker.log("typed-in", 0).expect("a log").end_offset, 2);
}
