//! Frames: a length of four bytes, a header, a message. For both sides of the wire.
//!
//! Reading starts after the length, with the bytes of one frame; the length itself is for whoever reads the socket, who
//! refuses it with [`frame_length`] before a byte of the frame is there.

use bytes::Bytes;

use crate::api::Api;
use crate::messages::{ApiVersionsResponse, RequestHeader, ResponseHeader};
use crate::wire::encoder::SEGMENT_BYTES;
use crate::{ApiKey, DecodeError, Decoder, EncodeError, Encoder, Message, Request, Response};

/// The longest frame taken unless configured otherwise: 100 MiB, as Kafka's `socket.request.max.bytes`.
pub const MAX_FRAME_BYTES: usize = 100 * 1024 * 1024;

/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 4;

/// The length of the frame that follows these four bytes; fails when it is negative or more than `max`.
pub fn frame_length(prefix: [u8; LENGTH_BYTES], max: usize) -> Result<usize, DecodeError> {
    match usize::try_from(i32::from_be_bytes(prefix)) {
        Ok(length) if length <= max => Ok(length),
        Ok(_) => Err(DecodeError::new(
            0,
            "a frame no longer than the configured maximum",
        )),
        Err(_) => Err(DecodeError::new(0, "a length that is not negative")),
    }
}

/// A request with its length and header, in segments to be written one after the other.
pub fn encode_request<R: Request>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<Vec<Bytes>, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.0,
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
        ..Default::default()
    };
    encode_frame(
        &header,
        request_header_version(version >= R::FIRST_FLEXIBLE),
        request,
        version,
    )
}

/// A response with its length and header, in segments to be written one after the other.
pub fn encode_response<R: Response>(
    version: i16,
    correlation_id: i32,
    response: &R,
) -> Result<Vec<Bytes>, EncodeError> {
    let header = ResponseHeader {
        correlation_id,
        ..Default::default()
    };
    encode_frame(
        &header,
        response_header_version(R::KEY, version >= R::FIRST_FLEXIBLE),
        response,
        version,
    )
}

/// Reads the header of a request; the message follows in `input`. An API or version that we do not speak still gives its
/// header: the first fields are the same in all of them.
pub fn decode_request_header(input: &mut Decoder) -> Result<RequestHeader, DecodeError> {
    let mut ahead = input.clone();
    let (key, version) = (ApiKey(ahead.get_i16()?), ahead.get_i16()?);
    let flexible = Api::of(key).is_some_and(|api| version >= api.request.schema.first_flexible);
    RequestHeader::decode(input, request_header_version(flexible))
}

/// Reads the header of a response to a request of this API and version, and gives its correlation id; the message
/// follows in `input`.
pub fn decode_response_header(
    input: &mut Decoder,
    key: ApiKey,
    version: i16,
) -> Result<i32, DecodeError> {
    let flexible = Api::of(key).is_some_and(|api| version >= api.response.schema.first_flexible);
    Ok(ResponseHeader::decode(input, response_header_version(key, flexible))?.correlation_id)
}

/// Reads a message. What the frame has after its end is ignored, as Kafka's Java classes do: some clients and brokers send spare bytes. The
/// tables are held to every byte by [`decode_all`](crate::api::decode_all).
pub fn decode_body<M: Message>(input: &mut Decoder, version: i16) -> Result<M, DecodeError> {
    M::decode(input, version)
}

/// Flexible requests have a header with tagged fields.
pub fn request_header_version(flexible: bool) -> i16 {
    if flexible { 2 } else { 1 }
}

/// Flexible responses have a header with tagged fields; not so ApiVersions, whose reader cannot know yet which version
/// the broker answered in (KIP-511).
pub fn response_header_version(key: ApiKey, flexible: bool) -> i16 {
    i16::from(flexible && key != <ApiVersionsResponse as Response>::KEY)
}

fn encode_frame<H: Message, M: Message>(
    header: &H,
    header_version: i16,
    message: &M,
    version: i16,
) -> Result<Vec<Bytes>, EncodeError> {
    let length = header.size(header_version) + message.size(version);
    let Ok(prefix) = i32::try_from(length) else {
        return Err(EncodeError::new(version, "more than 2147483647 bytes").of(M::NAME));
    };
    // Longer frames are mostly byte strings that get segments of their own.
    let mut out = Encoder::with_capacity(LENGTH_BYTES + length.min(SEGMENT_BYTES));
    out.put_i32(prefix);
    header.encode(&mut out, header_version)?;
    message.encode(&mut out, version)?;
    debug_assert_eq!(
        out.len(),
        LENGTH_BYTES + length,
        "size and encode of {} disagree",
        M::NAME
    );
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Uuid;
    use crate::api::decode_all;
    use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use crate::messages::{ApiVersionsRequest, ProduceRequest};

    fn produce(records: Bytes) -> ProduceRequest {
        let partition = PartitionProduceData {
            index: 7,
            records: Some(records),
            ..Default::default()
        };
        let topic = TopicProduceData {
            topic_id: Uuid::from_u128(9),
            partition_data: vec![partition],
            ..Default::default()
        };
        ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
            ..Default::default()
        }
    }

    #[test]
    fn a_request_is_read_back_by_the_other_side() {
        let request = produce(Bytes::from(vec![1; SEGMENT_BYTES + 1]));
        let frame = encode_request(13, 42, Some("me"), &request).unwrap();
        assert_eq!(frame.len(), 3, "records are a segment of their own");

        let bytes = Bytes::from(frame.concat());
        let length = frame_length(*bytes.first_chunk().unwrap(), MAX_FRAME_BYTES).unwrap();
        assert_eq!(length, bytes.len() - LENGTH_BYTES);
        let mut input = Decoder::new(bytes.slice(LENGTH_BYTES..));
        let header = decode_request_header(&mut input).unwrap();
        assert_eq!(
            (header.request_api_key, header.request_api_version),
            (ApiKey::PRODUCE.0, 13)
        );
        assert_eq!(
            (header.correlation_id, header.client_id.as_deref()),
            (42, Some("me"))
        );
        assert_eq!(
            decode_body::<ProduceRequest>(&mut input, 13).unwrap(),
            request
        );
    }

    #[test]
    fn the_header_of_an_api_versions_response_has_no_tags() {
        let frame = encode_response(3, 5, &ApiVersionsResponse::default())
            .unwrap()
            .concat();
        let mut input = Decoder::new(Bytes::from(frame).slice(LENGTH_BYTES..));
        assert_eq!(
            decode_response_header(&mut input, ApiKey::API_VERSIONS, 3).unwrap(),
            5
        );
        decode_body::<ApiVersionsResponse>(&mut input, 3).unwrap();
    }

    #[test]
    fn bytes_left_over_are_ignored_in_a_frame_and_an_error_in_a_message_alone() {
        let frame = encode_request(3, 1, None, &ApiVersionsRequest::default())
            .unwrap()
            .concat();
        let mut input = Decoder::new(Bytes::from([&frame[LENGTH_BYTES..], &[0]].concat()));
        decode_request_header(&mut input).unwrap();
        let start = input.position();
        decode_body::<ApiVersionsRequest>(&mut input, 3).unwrap();
        assert_eq!(input.remaining(), 1);
        let body = Bytes::from([&frame[LENGTH_BYTES..], &[0]].concat()).slice(start..);
        let error = decode_all::<ApiVersionsRequest>(body, 3).unwrap_err();
        assert_eq!(
            (error.message(), error.expected()),
            ("ApiVersionsRequest", "the end of the frame")
        );
    }

    #[test]
    fn a_value_that_the_version_lacks_is_refused_by_name() {
        let mut request = produce(Bytes::new());
        request.topic_data[0].partition_data[0]
            .unknown_tagged_fields
            .insert(3, Bytes::from_static(b"x"));
        let error = encode_request(8, 1, None, &request).unwrap_err();
        assert_eq!(
            (error.message(), error.field(), error.version()),
            ("ProduceRequest", "topic_data.partition_data", 8)
        );
    }

    #[test]
    fn a_malformed_field_is_named_with_its_place() {
        let error = ProduceRequest::decode(
            &mut Decoder::new(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 2, 9])),
            13,
        );
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed ProduceRequest.topic_data.topic_id: expected 16 bytes at byte 8"
        );
    }

    #[test]
    fn a_frame_length_is_refused_before_the_frame() {
        assert!(frame_length([0xff; 4], MAX_FRAME_BYTES).is_err());
        assert!(frame_length([0x7f, 0xff, 0xff, 0xff], MAX_FRAME_BYTES).is_err());
        assert_eq!(frame_length([0, 0, 1, 0], MAX_FRAME_BYTES).ok(), Some(256));
    }
}
