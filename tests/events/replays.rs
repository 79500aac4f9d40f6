//! Dead letters replayed, and deleted.

use std::ops::ControlFlow;

use super::*;
use pat_events::events::{
    DeadLetterFilter, DeadLetters, FailureClass, PurgeUpTo, ReplayOptions, dead_letter,
};
use pat_events::kafka::{Client, ClientConfig, ConsumerConfig as RawConfig, OwnedRecord};

const DEAD: &str = "emails.dlq";

/// A dead letter as it is written to its topic.
#[derive(Clone, Copy)]
struct Letter {
    key: &'static str,
    number: u32,
    class: &'static str,
    error: &'static str,
    tenant: &'static str,
    /// Of its record: the partition and the offset.
    origin: (i32, i64),
    failed_ms: i64,
    left_out: bool,
}

impl Letter {
    fn of(key: &'static str, number: u32) -> Self {
        Self {
            key,
            number,
            class: "poison",
            error: "odd",
            tenant: "tenant-1",
            origin: (1, i64::from(number)),
            failed_ms: 1_000,
            left_out: false,
        }
    }
}

struct Setup {
    broker: Broker,
    client: Client,
    producer: Producer,
    letters: DeadLetters,
}

async fn setup() -> Setup {
    let broker = broker().await;
    // All in one partition, in their order.
    broker.create_topic(DEAD, 1).expect("a new topic");
    let client = Client::connect(ClientConfig::new(&broker.bootstrap_servers()));
    let client = client.await.expect("connected");
    Setup {
        producer: client.producer(Default::default()).expect("a producer"),
        letters: DeadLetters::on(&client, DEAD),
        client,
        broker,
    }
}

impl Setup {
    async fn write(&self, letters: impl IntoIterator<Item = Letter>) {
        for letter in letters {
            let (partition, offset) = letter.origin;
            let text = [
                (dead_letter::ORIGIN_TOPIC, TOPIC.to_string()),
                (dead_letter::ORIGIN_PARTITION, partition.to_string()),
                (dead_letter::ORIGIN_OFFSET, offset.to_string()),
                (dead_letter::ORIGIN_TIMESTAMP, "1000".into()),
                (dead_letter::GROUP, "test".into()),
                (dead_letter::ERROR_CLASS, letter.class.into()),
                (dead_letter::ERROR_MESSAGE, letter.error.into()),
                (dead_letter::LAST_FAILURE, letter.failed_ms.to_string()),
                (dead_letter::LEFT_OUT, "value".into()),
            ];
            let own = [
                Header::new("ce_type", EmailReceived::TYPE.as_bytes()),
                Header::new("ce_tenantid", letter.tenant.as_bytes()),
                Header::raw(b"odd\xff", Some(b"\xfe")),
            ];
            let says = text.iter().take(8 + usize::from(letter.left_out));
            let says = says.map(|(name, text)| Header::new(name, text.as_bytes()));
            let headers: Vec<_> = own.into_iter().chain(says).collect();
            let value = letter.number.to_string();
            let mut record = Record::new(DEAD)
                .key(letter.key.as_bytes())
                .headers(&headers);
            record.value = (!letter.left_out).then_some(value.as_bytes());
            // The flush below tells of failures.
            drop(self.producer.enqueue(record).await.expect("accepted"));
        }
        self.producer.flush().await.expect("delivered");
    }

    /// All that is in a topic of three partitions, of each in its order.
    async fn all(&self, topic: &str) -> Vec<OwnedRecord> {
        let mut config = RawConfig::default();
        config.group_id = None;
        let mut consumer = self.client.consumer(config).expect("a consumer");
        let at = |partition| TopicPartition::new(topic, partition);
        let from = [0, 1, 2].map(|it| (at(it), StartOffset::Earliest));
        consumer.assign(&from).await.expect("assigned");
        let ends = consumer.end_offsets(&[at(0), at(1), at(2)]).await;
        let count: i64 = ends.expect("answered").values().sum();
        let mut found = Vec::new();
        let reading = async {
            while found.len() < count as usize {
                let records = consumer.poll(Duration::from_millis(100)).await;
                let records = records.expect("polled");
                found.extend(records.iter().map(|record| record.to_owned()));
            }
        };
        timeout(PATIENCE, reading).await.expect("they come");
        found
    }

    async fn numbers(&self, topic: &str) -> Vec<u32> {
        let numbers = self.all(topic).await.into_iter().map(|record| {
            let value = record.value.expect("a value");
            String::from_utf8_lossy(&value).parse().expect("a number")
        });
        numbers.collect()
    }
}

fn options(change: impl FnOnce(&mut ReplayOptions)) -> ReplayOptions {
    let mut options = ReplayOptions::default();
    change(&mut options);
    options
}

#[tokio::test]
async fn what_is_replayed_is_the_record_as_it_was_in_order_per_key_and_once() {
    let setup = setup().await;
    let keys = ["a", "b", "a", "a", "c", "b"];
    let letters = keys
        .iter()
        .zip(0..)
        .map(|(key, number)| Letter::of(key, number));
    setup.write(letters.clone()).await;
    // A member that died before it had committed has written one a second time.
    setup.write(letters.clone().take(1)).await;
    let plain = Record::new(DEAD).key(b"a").value(b"plain");
    setup.producer.send(plain).await.expect("sent");
    let dry = options(|options| options.dry_run = true);
    let would = setup.letters.replay(&dry).await.expect("read");
    assert_eq!((would.read, would.selected, would.replayed), (8, 6, 6));
    assert!(setup.all(TOPIC).await.is_empty());
    let replayed = setup.letters.replay(&options(|_| {})).await.expect("sent");
    assert_eq!((replayed.selected, replayed.replayed), (6, 6));
    assert_eq!((replayed.doubled, replayed.others), (1, 1));
    let found = setup.all(TOPIC).await;
    for key in ["a", "b", "c"] {
        let of_key = found
            .iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()));
        let numbers: Vec<_> = of_key
            .map(|record| record.value.clone().expect("one"))
            .collect();
        let wanted: Vec<_> = (0..6)
            .filter(|at| keys[*at] == key)
            .map(|at| at.to_string())
            .collect();
        assert_eq!(numbers, wanted, "{key}");
    }
    for record in &found {
        assert_eq!(record.partition, 1, "that of its origin");
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|header| {
                (
                    header.key_bytes(),
                    header.value.as_deref().unwrap_or_default(),
                )
            })
            .collect();
        let wanted: [(&[u8], &[u8]); 4] = [
            (b"ce_type", EmailReceived::TYPE.as_bytes()),
            (b"ce_tenantid", b"tenant-1"),
            (b"odd\xff", b"\xfe"),
            (dead_letter::REPLAYS.as_bytes(), b"1"),
        ];
        assert_eq!(headers, wanted);
        assert!(record.timestamp_ms > 1_000, "retention would take it away");
    }
    let again = setup.letters.replay(&options(|_| {})).await.expect("read");
    assert_eq!((again.before, again.selected, again.replayed), (7, 0, 0));
    // What comes later is new, and its double of before is still known.
    setup.write([Letter::of("a", 6), Letter::of("a", 0)]).await;
    let later = setup.letters.replay(&options(|_| {})).await.expect("sent");
    assert_eq!((later.replayed, later.doubled), (1, 1));
    assert_eq!(setup.numbers(TOPIC).await.last(), Some(&6));
}

#[tokio::test]
async fn a_filter_takes_what_it_says_and_the_rest_can_be_replayed_later() {
    let setup = setup().await;
    let mut letters: Vec<_> = (0..8).map(|number| Letter::of("a", number)).collect();
    letters[1].key = "b";
    letters[2].class = "transient";
    letters[3].error = "no room left";
    letters[4].tenant = "tenant-2";
    letters[5].failed_ms = 2_000;
    letters[6].origin = (2, 6);
    setup.write(letters).await;
    let picked = async |change: &dyn Fn(&mut DeadLetterFilter)| {
        let mut filter = DeadLetterFilter::default();
        change(&mut filter);
        let mut offsets = Vec::new();
        let read = setup.letters.read(&filter, |record, _| {
            offsets.push(record.offset);
            ControlFlow::Continue(())
        });
        let counts = read.await.expect("read");
        assert_eq!((counts.read, counts.selected), (8, offsets.len() as u64));
        offsets
    };
    assert_eq!(picked(&|it| it.key = Some(b"b".to_vec())).await, [1]);
    let transient = |it: &mut DeadLetterFilter| it.class = Some(FailureClass::Transient);
    assert_eq!(picked(&transient).await, [2]);
    assert_eq!(picked(&|it| it.error = Some("room".into())).await, [3]);
    assert_eq!(picked(&|it| it.tenant = Some("tenant-2".into())).await, [4]);
    assert_eq!(picked(&|it| it.since_ms = Some(2_000)).await, [5]);
    assert_eq!(picked(&|it| it.before_ms = Some(1_000)).await, [0i64; 0]);
    assert_eq!(picked(&|it| it.partition = Some(2)).await, [6]);
    assert_eq!(picked(&|it| it.offset = Some(7)).await, [7]);
    assert_eq!(
        picked(&|it| it.event_type = Some("other".into())).await,
        [0i64; 0]
    );
    assert_eq!(
        picked(&|it| it.topic = Some("other".into())).await,
        [0i64; 0]
    );
    assert_eq!(picked(&|it| it.group = Some("test".into())).await.len(), 8);
    let some = options(|options| {
        options.filter.class = Some(FailureClass::Transient);
        options.to = Some(TOPIC.into());
    });
    assert_eq!(setup.letters.replay(&some).await.expect("sent").replayed, 1);
    let three = options(|options| options.limit = Some(3));
    let replayed = setup.letters.replay(&three).await.expect("sent");
    assert_eq!((replayed.replayed, replayed.before), (3, 1));
    let rest = setup.letters.replay(&options(|_| {})).await.expect("sent");
    assert_eq!((rest.replayed, rest.before), (4, 4));
    let mut numbers = setup.numbers(TOPIC).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    // Another group knows nothing of that.
    let other = setup.letters.clone().group("other");
    let all = other
        .replay(&options(|options| options.dry_run = true))
        .await;
    assert_eq!(all.expect("read").replayed, 8);
}

#[tokio::test]
async fn a_replay_that_fails_is_gone_on_with_and_sends_nothing_twice() {
    let setup = setup().await;
    let letters = (0..30).map(|number| Letter::of(["a", "b", "c"][number as usize % 3], number));
    setup.write(letters).await;
    let refused = FaultAction::Answer(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    // Three keys, so that three are sent at once: the third request fails.
    setup
        .broker
        .inject(Fault::on(ApiKey::PRODUCE, refused).after(2).times(1));
    let error = setup
        .letters
        .replay(&options(|_| {}))
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Authorization);
    let text = error.to_string();
    assert!(
        text.contains("emails.dlq-0 offset") && text.contains("that were"),
        "{text}"
    );
    let first = setup.numbers(TOPIC).await;
    assert!(first.len() < 30, "{first:?}");
    let rest = setup.letters.replay(&options(|_| {})).await.expect("sent");
    assert_eq!(rest.replayed as usize + first.len(), 30);
    let numbers = setup.numbers(TOPIC).await;
    for key in 0..3 {
        let of_key: Vec<_> = numbers
            .iter()
            .filter(|number| **number % 3 == key)
            .collect();
        let wanted: Vec<_> = (0..30).filter(|number| number % 3 == key).collect();
        assert!(of_key.into_iter().eq(&wanted), "{key}: {numbers:?}");
    }
}

#[tokio::test]
async fn what_is_left_out_is_read_where_it_stands_or_said_to_be_gone() {
    let setup = setup().await;
    let at = Record::new(TOPIC)
        .partition(1)
        .timestamp_ms(1_000)
        .key(b"a");
    for value in [b"0", b"1", b"2"] {
        setup.producer.send(at.value(value)).await.expect("sent");
    }
    let other = at.timestamp_ms(2_000).value(b"3");
    setup.producer.send(other).await.expect("sent");
    setup
        .write((1..6).map(|number| Letter {
            left_out: true,
            ..Letter::of("a", number)
        }))
        .await;
    let replayed = setup.letters.replay(&options(|_| {})).await.expect("sent");
    // The third is another record by now, and of the two behind it there is nothing.
    assert_eq!((replayed.replayed, replayed.gone), (2, 3));
    assert_eq!(setup.numbers(TOPIC).await, [0, 1, 2, 3, 1, 2]);
    let again = setup.letters.replay(&options(|_| {})).await.expect("read");
    assert_eq!((again.replayed, again.gone, again.before), (0, 3, 2));
}

#[tokio::test]
async fn what_cannot_be_marked_is_not_replayed() {
    let setup = setup().await;
    setup
        .write((0..5_000).map(|number| Letter {
            key: number.to_string().leak(),
            tenant: ["even", "odd"][number as usize % 2],
            ..Letter::of("", number)
        }))
        .await;
    let every_second = options(|options| options.filter.tenant = Some("odd".into()));
    let mut sent = 0;
    for _ in 0..2 {
        let replayed = setup.letters.replay(&every_second).await.expect("sent");
        assert_eq!(replayed.full.len(), 1, "{replayed:?}");
        sent += replayed.replayed;
    }
    assert!((1_000..2_500).contains(&sent), "{sent}");
    let rest = setup.letters.replay(&options(|_| {})).await.expect("sent");
    assert!(rest.full.is_empty(), "{rest:?}");
    assert_eq!(rest.replayed + sent, 5_000);
    let mut numbers = setup.numbers(TOPIC).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn dead_letters_are_deleted_up_to_what_was_replayed_or_is_old_or_all() {
    let setup = setup().await;
    setup
        .write((0..6).map(|number| Letter::of("a", number)))
        .await;
    let purge = async |up_to, dry_run| {
        let purged = setup.letters.purge(up_to, dry_run).await.expect("answered");
        let mut ranges = purged.into_values().map(|purged| (purged.from, purged.to));
        (ranges.next(), ranges.count()).0
    };
    assert_eq!(purge(PurgeUpTo::Replayed, false).await, None);
    let two = options(|options| options.limit = Some(2));
    setup.letters.replay(&two).await.expect("sent");
    assert_eq!(purge(PurgeUpTo::Replayed, true).await, Some((0, 2)));
    assert_eq!(purge(PurgeUpTo::Replayed, false).await, Some((0, 2)));
    assert_eq!(purge(PurgeUpTo::Replayed, false).await, None);
    assert_eq!(purge(PurgeUpTo::Before(1_000), false).await, None);
    // What is left is replayed, and nothing of what is gone is missed.
    let rest = setup.letters.replay(&options(|_| {})).await.expect("sent");
    assert_eq!((rest.read, rest.replayed), (4, 4));
    assert_eq!(setup.numbers(TOPIC).await, (0..6).collect::<Vec<_>>());
    let later = i64::MAX;
    assert_eq!(purge(PurgeUpTo::Before(later), true).await, Some((2, 6)));
    assert_eq!(purge(PurgeUpTo::All, false).await, Some((2, 6)));
    let all = DeadLetterFilter::default();
    let read = setup.letters.read(&all, |_, _| ControlFlow::Break(()));
    assert_eq!(read.await.expect("read").read, 0);
}
