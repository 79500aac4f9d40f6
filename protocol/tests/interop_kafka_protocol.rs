//! The same bytes as an independent codec, the crate `kafka-protocol` (of Kafka 4.1): what we write it reads with nothing
//! left over, and writes again to the same bytes, which we read and write again. In: samples of every message that both
//! have. Out: counts of what was compared.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self as theirs, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable, VersionRange as TheirRange};
use pat_kafka_protocol::api::Codec;
use pat_kafka_protocol::messages::{APIS, BLOBS};
use pat_kafka_protocol::{VersionRange, sample};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const CASES: u32 = 64;

/// Reads a message of this version and writes it again; the bytes that were not read stay in the input.
type Recode<'a> = &'a dyn Fn(&mut Bytes, i16) -> Result<BytesMut, String>;

#[test]
fn requests_and_responses_are_the_same_bytes() {
    let (mut apis, mut triples) = (0, 0);
    let mut lacking = Vec::new();
    for api in APIS {
        let Ok(key) = theirs::ApiKey::try_from(api.key.0) else {
            lacking.push(api.name().to_owned());
            continue;
        };
        apis += 1;
        let request = |bytes: &mut Bytes, version| recode_request(key, bytes, version);
        let response = |bytes: &mut Bytes, version| recode_response(key, bytes, version);
        let ours = VersionRange::new(key.valid_versions().min, key.valid_versions().max);
        let Some(versions) = api.request.schema.versions.intersection(ours) else {
            continue;
        };
        for version in versions.iter() {
            let directions: [(&Codec, Recode<'_>); 2] =
                [(&api.request, &request), (&api.response, &response)];
            for (codec, recode) in directions {
                if lacks(codec, version, recode) {
                    lacking.push(format!("{} v{version}", codec.schema.name));
                } else {
                    same_bytes(codec, version, recode);
                    triples += 1;
                }
            }
        }
    }
    println!(
        "kafka-protocol: {apis} APIs, {triples} of (API, version, direction), {CASES} cases each"
    );
    println!("kafka-protocol lacks {}", lacking.join(", "));
}

#[test]
fn headers_and_blobs_are_the_same_bytes() {
    let mut pairs = 0;
    let mut blob = |name: &str, versions: TheirRange, recode: Recode<'_>| {
        let codec = BLOBS
            .iter()
            .find(|codec| codec.schema.name == name)
            .expect("a blob of this name");
        let range = VersionRange::new(versions.min, versions.max);
        for version in codec
            .schema
            .versions
            .intersection(range)
            .expect("common versions")
            .iter()
        {
            same_bytes(codec, version, recode);
            pairs += 1;
        }
    };
    macro_rules! blobs {
        ($($Name:ident)*) => { $(
            let versions = <theirs::$Name as kafka_protocol::protocol::Message>::VERSIONS;
            blob(stringify!($Name), versions, &recode::<theirs::$Name>);
        )* };
    }
    // Not LeaderChangeMessage and VotersRecord: their field `version` hides the version of the message in that code.
    blobs! {
        RequestHeader ResponseHeader ConsumerProtocolSubscription ConsumerProtocolAssignment DefaultPrincipalData
        EndTxnMarker SnapshotHeaderRecord SnapshotFooterRecord KRaftVersionRecord
    }
    println!("kafka-protocol: {pairs} of (header or blob, version), {CASES} cases each");
}

/// Whether they refuse a version of this message that they list for its API.
fn lacks(codec: &Codec, version: i16, recode: Recode<'_>) -> bool {
    let mut sample = sample::sample(codec.schema, version, &mut sample::random(0));
    recode(&mut sample, version)
        .is_err_and(|error| error.contains("specified version not supported"))
}

fn same_bytes(codec: &Codec, version: i16, recode: Recode<'_>) {
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&any::<u64>(), |seed| {
        let sample = sample::sample(codec.schema, version, &mut sample::random(seed));
        let ours = recode_ours(codec, sample, version)?;
        let mut input = ours.clone();
        let theirs = recode(&mut input, version)
            .map_err(|e| TestCaseError::fail(format!("{e} of {ours:02x?}")))?;
        prop_assert!(input.is_empty(), "{} bytes not read", input.len());
        prop_assert_eq!(&theirs[..], &ours[..]);
        prop_assert_eq!(recode_ours(codec, theirs.freeze(), version)?, ours);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{} v{version}: {error}", codec.schema.name);
    }
}

fn recode_ours(codec: &Codec, bytes: Bytes, version: i16) -> Result<Bytes, TestCaseError> {
    let encoded = (codec.recode)(bytes, version).map_err(|e| TestCaseError::fail(e.to_string()))?;
    encoded.map_err(|e| TestCaseError::fail(e.to_string()))
}

fn recode<M: Decodable + Encodable>(bytes: &mut Bytes, version: i16) -> Result<BytesMut, String> {
    let message = M::decode(bytes, version).map_err(|e| format!("{e:#}"))?;
    let mut out = BytesMut::new();
    message
        .encode(&mut out, version)
        .map_err(|e| format!("{e:#}"))?;
    Ok(out)
}

fn recode_request(
    key: theirs::ApiKey,
    bytes: &mut Bytes,
    version: i16,
) -> Result<BytesMut, String> {
    let message = RequestKind::decode(key, bytes, version).map_err(|e| format!("{e:#}"))?;
    let mut out = BytesMut::new();
    message
        .encode(&mut out, version)
        .map_err(|e| format!("{e:#}"))?;
    Ok(out)
}

fn recode_response(
    key: theirs::ApiKey,
    bytes: &mut Bytes,
    version: i16,
) -> Result<BytesMut, String> {
    let message = ResponseKind::decode(key, bytes, version).map_err(|e| format!("{e:#}"))?;
    let mut out = BytesMut::new();
    message
        .encode(&mut out, version)
        .map_err(|e| format!("{e:#}"))?;
    Ok(out)
}
