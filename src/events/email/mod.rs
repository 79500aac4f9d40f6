//! The events about emails, their tenants and their workflows, and their event set.
//!
//! They are the Protobuf package `api.events.v1` (`proto/`). Every event names its
//! tenant, in the message and as `ce_tenantid`. The key is the email's id (for
//! [`TenantEvent`] the tenant's), so that what happens to one email is handled in the
//! order in which it happened.

// | file | what lives there |
// | --- | --- |
// | `mod` | the messages, their schemas and their set |
// | `inline` | the limit of texts and payloads within an event |
// | `formats` | the messages in Avro and JSON (features `avro` and `json`) |
// | `redaction` | clears personal data, by what the schemas say of each field |
// | `sources` | the `.proto` files, for a schema registry (feature `registry`) |

#[cfg(any(feature = "avro", feature = "json"))]
mod formats;
mod inline;
mod redaction;
#[cfg(feature = "registry")]
mod sources;

use crate::event_set;
use crate::events::EventId;
use inline::{short_input, short_output, short_parts};

pub use messages::*;
pub use redaction::{DataClasses, Redact};

/// The most bytes that a text or a payload may have within an event ([`BodyPart`], [`Payload`]): with more it is not sent. Larger ones are stored
/// elsewhere, and travel by their URI.
pub const INLINE_LIMIT_BYTES: usize = 65_536;

/// What prost generates from `proto/api/events/v1`.
mod messages {
    include!(concat!(env!("OUT_DIR"), "/api.events.v1.rs"));
}

/// Its `event_id`, which is the `ce_id` of the event as well.
impl EventId for EventMeta {
    fn as_id(&self) -> Option<&str> {
        self.event_id.as_id()
    }
}

/// The schemas of these events as an encoded `google.protobuf.FileDescriptorSet`, imports and comments included: for schema checks and
/// registries.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/events.binpb"));

event_set! {
    /// The events about emails, their tenants and their workflows.
    pub enum EmailEvents, producer EmailEventProducer, handler EmailEventHandler {
        EmailReceived: type = "api.events.v1.EmailReceived", key = email_id, tenant = tenant_id, id = meta;
        EmailProcessed: type = "api.events.v1.EmailProcessed", key = email_id, tenant = tenant_id, id = meta, check = short_parts;
        EmailValidated: type = "api.events.v1.EmailValidated", key = email_id, tenant = tenant_id, id = meta;
        WorkflowTriggered: type = "api.events.v1.WorkflowTriggered", key = email_id, tenant = tenant_id, id = meta;
        PluginExecutionRequired: type = "api.events.v1.PluginExecutionRequired", key = email_id, tenant = tenant_id, id = meta, check = short_input;
        PluginExecutionCompleted: type = "api.events.v1.PluginExecutionCompleted", key = email_id, tenant = tenant_id, id = meta, check = short_output;
        EmailDeleted: type = "api.events.v1.EmailDeleted", key = email_id, tenant = tenant_id, id = meta;
        TenantEvent: type = "api.events.v1.TenantEvent", key = tenant_id, tenant = tenant_id, id = meta;
    }
}

/// The same events in a set whose encoding is chosen when the program runs: Protobuf, Avro or JSON, by
/// [`AnyFormat`](crate::events::codec::AnyFormat).
///
/// ```
/// use pat_events::events::codec::{AnyFormat, DataFormat};
/// use pat_events::events::email::any_format::EmailEventProducer;
/// use pat_events::events::{EventProducer, ProducerConfig};
/// # async fn example(event: pat_events::events::email::EmailReceived) -> pat_events::kafka::Result<()> {
/// let codec = AnyFormat::new(DataFormat::Avro);
/// let config = ProducerConfig::new("localhost:9092", "emails");
/// let producer = EventProducer::with_codec(config, codec).await?;
/// producer.send_email_received(&event).await?;
/// # Ok(()) }
/// ```
#[cfg(all(feature = "avro", feature = "json"))]
pub mod any_format {
    use super::*;
    use crate::events::codec::AnyFormat;

    event_set! {
        /// The events about emails, their tenants and their workflows, in whichever encoding.
        pub enum EmailEvents, producer EmailEventProducer, handler EmailEventHandler, codec AnyFormat {
            EmailReceived;
            EmailProcessed;
            EmailValidated;
            WorkflowTriggered;
            PluginExecutionRequired;
            PluginExecutionCompleted;
            EmailDeleted;
            TenantEvent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::codec::{Payload, Protobuf};
    use crate::events::{AnyEvent, Event, EventSet};
    use prost::{Message, Name};

    #[test]
    fn an_event_is_called_by_the_full_name_of_its_message() {
        fn check<E: Event + Name>() {
            assert_eq!(E::TYPE, E::full_name());
        }
        check::<EmailReceived>();
        check::<EmailProcessed>();
        check::<EmailValidated>();
        check::<WorkflowTriggered>();
        check::<PluginExecutionRequired>();
        check::<PluginExecutionCompleted>();
        check::<EmailDeleted>();
        check::<TenantEvent>();
        assert_eq!(EmailEvents::TYPES.len(), 8);
    }

    #[tokio::test]
    async fn the_set_reads_what_its_events_write() {
        let event = EmailDeleted {
            email_id: "e-1".into(),
            tenant_id: "t-1".into(),
            reason: DeletionReason::Retention.into(),
            ..Default::default()
        };
        let data = event.encode_to_vec();
        let read = EmailEvents::decode(&Protobuf, EmailDeleted::TYPE, &Payload::new(&data)).await;
        let read = read.expect("an event of the set").expect("well formed");
        assert_eq!(read, EmailEvents::from(event));
        let read =
            EmailEvents::decode(&Protobuf, "api.events.v1.EmailSent", &Payload::new(b"")).await;
        assert!(read.is_none());
    }

    #[test]
    fn every_deprecated_field_is_in_its_row() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
            .expect("written by the build");
        let ours = (set.file.iter()).filter(|file| file.package() == "api.events.v1");
        let messages = ours.flat_map(|file| &file.message_type);
        let deprecated = |it: &&prost_types::FieldDescriptorProto| {
            (it.options.as_ref()).is_some_and(|it| it.deprecated())
        };
        let fields = messages.flat_map(|it| it.field.iter().filter(deprecated));
        // With the first of them, its name goes here, and `deprecated = […]` into the row of the event.
        assert_eq!(fields.map(|it| it.name()).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn the_id_in_the_message_is_that_of_the_event() {
        let mut event = EmailDeleted::default();
        assert_eq!(AnyEvent::id(&event), None);
        event.meta = Some(EventMeta::default());
        assert_eq!(AnyEvent::id(&event), None);
        event.meta = Some(EventMeta {
            event_id: "ev-1".into(),
            ..Default::default()
        });
        assert_eq!(AnyEvent::id(&EmailEvents::from(event)), Some("ev-1"));
    }

    #[test]
    fn an_empty_id_is_no_key() {
        assert_eq!(AnyEvent::key(&EmailReceived::default()), None);
        let event = TenantEvent {
            tenant_id: "t-1".into(),
            ..Default::default()
        };
        assert_eq!(AnyEvent::key(&event), Some(&b"t-1"[..]));
        assert_eq!(AnyEvent::tenant_id(&event), Some("t-1"));
    }

    #[test]
    fn the_descriptor_set_holds_every_event() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
            .expect("written by the build");
        let messages: Vec<String> = set
            .file
            .iter()
            .flat_map(|file| {
                let package = file.package().to_string();
                file.message_type
                    .iter()
                    .map(move |message| format!("{package}.{}", message.name()))
            })
            .collect();
        for event_type in EmailEvents::TYPES {
            assert!(
                messages.iter().any(|name| name == event_type),
                "{event_type}"
            );
        }
    }
}
