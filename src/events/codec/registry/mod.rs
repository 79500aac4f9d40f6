//! Schemas from a registry that speaks Confluent's API (Confluent, Apicurio, Karapace, Redpanda).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `config` | where the registry is, who the client says it is, and what it may do there |
//! | `client` | what can be asked of it |
//! | `schema` | schemas, as they are asked for and returned |
//! | `references` | what a schema names, and what that names in turn |
//! | `chain` | a list that only grows, for whoever looks without a lock |
//! | `cache` | what is known already: lock-free where it is found, one request for many who wait |
//! | `codec` | [`Confluent`]: a codec whose data says which schema wrote it |
//! | `described` | what each encoding has for a schema |
//! | `wire` | ids in front of the data, or in a header |
//! | `names` | names of messages in a `.proto` file |
//! | `error` | why there is no schema |

mod cache;
mod chain;
mod client;
mod codec;
mod config;
mod described;
mod error;
mod names;
mod references;
mod schema;
mod wire;

pub use client::SchemaRegistry;
pub use codec::{Confluent, Framed};
pub use config::{CredentialsSource, IdPlace, RegistryConfig, SubjectNameStrategy};
pub use described::{Described, HasProtobufSchema, ProtobufFile, ProtobufSchema};
pub use error::RegistryError;
pub use schema::{
    Compatibility, Guid, NewSchema, RegisteredSchema, SchemaKind, SchemaReference, SchemaVersion,
};

/// What reads bytes of somebody else's, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::events::RawHeaders;

    /// How long the data behind its frame is.
    pub fn framed(headers: RawHeaders<'_>, data: &[u8]) -> Option<usize> {
        let framed = super::wire::framed(headers, data)?;
        let named = framed.split_named().map(|(_, data)| data.len());
        let placed = framed.split(true).map(|(_, data)| data.len());
        named.max(placed)
    }

    /// The name of a message of a `.proto` file.
    pub fn message_at(text: &str, indexes: &[u32]) -> Option<String> {
        super::names::message_at(text, indexes)
    }
}
