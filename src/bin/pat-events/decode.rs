//! `pat-events decode`: what bytes say. In: frames of the protocol as they were captured, or one message, Kafka's or of any Protobuf, in hex or as they
//! are. Out: a JSON object for each.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use protocol::api::{Api, Codec};
use protocol::frame::{self, LENGTH_BYTES, MAX_FRAME_BYTES};
use protocol::messages::{APIS, RequestHeader, ResponseHeader, codecs};
use protocol::{ApiKey, Decoder, Message, MessageSchema, json};

use crate::Outcome;
use crate::hex::unhex;
use crate::messages::{self, MessageFiles};

/// Print captured frames as JSON: requests, unless told otherwise; or a message of any Protobuf (--proto).
///
/// A frame is four bytes of length, a header, a message; several may follow one another. Bytes are taken as they are, or as hex when they
/// are nothing but hexadecimal digits, white space, colons and dashes.
#[derive(Args)]
pub struct Decode {
    /// The bytes in hex.
    hex: Option<String>,
    /// Read this file; without it and without bytes on the command line, the standard input.
    #[arg(short, long, conflicts_with = "hex")]
    file: Option<PathBuf>,
    /// The frames are responses to requests of this API and version, such as Fetch:12 or 1:12.
    #[arg(short, long, value_name = "API:VERSION", value_parser = response)]
    response: Option<(&'static Api, i16)>,
    /// The bytes are a message alone, without length and header: one of Kafka's, such as MetadataResponse:13 or ConsumerProtocolAssignment:3; with
    /// --proto or --descriptor-set one of those, such as shop.v1.Order.
    #[arg(short, long, value_name = "MESSAGE", conflicts_with = "response")]
    message: Option<String>,
    #[command(flatten)]
    files: MessageFiles,
}

impl Decode {
    pub fn run(&self) -> Outcome {
        let bytes = match &self.hex {
            Some(hex) => from_hex(hex.as_bytes())
                .ok_or("these are no bytes in hex: two digits for each byte are")?,
            None => {
                let read = read(self.file.as_deref())?;
                from_hex(&read).unwrap_or(read)
            }
        };
        self.print(bytes.into(), &mut io::stdout())
    }

    fn print(&self, bytes: Bytes, out: &mut impl Write) -> Outcome {
        if bytes.is_empty() {
            return Err("there are no bytes to decode".into());
        }
        if self.files.are_given() {
            let message = self.files.load()?.message(self.message.as_deref())?;
            let told = messages::read(message, &bytes)?;
            return Ok(writeln!(out, "{told:#}")?);
        }
        if let Some(name) = &self.message {
            let (codec, version) = message(name)?;
            return Ok(writeln!(
                out,
                "{}",
                json::render(codec.schema, version, bytes)?
            )?);
        }
        let mut at = 0;
        while at < bytes.len() {
            let told = frame_at(&bytes, at).and_then(|frame| {
                let end = at + LENGTH_BYTES + frame.len();
                let text = match self.response {
                    Some((api, version)) => response_frame(api, version, frame)?,
                    None => request_frame(frame)?,
                };
                Ok((text, end))
            });
            let (text, end) = told.map_err(|error| format!("the frame at byte {at}: {error}"))?;
            writeln!(out, "{text}")?;
            at = end;
        }
        Ok(())
    }
}

/// The frame whose length stands at byte `at`, without the length.
fn frame_at(bytes: &Bytes, at: usize) -> Outcome<Bytes> {
    let rest = bytes.slice(at..);
    let prefix = rest
        .first_chunk::<LENGTH_BYTES>()
        .ok_or("four bytes of length should stand here; --message takes a message without them")?;
    let length = frame::frame_length(*prefix, MAX_FRAME_BYTES)?;
    let there = rest.len() - LENGTH_BYTES;
    if length > there {
        let message =
            "bytes should follow, as its length says; --message takes a message without a length";
        return Err(format!("{length} {message}. {there} do").into());
    }
    Ok(rest.slice(LENGTH_BYTES..LENGTH_BYTES + length))
}

fn request_frame(frame: Bytes) -> Outcome<String> {
    let mut input = Decoder::new(frame.clone());
    let header = frame::decode_request_header(&mut input)?;
    let (key, version) = (ApiKey(header.request_api_key), header.request_api_version);
    let api =
        Api::of(key).ok_or_else(|| format!("a request of API {}, which is unknown", key.0))?;
    in_range(&api.request, version)?;
    let flexible = version >= api.request.schema.first_flexible;
    let header = (
        RequestHeader::schema(),
        frame::request_header_version(flexible),
    );
    whole(api, &api.request, version, header, frame, input.position())
}

fn response_frame(api: &Api, version: i16, frame: Bytes) -> Outcome<String> {
    let mut input = Decoder::new(frame.clone());
    frame::decode_response_header(&mut input, api.key, version)?;
    let flexible = version >= api.response.schema.first_flexible;
    let header = (
        ResponseHeader::schema(),
        frame::response_header_version(api.key, flexible),
    );
    whole(api, &api.response, version, header, frame, input.position())
}

/// A frame as JSON: API, version, header, and the message, which starts at byte `body`.
fn whole(
    api: &Api,
    codec: &Codec,
    version: i16,
    (header, header_version): (&MessageSchema, i16),
    frame: Bytes,
    body: usize,
) -> Outcome<String> {
    let header = json::render(header, header_version, frame.slice(..body))?;
    let (message, spare) = json::render_first(codec.schema, version, frame.slice(body..))
        .map_err(|error| format!("{error} of the message, in version {version}"))?;
    // Kafka and we ignore them; whoever looks at a frame wants to know.
    let spare = match spare.remaining() {
        0 => String::new(),
        bytes => format!(",\n  \"spare_bytes\": {bytes}"),
    };
    // A line break in a string is written \n: these are between fields.
    let [header, message] = [header, message].map(|text| text.replace('\n', "\n  "));
    Ok(format!(
        "{{\n  \"api\": \"{}\",\n  \"version\": {version},\n  \"header\": {header},\n  \"message\": {message}{spare}\n}}",
        api.name()
    ))
}

fn in_range(codec: &Codec, version: i16) -> Result<(), String> {
    let MessageSchema { name, versions, .. } = codec.schema;
    match versions.contains(version) {
        true => Ok(()),
        false => Err(format!("{name} has versions {versions}, and no {version}")),
    }
}

/// Reads `Fetch:12` or `1:12`.
fn response(text: &str) -> Result<(&'static Api, i16), String> {
    let (name, version) = name_and_version(text, "Fetch:12")?;
    let api = APIS
        .iter()
        .find(|api| api.name().eq_ignore_ascii_case(name) || name.parse() == Ok(api.key.0))
        .ok_or_else(|| {
            format!("no API is called {name:?}: use Kafka's name or number, such as Fetch or 1")
        })?;
    in_range(&api.response, version)?;
    Ok((api, version))
}

/// Reads `FetchResponse:12`.
fn message(text: &str) -> Result<(&'static Codec, i16), String> {
    let (name, version) = name_and_version(text, "FetchResponse:12")?;
    let codec = codecs()
        .find(|codec| codec.schema.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            format!("no message is called {name:?}: use Kafka's name, such as FetchResponse")
        })?;
    in_range(codec, version)?;
    Ok((codec, version))
}

fn name_and_version<'a>(text: &'a str, example: &str) -> Result<(&'a str, i16), String> {
    text.split_once(':')
        .and_then(|(name, version)| Some((name, version.parse().ok()?)))
        .ok_or_else(|| format!("expected a name, a colon and a version, such as {example}"))
}

/// The bytes that `text` says in hex, as people write it; `None` when it is something else.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let passed_over = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b':' | b'-');
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !passed_over(byte))
        .collect();
    unhex(&digits)
}

/// All that a file or the standard input holds.
fn read(file: Option<&Path>) -> Outcome<Vec<u8>> {
    let (name, mut input): (_, Box<dyn Read>) = match file {
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
            (name, Box::new(file))
        }
        None => ("standard input".to_owned(), Box::new(io::stdin())),
    };
    let mut bytes = Vec::new();
    input
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use protocol::messages::{HeartbeatRequest, HeartbeatResponse};
    use protocol::{ErrorCode, Message};
    use serde_json::Value;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        decode: Decode,
    }

    fn decoded(options: &[&str], bytes: &[u8]) -> Outcome<Vec<Value>> {
        let line = Line::try_parse_from([&["decode"], options].concat())?;
        let mut printed = Vec::new();
        line.decode.print(bytes.to_vec().into(), &mut printed)?;
        let objects = serde_json::Deserializer::from_slice(&printed).into_iter();
        Ok(objects.collect::<Result<_, _>>()?)
    }

    fn error(options: &[&str], bytes: &[u8]) -> String {
        decoded(options, bytes).expect_err("an error").to_string()
    }

    fn request(version: i16, correlation_id: i32) -> Vec<u8> {
        let request = HeartbeatRequest {
            group_id: "inbox".to_owned(),
            generation_id: 7,
            ..Default::default()
        };
        let frame = frame::encode_request(version, correlation_id, Some("me"), &request);
        frame.expect("a request").concat()
    }

    #[test]
    fn frames_one_after_the_other_are_printed_with_their_headers() {
        let printed = decoded(&[], &[request(0, 1), request(4, 2)].concat()).expect("frames");
        let of = |version: i16, correlation_id: i32| {
            let frame = printed.iter().find(|frame| frame["version"] == version);
            let frame = frame.expect("a frame of the version");
            assert_eq!(frame["api"], "Heartbeat");
            assert_eq!(frame["header"]["correlation_id"], correlation_id);
            assert_eq!(frame["header"]["client_id"], "me");
            assert_eq!(frame["message"]["group_id"], "inbox");
        };
        of(0, 1);
        of(4, 2);
        assert_eq!(printed.len(), 2);
    }

    #[test]
    fn a_response_is_read_as_the_api_and_version_that_were_asked() {
        let response = HeartbeatResponse {
            error_code: ErrorCode::REBALANCE_IN_PROGRESS,
            ..Default::default()
        };
        let bytes = frame::encode_response(4, 9, &response)
            .expect("a response")
            .concat();
        for name in ["Heartbeat:4", "heartbeat:4", "12:4"] {
            let printed = decoded(&["--response", name], &bytes).expect("a frame");
            assert_eq!(printed[0]["header"]["correlation_id"], 9);
            assert_eq!(
                printed[0]["message"]["error_code"],
                "REBALANCE_IN_PROGRESS (27)"
            );
        }
    }

    #[test]
    fn a_message_needs_no_frame() {
        let mut out = protocol::Encoder::new();
        HeartbeatResponse::default()
            .encode(&mut out, 0)
            .expect("a message");
        let printed = decoded(&["--message", "HeartbeatResponse:0"], &out.into_bytes());
        assert_eq!(printed.expect("a message")[0]["error_code"], "NONE (0)");
    }

    #[test]
    fn what_is_wrong_with_bytes_is_said_with_its_place() {
        let good = request(4, 1);
        let cut = error(&[], &[&good[..], &good[..10]].concat());
        assert!(
            cut.starts_with(&format!("the frame at byte {}: ", good.len())),
            "{cut}"
        );
        assert!(cut.ends_with("6 do"), "{cut}");
        assert!(error(&[], &[0, 0]).contains("four bytes of length"));
        assert!(error(&[], &[0xFF; 9]).contains("a length that is not negative"));
        assert!(error(&[], &[]).contains("no bytes"));
        let mut unknown = good.clone();
        unknown[LENGTH_BYTES..LENGTH_BYTES + 2].copy_from_slice(&999i16.to_be_bytes());
        assert!(error(&[], &unknown).contains("API 999, which is unknown"));
        unknown[LENGTH_BYTES..LENGTH_BYTES + 4].copy_from_slice(&[0, 12, 0, 99]);
        assert!(error(&[], &unknown).contains("HeartbeatRequest has versions 0-4, and no 99"));
        let bad = error(&["--message", "HeartbeatRequest:0"], &[0, 1, b'g', 0]);
        assert_eq!(
            bad,
            "malformed HeartbeatRequest.generation_id: expected 4 bytes at byte 3"
        );
    }

    #[test]
    fn a_name_or_version_that_is_none_is_refused_on_the_command_line() {
        let refused = |options: &[&str]| error(options, &[0]);
        assert!(refused(&["-r", "Fetsch:12"]).contains("no API is called \"Fetsch\""));
        assert!(
            refused(&["-r", "Fetch:99"]).contains("FetchResponse has versions 4-18, and no 99")
        );
        assert!(refused(&["-m", "Fetch:12"]).contains("no message is called"));
        assert!(refused(&["-m", "FetchRequest"]).contains("a colon and a version"));
        assert!(refused(&["-m", "FetchRequest:12", "-r", "1:12"]).contains("cannot be used with"));
    }

    #[test]
    fn hex_is_read_as_people_write_it_and_nothing_else_is_hex() {
        assert_eq!(
            from_hex(b"00:1f-aB \n09"),
            Some(vec![0x00, 0x1F, 0xAB, 0x09])
        );
        assert_eq!(from_hex(b"0x1f"), None);
        assert_eq!(from_hex(b"123"), None);
        assert_eq!(from_hex(&[0, 0, 0, 9]), None);
    }
}
