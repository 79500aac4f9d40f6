//! A receiver of OTLP over HTTP as the protocol has it, and exporters of OpenTelemetry's SDK that send to it.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::ReadBufCursor;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use pat_events::events::prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Where exporters send to, and what they sent.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    spans: Mutex<Vec<Span>>,
    metrics: Mutex<Vec<Metric>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Seen::default());
        let receiving = receive(listener, seen.clone());
        Self {
            address,
            seen,
            task: tokio::spawn(receiving),
        }
    }

    /// The SDK's exporter of spans.
    pub fn span_exporter(&self) -> SpanExporter {
        SpanExporter::builder()
            .with_http()
            .with_http_client(Blocking)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("http://{}/v1/traces", self.address))
            .build()
            .expect("an exporter")
    }

    /// The SDK's exporter of metrics.
    pub fn metric_exporter(&self) -> MetricExporter {
        MetricExporter::builder()
            .with_http()
            .with_http_client(Blocking)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("http://{}/v1/metrics", self.address))
            .build()
            .expect("an exporter")
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.seen.spans.lock().expect("no panic").clone()
    }

    /// The metrics that came since the last call.
    pub fn take_metrics(&self) -> Vec<Metric> {
        std::mem::take(&mut *self.seen.metrics.lock().expect("no panic"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(listener: TcpListener, seen: Arc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let seen = seen.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| respond(request, &seen));
            let server = hyper::server::conn::http1::Builder::new();
            // An exporter may go away in between.
            let _ = server.serve_connection(HyperStream(stream), answer).await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    seen: &Seen,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let path = request.uri().path().to_string();
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let answer = match &*path {
        "/v1/traces" => {
            let sent = ExportTraceServiceRequest::decode(body).expect("spans");
            for resource in sent.resource_spans {
                assert!(resource.resource.is_some());
                let scopes = resource.scope_spans.into_iter();
                let spans = scopes.flat_map(|scope| scope.spans);
                seen.spans.lock().expect("no panic").extend(spans);
            }
            ExportTraceServiceResponse::default().encode_to_vec()
        }
        "/v1/metrics" => {
            let sent = ExportMetricsServiceRequest::decode(body).expect("metrics");
            for resource in sent.resource_metrics {
                let scopes = resource.scope_metrics.into_iter();
                let metrics = scopes.flat_map(|scope| scope.metrics);
                seen.metrics.lock().expect("no panic").extend(metrics);
            }
            ExportMetricsServiceResponse::default().encode_to_vec()
        }
        other => panic!("{other}"),
    };
    let mut response = Response::new(Full::from(answer));
    let content_type = "application/x-protobuf".parse().expect("ASCII");
    response.headers_mut().insert("content-type", content_type);
    Ok(response)
}

/// What the exporters send with: their threads have no runtime.
#[derive(Debug)]
struct Blocking;

#[async_trait::async_trait]
impl HttpClient for Blocking {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let to = request.uri().authority().ok_or("an address")?.as_str();
        let mut head = format!("POST {} HTTP/1.1\r\nhost: {to}\r\n", request.uri().path());
        for (name, value) in request.headers() {
            head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
        }
        let body = request.body();
        head.push_str(&format!(
            "connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ));
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n");
        let end = end.ok_or("a head")?;
        let status = std::str::from_utf8(&answer[9..12])?.parse()?;
        let body = Bytes::copy_from_slice(&answer[end + 4..]);
        Ok(Response::builder().status::<u16>(status).body(body)?)
    }
}

/// The attribute of this name, as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => panic!("{other:?}"),
    })
}

struct HyperStream(tokio::net::TcpStream);

impl hyper::rt::Read for HyperStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut chunk = [0; 4_096];
        let room = buffer.remaining().min(chunk.len());
        let mut read = ReadBuf::new(&mut chunk[..room]);
        let result = Pin::new(&mut self.0).poll_read(cx, &mut read);
        buffer.put_slice(read.filled());
        result
    }
}

impl hyper::rt::Write for HyperStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
