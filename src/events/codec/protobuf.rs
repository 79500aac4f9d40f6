//! Protobuf, by prost: the default codec of an event set. The data is the message and nothing else.

use prost::Message;

use super::{Codec, CodecError, Format, Payload, is_media_type};

/// The codec of prost messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protobuf;

impl Format for Protobuf {
    /// The length of the message.
    type Prepared = usize;

    fn content_type(&self) -> &'static str {
        "application/protobuf"
    }

    fn accepts(&self, content_type: &str) -> bool {
        [
            "application/protobuf",
            "application/x-protobuf",
            "application/vnd.google.protobuf",
        ]
        .iter()
        .any(|name| is_media_type(content_type, name))
    }
}

impl<M: Message + Default> Codec<M> for Protobuf {
    async fn prepare(&self, _: &str, event: &M) -> Result<usize, CodecError> {
        Ok(event.encoded_len())
    }

    fn write(&self, event: &M, _: &usize, mut out: &mut [u8]) {
        // Not `encode`, which would work out the length once more.
        event.encode_raw(&mut out);
    }

    async fn decode(&self, payload: &Payload<'_>) -> Result<M, CodecError> {
        M::decode(payload.data).map_err(CodecError::malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_goes_by_several_names() {
        assert!(Protobuf.accepts("application/protobuf"));
        assert!(Protobuf.accepts("Application/X-Protobuf; proto=a.B"));
        assert!(!Protobuf.accepts("application/json"));
        assert!(!Protobuf.accepts(""));
    }
}
