//! A small HTTP/1.1 client for what stands beside the brokers: token endpoints, metadata services, schema registries. In: a request. Out: a response of a bounded
//! length, or an error that names the URL and the status and shows no secret.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `client` | one request, one connection; repetitions |
//! | `stream` | our byte stream, as hyper wants it |
//! | `url` | scheme, address and path |

mod client;
#[cfg(test)]
pub(in crate::kafka::net) mod stand_in;
mod stream;
mod url;

pub(crate) use client::{HttpClient, HttpRequest, Retries};
#[cfg(feature = "prometheus")]
pub(crate) use stream::HyperStream;
pub(crate) use url::{Url, encode};
