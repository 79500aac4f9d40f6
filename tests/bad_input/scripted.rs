//! A broker that answers as told: properly up to the records of one partition, or not properly at all.

use std::sync::Arc;

use bytes::Bytes;
use protocol::compression::{Compression, Compressor};
use protocol::frame;
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::*;
use protocol::records::{BatchBuilder, BatchHeader, HEADER_LEN, SealOptions};
use protocol::{ApiKey, Decoder, ErrorCode, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The only topic of the scripted broker; it has one partition.
pub const TOPIC: &str = "scripted";
/// Where the bytes that a batch's CRC covers start.
const CRC_FROM: usize = 21;

/// How to answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As a web server would.
    Http,
    /// Not at all.
    Nothing,
    /// With half a frame, and then no more.
    TruncatedFrame,
    /// With this length before a frame.
    FrameLength(i32),
    /// Properly, with these bytes as the partition's records.
    Batch(Vec<u8>),
    /// Properly, with this producer id and epoch.
    ProducerId(i64, i16),
}

/// A broker that listens until the test's runtime ends.
#[derive(Debug)]
pub struct Scripted {
    address: String,
}

impl Scripted {
    pub async fn start(answer: Answer) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), address.port()));
            }
        });
        Scripted {
            address: address.to_string(),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

/// A good batch of two records.
pub fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Vec::new());
    for value in ["one", "two"] {
        builder
            .append(1_700_000_000_000, None, Some(value.as_bytes()), [])
            .expect("there is room");
    }
    let mut compressor = Compressor::new(Compression::NONE);
    builder
        .seal(&SealOptions::default(), &mut compressor)
        .into_bytes()
        .into()
}

/// The good batch with these attributes and this number of records in its header, and a CRC that fits.
pub fn with_attributes_and_count(attributes: i16, record_count: i32) -> Vec<u8> {
    let mut bytes = batch();
    let header = bytes
        .first_chunk::<HEADER_LEN>()
        .expect("a batch has a header");
    let mut header = BatchHeader {
        attributes,
        record_count,
        last_offset_delta: record_count - 1,
        ..BatchHeader::read(header)
    };
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    header.crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    bytes
}

async fn serve(mut stream: TcpStream, answer: Arc<Answer>, port: u16) -> std::io::Result<()> {
    loop {
        let length = stream.read_u32().await?;
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await?;
        match &*answer {
            Answer::Http => {
                stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                    .await?;
                return Ok(());
            }
            Answer::Nothing => {}
            Answer::TruncatedFrame => {
                stream.write_all(&100u32.to_be_bytes()).await?;
                stream.write_all(&[0; 50]).await?;
                return Ok(());
            }
            Answer::FrameLength(length) => {
                stream.write_i32(*length).await?;
                // Stays open: only the length can tell.
                stream.read_u8().await?;
            }
            Answer::Batch(batch) => {
                let response = respond(Bytes::from(request), batch, (1, 0), port);
                write(&mut stream, response).await?;
            }
            Answer::ProducerId(id, epoch) => {
                let response = respond(Bytes::from(request), &[], (*id, *epoch), port);
                write(&mut stream, response).await?;
            }
        }
    }
}

async fn write(stream: &mut TcpStream, response: Vec<Bytes>) -> std::io::Result<()> {
    for segment in response {
        stream.write_all(&segment).await?;
    }
    Ok(())
}

/// The proper answer to a request.
fn respond(
    request: Bytes,
    batch: &[u8],
    (producer_id, producer_epoch): (i64, i16),
    port: u16,
) -> Vec<Bytes> {
    let mut input = Decoder::new(request);
    let header = frame::decode_request_header(&mut input).expect("our client's header");
    let (version, id) = (header.request_api_version, header.correlation_id);
    match ApiKey(header.request_api_key) {
        // Any version that the client begins with is answered in the one that every client reads.
        ApiKey::API_VERSIONS => encode(0, id, &api_versions(version)),
        ApiKey::METADATA => {
            let request = frame::decode_body(&mut input, version).expect("our client's request");
            input.finish().expect("nothing after the request");
            encode(version, id, &metadata(&request, port))
        }
        ApiKey::LIST_OFFSETS => encode(version, id, &list_offsets()),
        ApiKey::FETCH => encode(version, id, &fetch(batch)),
        ApiKey::INIT_PRODUCER_ID => {
            let given = InitProducerIdResponse {
                producer_id,
                producer_epoch,
                ..Default::default()
            };
            encode(version, id, &given)
        }
        other => panic!("nobody asks the scripted broker for {other:?}"),
    }
}

fn encode<R: Response>(version: i16, id: i32, response: &R) -> Vec<Bytes> {
    frame::encode_response(version, id, response).expect("a message of ours")
}

fn api_versions(version: i16) -> ApiVersionsResponse {
    let api = |key: ApiKey, min_version, max_version| ApiVersion {
        api_key: key.0,
        min_version,
        max_version,
        ..Default::default()
    };
    ApiVersionsResponse {
        error_code: if version == 0 {
            ErrorCode::NONE
        } else {
            ErrorCode::UNSUPPORTED_VERSION
        },
        api_keys: vec![
            api(ApiKey::API_VERSIONS, 0, 0),
            api(ApiKey::METADATA, 4, 9),
            api(ApiKey::LIST_OFFSETS, 1, 6),
            api(ApiKey::FETCH, 4, 11),
            api(ApiKey::PRODUCE, 3, 8),
            api(ApiKey::INIT_PRODUCER_ID, 0, 1),
        ],
        ..Default::default()
    }
}

/// This broker, and the topics that were asked for: one of them exists.
fn metadata(request: &MetadataRequest, port: u16) -> MetadataResponse {
    let asked = request
        .topics
        .iter()
        .flatten()
        .filter_map(|topic| topic.name.clone());
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".to_owned(),
            port: port.into(),
            ..Default::default()
        }],
        controller_id: 1,
        topics: asked.map(topic).collect(),
        ..Default::default()
    }
}

fn topic(name: String) -> MetadataResponseTopic {
    if name != TOPIC {
        let error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        return MetadataResponseTopic {
            error_code,
            name: Some(name),
            ..Default::default()
        };
    }
    let partition = MetadataResponsePartition {
        leader_id: 1,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    };
    MetadataResponseTopic {
        name: Some(name),
        partitions: vec![partition],
        ..Default::default()
    }
}

fn list_offsets() -> ListOffsetsResponse {
    ListOffsetsResponse {
        topics: vec![ListOffsetsTopicResponse {
            name: TOPIC.to_owned(),
            partitions: vec![ListOffsetsPartitionResponse {
                offset: 0,
                timestamp: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch(batch: &[u8]) -> FetchResponse {
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: TOPIC.to_owned(),
            partitions: vec![PartitionData {
                high_watermark: 10,
                last_stable_offset: 10,
                log_start_offset: 0,
                records: Some(Bytes::copy_from_slice(batch)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}
