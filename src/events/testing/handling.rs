//! One event, handled as a consumer has it handled: encoded, found by its type, decoded, dispatched. In: a handler and an event. Out: what the
//! handler returned.

use crate::events::cloudevents::{Envelope, Ids, TENANT_ID};
use crate::events::codec::{Format, Prepared};
use crate::events::{Context, Dispatch, Encode, HandlerError, RawHeaders, RawRecord};
use crate::kafka::{Clock, Random};

/// Hands an event to a handler, by way of its bytes and headers, as if it had been read at offset 0 of a topic called `test`. The event is one of the
/// set `S`, or its enum. Fails with what the handler returns; an event that cannot be encoded is poison.
pub async fn handle<S, H>(handler: &H, event: impl Into<S>) -> Result<(), HandlerError>
where
    S: Dispatch<H> + Encode<S::Codec>,
    S::Codec: Default,
{
    let (codec, event) = (S::Codec::default(), event.into());
    event.check().map_err(HandlerError::poison)?;
    let prepared = event.prepare(&codec, "test").await;
    let prepared = prepared.map_err(HandlerError::poison)?;
    let mut value = vec![0; prepared.encoded_len()];
    event.write(&codec, &prepared, &mut value);
    let now_ms = Clock::default().now_ms();
    let envelope = Envelope::new(&Ids::new(&mut Random::from_system()), now_ms);
    let content_type = codec.content_type();
    let headers = envelope.headers(event.event_type(), "test", event.id(), content_type);
    let mut headers: Vec<(&str, Option<&[u8]>)> = headers
        .iter()
        .map(|(name, value)| (*name, Some(*value)))
        .collect();
    if let Some(tenant) = event.tenant_id() {
        headers.push((TENANT_ID, Some(tenant.as_bytes())));
    }
    if let Some((name, value)) = prepared.header() {
        headers.push((name, Some(value)));
    }
    let mut record = RawRecord::new("test", 0, 0);
    record.timestamp_ms = now_ms;
    record.key = event.key();
    record.value = Some(&value);
    record.headers = RawHeaders::new(&headers);
    S::dispatch(handler, &codec, &Context::new(record))
        .await
        .result
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::events::each;
    use crate::events::email::{
        BodyPart, EmailDeleted, EmailEvents, EmailProcessed, MessageContent, body_part,
    };

    #[tokio::test]
    async fn an_event_comes_through_its_bytes_and_the_handlers_error_comes_back() {
        static SEEN: Mutex<Vec<EmailEvents>> = Mutex::new(Vec::new());
        let handler = each(|event: EmailEvents| async move {
            SEEN.lock().expect("lock").push(event);
            Err(HandlerError::new("no room"))
        });
        let event = EmailDeleted {
            email_id: "e-1".into(),
            ..Default::default()
        };
        let result = handle::<EmailEvents, _>(&handler, event.clone()).await;
        assert!(result.expect_err("no room").to_string().contains("no room"));
        assert_eq!(*SEEN.lock().expect("lock"), [EmailEvents::from(event)]);
        let too_long = EmailProcessed {
            content: Some(MessageContent {
                parts: vec![BodyPart {
                    content: Some(body_part::Content::Text("x".repeat(70_000))),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let result = handle::<EmailEvents, _>(&handler, too_long).await;
        assert!(result.expect_err("refused").to_string().contains("70000"));
        assert_eq!(SEEN.lock().expect("lock").len(), 1);
    }
}
