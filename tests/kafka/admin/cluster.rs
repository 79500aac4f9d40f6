//! Who is in the cluster, what it can do, who controls it, and where its brokers keep logs.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::kafka::admin::{
    AclOperation, DescribeClusterOptions, DirectoryId, FeatureUpdate, QuorumListener,
    RaftVoterOptions, Replica, ReplicaLogDirs,
};
use pat_events::kafka::{Address, ErrorCode};

use super::{at, code};
use crate::fleet::Target;

pub(super) async fn the_quorum_is_described(target: Target) {
    let admin = target.admin().await;
    let before = admin.describe_metadata_quorum().await.expect("described");
    target.topic("admin-quorum").await;
    let quorum = admin.describe_metadata_quorum().await.expect("described");
    assert_eq!(quorum.leader, Some(1));
    let [voter] = &*quorum.voters else {
        panic!("one voter: {quorum:?}");
    };
    let has_all = |end| end >= quorum.high_watermark;
    assert!(voter.log_end_offset.is_some_and(has_all), "{quorum:?}");
    assert!(voter.last_caught_up_ms.is_some(), "{quorum:?}");
    assert!(quorum.leader_epoch > 0, "{quorum:?}");
    // A topic is news.
    assert!(quorum.high_watermark > before.high_watermark, "{quorum:?}");
}

pub(super) async fn a_cluster_is_described(target: Target) {
    let topic = target.topic("admin-cluster").await;
    let admin = target.admin().await;
    let options = DescribeClusterOptions::default()
        .include_authorized_operations()
        .include_fenced_brokers();
    let cluster = admin.describe_cluster_with(&options).await;
    let cluster = cluster.expect("described");
    let plain = admin.describe_cluster().await.expect("described");
    assert_eq!(cluster.cluster_id, plain.cluster_id);
    assert_eq!(cluster.brokers, plain.brokers);
    let may = cluster.authorized_operations.expect("asked for");
    assert!(may.contains(&AclOperation::AlterConfigs), "{may:?}");
    assert_eq!(plain.authorized_operations, None);
    let unknown = admin.unregister_broker(99).await;
    let not_registered = ErrorCode::BROKER_ID_NOT_REGISTERED;
    assert_eq!(code(&unknown), Some(not_registered), "{unknown:?}");
    let unknown = admin.unregister_controller(99).await;
    println!("a controller that there is not: {unknown:?}");
    assert!(unknown.is_err());

    let features = admin.describe_features(None).await.expect("described");
    let of_broker = admin.describe_features(Some(1)).await.expect("described");
    assert_eq!(features.supported, of_broker.supported);
    let level = features.finalized["transaction.version"].max;
    assert!(features.supported["transaction.version"].max >= level);
    assert!(features.finalized_epoch.is_some());
    let down = FeatureUpdate::safe_downgrade(level - 1);
    for validate_only in [true, false] {
        let updates = BTreeMap::from([("transaction.version", down)]);
        let updated = admin.update_features(&updates, validate_only).await;
        let updated = updated.expect("answered");
        assert!(updated["transaction.version"].is_ok(), "{updated:?}");
        let wanted = if validate_only { level } else { level - 1 };
        loop {
            let features = admin.describe_features(None).await.expect("described");
            if features.finalized["transaction.version"].max == wanted {
                break;
            }
            tokio::time::sleep(super::POLL).await;
        }
    }
    let back = BTreeMap::from([
        ("transaction.version", FeatureUpdate::upgrade(level)),
        ("no.such.feature", FeatureUpdate::upgrade(1)),
    ]);
    let updated = admin.update_features(&back, false).await.expect("answered");
    // Brokers of today do all or none.
    assert!(updated.values().all(Result::is_err), "{updated:?}");
    println!("a feature that there is not: {updated:?}");
    let back = BTreeMap::from([("transaction.version", FeatureUpdate::upgrade(level))]);
    let updated = admin.update_features(&back, false).await.expect("answered");
    assert!(updated["transaction.version"].is_ok(), "{updated:?}");

    let directory = DirectoryId::from_bytes([7; 16]);
    let listener = QuorumListener::new("CONTROLLER", Address::new("127.0.0.1", 1));
    let elsewhere = RaftVoterOptions::default().cluster_id("another");
    let listeners = [listener];
    let added = admin.add_raft_voter(2, directory, &listeners, &elsewhere);
    let added = added.await;
    assert_eq!(
        code(&added),
        Some(ErrorCode::INCONSISTENT_CLUSTER_ID),
        "{added:?}"
    );
    let here = RaftVoterOptions::default();
    let added = admin.add_raft_voter(2, directory, &listeners, &here).await;
    println!("a voter of a quorum that is configured: {added:?}");
    assert_eq!(
        code(&added),
        Some(ErrorCode::UNSUPPORTED_VERSION),
        "{added:?}"
    );
    let removed = admin.remove_raft_voter(2, directory, &here).await;
    assert_eq!(
        code(&removed),
        Some(ErrorCode::UNSUPPORTED_VERSION),
        "{removed:?}"
    );

    // A broker that is not known may become known: it is waited for.
    let admin = admin.with_timeout(Duration::from_secs(5));
    let described = admin.describe_log_dirs(&[1, 99]).await.expect("answered");
    assert!(described[&99].is_err(), "{described:?}");
    let dirs = described[&1].as_ref().expect("described");
    let (path, dir) = dirs.iter().next().expect("one");
    let dir = dir.as_ref().expect("described");
    assert!(dir.total_bytes >= dir.usable_bytes && dir.usable_bytes.is_some());
    assert!(dir.replicas.contains_key(&at(&topic, 2)), "{dir:?}");
    let here = Replica::new(at(&topic, 0), 1);
    let (unknown, nowhere) = (
        Replica::new(at("none", 0), 1),
        Replica::new(at(&topic, 0), 99),
    );
    let replicas = [here.clone(), unknown.clone(), nowhere.clone()];
    let places = admin.describe_replica_log_dirs(&replicas).await;
    let places = places.expect("answered");
    let place = places[&here].as_ref().expect("described");
    assert_eq!(place.current, Some((path.clone(), 0)));
    assert_eq!(place.future, None);
    assert_eq!(
        places[&unknown].as_ref().ok(),
        Some(&ReplicaLogDirs::default())
    );
    assert!(places[&nowhere].is_err(), "{places:?}");
    let moves = BTreeMap::from([
        (here.clone(), path.clone()),
        (Replica::new(at(&topic, 1), 1), "/nowhere".to_owned()),
        (nowhere.clone(), path.clone()),
    ]);
    let moved = admin.alter_replica_log_dirs(&moves).await;
    let moved = moved.expect("answered");
    assert!(moved[&here].is_ok(), "{moved:?}");
    let missing = &moved[&Replica::new(at(&topic, 1), 1)];
    assert_eq!(
        code(missing),
        Some(ErrorCode::LOG_DIR_NOT_FOUND),
        "{moved:?}"
    );
    assert!(moved[&nowhere].is_err(), "{moved:?}");
}
