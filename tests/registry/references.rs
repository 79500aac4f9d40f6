//! Schemas of Avro that refer to others: registered with what they refer to, found, and read and written by, in types and in JSON.

use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::events::Event;
use pat_events::events::codec::{
    Avro, AvroSchema, Codec, CodecError, Confluent, Format, HasAvroSchema, NewSchema, Payload,
    Prepared, RegistryConfig, SchemaKind, SchemaReference, SchemaRegistry, SubjectNameStrategy,
};

use crate::real::on_registry;
use crate::stand_in::{StandIn, counted};

pub fn trials() -> Vec<Trial> {
    let mut trials = trials![
        what_a_stand_in_has_is_found_once,
        a_reference_that_is_not_there_is_an_error_and_no_other_record,
    ];
    trials.push(on_registry(
        "what_schemas_refer_to_is_registered_found_and_resolved",
        what_schemas_refer_to_is_registered_found_and_resolved,
    ));
    trials
}

static CURRENCY: AvroSchema = AvroSchema::new(
    r#"{"type": "enum", "name": "Currency", "namespace": "shop.v1", "symbols": ["EUR", "CHF"]}"#,
);
static AMOUNT: AvroSchema = AvroSchema::referring(
    r#"{"type": "record", "name": "Amount", "namespace": "shop.v1", "fields": [
        {"name": "cents", "type": "long"}, {"name": "currency", "type": "shop.v1.Currency"}]}"#,
    &[&CURRENCY],
);
static PRICED: AvroSchema = AvroSchema::referring(
    r#"{"type": "record", "name": "Priced", "namespace": "shop.v1", "fields": [
        {"name": "id", "type": "string"}, {"name": "price", "type": "shop.v1.Amount"}]}"#,
    &[&AMOUNT],
);

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Currency {
    Eur,
    Chf,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Amount {
    cents: i64,
    currency: Currency,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Priced {
    id: String,
    price: Amount,
}

impl Event for Priced {
    const TYPE: &'static str = "shop.v1.Priced";

    fn key(&self) -> Option<&[u8]> {
        Some(self.id.as_bytes())
    }
}

impl HasAvroSchema for Priced {
    fn avro_schema() -> &'static AvroSchema {
        &PRICED
    }
}

fn priced() -> Priced {
    Priced {
        id: "o-1".into(),
        price: Amount {
            cents: 7,
            currency: Currency::Chf,
        },
    }
}

fn config(url: &str) -> RegistryConfig {
    let mut config = RegistryConfig::new(url);
    config.auto_register = true;
    config.subject_name_strategy = SubjectNameStrategy::TopicRecord;
    config.timeout = Duration::from_secs(60);
    config
}

fn codec(config: RegistryConfig) -> Confluent<Avro> {
    Confluent::new(Avro, config).expect("complete")
}

async fn encoded(codec: &Confluent<Avro>, event: &Priced) -> Result<Vec<u8>, CodecError> {
    let prepared = codec.prepare("priced", event).await?;
    let mut out = vec![0; prepared.encoded_len()];
    codec.write(event, &prepared, &mut out);
    Ok(out)
}

async fn what_schemas_refer_to_is_registered_found_and_resolved(url: String) {
    let data = encoded(&codec(config(&url)), &priced()).await;
    let data = data.expect("registered");
    // One that knows nothing of it yet.
    let reader = codec(config(&url));
    let read: Priced = reader.decode(&Payload::new(&data)).await.expect("resolved");
    assert_eq!(read, priced());
    let name = reader.event_type(&Payload::new(&data)).await;
    assert_eq!(name.expect("asked").as_deref(), Some("shop.v1.Priced"));
    // Without leave to register, what is there is found.
    let mut found = config(&url);
    found.auto_register = false;
    let again = encoded(&codec(found), &priced()).await;
    assert_eq!(again.expect("looked up"), data);
    // By what the registry has, without the type.
    let registry = SchemaRegistry::new(config(&url)).expect("complete");
    let id = u32::from_be_bytes(data[1..5].try_into().expect("four bytes"));
    let schema = registry.schema_by_id(id).await.expect("there");
    assert_eq!(
        schema.references,
        [SchemaReference::new("shop.v1.Amount", "shop.v1.Amount", 1)]
    );
    let others = registry.references(&schema).await.expect("there");
    let names: Vec<&str> = others.iter().map(|(it, _)| it.name.as_str()).collect();
    assert_eq!(names, ["shop.v1.Currency", "shop.v1.Amount"]);
    let texts = others.into_iter().map(|(_, schema)| schema.text).collect();
    let by_text = AvroSchema::with_references(schema.text, texts);
    let json = br#"{"id": "o-1", "price": {"cents": 7, "currency": "CHF"}}"#;
    assert_eq!(by_text.encode_json(json).expect("written"), data[5..]);
    assert_eq!(by_text.decode::<Priced>(&data[5..]), Ok(priced()));
}

async fn what_a_stand_in_has_is_found_once() {
    let stand_in = StandIn::start().await;
    what_schemas_refer_to_is_registered_found_and_resolved(stand_in.url()).await;
    let reader = codec(config(&stand_in.url()));
    let data = encoded(&reader, &priced()).await.expect("found");
    let before = stand_in.requests().len();
    for _ in 0..100 {
        let read: Result<Priced, _> = reader.decode(&Payload::new(&data)).await;
        assert_eq!(read, Ok(priced()));
    }
    let requests = counted(&stand_in.requests()[before..]);
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests.values().all(|count| *count == 1), "{requests:?}");
}

async fn a_reference_that_is_not_there_is_an_error_and_no_other_record() {
    let stand_in = StandIn::start().await;
    let registry = SchemaRegistry::new(config(&stand_in.url())).expect("complete");
    let mut schema = NewSchema::new(SchemaKind::Avro, PRICED.text());
    schema.references = vec![SchemaReference::new("shop.v1.Amount", "gone", 3)];
    let id = registry.register("priced-value", &schema).await;
    let id = id.expect("registered").id.expect("an id");
    let data = [&[0][..], &id.to_be_bytes(), &[6, b'o', b'-', b'1', 14, 2]].concat();
    let reader = codec(config(&stand_in.url()));
    let words = "refers to \"shop.v1.Amount\", version 3 of the subject gone: ";
    let name = reader.event_type(&Payload::new(&data)).await;
    let error = name.expect_err("its schema is not whole").to_string();
    assert!(error.contains(words), "{error}");
    let read: Result<Priced, _> = reader.decode(&Payload::new(&data)).await;
    let error = read.expect_err("not resolved");
    assert!(
        error.to_string().contains(words) && !error.may_pass(),
        "{error}"
    );
}
