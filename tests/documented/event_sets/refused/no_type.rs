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
        Placed: key = id; //~ `Placed` does not know its name
    }
}

fn main() {}
