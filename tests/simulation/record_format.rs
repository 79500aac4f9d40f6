//! What records look like: raw ones, or events of a set of this simulation's own or of the emails', sent and read typed. Each holds the [`Id`]
//! that it is known by.

use pat_events::events::email::{EmailDeleted, EmailEventHandler};
use pat_events::events::{Context, EventProducer, HandlerError, event_set, prost};
use pat_events::kafka::{self, Delivery, Producer, Record};
use prost::Message;

use crate::history::Id;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    Raw,
    Own,
    Email,
}

/// An event that is noted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Noted {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(uint32, tag = "2")]
    pub producer: u32,
    #[prost(uint32, tag = "3")]
    pub number: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub padding: Vec<u8>,
}

/// An event of another type, with the same fields, so that [`RecordFormat::id`] can read both.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Counted {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(uint32, tag = "2")]
    pub producer: u32,
    #[prost(uint32, tag = "3")]
    pub number: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub padding: Vec<u8>,
}

event_set! {
    /// The simulation's own events.
    pub enum OwnEvents, producer OwnProducer, handler OwnHandler {
        Noted: type = "simulation.v1.Noted", key = key;
        Counted: type = "simulation.v1.Counted", key = key;
    }
}

/// An event of the simulation's own set, for a record of this id.
pub fn noted(id: Id, key: u32) -> Noted {
    Noted {
        key: format!("key-{key}"),
        producer: id.producer,
        number: id.number,
        padding: Vec::new(),
    }
}

/// An event of the emails' set, for a record of this id.
pub fn email(id: Id, key: u32) -> EmailDeleted {
    EmailDeleted {
        email_id: format!("key-{key}"),
        tenant_id: format!("{}:{}:", id.producer, id.number),
        ..Default::default()
    }
}

impl RecordFormat {
    /// The record whose value this is.
    pub fn id(self, value: &[u8]) -> Option<Id> {
        match self {
            RecordFormat::Raw => {
                let (producer, rest) = value.split_first_chunk::<4>()?;
                let (number, _) = rest.split_first_chunk::<4>()?;
                Some(Id {
                    producer: u32::from_be_bytes(*producer),
                    number: u32::from_be_bytes(*number),
                })
            }
            RecordFormat::Own => {
                let Noted {
                    producer, number, ..
                } = Noted::decode(value).ok()?;
                Some(Id { producer, number })
            }
            RecordFormat::Email => {
                let event = EmailDeleted::decode(value).ok()?;
                let mut parts = event.tenant_id.split(':');
                Some(Id {
                    producer: parts.next()?.parse().ok()?,
                    number: parts.next()?.parse().ok()?,
                })
            }
        }
    }
}

/// A producer of one kind of records.
pub enum Writer {
    Raw(Producer),
    Own(EventProducer),
    Email(EventProducer),
}

impl Writer {
    /// Hands a record with `padding` bytes of no meaning to the producer; of those that are raw, one without a key if there is no `key`.
    pub async fn enqueue(
        &self,
        topic: &str,
        id: Id,
        key: Option<u32>,
        padding: usize,
    ) -> kafka::Result<Delivery> {
        let Id { producer, number } = id;
        let name = || key.map(|key| format!("key-{key}")).unwrap_or_default();
        match self {
            Writer::Raw(writer) => {
                let mut value = [producer.to_be_bytes(), number.to_be_bytes()].concat();
                value.resize(value.len() + padding, 0);
                let key = key.map(u32::to_be_bytes);
                let mut record = Record::new(topic).value(&value);
                record.key = key.as_ref().map(|key| &key[..]);
                writer.enqueue(record).await
            }
            Writer::Own(writer) if number % 2 == 0 => {
                let padding = vec![0; padding];
                let key = name();
                let event = Noted {
                    key,
                    producer,
                    number,
                    padding,
                };
                writer.enqueue_noted(&event).await
            }
            Writer::Own(writer) => {
                let padding = vec![0; padding];
                let key = name();
                let event = OwnEvents::Counted(Counted {
                    key,
                    producer,
                    number,
                    padding,
                });
                writer.enqueue(&event).await
            }
            Writer::Email(writer) => {
                let padding = "x".repeat(padding);
                let event = EmailDeleted {
                    email_id: name(),
                    tenant_id: format!("{producer}:{number}:{padding}"),
                    ..Default::default()
                };
                writer.enqueue(&event).await
            }
        }
    }

    pub async fn flush(&self) -> kafka::Result<()> {
        match self {
            Writer::Raw(writer) => writer.flush().await,
            Writer::Own(writer) | Writer::Email(writer) => writer.flush().await,
        }
    }

    pub async fn close(&self, timeout: std::time::Duration) -> kafka::Result<()> {
        match self {
            Writer::Raw(writer) => writer.close(timeout).await,
            Writer::Own(writer) | Writer::Email(writer) => writer.close(timeout).await,
        }
    }
}

/// What handles the events of both sets alike.
pub trait Handle: Send + Sync + 'static {
    fn handle(
        &self,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// A handler of both sets.
pub struct Handler<H>(pub H);

impl<H: Handle> OwnHandler for Handler<H> {
    async fn handle_noted(&self, context: &Context<'_>, _: Noted) -> Result<(), HandlerError> {
        self.0.handle(context).await
    }

    async fn handle_counted(&self, context: &Context<'_>, _: Counted) -> Result<(), HandlerError> {
        self.0.handle(context).await
    }
}

macro_rules! none_of {
    ($($method:ident: $Event:ident,)*) => {
        $(async fn $method(&self, _: &Context<'_>, _: pat_events::events::email::$Event) -> Result<(), HandlerError> {
            Err(HandlerError::new("the simulation sends no such event"))
        })*
    };
}

impl<H: Handle> EmailEventHandler for Handler<H> {
    async fn handle_email_deleted(
        &self,
        context: &Context<'_>,
        _: EmailDeleted,
    ) -> Result<(), HandlerError> {
        self.0.handle(context).await
    }

    none_of! {
        handle_email_received: EmailReceived,
        handle_email_processed: EmailProcessed,
        handle_email_validated: EmailValidated,
        handle_workflow_triggered: WorkflowTriggered,
        handle_plugin_execution_required: PluginExecutionRequired,
        handle_plugin_execution_completed: PluginExecutionCompleted,
        handle_tenant_event: TenantEvent,
    }
}
