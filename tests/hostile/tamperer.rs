//! Turns honest answers into others, by one tampering and as often as it says.

use bytes::Bytes;
use protocol::api::Api;
use protocol::{ApiKey, ErrorCode};

use crate::corruption::{corrupt_assignment, corrupt_batches, corrupt_subscription, mutate};
use crate::tampering::{FrameTampering, Mutation, Tampering, Times, What};
use crate::value::{self, Place, Search, Structure, Value};

/// What a tamperer remembers, and does to one answer after the other.
#[derive(Debug)]
pub struct Tamperer {
    tampering: Tampering,
    /// Makes what the honest answers do not have, to tamper with it.
    make: bool,
    left: u64,
    pub times_applied: u64,
    /// How many answers had what the tampering is about, true or not.
    pub met: u64,
    /// The first answer of this API.
    first: Option<Structure>,
    /// What the field said in the first answer that had it.
    earlier: Option<Value>,
    previous: Option<Vec<u8>>,
}

/// An answer as it is sent.
#[derive(Debug)]
pub enum Tampered {
    /// Nothing is wrong with it.
    Honest,
    /// Another message in the frame.
    Message(Vec<u8>),
    /// Another frame.
    Frame(FrameTampering, Vec<(String, usize)>),
}

impl Tamperer {
    pub fn new(tampering: Tampering, make: bool) -> Self {
        Self {
            left: tampering.times.count(),
            tampering,
            make,
            times_applied: 0,
            met: 0,
            first: None,
            earlier: None,
            previous: None,
        }
    }

    pub fn stop(&mut self) {
        self.left = 0;
    }

    /// Whether a request is not to be applied.
    pub fn refuses(&mut self, api: ApiKey) -> bool {
        let refuses = api == self.tampering.api
            && self.left > 0
            && matches!(
                &self.tampering.what,
                What::Frame(FrameTampering::CloseBefore)
            );
        if refuses {
            self.tell();
        }
        refuses
    }

    /// The code that a request is to be answered with as a whole, without being applied: where Kafka would not have applied it, and a
    /// client relies on that.
    pub fn unapplied(&mut self, api: ApiKey) -> Option<ErrorCode> {
        let What::Code(place, code) = &self.tampering.what else {
            return None;
        };
        let is_whole = match api {
            // This one says that it was applied.
            ApiKey::PRODUCE if *code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER => false,
            ApiKey::PRODUCE => place.name == "responses.partition_responses.error_code",
            ApiKey::JOIN_GROUP => place.name == "error_code",
            _ => false,
        };
        let tells = api == self.tampering.api
            && is_whole
            && self.left > 0
            && self.tampering.times != Times::ForEverFirst;
        let code = *code;
        tells.then(|| {
            self.tell();
            code
        })
    }

    fn tell(&mut self) {
        self.met += 1;
        self.times_applied += 1;
        self.left -= 1;
    }

    /// What becomes of the answer `body` to a request of this API and version.
    pub fn answer(&mut self, api: ApiKey, version: i16, body: &Bytes) -> Tampered {
        if api != self.tampering.api || self.left == 0 {
            return Tampered::Honest;
        }
        let schema = Api::of(api).expect("an API of the tables").response.schema;
        // An ApiVersions answer of a broker that does not know the version is in version 0.
        let Ok(mut message) = value::read(schema, version, body.clone()) else {
            return Tampered::Honest;
        };
        if let What::Frame(tampering) = &self.tampering.what {
            let tampering = tampering.clone();
            let (honest, marks) = value::write(schema, version, &message);
            let has = |name: &str| marks.iter().any(|(mark, _)| mark == name);
            match &tampering {
                FrameTampering::CutBefore(name) | FrameTampering::ShortBefore(name)
                    if !has(name) =>
                {
                    return Tampered::Honest;
                }
                FrameTampering::Swapped => {
                    let previous = self.previous.replace(honest);
                    let Some(previous) = previous else {
                        return Tampered::Honest;
                    };
                    self.tell();
                    return Tampered::Message(previous);
                }
                _ => {}
            }
            self.tell();
            return Tampered::Frame(tampering, marks);
        }
        let honest = message.clone();
        let changed = self.mutate(&mut message, version);
        if self.first.is_none() {
            self.first = Some(honest);
        }
        if changed == 0 {
            return Tampered::Honest;
        }
        self.tell();
        Tampered::Message(value::write(schema, version, &message).0)
    }

    fn mutate(&mut self, message: &mut Structure, version: i16) -> usize {
        let met = &mut self.met;
        let search = Search {
            version,
            first_only: self.tampering.times == Times::ForEverFirst,
            make: self.make,
        };
        match &self.tampering.what {
            What::Code(place, code) => value::change(message, place, search, &mut |value| {
                *value = Value::Integer(code.0.into());
                true
            }),
            What::Field(place, Mutation::Earlier) => {
                let earlier = &mut self.earlier;
                value::change(message, place, search, &mut |value| {
                    *met += 1;
                    let is_none = matches!(value, Value::Null)
                        || matches!(value, Value::Bytes(bytes) if bytes.is_empty());
                    if earlier.is_none() && !is_none {
                        *earlier = Some(value.clone());
                    }
                    mutate(value, place, Mutation::Earlier, version, earlier.as_ref())
                })
            }
            What::Field(place, what) => value::change(message, place, search, &mut |value| {
                *met += 1;
                mutate(value, place, *what, version, None)
            }),
            What::Batch(tampering) => {
                let place = place_of(self.tampering.api, version, "responses.partitions.records");
                value::change(message, &place, search, &mut |value| {
                    *met += 1;
                    corrupt_batches(value, *tampering)
                })
            }
            What::Assignment(tampering) => {
                let place = place_of(self.tampering.api, version, "assignment");
                value::change(message, &place, search, &mut |value| {
                    corrupt_assignment(value, *tampering)
                })
            }
            What::Subscription(tampering) => {
                let place = place_of(self.tampering.api, version, "members.metadata");
                value::change(message, &place, search, &mut |value| {
                    corrupt_subscription(value, *tampering)
                })
            }
            What::Replayed => match &self.first {
                Some(first) if first == message => {
                    *met += 1;
                    0
                }
                Some(first) => {
                    *message = first.clone();
                    1
                }
                None => 0,
            },
            What::UnknownTag => {
                message.unknown.push((77, Bytes::from_static(b"new")));
                1
            }
            What::Frame(_) => 0,
        }
    }
}

fn place_of(api: ApiKey, version: i16, name: &str) -> Place {
    let schema = Api::of(api).expect("an API of the tables").response.schema;
    let mut places = value::places(schema, version).into_iter();
    places
        .find(|place| place.name == name)
        .expect("a field of the tables")
}
