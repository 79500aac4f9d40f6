//! What operators do, on brokers that know all of it.

use super::*;

pub fn operators_see_and_change_a_cluster(brokers: &str) {
    let of = |command: &[&str]| run(&[command, &["-b", brokers]].concat(), None);
    let says = |command: &[&str], words: &str| {
        let text = of(command);
        assert!(text.contains(words), "{command:?}: no {words:?} in {text}");
    };
    says(
        &[
            "topics",
            "create",
            "operated",
            "-p",
            "1",
            "-r",
            "1",
            "-c",
            "retention.ms=1000000",
        ],
        "created: operated",
    );
    says(
        &[
            "topics",
            "alter",
            "operated",
            "-p",
            "2",
            "-c",
            "retention.ms=2000000",
        ],
        "operated has 2 partitions",
    );
    says(&["configs", "describe", "topic", "operated"], "2000000");
    says(
        &[
            "configs",
            "alter",
            "topic",
            "operated",
            "--unset",
            "retention.ms",
        ],
        "altered: topic operated",
    );
    assert_eq!(
        of(&[
            "configs",
            "describe",
            "topic",
            "operated",
            "-n",
            "retention.ms",
            "--json"
        ])
        .matches("\"source\":\"default\"")
        .count(),
        1
    );
    says(
        &["topics", "describe", "operated", "--json"],
        "\"partition\":1",
    );
    assert_eq!(
        of(&["topics", "describe", "operated", "--under-min-isr"]),
        ""
    );
    says(&["cluster"], "CONTROLLER");
    says(&["features"], "metadata.version");
    says(&["quorum"], "leader");
    says(&["log-dirs", "--replicas"], "operated");
    run(
        &["produce", "-b", brokers, "-t", "operated", "-p", "0"],
        Some("1\n2\n3\n"),
    );
    assert_eq!(
        of(&["consume", "-t", "operated", "-G", "operators", "-c", "2"]),
        "1\n2\n"
    );
    says(&["groups", "describe", "operators", "--json"], "\"lag\":1");
    says(
        &[
            "groups",
            "reset-offsets",
            "operators",
            "-t",
            "operated:0",
            "--to-earliest",
            "-x",
            "--json",
        ],
        "\"new_offset\":0",
    );
    assert_eq!(
        of(&["consume", "-t", "operated", "-G", "operators", "-c", "1"]),
        "1\n"
    );
    says(
        &["groups", "delete-offsets", "operators", "-t", "operated:0"],
        "deleted: offset of operated-0",
    );
    says(
        &[
            "quotas",
            "alter",
            "--user",
            "ann",
            "-c",
            "producer_byte_rate=1000000",
        ],
        "altered: ",
    );
    says(&["quotas", "list", "--user", "ann"], "producer_byte_rate");
    says(
        &[
            "quotas",
            "alter",
            "--user",
            "ann",
            "--unset",
            "producer_byte_rate",
        ],
        "altered: ",
    );
    let needless = run(&["elect", "operated:0", "-b", brokers], None);
    assert!(
        needless.contains("operated-0 has this leader already"),
        "{needless}"
    );
    let leader = of(&["topics", "describe", "operated", "--json"]);
    let leader = leader
        .split("\"leader\":")
        .nth(1)
        .and_then(|it| it.split(',').next());
    let leader = leader.expect("a leader");
    says(
        &["reassign", "to", "operated:0", "--replicas", leader],
        "on the move: operated-0",
    );
    says(
        &["delete-records", "operated:0", "--all", "--json"],
        "\"log_start\":3",
    );
    says(&["offsets", "operated:0", "--json"], "\"earliest\":3");
    says(&["topics", "delete", "operated"], "deleted: operated");
}
