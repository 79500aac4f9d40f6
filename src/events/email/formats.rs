//! The messages in Avro and JSON, and the schemas of the events in both: from rows and files that `proto/build.rs` writes.

use super::*;
#[cfg(feature = "json")]
use crate::events::codec::HasJsonSchema;
use crate::events::codec::message::{serde_enum, serde_message, serde_oneof};
#[cfg(feature = "avro")]
use crate::events::codec::{AvroSchema, HasAvroSchema};

macro_rules! event_schemas {
    ($Event:ident $avro:literal $json:literal) => {
        #[cfg(feature = "avro")]
        impl HasAvroSchema for $Event {
            fn avro_schema() -> &'static AvroSchema {
                static SCHEMA: AvroSchema =
                    AvroSchema::new(include_str!(concat!(env!("OUT_DIR"), $avro)));
                &SCHEMA
            }
        }

        #[cfg(feature = "json")]
        impl HasJsonSchema for $Event {
            fn json_schema() -> &'static str {
                include_str!(concat!(env!("OUT_DIR"), $json))
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/serde.rs"));

#[cfg(all(test, feature = "avro", feature = "json"))]
mod tests;
