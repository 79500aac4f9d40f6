//! Writes the seed corpora: samples of every message and version, and record batches of every codec. In: nothing. Out: a folder
//! per target in `fuzz/corpus`, with files named after what they hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pat_events::events::codec::HasAvroSchema;
use pat_events::events::email::{
    EmailValidated, EventMeta, TenantEvent, TenantSuspended, ValidationResult, tenant_event,
};
use protocol::api::Codec;
use protocol::compression::{self, Compressor};
use protocol::frame::{request_header_version, response_header_version};
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::{
    APIS, ApiVersionsRequest, ApiVersionsResponse, BLOBS, RequestHeader, ResponseHeader,
    SaslAuthenticateResponse, SaslHandshakeResponse,
};
use protocol::records::{BatchBuilder, ControlRecord, HEADER_LEN, SealOptions, assign_offsets};
use protocol::{ApiKey, Encoder, Message, sample};

const SAMPLES: u64 = 4;

fn main() -> io::Result<()> {
    let mut written = avro()? + schema_frames()?;
    for (index, api) in APIS.iter().enumerate() {
        let versions = api.request.schema.versions;
        for version in versions.iter() {
            let choice = [index as u8, (version - versions.min) as u8];
            for seed in 0..SAMPLES {
                let name = format!("{}-{version}-{seed}", api.name());
                let (request, response) = (
                    made(&api.request, version, seed),
                    made(&api.response, version, seed),
                );
                written += write("requests", &name, &[&choice[..], &request].concat())?;
                written += write("responses", &name, &[&choice[..], &response].concat())?;
                let flexible = version >= api.request.schema.first_flexible;
                let header = RequestHeader {
                    request_api_key: api.key.0,
                    request_api_version: version,
                    client_id: Some("seed".to_owned()),
                    ..Default::default()
                };
                let frame = frame(&header, request_header_version(flexible), &request);
                written += write(
                    "frames",
                    &format!("request-{name}"),
                    &[&[0][..], &frame].concat(),
                )?;
                let flexible = version >= api.response.schema.first_flexible;
                let header_version = response_header_version(api.key, flexible);
                let frame = self::frame(&ResponseHeader::default(), header_version, &response);
                written += write(
                    "frames",
                    &format!("response-{name}"),
                    &[&[1][..], &choice, &frame].concat(),
                )?;
            }
        }
    }
    for (index, codec) in BLOBS.iter().enumerate() {
        let versions = codec.schema.versions;
        for (version, seed) in versions
            .iter()
            .flat_map(|version| (0..SAMPLES).map(move |seed| (version, seed)))
        {
            let choice = [index as u8, (version - versions.min) as u8];
            let name = format!("{}-{version}-{seed}", codec.schema.name);
            written += write(
                "group_blobs",
                &name,
                &[&choice[..], &made(codec, version, seed)].concat(),
            )?;
        }
    }
    let abort = ControlRecord::Abort {
        coordinator_epoch: 7,
    };
    let commit = ControlRecord::Commit {
        coordinator_epoch: 7,
    };
    for (name, kind, text) in [
        (
            "token",
            0,
            r#"{"access_token":"e30.eyJleHAiOjIwMDB9.c2ln","token_type":"Bearer","expires_in":600}"#,
        ),
        ("jwt", 1, "e30.eyJleHAiOjIwMDB9.c2ln"),
        (
            "template",
            2,
            r#"{"header":{"kid":"k"},"payload":{"team":["a"]}}"#,
        ),
        ("signature", 3, "0\u{6}\u{2}\u{1}\u{5}\u{2}\u{1}\u{7}"),
        (
            "metadata",
            4,
            r#"{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00.1Z"}"#,
        ),
        (
            "sts",
            5,
            "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00+01:00</Expiration></Credentials>",
        ),
        (
            "profiles",
            6,
            "[default]\naws_access_key_id = A # mine\n[profile \"b c\"]\nrole_arn=arn\n  nested = 1\n",
        ),
        ("url", 7, "https://[::1]:9/token?a=b#c"),
    ] {
        let kind: u8 = kind;
        written += write(
            "token_answers",
            name,
            &[&[kind][..], text.as_bytes()].concat(),
        )?;
    }
    for (name, record) in [
        ("abort", abort),
        ("commit", commit),
        ("other", ControlRecord::Other { kind: 2 }),
    ] {
        let value = record.marker_value().unwrap_or_default();
        let key = record.key();
        written += write(
            "control_records",
            name,
            &[&[key.len() as u8][..], &key, &value].concat(),
        )?;
    }
    written += security_text()?;
    written += sasl_frames()?;
    written += batches()?;
    written += segments()?;
    println!("{written} seeds in {}", corpus("*").display());
    Ok(())
}

/// Files of a data directory: whole, and with what is left of a write that was cut off.
fn segments() -> io::Result<usize> {
    let mut segment = Vec::new();
    for index in 0..3i64 {
        let mut builder = BatchBuilder::new(Vec::new());
        for _ in 0..2 {
            builder
                .append(index, Some(b"key"), Some(b"value"), [])
                .map_err(io::Error::other)?;
        }
        let none = &mut Compressor::new(Default::default());
        let mut batch = builder
            .seal(&SealOptions::default(), none)
            .into_bytes()
            .to_vec();
        assign_offsets(&mut batch, 2 * index, 0).map_err(io::Error::other)?;
        segment.extend(batch);
    }
    let metadata = pat_events::broker::fuzzing::sample_metadata_log(&["a", "b"]);
    let mut written = 0;
    for (name, kind, bytes) in [
        ("last", 0, &segment[..]),
        ("last-torn", 0, &segment[..segment.len() - 7]),
        ("middle", 1, &segment[..]),
        ("metadata", 2, &metadata[..]),
        ("metadata-torn", 2, &metadata[..metadata.len() - 1]),
    ] {
        let kind: u8 = kind;
        written += write("segments", name, &[&[kind][..], bytes].concat())?;
    }
    Ok(written)
}

fn security_text() -> io::Result<usize> {
    let mut written = 0;
    for (name, kind, text) in [
        ("scram-256", 0, "r=N1,s=c2FsdA==,i=4096\nv=c2FsdA=="),
        ("scram-512", 1, "r=N1,s=c2FsdA==,i=4096\nv=c2FsdA=="),
        ("scram-refusal", 0, "e=unknown-user"),
        ("bearer", 2, "{\"status\":\"invalid_token\"}\n"),
        (
            "certificate",
            3,
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ),
        (
            "key",
            3,
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ),
        (
            "encrypted",
            3,
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        ),
        (
            "plain",
            4,
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a\" password='b\\'';",
        ),
        (
            "token",
            4,
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=a password=b tokenauth=\"true\";",
        ),
        (
            "properties",
            5,
            "# how\nclient.id = a\\\n  b\nsecurity.protocol:SASL_SSL\nsasl.mechanism\tPLAIN\n\\u0061=1\n",
        ),
    ] {
        let kind: u8 = kind;
        let bytes = [&[kind][..], text.as_bytes()].concat();
        written += write("security_text", name, &bytes)?;
    }
    Ok(written)
}

/// What brokers of several ages say to ApiVersions, SaslHandshake and SaslAuthenticate.
fn sasl_frames() -> io::Result<usize> {
    let mut written = 0;
    for (name, authenticate, lifetime) in [("old", 0, 0), ("new", 2, 5_000)] {
        let range = |api_key: ApiKey, max_version| ApiVersion {
            api_key: api_key.0,
            min_version: 0,
            max_version,
            ..Default::default()
        };
        let versions = ApiVersionsResponse {
            api_keys: vec![
                range(ApiKey::API_VERSIONS, 4),
                range(ApiKey::SASL_HANDSHAKE, 1),
                range(ApiKey::SASL_AUTHENTICATE, authenticate),
            ],
            ..Default::default()
        };
        let handshake = SaslHandshakeResponse {
            mechanisms: vec!["PLAIN".to_owned()],
            ..Default::default()
        };
        let authenticated = SaslAuthenticateResponse {
            session_lifetime_ms: lifetime,
            ..Default::default()
        };
        let newest = ApiVersionsRequest::VERSIONS.max;
        let frames = [
            answer(1, &versions, newest, 0),
            answer(2, &handshake, 1, 0),
            answer(3, &authenticated, authenticate, i16::from(authenticate > 1)),
        ];
        written += write("sasl_frames", name, &frames.concat())?;
    }
    Ok(written)
}

/// The answer to the request with this correlation id.
fn answer<M: Message>(
    correlation_id: i32,
    message: &M,
    version: i16,
    header_version: i16,
) -> Vec<u8> {
    let header = ResponseHeader {
        correlation_id,
        ..Default::default()
    };
    let mut body = Encoder::new();
    message
        .encode(&mut body, version)
        .expect("a response can be encoded");
    frame(&header, header_version, &body.into_bytes())
}

/// Record batches, and the compressed records in them, of every codec.
fn batches() -> io::Result<usize> {
    let mut written = 0;
    for codec in compression::Codec::ALL {
        let mut compressor = Compressor::new(codec.into());
        for count in [1, 3, 200] {
            let mut batch = BatchBuilder::new(Vec::new());
            for index in 0..count {
                let value = format!("value {index} ").repeat(index as usize % 7);
                let headers = [("name", Some(value.as_bytes())), ("empty", None)];
                batch
                    .append(index * 40, Some(b"key"), Some(value.as_bytes()), headers)
                    .expect("room");
            }
            let sealed = batch.seal(&SealOptions::default(), &mut compressor);
            let name = format!("{codec}-{count}");
            written += write("record_batches", &name, sealed.bytes())?;
            if codec != compression::Codec::None {
                let target = format!("decompress_{codec}");
                written += write(&target, &name, &sealed.bytes()[HEADER_LEN..])?;
            }
        }
    }
    for (magic, codec) in [0, 1]
        .into_iter()
        .flat_map(|magic| compression::Codec::ALL.map(|codec| (magic, codec)))
    {
        let set = message_set(magic, codec);
        written += write("record_batches", &format!("magic-{magic}-{codec}"), &set)?;
    }
    Ok(written)
}

/// A message set of magic 0 or 1, as clients before Kafka 0.11 wrote it: three messages, or one with a compressed set of three in it.
/// Nothing reads the checksum but what checks it alone.
fn message_set(magic: u8, codec: compression::Codec) -> Vec<u8> {
    let plain: Vec<u8> = (0..3)
        .flat_map(|offset| message(magic, compression::Codec::None, offset, b"value"))
        .collect();
    if codec == compression::Codec::None {
        return plain;
    }
    let mut packed = Vec::new();
    Compressor::new(codec.into())
        .compress(&plain, &mut packed)
        .expect("it can be compressed");
    message(magic, codec, 2, &packed)
}

fn message(magic: u8, codec: compression::Codec, offset: i64, value: &[u8]) -> Vec<u8> {
    let timestamp: &[u8] = if magic == 0 {
        &[]
    } else {
        &[0, 0, 1, 0x80, 0, 0, 0, 7]
    };
    let key = b"key";
    let body = [
        &[0, 0, 0, 0, magic, codec as u8][..],
        timestamp,
        &(key.len() as i32).to_be_bytes(),
        key,
        &(value.len() as i32).to_be_bytes(),
        value,
    ]
    .concat();
    [
        &offset.to_be_bytes()[..],
        &(body.len() as i32).to_be_bytes(),
        &body,
    ]
    .concat()
}

fn made(codec: &Codec, version: i16, seed: u64) -> Vec<u8> {
    sample::sample(codec.schema, version, &mut sample::random(seed)).to_vec()
}

fn frame<H: Message>(header: &H, version: i16, message: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.put_i32((header.size(version) + message.len()) as i32);
    header
        .encode(&mut out, version)
        .expect("a header can be encoded");
    out.put_slice(message);
    out.into_bytes().to_vec()
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// Events as their own schema writes them, and as one that the data brings along does.
fn avro() -> io::Result<usize> {
    let validated = EmailValidated {
        email_id: "e-1".into(),
        meta: Some(EventMeta {
            event_id: "ev-1".into(),
            ..Default::default()
        }),
        results: vec![ValidationResult::default(); 2],
        ..Default::default()
    };
    let tenant = TenantEvent {
        tenant_id: "t-1".into(),
        change: Some(tenant_event::Change::Suspended(TenantSuspended {
            detail: "unpaid".into(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let (own, other) = (EmailValidated::avro_schema(), TenantEvent::avro_schema());
    let mut written = 0;
    for (name, event) in [
        ("empty", EmailValidated::default()),
        ("validated", validated),
    ] {
        let data = own.encode(&event).expect("a schema of its own");
        written += write("avro", name, &[&[0][..], &data].concat())?;
    }
    let data = other.encode(&tenant).expect("a schema of its own");
    let short = r#"{"type": "record", "name": "TenantEvent", "namespace": "api.events.v1", "fields": [{"name": "tenant_id", "type": "string"}]}"#;
    for (name, schema, data) in [
        ("tenant", other.text(), &data[..]),
        ("short", short, &data[..4]),
        ("cut-off", other.text(), &data[..7]),
    ] {
        let bytes = [&[1][..], schema.as_bytes(), &[0], data].concat();
        written += write("avro", name, &bytes)?;
    }
    Ok(written)
}

/// Ids in front of the data and in a header, the place of the message behind them, and a file to find it in.
fn schema_frames() -> io::Result<usize> {
    let file = "syntax = \"proto3\"; package a.b; message C { message D { enum E { F = 0; } message G {} } } message H {}";
    let guid = [&[1][..], &[7; 16]].concat();
    let mut written = 0;
    for (name, header, data) in [
        ("first", &[][..], &b"\0\0\0\0\x07\0data"[..]),
        ("fourth", &[], b"\0\0\0\0\x07\x02\x08data"),
        ("within", &[], b"\0\0\0\0\x07\x04\x02\x04data"),
        ("named", &[], b"\0\0\0\0\x07\x03\x0a\x01Hdata"),
        ("cut-off", &[], b"\0\0\0\0\x07\x80"),
        ("guid", &guid, b"data"),
        ("guid-within", &[&guid[..], &[4, 2, 4]].concat(), b"data"),
        ("file", &[], file.as_bytes()),
    ] {
        let bytes = [&[header.len() as u8][..], header, data].concat();
        written += write("schema_frames", name, &bytes)?;
    }
    Ok(written)
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<usize> {
    let folder = corpus(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)?;
    Ok(1)
}
