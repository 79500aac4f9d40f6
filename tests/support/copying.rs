//! What loops of `exactly_once` do in tests: they write what they read. In: a record, and where to. Out: it is in the transaction.

use pat_events::kafka::{ExactlyOnceError, Header, Record, RecordView, Transaction};

/// Writes a record as it is, with its key, value and headers, to the topic of `output`, and to its partition if it has one.
pub async fn copy<'a>(
    record: &RecordView<'a>,
    output: Record<'a>,
    transaction: &Transaction<'_>,
) -> Result<(), ExactlyOnceError> {
    let headers: Vec<Header<'_>> = (record.headers.iter())
        .map(|header| Header::raw(header.key_bytes, header.value))
        .collect();
    let mut output = output.headers(&headers);
    (output.key, output.value) = (record.key, record.value);
    drop(transaction.enqueue(output).await?);
    Ok(())
}
