use pat_events::events::{event_set, prost};

#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct Placed {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(uint64, tag = "2")]
    pub cents: u64,
}

event_set! { //~ an event set needs an event: add a row such as
    pub enum Orders, producer SendOrders, handler HandleOrders {}
}

fn main() {}
