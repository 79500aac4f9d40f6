use apache_avro::types::Value;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: i64,
    count: u32,
    weight: f64,
    share: f32,
    is_gift: bool,
    note: Option<String>,
    state: State,
    lines: Vec<Line>,
    labels: BTreeMap<String, i32>,
    #[serde(with = "serde_bytes")]
    proof: Vec<u8>,
    price: Decimal<2>,
    paid: Option<Paid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Open,
    Closed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    name: String,
    more: Option<Box<Line>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Paid {
    Card(Card),
    Cash { coins: i32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Card {
    number: String,
}

const ORDER: &str = r#"{"type": "record", "name": "Order", "namespace": "shop.v1", "fields": [
    {"name": "id", "type": "string"},
    {"name": "cents", "type": "long"},
    {"name": "count", "type": "long"},
    {"name": "weight", "type": "double"},
    {"name": "share", "type": "float"},
    {"name": "is_gift", "type": "boolean"},
    {"name": "note", "type": ["null", "string"], "default": null},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["Open", "Closed"], "default": "Open"}},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "name", "type": "string"}, {"name": "more", "type": ["null", "Line"], "default": null}]}}},
    {"name": "labels", "type": {"type": "map", "values": "int"}},
    {"name": "proof", "type": "bytes"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}},
    {"name": "paid", "type": ["null",
        {"type": "record", "name": "Card", "fields": [{"name": "number", "type": "string"}]},
        {"type": "record", "name": "Cash", "fields": [{"name": "coins", "type": "int"}]}], "default": null}
]}"#;

fn order() -> Order {
    let line = |name: &str, more| Line {
        name: name.to_string(),
        more,
    };
    Order {
        id: "o-1".into(),
        cents: -7_000_000_000,
        count: u32::MAX,
        weight: 1.5,
        share: 0.25,
        is_gift: true,
        note: Some("soon".into()),
        state: State::Closed,
        lines: vec![line("a", None), line("b", Some(Box::new(line("c", None))))],
        labels: BTreeMap::from([("x".to_string(), 1), ("y".to_string(), -2)]),
        proof: vec![0, 255],
        price: Decimal(-1_250),
        paid: Some(Paid::Cash { coins: 3 }),
    }
}

fn read_by<T: DeserializeOwned>(
    reader: &AvroSchema,
    writer: &str,
    data: &[u8],
) -> Result<T, AvroError> {
    reader.reading(writer, &[])?.decode(data)
}

#[test]
fn what_is_written_is_read_and_another_implementation_reads_it_and_writes_the_same() {
    let schema = AvroSchema::new(ORDER);
    let theirs = apache_avro::Schema::parse_str(ORDER).expect("a schema");
    let card = Order {
        paid: Some(Paid::Card(Card {
            number: "42".into(),
        })),
        note: None,
        ..order()
    };
    let empty = Order {
        lines: Vec::new(),
        labels: BTreeMap::new(),
        paid: None,
        ..order()
    };
    for order in [order(), card, empty] {
        let data = schema.encode(&order).expect("by its schema");
        assert_eq!(schema.decode::<Order>(&data), Ok(order));
        let reader = apache_avro::reader::datum::GenericDatumReader::builder(&theirs);
        let reader = reader.build().expect("a reader");
        let mut rest = &data[..];
        let value: Value = reader.read_value(&mut rest).expect("well formed");
        assert!(rest.is_empty());
        let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&theirs).build();
        let written = writer
            .expect("a writer")
            .write_value_to_vec(value)
            .expect("written");
        assert_eq!(schema.decode::<Order>(&written), schema.decode(&data));
    }
}

#[test]
fn a_reader_resolves_what_another_schema_wrote() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        cents: i32,
        gone: Vec<BTreeMap<String, Option<String>>>,
        state: String,
        was: String,
        name: String,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct New {
        name: Option<String>,
        cents: f64,
        state: String,
        is: String,
        added: Vec<i32>,
        line: Line,
    }
    let old = r#"{"type": "record", "name": "old.Order", "fields": [
        {"name": "cents", "type": "int"},
        {"name": "gone", "type": {"type": "array", "items": {"type": "map", "values": ["null", "string"]}}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["Lost", "Open"]}},
        {"name": "was", "type": "string"},
        {"name": "name", "type": "string"}]}"#;
    let new = AvroSchema::new(
        r#"{"type": "record", "name": "new.Order", "fields": [
        {"name": "name", "type": ["null", "string"]},
        {"name": "cents", "type": "double"},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["Unknown", "Open"], "default": "Unknown"}},
        {"name": "is", "aliases": ["was"], "type": "string"},
        {"name": "added", "type": {"type": "array", "items": "int"}, "default": [1, -2]},
        {"name": "line", "type": {"type": "record", "name": "Line", "fields": [
            {"name": "name", "type": "string"}, {"name": "more", "type": ["null", "Line"], "default": null}]}, "default": {"name": "l"}}]}"#,
    );
    let written = Old {
        cents: 7,
        gone: vec![BTreeMap::from([("a".into(), None), ("b".into(), Some("c".into()))]); 2],
        state: "Lost".into(),
        was: "w".into(),
        name: "n".into(),
    };
    let data = AvroSchema::new(old)
        .encode(&written)
        .expect("by its schema");
    let read: New = read_by(&new, old, &data).expect("resolved");
    let expected = New {
        name: Some("n".into()),
        cents: 7.0,
        state: "Unknown".into(),
        is: "w".into(),
        added: vec![1, -2],
        line: Line {
            name: "l".into(),
            more: None,
        },
    };
    assert_eq!(read, expected);
}

#[test]
fn what_cannot_be_resolved_says_why() {
    for (writer, reader, why) in [
        (
            r#""string""#,
            r#""int""#,
            "what was written as string cannot be read as int",
        ),
        (
            r#""long""#,
            r#""int""#,
            "what was written as long cannot be read as int",
        ),
        (
            r#"{"type": "record", "name": "A", "fields": []}"#,
            r#"{"type": "record", "name": "A", "fields": [{"name": "a", "type": "int"}]}"#,
            "A was written without a, which has no default",
        ),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}"#,
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}"#,
            "what was written as bytes cannot be read as bytes",
        ),
    ] {
        let error = AvroSchema::of(reader.to_string()).reading(writer, &[]);
        assert_eq!(error.expect_err(why).to_string(), why);
    }
}

#[test]
fn what_is_no_schema_says_why() {
    for (text, why) in [
        ("{", "the schema is no JSON"),
        ("7", "a schema is a name"),
        ("\"B\"", "the schema B is not defined"),
        (r#"{"type": "array"}"#, "has no items"),
        (r#"{"type": "record", "name": "A"}"#, "A has no fields"),
        (r#"[["int"]]"#, "a union stands directly in a union"),
        (
            r#"{"type": "fixed", "name": "F", "size": -1}"#,
            "F has no size",
        ),
        (
            r#"{"type": "record", "name": "A", "fields": [{"name": "a", "type": "int", "default": "x"}]}"#,
            "the default of A.a",
        ),
        (
            &format!("{}\"int\"{}", "[".repeat(200), "]".repeat(200)),
            "no JSON",
        ),
    ] {
        let error = AvroSchema::of(text.to_string()).check().expect_err(text);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_value_that_its_schema_does_not_have_says_where() {
    #[derive(Serialize)]
    struct Wrong {
        id: u64,
    }
    let schema = AvroSchema::new(
        r#"{"type": "record", "name": "Wrong", "fields": [{"name": "id", "type": "int"}]}"#,
    );
    let error = schema.encode(&Wrong { id: 1 << 40 }).expect_err("too much");
    let said =
        "Wrong.id: the number 1099511627776 cannot be written as int, which the schema has there";
    assert_eq!(error.to_string(), said);
    assert_eq!(schema.encode(&Wrong { id: 1 }), Ok(vec![2]));
}

#[test]
fn data_that_is_cut_or_lies_is_refused() {
    let schema = AvroSchema::new(ORDER);
    let data = schema.encode(&order()).expect("by its schema");
    for cut in 0..data.len() {
        assert!(schema.decode::<Order>(&data[..cut]).is_err(), "{cut}");
    }
    let longer = [&data[..], &[0]].concat();
    let error = schema.decode::<Order>(&longer).expect_err("too long");
    assert_eq!(error.to_string(), "1 bytes are left over");
    // A list of as many nulls as there are numbers, in ten bytes.
    let nulls = AvroSchema::new(r#"{"type": "array", "items": "null"}"#);
    let mut many = Vec::new();
    primitive::write_long(i64::MAX, &mut many);
    let error = nulls.decode::<Vec<()>>(&many).expect_err("too many");
    assert!(error.to_string().contains("items have no bytes"), "{error}");
    // A schema that refers to itself, and data that follows it without end.
    let chain = AvroSchema::new(
        r#"{"type": "record", "name": "Line", "fields": [{"name": "name", "type": "string"}, {"name": "more", "type": ["null", "Line"]}]}"#,
    );
    let deep = [0, 2].repeat(100_000);
    let error = chain.decode::<Line>(&deep).expect_err("too deep");
    assert!(error.to_string().contains("deep in each other"), "{error}");
}

#[test]
fn amounts_are_written_as_people_do() {
    for (amount, text) in [
        (0, "0.00"),
        (5, "0.05"),
        (-1_250, "-12.50"),
        (i128::MAX, "1701411834604692317316873037158841057.27"),
    ] {
        assert_eq!(Decimal::<2>(amount).to_string(), text);
        assert_eq!(text.parse(), Ok(Decimal::<2>(amount)));
    }
    assert_eq!("7.5".parse(), Ok(Decimal::<2>(750)));
    for wrong in ["", "-", ".5", "1.005", "1,5", "1e3", "+1"] {
        assert_eq!(wrong.parse::<Decimal<2>>(), Err(()), "{wrong}");
    }
}

proptest! {
    #[test]
    fn amounts_come_back(amount: i128) {
        let schema = AvroSchema::new(r#"{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}"#);
        let data = schema.encode(&Decimal::<2>(amount)).expect("bytes");
        prop_assert_eq!(schema.decode(&data), Ok(Decimal::<2>(amount)));
        let json = serde_json::to_string(&Decimal::<2>(amount)).expect("a text");
        prop_assert_eq!(serde_json::from_str::<Decimal<2>>(&json).expect("an amount"), Decimal(amount));
    }

    #[test]
    fn any_bytes_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let schema = AvroSchema::new(ORDER);
        if let Ok(order) = schema.decode::<Order>(&data) {
            let written = schema.encode(&order).expect("read by it");
            // Not a number is not equal to itself.
            prop_assert_eq!(format!("{:?}", schema.decode::<Order>(&written)), format!("{:?}", Ok::<_, AvroError>(order)));
        }
    }
}

/// A schema with a bit of everything that people write.
const WRITTEN: &str = r#"{"type": "record", "name": "Written", "namespace": "n", "fields": [
    {"name": "id", "type": "string"},
    {"name": "count", "type": "int", "default": 7},
    {"name": "total", "type": "long", "default": -1},
    {"name": "share", "type": "float", "default": 0.5},
    {"name": "weight", "type": "double", "default": 1},
    {"name": "is_gift", "type": "boolean", "default": false},
    {"name": "note", "type": ["null", "string"], "default": null},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["Open", "Closed"]}, "default": "Open"},
    {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 2}, "default": "\u0000\u00ff"},
    {"name": "proof", "type": "bytes", "default": "\u00e9"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, "default": "\u0007"},
    {"name": "tax", "type": {"type": "fixed", "name": "Tax", "size": 4, "logicalType": "decimal", "precision": 6, "scale": 2}, "default": "\u0000\u0000\u0000\u0000"},
    {"name": "labels", "type": {"type": "map", "values": "int"}, "default": {"a": 1}},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"}, {"name": "more", "type": ["null", "Line"], "default": null}]}}, "default": []},
    {"name": "any", "type": ["null", "long", "double", "boolean", "string", "bytes", "State", "Line",
        {"type": "record", "name": "Card", "fields": [{"name": "number", "type": "string"}]},
        {"type": "array", "items": "long"}, {"type": "map", "values": "string"}], "default": null}
]}"#;

/// What JSON describes, read back: a field of it.
fn written(json: &str, field: &str) -> serde_json::Value {
    let schema = AvroSchema::new(WRITTEN);
    let data = schema.encode_json(json.as_bytes()).expect(json);
    let theirs = apache_avro::Schema::parse_str(WRITTEN).expect("a schema");
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&theirs);
    let mut rest = &data[..];
    let value = reader.build().expect("a reader").read_value(&mut rest);
    assert!(rest.is_empty(), "{json}");
    let Ok(Value::Record(fields)) = value else {
        panic!("{json} is no record: {value:?}");
    };
    let (_, value) = fields
        .into_iter()
        .find(|(name, _)| name == field)
        .expect(field);
    told(value)
}

/// A value as another implementation has read it: of unions the place of the branch and its value, of numbers that are decimals their bytes.
fn told(value: Value) -> serde_json::Value {
    use serde_json::json;
    match value {
        Value::Union(place, value) => json!([place, told(*value)]),
        Value::Record(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, told(value)));
            serde_json::Value::Object(fields.collect())
        }
        Value::Map(entries) => {
            let entries = entries.into_iter().map(|(name, value)| (name, told(value)));
            serde_json::Value::Object(entries.collect())
        }
        Value::Array(items) => items.into_iter().map(told).collect(),
        Value::Null => json!(null),
        Value::Boolean(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Long(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Double(value) => json!(value),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => json!(bytes),
        Value::Decimal(number) => json!(Vec::<u8>::try_from(&number).expect("its bytes")),
        other => panic!("{other:?} is in no schema here"),
    }
}

#[test]
fn json_becomes_what_its_schema_says_as_another_implementation_reads_it() {
    use serde_json::json;
    for (more, field, expected) in [
        ("", "id", json!("o-1")),
        ("", "count", json!(7)),
        ("", "total", json!(-1)),
        ("", "share", json!(0.5)),
        ("", "weight", json!(1.0)),
        ("", "is_gift", json!(false)),
        ("", "note", json!([0, null])),
        ("", "state", json!("Open")),
        ("", "hash", json!([0, 255])),
        ("", "proof", json!([0xe9])),
        ("", "price", json!([7])),
        ("", "labels", json!({"a": 1})),
        ("", "lines", json!([])),
        (r#""count": -3"#, "count", json!(-3)),
        (
            r#""total": 9007199254740993"#,
            "total",
            json!(9_007_199_254_740_993i64),
        ),
        (r#""share": 3"#, "share", json!(3.0)),
        (r#""weight": 2.25"#, "weight", json!(2.25)),
        (r#""is_gift": true"#, "is_gift", json!(true)),
        (r#""note": "x""#, "note", json!([1, "x"])),
        (r#""note": {"string": "x"}"#, "note", json!([1, "x"])),
        (r#""note": null"#, "note", json!([0, null])),
        (r#""state": "Closed""#, "state", json!("Closed")),
        (r#""hash": "\u00ff\u0001""#, "hash", json!([255, 1])),
        (r#""hash": {"hex": "Ff00"}"#, "hash", json!([255, 0])),
        (r#""proof": "ab\u00e9""#, "proof", json!([97, 98, 0xe9])),
        (r#""proof": {"hex": ""}"#, "proof", json!([])),
        (r#""price": "12.50""#, "price", json!([0x04, 0xe2])),
        (r#""price": -12.5"#, "price", json!([0xfb, 0x1e])),
        (r#""price": 3"#, "price", json!([0x01, 0x2c])),
        (r#""price": {"hex": "07"}"#, "price", json!([7])),
        (r#""tax": "-0.01""#, "tax", json!([255, 255, 255, 255])),
        (r#""tax": 655.36"#, "tax", json!([0, 1, 0, 0])),
        (r#""labels": {"b": 2}"#, "labels", json!({"b": 2})),
        (
            r#""lines": [{"sku": "a"}, {"more": {"sku": "c"}, "sku": "b"}, {"sku": "d", "more": {"n.Line": {"sku": "e"}}}]"#,
            "lines",
            json!([
                {"sku": "a", "more": [0, null]},
                {"sku": "b", "more": [1, {"sku": "c", "more": [0, null]}]},
                {"sku": "d", "more": [1, {"sku": "e", "more": [0, null]}]},
            ]),
        ),
        (r#""any": 7"#, "any", json!([1, 7])),
        (r#""any": 7.5"#, "any", json!([2, 7.5])),
        (r#""any": {"double": 7}"#, "any", json!([2, 7.0])),
        (r#""any": false"#, "any", json!([3, false])),
        (r#""any": "Open""#, "any", json!([4, "Open"])),
        (r#""any": {"bytes": "a"}"#, "any", json!([5, [97]])),
        (r#""any": {"n.State": "Open"}"#, "any", json!([6, "Open"])),
        (r#""any": {"State": "Open"}"#, "any", json!([6, "Open"])),
        (
            r#""any": {"sku": "a"}"#,
            "any",
            json!([7, {"sku": "a", "more": [0, null]}]),
        ),
        (
            r#""any": {"number": "a"}"#,
            "any",
            json!([8, {"number": "a"}]),
        ),
        (
            r#""any": {"n.Card": {"number": "a"}}"#,
            "any",
            json!([8, {"number": "a"}]),
        ),
        (r#""any": [1, 2]"#, "any", json!([9, [1, 2]])),
        (
            r#""any": {"a": "b", "c": "d"}"#,
            "any",
            json!([10, {"a": "b", "c": "d"}]),
        ),
        (
            r#""any": {"map": {"n.Card": "b"}}"#,
            "any",
            json!([10, {"n.Card": "b"}]),
        ),
    ] {
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(", {more}")
        };
        let json = format!(r#"{{"id": "o-1"{more}}}"#);
        assert_eq!(written(&json, field), expected, "{json}");
    }
}

#[test]
fn json_that_its_schema_does_not_have_says_where_and_why() {
    for (json, error) in [
        ("{", "it is no JSON"),
        ("7", "7 is no n.Written"),
        (
            "{}",
            "id: it is not given, and the schema has no default for it",
        ),
        (r#"{"id": 7}"#, "id: 7 is no string"),
        (r#"{"id": null}"#, "id: null is no string"),
        (
            r#"{"id": "x", "idd": 1, "count": "x"}"#,
            "idd: n.Written has no such field; it has id, count, total",
        ),
        (
            r#"{"id": "x", "count": 2147483648}"#,
            "count: 2147483648 is no int",
        ),
        (r#"{"id": "x", "count": 1.5}"#, "count: 1.5 is no int"),
        (
            r#"{"id": "x", "total": 9223372036854775808}"#,
            "total: 9223372036854775808 is no long",
        ),
        (
            r#"{"id": "x", "share": 1e300}"#,
            "share: 1e+300 is no float",
        ),
        (
            r#"{"id": "x", "weight": "heavy"}"#,
            "weight: \"heavy\" is no double",
        ),
        (r#"{"id": "x", "is_gift": 1}"#, "is_gift: 1 is no boolean"),
        (
            r#"{"id": "x", "note": 7}"#,
            "note: 7 is none of null, string; {\"string\": …} says which one",
        ),
        (
            r#"{"id": "x", "note": {"string": 7}}"#,
            "note: 7 is no string",
        ),
        (
            r#"{"id": "x", "state": "Ajar"}"#,
            "state: \"Ajar\" is no symbol of n.State, which has Open, Closed",
        ),
        (
            r#"{"id": "x", "hash": "abc"}"#,
            "hash: \"abc\" has 3 bytes, not 2",
        ),
        (
            r#"{"id": "x", "proof": "€"}"#,
            "proof: \"€\" is no bytes: a text has a character for each byte",
        ),
        (
            r#"{"id": "x", "proof": {"hex": "abc"}}"#,
            "proof: {\"hex\":\"abc\"} is no bytes",
        ),
        (
            r#"{"id": "x", "price": "12.505"}"#,
            "price: \"12.505\" is no number with 2 decimals and 6 digits at most",
        ),
        (
            r#"{"id": "x", "price": "10000.00"}"#,
            "price: \"10000.00\" is no number with 2 decimals and 6 digits at most",
        ),
        (
            r#"{"id": "x", "tax": "1e3"}"#,
            "tax: \"1e3\" is no number with 2 decimals",
        ),
        (
            r#"{"id": "x", "labels": {"a b": "c"}}"#,
            "labels[\"a b\"]: \"c\" is no int",
        ),
        (
            r#"{"id": "x", "lines": [{"sku": "a"}, {"sku": "b", "more": {"sku": 7}}]}"#,
            "lines[1].more.sku: 7 is no string",
        ),
        (
            r#"{"id": "x", "lines": [{"n.Line": {"sku": "a"}}]}"#,
            "lines[0].n.Line: n.Line has no such field; it has sku, more",
        ),
        (
            r#"{"id": "x", "any": {"Card": {"number": 1}}}"#,
            "any.number: 1 is no string",
        ),
        (
            r#"{"id": "x", "any": {"sku": 7}}"#,
            "any: {\"sku\":7} is none of null, long, double, boolean, string, bytes, n.State, n.Line, n.Card, array, map",
        ),
    ] {
        let told = AvroSchema::new(WRITTEN)
            .encode_json(json.as_bytes())
            .expect_err(json);
        assert!(told.to_string().starts_with(error), "{json}: {told}");
    }
    let long = format!(r#"{{"id": ["{}"]}}"#, "x".repeat(10_000));
    let told = AvroSchema::new(WRITTEN)
        .encode_json(long.as_bytes())
        .expect_err("a list");
    assert!(told.to_string().len() < 200, "{told}");
}

#[test]
fn what_has_no_number_in_json_is_a_text() {
    let schema = AvroSchema::new(r#""double""#);
    for (json, value) in [
        (r#""Infinity""#, f64::INFINITY),
        (r#""-inf""#, f64::NEG_INFINITY),
    ] {
        assert_eq!(schema.encode_json(json.as_bytes()), schema.encode(&value));
    }
    let nan = schema
        .encode_json(br#""NaN""#)
        .expect("a number that is none");
    assert!(schema.decode::<f64>(&nan).expect("read").is_nan());
}

#[test]
fn fields_that_come_as_a_map_are_those_of_the_record() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        id: String,
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        price: Decimal<2>,
        note: Option<String>,
    }
    let schema = AvroSchema::new(
        r#"["null", {"type": "record", "name": "Outer", "fields": [
            {"name": "note", "type": ["null", "string"]}, {"name": "id", "type": "string"},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}}]}]"#,
    );
    let outer = Outer {
        id: "o".into(),
        inner: Inner {
            price: Decimal(-1_250),
            note: Some("n".into()),
        },
    };
    let data = schema.encode(&outer).expect("by its schema");
    assert_eq!(data, [2, 2, 2, b'n', 2, b'o', 4, 0xfb, 0x1e]);
    assert_eq!(schema.decode::<Outer>(&data), Ok(outer));
    // What takes whatever comes is told the number.
    let any: serde_json::Value = schema.decode(&data).expect("any");
    assert_eq!(any["price"], "-12.50");
    assert_eq!(schema.encode(&any), Ok(data));
}
