//! The tampering broker: what stands between the client and an honest one, reads every frame both ways, counts requests, and tampers with responses.
//!
//! In: the client's dials. Out: byte streams that end at the embedded broker, with one tampering in its answers; and how often what was asked.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pat_events::broker::Broker;
use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{Address, Transport};
use protocol::api::Api;
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{JoinGroupResponse, ProduceRequest, ProduceResponse};
use protocol::{ApiKey, Decoder, ErrorCode, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::tamperer::{Tampered, Tamperer};
use crate::tampering::FrameTampering;
use crate::value;

/// How long an answer is on its way: so that time passes whatever a client does.
const LATENCY: Duration = Duration::from_millis(1);
/// The span over which requests are counted.
const SPAN: Duration = Duration::from_secs(2);
/// From so many requests of one API within the span on, answers take longer: what repeats itself without a pause has shown that it does.
const MANY: usize = 150;
const HELD_BACK: Duration = Duration::from_millis(20);

/// Stands for a dial where APIs are counted.
pub const DIAL: &str = "dial";

/// The way to the tampering broker.
#[derive(Clone, Debug)]
pub struct Proxy {
    broker: Broker,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    tamperer: Option<Tamperer>,
    first_applied: Option<Instant>,
    /// An answer asked for a pause of more than a second.
    has_throttled: bool,
    recent: BTreeMap<&'static str, VecDeque<Instant>>,
    counts: BTreeMap<&'static str, Count>,
    /// The answers that came, by API: their versions, and the places that had something in them.
    seen: BTreeMap<ApiKey, (i16, Vec<String>)>,
    surveying: bool,
}

/// How often something was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub total: usize,
    /// The most per second, over two seconds.
    pub worst_per_second: usize,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Proxy {
    pub fn new(broker: Broker, tamperer: Option<Tamperer>) -> Self {
        Self {
            broker,
            shared: Arc::new(Mutex::new(Shared {
                surveying: tamperer.is_none(),
                tamperer,
                first_applied: None,
                has_throttled: false,
                recent: BTreeMap::new(),
                counts: BTreeMap::new(),
                seen: BTreeMap::new(),
            })),
        }
    }

    /// No tampering from now on.
    pub fn heal(&self) {
        if let Some(tamperer) = &mut self.shared().tamperer {
            tamperer.stop();
        }
    }

    /// How often the tampering was applied.
    pub fn times_applied(&self) -> u64 {
        self.shared()
            .tamperer
            .as_ref()
            .map_or(0, |tamperer| tamperer.times_applied)
    }

    /// How often there was something to tamper with.
    pub fn met(&self) -> u64 {
        self.shared()
            .tamperer
            .as_ref()
            .map_or(0, |tamperer| tamperer.met)
    }

    /// Whether an answer asked for a long pause, as a tampering about it or by what was garbled.
    pub fn has_throttled(&self) -> bool {
        self.shared().has_throttled
    }

    /// When it was applied first.
    pub fn first_applied(&self) -> Option<Instant> {
        self.shared().first_applied
    }

    pub fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.shared().counts.clone()
    }

    /// For each API that was used: its version, and the fields that its answers had.
    pub fn seen(&self) -> BTreeMap<ApiKey, (i16, Vec<String>)> {
        self.shared().seen.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request; says how long its answer takes.
    fn count(&self, what: &'static str) -> Duration {
        let now = Instant::now();
        let mut shared = self.shared();
        let recent = shared.recent.entry(what).or_default();
        while recent.front().is_some_and(|at| now - *at > SPAN) {
            recent.pop_front();
        }
        recent.push_back(now);
        let within = recent.len();
        let count = shared.counts.entry(what).or_default();
        count.total += 1;
        count.worst_per_second = count.worst_per_second.max(within / SPAN.as_secs() as usize);
        if within > MANY { HELD_BACK } else { LATENCY }
    }

    fn answer(&self, asked: Asked, body: &Bytes) -> Tampered {
        let mut shared = self.shared();
        if shared.surveying {
            survey(&mut shared, asked, body);
        }
        let Some(tamperer) = &mut shared.tamperer else {
            return Tampered::Honest;
        };
        let tampered = tamperer.answer(asked.api, asked.version, body);
        if let Tampered::Message(body) = &tampered
            && is_throttle(asked, body)
        {
            shared.has_throttled = true;
        }
        if !matches!(tampered, Tampered::Honest) {
            shared.first_applied.get_or_insert_with(Instant::now);
        }
        tampered
    }

    /// Whether the connection ends instead of the request being applied.
    fn refuses(&self, api: ApiKey) -> bool {
        let mut shared = self.shared();
        let refuses = shared
            .tamperer
            .as_mut()
            .is_some_and(|tamperer| tamperer.refuses(api));
        if refuses {
            shared.first_applied.get_or_insert_with(Instant::now);
        }
        refuses
    }

    /// The code that the request is to be answered with, without being applied.
    fn unapplied(&self, api: ApiKey) -> Option<ErrorCode> {
        let mut shared = self.shared();
        let code = shared.tamperer.as_mut()?.unapplied(api);
        if code.is_some() {
            shared.first_applied.get_or_insert_with(Instant::now);
        }
        code
    }

    async fn relay<C, S>(self, client: C, server: S)
    where
        C: AsyncRead + AsyncWrite,
        S: AsyncRead + AsyncWrite,
    {
        let (from_client, to_client) = tokio::io::split(client);
        let (from_server, to_server) = tokio::io::split(server);
        let (asked, answered) = mpsc::unbounded_channel();
        // Whichever direction ends first ends both.
        tokio::select! {
            biased;
            _ = self.up(from_client, to_server, asked) => {}
            _ = self.down(from_server, to_client, answered) => {}
        }
    }

    async fn up(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        pending: mpsc::UnboundedSender<Pending>,
    ) -> io::Result<()> {
        loop {
            let request = read_frame(&mut from).await?;
            let mut input = Decoder::new(request.clone());
            let header = frame::decode_request_header(&mut input).map_err(io::Error::other)?;
            let asked = Asked {
                api: ApiKey(header.request_api_key),
                version: header.request_api_version,
                correlation_id: header.correlation_id,
            };
            let latency = self.count(asked.api.name());
            if self.refuses(asked.api) {
                sleep(latency).await;
                return Ok(());
            }
            let made = match self.unapplied(asked.api) {
                Some(code) => refusal(asked, input, code),
                None => None,
            };
            let is_made = made.is_some();
            let next = Pending {
                asked,
                latency,
                made,
            };
            if pending.send(next).is_err() {
                return Ok(());
            }
            if !is_made {
                to.write_all(&(request.len() as u32).to_be_bytes()).await?;
                to.write_all(&request).await?;
            }
        }
    }

    async fn down(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        mut pending: mpsc::UnboundedReceiver<Pending>,
    ) -> io::Result<()> {
        while let Some(next) = pending.recv().await {
            let Pending {
                asked,
                latency,
                made,
            } = next;
            if let Some(made) = made {
                sleep(latency).await;
                to.write_all(&made).await?;
                continue;
            }
            let response = read_frame(&mut from).await?;
            sleep(latency).await;
            let mut input = Decoder::new(response.clone());
            frame::decode_response_header(&mut input, asked.api, asked.version)
                .map_err(io::Error::other)?;
            let (header, body) = (
                response.slice(..input.position()),
                response.slice(input.position()..),
            );
            match self.answer(asked, &body) {
                Tampered::Honest => to.write_all(&framed(&header, &body)).await?,
                Tampered::Message(body) => to.write_all(&framed(&header, &body)).await?,
                Tampered::Frame(tampering, marks) => {
                    let body = &garbled(&body, &tampering);
                    if is_throttle(asked, body) {
                        self.shared().has_throttled = true;
                    }
                    let goes_on = tell(&mut to, &header, body, &tampering, &marks).await?;
                    if !goes_on {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// A request whose answer is awaited.
#[derive(Debug)]
struct Pending {
    asked: Asked,
    latency: Duration,
    /// The frame that it is answered with, where the broker was not asked.
    made: Option<Vec<u8>>,
}

impl Transport for Proxy {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (proxy, address) = (self.clone(), address.clone());
        Box::pin(async move {
            sleep(proxy.count(DIAL)).await;
            let dialled = proxy.broker.dial(address.host(), address.port());
            // As a system would say it: without the name.
            let server = dialled.map_err(|error| io::Error::from(error.kind()))?;
            let (client, near) = tokio::io::duplex(64 * 1024);
            tokio::spawn(proxy.relay(near, server));
            Ok(Box::new(client) as BoxStream)
        })
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let length = from.read_u32().await?;
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame.into())
}

fn framed(header: &[u8], body: &[u8]) -> Vec<u8> {
    let length = (header.len() + body.len()) as u32;
    [&length.to_be_bytes(), header, body].concat()
}

/// The message as the tampering garbles it.
fn garbled(body: &Bytes, tampering: &FrameTampering) -> Bytes {
    let FrameTampering::Garbled(seed) = tampering else {
        return body.clone();
    };
    let mut random = protocol::sample::random(*seed);
    let mut body = body.to_vec();
    for _ in 0..4.min(body.len()) {
        let at = (random() % body.len() as u64) as usize;
        body[at] = random() as u8;
    }
    body.into()
}

/// Whether the message asks for a pause of more than a second.
fn is_throttle(asked: Asked, body: &[u8]) -> bool {
    let schema = Api::of(asked.api).expect("an API of ours").response.schema;
    let body = Bytes::copy_from_slice(body);
    let Ok(message) = value::read(schema, asked.version, body) else {
        return false;
    };
    let fields = schema.body.fields.iter().zip(&message.fields);
    fields
        .filter(|(field, _)| field.name() == "throttle_time_ms")
        .any(|(_, value)| matches!(value, Some(value::Value::Integer(1_001..))))
}

/// Writes a frame as the tampering has it; false when the connection ends with it.
async fn tell(
    to: &mut (impl AsyncWrite + Unpin),
    header: &[u8],
    body: &[u8],
    tampering: &FrameTampering,
    marks: &[(String, usize)],
) -> io::Result<bool> {
    let mut frame = framed(header, body);
    let start = 4 + header.len();
    let mark = |name: &str| {
        let found = marks.iter().find(|(mark, _)| mark == name);
        start + found.expect("a field of this answer").1
    };
    match tampering {
        FrameTampering::CutBefore(name) => {
            to.write_all(&frame[..mark(name)]).await?;
            return Ok(false);
        }
        FrameTampering::ShortBefore(name) => {
            to.write_all(&framed(header, &body[..mark(name) - start]))
                .await?;
        }
        FrameTampering::CutAfter(bytes) => {
            to.write_all(&frame[..*bytes]).await?;
            return Ok(false);
        }
        FrameTampering::CutAtEnd => {
            to.write_all(&frame[..frame.len() - 1]).await?;
            return Ok(false);
        }
        FrameTampering::Slow => {
            for byte in &frame {
                sleep(LATENCY).await;
                to.write_all(&[*byte]).await?;
            }
        }
        FrameTampering::SlowThenSilent => {
            for byte in &frame[..frame.len() / 2] {
                sleep(LATENCY).await;
                to.write_all(&[*byte]).await?;
            }
            std::future::pending::<()>().await;
        }
        FrameTampering::Silent => std::future::pending().await,
        FrameTampering::Correlation(off) => {
            let id = i32::from_be_bytes(*frame[4..].first_chunk().expect("a correlation id"));
            frame[4..8].copy_from_slice(&id.wrapping_add(*off).to_be_bytes());
            to.write_all(&frame).await?;
        }
        FrameTampering::Twice => {
            to.write_all(&frame).await?;
            to.write_all(&frame).await?;
        }
        FrameTampering::CloseAfter => return Ok(false),
        FrameTampering::Length(length) => {
            frame[..4].copy_from_slice(&length.to_be_bytes());
            to.write_all(&frame).await?;
            std::future::pending::<()>().await;
        }
        FrameTampering::Spare => {
            let body = [body, &[0, 0, 0]].concat();
            to.write_all(&framed(header, &body)).await?;
        }
        FrameTampering::Http => {
            to.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await?;
            return Ok(false);
        }
        // One is told before the request is applied, one is a message, and what is garbled is so already.
        FrameTampering::CloseBefore | FrameTampering::Swapped | FrameTampering::Garbled(_) => {
            to.write_all(&frame).await?
        }
    }
    Ok(true)
}

/// The answer that refuses a request as a whole, for those APIs where it matters that a refused request was not applied.
fn refusal(asked: Asked, mut input: Decoder, code: ErrorCode) -> Option<Vec<u8>> {
    let Asked {
        api,
        version,
        correlation_id,
    } = asked;
    let frame = match api {
        ApiKey::PRODUCE => {
            let request: ProduceRequest = frame::decode_body(&mut input, version).ok()?;
            let topics = request.topic_data.into_iter();
            let responses = topics.map(|topic| TopicProduceResponse {
                name: topic.name,
                topic_id: topic.topic_id,
                partition_responses: topic
                    .partition_data
                    .into_iter()
                    .map(|partition| PartitionProduceResponse {
                        index: partition.index,
                        error_code: code,
                        base_offset: -1,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
            let response = ProduceResponse {
                responses: responses.collect(),
                ..Default::default()
            };
            frame::encode_response(version, correlation_id, &response)
        }
        ApiKey::JOIN_GROUP => {
            let response = JoinGroupResponse {
                error_code: code,
                generation_id: -1,
                member_id: "made-up".to_owned(),
                protocol_name: Some(String::new()),
                ..Default::default()
            };
            frame::encode_response(version, correlation_id, &response)
        }
        _ => return None,
    };
    Some(frame.expect("a response of this version").concat())
}

/// Notes which fields the answer has.
fn survey(shared: &mut Shared, asked: Asked, body: &Bytes) {
    let schema = Api::of(asked.api).expect("an API of ours").response.schema;
    let Ok(mut message) = value::read(schema, asked.version, body.clone()) else {
        return;
    };
    let (version, seen) = shared.seen.entry(asked.api).or_default();
    *version = asked.version;
    let search = value::Search {
        version: asked.version,
        first_only: false,
        make: false,
    };
    for place in value::places(schema, asked.version) {
        if !seen.contains(&place.name)
            && value::change(&mut message, &place, search, &mut |_| true) > 0
        {
            seen.push(place.name);
        }
    }
}
