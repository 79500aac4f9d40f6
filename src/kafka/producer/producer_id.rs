//! Producer id and epoch: who the brokers think is writing, and how to obtain an id that nobody else has.

use protocol::ErrorCode;
use protocol::messages::InitProducerIdRequest;
use tokio::time::Instant;

use super::sender::task::is_final;
use crate::kafka::cluster::{Answer, Cluster, Judged, Target};
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// Who the brokers think is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerIdAndEpoch {
    pub id: i64,
    pub epoch: i16,
}

/// A new producer id, with epoch 0. Asks again until `deadline`, whatever broker answers; `note` hears of each failure.
pub(super) async fn obtain(
    cluster: &Cluster,
    deadline: Instant,
    note: impl Fn(&Error),
) -> Result<ProducerIdAndEpoch> {
    let request = |_| {
        Ok(InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        })
    };
    let judge = |answer: Result<Answer<InitProducerIdRequest>>| {
        let error = match answer.and_then(|answer| id_in(&answer)) {
            Ok(producer_id) => return Judged::Done(producer_id),
            Err(error) => error,
        };
        note(&error);
        match is_final(&error) {
            true => Judged::Failed(error),
            false => Judged::Again(error),
        }
    };
    let obtained = cluster.request(Target::Any, deadline, request, judge).await;
    obtained.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))
}

/// The producer id in an answer.
fn id_in(answer: &Answer<InitProducerIdRequest>) -> Result<ProducerIdAndEpoch> {
    let (id, epoch) = (answer.response.producer_id, answer.response.producer_epoch);
    match answer.response.error_code {
        // A negative one means "none" in a batch: it would be written without idempotence.
        ErrorCode::NONE if id < 0 || epoch < 0 => {
            let message =
                format!("the broker returned producer id {id} and epoch {epoch}, which are none");
            Err(answer.explain(Error::new(ErrorKind::Protocol, message)))
        }
        ErrorCode::NONE => Ok(ProducerIdAndEpoch { id, epoch }),
        code => Err(answer.error(code, None)),
    }
}
