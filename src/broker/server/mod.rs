//! From the wire to a request: listeners, connections, TLS.
//!
//! - `listener`: one task for each node, which takes connections in and owns their tasks
//! - `connection`: frames in and out, and who is at the other end
//! - `tls`: encryption, and whose certificate a client has (feature `tls`)
//!
//! What a request does once it is read stands in `api`; who may do it, in `security`.

mod connection;
mod listener;
#[cfg(feature = "tls-rustls")]
mod tls;

pub(crate) use connection::Connection;
pub(crate) use listener::{Command, IN_MEMORY_BUFFER_BYTES, Listener, run_node};
#[cfg(feature = "tls-rustls")]
pub(crate) use tls::Acceptor;
#[cfg(feature = "tls-rustls")]
pub use tls::BrokerTls;
