//! API keys and the messages behind them, by number: for negotiation, the CLI, fuzzers and tests.

use std::fmt;

use bytes::Bytes;

use crate::schema::{MessageSchema, VersionRange};
use crate::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// The number of an API. The constants are the APIs that we speak; other numbers survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey(pub i16);

impl ApiKey {
    /// Kafka's name, `Fetch`; `Unknown` for a number that no Kafka up to 4.4 has used.
    pub fn name(self) -> &'static str {
        match Api::of(self) {
            Some(api) => api.name(),
            None => self.name_between_brokers().unwrap_or("Unknown"),
        }
    }

    /// The name of an API that only brokers and controllers speak with each other: older brokers offer some of these to everybody.
    fn name_between_brokers(self) -> Option<&'static str> {
        Some(match self.0 {
            4 => "LeaderAndIsr",
            5 => "StopReplica",
            6 => "UpdateMetadata",
            7 => "ControlledShutdown",
            52 => "Vote",
            53 => "BeginQuorumEpoch",
            54 => "EndQuorumEpoch",
            56 => "AlterPartition",
            58 => "Envelope",
            59 => "FetchSnapshot",
            62 => "BrokerRegistration",
            63 => "BrokerHeartbeat",
            67 => "AllocateProducerIds",
            70 => "ControllerRegistration",
            73 => "AssignReplicasToDirs",
            82 => "UpdateRaftVoter",
            _ => return None,
        })
    }

    /// The versions we speak.
    pub fn versions(self) -> Option<VersionRange> {
        Api::of(self).map(|api| api.request.schema.versions)
    }
}

/// `Fetch`, or `Api(123)` for one without a name.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "Unknown" => write!(f, "Api({})", self.0),
            name => f.write_str(name),
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
    /// The row of this API; `None` for one that we do not speak.
    pub fn of(key: ApiKey) -> Option<&'static Api> {
        let apis = crate::messages::APIS;
        apis.binary_search_by_key(&key, |api| api.key)
            .ok()
            .map(|at| &apis[at])
    }

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

#[cfg(test)]
mod tests {
    use super::ApiKey;

    #[test]
    fn every_number_that_kafka_has_used_has_a_name() {
        let nameless: Vec<i16> = (0..95)
            .filter(|key| ApiKey(*key).name() == "Unknown")
            .collect();
        assert_eq!(nameless, [] as [i16; 0]);
        assert_eq!(ApiKey(6).to_string(), "UpdateMetadata");
        assert_eq!(ApiKey(999).to_string(), "Api(999)");
    }
}
