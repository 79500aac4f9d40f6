//! What the headers of a retry record say: what those of a [dead letter](crate::events::dead_letter) say, when the record is due, and of which
//! topic its offset is.

use crate::events::DeadLetter;
use crate::events::dead_letter::{
    NOT_BEFORE, ORIGIN_TOPIC, ORIGIN_TOPIC_ID, RETRY_STAGE, RETRY_TRACEPARENT,
};
use crate::kafka::TopicId;

/// A retry record's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// Where it stood, and why it failed; without attempts it was sent behind others.
    pub letter: DeadLetter,
    pub not_before_ms: i64,
    /// In how many retry topics it has waited because it failed, this one included.
    pub stage: u8,
    pub topic_id: Option<TopicId>,
    /// The span of the last call that failed, as a `traceparent`.
    pub traceparent: Option<String>,
    /// How many headers of its own it has: those in front.
    pub own_headers: usize,
}

/// Where a record stood that is read out of a retry topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retried {
    pub topic: String,
    pub topic_id: Option<TopicId>,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    /// As the envelope says.
    pub stage: u8,
}

/// A record that is to be written to a retry topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ToRetry {
    /// The retry topic, counted from 1.
    pub level: u8,
    /// Whether its handler has failed; else it goes behind another of its key.
    pub has_failed: bool,
    /// What its headers say; how many headers it has does not matter.
    pub envelope: Envelope,
}

impl Envelope {
    /// Reads `headers`, which begins anew with each call. `None`: they are not those of a retry record.
    pub(crate) fn parse<'h, I>(headers: impl Fn() -> I) -> Option<Self>
    where
        I: Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    {
        // The last of several: a record that was replayed, or was handled as a dead letter, has some of its own.
        let begins = headers().enumerate();
        let begins = begins.filter(|(_, (name, _))| *name == ORIGIN_TOPIC.as_bytes());
        let own_headers = begins.last()?.0;
        let ours = || {
            let ours = headers().skip(own_headers);
            ours.filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
        };
        let value_of = |wanted: &str| {
            let value = ours().find(|(name, _)| *name == wanted)?.1?;
            std::str::from_utf8(value).ok()
        };
        let topic_id = value_of(ORIGIN_TOPIC_ID).and_then(|text| {
            let id = u128::from_str_radix(text, 16).ok()?;
            TopicId::from_bytes(id.to_be_bytes())
        });
        Some(Self {
            letter: DeadLetter::parse(ours())?,
            not_before_ms: value_of(NOT_BEFORE)?.parse().ok()?,
            stage: value_of(RETRY_STAGE)?.parse().ok()?,
            topic_id,
            traceparent: value_of(RETRY_TRACEPARENT).map(str::to_string),
            own_headers,
        })
    }

    /// The headers that say so.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = self.letter.headers();
        headers.push((NOT_BEFORE, self.not_before_ms.to_string()));
        headers.push((RETRY_STAGE, self.stage.to_string()));
        if let Some(id) = self.topic_id {
            let id = u128::from_be_bytes(*id.as_bytes());
            headers.push((ORIGIN_TOPIC_ID, format!("{id:032x}")));
        }
        if let Some(span) = &self.traceparent {
            headers.push((RETRY_TRACEPARENT, span.clone()));
        }
        headers
    }

    /// Where the record stood.
    pub(crate) fn origin(&self) -> Retried {
        Retried {
            topic: self.letter.topic.clone(),
            topic_id: self.topic_id,
            partition: self.letter.partition,
            offset: self.letter.offset,
            timestamp_ms: self.letter.timestamp_ms,
            stage: self.stage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn parse(headers: &Headers) -> Option<Envelope> {
        Envelope::parse(|| {
            let headers = headers.iter();
            headers.map(|(name, value)| (name.as_slice(), value.as_deref()))
        })
    }

    fn on_the_wire(own: Headers, envelope: &Envelope) -> Headers {
        let ours = envelope.headers().into_iter();
        let ours = ours.map(|(name, value)| (name.as_bytes().to_vec(), Some(value.into_bytes())));
        own.into_iter().chain(ours).collect()
    }

    fn envelope(attempts: u32, topic_id: Option<TopicId>) -> Envelope {
        Envelope {
            letter: DeadLetter {
                topic: "emails".into(),
                partition: 2,
                offset: 77,
                timestamp_ms: 5,
                group: "indexer".into(),
                message: "not now".into(),
                attempts,
                ..DeadLetter::default()
            },
            not_before_ms: 1_800_000_000_000,
            stage: 1,
            topic_id,
            traceparent: topic_id.map(|_| "00-…".to_string()),
            own_headers: 0,
        }
    }

    #[test]
    fn what_the_headers_say_is_read_again_behind_the_records_own() {
        let own: Headers = vec![(b"ce_type\xff".to_vec(), None), (b"a".to_vec(), None)];
        for topic_id in [None, TopicId::from_bytes([7; 16])] {
            let one = envelope(3, topic_id);
            let read = parse(&on_the_wire(own.clone(), &one)).expect("a retry record");
            assert_eq!((read.own_headers, read.topic_id), (2, topic_id));
            assert_eq!(
                (&read.letter, &read.traceparent),
                (&one.letter, &one.traceparent)
            );
            assert_eq!((read.not_before_ms, read.stage), (one.not_before_ms, 1));
        }
    }

    #[test]
    fn a_record_that_was_one_before_keeps_those_headers_as_its_own() {
        let first = on_the_wire(Headers::new(), &envelope(3, None));
        let own_headers = first.len();
        let mut second = envelope(5, None);
        second.letter.offset = 78;
        let read = parse(&on_the_wire(first, &second)).expect("a retry record");
        assert_eq!((read.letter.offset, read.own_headers), (78, own_headers));
    }

    #[test]
    fn headers_of_others_are_none() {
        assert_eq!(parse(&Headers::new()), None);
        let mut odd = on_the_wire(Headers::new(), &envelope(1, None));
        odd.retain(|(name, _)| name != NOT_BEFORE.as_bytes());
        assert_eq!(parse(&odd), None, "a dead letter");
    }
}
