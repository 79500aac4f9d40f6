//! From an address to a connection.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `address` | host and port, as text and back |
//! | `transport` | the seam to the network: an address becomes a byte stream |

mod address;
mod transport;

pub use address::Address;
pub use transport::{BoxFuture, BoxStream, Stream, TcpTransport, Transport};
