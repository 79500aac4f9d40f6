//! Which broker coordinates a group: asked for, remembered, forgotten when it moved.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ErrorCode;
use protocol::messages::FindCoordinatorRequest;
use tokio::time::{Instant, sleep, timeout_at};

use super::refresh::half_way;
use super::{Broker, Cluster};
use crate::kafka::{Address, Error, ErrorKind, Result};

/// What is coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CoordinatorKind {
    /// A consumer group; the key is its id.
    Group = 0,
}

/// Coordinators that were found.
#[derive(Debug, Default)]
pub(super) struct Coordinators {
    found: Mutex<BTreeMap<(CoordinatorKind, String), i32>>,
}

impl Coordinators {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(CoordinatorKind, String), i32>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that is remembered, or whom the cluster names; asks again with pauses while that may help.
    pub async fn find(
        &self,
        cluster: &Cluster,
        kind: CoordinatorKind,
        key: &str,
        deadline: Instant,
    ) -> Result<i32> {
        let remembered = self.lock().get(&(kind, key.to_string())).copied();
        if let Some(node) = remembered {
            return Ok(node);
        }
        let mut backoff = cluster.retry_backoff();
        let mut random = cluster.random("coordinators");
        loop {
            let error = match ask(cluster, kind, key, deadline).await {
                Ok(broker) => {
                    let node = broker.id;
                    cluster.0.refresher.learn(|known| known.with_broker(broker));
                    self.lock().insert((kind, key.to_string()), node);
                    return Ok(node);
                }
                Err(error) if !error.is_retriable() => return Err(error),
                Err(error) => error,
            };
            let pause = backoff.failed(&mut random);
            if timeout_at(deadline, sleep(pause)).await.is_err() {
                return Err(error.attempt(backoff.failures()));
            }
        }
    }

    pub fn lost(&self, kind: CoordinatorKind, key: &str) {
        self.lock().remove(&(kind, key.to_string()));
    }
}

/// Asks any broker once.
async fn ask(
    cluster: &Cluster,
    kind: CoordinatorKind,
    key: &str,
    deadline: Instant,
) -> Result<Broker> {
    let deadline = half_way(deadline);
    let connection = cluster.any_connection(deadline).await?;
    let version = connection.version_of::<FindCoordinatorRequest>()?;
    let batched = version >= 4;
    let request = FindCoordinatorRequest {
        key: if batched {
            String::new()
        } else {
            key.to_string()
        },
        key_type: kind as i8,
        coordinator_keys: if batched {
            vec![key.to_string()]
        } else {
            Vec::new()
        },
        ..Default::default()
    };
    let response = connection.call_at(&request, version, deadline).await?;
    let (code, message, id, host, port) = match response.coordinators.into_iter().next() {
        Some(one) => (
            one.error_code,
            one.error_message,
            one.node_id,
            one.host,
            one.port,
        ),
        None => (
            response.error_code,
            response.error_message,
            response.node_id,
            response.host,
            response.port,
        ),
    };
    if code != ErrorCode::NONE {
        return Err(Error::server(code, message.as_deref())
            .api(<FindCoordinatorRequest as protocol::Request>::KEY));
    }
    let port = u16::try_from(port).map_err(|_| {
        Error::new(
            ErrorKind::Protocol,
            format!("the coordinator's port is given as {port}"),
        )
    })?;
    Ok(Broker {
        id,
        address: Address::new(host, port),
        rack: None,
    })
}
