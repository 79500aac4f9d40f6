//! What a refusal of a coordinator means for the transaction, and for the producer.

use protocol::ErrorCode;

use crate::kafka::error::may_pass;
use crate::kafka::{Error, WriteOutcome};

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The same again, after a pause: whoever got it is the wrong one, is not ready, or is not there.
    Again,
    /// The epoch is not the newest of the transactional id: the transaction is lost, and so is the producer, unless it was the coordinator that
    /// ended the transaction, which says so when it is asked to abort it.
    Fenced,
    /// The coordinator does not know the producer id: the transaction is lost, and whether the producer is as well is known when it asks for
    /// another epoch.
    EpochIsOver,
    /// The epoch may not be the newest: leaders of partitions say so of any that they do not know, and so did coordinators before Kafka 2.7
    /// (KIP-588). Whether the coordinator knows the epoch shows when it is asked to abort.
    EpochInDoubt,
    /// The transaction cannot be committed.
    Abort,
    /// Only a person can lift it: a right that is missing, a setting that is not allowed.
    NeedsSomebody,
    /// Nothing that belongs there: whatever has come of it is settled when the producer asks for another epoch.
    Unexpected,
}

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub error: Error,
    pub meaning: Meaning,
    /// It may have been done all the same.
    pub maybe_done: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            meaning: meaning_of(&error),
            maybe_done: maybe_done(&error),
            error,
        }
    }
}

/// What a broker does not know it says with an error that nobody expects (KAFKA-14034), and a coordinator whose own write was not confirmed in time
/// that it is none.
fn maybe_done(error: &Error) -> bool {
    let is_unconfirmed = matches!(
        error.server_error(),
        Some(ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR)
    );
    error.outcome() == WriteOutcome::Unknown || is_unconfirmed && !error.is_of_reading()
}

fn meaning_of(error: &Error) -> Meaning {
    let Some(code) = error.server_error().filter(|_| !error.is_of_reading()) else {
        // Also of who was asked on the way to the coordinator.
        return match may_pass(error) {
            true => Meaning::Again,
            false => Meaning::NeedsSomebody,
        };
    };
    match code {
        ErrorCode::PRODUCER_FENCED => Meaning::Fenced,
        ErrorCode::INVALID_PRODUCER_EPOCH => Meaning::EpochInDoubt,
        ErrorCode::INVALID_PRODUCER_ID_MAPPING | ErrorCode::UNKNOWN_PRODUCER_ID => {
            Meaning::EpochIsOver
        }
        ErrorCode::UNKNOWN_SERVER_ERROR | ErrorCode::TRANSACTION_COORDINATOR_FENCED => {
            Meaning::Again
        }
        code if code.is_retriable() => Meaning::Again,
        ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::INVALID_TRANSACTION_TIMEOUT
        | ErrorCode::INVALID_REQUEST
        | ErrorCode::UNSUPPORTED_VERSION
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => Meaning::NeedsSomebody,
        ErrorCode::INVALID_TXN_STATE => Meaning::Unexpected,
        _ => Meaning::Abort,
    }
}

/// Whether somebody else coordinates now, or nobody does who can be reached.
pub(super) fn has_moved(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::TRANSACTION_COORDINATOR_FENCED
    )
}
