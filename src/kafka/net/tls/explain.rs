//! What a failed handshake means, and what to do.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use crate::kafka::error::sanitised;
use crate::kafka::net::Address;
use crate::kafka::runtime::calendar::utc;
use crate::kafka::{Error, ErrorKind};

/// How many of a certificate's names are told.
const NAMES_TOLD: usize = 5;

/// `error` of a stream to the broker at `address`, as what it means. Failures that another try will not mend are failures of
/// authentication; the others are lost connections.
pub(in crate::kafka::net) fn explain(address: &Address, error: io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner.map(|inner: &rustls::Error| meaning(address, inner)) {
        Some(message) => refused(&message, error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Error::new(
            ErrorKind::Disconnected,
            "TLS: the peer closed the connection in the handshake, as listeners for security.protocol = PLAINTEXT and SASL_PLAINTEXT do",
        )
        .closed_at_once(),
        None => Error::new(
            ErrorKind::Disconnected,
            "TLS: the connection was lost in the handshake",
        )
        .because(error),
    }
}

/// With what rustls says, where it says more.
fn refused(message: &str, error: io::Error) -> Error {
    use CertificateError as Wrong;
    let explained = Error::new(ErrorKind::Authentication, format!("TLS: {message}"));
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(
            Wrong::ExpiredContext { .. }
            | Wrong::NotValidYetContext { .. }
            | Wrong::NotValidForNameContext { .. }
            | Wrong::UnknownIssuer
            | Wrong::Revoked,
        )) => explained,
        _ => explained.because(error),
    }
}

/// As [`explain`], for a server that is no broker.
#[cfg(feature = "http")]
pub(super) fn explain_server(address: &Address, error: io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(inner) = inner else {
        let message = "TLS: the connection was lost in the handshake";
        return Error::new(ErrorKind::Disconnected, message).because(error);
    };
    let message = match inner {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is signed by nobody that is trusted: name who has signed it in https.ca.location".to_string()
        }
        rustls::Error::InvalidCertificate(
            error @ (CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }),
        ) => format!("the server's certificate is not for {}{}", address.host(), names(error)),
        rustls::Error::InvalidMessage(_) => "the server speaks no TLS: is its URL one of http?".to_string(),
        // What is left says nothing of options.
        rustls::Error::InvalidCertificate(error) => certificate(address, error).replace("broker", "server"),
        _ => "the handshake failed".to_string(),
    };
    refused(&message, error)
}

/// `error` of a stream on which TLS is through, if it means something of TLS: with TLS 1.3 the broker looks at the client's certificate
/// after that.
pub(in crate::kafka::net) fn explain_later(address: &Address, error: &io::Error) -> Option<Error> {
    let inner: &rustls::Error = error.get_ref()?.downcast_ref()?;
    let message = format!("TLS: {}", meaning(address, inner));
    Some(Error::new(ErrorKind::Authentication, message).because(inner.clone()))
}

fn meaning(address: &Address, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(address, error),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::MessageTooLarge) => {
            "the peer speaks no TLS: this is a listener for security.protocol = PLAINTEXT or SASL_PLAINTEXT, or no Kafka broker".to_string()
        }
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "the broker speaks none of the versions that ssl.enabled.protocols allows".to_string(),
        rustls::Error::PeerIncompatible(_) => {
            "the broker and this client have no way to encrypt in common: see ssl.cipher.suites and ssl.enabled.protocols of the broker".to_string()
        }
        rustls::Error::AlertReceived(alert) => refusal(*alert),
        _ => "the handshake failed".to_string(),
    }
}

fn certificate(address: &Address, error: &CertificateError) -> String {
    let host = address.host();
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the broker's certificate has expired, or the clock of this machine is wrong ({})",
            times(error)
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the broker's certificate is not valid yet, or the clock of this machine is wrong ({})",
            times(error)
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the broker's certificate is not for {host}{}: dial a name that is in it (advertised.listeners of the broker), or have one made \
             with that name; ssl.endpoint.identification.algorithm = (nothing) takes any host of a trusted signer",
            names(error)
        ),
        CertificateError::UnknownIssuer => {
            "the broker's certificate is signed by nobody that is trusted: name who has signed it in ssl.truststore.location (librdkafka: \
             ssl.ca.location)"
                .to_string()
        }
        CertificateError::Revoked => "the broker's certificate has been revoked".to_string(),
        _ => "the broker's certificate is not accepted".to_string(),
    }
}

/// What the broker does not like of us.
fn refusal(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the broker wants the client's certificate: set ssl.keystore.location, or ssl.keystore.certificate.chain and ssl.keystore.key"
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            "the broker does not accept the client's certificate: is it signed by whom the broker trusts, and valid today? Or it wants one and was shown none: then set \
             ssl.keystore.location"
        }
        AlertDescription::CertificateExpired => {
            "the client's certificate has expired, as the broker sees it: is the clock of either machine wrong?"
        }
        AlertDescription::CertificateRevoked => "the client's certificate has been revoked",
        AlertDescription::ProtocolVersion => {
            "the broker speaks none of the versions that ssl.enabled.protocols allows"
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "the broker refuses the handshake: it has no way to encrypt in common with this client, or wants the client's certificate and was shown \
             none: then set ssl.keystore.location"
        }
        AlertDescription::UnrecognisedName => "the broker does not know the host name that was dialled",
        _ => "the broker ended the handshake",
    }
    .to_string()
}

/// The time here and the one that the certificate has.
fn times(error: &CertificateError) -> String {
    let now = utc(UnixTime::now().as_secs());
    let at = |time: &UnixTime| utc(time.as_secs());
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("valid until {}, here it is {now}", at(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("valid from {}, here it is {now}", at(not_before))
        }
        _ => format!("here it is {now}"),
    }
}

/// Whom a certificate is for that is not for the host that was dialled.
fn names(error: &CertificateError) -> String {
    let CertificateError::NotValidForNameContext { presented, .. } = error else {
        return String::new();
    };
    // rustls writes them as `DnsName("kafka-1")`.
    let name = |it: &String| {
        let bare = it.split_once('(').map_or(&**it, |(_, name)| name);
        sanitised(bare.trim_end_matches(')').trim_matches('"'))
    };
    let told: Vec<_> = presented.iter().take(NAMES_TOLD).map(name).collect();
    match (told.is_empty(), presented.len() > NAMES_TOLD) {
        (true, _) => ", nor for any other name".to_string(),
        (false, more) => format!(
            ", but for {}{}",
            told.join(", "),
            if more { ", …" } else { "" }
        ),
    }
}
