//! Events as JSON. In: a record that is an event, or a line of JSON that describes one. Out: the other.
//!
//! The JSON of an event is that of Protobuf (enums and fields by name), written and read with the schemas of `proto/`.

use pat_events::events::codec::{Payload, Protobuf};
use pat_events::events::email::{EmailEvents, FILE_DESCRIPTOR_SET};
use pat_events::events::{CloudEvent, EventSet};
use pat_events::kafka::RecordView;
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};

use crate::{Outcome, messages};

/// The schemas of the events.
#[derive(Clone, Debug)]
pub struct Schemas(DescriptorPool);

impl Schemas {
    pub fn load() -> Outcome<Schemas> {
        Ok(Schemas(DescriptorPool::decode(FILE_DESCRIPTOR_SET)?))
    }

    /// The event in `record`; an error says why it is none.
    pub fn read(&self, record: &RecordView<'_>) -> Outcome<Value> {
        let headers: Vec<_> = record.headers.iter().collect();
        let event = CloudEvent::parse(headers.iter().map(|header| (&*header.key, header.value)))?;
        let event_type = event.event_type.ok_or("it has no ce_type header")?;
        let schema = self
            .0
            .get_message_by_name(event_type)
            .ok_or_else(|| format!("no event is called {event_type:?}"))?;
        let data = messages::read(schema, record.value.ok_or("its value is null")?)?;
        Ok(json!({
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "type": event_type,
            "id": event.id,
            "source": event.source,
            "time": event.time,
            "data": data,
        }))
    }

    /// The event that a line with `type` and `data` describes.
    pub async fn write(&self, line: &[u8]) -> Outcome<EmailEvents> {
        let mut object: Value = serde_json::from_slice(line)?;
        let event_type = object["type"]
            .as_str()
            .ok_or("it names no type")?
            .to_owned();
        let schema = self
            .0
            .get_message_by_name(&event_type)
            .ok_or_else(|| format!("no event is called {event_type:?}"))?;
        let data = messages::write(schema, object["data"].take())?;
        let event = EmailEvents::decode(&Protobuf, &event_type, &Payload::new(&data)).await;
        Ok(event.ok_or_else(|| format!("{event_type} is a message, but no event"))??)
    }
}

#[cfg(test)]
mod tests {
    use pat_events::events::email::{DeletionReason, EmailDeleted};

    use super::*;

    #[tokio::test]
    async fn a_line_becomes_the_event_that_it_describes() {
        let line = br#"{"type":"api.events.v1.EmailDeleted","data":{"email_id":"e-1","reason":"DELETION_REASON_USER"}}"#;
        let schemas = Schemas::load().expect("schemas");
        let event = schemas.write(line).await.expect("an event");
        let expected = EmailDeleted {
            email_id: "e-1".into(),
            reason: DeletionReason::User.into(),
            ..Default::default()
        };
        assert_eq!(event, expected.into());
    }

    #[tokio::test]
    async fn what_is_no_event_says_so() {
        let schemas = Schemas::load().expect("schemas");
        for (line, reason) in [
            (
                r#"{"type":"api.events.v1.EmailSent","data":{}}"#,
                "no event is called",
            ),
            (
                r#"{"type":"api.events.v1.Failure","data":{}}"#,
                "but no event",
            ),
            (
                r#"{"type":"api.events.v1.EmailDeleted","data":{"email":"e-1"}}"#,
                "email",
            ),
        ] {
            let error = schemas.write(line.as_bytes()).await.expect_err("no event");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
