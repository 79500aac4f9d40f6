//! The same bytes as an independent codec, the crate `kafka-protocol` (of Kafka 4.1): what we write it reads with nothing
//! left over, and writes again to the same bytes, which we read and write again. In: samples of every message that both
//! have. Out: counts of what was compared; what was not stands in [`LACKING`] and [`LACKING_BLOBS`].

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self as theirs, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable, VersionRange as TheirRange};
use pat_kafka_protocol::api::Codec;
use pat_kafka_protocol::messages::{APIS, BLOBS};
use pat_kafka_protocol::sample;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const CASES: u32 = 64;
/// How many (API, version, direction) and (header or blob, version) are compared.
const COMPARED: (usize, usize) = (531, 17);

const NEWER: &str = "newer than Kafka 4.1";
const NO_API: &str = "that crate has no such API";
const RESPONSE_ONLY: &str = "that crate has the version for the response only";
/// What is not compared, and why. Where nothing else is said, in both directions.
const LACKING: [(&str, &str); 21] = [
    ("ListOffsets v11", NEWER),
    ("OffsetCommitRequest v10", RESPONSE_ONLY),
    ("OffsetFetchRequest v10", RESPONSE_ONLY),
    ("ApiVersions v5", NEWER),
    ("InitProducerIdRequest v6", RESPONSE_ONLY),
    ("WriteTxnMarkers v2", NEWER),
    ("TxnOffsetCommit v6", NEWER),
    ("DescribeLogDirs v5", NEWER),
    ("DeleteGroups v3", NEWER),
    ("ShareFetch v2", NEWER),
    ("ShareAcknowledge v2", NEWER),
    ("AddRaftVoter v1", NEWER),
    ("WriteShareGroupState v1", NEWER),
    ("ReadShareGroupStateSummary v1", NEWER),
    ("StreamsGroupHeartbeat v0", NO_API),
    ("StreamsGroupHeartbeat v1", NO_API),
    ("StreamsGroupDescribe v0", NO_API),
    ("StreamsGroupDescribe v1", NO_API),
    ("DescribeShareGroupOffsets v1", NEWER),
    ("StreamsGroupTopologyDescriptionUpdate v0", NO_API),
    ("UnregisterController v0", NO_API),
];

const NO_BLOB: &str = "that crate has no such message";
const HIDDEN: &str = "the field `version` hides the version of the message in that code";
const LACKING_BLOBS: [(&str, &str); 5] = [
    ("ControlRecordTypeSchema v0", NO_BLOB),
    ("AbortedTxn v0", NO_BLOB),
    ("LeaderChangeMessage v0", HIDDEN),
    ("LeaderChangeMessage v1", HIDDEN),
    ("VotersRecord v0", HIDDEN),
];

/// Reads a message of this version and writes it again; the bytes that were not read stay in the input.
type Recode<'a> = &'a dyn Fn(&mut Bytes, i16) -> Result<BytesMut, String>;

#[test]
fn requests_and_responses_are_the_same_bytes() {
    let (mut triples, mut lacking) = (0, Vec::new());
    for api in APIS {
        let key = theirs::ApiKey::try_from(api.key.0).ok();
        for version in api.request.schema.versions.iter() {
            let Some(key) = key.filter(|key| has(key.valid_versions(), version)) else {
                lacking.push(format!("{} v{version}", api.name()));
                continue;
            };
            let request = |bytes: &mut Bytes, version| recode_request(key, bytes, version);
            let response = |bytes: &mut Bytes, version| recode_response(key, bytes, version);
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
    println!("kafka-protocol: {triples} of (API, version, direction), {CASES} cases each");
    assert_eq!(lacking, LACKING.map(|(name, _)| name));
    assert_eq!(triples, COMPARED.0);
}

#[test]
fn headers_and_blobs_are_the_same_bytes() {
    macro_rules! theirs {
        ($($Name:ident)*) => { [$((
            stringify!($Name),
            <theirs::$Name as kafka_protocol::protocol::Message>::VERSIONS,
            &recode::<theirs::$Name>,
        )),*] };
    }
    let theirs: [(&str, TheirRange, Recode<'_>); 9] = theirs! {
        RequestHeader ResponseHeader ConsumerProtocolSubscription ConsumerProtocolAssignment DefaultPrincipalData
        EndTxnMarker SnapshotHeaderRecord SnapshotFooterRecord KRaftVersionRecord
    };
    let (mut pairs, mut lacking) = (0, Vec::new());
    for codec in BLOBS {
        let name = codec.schema.name;
        for version in codec.schema.versions.iter() {
            let of_this =
                |(theirs, versions, _): &&(&str, _, _)| *theirs == name && has(*versions, version);
            if let Some((.., recode)) = theirs.iter().find(of_this) {
                same_bytes(codec, version, recode);
                pairs += 1;
            } else {
                lacking.push(format!("{name} v{version}"));
            }
        }
    }
    println!("kafka-protocol: {pairs} of (header or blob, version), {CASES} cases each");
    assert_eq!(lacking, LACKING_BLOBS.map(|(name, _)| name));
    assert_eq!(pairs, COMPARED.1);
}

fn has(versions: TheirRange, version: i16) -> bool {
    (versions.min..=versions.max).contains(&version)
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
