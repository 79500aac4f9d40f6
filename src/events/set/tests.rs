//! What a row can say, and that nothing of the user's gets in the way of what the macro writes, or the other way round.

use prost::Message;

use crate::events::codec::Protobuf;
use crate::events::{AnyEvent, Dispatch, Event, EventSet};

/// Messages with names that the macro might have used for something of its own.
mod shop {
    use super::*;

    macro_rules! messages {
        ($($Name:ident { $field:ident: $Field:ty = $kind:tt }),* $(,)?) => {
            $(#[derive(Clone, PartialEq, Message)]
            pub struct $Name {
                #[prost($kind, tag = "1")]
                pub $field: $Field,
            })*
        };
    }

    messages! {
        Index { id: String = string },
        RecordKind { id: String = string },
        Dispatched { id: String = string },
        Context { id: String = string },
        Err { id: String = string },
        Named { id: String = string },
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Raw {
        #[prost(bytes = "vec", tag = "1")]
        pub id: Vec<u8>,
        #[prost(string, tag = "2")]
        pub name: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Maybe {
        #[prost(string, optional, tag = "1")]
        pub id: Option<String>,
        #[prost(message, optional, boxed, tag = "2")]
        pub inner: Option<Box<Maybe>>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Nested {
        #[prost(message, required, tag = "1")]
        pub order: Raw,
    }

    impl prost::Name for Named {
        const NAME: &'static str = "Named";
        const PACKAGE: &'static str = "shop.v1";
    }

    impl prost::Name for Raw {
        const NAME: &'static str = "Raw";
        const PACKAGE: &'static str = "";
    }
}

use shop::{Dispatched, Index};

// Names of a generic parameter, a local and a prelude's trait; no semicolon after the last row; commas or not.
crate::event_set! {
    /// All rows there are.
    enum Set, producer Send, handler H, {
        Index: type = "shop.Index", key = id;
        shop::RecordKind: type = "shop.RecordKind", key = id,;
        Dispatched: type = "shop.Dispatched";
        self::shop::Context: type = "shop.Context", key = _;
        crate::events::set::tests::shop::Err: type = "shop.Err", key = id;
        shop::Named: key = id;
        shop::Raw: key = _;
        shop::Maybe: type = "shop.Maybe", key = id, tenant = id;
        shop::Nested: tenant = order.name, key = order.id, type = "shop.Nested"
    }
}

crate::event_set! {
    enum Other, producer __Handler, handler Handler { Index; shop::Named; }
}

#[test]
fn a_row_says_type_and_key_or_leaves_them_out() {
    let types = [
        "shop.Index",
        "shop.RecordKind",
        "shop.Dispatched",
        "shop.Context",
        "shop.Err",
        "shop.v1.Named",
        "Raw",
        "shop.Maybe",
        "shop.Nested",
    ];
    assert_eq!(Set::TYPES, types);
    assert_eq!(Other::TYPES, ["shop.Index", "shop.v1.Named"]);
    let id = || "7".to_string();
    let seven = Some(&b"7"[..]);
    assert_eq!(Event::key(&Index { id: id() }), seven);
    assert_eq!(Event::key(&Index { id: String::new() }), None);
    assert_eq!(Event::key(&Dispatched { id: id() }), None);
    assert_eq!(Event::key(&shop::Context { id: id() }), None);
    assert_eq!(Event::key(&shop::Named { id: id() }), seven);
    let raw = shop::Raw {
        id: b"7".into(),
        name: "eight".to_string(),
    };
    assert_eq!(Event::key(&raw), None);
    let maybe = |id| shop::Maybe { id, inner: None };
    assert_eq!(Event::key(&maybe(Some(id()))), seven);
    assert_eq!(Event::key(&maybe(Some(String::new()))), None);
    assert_eq!(Event::key(&maybe(None)), None);
    assert_eq!(Event::tenant_id(&maybe(Some(id()))), Some("7"));
    assert_eq!(Event::tenant_id(&maybe(Some(String::new()))), None);
    let nested = shop::Nested { order: raw };
    assert_eq!(Event::key(&nested), seven);
    assert_eq!(Event::tenant_id(&nested), Some("eight"));
    assert_eq!(AnyEvent::tenant_id(&Set::from(nested)), Some("eight"));
    assert_eq!(AnyEvent::tenant_id(&Set::from(Index { id: id() })), None);
    assert_eq!(AnyEvent::key(&Set::from(Index { id: id() })), seven);
}

/// Returns the number of the method.
struct Numbers;

macro_rules! numbers {
    ($($method:ident: $Event:ty = $number:literal),* $(,)?) => {
        impl H for Numbers {
            $(async fn $method(&self, _: &crate::events::Context<'_>, _: $Event) -> Result<(), crate::events::HandlerError> {
                Result::Err(crate::events::HandlerError::new($number))
            })*
        }
    };
}

numbers! {
    handle_index: Index = "0", handle_record_kind: shop::RecordKind = "1", handle_dispatched: Dispatched = "2", handle_context: shop::Context = "3",
    handle_err: shop::Err = "4", handle_named: shop::Named = "5", handle_raw: shop::Raw = "6", handle_maybe: shop::Maybe = "7",
    handle_nested: shop::Nested = "8"
}

#[tokio::test]
async fn every_event_reaches_its_method_and_counts_under_its_index() {
    for (index, event_type) in Set::TYPES.iter().enumerate() {
        let headers = [("ce_type", Some(event_type.as_bytes()))];
        let record = crate::events::RawRecord {
            topic: "t",
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: None,
            value: Some(b"\x0a\x00"),
            headers: crate::events::RawHeaders::new(&headers),
        };
        let context = crate::events::Context::new(record);
        let dispatched = Set::dispatch(&Numbers, &Protobuf, &context).await;
        assert_eq!(dispatched.kind, crate::events::RecordKind::Event(index));
        let error = dispatched.result.expect_err("the number");
        assert_eq!(error.to_string(), index.to_string());
    }
}
