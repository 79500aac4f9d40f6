//! Between connecting and using: what is said on a fresh byte stream before it carries requests. ApiVersions today; encryption comes before
//! it, authentication after it.

use std::future::poll_fn;

use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::{Decoder, ErrorCode, Message, Request, frame};
use tokio::io::AsyncWriteExt;

use super::versions::BrokerVersions;
use super::{BoxStream, frame_reader::FrameReader};
use crate::kafka::error::may_pass;
use crate::kafka::{Error, ErrorKind, Result};

/// A byte stream on which nothing is pipelined yet: one request, one response.
pub(super) struct Handshake<'a> {
    stream: &'a mut BoxStream,
    reader: &'a mut FrameReader,
    client_id: &'a str,
    correlation_id: i32,
}

impl<'a> Handshake<'a> {
    pub fn new(stream: &'a mut BoxStream, reader: &'a mut FrameReader, client_id: &'a str) -> Self {
        Self {
            stream,
            reader,
            client_id,
            correlation_id: 0,
        }
    }

    /// Does all that must be done. The caller sets the deadline; a stream on which it was not completed is of no use.
    pub async fn run(&mut self) -> Result<BrokerVersions> {
        self.negotiate().await
    }

    /// Asks what the broker speaks, in our newest version first. A broker that does not know that one answers in version 0, and since
    /// KIP-511 says which ones it knows.
    async fn negotiate(&mut self) -> Result<BrokerVersions> {
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
        let lost = |error| {
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
        let frame = frame.map_err(|error| match error.kind() {
            ErrorKind::Disconnected => error.api(R::KEY).closed_at_once(),
            _ => error.api(R::KEY),
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
