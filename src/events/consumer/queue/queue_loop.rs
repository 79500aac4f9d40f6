//! The loop of a queue: polls while handlers are free, lets them work, acknowledges what they have done, and renews the locks of what they are still
//! at, or what rests before it is delivered again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::delivery::{Ended, Shared, deliver};
use crate::events::Dispatch;
use crate::events::consumer::ConsumerError;
use crate::kafka::consumer::Acquisition;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{AcknowledgeType, Error, ErrorKind, OwnedRecord, ShareConsumer, ShareRecords};

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// How long records are taken to be locked before a broker has said so.
const LOCKED_FOR: Duration = Duration::from_secs(15);

/// A queue at work.
pub(super) struct QueueLoop<S: Dispatch<H>, H> {
    pub consumer: ShareConsumer,
    pub handler: Arc<H>,
    pub codec: Arc<S::Codec>,
    pub shared: Arc<Shared>,
    pub concurrency: usize,
    pub shutdown_timeout: Duration,
}

/// What this member holds.
#[derive(Default)]
struct Held {
    /// By a number of its own.
    all: BTreeMap<u64, Acquisition>,
    next: u64,
    waiting: VecDeque<(u64, OwnedRecord)>,
    /// What is to be delivered again, by when.
    resting: BTreeMap<(Instant, u64), ()>,
    at_work: JoinSet<(u64, Ended)>,
}

impl<S, H> QueueLoop<S, H>
where
    S: Dispatch<H>,
    H: Send + Sync + 'static,
{
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) -> Result<(), ConsumerError> {
        let mut held = Held::default();
        let result = self.work(&mut held, &mut stopped).await;
        self.shared.stopping.cancel();
        let deadline = Instant::now() + self.shutdown_timeout;
        let ended = timeout_at(deadline, async {
            while let Some(ended) = held.at_work.join_next().await {
                // The first failure is the one that is told.
                let _ = self.settle(&mut held, ended);
            }
        })
        .await;
        held.at_work.abort_all();
        let rest = deadline.saturating_duration_since(Instant::now());
        // What is refused now was told to the observer, and is delivered again.
        let _ = self.consumer.close(rest.max(POLL)).await;
        result?;
        ended.map_err(|_| ConsumerError::Unfinished)
    }

    async fn work(
        &mut self,
        held: &mut Held,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), ConsumerError> {
        let mut renew_at = None;
        loop {
            self.begin(held);
            let now = Instant::now();
            self.release_rested(held, now);
            let each = self
                .consumer
                .acquisition_lock_timeout()
                .unwrap_or(LOCKED_FOR)
                / 3;
            if held.all.is_empty() {
                renew_at = None;
            } else if *renew_at.get_or_insert(now + each) <= now {
                self.renew(held);
                renew_at = Some(now + each);
            }
            let rested = held.resting.first_key_value().map(|((at, _), ())| *at);
            let wake_at = rested.into_iter().chain(renew_at).min();
            let polls = held.waiting.is_empty() && held.at_work.len() < self.concurrency;
            if !polls {
                self.consumer.keep_place();
            }
            tokio::select! {
                biased;
                () = raised(stopped) => return Ok(()),
                Some(ended) = held.at_work.join_next() => {
                    self.settle(held, ended)?;
                    // All that has ended by now, together.
                    while let Some(ended) = held.at_work.try_join_next() {
                        self.settle(held, ended)?;
                    }
                    self.send()?;
                }
                polled = self.consumer.poll(POLL), if polls => match polled {
                    Ok(records) => held.take(&records),
                    Err(error) if ends(&error) => return Err(error.into()),
                    // What lasts is told by the client, and may pass.
                    Err(_) => sleep(POLL / 5).await,
                },
                () = at(wake_at) => {}
            }
        }
    }

    /// Lets handlers begin that are free.
    fn begin(&self, held: &mut Held) {
        while held.at_work.len() < self.concurrency {
            let Some((number, record)) = held.waiting.pop_front() else {
                return;
            };
            // One whose lock could not be renewed is others' by now.
            let Some(deliveries) = held.all.get(&number).map(Acquisition::delivery_count) else {
                continue;
            };
            let delivery = deliver::<S, H>(
                self.handler.clone(),
                self.codec.clone(),
                self.shared.clone(),
                record,
                u32::try_from(deliveries).unwrap_or(1),
            );
            held.at_work.spawn(async move { (number, delivery.await) });
        }
    }

    /// A delivery has ended.
    fn settle(
        &self,
        held: &mut Held,
        ended: Result<(u64, Ended), tokio::task::JoinError>,
    ) -> Result<(), ConsumerError> {
        // A panic of its own, such as one out of a dropped handler.
        let (number, ended) = ended.map_err(|_| ConsumerError::Gone)?;
        match ended {
            Ended::Accept => self.acknowledge(held, number, AcknowledgeType::Accept),
            Ended::Reject => self.acknowledge(held, number, AcknowledgeType::Reject),
            Ended::Release(at) => drop(held.resting.insert((at, number), ())),
            Ended::Stop(error) => {
                self.acknowledge(held, number, AcknowledgeType::Release);
                return Err(error);
            }
        }
        Ok(())
    }

    fn acknowledge(&self, held: &mut Held, number: u64, what: AcknowledgeType) {
        if let Some(acquisition) = held.all.remove(&number) {
            // One whose lock is over is delivered again, whatever became of it.
            let _ = self.consumer.acknowledge(acquisition, what);
        }
    }

    /// What has rested is others' again.
    fn release_rested(&mut self, held: &mut Held, now: Instant) {
        let mut any = false;
        while let Some(first) = held
            .resting
            .first_entry()
            .filter(|first| first.key().0 <= now)
        {
            let ((_, number), ()) = first.remove_entry();
            self.acknowledge(held, number, AcknowledgeType::Release);
            any = true;
        }
        if any {
            // A failure is one of the consumer, which the next poll returns.
            let _ = self.send();
        }
    }

    /// Locks what is held for longer.
    fn renew(&mut self, held: &mut Held) {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::LocksNotRenewed) {
            return;
        }
        held.all.retain(|_, acquisition| {
            let renewed = self
                .consumer
                .acknowledge(&*acquisition, AcknowledgeType::Renew);
            renewed.is_ok()
        });
        let _ = self.send();
    }

    /// Sends what was acknowledged, without waiting: what is refused is told to the observer, and delivered again.
    fn send(&mut self) -> Result<(), Error> {
        drop(self.consumer.commit_async()?);
        Ok(())
    }
}

impl Held {
    fn take(&mut self, records: &ShareRecords) {
        for record in records {
            let number = self.next;
            self.next += 1;
            self.all.insert(number, record.acquisition());
            self.waiting.push_back((number, record.to_owned()));
        }
    }
}

/// Waits until the queue is to stop, or nobody holds it any more.
async fn raised(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
}

/// Waits until then; for ever where there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Whether nothing gets better by itself.
fn ends(error: &Error) -> bool {
    error.is_fatal()
        || matches!(
            error.kind(),
            ErrorKind::UnsupportedVersion | ErrorKind::Authorization | ErrorKind::Config
        )
}
