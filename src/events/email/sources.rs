//! The `.proto` files of the events, as a schema registry wants them: rows of `proto/build.rs`.

use super::*;
use crate::events::codec::{HasProtobufSchema, ProtobufFile, ProtobufSchema};

macro_rules! protobuf_file {
    ($name:ident $path:literal [$($import:expr),*]) => {
        static $name: ProtobufFile = ProtobufFile {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/", $path)),
            imports: &[$($import),*],
        };
    };
}

macro_rules! protobuf_schema {
    ($Event:ident $file:ident $place:literal $name:literal) => {
        impl HasProtobufSchema for $Event {
            fn protobuf_schema() -> ProtobufSchema {
                ProtobufSchema::new(&$file, &[$place], $name)
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/sources.rs"));
