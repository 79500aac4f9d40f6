use pat_events::events::{event_set, prost};

#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
pub struct Placed {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(uint64, tag = "2")]
    pub cents: u64,
}

event_set! { //~ a row of an event set is `Message: type = "name.on.the.wire", key = field;`
    pub enum Orders, producer SendOrders, handler HandleOrders {
        Placed: tpye = "shop.v1.Placed", key = id; //~ no rules expected
    }
}

fn main() {}
