//! What every message can do: the traits that the tables implement.

use std::fmt::Debug;

use crate::schema::{MessageSchema, VersionRange};
use crate::wire::field::{Context, Structure};
use crate::{ApiKey, DecodeError, Decoder, EncodeError, Encoder};

/// A message of the tables.
pub trait Message: Structure + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Kafka's name of it.
    const NAME: &'static str;
    /// The versions we speak: from the oldest that Kafka 4 still has (KIP-896) to the newest of Kafka 4.4.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields (KIP-482); [`i16::MAX`] when there is none.
    const FIRST_FLEXIBLE: i16;

    /// Bytes that [`Message::encode`] appends.
    fn size(&self, version: i16) -> usize {
        self.fields_size(context::<Self>(version))
    }

    /// Appends the message. Fails when the version is not in [`Message::VERSIONS`], or when a field has a value that the
    /// version cannot carry and that may not be left out silently. After an error the encoder holds half a message.
    fn encode(&self, out: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(EncodeError::new(version, "not a version of this message").of(Self::NAME));
        }
        self.encode_fields(out, context::<Self>(version))
            .map_err(|error| error.of(Self::NAME))
    }

    /// Reads the message; bytes after it stay in `input`. Never allocates more than a constant times the input's length.
    fn decode(input: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(input
                .malformed("a version of this message that we speak")
                .of(Self::NAME));
        }
        Self::decode_fields(input, context::<Self>(version)).map_err(|error| error.of(Self::NAME))
    }

    /// The message as data.
    fn schema() -> &'static MessageSchema {
        const {
            &MessageSchema {
                name: Self::NAME,
                versions: Self::VERSIONS,
                first_flexible: Self::FIRST_FLEXIBLE,
                body: Self::SCHEMA,
            }
        }
    }
}

/// A message that a client sends.
pub trait Request: Message {
    /// Its API.
    const KEY: ApiKey;
    /// What the broker answers, in the same version.
    type Response: Response;
}

/// A message that a broker answers with.
pub trait Response: Message {
    /// Its API.
    const KEY: ApiKey;
    /// The first version in which the broker answers at once and leaves the pause to the client (KIP-219); before it the broker held back
    /// its answer. [`i16::MAX`] when there is none.
    const CLIENT_PAUSES_FROM: i16;

    /// For how many milliseconds the client must send nothing more on the connection that this came by.
    fn throttle_ms(&self, version: i16) -> i32 {
        match version >= Self::CLIENT_PAUSES_FROM {
            true => self.throttle_time_ms(),
            false => 0,
        }
    }
}

fn context<M: Message>(version: i16) -> Context {
    Context {
        version,
        flexible: version >= M::FIRST_FLEXIBLE,
    }
}
