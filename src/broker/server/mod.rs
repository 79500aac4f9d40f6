//! From the wire to a request: listeners and connections.
//!
//! - `listener`: one task for each node, which takes connections in and owns their tasks
//! - `connection`: frames in and out, and who is at the other end
//!
//! What a request does once it is read stands in `api`; who may do it, in `security`.

mod connection;
mod listener;

pub(crate) use connection::Connection;
pub(crate) use listener::{Command, IN_MEMORY_BUFFER_BYTES, Listener, run_node};
