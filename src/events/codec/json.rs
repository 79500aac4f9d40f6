//! JSON, by serde: what serde makes of a type; of Protobuf's messages their JSON mapping (times in RFC 3339, enums by name, bytes in Base64).

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Format, Payload, is_media_type};

/// A type that has a JSON schema, to be registered.
pub trait HasJsonSchema {
    /// The schema of the type, in JSON.
    fn json_schema() -> &'static str;
}

/// The codec of JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Format for Json {
    /// The encoded event.
    type Prepared = Vec<u8>;

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn accepts(&self, content_type: &str) -> bool {
        let is_of_json = || {
            let essence = content_type.split(';').next().unwrap_or_default();
            essence.trim().to_ascii_lowercase().ends_with("+json")
        };
        is_media_type(content_type, "application/json")
            || is_media_type(content_type, "text/json")
            || is_of_json()
    }
}

impl<E: Serialize + DeserializeOwned + Send + Sync> Codec<E> for Json {
    async fn prepare(&self, _: &str, event: &E) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(event).map_err(CodecError::malformed)
    }

    fn write(&self, _: &E, prepared: &Vec<u8>, out: &mut [u8]) {
        out.copy_from_slice(prepared);
    }

    async fn decode(&self, payload: &Payload<'_>) -> Result<E, CodecError> {
        // It refuses what nests more than 128 deep.
        serde_json::from_slice(payload.data).map_err(CodecError::malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_by_several_names() {
        for accepted in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/json",
            "application/vnd.shop+json",
        ] {
            assert!(Json.accepts(accepted), "{accepted}");
        }
        assert!(!Json.accepts("application/protobuf"));
    }
}
