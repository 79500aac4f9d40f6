//! What a version can and cannot say: fields it lacks, nulls, tagged fields. In: messages by hand. Out: bytes, or errors
//! that name the message, the field and the version.

use bytes::Bytes;
use pat_kafka_protocol::api::decode_all;
use pat_kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FindCoordinatorRequest,
    HeartbeatRequest, JoinGroupRequest, MetadataRequest, OffsetCommitRequest,
    metadata_request::MetadataRequestTopic,
};
use pat_kafka_protocol::{DecodeError, EncodeError, Encoder, Message};

fn encoded<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut out = Encoder::new();
    message.encode(&mut out, version)?;
    assert_eq!(out.len(), message.size(version), "size and encode agree");
    Ok(out.into_bytes())
}

fn decoded<M: Message>(bytes: &[u8], version: i16) -> Result<M, DecodeError> {
    decode_all(Bytes::copy_from_slice(bytes), version)
}

#[test]
fn a_value_that_a_version_lacks_and_may_not_lose_is_refused_by_name() {
    let request = HeartbeatRequest {
        group_instance_id: Some("static".to_owned()),
        ..Default::default()
    };
    let error = encoded(&request, 2).unwrap_err();
    assert_eq!(
        (error.message(), error.field(), error.version()),
        ("HeartbeatRequest", "group_instance_id", 2)
    );
    assert!(encoded(&request, 3).is_ok());
}

#[test]
fn an_ignorable_value_is_left_out_of_versions_that_lack_it() {
    let request = JoinGroupRequest {
        rebalance_timeout_ms: 9,
        reason: Some("why".to_owned()),
        ..Default::default()
    };
    let back: JoinGroupRequest = decoded(&encoded(&request, 0).unwrap(), 0).unwrap();
    assert_eq!((back.rebalance_timeout_ms, back.reason), (-1, None));
}

#[test]
fn a_default_is_left_out_of_versions_that_lack_it() {
    let request = FetchRequest::default();
    assert_eq!(request.max_bytes, i32::MAX);
    for version in FetchRequest::VERSIONS.iter() {
        let back: FetchRequest = decoded(&encoded(&request, version).unwrap(), version).unwrap();
        assert_eq!(back, request, "v{version}");
    }
}

#[test]
fn null_is_refused_in_versions_that_cannot_say_it() {
    let all_topics = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let error = encoded(&all_topics, 0).unwrap_err();
    assert_eq!((error.field(), error.reason()), ("topics", "null"));
    assert!(encoded(&all_topics, 1).is_ok());

    let error = decoded::<MetadataRequest>(&[0xff; 4], 0).unwrap_err();
    assert_eq!((error.field(), error.offset()), ("topics", 0));

    let no_name = MetadataRequestTopic {
        name: None,
        ..Default::default()
    };
    let by_id = MetadataRequest {
        topics: Some(vec![no_name]),
        ..Default::default()
    };
    assert_eq!(encoded(&by_id, 9).unwrap_err().field(), "topics.name");
    assert!(encoded(&by_id, 10).is_ok());
}

#[test]
fn a_version_that_we_do_not_speak_is_refused() {
    let error = encoded(&OffsetCommitRequest::default(), 1).unwrap_err();
    assert_eq!(
        (error.message(), error.version()),
        ("OffsetCommitRequest", 1)
    );
    assert_eq!(
        decoded::<OffsetCommitRequest>(&[], 11)
            .unwrap_err()
            .message(),
        "OffsetCommitRequest"
    );
}

#[test]
fn a_string_is_at_most_32767_bytes_in_every_form() {
    let named = |length| FindCoordinatorRequest {
        key: "k".repeat(length),
        ..Default::default()
    };
    for version in [0, 3] {
        assert!(encoded(&named(32_767), version).is_ok());
        assert_eq!(encoded(&named(32_768), version).unwrap_err().field(), "key");
    }
}

#[test]
fn text_is_utf_8() {
    let error = decoded::<FindCoordinatorRequest>(&[0, 2, 0xc3, 0x28], 0).unwrap_err();
    assert_eq!(
        (error.field(), error.offset(), error.expected()),
        ("key", 2, "UTF-8")
    );
}

#[test]
fn any_byte_but_zero_is_true() {
    let request: MetadataRequest = decoded(&[0, 0, 0, 0, 7], 4).unwrap();
    assert!(request.allow_auto_topic_creation);
}

mod tagged_fields {
    use super::*;

    /// ApiVersionsRequest v3: two empty strings, then the tagged fields.
    fn with_tags(tags: &[u8]) -> Result<ApiVersionsRequest, DecodeError> {
        decoded(&[&[1, 1], tags].concat(), 3)
    }

    #[test]
    fn unknown_ones_are_kept_and_written_back_in_order() {
        let request = with_tags(&[2, 5, 1, b'a', 9, 2, b'b', b'c']).unwrap();
        let kept: Vec<_> = request
            .unknown_tagged_fields
            .iter()
            .map(|(tag, bytes)| (tag, bytes.to_vec()))
            .collect();
        assert_eq!(kept, [(5, b"a".to_vec()), (9, b"bc".to_vec())]);
        assert_eq!(
            &encoded(&request, 3).unwrap()[2..],
            [2, 5, 1, b'a', 9, 2, b'b', b'c']
        );
    }

    #[test]
    fn ascend_and_are_there_once() {
        assert!(with_tags(&[2, 5, 0, 5, 0]).is_err());
        assert!(with_tags(&[2, 5, 0, 4, 0]).is_err());
    }

    #[test]
    fn are_within_the_input() {
        assert!(with_tags(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
        assert!(with_tags(&[1, 5, 4, b'a']).is_err());
    }

    #[test]
    fn have_the_length_they_declare() {
        // Tag 1 of ApiVersionsResponse is an int64.
        let mut response = ApiVersionsResponse {
            finalized_features_epoch: 7,
            ..Default::default()
        };
        let bytes = encoded(&response, 3).unwrap();
        let at = bytes.len() - 10;
        assert_eq!(bytes[at..at + 2], [1, 8]);
        let mut longer = [&bytes[..], &[0]].concat();
        longer[at + 1] = 9;
        let error = decoded::<ApiVersionsResponse>(&longer, 3).unwrap_err();
        assert_eq!(error.expected(), "a tagged field of the length it declares");

        response.unknown_tagged_fields.insert(1, Bytes::new());
        let error = encoded(&response, 3).unwrap_err();
        assert_eq!(
            (error.message(), error.field()),
            ("ApiVersionsResponse", "finalized_features_epoch")
        );
    }

    #[test]
    fn known_and_unknown_ones_are_written_in_one_order() {
        let mut response = ApiVersionsResponse {
            finalized_features_epoch: 7,
            ..Default::default()
        };
        response
            .unknown_tagged_fields
            .insert(200, Bytes::from_static(b"z"));
        let bytes = encoded(&response, 3).unwrap();
        assert_eq!(decoded::<ApiVersionsResponse>(&bytes, 3).unwrap(), response);
    }

    #[test]
    fn do_not_exist_before_flexible_versions() {
        let mut request = HeartbeatRequest::default();
        request.unknown_tagged_fields.insert(0, Bytes::new());
        assert!(encoded(&request, 3).is_err());
        assert!(encoded(&request, 4).is_ok());
    }
}
