//! Users, access rules, transactions.

use pat_events::broker::Broker;
use serde_json::json;

use crate::{place, started, texts};

#[test]
fn users_are_set_listed_and_deleted_and_their_passwords_come_from_files() {
    let place = place();
    let set = ["set", "ann", "--password-file", "-", "--iterations", "4096"];
    assert_eq!(
        place.run_with("users", &set, b"secret\n"),
        "set: ann (SCRAM-SHA-512)\n"
    );
    let listed = place.json("users", &["list"]);
    assert_eq!(
        listed,
        [json!({"user": "ann", "mechanism": "SCRAM-SHA-512", "iterations": 4096})]
    );
    assert_eq!(
        place.run("users", &["delete", "ann"]),
        "deleted: ann (SCRAM-SHA-512)\n"
    );
    assert_eq!(place.run("users", &["list"]), "");
    let ended = place.end_of("users", &set, b"\n");
    assert_eq!(ended.status, Some(1));
    assert!(
        ended.errors.contains("its first line is empty"),
        "{ended:?}"
    );
}

#[test]
fn access_rules_are_added_listed_and_removed() {
    let place = started(Broker::builder().super_user("User:ANONYMOUS"));
    let about = [
        "--topic",
        "orders-",
        "--prefixed",
        "--principal",
        "User:ann",
    ];
    let add = [
        &["add"],
        &about[..],
        &["--operation", "read", "--operation", "describe"],
    ]
    .concat();
    let added = place.run("acls", &add);
    assert!(
        added.contains("added: ALLOW User:ann READ PREFIXED TOPIC orders- from *"),
        "{added}"
    );
    let listed = place.json("acls", &["list", "--principal", "User:ann"]);
    assert_eq!(texts(&listed, "operation"), ["READ", "DESCRIBE"]);
    let remove = [&["remove"], &about[..], &["--operation", "read"]].concat();
    place.run("acls", &[&remove[..], &["--dry-run"]].concat());
    assert_eq!(
        place.json("acls", &["list"]).len(),
        2,
        "it was not to be done"
    );
    assert_eq!(place.run("acls", &remove).lines().count(), 1);
    assert_eq!(
        texts(&place.json("acls", &["list"]), "operation"),
        ["DESCRIBE"]
    );
    for (arguments, words) in [
        (&["remove"][..], "which rules?"),
        (&["add", "--topic", "t"], "--principal User:NAME"),
    ] {
        let ended = place.end_of("acls", arguments, b"");
        assert_eq!(ended.status, Some(1));
        assert!(ended.errors.contains(words), "{ended:?}");
    }
}

#[test]
fn a_transaction_that_brokers_do_not_know_is_told() {
    let place = place();
    assert_eq!(place.run("transactions", &["list"]), "");
    let ended = place.end_of("transactions", &["describe", "unknown"], b"");
    assert_eq!(ended.status, Some(1));
    assert!(
        ended.errors.contains("TRANSACTIONAL_ID_NOT_FOUND"),
        "{ended:?}"
    );
}
