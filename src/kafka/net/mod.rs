//! The way to brokers: another transport, and a diagnosis of connections.
//!
//! [`Transport`] makes a byte stream of an address: TCP by default, anything else for
//! proxies and tests ([`ClientConfig::transport`](crate::kafka::ClientConfig)).
//! [`Diagnoser`] takes the steps of connecting one by one and says what each found:
//! the name, TCP, TLS, versions, SASL, the cluster. `pat-events check` prints that.

// | file | what lives there |
// | --- | --- |
// | `auth` | who the client is, said to a broker: SASL |
// | `connection` | one pipelined connection to one broker |
// | `diagnosis` | how far a connection gets, step by step |
// | `dialer` | from an address to a connection that carries requests |
// | `frame_pool` | buffers of long frames, recycled |
// | `frame_reader` | a byte stream becomes frames, no length trusted before its bytes are there |
// | `fuzzing` | the way of the fuzz targets to what reads bytes here |
// | `handshake` | what is said on a fresh stream before it carries requests |
// | `http` | a small HTTP client, for what stands beside the brokers (features `oauth-oidc`, `msk-iam` and `registry`) |
// | `peer` | recognises peers that are no Kafka broker |
// | `timeout` | how long a broker is told that it may take |
// | `tls` | encryption (feature `tls`, `tls-ring` or `tls-aws-lc-rs`) |
// | `transport` | the seam to the network: an address becomes a byte stream |
// | `versions` | which version of an API to speak |

mod auth;
mod connection;
mod diagnosis;
mod dialer;
mod frame_pool;
mod frame_reader;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod handshake;
// A registry's client repeats by itself, server by server.
#[cfg_attr(
    not(any(feature = "oauth-oidc", feature = "msk-iam")),
    allow(dead_code, unused_imports)
)]
#[cfg(feature = "http")]
pub(crate) mod http;
mod peer;
mod timeout;
#[cfg(feature = "tls-rustls")]
mod tls;
#[cfg(not(feature = "tls-rustls"))]
#[path = "tls_absent.rs"]
mod tls;
mod transport;
mod versions;

pub use crate::kafka::model::Address;
pub(crate) use auth::salted_password;
pub(crate) use connection::{Connection, MAX_REQUESTS, Pending, Written};
pub use diagnosis::{Diagnoser, Diagnosis, Finding, Stage, Step};
pub(crate) use dialer::Dialer;
pub(crate) use frame_pool::FramePool;
pub(crate) use timeout::broker_timeout_ms;
pub use transport::{BoxFuture, BoxStream, Stream, TcpTransport, Transport};
pub use versions::ApiVersions;
