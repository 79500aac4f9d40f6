//! The demo, and the measurements: they find nothing wrong, and say so.

use super::*;

pub const EVENTS: &str = "50000";

pub fn demo(more: &[&str]) {
    let said = run(
        &[&["demo", "--json", "--events", EVENTS], more].concat(),
        None,
    );
    let last = said.lines().last().expect("a line of JSON");
    for part in [
        "\"events_sent\":50000",
        "\"events_handled\":50000",
        "\"paced_events\":3000",
        "\"unknown_outcome\":0",
        "\"duplicates\":0",
        "\"out_of_order\":0",
    ] {
        assert!(last.contains(part), "no {part} in {last}");
    }
}

pub fn the_demo_gives_options_to_those_that_know_them() {
    demo(&[
        "-X",
        "fetch.max.wait.ms=100",
        "-X",
        "max.request.size=500000",
        "-X",
        "client.id=demo",
    ]);
    let errors = fails(&["demo", "-X", "fetch.max.wait=100"], None);
    assert!(
        errors.contains("did you mean fetch.max.wait.ms?"),
        "{errors}"
    );
    let errors = fails(&["demo", "-X", "max.request.size=much"], None);
    assert!(errors.contains("allowed is a number"), "{errors}");
}

pub async fn the_demo_reports_when_its_consumer_is_put_out(target: Target) {
    let brokers = target.bootstrap.clone();
    run(
        &["topics", "-b", &brokers, "create", "put-out", "-p", "1"],
        None,
    );
    let usurper = tokio::spawn(async move {
        let mut config = ConsumerConfig::new(&brokers, "put-out");
        config.group_instance_id = Some("the-one".into());
        let mut usurper = Consumer::connect(config).await.expect("a consumer");
        let partition = TopicPartition::new("put-out", 0);
        // The demo is well under way.
        while usurper
            .end_offsets(slice::from_ref(&partition))
            .await
            .expect("an end")[&partition]
            < 100
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        usurper.subscribe(&["put-out"]).await.expect("a topic");
        loop {
            let _ = usurper.poll(Duration::from_millis(100)).await;
        }
    });
    let demo = [
        "demo",
        "--json",
        "--brokers",
        &target.bootstrap,
        "--topic",
        "put-out",
        "--rate",
        "500",
        "--events",
        "1000000",
        "-X",
        "group.id=put-out",
        "-X",
        "group.instance.id=the-one",
    ];
    let ended = end_of(&[], &demo, None);
    usurper.abort();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.output.contains("\"events_sent\":"), "{ended:?}");
    assert!(ended.errors.contains("FENCED_INSTANCE_ID"), "{ended:?}");
}

pub async fn the_environment_chooses_the_codec_unless_the_command_line_does(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "codec", "-p", "1"],
        None,
    );
    let codec = [("KAFKA_COMPRESSION_TYPE", "brotli")];
    let produce = ["produce", "-b", brokers, "-t", "codec"];
    let ended = end_of(&codec, &produce, Some("one"));
    assert!(
        ended.errors.contains("compression.type = \"brotli\""),
        "{ended:?}"
    );
    let ended = end_of(
        &codec,
        &[&produce[..], &["-z", "zstd"]].concat(),
        Some("one"),
    );
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

pub async fn demos_share_a_topic_that_is_there_or_not(target: Target) {
    let demo = |brokers: String| {
        move || {
            let demo = [
                "demo",
                "--json",
                "--brokers",
                &brokers,
                "-t",
                "shared-demo",
                "-e",
                "2000",
            ];
            end_of(&[], &demo, None)
        }
    };
    // At once, so that each may be the one that creates it; and once more.
    let both = [0, 1].map(|_| tokio::task::spawn_blocking(demo(target.bootstrap.clone())));
    let [first, second] = both;
    let third = async { tokio::task::spawn_blocking(demo(target.bootstrap.clone())).await };
    for ended in [first.await, second.await, third.await] {
        let ended = ended.expect("no panic");
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
}

pub async fn latencies_are_those_of_this_run_whatever_the_topic_holds(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "timed", "-p", "2"],
        None,
    );
    // Values that begin with what would be a time of another clock.
    let stamps: String = (0..500).map(|_| "AAAAAAAAAAAA\n").collect();
    run(&["produce", "-b", brokers, "-t", "timed"], Some(&stamps));
    for _ in 0..2 {
        let bench = [
            "bench",
            "--broker",
            brokers,
            "--topic",
            "timed",
            "--partitions",
            "2",
            "--mode",
            "latency",
            "--rate",
            "500",
            "--secs",
            "1",
            "--json",
        ];
        let line: serde_json::Value = serde_json::from_str(&run(&bench, None)).expect("JSON");
        assert_eq!(
            (&line["records"], &line["check"]),
            (&500.into(), &500.into()),
            "{line}"
        );
        assert!(
            line["p50_us"].as_f64().is_some_and(|p50| p50 > 10.0),
            "{line}"
        );
    }
}

pub async fn the_bench_needs_nothing_and_prints_a_table_or_lines() {
    let few = ["bench", "--records", "2000", "--rate", "500", "--secs", "1"];
    let table = run(&few, None);
    for mode in ["produce", "consume", "latency", "pingpong"] {
        let line = table.lines().find(|line| line.starts_with(mode));
        assert!(
            line.is_some_and(|line| !line.contains(" 0 ")),
            "{mode}: {table}"
        );
    }
    let lines = run(&[&few[..], &["--json", "--mode", "consume"]].concat(), None);
    let line: serde_json::Value = serde_json::from_str(&lines).expect("one line of JSON");
    assert_eq!(line["records"], 2_000);
    // As a harness calls it: a topic that is there, a payload of its own, one line, nothing created.
    let broker = Broker::builder()
        .auto_create_topics(false)
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("given", 2).expect("a topic");
    let payload = folder().join(format!("payload-{}.bin", std::process::id()));
    let record = [&3u32.to_le_bytes()[..], &5u32.to_le_bytes(), b"keyvalue"].concat();
    fs::write(&payload, record.repeat(3)).expect("written");
    for mode in ["produce", "consume", "pingpong", "latency"] {
        let brokers = broker.bootstrap_servers();
        let path = payload.to_str().expect("a path of text");
        let flags = [
            "bench",
            "--mode",
            mode,
            "--broker",
            &brokers,
            "--topic",
            "given",
            "--payload",
            path,
            "--compression",
            "lz4",
            "--partitions",
            "2",
            "--records",
            "100",
            "--warmup",
            "10",
            "--linger-ms",
            "5",
            "--batch-bytes",
            "1000000",
            "--rate",
            "200",
            "--secs",
            "1",
        ];
        let printed = tokio::task::block_in_place(|| run(&flags, None));
        let line: serde_json::Value = serde_json::from_str(&printed).expect("one line of JSON");
        assert_eq!(
            (&line["client"], &line["mode"]),
            (&"pat-events".into(), &mode.into())
        );
        assert_eq!(line["compression"], "lz4");
        if mode != "consume" {
            assert_eq!(line["check"], line["records"], "{line}");
        }
    }
    let _ = fs::remove_file(payload);
    assert_eq!(broker.topics(), ["given"]);
}
