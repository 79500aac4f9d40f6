//! Deadlines, and requests that are given up at any point of their way.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_thrown_away_and_the_next_one_still_fits() {
    let (connection, mut peer) = connected(1 << 16).await;
    let error = connection.call(&beat(), soon(1)).await.expect_err("late");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.outcome(), WriteOutcome::Unknown);
    assert!(connection.is_open());
    let next = connection.submit(&beat(), soon(5)).expect("room");
    peer.beat(1).await;
    peer.beat(2).await;
    assert_eq!(next.await.expect("an answer").error_code, ErrorCode(2));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_middle_of_a_write_poisons_the_connection() {
    let (connection, mut peer) = connected(1 << 10).await;
    let bulky = connection.submit(&bulk(1 << 20), soon(5)).expect("room");
    let behind = connection.submit(&beat(), soon(60)).expect("room");
    // The peer takes a part of the frame, then no more.
    let mut part = vec![0; 5_000];
    peer.0.read_exact(&mut part).await.expect("a part");
    let error = bulky.await.expect_err("stuck");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.outcome(), WriteOutcome::Unknown);
    assert!(
        !connection.is_open(),
        "half a frame is out: nothing else may follow"
    );
    let error = behind.await.expect_err("never begun");
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    assert!(connection.call(&beat(), soon(5)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_given_up_in_the_middle_of_its_write_is_completed_and_its_answer_thrown_away() {
    let (connection, mut peer) = connected(1 << 10).await;
    let given_up = connection.submit(&bulk(1 << 16), soon(5)).expect("room");
    let mut first = [0; 100];
    peer.0.read_exact(&mut first).await.expect("a part");
    drop(given_up);
    let next = connection.submit(&beat(), soon(5)).expect("room");
    let len = u32::from_be_bytes(*first.first_chunk().expect("4 bytes")) as usize;
    let mut rest = vec![0; len - 96];
    peer.0.read_exact(&mut rest).await.expect("the whole frame");
    let header = RequestHeader {
        request_api_version: 7,
        correlation_id: i32::from_be_bytes(*first[8..].first_chunk().expect("4 bytes")),
        ..Default::default()
    };
    peer.answer(&header, &ProduceResponse::default()).await;
    peer.beat(3).await;
    assert_eq!(next.await.expect("an answer").error_code, ErrorCode(3));
}

#[tokio::test(start_paused = true)]
async fn a_request_given_up_before_its_first_byte_is_never_sent() {
    let (connection, mut peer) = connected(1 << 10).await;
    // More than the outbox takes at once, so that what comes behind stays in the queue.
    let first = connection.submit(&bulk(2 << 20), soon(50)).expect("room");
    tokio::task::yield_now().await;
    let withdrawn = connection.submit(&beat(), soon(50)).expect("room");
    let last = connection
        .submit(
            &HeartbeatRequest {
                member_id: "last".to_string(),
                ..beat()
            },
            soon(50),
        )
        .expect("room");
    drop(withdrawn);
    let (header, _) = peer.request().await;
    peer.answer(&header, &ProduceResponse::default()).await;
    let (header, mut body) = peer.request().await;
    let sent =
        HeartbeatRequest::decode(&mut body, header.request_api_version).expect("a heartbeat");
    assert_eq!(sent.member_id, "last");
    peer.answer(&header, &beaten(0)).await;
    assert!(first.await.is_ok());
    assert!(last.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_the_queue_fails_as_not_written() {
    let (connection, mut peer) = connected(1 << 10).await;
    let first = connection.submit(&bulk(2 << 20), soon(50)).expect("room");
    tokio::task::yield_now().await;
    let error = connection
        .call(&beat(), soon(2))
        .await
        .expect_err("too late");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    assert!(connection.is_open());
    let (header, _) = peer.request().await;
    peer.answer(&header, &ProduceResponse::default()).await;
    assert!(first.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_throttle_delays_the_next_request_and_never_stops_it() {
    let (connection, mut peer) = connected(1 << 16).await;
    let throttled = async {
        let (header, _) = peer.request().await;
        let response = HeartbeatResponse {
            throttle_time_ms: 2_000,
            ..Default::default()
        };
        peer.answer(&header, &response).await;
    };
    let request = beat();
    let (answer, ()) = tokio::join!(connection.call(&request, soon(5)), throttled);
    answer.expect("an answer");
    let started = Instant::now();
    let (answer, ()) = tokio::join!(connection.call(&request, soon(5)), peer.beat(0));
    answer.expect("an answer");
    assert!(started.elapsed() >= SECOND * 2, "{:?}", started.elapsed());
    assert!(started.elapsed() < SECOND * 3, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_under_a_throttle() {
    let (connection, mut peer) = connected(1 << 16).await;
    let throttled = async {
        let (header, _) = peer.request().await;
        let response = HeartbeatResponse {
            throttle_time_ms: 60_000,
            ..Default::default()
        };
        peer.answer(&header, &response).await;
    };
    let request = beat();
    let (answer, ()) = tokio::join!(connection.call(&request, soon(5)), throttled);
    answer.expect("an answer");
    let started = Instant::now();
    let error = connection
        .call(&request, soon(5))
        .await
        .expect_err("throttled");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    assert!(started.elapsed() < SECOND * 6);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_answering_loses_its_connection() {
    let (connection, _peer) = connected(1 << 16).await;
    let error = connection
        .call(&beat(), soon(5))
        .await
        .expect_err("silence");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    tokio::time::timeout(SECOND * 30, ended(&connection))
        .await
        .expect("given up");
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_days_is_cut_short_and_a_request_that_waits_for_its_end_says_so() {
    let (config, far) = network(1 << 16);
    let mut peer = Peer(far);
    let (connection, ()) = tokio::join!(dial(&config), peer.answer_versions());
    let connection = connection.expect("a connection");
    let heartbeat = HeartbeatRequest::default();
    let asked = connection.call(&heartbeat, soon(5));
    let answering = async {
        let (header, _) = peer.request().await;
        let response = HeartbeatResponse {
            throttle_time_ms: i32::MAX,
            ..Default::default()
        };
        peer.answer(&header, &response).await;
    };
    let (answer, ()) = tokio::join!(asked, answering);
    answer.expect("an answer");
    let error = connection.call(&heartbeat, soon(5)).await;
    let error = error.expect_err("held back");
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    let text = error.to_string();
    assert!(text.contains("asked for a pause"), "{text}");
    tokio::time::sleep(LONGEST_THROTTLE).await;
    let asked = connection.call(&heartbeat, soon(5));
    let (answer, ()) = tokio::join!(asked, peer.beat(7));
    assert_eq!(answer.expect("an answer").error_code, ErrorCode(7));
}
