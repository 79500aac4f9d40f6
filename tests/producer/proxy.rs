//! Between a producer and the broker: answers to Produce and InitProducerId that are made up, changed or cut short on the way.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pat_events::broker::Broker;
use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{Address, Transport};
use protocol::compression::Decompressor;
use protocol::messages::ProduceRequest;
use protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use protocol::records::BatchIter;
use protocol::{ApiKey, Decoder, ErrorCode, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// What happens to a request.
pub enum Meddling {
    /// Nothing.
    None,
    /// The broker is not asked; this is its answer.
    Instead(ProduceResponse),
    /// The answer's bytes, without their length, are changed.
    Changed(fn(&mut Vec<u8>)),
    /// The connection ends in the middle of the answer.
    CutShort,
    /// The broker is asked so much later, and what follows on the connection as well.
    Late(Duration),
}

/// A request on its way.
pub struct Asked {
    pub api: ApiKey,
    pub version: i16,
    correlation_id: i32,
    body: Decoder,
}

impl Asked {
    fn read(request: &[u8]) -> Asked {
        let mut body = Decoder::new(Bytes::copy_from_slice(request));
        let header = frame::decode_request_header(&mut body).expect("a request's header");
        Asked {
            api: ApiKey(header.request_api_key),
            version: header.request_api_version,
            correlation_id: header.correlation_id,
            body,
        }
    }

    /// The Produce request, if it is one.
    pub fn produce(&self) -> Option<ProduceRequest> {
        (self.api == ApiKey::PRODUCE).then(|| {
            frame::decode_body(&mut self.body.clone(), self.version).expect("a Produce request")
        })
    }
}

type Rule = dyn FnMut(&Asked) -> Meddling + Send;

/// Dials the broker, through a rule about each request.
#[derive(Clone)]
pub struct Proxy {
    broker: Broker,
    rule: Arc<Mutex<Rule>>,
}

impl Proxy {
    pub fn new(broker: &Broker, rule: impl FnMut(&Asked) -> Meddling + Send + 'static) -> Proxy {
        Proxy {
            broker: broker.clone(),
            rule: Arc::new(Mutex::new(rule)),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy")
    }
}

impl Transport for Proxy {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let dialled = self.broker.dial(address.host(), address.port());
        let rule = self.rule.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(1 << 20);
            // However it ends, the client sees the end of its stream.
            tokio::spawn(relay(far, dialled?, rule));
            Ok(Box::new(near) as BoxStream)
        })
    }
}

/// One request after the other.
async fn relay(
    mut client: DuplexStream,
    mut broker: DuplexStream,
    rule: Arc<Mutex<Rule>>,
) -> io::Result<()> {
    loop {
        let request = read_frame(&mut client).await?;
        let asked = Asked::read(&request);
        let meddling = (rule.lock().expect("no panic"))(&asked);
        if let Meddling::Instead(response) = meddling {
            let answer = frame::encode_response(asked.version, asked.correlation_id, &response);
            for segment in answer.expect("a response") {
                client.write_all(&segment).await?;
            }
            continue;
        }
        if let Meddling::Late(by) = meddling {
            tokio::time::sleep(by).await;
        }
        write_frame(&mut broker, &request).await?;
        let mut answer = read_frame(&mut broker).await?;
        match meddling {
            Meddling::Changed(change) => change(&mut answer),
            Meddling::CutShort => {
                client.write_u32(answer.len() as u32).await?;
                return client.write_all(&answer[..answer.len() / 2]).await;
            }
            _ => {}
        }
        write_frame(&mut client, &answer).await?;
    }
}

async fn read_frame(stream: &mut DuplexStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(stream: &mut DuplexStream, frame: &[u8]) -> io::Result<()> {
    stream.write_u32(frame.len() as u32).await?;
    stream.write_all(frame).await
}

/// A refusal of each of the request's batches, with what `say` makes of it.
pub fn refusal(
    request: &ProduceRequest,
    code: ErrorCode,
    say: impl Fn(&mut PartitionProduceResponse),
) -> ProduceResponse {
    let partition = |index| {
        let mut refused = PartitionProduceResponse {
            index,
            error_code: code,
            base_offset: -1,
            ..Default::default()
        };
        say(&mut refused);
        refused
    };
    let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| partition(data.index))
            .collect(),
        ..Default::default()
    });
    ProduceResponse {
        responses: topics.collect(),
        ..Default::default()
    }
}

/// Refuses, as Kafka does, a batch with a record that is wrong, for INVALID_RECORD; `names` them (KIP-467), or keeps silent. Requests must
/// have one batch each.
pub fn refusing_records(
    code: ErrorCode,
    names: bool,
    is_wrong: impl Fn(&[u8]) -> bool + Send + 'static,
) -> impl FnMut(&Asked) -> Meddling + Send + 'static {
    let mut decompressor = Decompressor::default();
    move |asked| {
        let Some(request) = asked.produce() else {
            return Meddling::None;
        };
        let batches: Vec<_> = request
            .topic_data
            .iter()
            .flat_map(|topic| &topic.partition_data)
            .filter_map(|data| data.records.clone())
            .collect();
        assert_eq!(batches.len(), 1, "one batch a request");
        let batch = BatchIter::strict(batches[0].clone())
            .next()
            .expect("a batch")
            .expect("whole");
        let decoded = batch.decode(&mut decompressor, 64 << 20).expect("readable");
        let wrong: Vec<i32> = (0..)
            .zip(decoded.records())
            .filter(|(_, record)| {
                let record = record.as_ref().expect("a record");
                is_wrong(record.value.unwrap_or_default())
            })
            .map(|(place, _)| place)
            .collect();
        if wrong.is_empty() {
            return Meddling::None;
        }
        let response = refusal(&request, code, |refused| {
            refused.error_message = Some("One or more records have been rejected".to_string());
            if names {
                let named = wrong.iter().map(|place| BatchIndexAndErrorMessage {
                    batch_index: *place,
                    batch_index_error_message: Some(format!("record {place} is wrong")),
                    ..Default::default()
                });
                refused.record_errors = named.collect();
            }
        });
        Meddling::Instead(response)
    }
}
