//! A crate without a prelude, whose own names are those of the prelude and of what the macro writes, and which calls prost by another name.
#![no_implicit_prelude]
#![allow(dead_code)]

mod messages {
    use ::pat_events::events::prost as wire;
    use ::std::prelude::rust_2024::*;

    #[derive(Clone, PartialEq, wire::Message)]
    #[prost(prost_path = "wire")]
    pub struct Placed {
        #[prost(string, tag = "1")]
        pub id: String,
    }

    #[derive(Clone, PartialEq, wire::Message)]
    #[prost(prost_path = "wire")]
    pub struct Shipped {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub id: Option<Vec<u8>>,
    }

    impl wire::Name for Shipped {
        const PACKAGE: &'static str = "shop.v1";
        const NAME: &'static str = "Shipped";
    }
}

mod core {}
mod std {}
mod prost {}
mod pat_events {}

struct Result;
struct Option;
struct String;
struct Vec;
struct Some;
struct None;
struct Ok;
struct Err;
struct Event;
struct Context;
struct HandlerError;
struct Handler;
struct Producer;
trait Send {}
trait Sync {}
trait Sized {}
trait From {}
trait Clone {}
trait Debug {}
trait PartialEq {}
trait Default {}
trait Future {}
trait Message {}
macro_rules! concat {
    () => {};
}
macro_rules! stringify {
    () => {};
}
macro_rules! assert {
    () => {};
}

::pat_events::events::event_set! {
    /// The life of an order.
    pub enum Orders, producer SendOrders, handler HandleOrders {
        messages::Placed: type = "shop.v1.Placed", key = id;
        messages::Shipped: key = id;
    }
}

struct Shop;

impl HandleOrders for Shop {
    async fn handle_placed(
        &self,
        _: &::pat_events::events::Context<'_>,
        _: messages::Placed,
    ) -> ::std::result::Result<(), ::pat_events::events::HandlerError> {
        ::std::result::Result::Ok(())
    }

    async fn handle_shipped(
        &self,
        _: &::pat_events::events::Context<'_>,
        _: messages::Shipped,
    ) -> ::std::result::Result<(), ::pat_events::events::HandlerError> {
        ::std::result::Result::Ok(())
    }
}

fn main() {}
