//! Producer id and epoch: who the brokers think is writing, and how to obtain an id that nobody else has.

use protocol::messages::InitProducerIdRequest;
use protocol::{ApiKey, ErrorCode};
use tokio::time::{Instant, sleep, timeout_at};

use super::sender::task::is_final;
use crate::kafka::cluster::Cluster;
use crate::kafka::{Error, ErrorKind, Random, Result, WriteOutcome};

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
    let mut random: Random = cluster.random("producer id");
    let mut backoff = cluster.retry_backoff();
    loop {
        let error = match timeout_at(deadline, ask(cluster, deadline)).await {
            Ok(Ok(producer_id)) => return Ok(producer_id),
            Ok(Err(error)) => error,
            Err(_elapsed) => Error::new(
                ErrorKind::Timeout,
                "no broker returned a producer id in time",
            ),
        };
        note(&error);
        let pause = backoff.failed(&mut random);
        if is_final(&error) || Instant::now() + pause >= deadline {
            return Err(error.with_outcome(WriteOutcome::NotWritten));
        }
        sleep(pause).await;
    }
}

async fn ask(cluster: &Cluster, deadline: Instant) -> Result<ProducerIdAndEpoch> {
    // A producer id that is given twice, since the first broker asked kept silent, is one that nobody uses.
    let request = |_| InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let until = deadline.min(Instant::now() + cluster.config().request_timeout);
    let (response, connection) = cluster.ask_any(request, until).await?;
    let (producer_id, epoch) = (response.producer_id, response.producer_epoch);
    let error = match response.error_code {
        // A negative one means "none" in a batch: it would be written without idempotence.
        ErrorCode::NONE if producer_id < 0 || epoch < 0 => Error::new(
            ErrorKind::Protocol,
            format!("the broker gave producer id {producer_id} and epoch {epoch}, which are none"),
        ),
        ErrorCode::NONE => {
            return Ok(ProducerIdAndEpoch {
                id: producer_id,
                epoch,
            });
        }
        code => Error::server(code, None),
    };
    let (id, address) = connection.broker();
    Err(error.api(ApiKey::INIT_PRODUCER_ID).broker(id, address))
}
