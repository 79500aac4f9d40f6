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
