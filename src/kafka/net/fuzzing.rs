//! The way of the fuzz targets to what reads a broker's bytes before requests are carried, and certificates and keys. Built with
//! `--cfg fuzzing` alone.

use std::io::Cursor;

use super::auth::Authenticator;
pub use super::auth::fuzzing::{answers, exchange};
use super::frame_reader::FrameReader;
use super::handshake::Handshake;
use super::{Address, BoxStream, FramePool, tls};
use crate::kafka::config::Secret;
use crate::kafka::config::security::{Pem, SaslMechanism, SecurityProtocol, TlsConfig};
use crate::kafka::runtime::Mutex;
use crate::kafka::{ClientConfig, Random};

/// Reads `text` as certificates and a key.
pub fn pem(text: &str) {
    let config = TlsConfig {
        certificates: Some(Pem::text(text)),
        ..TlsConfig::default()
    };
    drop(tls::identity(&config));
}

/// Connects to a broker that says `data`, whatever it is asked.
pub fn handshake(data: &[u8]) {
    let mut config = ClientConfig::default();
    config.security.protocol = SecurityProtocol::SaslPlaintext;
    let sasl = &mut config.security.sasl;
    sasl.mechanism = Some(SaslMechanism::Plain);
    sasl.login.username = Some("u".to_string());
    sasl.login.password = Some(Secret::new("p"));
    let authenticator = Authenticator::new(&config);
    let random = Mutex::new(Random::seeded(1));
    let (address, data) = (Address::new("kafka", 9092), Cursor::new(data.to_vec()));
    let mut stream: BoxStream = Box::new(tokio::io::join(data, tokio::io::sink()));
    let mut reader = FrameReader::new(FramePool::default(), config.max_frame_bytes);
    let mut handshake = Handshake::new(&mut stream, &mut reader, &config.client_id, &address);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let handshake = handshake.run(authenticator.as_ref(), &random);
    drop(runtime.expect("a runtime").block_on(handshake));
}
