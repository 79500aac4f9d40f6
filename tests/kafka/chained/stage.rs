//! One stage of a chain: the topic that its group reads, where the records go, how far it has come, and whether all was as promised.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use pat_events::kafka::{
    Consumer, Producer, RecordView, ShareConsumer, ShareConsumerConfig, TopicPartition,
};

use super::chain::PARTITIONS;
use super::log_book::{LogBook, Place};
use super::queue_book::QueueBook;
use super::{Link, Size};
use crate::fleet::{SESSION, Target};

/// When a member commits what it has passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commits {
    /// After each poll, and waits.
    Each,
    /// By polls, from time to time.
    ByItself,
    /// Without waiting, and when partitions are revoked.
    Behind,
}

pub(super) struct Stage {
    target: Target,
    /// The group has the same name.
    pub topic: String,
    pub next: Option<String>,
    pub link: Link,
    pub commits: Commits,
    log: Mutex<LogBook>,
    queue: Mutex<QueueBook>,
    /// How often a member was assigned partitions.
    pub assignments: AtomicUsize,
    /// Errors of polls that may pass.
    pub errors: AtomicUsize,
    /// Nobody comes or goes any more.
    rests: AtomicBool,
    ended: AtomicBool,
}

impl Stage {
    pub fn new(
        target: Target,
        topic: String,
        next: Option<String>,
        link: Link,
        index: usize,
        size: Size,
    ) -> Self {
        Self {
            target,
            topic,
            next,
            link,
            commits: [Commits::Each, Commits::ByItself, Commits::Behind][index],
            log: Mutex::new(LogBook::new(PARTITIONS as usize, size.keys, size.records)),
            queue: Mutex::new(QueueBook::new(size.records)),
            assignments: AtomicUsize::new(0),
            errors: AtomicUsize::new(0),
            rests: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    pub fn log(&self) -> MutexGuard<'_, LogBook> {
        self.log.lock().expect("no fault was found")
    }

    pub fn queue(&self) -> MutexGuard<'_, QueueBook> {
        self.queue.lock().expect("no fault was found")
    }

    pub async fn consumer(&self) -> Consumer {
        let session = SESSION.as_millis().to_string();
        let auto_commit = (self.commits == Commits::ByItself).to_string();
        let mut properties = vec![
            ("group.id", &*self.topic),
            ("max.poll.records", "100"),
            ("enable.auto.commit", &auto_commit),
            ("auto.commit.interval.ms", "200"),
        ];
        match self.link {
            Link::Classic(strategy) => properties.extend([
                ("partition.assignment.strategy", strategy),
                ("session.timeout.ms", &*session),
                ("heartbeat.interval.ms", "500"),
            ]),
            Link::Consumer => properties.push(("group.protocol", "consumer")),
            Link::Share => unreachable!("it has share consumers"),
        }
        self.target.consumer(&properties).await
    }

    pub async fn share_consumer(&self) -> ShareConsumer {
        let properties = [
            ("bootstrap.servers", &*self.target.bootstrap),
            ("group.id", &self.topic),
            ("share.acknowledgement.mode", "explicit"),
            ("max.poll.records", "100"),
        ];
        let config = ShareConsumerConfig::from_properties(properties).expect("good properties");
        ShareConsumer::connect(config).await.expect("connected")
    }

    pub async fn producer(&self) -> Producer {
        self.target.producer(&[]).await
    }

    pub fn handed_out(&self) -> u64 {
        match self.link {
            Link::Share => self.queue().handed_out(),
            _ => self.log().handed_out(),
        }
    }

    /// Whether all records have come so far.
    pub fn is_done(&self) -> bool {
        match self.link {
            Link::Share => self.queue().is_whole(),
            _ => self.log().is_whole(),
        }
    }

    pub fn dropped(&self, member: usize) {
        match self.link {
            Link::Share => self.queue().dropped(member),
            _ => self.log().dropped(member),
        }
    }

    pub fn rest(&self) {
        self.rests.store(true, Ordering::Relaxed);
    }

    pub fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Where the logs end, and what is committed.
    async fn places(&self) -> (Vec<i64>, Vec<i64>) {
        let reader = self.target.consumer(&[("group.id", &*self.topic)]).await;
        let names = (0..PARTITIONS).map(|it| TopicPartition::new(self.topic.as_str(), it));
        let names: Vec<_> = names.collect();
        let ends: BTreeMap<_, _> = reader
            .end_offsets(&names)
            .await
            .expect("listed")
            .into_iter()
            .collect();
        let committed = match self.link {
            Link::Share => BTreeMap::new(),
            _ => reader
                .committed(&names)
                .await
                .expect("answered")
                .into_iter()
                .collect(),
        };
        let ends = names.iter().map(|name| ends[name]).collect();
        let committed = names
            .iter()
            .map(|name| committed.get(name).map_or(0, |it| it.offset));
        (ends, committed.collect())
    }

    /// Whether all that there is has been passed on and committed.
    pub async fn is_at_rest(&self) -> bool {
        let (ends, committed) = self.places().await;
        self.link == Link::Share || ends == committed
    }

    /// Fails if something was not as promised.
    pub async fn check(&self) {
        let (ends, _) = self.places().await;
        let checked = match self.link {
            Link::Share => self.queue().check(),
            _ => self.log().check(&ends),
        };
        if let Err(what) = checked {
            panic!("{}: {what}", self.topic);
        }
    }

    pub async fn said(&self) -> String {
        let (counts, nexts) = match self.link {
            Link::Share => (self.queue().counts(), Vec::new()),
            _ => {
                let log = self.log();
                (log.counts(), log.nexts())
            }
        };
        let (ends, committed) = self.places().await;
        let handed_out = self.handed_out();
        let (again, dropped, lost) = counts;
        let lost_or_refused = match self.link {
            Link::Share => "acknowledgements refused",
            _ => "lost partitions",
        };
        let sum = |offsets: &[i64]| offsets.iter().sum::<i64>();
        let mut said = format!(
            "{} records, {handed_out} handed out, {again} of them again, {dropped} members dropped, {lost} {lost_or_refused}, {} assignments, {} errors",
            sum(&ends),
            self.assignments.load(Ordering::Relaxed),
            self.errors.load(Ordering::Relaxed),
        );
        let not_accepted = self.queue().not_accepted();
        if !not_accepted.is_empty() {
            let some: Vec<_> = not_accepted.iter().take(10).collect();
            said += &format!(" ({} not accepted: {some:?})", not_accepted.len());
        }
        if self.link != Link::Share && committed != ends {
            said += &format!(" (at {nexts:?}, committed {committed:?}, ends {ends:?})");
        }
        said
    }
}

/// A record as the books have it.
pub(super) fn place(record: &RecordView<'_>) -> Place {
    let number = |bytes: Option<&[u8]>| {
        u64::from_be_bytes(bytes.expect("not null").try_into().expect("eight bytes"))
    };
    Place {
        partition: record.partition,
        offset: record.offset,
        key: number(record.key),
        number: number(record.value),
    }
}
