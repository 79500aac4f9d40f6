//! The id of a topic: what tells it from another topic that had, or gets, the same name.

use std::fmt;

use protocol::Uuid;

/// The id that a cluster gave a topic when it was created (KIP-516). A topic that is deleted and re-created under the same name has another
/// id, and offsets of the one mean nothing in the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(Uuid);

impl TopicId {
    /// The id of these 16 bytes; `None` for zeros, by which Kafka means that there is none.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        Self::known(Uuid(bytes))
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0.0
    }

    /// The id that a broker named, unless it is zero: brokers before Kafka 2.8 know of none.
    pub(crate) fn known(id: Uuid) -> Option<Self> {
        (id != Uuid::ZERO).then_some(Self(id))
    }

    /// As messages name it.
    pub(crate) fn uuid(self) -> Uuid {
        self.0
    }
}

/// As Kafka's tools print it: 22 characters of base64url.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
