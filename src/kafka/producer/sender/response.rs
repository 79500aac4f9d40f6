//! What a response means for each batch of its request: written, to be repeated, to be split, or given up.

use protocol::messages::ProduceResponse;
use protocol::messages::produce_response::{NodeEndpoint, PartitionProduceResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Duration, Instant};

use super::outcome::{self, ProduceOutcome};
use super::request::{self, BatchResponses, Destination};
use super::task::{RequestBatch, Sender};
use crate::kafka::cluster::{Broker, LeaderHint};
use crate::kafka::net::Address;
use crate::kafka::observe::ClientEvent;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::producer::completion::Written;
use crate::kafka::producer::metrics::add;
use crate::kafka::producer::partition::batch::ProducerBatch;
use crate::kafka::producer::partition::queue::{PartitionQueue, SequencedBatch};
use crate::kafka::{Backoff, Error, ErrorKind, Result, TopicPartition, WriteOutcome};

impl Sender {
    /// The oldest request in flight was answered, or will not be.
    pub(super) fn on_response(&mut self, result: Result<Option<ProduceResponse>>) {
        let Some(request) = self.in_flight.pop_front() else {
            return;
        };
        let now = Instant::now();
        self.shared
            .counters
            .request_latency
            .record(now - request.sent);
        if let (true, Ok(Some(response)), Some(transactions)) = (
            request.begins_transaction,
            &result,
            &self.shared.transactions,
        ) {
            let too_early = request::is_too_early(response);
            transactions.wrote_first(request.sent, now - request.sent, too_early);
        }
        match result {
            Ok(Some(response)) => self.handle_response(request.batches, response, now),
            Ok(None) => {
                let mut batches = request.batches;
                for item in batches.drain(..) {
                    self.deliver(item, None, None, now);
                }
                self.spare = batches;
            }
            Err(error) => self.fail_all(request.batches, &error),
        }
    }

    fn handle_response(
        &mut self,
        mut batches: Vec<RequestBatch>,
        mut response: ProduceResponse,
        now: Instant,
    ) {
        let endpoints = std::mem::take(&mut response.node_endpoints);
        let mut responses = BatchResponses::new(response);
        let mut hints = Vec::new();
        for item in batches.drain(..) {
            let Some(response) = responses.take(&item.to) else {
                let error = self.explain(Error::new(
                    ErrorKind::Protocol,
                    "the response does not mention the partition",
                ));
                self.fail(
                    item,
                    ProduceOutcome::Retry(WriteOutcome::Unknown),
                    error,
                    now,
                );
                continue;
            };
            let cluster = &self.shared.cluster;
            let to = &item.to;
            cluster.answered_as_leader(
                &to.topic,
                to.partition,
                self.broker.id,
                response.error_code,
            );
            let leader = response.current_leader.leader_id;
            if leader >= 0 {
                let endpoint = endpoints
                    .iter()
                    .find(|endpoint| endpoint.node_id == leader)
                    .and_then(broker_at);
                hints.push(LeaderHint {
                    partition: TopicPartition::new(to.topic.clone(), to.partition),
                    leader,
                    leader_epoch: response.current_leader.leader_epoch,
                    endpoint,
                });
            }
            self.handle_batch_response(item, response, now);
        }
        self.spare = batches;
        self.shared.cluster.leader_hints(&hints);
    }

    /// Does what the broker's answer to a batch asks for.
    fn handle_batch_response(
        &mut self,
        item: RequestBatch,
        answer: &PartitionProduceResponse,
        now: Instant,
    ) {
        let code = answer.error_code;
        let outcome = outcome::of_code(code, self.promise);
        if request::asks_for_metadata(code) {
            self.shared.cluster.refresh();
        }
        match outcome {
            ProduceOutcome::Written => {
                let known = code == ErrorCode::NONE && answer.base_offset >= 0;
                let base_offset = known.then_some(answer.base_offset);
                let append_time_ms =
                    (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms);
                self.deliver(item, base_offset, append_time_ms, now);
            }
            ProduceOutcome::TooLarge if item.batch.count > 1 => {
                let bytes = item.batch.content.uncompressed_len() / 2;
                self.shared.limit_batches(&item.to.topic, bytes);
                self.split(item, outcome, answer, now);
            }
            ProduceOutcome::TooLarge => {
                let advice = "send a smaller one, or raise max.message.bytes of the topic";
                let error = Error::server(code, Some(advice));
                self.fail(item, outcome, self.explain(error), now);
            }
            ProduceOutcome::Fail(_) if outcome::blames_records(code) => {
                self.drop_refused_records(item, outcome, answer, now)
            }
            _ => self.refuse(item, outcome, answer, now),
        }
    }

    /// Some records were refused, and for their sake the batch: they fail, and the others go out without them. Where the broker does not
    /// name them, they are searched for.
    fn drop_refused_records(
        &mut self,
        mut item: RequestBatch,
        outcome: ProduceOutcome,
        answer: &PartitionProduceResponse,
        now: Instant,
    ) {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::RefusalOfAll) {
            return self.refuse(item, outcome, answer, now);
        }
        let count = item.batch.count;
        let refused = request::refused_records(answer, count);
        let (may_renumber, may_search) = {
            let mut state = item.queue.lock();
            let may_renumber = state.sequencer.may_renumber(&item.batch);
            (may_renumber, state.sequencer.may_search(&item.batch))
        };
        let content = &mut item.batch.content;
        let parts = if count == 1 || refused.is_empty() || !may_renumber {
            None
        } else if refused.len() == count as usize {
            Some(content.take_out_all(&refused))
        } else {
            content.take_out(&refused, &mut self.decompressor).ok()
        };
        let Some(parts) = parts else {
            return if may_search {
                self.split(item, outcome, answer, now);
            } else {
                self.refuse(item, outcome, answer, now);
            };
        };
        let attempts = item.batch.attempts;
        let (code, failed) = (answer.error_code, refused.len() as u32);
        let shared = &self.shared;
        let given_up = (item.queue).records_removed(item.batch, count - failed, &shared.memory);
        shared.records_failed(&item.queue, &given_up);
        let mut told = failed;
        for (part, refused) in parts.into_iter().zip(refused) {
            let text = refused.message.or_else(|| answer.error_message.clone());
            let error = self
                .explain(Error::server(code, text.as_deref()))
                .topic_partition(item.to.topic.clone(), item.to.partition)
                .attempt(attempts)
                .with_outcome(WriteOutcome::NotWritten);
            if told > 0 {
                // Once for all of them: each has its own reason, but they are of one batch.
                shared.failed(&item.queue, u64::from(std::mem::take(&mut told)), &error);
            }
            part.resolve(Err(error));
        }
    }

    /// The batch as a whole was refused.
    fn refuse(
        &mut self,
        item: RequestBatch,
        outcome: ProduceOutcome,
        answer: &PartitionProduceResponse,
        now: Instant,
    ) {
        let text = request::explanation(answer);
        let error = Error::server(answer.error_code, text.as_deref());
        let error = match &self.shared.transactions {
            Some(transactions) => transactions.names_id(error),
            None => error,
        };
        self.fail(item, outcome, self.explain(error), now);
    }

    fn deliver(
        &mut self,
        item: RequestBatch,
        base_offset: Option<i64>,
        append_time_ms: Option<i64>,
        now: Instant,
    ) {
        let (shared, content) = (&self.shared, &item.batch.content);
        let counters = &shared.counters;
        add(&counters.records_delivered, u64::from(item.batch.count));
        add(&counters.bytes_delivered, content.uncompressed_len() as u64);
        counters.delivery_latency.record(now - content.opened);
        (counters.batch_records).record(u64::from(item.batch.count));
        (counters.batch_bytes).record(content.uncompressed_len() as u64);
        if let Some(observer) = &self.shared.config.client.observer {
            observer.on_event(&ClientEvent::BatchWritten {
                partition: &item.to.partition(),
                records: item.batch.count as usize,
                base_offset,
                bytes: content.uncompressed_len(),
                took: now - content.opened,
            });
        }
        let written = Written {
            base_offset,
            append_time_ms,
        };
        let given_up = (item.queue).written(item.batch, item.leader, written, &shared.memory);
        shared.records_failed(&item.queue, &given_up);
    }

    /// Cuts the refused batch in two, which take its place.
    fn split(
        &mut self,
        mut item: RequestBatch,
        outcome: ProduceOutcome,
        answer: &PartitionProduceResponse,
        now: Instant,
    ) {
        let content = &mut item.batch.content;
        let half = content.uncompressed_len() / 2;
        match content.split_front(half, &mut self.decompressor) {
            Ok(front) => self.put_back_split(&item.queue, item.batch, front),
            Err(_) => self.refuse(item, outcome, answer, now),
        }
    }

    pub(super) fn put_back_split(
        &self,
        queue: &PartitionQueue,
        rest: SequencedBatch,
        front: ProducerBatch,
    ) {
        add(&self.shared.counters.splits, 1);
        let given_up = queue.change(&self.shared.memory, |state| {
            state.sequencer.split(rest, front.count(), front);
        });
        self.shared.records_failed(queue, &given_up);
    }

    pub(super) fn fail_all(&mut self, batches: Vec<RequestBatch>, error: &Error) {
        let (outcome, now) = (outcome::of_error(error), Instant::now());
        self.shared.cluster.refresh();
        let mut repeated = Vec::new();
        for item in batches {
            let (to, failures) = (item.to.clone(), item.batch.attempts);
            if self.give_back(item, outcome, error.clone(), now) {
                repeated.push((to, failures));
            }
        }
        self.tell_of_retry(&repeated, error);
    }

    fn fail(&mut self, item: RequestBatch, outcome: ProduceOutcome, error: Error, now: Instant) {
        let (to, failures) = (item.to.clone(), item.batch.attempts);
        if self.give_back(item, outcome, error.clone(), now) {
            self.tell_of_retry(&[(to, failures)], &error);
        }
    }

    fn tell_of_retry(&self, repeated: &[(Destination, u32)], error: &Error) {
        let observer = &self.shared.config.client.observer;
        if let (Some(observer), Some((first, failures))) = (observer, repeated.first()) {
            observer.on_event(&ClientEvent::Retry {
                what: "writing to",
                partition: Some(&first.partition()),
                others: repeated.len() - 1,
                error,
                failures: *failures,
            });
        }
    }

    /// Returns the batch to its queue, which repeats it or gives it up; true if it is repeated, and nothing is given up.
    fn give_back(
        &mut self,
        item: RequestBatch,
        outcome: ProduceOutcome,
        error: Error,
        now: Instant,
    ) -> bool {
        let backoff = self.backoff(item.batch.attempts);
        let memory = &self.shared.memory;
        let given_up = (item.queue).failed(item.batch, outcome, error, now, backoff, memory);
        self.shared.records_failed(&item.queue, &given_up);
        given_up.is_empty()
    }

    fn explain(&self, error: Error) -> Error {
        let error = error.api(ApiKey::PRODUCE);
        match &self.connection {
            Some(connection) => {
                let (id, address) = connection.broker();
                error.broker(id, address)
            }
            None => error,
        }
    }

    /// The pause after `attempts` failures in a row (KIP-580).
    fn backoff(&mut self, attempts: u32) -> Duration {
        let config = &self.shared.config.client;
        let (first, longest) = (config.retry_backoff, config.retry_backoff_max);
        Backoff::pause(first, longest, attempts, &mut self.random)
    }
}

fn broker_at(endpoint: &NodeEndpoint) -> Option<Broker> {
    Some(Broker {
        id: endpoint.node_id,
        address: Address::new(&*endpoint.host, u16::try_from(endpoint.port).ok()?),
        rack: endpoint.rack.clone(),
    })
}
