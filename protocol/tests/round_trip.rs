//! Every message in every version: what was encoded is decoded to the same value and encoded to the same bytes; a frame
//! cut short or with bytes left over is refused, and JSON can be made of it. In: samples of every schema. Out: counts.

use bytes::Bytes;
use pat_kafka_protocol::api::Codec;
use pat_kafka_protocol::messages::codecs;
use pat_kafka_protocol::{json, sample};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const CASES: u32 = 32;

fn in_every_version(name: &str, check: impl Fn(&Codec, i16, Bytes) -> Result<(), TestCaseError>) {
    let mut versions = 0;
    for codec in codecs() {
        for version in codec.schema.versions.iter() {
            versions += 1;
            let mut runner = TestRunner::new(Config {
                cases: CASES,
                failure_persistence: None,
                ..Config::default()
            });
            let full = sample::full(codec.schema, version, &mut sample::random(0));
            if let Err(error) = check(codec, version, full) {
                panic!("{} v{version}, full: {error}", codec.schema.name);
            }
            let result = runner.run(&any::<u64>(), |seed| {
                check(
                    codec,
                    version,
                    sample::sample(codec.schema, version, &mut sample::random(seed)),
                )
            });
            if let Err(error) = result {
                panic!("{} v{version}: {error}", codec.schema.name);
            }
        }
    }
    println!(
        "{name}: {} messages, {versions} versions, a full one and {CASES} cases each",
        codecs().count()
    );
}

#[test]
fn every_message_comes_back_as_the_same_bytes() {
    in_every_version("round trip", |codec, version, bytes| {
        let again = (codec.recode)(bytes.clone(), version)
            .map_err(|e| TestCaseError::fail(e.to_string()))?;
        let again = again.map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(again, bytes);
        Ok(())
    });
}

#[test]
fn every_message_becomes_json() {
    in_every_version("json", |codec, version, bytes| {
        let text = json::render(codec.schema, version, bytes)
            .map_err(|e| TestCaseError::fail(e.to_string()))?;
        let is_object = text.starts_with('{') && text.ends_with('}');
        prop_assert!(is_object, "{}", text);
        Ok(())
    });
}

#[test]
fn every_cut_is_refused_and_names_the_message() {
    in_every_version("cuts", |codec, version, bytes| {
        for length in 0..bytes.len() {
            let error = (codec.recode)(bytes.slice(..length), version);
            let error = error
                .err()
                .ok_or_else(|| TestCaseError::fail(format!("{length} bytes were enough")))?;
            prop_assert_eq!(error.message(), codec.schema.name);
            prop_assert!(error.offset() <= length);
        }
        Ok(())
    });
}

#[test]
fn bytes_left_over_are_refused() {
    in_every_version("left over", |codec, version, bytes| {
        let longer = Bytes::from([&bytes[..], &[0]].concat());
        prop_assert!((codec.recode)(longer, version).is_err());
        Ok(())
    });
}

#[test]
fn tags_are_in_ascending_order_in_the_tables() {
    use pat_kafka_protocol::schema::{FieldType, StructSchema};
    fn check(schema: &StructSchema) {
        let tags: Vec<_> = schema.fields.iter().filter_map(|field| field.tag).collect();
        assert!(tags.is_sorted_by(|a, b| a < b), "{}: {tags:?}", schema.name);
        for field in schema.fields {
            if let FieldType::Struct(inner) | FieldType::Array(&FieldType::Struct(inner)) = field.ty
            {
                check(inner);
            }
        }
    }
    codecs().for_each(|codec| check(codec.schema.body));
}
