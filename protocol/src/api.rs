//! API keys and the messages behind them, by number: for negotiation, the CLI, fuzzers and tests.

use std::fmt;

use bytes::Bytes;

use crate::schema::{MessageSchema, VersionRange};
use crate::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// The number of an API. The constants are the APIs that we speak; other numbers survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey(pub i16);

impl ApiKey {
    /// Kafka's name, `Fetch`; `Unknown` for an API that the tables do not have.
    pub fn name(self) -> &'static str {
        self.api().map_or("Unknown", |api| api.name())
    }

    /// The versions we speak.
    pub fn versions(self) -> Option<VersionRange> {
        self.api().map(|api| api.request.schema.versions)
    }

    /// The row of the API table.
    pub fn api(self) -> Option<&'static Api> {
        let apis = crate::messages::APIS;
        apis.binary_search_by_key(&self, |api| api.key)
            .ok()
            .map(|at| &apis[at])
    }
}

/// `Fetch`, or `Api(123)` for an unknown one.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.api() {
            Some(api) => f.write_str(api.name()),
            None => write!(f, "Api({})", self.0),
        }
    }
}

/// A row of the API table.
#[derive(Debug)]
pub struct Api {
    /// Its number.
    pub key: ApiKey,
    /// What clients send.
    pub request: Codec,
    /// What brokers answer.
    pub response: Codec,
    /// The number of the Kafka Improvement Proposal that brought it; `None` for those that are older, and for UnregisterController.
    pub kip: Option<u16>,
}

impl Api {
    /// Kafka's name, `Fetch`.
    pub fn name(&self) -> &'static str {
        self.request.schema.name.trim_end_matches("Request")
    }
}

/// A message whose type is known only at run time.
#[derive(Debug)]
pub struct Codec {
    /// The message as data.
    pub schema: &'static MessageSchema,
    /// Decodes a message that fills the input, and encodes it again in the same version.
    pub recode: fn(Bytes, i16) -> Result<Result<Bytes, EncodeError>, DecodeError>,
    /// Decodes a message that fills the input, and writes it as Rust would.
    pub debug: fn(Bytes, i16) -> Result<String, DecodeError>,
}

impl Codec {
    /// The codec of a message.
    pub const fn of<M: Message>() -> Self {
        Self {
            schema: const {
                &MessageSchema {
                    name: M::NAME,
                    versions: M::VERSIONS,
                    first_flexible: M::FIRST_FLEXIBLE,
                    body: M::SCHEMA,
                }
            },
            recode: |bytes, version| {
                let message: M = decode_all(bytes, version)?;
                let size = message.size(version);
                let mut out = Encoder::with_capacity(size);
                Ok(message.encode(&mut out, version).map(|()| {
                    let bytes = out.into_bytes();
                    // The length before a frame is made of sizes.
                    debug_assert_eq!(bytes.len(), size, "{} v{version}", M::NAME);
                    bytes
                }))
            },
            debug: |bytes, version| Ok(format!("{:#?}", decode_all::<M>(bytes, version)?)),
        }
    }
}

/// Decodes a message that must fill `bytes`.
pub fn decode_all<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut input = Decoder::new(bytes);
    let message = M::decode(&mut input, version)?;
    input.finish().map_err(|error| error.of(M::NAME))?;
    Ok(message)
}
