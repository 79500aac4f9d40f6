//! Between connecting and using: what is said on a fresh byte stream before it carries requests: ApiVersions, then authentication. Encryption
//! comes before it.

use std::future::poll_fn;
use std::time::Duration;

use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use protocol::{Decoder, ErrorCode, Message, Request, frame};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::auth::{Authenticator, MAX_ROUNDS, Step};
use super::versions::BrokerVersions;
use super::{Address, BoxStream, frame_reader::FrameReader, tls};
use crate::kafka::error::{may_pass, sanitised};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Random, Result};

/// What part of a session's life a connection uses, at the least and at the most: drawn for each, so that they do not all end at once
/// (KIP-368).
const SESSION_USE: (f64, f64) = (0.85, 0.95);

/// What the handshake found.
#[derive(Debug)]
pub(super) struct Established {
    pub versions: BrokerVersions,
    /// When to take no more requests, because the broker wants to be told anew soon who the client is.
    pub expires: Option<Instant>,
}

/// A byte stream on which nothing is pipelined yet: one request, one response.
pub(super) struct Handshake<'a> {
    stream: &'a mut BoxStream,
    reader: &'a mut FrameReader,
    client_id: &'a str,
    address: &'a Address,
    correlation_id: i32,
}

impl<'a> Handshake<'a> {
    pub fn new(
        stream: &'a mut BoxStream,
        reader: &'a mut FrameReader,
        client_id: &'a str,
        address: &'a Address,
    ) -> Self {
        Self {
            stream,
            reader,
            client_id,
            address,
            correlation_id: 0,
        }
    }

    /// Does all that must be done. The caller sets the deadline; a stream on which it was not completed is of no use.
    pub async fn run(
        &mut self,
        authenticator: Option<&Authenticator>,
        random: &Mutex<Random>,
    ) -> Result<Established> {
        let versions = self.negotiate().await?;
        let expires = match authenticator {
            Some(authenticator) => self.authenticate(authenticator, &versions).await?,
            None => None,
        };
        let expires = expires.map(|life| {
            let (least, most) = SESSION_USE;
            Instant::now() + life.mul_f64(least + (most - least) * random.lock().fraction())
        });
        Ok(Established { versions, expires })
    }

    /// Says who the client is. Returns how long the broker believes it, if not for ever.
    pub async fn authenticate(
        &mut self,
        authenticator: &Authenticator,
        versions: &BrokerVersions,
    ) -> Result<Option<Duration>> {
        let who = authenticator.who();
        let explain = |error: Error| match error.kind() {
            ErrorKind::Authentication => error.prefixed(&format!("SASL {who}")),
            _ => error,
        };
        let mechanism = authenticator.mechanism().name();
        let request = SaslHandshakeRequest {
            mechanism: mechanism.to_string(),
            ..Default::default()
        };
        let version = versions.choose::<SaslHandshakeRequest>()?;
        let response = self.ask(&request, version).await?;
        match response.error_code {
            ErrorCode::NONE => {}
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let message = format!(
                    "the broker does not offer sasl.mechanism = {mechanism} on this listener; it offers {}",
                    sanitised(&response.mechanisms.join(", "))
                );
                return Err(
                    Error::new(ErrorKind::Authentication, message).api(SaslHandshakeRequest::KEY)
                );
            }
            ErrorCode::ILLEGAL_SASL_STATE => {
                let message = "the listener takes no SASL: it is one for security.protocol = PLAINTEXT or SSL";
                return Err(
                    Error::new(ErrorKind::Authentication, message).api(SaslHandshakeRequest::KEY)
                );
            }
            code => {
                return Err(explain(
                    Error::server(code, None).api(SaslHandshakeRequest::KEY),
                ));
            }
        }
        let mut exchange = authenticator.begin(self.address).await.map_err(explain)?;
        let version = versions.choose::<SaslAuthenticateRequest>()?;
        let mut message = exchange.first();
        for _ in 0..MAX_ROUNDS {
            let request = SaslAuthenticateRequest {
                auth_bytes: message.to_vec().into(),
                ..Default::default()
            };
            let response = self.ask(&request, version).await?;
            if response.error_code != ErrorCode::NONE {
                let said = Error::server(response.error_code, response.error_message.as_deref());
                return Err(explain(said.api(SaslAuthenticateRequest::KEY)));
            }
            let step = exchange.next(&response.auth_bytes);
            match step.map_err(|error| explain(error.api(SaslAuthenticateRequest::KEY)))? {
                Step::Send(next) => message = next,
                Step::Done => {
                    let life = u64::try_from(response.session_lifetime_ms).unwrap_or(0);
                    return Ok((life > 0).then(|| Duration::from_millis(life)));
                }
            }
        }
        let message = "the broker goes on asking and comes to no end";
        Err(explain(
            Error::new(ErrorKind::Authentication, message).api(SaslAuthenticateRequest::KEY),
        ))
    }

    /// Asks one question, when it is known that the broker speaks `version`.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let mut body = self.exchange(request, version).await?;
        frame::decode_body(&mut body, version).map_err(undecodable::<R>)
    }

    /// Asks what the broker speaks, in our newest version first. A broker that does not know that one answers in version 0, and since
    /// KIP-511 says which ones it knows.
    pub async fn negotiate(&mut self) -> Result<BrokerVersions> {
        let mut version = ApiVersionsRequest::VERSIONS.max;
        loop {
            let response = self.api_versions(version).await?;
            match response.error_code {
                ErrorCode::NONE => return BrokerVersions::of(&response),
                ErrorCode::UNSUPPORTED_VERSION if version > 0 => {
                    version = BrokerVersions::of(&response)?
                        .range(ApiVersionsRequest::KEY)
                        .map_or(0, |(_, newest)| newest.clamp(0, version - 1));
                }
                code => {
                    let said = Error::server(code, None);
                    let error = match may_pass(&said) {
                        // One bad answer: the next connection may get a better one.
                        true => {
                            let message = "the broker did not say what it speaks";
                            Error::new(ErrorKind::Connect, message).because(said)
                        }
                        false => said,
                    };
                    return Err(error.api(ApiVersionsRequest::KEY));
                }
            }
        }
    }

    async fn api_versions(&mut self, version: i16) -> Result<ApiVersionsResponse> {
        let request = ApiVersionsRequest {
            client_software_name: "pat-events".to_string(),
            client_software_version: env!("CARGO_PKG_VERSION").to_string(),
            ..Default::default()
        };
        let mut body = self.exchange(&request, version).await?;
        // The error code comes first in all versions.
        let refused = body.clone().get_i16().ok() == Some(ErrorCode::UNSUPPORTED_VERSION.0);
        let version = if refused { 0 } else { version };
        frame::decode_body(&mut body, version).map_err(undecodable::<ApiVersionsRequest>)
    }

    /// Sends a request and reads its response's body.
    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Decoder> {
        self.correlation_id += 1;
        let segments =
            frame::encode_request(version, self.correlation_id, Some(self.client_id), request)
                .map_err(unencodable::<R>)?;
        let address = self.address;
        let lost = |error: std::io::Error| {
            if let Some(meant) = tls::explain_later(address, &error) {
                return meant.api(R::KEY);
            }
            // What a listener does that sees no encryption: it hangs up, often before all is written.
            Error::new(
                ErrorKind::Disconnected,
                format!("the connection was lost in the handshake: {error}"),
            )
            .api(R::KEY)
            .closed_at_once()
        };
        for segment in segments {
            self.stream.write_all(&segment).await.map_err(lost)?;
        }
        self.stream.flush().await.map_err(lost)?;
        let frame = poll_fn(|cx| self.reader.poll_frame(cx, &mut *self.stream)).await;
        let frame = frame.map_err(|error| {
            let meant = error
                .io()
                .and_then(|error| tls::explain_later(address, error));
            match (meant, error.kind()) {
                (Some(meant), _) => meant.api(R::KEY),
                (None, ErrorKind::Disconnected) => error.api(R::KEY).closed_at_once(),
                (None, _) => error.api(R::KEY),
            }
        })?;
        let Some(frame) = frame else {
            let message = "the peer closed the connection in the handshake";
            let error = Error::new(ErrorKind::Disconnected, message);
            return Err(error.api(R::KEY).closed_at_once());
        };
        let mut body = Decoder::new(frame);
        let answered =
            frame::decode_response_header(&mut body, R::KEY, version).map_err(undecodable::<R>)?;
        if answered != self.correlation_id {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("the peer answered request {answered}, which nobody asked: is it a Kafka broker?"),
            )
            .api(R::KEY));
        }
        Ok(body)
    }
}

/// A response that is not what the protocol says.
pub(super) fn undecodable<R: Request>(error: protocol::DecodeError) -> Error {
    Error::new(ErrorKind::Protocol, "the broker's answer cannot be read")
        .api(R::KEY)
        .because(error)
}

/// A request that cannot be said in the version that was chosen.
pub(super) fn unencodable<R: Request>(error: protocol::EncodeError) -> Error {
    Error::new(
        ErrorKind::UnsupportedVersion,
        "the request cannot be said to this broker",
    )
    .api(R::KEY)
    .because(error)
}
