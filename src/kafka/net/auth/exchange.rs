//! The seam between the handshake and a mechanism: the client's messages, and what the broker's mean.

use zeroize::Zeroizing;

use crate::kafka::Result;

/// The most messages that a broker may ask for: every mechanism needs fewer.
pub(in crate::kafka::net) const MAX_ROUNDS: usize = 6;

/// What comes after a message of the broker.
pub(in crate::kafka::net) enum Step {
    /// This message.
    Send(Zeroizing<Vec<u8>>),
    /// Nothing: the mechanism is through, and the broker has proved what it has to.
    Done,
}

/// One authentication on one connection.
pub(in crate::kafka::net) trait Exchange: Send {
    /// The client's first message.
    fn first(&mut self) -> Zeroizing<Vec<u8>>;

    /// What comes after the broker's message. An error ends the connection.
    fn next(&mut self, message: &[u8]) -> Result<Step>;
}
