//! SaslHandshake and SaslAuthenticate: the client says who it is (KIP-43, KIP-152, KIP-368).

use protocol::ErrorCode;
use protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::cluster::Cluster;
use crate::broker::security::SaslReply;
use crate::broker::server::Connection;

impl Api for SaslHandshakeRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<SaslHandshakeResponse> {
        let security = &context.cluster.security;
        let error_code = context.connection.session().handshake(
            &self.mechanism,
            context.version,
            security,
            Instant::now(),
        );
        let mechanisms = match error_code {
            ErrorCode::ILLEGAL_SASL_STATE => Vec::new(),
            _ => security
                .mechanisms()
                .map(|it| it.name().to_owned())
                .collect(),
        };
        Reply::Message(SaslHandshakeResponse {
            error_code,
            mechanisms,
            ..Default::default()
        })
    }
}

impl Api for SaslAuthenticateRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<SaslAuthenticateResponse> {
        let answered = authenticate(&self.auth_bytes, context.cluster, context.connection);
        Reply::Message(match answered {
            Ok(reply) => SaslAuthenticateResponse {
                auth_bytes: reply.message.into(),
                session_lifetime_ms: i64::try_from(reply.lifetime.as_millis()).unwrap_or(i64::MAX),
                ..Default::default()
            },
            Err((error_code, message)) => SaslAuthenticateResponse {
                error_code,
                error_message: Some(message),
                ..Default::default()
            },
        })
    }
}

/// Takes a mechanism's message, in a request or as it is.
pub(super) fn authenticate(
    message: &[u8],
    cluster: &Cluster,
    connection: &Connection,
) -> Result<SaslReply, (ErrorCode, String)> {
    connection.session().authenticate(
        message,
        &cluster.security,
        &cluster.random,
        Instant::now(),
        cluster.settings.wall_clock.now_ms(),
    )
}
