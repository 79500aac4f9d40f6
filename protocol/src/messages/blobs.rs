//! Messages inside other messages: what members of a classic group tell each other, and the principal that a broker
//! forwards.

message! {
    /// What a member of a classic consumer group subscribes to and owns. v1 owned partitions (KIP-429), v2
    /// generation (KIP-792), v3 rack (KIP-881).
    consumer_protocol_subscription: ConsumerProtocolSubscription, versions 0-3, flexible never {
        topics:           [string],         0+;
        user_data:        bytes = None,     0+ nullable 0+;
        owned_partitions: [TopicPartition], 1+, ignorable;
        generation_id:    int32 = -1,       2+, ignorable;
        rack_id:          string = None,    3+ nullable 3+, ignorable;
    }
    TopicPartition {
        topic:      string,  1+;
        partitions: [int32], 1+;
    }
}

message! {
    /// What the leader of a classic consumer group assigns to a member.
    consumer_protocol_assignment: ConsumerProtocolAssignment, versions 0-3, flexible never {
        assigned_partitions: [TopicPartition], 0+;
        user_data:           bytes = None,     0+ nullable 0+;
    }
    TopicPartition {
        topic:      string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// A principal as brokers forward it (KIP-590).
    default_principal_data: DefaultPrincipalData, versions 0, flexible 0+ {
        r#type:              string, 0+;
        name:                string, 0+;
        token_authenticated: bool,   0+;
    }
}
