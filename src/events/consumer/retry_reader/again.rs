//! What is done when a retry topic is deleted and another gets its name while it is read. What waited in it is gone with it, and the book of
//! its chain cannot say which of its events that were. So the chain comes to its end, and another begins that is filled by what there is, as after an
//! assignment. The group does not hear of it: where the origin and the other retry partitions go on, their trackers know.
//!
//! First what was read of the topic that is gone is handled, as nobody else ever will; then no handler begins, and those at work end. Each
//! of these is waited for as long as at a rebalance. When partitions go meanwhile, or another retry topic is re-created, then what comes next finds
//! that.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Done, RetryReader, Start};
use crate::events::consumer::partition::Partition;
use crate::events::failure::Chain;
use crate::kafka::{Error, ErrorKind, TopicPartition};

/// How often it is looked whether what is in flight is handled.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl RetryReader {
    /// The retry topic of `name` was deleted, and another has its name. `false`: it is not known what it was read for.
    pub(super) fn recreated(&mut self, name: &TopicPartition) -> bool {
        // It is told once, and nothing more of it comes.
        let _ = self.consumer.unassign(std::slice::from_ref(name));
        let Some((chain, level)) = self.assigned.chains.find(name) else {
            // Its origin has gone meanwhile.
            return true;
        };
        if level == 0 {
            return false;
        }
        match self.reading_of(&chain) {
            Some(reading) if !reading.is_ending => reading.is_ending = true,
            // What comes next finds this one, too.
            _ => return true,
        }
        if let Some(reading) = self.reading_of(&chain) {
            let mut levels = reading.levels.iter_mut();
            if let Some(level) = levels.find(|level| level.name == *name) {
                // Of the other one nothing is known.
                level.start = Start::default();
            }
        }
        self.tell_recreated(&chain.origin, name);
        let gone = self.assigned.find(name).filter(|_| chain.is_ready());
        let until = Instant::now() + self.config.patience();
        self.waiting.spawn(async move {
            if let Some(gone) = gone {
                gone.orphan();
                while gone.is_busy() && !gone.is_released() && Instant::now() < until {
                    sleep(LOOK_EVERY).await;
                }
            }
            (chain, Done::Emptied)
        });
        true
    }

    /// Tells that a retry topic of `origin` is another one now.
    pub(super) fn tell_recreated(&self, origin: &TopicPartition, name: &TopicPartition) {
        let message = format!(
            "its retry topic {} was deleted and re-created: what waited in it is gone, and it is read from its beginning",
            name.topic
        );
        let error = Error::new(ErrorKind::TopicRecreated, message)
            .topic_partition(name.topic.clone(), name.partition);
        self.tell(origin, &error);
        self.counters.failed_to_poll(error);
    }

    /// Whether `chain` is one that another takes the place of.
    fn ends(&self, chain: &Arc<Chain>) -> bool {
        self.assigned.chains.has(chain) && !chain.is_leaving()
    }

    /// Lets no handler begin any more for what is of `chain`.
    pub(super) fn end(&mut self, chain: &Arc<Chain>) {
        if !self.ends(chain) {
            return;
        }
        // It is assigned, or goes: nothing can be wrong.
        let _ = self.main.pause(std::slice::from_ref(&chain.origin));
        let _ = self.consumer.unassign(&chain.levels);
        let all = [std::slice::from_ref(&chain.origin), &chain.levels[..]].concat();
        let released = self.assigned.release(&all);
        let patience = self.config.patience();
        let chain = chain.clone();
        self.waiting.spawn(async move {
            let drained = async {
                for partition in &released {
                    partition.drained().await;
                }
            };
            // A handler that takes longer is not waited for: its event is handled again.
            let _ = timeout(patience, drained).await;
            (chain, Done::Drained)
        });
    }

    /// Puts another chain into the place of `chain`, to be filled by what there is.
    pub(super) fn begin_again(&mut self, chain: &Arc<Chain>) {
        let origin = &chain.origin;
        let (true, Some(new)) = (self.ends(chain), self.config.chain_of(origin)) else {
            return;
        };
        let was_ready = chain.is_ready();
        let known = match self.readings.remove(origin) {
            _ if was_ready => {
                let partitions = chain.levels.iter();
                let partitions = partitions.map(|name| self.assigned.find(name));
                // Of one that is gone it was told; of the other one nothing is known.
                let start = |partition: &Partition| Start::of(partition).unwrap_or_default();
                partitions
                    .map(|partition| partition.map(|it| start(&it)))
                    .collect()
            }
            // What it has found out already, or was told at its beginning.
            Some(reading) if reading.levels.is_empty() => reading.known,
            Some(reading) => {
                let levels = reading.levels.into_iter();
                levels.map(|level| Some(level.start)).collect()
            }
            None => Vec::new(),
        };
        new.set_topic(chain.topic_id());
        self.assigned.chains.put(new);
        self.go_on(origin);
        self.assigned.chains.begin(std::slice::from_ref(origin));
        if let Some((new, _)) = self.assigned.chains.find(origin) {
            self.prepare(new, known, false);
        }
    }

    /// Lets `origin` go on at its first record that is not finished, once its new chain is ready.
    fn go_on(&self, origin: &TopicPartition) {
        let Some(before) = self.assigned.find(origin) else {
            // A tracker comes with its first record.
            return;
        };
        let position = self.main.position_to_commit(origin);
        if position.is_some_and(|now| !before.is_of(now.topic_id)) {
            // It is another topic itself by now, of which nothing was taken: its tracker comes with its first record.
            return;
        }
        let topic_id = before.topic_id();
        match Start::of(&before) {
            Some(start) => {
                let offset = start.offset;
                let partition = start.put(&self.assigned, origin);
                if partition.is_watched() {
                    partition.commit_failed();
                    self.assigned.watch.ask();
                }
                // It is assigned: nothing can be wrong.
                let _ = self.main.seek(origin, offset);
            }
            // Nothing of it was taken.
            None => drop(
                self.assigned
                    .put(origin.clone(), topic_id, Default::default()),
            ),
        }
    }
}
