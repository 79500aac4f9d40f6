//! Coordinators: looked up, remembered, looked up again.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_coordinator_is_asked_for_until_there_is_one_and_then_remembered() {
    let network = Network::new(2);
    network.scene().coordinators = vec![
        (ErrorCode::COORDINATOR_NOT_AVAILABLE, -1),
        (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, -1),
        (ErrorCode::NONE, 2),
    ];
    let cluster = connected(&network).await;
    for _ in 0..3 {
        let found = cluster
            .coordinator(CoordinatorKind::Group, "mailers", soon(5))
            .await;
        assert_eq!(found.expect("a coordinator"), 2);
    }
    assert_eq!(network.scene().coordinator_requests, 3);
    network.scene().coordinators = vec![(ErrorCode::NONE, 1)];
    cluster.coordinator_lost(CoordinatorKind::Group, "mailers");
    let found = cluster
        .coordinator(CoordinatorKind::Group, "mailers", soon(5))
        .await;
    assert_eq!(found.expect("a coordinator"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_refused_twice_is_an_error_soon() {
    let network = Network::new(1);
    network.scene().coordinators = vec![(ErrorCode::GROUP_AUTHORIZATION_FAILED, -1)];
    let cluster = connected(&network).await;
    let started = Instant::now();
    let error = cluster
        .coordinator(CoordinatorKind::Group, "mailers", soon(5))
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Authorization);
    assert!(started.elapsed() < SECOND);
    assert_eq!(network.scene().coordinator_requests, 2);
    network.scene().coordinators = vec![
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, -1),
        (ErrorCode::NONE, 1),
    ];
    let found = cluster
        .coordinator(CoordinatorKind::Group, "mailers", soon(5))
        .await;
    assert_eq!(found.expect("one bad answer is no verdict"), 1);
}
