//! A line becomes a record. In: what the command line says of records, and a line. Out: a record that was accepted.

use std::borrow::Cow;
use std::cell::Cell;

use pat_events::kafka::{Delivery, Header, Producer, Record};
use prost_reflect::MessageDescriptor;
use serde_json::Value;

use super::Produce;
use super::json::{self, JsonRecord};
use super::lines::Place;
use crate::Outcome;
use crate::escapes::Delimiter;
use crate::messages::{self, Messages};
use crate::notes::note;
use crate::registered::Registered;

/// Makes records.
pub struct Maker<'a> {
    options: &'a Produce,
    pub registered: Option<Registered>,
    /// The ids of the schemas that keys and values are written by.
    pub key_id: Option<u32>,
    pub value_id: Option<u32>,
    /// The messages that keys and values are, by files of one's own.
    pub messages: Messages,
    told_of_no_key: Cell<bool>,
}

impl<'a> Maker<'a> {
    pub fn new(options: &'a Produce) -> Maker<'a> {
        Maker {
            options,
            registered: None,
            key_id: None,
            value_id: None,
            messages: Messages::default(),
            told_of_no_key: Cell::new(false),
        }
    }

    /// The record of a line, which is the record of this number.
    pub async fn line(
        &self,
        producer: &Producer,
        place: &Place,
        number: u64,
        line: &[u8],
    ) -> Outcome<Delivery> {
        let options = self.options;
        let (key, value) = self.parts(place, line);
        let key = match &options.key_template {
            Some(template) => Some(Cow::Owned(template.fill(number, key.unwrap_or(value)))),
            None => key.map(Cow::Borrowed),
        };
        let value = match &options.template {
            Some(template) => Cow::Owned(template.fill(number, value)),
            None => Cow::Borrowed(value),
        };
        let or_null = |bytes: &Cow<'_, [u8]>| !(options.null && bytes.is_empty());
        let (key, value) = (key.filter(or_null), Some(value).filter(or_null));
        let key = self.by_schema("key", key)?;
        let value = self.by_schema("value", value)?;
        let headers: Vec<_> = options
            .headers
            .iter()
            .map(|(name, value)| Header::new(name, value.as_bytes()))
            .collect();
        let mut record = Record::new(&options.topic);
        record.partition = options.partition;
        record.key = key.as_deref();
        record.value = value.as_deref();
        record.headers = &headers;
        Ok(producer.enqueue(record).await?)
    }

    /// Key and value of a line.
    fn parts<'b>(&self, place: &Place, line: &'b [u8]) -> (Option<&'b [u8]>, &'b [u8])
    where
        'a: 'b,
    {
        let Some(Delimiter(delimiter)) = &self.options.key_delimiter else {
            return (self.options.key.as_deref().map(str::as_bytes), line);
        };
        match split(line, delimiter) {
            Some((key, value)) => (Some(key), value),
            None => {
                if !self.told_of_no_key.replace(true) {
                    let shown = delimiter.escape_ascii();
                    note(format!(
                        "warning: {place} has no \"{shown}\", so that its record has no key"
                    ));
                }
                (None, line)
            }
        }
    }

    /// The schema and the message that say how keys, or values, are written.
    fn schema_of(&self, part: &str) -> (Option<u32>, Option<&MessageDescriptor>) {
        match part {
            "key" => (self.key_id, self.messages.key.as_ref()),
            _ => (self.value_id, self.messages.value.as_ref()),
        }
    }

    /// The bytes of what JSON says, where a schema says how they are written.
    fn by_schema<'b>(
        &self,
        part: &str,
        json: Option<Cow<'b, [u8]>>,
    ) -> Outcome<Option<Cow<'b, [u8]>>> {
        let (id, message) = self.schema_of(part);
        let written = match (&self.registered, id, message, json) {
            (Some(registered), Some(id), _, Some(json)) => registered.write(id, &json),
            (_, _, Some(message), Some(json)) => serde_json::from_slice(&json)
                .map_err(|error| format!("it is no JSON: {error}"))
                .and_then(|json| messages::write(message.clone(), json)),
            (_, _, _, bytes) => return Ok(bytes),
        };
        let written = written.map_err(|error| format!("the {part}: {error}"))?;
        Ok(Some(Cow::Owned(written)))
    }

    /// The bytes of what a line of JSON says of a key or a value.
    fn of_json(&self, part: &str, json: &Value) -> Outcome<Option<Vec<u8>>> {
        let written = match (&self.registered, self.schema_of(part)) {
            // As it is without a schema: no key, and a tombstone.
            _ if json.is_null() => return Ok(None),
            (Some(registered), (Some(id), _)) => registered.write(id, json.to_string().as_bytes()),
            (_, (_, Some(message))) => messages::write(message.clone(), json.clone()),
            _ => return json::bytes(json),
        };
        Ok(Some(written?))
    }

    /// The record that a line of JSON describes.
    pub async fn json(&self, producer: &Producer, line: &[u8]) -> Outcome<Delivery> {
        let read = JsonRecord::parse(line, |part, json| self.of_json(part, json))?;
        let headers: Vec<_> = read
            .headers
            .iter()
            .map(|(name, value)| Header::raw(name, value.as_deref()))
            .collect();
        let mut record = Record::new(&self.options.topic).headers(&headers);
        record.partition = self.options.partition.or(read.partition);
        (record.key, record.value) = (read.key.as_deref(), read.value.as_deref());
        record.timestamp_ms = read.timestamp_ms;
        Ok(producer.enqueue(record).await?)
    }
}

fn split<'a>(line: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line
        .windows(delimiter.len().max(1))
        .position(|window| window == delimiter)?;
    Some((&line[..at], &line[at + delimiter.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_at_the_first_delimiter() {
        assert_eq!(split(b"k::v::w", b"::"), Some((&b"k"[..], &b"v::w"[..])));
        assert_eq!(split(b"no delimiter", b"::"), None);
    }
}
