//! What the client says to bad input, and when: one clear error within its deadline. In: nobody there, somebody who is no
//! broker, and a scripted broker that answers wrongly. Out: the kind of the error, and what its one line has to name.

mod scripted;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use pat_events::kafka::{
    Consumer, ConsumerConfig, Error, ErrorKind, Producer, ProducerConfig, Record, StartOffset,
    TopicPartition,
};
use tokio::time::timeout;

use scripted::{Answer, Scripted, TOPIC};

/// The client is told to give up after two seconds; it has to be done with it by now.
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn no_broker_there_is_an_error_that_names_the_address() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("bound");
    let error = producing_to(&free.to_string()).await;
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    assert_names(&error, &[&free.to_string(), "refused"]);
}

#[tokio::test]
async fn a_port_that_talks_http_is_recognised() {
    let error = producing_to(Scripted::start(Answer::Http).await.address()).await;
    assert_names(&error, &["HTTP"]);
}

#[tokio::test]
async fn a_peer_that_says_nothing_ends_in_a_timeout() {
    let scripted = Scripted::start(Answer::Nothing).await;
    let error = producing_to(scripted.address()).await;
    assert_names(&error, &[scripted.address()]);
}

#[tokio::test]
async fn a_truncated_frame_is_a_broken_connection() {
    let scripted = Scripted::start(Answer::TruncatedFrame).await;
    let error = producing_to(scripted.address()).await;
    assert_names(&error, &[scripted.address()]);
}

#[tokio::test]
async fn an_absurd_length_is_refused_before_its_bytes_are_awaited() {
    for length in [i32::MAX, -7] {
        let scripted = Scripted::start(Answer::FrameLength(length)).await;
        let error = producing_to(scripted.address()).await;
        assert_names(&error, &[scripted.address()]);
    }
}

/// Taken as they are, they would make a producer that doubles what it repeats, and says nothing.
#[tokio::test]
async fn a_producer_id_that_is_none_is_refused() {
    for (id, epoch, word) in [(-1, 0, "id -1"), (-7, 5, "id -7"), (1, -1, "epoch -1")] {
        let scripted = Scripted::start(Answer::ProducerId(id, epoch)).await;
        let error = producing_to(scripted.address()).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert_names(&error, &["InitProducerId", scripted.address(), word]);
    }
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_named() {
    let scripted = Scripted::start(Answer::Batch(scripted::batch())).await;
    let config = producer_config(scripted.address());
    let sending = async {
        Producer::connect(config)
            .await?
            .send(Record::new("no-such-topic").value(b"v"))
            .await
    };
    let error = in_time(sending).await;
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
    assert_names(&error, &["no-such-topic"]);
}

#[tokio::test]
async fn a_message_over_the_limit_says_its_size_and_the_limit() {
    let scripted = Scripted::start(Answer::Batch(scripted::batch())).await;
    let mut config = producer_config(scripted.address());
    config
        .set("max.request.size", "100000")
        .expect("a good property");
    let value = vec![0; 200_000];
    let sending = async {
        Producer::connect(config)
            .await?
            .send(Record::new(TOPIC).value(&value))
            .await
    };
    let error = in_time(sending).await;
    assert_eq!(error.kind(), ErrorKind::RecordTooLarge, "{error}");
    assert_names(&error, &["100000"]);
}

#[tokio::test]
async fn the_scripted_brokers_good_batch_is_read() {
    let scripted = Scripted::start(Answer::Batch(scripted::batch())).await;
    let mut consumer = consumer_of(scripted.address()).await.expect("connected");
    let records = timeout(DEADLINE, consumer.poll(DEADLINE))
        .await
        .expect("in time")
        .expect("a good batch");
    assert_eq!(
        records
            .iter()
            .map(|record| record.value.expect("a value").to_vec())
            .collect::<Vec<_>>(),
        [b"one", b"two"]
    );
}

#[tokio::test]
async fn a_corrupt_batch_is_an_error_that_says_where() {
    let mut batch = scripted::batch();
    *batch.last_mut().expect("not empty") ^= 1;
    let error = consuming(batch).await;
    assert_eq!(error.kind(), ErrorKind::CorruptBatch, "{error}");
    assert_names(&error, &[TOPIC, "CRC"]);
}

#[tokio::test]
async fn a_batch_cut_in_a_record_is_an_error_that_says_where() {
    let error = consuming(scripted::with_attributes_and_count(0, 3)).await;
    assert_eq!(error.kind(), ErrorKind::CorruptBatch, "{error}");
    assert_names(&error, &[TOPIC]);
}

#[tokio::test]
async fn an_unknown_codec_is_named() {
    let error = consuming(scripted::with_attributes_and_count(7, 2)).await;
    assert_names(&error, &[TOPIC, "codec", "7"]);
}

#[test]
fn a_misspelt_property_gives_the_nearest_one() {
    let error =
        ProducerConfig::from_properties([("linger.msec", "5")]).expect_err("no such property");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_names(&error, &["linger.msec", "linger.ms?"]);
}

#[test]
fn a_value_that_is_not_allowed_names_key_value_and_what_is_allowed() {
    let error =
        ProducerConfig::from_properties([("compression.type", "zip")]).expect_err("no such codec");
    assert_names(&error, &["compression.type", "zip", "zstd"]);
}

#[test]
fn a_misspelt_option_of_the_program_gives_the_nearest_one() {
    let program = Command::new(env!("CARGO_BIN_EXE_pat-events"))
        .args(["bench", "--rcords", "5"])
        .output()
        .expect("it runs");
    assert_eq!(program.status.code(), Some(2));
    let said = String::from_utf8_lossy(&program.stderr);
    assert!(
        said.contains("--rcords") && said.contains("--records"),
        "{said}"
    );
}

#[test]
fn bytes_that_are_no_frame_end_the_program_with_one_line() {
    let program = Command::new(env!("CARGO_BIN_EXE_pat-events"))
        .args(["decode", "00 00 00 09 00 12"])
        .output()
        .expect("it runs");
    assert_eq!(program.status.code(), Some(1));
    let said = String::from_utf8_lossy(&program.stderr);
    assert!(
        said.starts_with("error: the frame at byte 0: 9 bytes should follow")
            && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let heartbeat = "00000012 000c 0000 00000001 ffff 0000 00000000 0000";
    let mut program = Command::new(env!("CARGO_BIN_EXE_pat-events"))
        .args(["decode", &[heartbeat; 1000].concat()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(program.stdout.take());
    let ended = program.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn every_command_says_what_it_waits_for_and_then_why_it_gives_up() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("bound")
        .to_string();
    let given_up = ["-X", "request.timeout.ms=4000"];
    let commands: [&[&str]; 7] = [
        &["topics", "-b", &free, "list"],
        &["api", "-b", &free],
        &["consume", "-b", &free, "-t", TOPIC],
        &["consume", "-b", &free, "-t", TOPIC, "-G", "g"],
        &[
            "produce",
            "-b",
            &free,
            "-t",
            TOPIC,
            "-X",
            "max.block.ms=4000",
        ],
        &[
            "produce",
            "-b",
            &free,
            "-t",
            TOPIC,
            "-T",
            "-X",
            "max.block.ms=4000",
        ],
        &["demo", "--brokers", &free],
    ];
    let running: Vec<_> = commands
        .iter()
        .map(|command| {
            Command::new(env!("CARGO_BIN_EXE_pat-events"))
                .args([command, &given_up[..]].concat())
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts")
        })
        .collect();
    for (command, running) in commands.iter().zip(running) {
        let ended = running.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&ended.stderr);
        let mut lines = errors.lines();
        let waiting = format!("waiting for brokers: {free}: ");
        let first = lines.next().unwrap_or_default();
        assert!(
            first.starts_with(&waiting) && first.contains("refused"),
            "{command:?}: {errors}"
        );
        assert!(
            lines.next().is_some_and(|line| line.starts_with("error: ")),
            "{command:?}: {errors}"
        );
        assert_eq!(lines.next(), None, "{command:?}: {errors}");
        assert_eq!(ended.status.code(), Some(1), "{command:?}");
    }
}

/// The error of a producer that is to send one record to the broker at this address.
async fn producing_to(address: &str) -> Error {
    let config = producer_config(address);
    in_time(async {
        Producer::connect(config)
            .await?
            .send(Record::new(TOPIC).value(b"v"))
            .await
    })
    .await
}

/// The error of a consumer that gets these bytes as the records of its partition.
async fn consuming(batch: Vec<u8>) -> Error {
    let scripted = Scripted::start(Answer::Batch(batch)).await;
    let mut consumer = consumer_of(scripted.address()).await.expect("connected");
    // What stands before the damage may come out first.
    in_time::<()>(async {
        loop {
            consumer.poll(DEADLINE).await?;
        }
    })
    .await
}

async fn consumer_of(address: &str) -> pat_events::kafka::Result<Consumer> {
    let config = ConsumerConfig::from_properties([
        ("bootstrap.servers", address),
        ("request.timeout.ms", "2000"),
    ])?;
    let mut consumer = Consumer::connect(config).await?;
    consumer
        .assign(&[(TopicPartition::new(TOPIC, 0), StartOffset::Earliest)])
        .await?;
    Ok(consumer)
}

fn producer_config(address: &str) -> ProducerConfig {
    let properties = [
        ("bootstrap.servers", address),
        ("request.timeout.ms", "1000"),
        ("socket.connection.setup.timeout.ms", "1000"),
        ("delivery.timeout.ms", "2000"),
        ("max.block.ms", "2000"),
    ];
    ProducerConfig::from_properties(properties).expect("good properties")
}

async fn in_time<T: std::fmt::Debug>(
    work: impl Future<Output = pat_events::kafka::Result<T>>,
) -> Error {
    timeout(DEADLINE, work)
        .await
        .expect("an error within the deadline")
        .expect_err("it cannot work")
}

fn assert_names(error: &Error, words: &[&str]) {
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "no {word:?} in: {line}");
    }
}
