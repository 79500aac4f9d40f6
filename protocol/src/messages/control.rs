//! Values of control records, their keys, and the entries of the index of aborted transactions.

message! {
    /// The key of a control record: 0 aborts, 1 commits, 2 and up belong to the controller quorum.
    control_record_type_schema: ControlRecordTypeSchema, versions 0, flexible never {
        r#type: int16, 0+;
    }
}

message! {
    /// The value of a control record that ends a transaction.
    end_txn_marker: EndTxnMarker, versions 0, flexible never {
        coordinator_epoch: int32, 0+;
    }
}

message! {
    /// An entry of the index of aborted transactions, as a broker stores it.
    aborted_txn: AbortedTxn, versions 0, flexible never {
        producer_id:        int64, 0+;
        first_offset:       int64, 0+;
        last_offset:        int64, 0+;
        last_stable_offset: int64, 0+;
    }
}

message! {
    /// The value of a control record that begins the epoch of a quorum leader (KIP-595); v1 adds endorsing voters
    /// by directory (KIP-853).
    leader_change_message: LeaderChangeMessage, versions 0-1, flexible 0+ {
        version:         int16,   0+;
        leader_id:       int32,   0+;
        voters:          [Voter], 0+;
        granting_voters: [Voter], 0+;
    }
    Voter {
        voter_id:           int32, 0+;
        voter_directory_id: uuid,  1+;
    }
}

message! {
    /// The value of the first control record of a metadata snapshot (KIP-630).
    snapshot_header_record: SnapshotHeaderRecord, versions 0, flexible 0+ {
        version:                      int16, 0+;
        last_contained_log_timestamp: int64, 0+;
    }
}

message! {
    /// The value of the last control record of a metadata snapshot (KIP-630).
    snapshot_footer_record: SnapshotFooterRecord, versions 0, flexible 0+ {
        version: int16, 0+;
    }
}

message! {
    /// The value of a control record that sets the version of the quorum protocol (KIP-853).
    k_raft_version_record: KRaftVersionRecord, versions 0, flexible 0+ {
        version:        int16, 0+;
        k_raft_version: int16, 0+;
    }
}

message! {
    /// The value of a control record that sets the voters of the quorum (KIP-853).
    voters_record: VotersRecord, versions 0, flexible 0+ {
        version: int16,   0+;
        voters:  [Voter], 0+;
    }
    Voter {
        voter_id:               int32,               0+;
        voter_directory_id:     uuid,                0+;
        endpoints:              [Endpoint],          0+;
        k_raft_version_feature: KRaftVersionFeature, 0+;
    }
    Endpoint {
        name: string, 0+;
        host: string, 0+;
        port: uint16, 0+;
    }
    KRaftVersionFeature {
        min_supported_version: int16, 0+;
        max_supported_version: int16, 0+;
    }
}
