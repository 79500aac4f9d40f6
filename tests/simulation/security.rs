//! TLS and SASL: clients say who they are, sessions end every few seconds, and rights are no more than needed. In: the plan. Out: what broker
//! and clients are set to.

use std::time::Duration;

use pat_events::broker::{Acl, AclOperation, AclResource, BrokerBuilder, BrokerTls};
use pat_events::kafka::{ClientConfig, Pem};

use crate::plan::Security;

const USER: &str = "simulation";
const PASSWORD: &str = "simulated";
/// Setting up a connection takes as many answers more as there are messages more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

// Made by `../support/tls/renew`.
const AUTHORITY: &str = include_str!("../support/tls/authority.pem");
const CERTIFICATE: &str = include_str!("../support/tls/broker.pem");
const KEY: &str = include_str!("../support/tls/broker.key");

pub fn of_broker(security: &Security, mut builder: BrokerBuilder) -> BrokerBuilder {
    if security.tls {
        builder = builder.tls(BrokerTls::new(CERTIFICATE, KEY));
    }
    let builder = match security.mechanism {
        None => return builder,
        Some("PLAIN") => builder.sasl_plain(USER, PASSWORD),
        Some("SCRAM-SHA-256") => builder.scram_sha_256(USER, PASSWORD),
        Some(_) => builder.scram_sha_512(USER, PASSWORD),
    };
    let allow = |operation, resource| Acl::allow(format!("User:{USER}"), operation, resource);
    builder
        .max_session(security.session)
        .acl(allow(AclOperation::Read, AclResource::topic("*")))
        .acl(allow(AclOperation::Write, AclResource::topic("*")))
        .acl(allow(AclOperation::Read, AclResource::group("*")))
        .acl(allow(
            AclOperation::Write,
            AclResource::transactional_id("*"),
        ))
}

pub fn of_client(security: &Security, config: &mut ClientConfig) {
    let protocol = match (security.tls, security.mechanism.is_some()) {
        (false, false) => "PLAINTEXT",
        (true, false) => "SSL",
        (false, true) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    let mut set = |name, value| {
        config.set(name, value).expect("a property");
    };
    set("security.protocol", protocol);
    if let Some(mechanism) = security.mechanism {
        set("sasl.mechanism", mechanism);
        set("sasl.username", USER);
        set("sasl.password", PASSWORD);
    }
    config.security.tls.roots = Pem::text(AUTHORITY).into();
    config.connect_timeout = config.connect_timeout.max(CONNECT_TIMEOUT);
}
