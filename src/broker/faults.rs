//! Faults on purpose: rules that make requests fail, stall or lose their answer.
//!
//! In: rules, and each request's API and node. Out: what is to happen to that request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::frame::LENGTH_BYTES;
use protocol::{ApiKey, ErrorCode};

/// What happens to a request that a [`Fault`] matches.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultAction {
    /// The request is applied, and the connection closed without an answer: the client can't know.
    ApplyThenDisconnect,
    /// The connection is closed; nothing is applied.
    Disconnect,
    /// The request is applied, and the answer held back this long; what follows on the connection waits, too.
    Delay(Duration),
    /// The answer says that the client is to pause (KIP-219), and the broker reads nothing from it meanwhile.
    Throttle(Duration),
    /// Every part of the request is answered with this error; nothing is applied.
    Answer(ErrorCode),
    /// The request is applied, and then answered with this error.
    ApplyThenAnswer(ErrorCode),
    /// The answer has no error, and says nothing of what was asked for; nothing is applied.
    AnswerNothing,
    /// The request is applied, and the answer cannot be read.
    ApplyThenGarble(Garbling),
}

/// What makes an answer unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Garbling {
    /// It has the correlation id of another request.
    CorrelationId,
    /// Its message ends half way.
    CutShort,
    /// Its message is noise of the same length.
    Noise,
}

impl Garbling {
    /// Makes a frame unreadable, its length in front included.
    pub(crate) fn apply(self, frame: &[Bytes]) -> Bytes {
        let mut bytes = frame.concat();
        let (id, message) = (LENGTH_BYTES, LENGTH_BYTES + size_of::<i32>());
        match self {
            Self::CorrelationId => bytes[id..message].iter_mut().for_each(|byte| *byte ^= 0x5a),
            Self::CutShort => {
                bytes.truncate(message + (bytes.len() - message) / 2);
                let length = u32::try_from(bytes.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
                bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
            }
            Self::Noise => bytes[message..].iter_mut().for_each(|byte| *byte = !*byte),
        }
        bytes.into()
    }
}

/// A rule about requests: by default it matches the next request of its API, on any node, once.
#[derive(Clone, Debug)]
pub struct Fault {
    api: ApiKey,
    node: Option<i32>,
    skip: u64,
    times: u64,
    action: FaultAction,
    counter: Option<Arc<AtomicU64>>,
}

impl Fault {
    /// A rule for the next request of this API.
    pub fn on(api: ApiKey, action: FaultAction) -> Self {
        Self {
            api,
            node: None,
            skip: 0,
            times: 1,
            action,
            counter: None,
        }
    }

    /// Only requests to this node.
    #[must_use]
    pub fn at_node(self, node: i32) -> Self {
        Self {
            node: Some(node),
            ..self
        }
    }

    /// Lets this many requests pass first.
    #[must_use]
    pub fn after(self, requests: u64) -> Self {
        Self {
            skip: requests,
            ..self
        }
    }

    /// Matches this many requests instead of one.
    #[must_use]
    pub fn times(self, requests: u64) -> Self {
        Self {
            times: requests,
            ..self
        }
    }

    /// Counts the requests that it matches, from now on.
    #[must_use]
    pub fn counted(self, counter: Arc<AtomicU64>) -> Self {
        Self {
            counter: Some(counter),
            ..self
        }
    }

    /// Matches every request until the faults are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.rules.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Rules that have not matched all their requests yet.
    pub(crate) fn pending(&self) -> usize {
        self.rules.len()
    }

    /// What is to happen to a request, by all rules that match it, in the order in which they were added.
    pub(crate) fn matching(&mut self, api: ApiKey, node: i32) -> Vec<FaultAction> {
        let mut actions = Vec::new();
        for rule in self
            .rules
            .iter_mut()
            .filter(|rule| rule.api == api && rule.node.is_none_or(|id| id == node))
        {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                if let Some(counter) = &rule.counter {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                actions.push(rule.action);
            }
        }
        self.rules.retain(|rule| rule.times > 0);
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_matches_its_requests_and_no_others() {
        let mut faults = Faults::default();
        let counter = Arc::<AtomicU64>::default();
        faults.add(
            Fault::on(ApiKey::PRODUCE, FaultAction::Disconnect)
                .at_node(2)
                .after(1)
                .times(2)
                .counted(counter.clone()),
        );
        let mut matched = |api, node| !faults.matching(api, node).is_empty();
        assert!(!matched(ApiKey::FETCH, 2));
        assert!(!matched(ApiKey::PRODUCE, 1));
        assert!(!matched(ApiKey::PRODUCE, 2));
        assert!(matched(ApiKey::PRODUCE, 2));
        assert!(matched(ApiKey::PRODUCE, 2));
        assert!(!matched(ApiKey::PRODUCE, 2));
        assert_eq!(faults.pending(), 0);
        assert_eq!(counter.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_garbled_frame_is_another_one_and_still_says_its_length() {
        let frame = [
            Bytes::from_static(&[0, 0, 0, 8]),
            Bytes::from_static(&[0, 0, 0, 7, 1, 2, 3, 4]),
        ];
        let garbled = |how: Garbling| how.apply(&frame).to_vec();
        assert_eq!(
            garbled(Garbling::CorrelationId),
            [0, 0, 0, 8, 0x5a, 0x5a, 0x5a, 0x5d, 1, 2, 3, 4]
        );
        assert_eq!(garbled(Garbling::CutShort), [0, 0, 0, 6, 0, 0, 0, 7, 1, 2]);
        assert_eq!(
            garbled(Garbling::Noise),
            [0, 0, 0, 8, 0, 0, 0, 7, 254, 253, 252, 251]
        );
    }
}
