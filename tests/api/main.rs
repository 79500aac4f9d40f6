//! The public API, as a list that changes only when somebody means it to. In: the library's sources. Out: every public item with its
//! signature, compared with `public.txt`.
//!
//! A change of the API fails here. When it is meant: `RENEW=1 cargo test --test api`, and commit `public.txt` with it.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `sources` | the tree of modules, and what a path in it names |
//! | `listing` | the public items, as text |

mod listing;
mod sources;

use std::path::Path;

use sources::Sources;

#[test]
fn the_public_api_is_the_one_that_is_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = listing::list(&Sources::read(&root.join("src/lib.rs")));
    let path = root.join("tests/api/public.txt");
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&path, &listed).expect("a file that can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let only_in = |one: &str, other: &str| -> String {
        let lines = one
            .lines()
            .filter(|line| !other.lines().any(|it| it == *line));
        lines.take(20).map(|line| format!("\n    {line}")).collect()
    };
    assert!(
        listed == written,
        "the public API changed.\n  new:{}\n  gone:{}\nIf that is meant: RENEW=1 cargo test --test api, and commit tests/api/public.txt",
        only_in(&listed, &written),
        only_in(&written, &listed),
    );
}

/// Types of the protocol crate would tie our versions to its own: the few that users need have paths of ours.
#[test]
fn of_the_protocol_crate_users_see_what_is_re_exported_and_no_more() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = listing::list(&Sources::read(&root.join("src/lib.rs")));
    let named = listed.lines().filter(|line| line.contains("protocol::"));
    let named: std::collections::BTreeSet<_> = named.collect();
    let allowed = [
        "pub use protocol::ApiKey;",
        "pub use protocol::ErrorCode;",
        "pub use protocol::compression::Codec;",
        "pub use protocol::VersionRange;",
        "pub use protocol::compression::Compression;",
        "pub use protocol::compression::InvalidCompression;",
        // What a request of any message needs.
        "pub use protocol::Message;",
        "pub use protocol::Request;",
        "pub use protocol::Response;",
        "pub use protocol::Uuid;",
        "pub use protocol::messages;",
    ];
    assert_eq!(named, allowed.into());
}
