//! Every error code there is, answered once and for ever.

use super::*;

/// Every code there is, and one that there is not, but that of success.
fn all_codes() -> impl Iterator<Item = ErrorCode> {
    let codes = ErrorCode::all().chain([ErrorCode(31_999)]);
    codes.filter(|code| *code != ErrorCode::NONE)
}

/// What is decided is told at once; whatever else is answered once, or for ever, must not end the client nor make it ask without pauses.
#[tokio::test(start_paused = true)]
async fn one_bad_answer_is_got_over_and_one_for_ever_is_an_error_in_time() {
    let asked = |network: &Network| {
        let scene = network.scene();
        scene.metadata_requests + scene.coordinator_requests + scene.dials
    };
    for api in [
        ApiKey::API_VERSIONS,
        ApiKey::METADATA,
        ApiKey::FIND_COORDINATOR,
    ] {
        for code in all_codes() {
            // The other bootstrap server may have a better answer than the first, and a refused coordinator is asked for twice.
            let decided = api == ApiKey::METADATA && !may_pass(&Error::server(code, None));
            // An older version of ApiVersions is asked for then.
            let negotiates = api == ApiKey::API_VERSIONS && code == ErrorCode::UNSUPPORTED_VERSION;
            let what = format!("{} {}", api.name(), code.name());
            for times in [1, usize::MAX] {
                let network = Network::new(1);
                let emails = vec![(1, 0)];
                network.scene().topics.insert("emails".to_string(), emails);
                network.answer(api, code, times);
                let before = Instant::now();
                let result: Result<()> = async {
                    let cluster = Cluster::connect(&network.config(), soon(10)).await?;
                    cluster.topic("emails", soon(10)).await?;
                    let group = cluster.coordinator(CoordinatorKind::Group, "mailers", soon(10));
                    group.await.map(drop)
                }
                .await;
                assert!(before.elapsed() <= SECOND * 31, "{what}");
                match result {
                    Ok(()) => assert!(times == 1 && (!decided || negotiates), "{what}: no error"),
                    Err(error) => {
                        assert!(times > 1 || decided, "{what}: {error}");
                        assert!(
                            error.to_string().contains(code.name())
                                || code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                                || negotiates,
                            "{what}: {error}"
                        );
                    }
                }
                let requests = asked(&network);
                // In ten seconds, with pauses of at least 100 ms, give or take a fifth.
                assert!(requests <= 130, "{what}: {requests} requests");
            }
        }
    }
}
