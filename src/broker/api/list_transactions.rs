//! ListTransactions: the transactional ids that this node coordinates, by state, by producer, by how long they run (KIP-664, KIP-994), and by a
//! pattern of their names (KIP-1152).

use protocol::ErrorCode;
use protocol::messages::ListTransactionsRequest;
use protocol::messages::list_transactions_response::{ListTransactionsResponse, TransactionState};
use regex_lite::Regex;

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::transactions::{State, Transaction};

impl Api for ListTransactionsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<ListTransactionsResponse> {
        let pattern = match whole(self.transactional_id_pattern.as_deref()) {
            Ok(pattern) => pattern,
            Err(error) => return Reply::Message(self.refusal(context.version, error)),
        };
        let now = context.cluster.moment();
        let transactions = lock(&context.cluster.transactions);
        if transactions.is_loading(now) {
            let error = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
            return Reply::Message(self.refusal(context.version, error));
        }
        let is_asked_for = |id: &str, transaction: &Transaction| {
            let state = transaction.state.name();
            (self.producer_id_filters.is_empty()
                || self.producer_id_filters.contains(&transaction.producer.id))
                && (self.state_filters.is_empty()
                    || self.state_filters.iter().any(|filter| filter == state))
                && (self.duration_filter < 0
                    || now.ms - transaction.start_ms > self.duration_filter)
                && (pattern.as_ref()).is_none_or(|pattern| pattern.is_match(id))
        };
        let mut transaction_states: Vec<_> = transactions
            .list()
            .filter(|(id, transaction)| is_asked_for(id, transaction))
            .map(|(id, transaction)| TransactionState {
                transactional_id: id.to_owned(),
                producer_id: transaction.producer.id,
                transaction_state: transaction.state.name().to_owned(),
                ..Default::default()
            })
            .collect();
        drop(transactions);
        transaction_states.retain(|state| {
            let id = &state.transactional_id;
            let described = context.check_transactional_id(AclOperation::Describe, id);
            described
                .and_then(|()| context.check_coordinator(id))
                .is_ok()
        });
        let unknown = self
            .state_filters
            .iter()
            .filter(|name| !State::is_known(name));
        Reply::Message(ListTransactionsResponse {
            unknown_state_filters: unknown.cloned().collect(),
            transaction_states,
            ..Default::default()
        })
    }
}

/// A pattern that has to match a whole id; none where every id is asked for.
fn whole(pattern: Option<&str>) -> Result<Option<Regex>, ErrorCode> {
    let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else {
        return Ok(None);
    };
    let pattern = Regex::new(&format!("^(?:{pattern})$"));
    pattern
        .map(Some)
        .map_err(|_| ErrorCode::INVALID_REGULAR_EXPRESSION)
}
