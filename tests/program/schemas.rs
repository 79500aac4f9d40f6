//! `produce`, `consume` and `decode` by schemas: of a registry, and of files of Protobuf.

use std::fs;

use serde_json::json;

use crate::{end_of, json_lines, place, registry};

const ORDER: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "id", "type": "string"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OPEN", "CLOSED"]}, "default": "OPEN"},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"}, {"name": "proof", "type": "bytes", "default": ""}]}}, "default": []},
    {"name": "note", "type": ["null", "string"], "default": null}]}"#;

#[test]
fn records_of_avro_are_written_from_json_and_read_as_it() {
    let place = place();
    place.topic("orders", 1, "");
    let url = registry::serve(&[(7, "orders-value", ORDER), (8, "orders-key", r#""long""#)]);
    let produce = [
        "-t",
        "orders",
        "-r",
        &url,
        "--value-schema",
        "orders-value",
        "--key-schema",
        "id:8",
        "-K",
        "=",
    ];
    let lines = concat!(
        r#"1={"id": "a", "price": "12.50"}"#,
        "\n",
        r#"2={"id": "b", "price": 3, "state": "CLOSED", "lines": [{"sku": "x", "proof": {"hex": "ff00"}}], "note": {"string": "n"}}"#,
        "\n"
    );
    place.run_with("produce", &produce, lines.as_bytes());
    let read = place.run(
        "consume",
        &["-t", "orders", "-e", "-J", "-s", "avro", "-r", &url],
    );
    let read = json_lines(&read);
    let keys: Vec<_> = read.iter().map(|record| record["key"].clone()).collect();
    assert_eq!(keys, [json!(1), json!(2)]);
    let first = json!({"id": "a", "price": "12.50", "state": "OPEN", "lines": [], "note": null});
    assert_eq!(read[0]["value"], first);
    let second = json!({
        "id": "b", "price": "3.00", "state": "CLOSED", "lines": [{"sku": "x", "proof": {"hex": "ff00"}}], "note": "n",
    });
    assert_eq!(read[1]["value"], second);
    // What was read is written again as it was: whole records, by what the registry has for their topic or by a schema that is named.
    let records: String = read.iter().map(|record| format!("{record}\n")).collect();
    for (topic, by) in [
        ("orders", &["-s", "avro"][..]),
        (
            "whole",
            &["--value-schema", "id:7", "--key-schema", "orders-key"],
        ),
    ] {
        if topic != "orders" {
            place.topic(topic, 1, "");
        }
        let whole = [&["-t", topic, "-J", "-r", &url][..], by].concat();
        place.run_with("produce", &whole, records.as_bytes());
        let read = place.run("consume", &["-t", topic, "-e", "-J"]);
        let read = json_lines(&read);
        let [.., third, fourth] = &read[..] else {
            panic!("{read:?}");
        };
        let first = place.run("consume", &["-t", "orders", "-e", "-c", "2", "-J"]);
        for (again, before) in [third, fourth].into_iter().zip(json_lines(&first)) {
            for part in ["key", "value", "headers", "timestamp_ms"] {
                assert_eq!(again[part], before[part], "{part} of {topic}");
            }
        }
    }
    for (flags, words) in [
        (&["-s", "q"][..], "by schemas of a registry only"),
        (
            &["-s", "avro", "--value-schema", "id:7"],
            "the schema of each value is said twice",
        ),
    ] {
        let wrong = [&["-t", "orders", "-J", "-r", &url][..], flags].concat();
        let ended = place.end_of("produce", &wrong, records.as_bytes());
        assert!(
            ended.status != Some(0) && ended.errors.contains(words),
            "{ended:?}"
        );
    }
    place.topic("again", 1, "");
    let again = ["-t", "again", "-r", &url, "--value-schema", "id:7"];
    place.run_with("produce", &again, format!("{first}\n{second}\n").as_bytes());
    let bytes = |topic: &str| {
        let read = place.run("consume", &["-t", topic, "-e", "-J"]);
        let read = json_lines(&read);
        read.iter()
            .map(|record| record["value"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(bytes("orders")[..2], bytes("again"));
    // What is wrong is told with its line and its place.
    let wrong = br#"{"id": "c", "price": 1, "lines": [{"sku": "x"}, {"sku": 7}]}"#;
    let ended = place.end_of("produce", &again, wrong);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended
            .errors
            .contains("line 1: the value: lines[1].sku: 7 is no string"),
        "{ended:?}"
    );
}

/// An order in euros, which is defined elsewhere, as is the currency of an amount.
const PRICED: &str = r#"{"type": "record", "name": "Priced", "namespace": "shop", "fields": [
    {"name": "id", "type": "string"}, {"name": "price", "type": "shop.money.Amount"}, {"name": "tip", "type": ["null", "shop.money.Amount"]}]}"#;
const AMOUNT: &str = r#"{"type": "record", "name": "Amount", "namespace": "shop.money", "fields": [
    {"name": "cents", "type": "long"}, {"name": "currency", "type": "Currency"}]}"#;
const CURRENCY: &str =
    r#"{"type": "enum", "name": "Currency", "namespace": "shop.money", "symbols": ["EUR", "CHF"]}"#;

#[test]
fn schemas_of_avro_that_refer_to_others_are_read_and_written_by() {
    let place = place();
    place.topic("priced", 1, "");
    let url = registry::serve_referring(&[
        (
            1,
            "priced-value",
            PRICED,
            &[("shop.money.Amount", "amounts"), ("Currency", "currencies")],
        ),
        (
            2,
            "amounts",
            AMOUNT,
            &[("shop.money.Currency", "currencies")],
        ),
        (3, "currencies", CURRENCY, &[]),
        (4, "lost-value", PRICED, &[("shop.money.Amount", "nowhere")]),
    ]);
    let by = ["-t", "priced", "-J", "-s", "value=avro", "-r", &url];
    let value = json!({"id": "o-1", "price": {"cents": 7, "currency": "CHF"}, "tip": null});
    let line = json!({"value": value}).to_string();
    place.run_with("produce", &by, line.as_bytes());
    let read = json_lines(&place.run("consume", &[&by[..], &["-e"]].concat()));
    assert_eq!(read[0]["value"], value);
    let wrong =
        json!({"value": {"id": "o-1", "price": {"cents": 7, "currency": "USD"}, "tip": null}});
    let ended = place.end_of("produce", &by, wrong.to_string().as_bytes());
    assert!(
        ended.errors.contains("price.currency: \"USD\""),
        "{ended:?}"
    );
    let lost = ["-t", "priced", "-J", "--value-schema", "id:4", "-r", &url];
    let ended = place.end_of("produce", &lost, line.as_bytes());
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let words = "refers to \"shop.money.Amount\", version 1 of the subject nowhere: ";
    assert!(ended.errors.contains(words), "{ended:?}");
}

const SHOP: &str = r#"syntax = "proto3"; package shop;
    import "money.proto";
    message Order { string id = 1; Money total = 2; }
    message Key { int32 number = 1; }"#;
const MONEY: &str = r#"syntax = "proto3"; package shop; message Money { int64 cents = 1; }"#;

#[test]
fn messages_of_any_protobuf_are_written_read_and_decoded_by_their_file() {
    let place = place();
    place.topic("orders", 1, "");
    let folder = std::env::temp_dir().join(format!("pat-events-messages-{}", std::process::id()));
    fs::create_dir_all(folder.join("common")).expect("a folder");
    fs::write(folder.join("shop.proto"), SHOP).expect("written");
    fs::write(folder.join("common/money.proto"), MONEY).expect("written");
    let [file, common] = ["shop.proto", "common"].map(|it| folder.join(it).display().to_string());
    let by_file = [
        "--proto",
        &file,
        "-I",
        &common,
        "--message",
        "shop.Order",
        "--key-message",
        "Key",
    ];
    let run = |command: &str, more: &[&str], input: &[u8]| {
        place.end_of(
            command,
            &[&["-t", "orders"], &by_file[..], more].concat(),
            input,
        )
    };
    let line = br#"{"number": 7}={"id": "o-1", "total": {"cents": "250"}}"#;
    let ended = run("produce", &["-K", "="], line);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let ended = run("consume", &["-e", "-J"], b"");
    let read = json_lines(&ended.text());
    assert_eq!(read[0]["key"], json!({"number": 7}), "{ended:?}");
    assert_eq!(
        read[0]["value"],
        json!({"id": "o-1", "total": {"cents": "250"}})
    );
    // It is written again as it was, with the same flags; a tombstone stays one, and what is no such message is none.
    let tombstone = json!({"key": {"number": 8}, "value": null});
    let lines = format!("{}\n{tombstone}\n", read[0]);
    let ended = run("produce", &["-J"], lines.as_bytes());
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let bytes = json_lines(&place.run("consume", &["-t", "orders", "-e", "-J"]));
    assert_eq!(bytes.len(), 3, "{bytes:?}");
    for part in ["key", "value", "headers", "timestamp_ms"] {
        assert_eq!(bytes[1][part], bytes[0][part], "{part}");
    }
    assert_eq!(
        (&bytes[2]["key"], &bytes[2]["value"]),
        (&json!("\u{8}\u{8}"), &json!(null))
    );
    let ended = run("produce", &["-J"], br#"{"value": {"idd": "o-1"}}"#);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.errors.contains("line 1: value: "), "{ended:?}");
    // What it says can be asked for.
    let ended = run(
        "consume",
        &[
            "-e",
            "-c",
            "1",
            "-f",
            "%o ",
            "--where",
            "$.total.cents = \"250\"",
        ],
        b"",
    );
    assert_eq!(ended.text(), "0 ");
    let value = place.run("consume", &["-t", "orders", "-e", "-J"]);
    let value = json_lines(&value)[0]["value"].clone();
    let hex = "0a036f2d31120308fa01";
    assert_eq!(value, json!({"hex": hex}));
    let decoded = end_of(
        &[
            "decode", hex, "--proto", &file, "-I", &common, "-m", "Order",
        ],
        b"",
    );
    let decoded: serde_json::Value = serde_json::from_slice(&decoded.output).expect("JSON");
    assert_eq!(decoded, json!({"id": "o-1", "total": {"cents": "250"}}));
    for (more, words) in [
        (&["-s", "value=s"][..], "no -s beside it"),
        (&["-T"], "without it, messages are printed by --proto"),
    ] {
        let ended = run("consume", more, b"");
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(ended.errors.contains(words), "{ended:?}");
    }
    let ended = run("produce", &[], br#"{"id": 7}"#);
    assert_eq!(ended.status, Some(1));
    assert!(ended.errors.contains("line 1: the value: "), "{ended:?}");
    // What is no such message is told, and shown as it is.
    place.run_with("produce", &["-t", "orders"], b"\xff\xff");
    let ended = run("consume", &["-e", "-o", "3", "-J"], b"");
    assert_eq!(ended.status, Some(1));
    assert!(
        ended
            .errors
            .contains("the value of orders-0@3 is shown as it is: it is no shop.Order"),
        "{ended:?}"
    );
    fs::remove_dir_all(&folder).expect("removed");
}
