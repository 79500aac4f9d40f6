//! One question about many partitions: split by leader, asked side by side, merged by name, and asked again for those that have no answer
//! yet. In: partitions and what is asked of each. Out: an answer for each, or the error that ended it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::Instant;

use super::{Cluster, Metadata};
use crate::kafka::error::may_pass;
use crate::kafka::runtime::Retry;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// What is asked of a partition's leader.
#[derive(Clone, Debug)]
pub(crate) struct Asked<Q> {
    pub partition: TopicPartition,
    pub question: Q,
    /// The leader's epoch, as far as it is known.
    pub leader_epoch: i32,
}

/// What a broker answered, by partition.
pub(crate) type Answers<T> = Vec<(TopicPartition, Result<T>)>;

impl Cluster {
    /// Asks the leaders of all partitions with `ask`, which gets a broker and what to ask it; again with pauses, while that may help, until
    /// `deadline`. Cancel safe where `ask` is.
    pub async fn fan_out<Q: Copy, T, F>(
        &self,
        mut open: BTreeMap<TopicPartition, Q>,
        deadline: Instant,
        ask: impl Fn(i32, Vec<Asked<Q>>) -> F,
    ) -> Result<BTreeMap<TopicPartition, T>>
    where
        F: Future<Output = Result<Answers<T>>>,
    {
        let mut retry = Retry::new(self.retry_backoff(), self.random("fan out"), deadline);
        let mut done = BTreeMap::new();
        loop {
            for partition in open.keys() {
                self.topic(&partition.topic, deadline).await?;
            }
            let asked = by_leader(&self.metadata(), &open)?.into_iter();
            let answers = join_all(asked.map(|(node, asked)| ask(node, asked))).await;
            let mut failure = None;
            for (partition, answer) in flattened(answers, &mut failure)? {
                match answer {
                    Ok(answer) => {
                        open.remove(&partition);
                        done.insert(partition, answer);
                    }
                    Err(error) if may_pass(&error) => failure = Some(error),
                    Err(error) => return Err(error),
                }
            }
            if open.is_empty() {
                return Ok(done);
            }
            self.refresh();
            let error = failure.unwrap_or_else(|| no_leader(open.keys().next()));
            retry.pause(error).await?;
        }
    }
}

/// The answers of all brokers. One that could not be asked, and may be asked again, is noted as the `failure`.
fn flattened<T>(
    answers: Vec<Result<Answers<T>>>,
    failure: &mut Option<Error>,
) -> Result<Answers<T>> {
    let mut all = Vec::new();
    for answers in answers {
        match answers {
            Ok(answers) => all.extend(answers),
            Err(error) if may_pass(&error) => *failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// What to ask each broker. Partitions without a leader are left out.
fn by_leader<Q: Copy>(
    metadata: &Metadata,
    open: &BTreeMap<TopicPartition, Q>,
) -> Result<BTreeMap<i32, Vec<Asked<Q>>>> {
    let mut by_leader: BTreeMap<i32, Vec<Asked<Q>>> = BTreeMap::new();
    for (partition, question) in open {
        let Some(topic) = metadata.topic(&partition.topic) else {
            continue;
        };
        let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
        let known = topic.partitions.get(index);
        let known = known.ok_or_else(|| unknown_partition(partition))?;
        if let Some(leader) = known.leader {
            by_leader.entry(leader).or_default().push(Asked {
                partition: partition.clone(),
                question: *question,
                leader_epoch: known.leader_epoch,
            });
        }
    }
    Ok(by_leader)
}

/// What each of the futures returns, in their order.
pub(crate) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    enum Joined<F: Future> {
        Running(Pin<Box<F>>),
        Done(F::Output),
    }
    let mut all: Vec<_> = futures.map(|it| Joined::Running(Box::pin(it))).collect();
    poll_fn(|context| {
        let mut is_pending = false;
        for it in &mut all {
            if let Joined::Running(future) = it {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *it = Joined::Done(output),
                    Poll::Pending => is_pending = true,
                }
            }
        }
        match is_pending {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    })
    .await;
    let done = all.into_iter().filter_map(|it| match it {
        Joined::Done(output) => Some(output),
        Joined::Running(_) => None,
    });
    done.collect()
}

/// The error for a partition that its topic does not have.
pub(crate) fn unknown_partition(partition: &TopicPartition) -> Error {
    Error::new(
        ErrorKind::UnknownTopicOrPartition,
        "the topic has no such partition",
    )
    .topic_partition(partition.topic.clone(), partition.partition)
}

/// The error for a partition that nobody leads.
pub(crate) fn no_leader(partition: Option<&TopicPartition>) -> Error {
    let error = Error::new(ErrorKind::NoLeader, "the partition has no leader now");
    match partition {
        Some(partition) => error.topic_partition(partition.topic.clone(), partition.partition),
        None => error,
    }
}
