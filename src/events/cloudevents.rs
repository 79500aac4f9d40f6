//! CloudEvents 1.0 on Kafka: attributes of an event as headers of its record.
//!
//! It is the Kafka binding in binary mode: the record's value is the event's data, its headers are the attributes. [`CloudEvent::parse`] reads
//! them from any record, whoever wrote it: it neither fails on what it does not know nor trusts what it does.

use std::error::Error;
use std::fmt;

use super::record::RawHeaders;
use crate::kafka::Random;
use crate::kafka::runtime::SharedRandom;
use crate::kafka::runtime::calendar::date_and_time;

/// What the header of every attribute begins with.
pub const PREFIX: &str = "ce_";
/// The version of CloudEvents that is written.
pub const SPEC_VERSION: &str = "1.0";

const CONTENT_TYPE: &str = "content-type";
/// Extensions: whose event it is, and the trace that it is part of (W3C Trace Context, by the CloudEvents extension for it).
pub(crate) const TENANT_ID: &str = "ce_tenantid";
pub(crate) const TRACEPARENT: &str = "ce_traceparent";
pub(crate) const TRACESTATE: &str = "ce_tracestate";

/// Whether a header of this name is one of those that [`CloudEvent::parse`] takes, each of which may be there once.
pub(crate) fn is_attribute(name: &str) -> bool {
    matches!(
        name.strip_prefix(PREFIX),
        Some("specversion" | "type" | "id" | "source" | "time" | "subject" | "dataschema")
    ) || name == CONTENT_TYPE
}

/// The attributes of an event, as they stood in a record's headers. Missing ones are `None`: only the type is needed to read an event, so
/// that events of others are not refused for their lack of manners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloudEvent<'a> {
    /// `ce_type`: what happened. `None`: the record is no CloudEvent in binary mode.
    pub event_type: Option<&'a str>,
    /// `ce_id`: unique together with the source.
    pub id: Option<&'a str>,
    /// `ce_source`: who says so, a URI reference.
    pub source: Option<&'a str>,
    /// `ce_time`: when, in RFC 3339, as it was sent.
    pub time: Option<&'a str>,
    /// `ce_subject`: what about, within the source.
    pub subject: Option<&'a str>,
    /// `ce_dataschema`: the schema of the data, a URI.
    pub data_schema: Option<&'a str>,
    /// `content-type`: the media type of the data.
    pub content_type: Option<&'a str>,
    /// The extension `ce_tenantid`: whose event it is.
    pub tenant_id: Option<&'a str>,
    /// The extension `ce_traceparent`: the trace that the event is part of, and its place there, as W3C Trace Context writes it.
    pub traceparent: Option<&'a str>,
    /// The extension `ce_tracestate`: what tracing systems add to it.
    pub tracestate: Option<&'a str>,
}

impl<'a> CloudEvent<'a> {
    /// Reads the attributes out of a record's headers. Takes anything: headers that are no attributes are passed over, as are extensions
    /// other than those named here (see [`Context::attribute`](super::Context::attribute)). An extension that is null or no UTF-8 counts as
    /// missing; of several the first counts.
    ///
    /// Fails when the headers cannot mean one thing: an attribute of the specification that is null, no UTF-8 or there twice, or a version other than 1.
    pub fn parse(
        headers: impl Iterator<Item = (impl AsRef<str>, Option<&'a [u8]>)>,
    ) -> Result<Self, CloudEventError> {
        let mut attributes = Attributes::default();
        for (name, value) in headers {
            attributes.take(name.as_ref().as_bytes(), text(value))?;
        }
        attributes.finish()
    }

    /// As [`parse`](Self::parse), for names as they were written: none of those that count needs to be looked at as text.
    pub(crate) fn parse_raw(headers: RawHeaders<'a>) -> Result<Self, CloudEventError> {
        let mut attributes = Attributes::default();
        for (name, _, text) in headers.texts() {
            attributes.take(name, text)?;
        }
        attributes.finish()
    }
}

/// The attributes that were found so far.
#[derive(Default)]
struct Attributes<'a> {
    event: CloudEvent<'a>,
    version: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// Takes a header by its value, as far as that is text.
    fn take(&mut self, name: &[u8], value: Option<&'a str>) -> Result<(), CloudEventError> {
        let event = &mut self.event;
        let (name, attribute) = match name {
            b"ce_specversion" => ("ce_specversion", &mut self.version),
            b"ce_type" => ("ce_type", &mut event.event_type),
            b"ce_id" => ("ce_id", &mut event.id),
            b"ce_source" => ("ce_source", &mut event.source),
            b"ce_time" => ("ce_time", &mut event.time),
            b"ce_subject" => ("ce_subject", &mut event.subject),
            b"ce_dataschema" => ("ce_dataschema", &mut event.data_schema),
            b"content-type" => (CONTENT_TYPE, &mut event.content_type),
            b"ce_tenantid" => {
                event.tenant_id = event.tenant_id.or(value);
                return Ok(());
            }
            b"ce_traceparent" => {
                event.traceparent = event.traceparent.or(value);
                return Ok(());
            }
            b"ce_tracestate" => {
                event.tracestate = event.tracestate.or(value);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let value = value.ok_or(CloudEventError::NotText(name))?;
        match attribute.replace(value) {
            Some(_) => Err(CloudEventError::Repeated(name)),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<CloudEvent<'a>, CloudEventError> {
        match self.version {
            Some(version) if !version.starts_with("1.") => Err(CloudEventError::Version),
            _ => Ok(self.event),
        }
    }
}

fn text(value: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(value?).ok()
}

/// Why headers are not those of a CloudEvent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloudEventError {
    /// The header of this name is null or no UTF-8.
    NotText(&'static str),
    /// The header of this name is there twice.
    Repeated(&'static str),
    /// `ce_specversion` is another than 1.
    Version,
}

impl fmt::Display for CloudEventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText(name) => write!(f, "the header {name} is null or not UTF-8"),
            Self::Repeated(name) => write!(f, "the header {name} is there more than once"),
            Self::Version => f.write_str("ce_specversion is not 1.0"),
        }
    }
}

impl Error for CloudEventError {}

/// The attributes of one event that is to be sent, as text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    id: [u8; 36],
    time: [u8; 24],
}

impl Envelope {
    /// An envelope with a new id, for an event that happened at `now_ms` (since 1970).
    pub(crate) fn new(ids: &Ids, now_ms: i64) -> Self {
        Self {
            id: ids.next(now_ms),
            time: rfc3339(now_ms),
        }
    }

    /// The id, unless the event has one of its own.
    pub(crate) fn id(&self) -> &str {
        // Hexadecimal digits and hyphens.
        std::str::from_utf8(&self.id).unwrap_or_default()
    }

    /// The headers of the event that every event has. `id` goes before the envelope's own.
    pub(crate) fn headers<'a>(
        &'a self,
        event_type: &'a str,
        source: &'a str,
        id: Option<&'a str>,
        content_type: &'a str,
    ) -> [(&'static str, &'a [u8]); 6] {
        [
            ("ce_specversion", SPEC_VERSION.as_bytes()),
            ("ce_type", event_type.as_bytes()),
            ("ce_id", id.map_or(&self.id[..], str::as_bytes)),
            ("ce_source", source.as_bytes()),
            ("ce_time", &self.time),
            (CONTENT_TYPE, content_type.as_bytes()),
        ]
    }
}

/// Makes ids: UUIDs of version 7 (RFC 9562), which sort by their time, their other 74 bits random. Takes no lock.
#[derive(Debug)]
pub(crate) struct Ids(SharedRandom);

impl Ids {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self(SharedRandom::new(random))
    }

    fn next(&self, now_ms: i64) -> [u8; 36] {
        let (high, low) = self.0.next();
        let time = (now_ms.max(0) as u128) & 0xFFFF_FFFF_FFFF;
        let id = time << 80
            | 0x7 << 76
            | u128::from(high & 0xFFF) << 64
            | 0b10 << 62
            | u128::from(low >> 2);
        hyphenated(id)
    }
}

fn hyphenated(id: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for byte in id.to_be_bytes() {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 0xF)];
        at += 2;
    }
    text
}

/// `2026-11-23T19:46:32.017Z`; the last moment of the year 9999 for later ones, as the form has no room for them, and 1970 for earlier ones.
fn rfc3339(now_ms: i64) -> [u8; 24] {
    const LAST_MS: i64 = 253_402_300_799_999;
    let now_ms = now_ms.clamp(0, LAST_MS);
    let (seconds, millis) = (now_ms / 1_000, now_ms % 1_000);
    let ((year, month, day), (hour, minute, second)) = date_and_time(seconds);
    let mut text = [0; 24];
    let mut digits = |at: usize, width: usize, mut number: i64| {
        for place in (at..at + width).rev() {
            text[place] = b'0' + (number % 10) as u8;
            number /= 10;
        }
    };
    digits(0, 4, year);
    digits(5, 2, month);
    digits(8, 2, day);
    digits(11, 2, hour);
    digits(14, 2, minute);
    digits(17, 2, second);
    digits(20, 3, millis);
    for (at, mark) in [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ] {
        text[at] = mark;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("ASCII")
    }

    #[test]
    fn times_are_written_in_rfc_3339() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (1_795_463_192_017, "2026-11-23T19:46:32.017Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1970-01-01T00:00:00.000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text(&rfc3339(ms)), expected);
        }
    }

    #[test]
    fn ids_are_uuids_of_version_7_that_differ_and_sort_by_time() {
        let ids = Ids::new(&mut Random::seeded(1));
        let mut seen = BTreeSet::new();
        for i in 0..10_000 {
            let id = ids.next(1_795_463_192_017);
            let id = text(&id).to_string();
            assert!(id.starts_with("01a209f2-1dd1-7"), "{id}");
            assert!(
                matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
                "{id}"
            );
            assert!(seen.insert(id), "id {i} is a repetition");
        }
        let later = ids.next(1_795_463_192_018);
        assert!(seen.iter().all(|id| id.as_str() < text(&later)));
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let one = Ids::new(&mut Random::seeded(3));
        let two = Ids::new(&mut Random::seeded(3));
        assert!((0..100).all(|_| one.next(5) == two.next(5)));
    }

    #[test]
    fn what_is_written_is_read() {
        let envelope = Envelope::new(&Ids::new(&mut Random::seeded(1)), 1_795_463_192_017);
        let headers = envelope.headers("a.B", "/mail", None, "application/json");
        let event = CloudEvent::parse(headers.iter().map(|(name, value)| (*name, Some(*value))));
        assert_eq!(
            event,
            Ok(CloudEvent {
                event_type: Some("a.B"),
                id: Some(text(&envelope.id)),
                source: Some("/mail"),
                time: Some("2026-11-23T19:46:32.017Z"),
                content_type: Some("application/json"),
                ..Default::default()
            })
        );
    }

    fn parse(
        headers: &'static [(&str, Option<&'static [u8]>)],
    ) -> Result<CloudEvent<'static>, CloudEventError> {
        CloudEvent::parse(headers.iter().copied())
    }

    #[test]
    fn headers_that_cannot_mean_one_thing_are_refused() {
        assert_eq!(
            parse(&[("ce_type", None)]),
            Err(CloudEventError::NotText("ce_type"))
        );
        assert_eq!(
            parse(&[("ce_id", Some(b"\xff"))]),
            Err(CloudEventError::NotText("ce_id"))
        );
        assert_eq!(
            parse(&[("ce_type", Some(b"a")), ("ce_type", Some(b"a"))]),
            Err(CloudEventError::Repeated("ce_type"))
        );
        assert_eq!(
            parse(&[("ce_specversion", Some(b"0.3"))]),
            Err(CloudEventError::Version)
        );
    }

    #[test]
    fn what_is_no_attribute_is_passed_over() {
        assert_eq!(
            parse(&[
                ("traceparent", None),
                ("ce_traceparent", Some(b"\xff")),
                ("x", Some(b"1"))
            ]),
            Ok(CloudEvent::default())
        );
    }

    #[test]
    fn tenant_and_trace_are_read_as_far_as_they_can_be() {
        let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let event = parse(&[
            ("ce_tenantid", Some(b"t-1")),
            ("ce_tenantid", Some(b"t-2")),
            (
                "ce_traceparent",
                Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ),
            ("ce_tracestate", Some(b"\xff")),
        ]);
        let expected = CloudEvent {
            tenant_id: Some("t-1"),
            traceparent: Some(text(parent)),
            ..CloudEvent::default()
        };
        assert_eq!(event, Ok(expected));
    }

    proptest! {
        #[test]
        fn any_headers_are_read_or_refused(
            headers in prop::collection::vec(
                (prop_oneof![
                    Just("ce_type".to_string()), Just("ce_id".to_string()), Just("ce_specversion".to_string()), ".{0,12}"
                ], prop::option::of(prop::collection::vec(any::<u8>(), 0..6))),
                0..8,
            )
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            let _ = CloudEvent::parse(headers.iter().copied());
        }
    }
}
