//! What coordinators are asked, and what their answers say. In: who asks, and for what. Out: requests; done, or a refusal.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};
use tokio::time::Duration;

use super::state::Flow;
use crate::kafka::cluster::Answer;
use crate::kafka::consumer::commit::by_topic::{answers, by_topic};
use crate::kafka::consumer::{ConsumerGroupMetadata, OffsetAndMetadata};
use crate::kafka::producer::producer_id::ProducerIdAndEpoch;
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// Offsets of a group.
#[derive(Clone, Debug)]
pub(crate) struct Offsets {
    pub group: ConsumerGroupMetadata,
    pub offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub transactional_id: &'a str,
    pub identity: ProducerIdAndEpoch,
}

/// Asks for a producer id and epoch; for the one after `known`, if there is one.
pub(super) fn init(
    transactional_id: &str,
    timeout: Duration,
    two_phase: bool,
    known: Option<ProducerIdAndEpoch>,
    version: i16,
) -> InitProducerIdRequest {
    let known = known.filter(|_| version >= InitProducerIdRequest::OWN_EPOCH_FROM);
    let request = InitProducerIdRequest {
        transactional_id: Some(transactional_id.to_owned()),
        transaction_timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        enable2_pc: two_phase,
        ..InitProducerIdRequest::default()
    };
    match known {
        Some(known) => InitProducerIdRequest {
            producer_id: known.id,
            producer_epoch: known.epoch,
            ..request
        },
        None => request,
    }
}

/// The producer id and epoch in an answer.
pub(super) fn identity_in(answer: &Answer<InitProducerIdRequest>) -> Result<ProducerIdAndEpoch> {
    let response = &answer.response;
    check(answer, response.error_code)?;
    match identity(response.producer_id, response.producer_epoch) {
        Some(identity) => Ok(identity),
        None => Err(answer.explain(Error::new(
            ErrorKind::Protocol,
            "the broker returned a producer id or epoch that is none",
        ))),
    }
}

fn identity(id: i64, epoch: i16) -> Option<ProducerIdAndEpoch> {
    (id >= 0 && epoch >= 0).then_some(ProducerIdAndEpoch { id, epoch })
}

/// Adds partitions.
pub(super) fn add_partitions(
    by: Asking<'_>,
    partitions: &[TopicPartition],
) -> AddPartitionsToTxnRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let of_topic = topics.entry(&partition.topic).or_default();
        of_topic.push(partition.partition);
    }
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: by.transactional_id.to_owned(),
        v3_and_below_producer_id: by.identity.id,
        v3_and_below_producer_epoch: by.identity.epoch,
        v3_and_below_topics: topics
            .into_iter()
            .map(|(name, partitions)| AddPartitionsToTxnTopic {
                name: name.to_owned(),
                partitions,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// Whether all `partitions` were added: none is, where one is not.
pub(super) fn partitions_added(
    answer: &Answer<AddPartitionsToTxnRequest>,
    partitions: &[TopicPartition],
) -> Result<()> {
    let mut said = BTreeMap::new();
    for topic in &answer.response.results_by_topic_v3_and_below {
        for row in &topic.results_by_partition {
            let code = ErrorCode(row.partition_error_code);
            said.insert((topic.name.as_str(), row.partition_index), code);
        }
    }
    all(answer, partitions.iter(), |it| {
        said.get(&(&*it.topic, it.partition)).copied()
    })
}

/// Adds the offsets of a group.
pub(super) fn add_offsets(by: Asking<'_>, offsets: &Offsets) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest {
        transactional_id: by.transactional_id.to_owned(),
        producer_id: by.identity.id,
        producer_epoch: by.identity.epoch,
        group_id: offsets.group.group_id.clone(),
        ..Default::default()
    }
}

/// Whether the offsets of the group were added.
pub(super) fn offsets_added(answer: &Answer<AddOffsetsToTxnRequest>) -> Result<()> {
    check(answer, answer.response.error_code)
}

/// The newest version in which `offsets` can be committed.
pub(super) fn newest_commit_version(flow: Flow, offsets: &Offsets) -> i16 {
    let has_ids = offsets.offsets.values().all(|it| it.topic_id.is_some());
    match (flow, has_ids) {
        (Flow::Explicit, _) => TxnOffsetCommitRequest::ADDS_OFFSETS_FROM - 1,
        (Flow::Implicit, true) => i16::MAX,
        (Flow::Implicit, false) => TxnOffsetCommitRequest::TOPIC_IDS_FROM - 1,
    }
}

/// Commits offsets as part of the transaction. Fails where the broker could not be told who of the group commits.
pub(super) fn commit_offsets(
    by: Asking<'_>,
    offsets: &Offsets,
    version: i16,
) -> Result<TxnOffsetCommitRequest> {
    let group = &offsets.group;
    let is_member = !group.member_id.is_empty() || group.generation >= 0;
    if is_member && version < TxnOffsetCommitRequest::MEMBER_FROM {
        return Err(Error::new(
            ErrorKind::UnsupportedVersion,
            "the broker cannot tell by a transaction which member commits offsets (KIP-447): it needs Kafka 2.5",
        ));
    }
    let partition = |(index, offset): (i32, &OffsetAndMetadata)| TxnOffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset.offset,
        committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
        committed_metadata: Some(offset.metadata.clone()),
        ..Default::default()
    };
    let topics = by_topic(has_ids(version), &offsets.offsets).into_iter();
    let topics = topics.map(|((topic_id, name), offsets)| TxnOffsetCommitRequestTopic {
        topic_id,
        name,
        partitions: offsets.into_iter().map(partition).collect(),
        ..Default::default()
    });
    Ok(TxnOffsetCommitRequest {
        transactional_id: by.transactional_id.to_owned(),
        group_id: group.group_id.clone(),
        producer_id: by.identity.id,
        producer_epoch: by.identity.epoch,
        generation_id_or_member_epoch: group.generation,
        member_id: group.member_id.clone(),
        group_instance_id: group.instance_id.clone(),
        topics: topics.collect(),
        ..Default::default()
    })
}

/// Whether all `offsets` were committed.
pub(super) fn offsets_committed(
    answer: &Answer<TxnOffsetCommitRequest>,
    offsets: &Offsets,
) -> Result<()> {
    let said = answer.response.topics.iter().flat_map(|topic| {
        let key = || (topic.topic_id, topic.name.clone());
        let rows = topic.partitions.iter();
        rows.map(move |row| (key(), row.partition_index, row.error_code))
    });
    let said = answers(has_ids(answer.version), &offsets.offsets, said);
    all(answer, offsets.offsets.keys(), |it| said.get(it).copied())
}

fn has_ids(version: i16) -> bool {
    version >= TxnOffsetCommitRequest::TOPIC_IDS_FROM
}

/// Ends the transaction.
pub(super) fn end(by: Asking<'_>, commit: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: by.transactional_id.to_owned(),
        producer_id: by.identity.id,
        producer_epoch: by.identity.epoch,
        committed: commit,
        ..Default::default()
    }
}

/// The epoch of the next transaction, where the answer has it; fails where the transaction was not ended.
pub(super) fn ended(answer: &Answer<EndTxnRequest>) -> Result<Option<ProducerIdAndEpoch>> {
    let response = &answer.response;
    check(answer, response.error_code)?;
    Ok(identity(response.producer_id, response.producer_epoch))
}

fn check<R: protocol::Request>(answer: &Answer<R>, code: ErrorCode) -> Result<()> {
    match code {
        ErrorCode::NONE => Ok(()),
        code => Err(answer.error(code, None)),
    }
}

/// Whether the answer says of all of them that it was done. Of several refusals it is the first that says why.
fn all<'a, R: protocol::Request>(
    answer: &Answer<R>,
    asked: impl Iterator<Item = &'a TopicPartition>,
    said: impl Fn(&TopicPartition) -> Option<ErrorCode>,
) -> Result<()> {
    let mut not_attempted = None;
    for partition in asked {
        let named =
            |error: Error| error.topic_partition(partition.topic.clone(), partition.partition);
        match said(partition) {
            Some(ErrorCode::NONE) => {}
            Some(code @ ErrorCode::OPERATION_NOT_ATTEMPTED) => {
                not_attempted.get_or_insert_with(|| named(answer.error(code, None)));
            }
            Some(code) => return Err(named(answer.error(code, None))),
            None => {
                let text = "the broker left the partition out of its answer";
                return Err(named(answer.explain(Error::new(ErrorKind::Protocol, text))));
            }
        }
    }
    not_attempted.map_or(Ok(()), Err)
}
