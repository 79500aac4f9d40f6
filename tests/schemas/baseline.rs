//! What the schemas of the events may become: fields are added, and every reader does without them; nothing is removed or renamed; what is not
//! needed any more is deprecated; and this test comes before a deployment. It compares them with `baseline`, the files of the last release.
//!
//! After a release: `RENEW=1 cargo test --test schemas baseline`, and commit the folder.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use pat_events::events::email::FILE_DESCRIPTOR_SET;
use pat_events::events::schema::{Mode, Report, Schema, compare};

/// What a change may be found to be. Each breaks nobody, and takes nothing away.
const ALLOWED: &[&str] = &[
    "ENUM_VALUE_ADDED",
    "FIELD_ADDED",
    "FIELD_DEPRECATED",
    "MESSAGE_ADDED",
    "PRESENCE_CHANGED",
];

pub fn trials() -> Vec<Trial> {
    let renewed = match std::env::var_os("RENEW") {
        Some(_) => renew(),
        None => Ok(()),
    };
    let mut trials = vec![
        Trial::test(
            "baseline::the_events_are_still_what_was_released",
            move || {
                renewed?;
                let report = compare(
                    &Schema::read(baseline())?,
                    &Schema::descriptor_set(FILE_DESCRIPTOR_SET)?,
                )?;
                let breaches = breaches(&report);
                match breaches.is_empty() {
                    true => Ok(()),
                    false => Err(breaches.join("\n").into()),
                }
            },
        ),
        Trial::test("baseline::fields_may_be_added_and_deprecated", || {
            let report = changed(&[(
                "  string subject = 9 [(",
                "  string summary = 90;\n  string subject = 9 [deprecated = true, (",
            )])?;
            match breaches(&report).is_empty() && report.findings.len() == 2 {
                true => Ok(()),
                false => Err(format!("{report:?}").into()),
            }
        }),
    ];
    trials.extend(BREACHES.iter().map(|(name, edit, rule)| {
        Trial::test(format!("baseline::{name}_is_found"), move || {
            let found = breaches(&changed(&[*edit])?);
            match found.iter().any(|it| it.contains(rule)) {
                true => Ok(()),
                false => Err(format!("{rule} is not in {found:?}").into()),
            }
        })
    }));
    trials
}

/// A breach, the edit of `email.proto` that makes it, and the rule that finds it.
type Breach = (&'static str, (&'static str, &'static str), &'static str);
const BREACHES: &[Breach] = &[
    (
        "a_removed_field",
        ("  uint64 size_bytes = 11;", ""),
        "FIELD_REMOVED_UNRESERVED",
    ),
    (
        "a_removed_field_though_reserved",
        (
            "  uint64 size_bytes = 11;",
            "  reserved 11; reserved \"size_bytes\";",
        ),
        "FIELD_REMOVED",
    ),
    (
        "a_renamed_field",
        ("uint64 size_bytes = 11;", "uint64 length_bytes = 11;"),
        "FIELD_RENAMED",
    ),
    (
        "a_renumbered_field",
        ("uint64 size_bytes = 11;", "uint64 size_bytes = 91;"),
        "FIELD_RENUMBERED",
    ),
    (
        "a_retyped_field",
        ("uint64 size_bytes = 11;", "string size_bytes = 11;"),
        "FIELD_RETYPED",
    ),
    (
        "a_field_that_holds_less",
        ("uint64 size_bytes = 11;", "uint32 size_bytes = 11;"),
        "FIELD_NARROWED",
    ),
    (
        "another_cardinality",
        (
            "  EmailAddress from_address = 6;",
            "  repeated EmailAddress from_address = 6;",
        ),
        "FIELD_BECAME_REPEATED",
    ),
    (
        "a_reserved_number_in_use",
        (
            "  reserved 1000 to 1999;\n\n  // Identifies",
            "  reserved 1001 to 1999;\n  string mine = 1000;\n  // Identifies",
        ),
        "RESERVED_REUSED",
    ),
    (
        "a_renamed_value",
        ("INGEST_PROTOCOL_SMTP = 1;", "INGEST_PROTOCOL_ESMTP = 1;"),
        "ENUM_VALUE_RENAMED",
    ),
    (
        "a_removed_value",
        ("  INGEST_PROTOCOL_SMTP = 1;", ""),
        "ENUM_VALUE_REMOVED_UNRESERVED",
    ),
];

fn baseline() -> PathBuf {
    root().join("tests/schemas/baseline")
}

/// The project's root; this test belongs to the program's package, which lies deeper.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn files(below: &Path) -> Result<Vec<(String, String)>, Failed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below.join("api/events/v1"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .ok_or("a name")?
            .to_string_lossy()
            .into_owned();
        found.push((format!("api/events/v1/{name}"), fs::read_to_string(&path)?));
    }
    found.sort();
    Ok(found)
}

fn renew() -> Result<(), Failed> {
    let folder = baseline();
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("api/events/v1"))?;
    for (name, text) in files(&root().join("proto"))? {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// What the baseline with `edits` in `email.proto` comes to.
fn changed(edits: &[(&str, &str)]) -> Result<Report, Failed> {
    let mut edited = files(&baseline())?;
    for (name, text) in &mut edited {
        for (from, to) in edits.iter().filter(|_| name.ends_with("/email.proto")) {
            if !text.contains(from) {
                return Err(format!("{from:?} is not in {name}").into());
            }
            *text = text.replacen(from, to, 1);
        }
    }
    let edited = edited.iter().map(|(name, text)| (&**name, &**text));
    Ok(compare(
        &Schema::read(baseline())?,
        &Schema::protobuf_files(edited)?,
    )?)
}

fn breaches(report: &Report) -> Vec<String> {
    let found = report.findings.iter();
    found
        .filter(|it| it.breaks(Mode::Full) || !ALLOWED.contains(&it.rule))
        .map(ToString::to_string)
        .collect()
}
