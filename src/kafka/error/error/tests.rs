//! What errors say, and what they are taken for.

use super::*;

#[test]
fn who_is_refused_is_told_which_right_it_needs() {
    for (code, api, right) in [
        (
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ApiKey::PRODUCE,
            "needs WRITE on the topic",
        ),
        (
            ErrorCode::GROUP_AUTHORIZATION_FAILED,
            ApiKey::JOIN_GROUP,
            "needs READ on the group",
        ),
        (
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            ApiKey::INIT_PRODUCER_ID,
            "needs WRITE on a topic, or",
        ),
    ] {
        let text = Error::server(code, None).api(api).to_string();
        assert!(text.contains(right), "{text}");
    }
    let text = Error::server(ErrorCode::GROUP_AUTHORIZATION_FAILED, None).to_string();
    assert!(!text.contains("needs"), "{text}");
}

#[test]
fn an_error_is_as_big_as_a_pointer() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
}

#[test]
fn display_is_one_line_with_what_where_and_why() {
    let error = Error::server(ErrorCode::NOT_LEADER_OR_FOLLOWER, None)
        .api(ApiKey::PRODUCE)
        .broker(2, &Address::new("kafka-2", 9092))
        .topic_partition("emails", 3)
        .attempt(2);
    assert_eq!(
        error.to_string(),
        "Produce, broker 2 (kafka-2:9092), emails-3, attempt 2: the broker answered NOT_LEADER_OR_FOLLOWER (6): \
         this broker is not the leader, or no replica, of the partition"
    );
    assert!(error.is_retriable());
    assert!(!error.is_fatal());
}

/// Every kind. A new one does not compile until it is here.
fn kinds() -> Vec<ErrorKind> {
    use ErrorKind::*;
    let next = |kind| match kind {
        Config => Some(Connect),
        Connect => Some(Disconnected),
        Disconnected => Some(Timeout),
        Timeout => Some(Server(ErrorCode::UNKNOWN_SERVER_ERROR)),
        Server(_) => Some(UnsupportedVersion),
        UnsupportedVersion => Some(Protocol),
        Protocol => Some(RecordTooLarge),
        RecordTooLarge => Some(BufferFull),
        BufferFull => Some(UnknownTopicOrPartition),
        UnknownTopicOrPartition => Some(OffsetOutOfRange),
        OffsetOutOfRange => Some(NoOffset),
        NoOffset => Some(CorruptBatch),
        CorruptBatch => Some(Fenced),
        Fenced => Some(TransactionAborted),
        TransactionAborted => Some(Rebalance),
        Rebalance => Some(Closed),
        Closed => Some(Authentication),
        Authentication => Some(Authorization),
        Authorization => Some(NoLeader),
        NoLeader => Some(TopicRecreated),
        TopicRecreated => Some(InvalidRecord),
        InvalidRecord => Some(MetadataPending),
        MetadataPending => Some(Internal),
        Internal => None,
    };
    std::iter::successors(Some(Config), |kind| next(*kind)).collect()
}

#[test]
fn a_chain_of_errors_says_nothing_twice() {
    let refused = || std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
    for kind in kinds() {
        let source = Error::new(kind, "the inner reason").because(refused());
        let address = Address::new("kafka-1", 9092);
        let error = Error::new(kind, "the outer reason")
            .broker(1, &address)
            .because(source);
        let mut texts = vec![error.to_string()];
        let mut next = std::error::Error::source(&error);
        while let Some(source) = next {
            texts.push(source.to_string());
            next = source.source();
        }
        let chain = texts.join(" / ");
        for once in [
            "the outer reason",
            "the inner reason",
            "refused",
            "kafka-1:9092",
        ] {
            assert_eq!(chain.matches(once).count(), 1, "{kind:?}: {once}: {chain}");
        }
    }
}

#[test]
fn a_read_has_written_nothing_whatever_became_of_it() {
    for kind in kinds() {
        let error = Error::new(kind, "lost").with_outcome(WriteOutcome::Unknown);
        for api in [ApiKey::FETCH, ApiKey::METADATA, ApiKey::LIST_OFFSETS] {
            let outcome = error.clone().api(api).outcome();
            assert_eq!(outcome, WriteOutcome::NotWritten, "{kind:?}");
        }
        let outcome = error.api(ApiKey::PRODUCE).outcome();
        assert_eq!(outcome, WriteOutcome::Unknown, "{kind:?}");
    }
    let failed = Error::server(ErrorCode::UNKNOWN_SERVER_ERROR, None).api(ApiKey::FETCH);
    assert!(!failed.to_string().contains("applied"), "{failed}");
}

#[test]
fn text_from_a_broker_cannot_forge_lines_of_a_log_or_steer_a_terminal() {
    let long = "x".repeat(10_000);
    for (text, shown) in [
        ("no\nsuch\r\tthing", "no such  thing"),
        ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
        ("a\0b", "a\\u{0}b"),
        ("\u{202e}kcab", "\\u{202e}kcab"),
        ("ünïcode", "ünïcode"),
        (&long, &format!("{}… (10000 bytes)", "x".repeat(500))),
    ] {
        assert_eq!(sanitised(text), shown);
        let error = Error::server(ErrorCode::INVALID_REQUEST, Some(text));
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    let error = Error::new(ErrorKind::Connect, "cannot connect")
        .broker(1, &Address::new("evil\n\u{1b}[0m", 9092));
    assert!(!error.to_string().contains(char::is_control), "{error}");
}

#[test]
fn what_hung_up_at_once_says_what_it_may_be() {
    let lost = Error::new(ErrorKind::Disconnected, "reading failed")
        .because(std::io::Error::other("reset"));
    let error = lost.closed_at_once();
    assert!(error.is_closed_at_once());
    let text = error.to_string();
    assert!(
        text.starts_with("reading failed: reset: right after"),
        "{text}"
    );
    assert!(text.contains("TLS or SASL"), "{text}");
}

#[test]
fn ambiguous_codes_are_never_called_not_written() {
    for code in [
        ErrorCode::UNKNOWN_SERVER_ERROR,
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ] {
        assert_eq!(Error::server(code, None).outcome(), WriteOutcome::Unknown);
    }
    let lost = Error::new(ErrorKind::Disconnected, "the connection ended");
    assert_eq!(lost.outcome(), WriteOutcome::Unknown);
    assert_eq!(
        lost.with_outcome(WriteOutcome::NotWritten).outcome(),
        WriteOutcome::NotWritten
    );
}

#[test]
fn of_a_read_nothing_can_have_happened() {
    for api in [ApiKey::FETCH, ApiKey::LIST_OFFSETS, ApiKey::OFFSET_FETCH] {
        let lost = Error::new(ErrorKind::Disconnected, "the connection ended");
        let lost = lost.with_outcome(WriteOutcome::Unknown).api(api);
        let failed = Error::server(ErrorCode::UNKNOWN_SERVER_ERROR, None).api(api);
        for error in [lost, failed] {
            assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
            assert!(!error.to_string().contains("applied"), "{error}");
        }
    }
}

#[test]
fn a_code_without_a_name_survives() {
    let error = Error::server(ErrorCode(31_999), None);
    assert_eq!(error.server_error(), Some(ErrorCode(31_999)));
}
