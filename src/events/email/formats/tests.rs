use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use prost_types::{FileDescriptorSet, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::events::Event;

/// Each event with every kind of field set.
fn received() -> EmailReceived {
    EmailReceived {
        email_id: "e-1".into(),
        tenant_id: "t-1".into(),
        meta: Some(EventMeta {
            event_id: "ev-1".into(),
            occurred_at: Some(Timestamp {
                seconds: 1_795_463_192,
                nanos: 17_000_000,
            }),
            ..Default::default()
        }),
        subject: "\u{e9}t\u{e9}".into(),
        to_addresses: vec![
            EmailAddress::default(),
            EmailAddress {
                address: "bob@example.org".into(),
                ..Default::default()
            },
        ],
        size_bytes: 1 << 60,
        ingest_protocol: IngestProtocol::Smtp.into(),
        sha256: vec![0xfb, 0xff, 0xfe],
        ..Default::default()
    }
}

fn validated() -> EmailValidated {
    let result = |score, findings| ValidationResult {
        score,
        findings,
        ..Default::default()
    };
    EmailValidated {
        results: vec![
            result(Some(0.0), None),
            result(
                None,
                Some(validation_result::Findings::Dkim(DkimFindings::default())),
            ),
        ],
        ..Default::default()
    }
}

fn in_both<E>(event: &E)
where
    E: Message + HasAvroSchema + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let data = E::avro_schema().encode(event).expect("Avro");
    assert_eq!(
        E::avro_schema().decode::<E>(&data).expect("its own"),
        *event
    );
    let theirs = apache_avro::Schema::parse_str(E::avro_schema().text()).expect("a schema");
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&theirs).build();
    let mut rest = &data[..];
    reader
        .expect("a reader")
        .read_value(&mut rest)
        .expect("as another implementation reads it");
    assert!(rest.is_empty());
    let json = serde_json::to_string(event).expect("JSON");
    assert_eq!(
        serde_json::from_str::<E>(&json).expect("its own"),
        *event,
        "{json}"
    );
}

#[test]
fn every_event_comes_back_from_both() {
    in_both(&received());
    in_both(&validated());
    in_both(&EmailProcessed::default());
    in_both(&EmailDeleted::default());
    in_both(&PluginExecutionCompleted {
        output: Some(Payload {
            content: Some(payload::Content::Data(vec![1, 2])),
            ..Default::default()
        }),
        ..Default::default()
    });
    in_both(&PluginExecutionRequired {
        input: Some(Payload {
            content: Some(payload::Content::Uri("s3://a".into())),
            ..Default::default()
        }),
        ..Default::default()
    });
    in_both(&WorkflowTriggered {
        parameters: BTreeMap::from([("a".into(), "1".into()), ("b".into(), String::new())]),
        ..Default::default()
    });
    in_both(&TenantEvent {
        change: Some(tenant_event::Change::Suspended(TenantSuspended::default())),
        ..Default::default()
    });
}

#[test]
fn json_is_what_protobufs_mapping_says() {
    let json = serde_json::to_value(received()).expect("JSON");
    let expected = json!({
        "emailId": "e-1",
        "tenantId": "t-1",
        "meta": {"eventId": "ev-1", "occurredAt": "2026-11-23T19:46:32.017Z"},
        "subject": "\u{e9}t\u{e9}",
        "toAddresses": [{}, {"address": "bob@example.org"}],
        "sizeBytes": "1152921504606846976",
        "ingestProtocol": "INGEST_PROTOCOL_SMTP",
        "sha256": "+//+",
    });
    assert_eq!(json, expected);
    // The schema's own names, numbers, nulls, the other alphabet of Base64, and what nobody knows.
    let other = json!({
        "email_id": "e-1", "tenant_id": "t-1", "from_address": null, "subject": null, "new": {"a": [1]},
        "size_bytes": 5, "ingest_protocol": 1, "sha256": "-__-",
    });
    let read: EmailReceived = serde_json::from_value(other).expect("read");
    let expected = EmailReceived {
        email_id: "e-1".into(),
        tenant_id: "t-1".into(),
        size_bytes: 5,
        ingest_protocol: 1,
        sha256: vec![0xfb, 0xff, 0xfe],
        ..Default::default()
    };
    assert_eq!(read, expected);
    let json = serde_json::to_value(TenantEvent {
        change: Some(tenant_event::Change::Removed(TenantRemoved::default())),
        ..Default::default()
    });
    assert_eq!(json.expect("JSON"), json!({"removed": {}}));
    for wrong in [
        json!({"sizeBytes": -1}),
        json!({"sizeBytes": "18446744073709551616"}),
        json!({"sha256": "?"}),
        json!({"ingestProtocol": "NONE"}),
        json!({"meta": {"occurredAt": "yesterday"}}),
    ] {
        assert!(
            serde_json::from_value::<EmailReceived>(wrong.clone()).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn an_enum_newer_than_the_schema_is_a_number_in_json_and_refused_in_avro() {
    let event = EmailReceived {
        ingest_protocol: 999,
        ..Default::default()
    };
    assert_eq!(
        serde_json::to_value(&event).expect("JSON"),
        json!({"ingestProtocol": 999})
    );
    let error = EmailReceived::avro_schema()
        .encode(&event)
        .expect_err("no name");
    assert!(error.to_string().contains("999"), "{error}");
}

/// The event's schemas as they stand beside the `.proto` files; with `RENEW=1` they are written.
fn committed(name: &str, built: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("proto/api/events/v1")
        .join(name);
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&path, built).expect("a file that can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == built,
        "proto/api/events/v1/{name} does not say what the .proto files say: RENEW=1 cargo test --features avro,json --lib email, and commit it"
    );
}

#[test]
fn the_schemas_beside_the_proto_files_say_what_those_say() {
    fn check<E: Event + HasAvroSchema + HasJsonSchema>() {
        let name = E::TYPE.rsplit('.').next().expect("a name");
        assert_eq!(E::avro_schema().name(), Ok(E::TYPE));
        committed(&format!("{name}.avsc"), E::avro_schema().text());
        committed(&format!("{name}.schema.json"), E::json_schema());
    }
    check::<EmailReceived>();
    check::<EmailProcessed>();
    check::<EmailValidated>();
    check::<WorkflowTriggered>();
    check::<PluginExecutionRequired>();
    check::<PluginExecutionCompleted>();
    check::<EmailDeleted>();
    check::<TenantEvent>();
}

/// Every record of a schema of Avro, by name.
fn records<'a>(schema: &'a Value, found: &mut BTreeMap<&'a str, &'a Value>) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|it| records(it, found)),
        Value::Object(object) => {
            if object.get("type") == Some(&json!("record")) {
                found.insert(object["name"].as_str().expect("a name"), schema);
            }
            for key in ["fields", "type", "items", "values"] {
                if let Some(within) = object.get(key) {
                    records(within, found);
                }
            }
        }
        _ => {}
    }
}

/// Not by the code that wrote them: every field of every message, with its comment.
#[test]
fn no_field_and_no_comment_of_a_message_is_missing_in_the_schemas() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("written by the build");
    let avro: Value = serde_json::from_str(EmailValidated::avro_schema().text()).expect("JSON");
    let json: Value = serde_json::from_str(EmailValidated::json_schema()).expect("JSON");
    let mut found = BTreeMap::new();
    records(&avro, &mut found);
    assert!(found.len() > 10);
    for (name, record) in found {
        let located = set.file.iter().find_map(|file| {
            let place = file.message_type.iter().position(|it| it.name() == name)?;
            Some((file, place))
        });
        // A variant that has a record of its own has no message.
        let Some((file, place)) = located else {
            continue;
        };
        let message = &file.message_type[place];
        let definition = &json["definitions"][format!("api.events.v1.{name}")];
        for (number, field) in message.field.iter().enumerate() {
            let path = [4, place as i32, 2, number as i32];
            let comment = file.source_code_info.iter().flat_map(|info| &info.location);
            let comment = comment
                .filter(|it| it.path == path)
                .find_map(|it| it.leading_comments.as_ref());
            let comment = comment.expect("every field says what it is");
            let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
            let described = &definition["properties"][field.json_name()]["description"];
            assert_eq!(described, &json!(comment), "{name}.{}", field.name());
            if field.oneof_index.is_some() && !field.proto3_optional() {
                continue;
            }
            let fields = record["fields"].as_array().expect("fields");
            let of = fields.iter().find(|it| it["name"] == field.name());
            let of = of.unwrap_or_else(|| panic!("{name} has no {} in Avro", field.name()));
            assert_eq!(of["doc"], json!(comment));
            assert!(
                of.get("default").is_some(),
                "{name}.{} has no default",
                field.name()
            );
        }
    }
}
