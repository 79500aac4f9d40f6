//! DescribeTransactions: how far transactions have come, and what is in them (KIP-664).

use protocol::ErrorCode;
use protocol::messages::DescribeTransactionsRequest;
use protocol::messages::describe_transactions_response::{
    DescribeTransactionsResponse, TransactionState,
};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;

impl Api for DescribeTransactionsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeTransactionsResponse> {
        let describe = |id: &String| {
            let described = describe(id, context);
            described.unwrap_or_else(|error| failed(id, error))
        };
        Reply::Message(DescribeTransactionsResponse {
            transaction_states: self.transactional_ids.iter().map(describe).collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> DescribeTransactionsResponse {
        let failed = |id: &String| failed(id, error);
        DescribeTransactionsResponse {
            transaction_states: self.transactional_ids.iter().map(failed).collect(),
            ..Default::default()
        }
    }
}

fn describe(id: &str, context: &Context<'_>) -> Result<TransactionState, ErrorCode> {
    context.check_transactional_id(AclOperation::Describe, id)?;
    if !id.is_empty() {
        context.check_coordinator(id)?;
    }
    let now = context.cluster.moment();
    let mut state = lock(&context.cluster.transactions).describe(id, now)?;
    state.topics.retain(|topic| {
        let allowed = context.check_topic(AclOperation::Describe, &topic.topic);
        allowed.is_ok()
    });
    Ok(state)
}

fn failed(id: &str, error: ErrorCode) -> TransactionState {
    TransactionState {
        error_code: error,
        transactional_id: id.to_owned(),
        ..Default::default()
    }
}
