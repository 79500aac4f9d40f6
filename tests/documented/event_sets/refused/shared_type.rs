use pat_events::events::{event_set, prost};

#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct Placed {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(uint64, tag = "2")]
    pub cents: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct Shipped {
    #[prost(string, tag = "1")]
    pub id: String,
}

event_set! { //~ shares it with another event of the set: give each a type of its own
    pub enum Orders, producer SendOrders, handler HandleOrders {
        Placed: type = "shop.v1.Placed", key = id;
        Shipped: type = "shop.v1.Placed", key = id;
    }
}

fn main() {}
