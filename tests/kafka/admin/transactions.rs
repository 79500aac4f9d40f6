//! Transactions listed, described, aborted and fenced, and who writes to partitions.

use std::time::Duration;

use pat_events::kafka::admin::{HangingTransaction, TransactionFilter, TransactionState};
use pat_events::kafka::{ErrorCode, ErrorKind, Record};

use super::{POLL, at, code};
use crate::fleet::Target;

pub(super) async fn transactions_are_listed_described_and_ended(target: Target) {
    let topic = target.topic("admin-transactions").await;
    let admin = target.admin().await;
    let mut producer = target.transactional("admin-open", &[]).await;
    let transaction = producer.begin().await.expect("begun");
    let record = Record::new(&topic).partition(0).value(b"x");
    transaction.send(record).await.expect("written");

    let all = TransactionFilter::default();
    let listed = admin.list_transactions(&all).await.expect("listed");
    assert!(listed.failures.is_empty(), "{listed:?}");
    let listing = &listed.transactions["admin-open"];
    assert_eq!(listing.state, TransactionState::Ongoing);
    for (filter, is_there) in [
        (all.clone().states([TransactionState::Ongoing]), true),
        (all.clone().states([TransactionState::CompleteAbort]), false),
        (all.clone().producer_ids([listing.producer_id]), true),
        (all.clone().producer_ids([listing.producer_id + 1]), false),
        (all.clone().longer_than(Duration::ZERO), true),
        (all.clone().longer_than(Duration::from_secs(3_600)), false),
        (all.clone().transactional_id_pattern("admin-.*"), true),
        (all.clone().transactional_id_pattern("admin"), false),
    ] {
        let listed = admin.list_transactions(&filter).await.expect("listed");
        let found = listed.transactions.contains_key("admin-open");
        assert_eq!(found, is_there, "{filter:?}: {listed:?}");
    }
    let ids = ["admin-open", "admin-none"];
    let described = admin.describe_transactions(&ids).await.expect("answered");
    let unknown = ErrorCode::TRANSACTIONAL_ID_NOT_FOUND;
    assert_eq!(code(&described["admin-none"]), Some(unknown));
    let open = described["admin-open"].as_ref().expect("described");
    assert_eq!(open.state, TransactionState::Ongoing);
    assert_eq!(open.producer_id, listing.producer_id);
    assert_eq!(open.coordinator, listing.coordinator);
    assert_eq!(open.timeout, Duration::from_secs(60));
    assert!(open.started_ms.is_some());
    assert!(open.partitions.contains(&at(&topic, 0)), "{open:?}");

    let partitions = [at(&topic, 0), at(&topic, 1), at(&topic, 9)];
    let producers = admin.describe_producers(&partitions, None).await;
    let producers = producers.expect("answered");
    let missing = producers[&at(&topic, 9)].as_ref().expect_err("unknown");
    assert_eq!(missing.kind(), ErrorKind::UnknownTopicOrPartition);
    assert_eq!(
        producers[&at(&topic, 1)].as_ref().map(Vec::len).ok(),
        Some(0)
    );
    let [writer] = &**producers[&at(&topic, 0)].as_ref().expect("described") else {
        panic!("one producer: {producers:?}");
    };
    assert_eq!(writer.producer_id, open.producer_id);
    assert_eq!(
        (writer.last_sequence, writer.transaction_start_offset),
        (Some(0), Some(0))
    );
    let of_one = admin.describe_producers(&partitions[..1], Some(1)).await;
    let of_one = of_one.expect("answered");
    let same = of_one[&at(&topic, 0)].as_ref().expect("described");
    assert_eq!(&**same, [*writer]);

    // As if nobody knew of it any more.
    let epoch = i16::try_from(writer.producer_epoch).expect("an epoch");
    let hanging = HangingTransaction::new(at(&topic, 0), writer.producer_id, epoch);
    admin.abort_transaction(&hanging).await.expect("aborted");
    let nowhere = HangingTransaction::new(at(&topic, 9), writer.producer_id, epoch);
    let error = admin
        .abort_transaction(&nowhere)
        .await
        .expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
    let older = HangingTransaction::new(at(&topic, 0), writer.producer_id, epoch - 1);
    if epoch > 0 {
        let error = admin.abort_transaction(&older).await.expect_err("older");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    }
    let producers = admin.describe_producers(&partitions[..1], None).await;
    let producers = producers.expect("answered");
    let [writer] = &**producers[&at(&topic, 0)].as_ref().expect("described") else {
        panic!("one producer: {producers:?}");
    };
    assert_eq!(writer.transaction_start_offset, None);

    let ids = ["admin-open", "admin-new"];
    let fenced = admin.fence_producers(&ids).await.expect("answered");
    let now = fenced["admin-open"].as_ref().expect("fenced");
    assert_eq!(now.producer_id, writer.producer_id);
    assert!(now.producer_epoch > epoch, "{fenced:?}");
    assert!(fenced["admin-new"].is_ok(), "{fenced:?}");
    let error = transaction.commit().await.expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");

    let mut producer = target.transactional("admin-open", &[]).await;
    let transaction = producer.begin().await.expect("begun");
    let record = Record::new(&topic).partition(1).value(b"y");
    transaction.send(record).await.expect("written");
    let ended = admin.force_terminate_transaction("admin-open").await;
    ended.expect("ended");
    loop {
        let described = admin.describe_transactions(&["admin-open"]).await;
        let described = described.expect("answered");
        let described = described["admin-open"].as_ref().expect("described");
        if described.state == TransactionState::CompleteAbort
            || described.state == TransactionState::Empty
        {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let error = transaction.commit().await.expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}
