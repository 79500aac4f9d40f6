//! What is read: by members of a group, from an offset, to the end.

use super::*;

pub async fn a_group_goes_on_after_what_was_printed(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "counted", "-p", "1"],
        None,
    );
    run(
        &["produce", "-b", brokers, "-t", "counted"],
        Some("1\n2\n3\n4\n5\n"),
    );
    let read = |more: &[&str]| {
        let consume = ["consume", "-b", brokers, "-t", "counted", "-G", "counted"];
        run(&[&consume[..], more].concat(), None)
    };
    assert_eq!(read(&["-c", "2"]), "1\n2\n");
    assert_eq!(read(&["-c", "2"]), "3\n4\n");
    assert_eq!(read(&["-e"]), "5\n");
}

pub async fn a_member_ends_at_the_ends_of_its_share(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "its-share", "-p", "2"],
        None,
    );
    for partition in ["0", "1"] {
        run(
            &["produce", "-b", brokers, "-t", "its-share", "-p", partition],
            Some(partition),
        );
    }
    let config = ConsumerConfig::new(brokers, "its-share");
    let mut other = Consumer::connect(config).await.expect("a consumer");
    other.subscribe(&["its-share"]).await.expect("a topic");
    while other.assignment().is_empty() {
        other
            .poll(Duration::from_millis(100))
            .await
            .expect("a poll");
    }
    let other = tokio::spawn(async move {
        loop {
            // Commits nothing: what it holds is never at its end for the group.
            let _ = other.poll(Duration::from_millis(100)).await;
        }
    });
    let read = run(
        &[
            "consume",
            "-b",
            brokers,
            "-t",
            "its-share",
            "-G",
            "its-share",
            "-e",
        ],
        None,
    );
    other.abort();
    assert!(["0\n", "1\n"].contains(&read.as_str()), "{read:?}");
}

pub async fn reading_takes_the_options_of_consumers(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "options", "-p", "2"],
        None,
    );
    run(
        &["produce", "-b", brokers, "-t", "options", "-X", "acks=all"],
        Some("one"),
    );
    let consume = ["consume", "-b", brokers, "-t", "options", "-e", "-X"];
    let with = |option| [&consume[..], &[option]].concat();
    assert_eq!(run(&with("fetch.min.bytes=2"), None), "one\n");
    let errors = fails(&with("fetch.min.byte=2"), None);
    assert!(errors.contains("did you mean fetch.min.bytes?"), "{errors}");
}

pub async fn reading_from_an_offset_prints_what_is_there_and_says_what_is_not(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "offsets", "-p", "1"],
        None,
    );
    run(
        &["produce", "-b", brokers, "-t", "offsets"],
        Some("0\n1\n2\n"),
    );
    let read = |offset: &str| {
        let consume = [
            "consume", "-b", brokers, "-t", "offsets", "-e", "-o", offset,
        ];
        let ended = end_of(&[], &consume, None);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        (ended.output, ended.errors)
    };
    let silent = |output: &str| (output.to_owned(), String::new());
    assert_eq!(read("1"), silent("1\n2\n"));
    assert_eq!(read("3"), silent(""));
    assert_eq!(read("-2"), silent("1\n2\n"));
    assert_eq!(read("-100"), silent("0\n1\n2\n"));
    assert_eq!(read("s@9000000000000"), silent(""));
    let (output, errors) = read("100");
    assert_eq!(output, "");
    assert!(errors.contains("ends at offset 3"), "{errors}");
    // What is written later is printed from the offset that was asked for on.
    let later = Program::start(&[
        "consume", "-b", brokers, "-t", "offsets", "-o", "5", "-c", "1",
    ]);
    later.says("ends at offset 3").await;
    run(
        &["produce", "-b", brokers, "-t", "offsets"],
        Some("3\n4\n5\n6\n"),
    );
    let ended = later.end().await;
    assert_eq!(
        (ended.status, ended.output.as_str()),
        (Some(0), "5\n"),
        "{ended:?}"
    );
}

pub async fn a_transaction_at_the_end_is_committed_to_its_end() {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("transactions", 1).expect("a topic");
    let batch = |control: bool| {
        let mut builder = BatchBuilder::new(Vec::new());
        let marker = ControlRecord::Commit {
            coordinator_epoch: 0,
        };
        let (key, value) = match control {
            true => (
                marker.key().to_vec(),
                marker.marker_value().expect("a marker").to_vec(),
            ),
            false => (b"k".to_vec(), b"v".to_vec()),
        };
        builder
            .append(1_000, Some(&key), Some(&value), [])
            .expect("room");
        let options = SealOptions {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: if control { -1 } else { 0 },
            transactional: true,
            control,
        };
        builder
            .seal(&options, &mut Compressor::new(Compression::NONE))
            .into_bytes()
    };
    for control in [false, true] {
        broker.append_unchecked("transactions", 0, batch(control));
    }
    let brokers = broker.bootstrap_servers();
    let consume = [
        "consume",
        "-b",
        &brokers,
        "-t",
        "transactions",
        "-G",
        "g",
        "-e",
        "-X",
        "isolation.level=read_committed",
    ];
    for expected in ["v\n", ""] {
        assert_eq!(
            tokio::task::block_in_place(|| run(&consume, None)),
            expected
        );
        assert_eq!(broker.committed_offset("g", "transactions", 0), Some(2));
    }
    // A record that was left for another time is not committed.
    tokio::task::block_in_place(|| {
        run(
            &["produce", "-b", &brokers, "-t", "transactions"],
            Some("a\nb\nc\n"),
        )
    });
    let one = [&consume[..], &["-c", "1"]].concat();
    assert_eq!(tokio::task::block_in_place(|| run(&one, None)), "a\n");
    assert_eq!(broker.committed_offset("g", "transactions", 0), Some(3));
}
