//! Which broker coordinates a group, or the transactions of a transactional id: asked for, remembered, forgotten when it moved.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use protocol::messages::FindCoordinatorRequest;
use protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::router::{Answer, Judged, Target, ask};
use super::{Broker, Channel, Cluster};
use crate::kafka::net::BoxFuture;
use crate::kafka::runtime::Mutex;
use crate::kafka::{Address, Error, ErrorKind, Result};

/// How often in a row a refusal that repetition does not lift must come before it is believed: one bad answer is no verdict.
const CONFIRMED: u32 = 2;

/// What is coordinated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CoordinatorKind {
    /// A consumer group; the key is its id.
    Group = 0,
    /// The transactions of a transactional id, which is the key.
    Transaction = 1,
}

/// Coordinators that were found.
#[derive(Debug, Default)]
pub(super) struct Coordinators {
    found: Mutex<BTreeMap<(CoordinatorKind, String), i32>>,
}

impl Coordinators {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(CoordinatorKind, String), i32>> {
        self.found.lock()
    }

    /// The one that is remembered.
    pub fn remembered(&self, kind: CoordinatorKind, key: &str) -> Option<i32> {
        self.lock().get(&(kind, key.to_string())).copied()
    }

    /// Whom the cluster names. Whatever goes wrong, it is asked again, with pauses, until `deadline`: but for a refusal that only a person
    /// can lift, once it has been repeated. Boxed, since other requests look for the coordinator that they are for.
    pub fn find<'a>(
        &'a self,
        cluster: &'a Cluster,
        kind: CoordinatorKind,
        key: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<i32>> {
        let mut refusals = 0;
        let judge = move |answer: Result<Answer<_>>| {
            let error = match answer.and_then(|answer| named(key, answer)) {
                Ok(broker) => return Judged::Done(broker),
                Err(error) => error,
            };
            refusals = if needs_somebody(&error) {
                refusals + 1
            } else {
                0
            };
            match refusals >= CONFIRMED {
                true => Judged::Failed(error),
                false => Judged::Again(error),
            }
        };
        Box::pin(async move {
            let request = |version| Ok(request(kind, key, version));
            let asked = cluster.request(Target::Any, deadline, request, judge);
            let broker = asked.await?;
            let node = broker.id;
            cluster.refresher().learn(|known| known.with_broker(broker));
            self.lock().insert((kind, key.to_string()), node);
            Ok(node)
        })
    }

    pub fn lost(&self, kind: CoordinatorKind, key: &str) {
        self.lock().remove(&(kind, key.to_string()));
    }
}

/// Whether asking again cannot help before a person has changed something.
fn needs_somebody(error: &Error) -> bool {
    match error.server_error() {
        Some(code) => matches!(
            code,
            ErrorCode::GROUP_AUTHORIZATION_FAILED
                | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
                | ErrorCode::INVALID_GROUP_ID
        ),
        None => error.is_fatal(),
    }
}

/// Asks `node` whether it is the one.
pub(super) async fn confirm(
    cluster: &Cluster,
    node: i32,
    kind: CoordinatorKind,
    key: &str,
    deadline: Instant,
) -> Result<()> {
    let connection = cluster.connection(node, Channel::Shared, deadline).await?;
    let asked = ask(
        connection.clone(),
        i16::MAX,
        |version| Ok(request(kind, key, version)),
        deadline,
    );
    match asked.await.and_then(|answer| named(key, answer)) {
        Ok(broker) if broker.id == node => Ok(()),
        Ok(Broker { id, address, .. }) => {
            let message = format!("broker {id} ({address}) coordinates the group now");
            let (node, address) = connection.broker();
            Err(Error::new(ErrorKind::Rebalance, message)
                .api(ApiKey::FIND_COORDINATOR)
                .broker(node, address))
        }
        // It is there, and may be about to know.
        Err(error) if error.server_error().is_some() => Ok(()),
        Err(error) => {
            connection.retire();
            Err(error)
        }
    }
}

fn request(kind: CoordinatorKind, key: &str, version: i16) -> FindCoordinatorRequest {
    let (key, coordinator_keys) = match version >= FindCoordinatorRequest::SEVERAL_KEYS_FROM {
        true => (String::new(), vec![key.to_string()]),
        false => (key.to_string(), Vec::new()),
    };
    FindCoordinatorRequest {
        key,
        key_type: kind as i8,
        coordinator_keys,
        ..Default::default()
    }
}

/// The coordinator that a broker names.
fn named(key: &str, answer: Answer<FindCoordinatorRequest>) -> Result<Broker> {
    let several = answer.version >= FindCoordinatorRequest::SEVERAL_KEYS_FROM;
    let (node, address) = answer.connection.broker();
    answer_about(key, several, answer.response)
        .map_err(|error| error.api(ApiKey::FIND_COORDINATOR).broker(node, address))
}

/// The coordinator that a response names, if it is about what was asked, and can be one.
fn answer_about(key: &str, several: bool, response: FindCoordinatorResponse) -> Result<Broker> {
    let wrong = |what: String| Err(Error::new(ErrorKind::Protocol, what));
    let named = if several {
        let mut named = response.coordinators.into_iter();
        match named.find(|coordinator| coordinator.key == key) {
            Some(coordinator) => coordinator,
            None => {
                return wrong(
                    "the broker left out of its answer what it was asked about".to_string(),
                );
            }
        }
    } else {
        Coordinator {
            error_code: response.error_code,
            error_message: response.error_message,
            node_id: response.node_id,
            host: response.host,
            port: response.port,
            ..Default::default()
        }
    };
    if named.error_code != ErrorCode::NONE {
        return Err(Error::server(
            named.error_code,
            named.error_message.as_deref(),
        ));
    }
    match u16::try_from(named.port) {
        Ok(port @ 1..) if named.node_id >= 0 && !named.host.is_empty() => Ok(Broker {
            id: named.node_id,
            address: Address::new(named.host, port),
            rack: None,
        }),
        _ => wrong(format!(
            "the broker named a coordinator that cannot be: node {}, port {}",
            named.node_id, named.port
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(change: impl FnOnce(&mut Coordinator)) -> FindCoordinatorResponse {
        let mut coordinator = Coordinator {
            key: "g".to_string(),
            node_id: 3,
            host: "kafka".to_string(),
            port: 9092,
            ..Default::default()
        };
        change(&mut coordinator);
        FindCoordinatorResponse {
            coordinators: vec![coordinator],
            ..Default::default()
        }
    }

    #[test]
    fn an_answer_about_something_else_or_with_a_broker_that_cannot_be_is_refused() {
        let broker = answer_about("g", true, response(|_| {})).expect("a coordinator");
        assert_eq!((broker.id, broker.address.port()), (3, 9092));
        let changes: [fn(&mut Coordinator); 5] = [
            |it| it.key = "h".to_string(),
            |it| it.node_id = -1,
            |it| it.port = 0,
            |it| it.port = 70_000,
            |it| it.host.clear(),
        ];
        for change in changes {
            let error = answer_about("g", true, response(change)).expect_err("cannot be");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        }
        let error = answer_about("g", true, FindCoordinatorResponse::default());
        assert_eq!(error.expect_err("nothing").kind(), ErrorKind::Protocol);
        let refused = response(|it| it.error_code = ErrorCode(31_999));
        let error = answer_about("g", true, refused).expect_err("refused");
        assert!(error.to_string().contains("31999"), "{error}");
    }
}
