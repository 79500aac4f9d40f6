use pat_events::events::{event_set, prost};

#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct Placed {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(uint64, tag = "2")]
    pub cents: u64,
}

event_set! {
    pub enum Orders, producer SendOrders, handler HandleOrders {
        Placed: type = "shop.v1.Placed", key = cents; //~ a field of type `u64` cannot be the key of an event
    }
}

fn main() {}
