//! `pat-events schema check|diff|register|get`: what they print, and their exit status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;

use crate::stand_in::{Mood, StandIn};

const OLD: &str = "syntax = \"proto3\"; package p.v1; message M { int32 a = 1; string b = 2; }";
const ADDED: &str =
    "syntax = \"proto3\"; package p.v1; message M { int32 a = 1; string b = 2; bytes c = 3; }";
const WIDENED: &str = "syntax = \"proto3\"; package p.v1; message M { int64 a = 1; string b = 2; }";

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "program::what_is_registered_is_printed_by_its_subject_its_version_and_its_id",
            what_is_registered_is_printed,
        ),
        Trial::test(
            "program::what_the_registry_refuses_ends_with_an_error_that_says_why",
            what_the_registry_refuses,
        ),
        Trial::test("program::check_says_what_breaks_and_ends_with_one", || {
            let files = Files::new("check")?;
            let (old, new) = (
                files.write("old.proto", OLD)?,
                files.write("new.proto", WIDENED)?,
            );
            let (status, out) = run(&["check", &old, &new])?;
            want(
                status == 1
                    && out.contains("M.a: was int32 and is int64")
                    && out.contains("FIELD_WIDENED"),
                &out,
            )?;
            let (status, out) = run(&["check", &old, &new, "--mode", "backward"])?;
            want(status == 0 && out == "compatible (backward)\n", &out)?;
            let (status, out) = run(&["check", &old, &new, "--json", "--mode", "forward"])?;
            let told: serde_json::Value = serde_json::from_str(&out)?;
            want(
                status == 1
                    && told["findings"][0]["rule"] == "FIELD_WIDENED"
                    && told["compatible"] == false,
                &out,
            )
        }),
        Trial::test("program::diff_lists_what_is_compatible_too", || {
            let files = Files::new("diff")?;
            let (old, new) = (
                files.write("old.proto", OLD)?,
                files.write("new.proto", ADDED)?,
            );
            let (status, out) = run(&["diff", &old, &new])?;
            want(status == 1 && out.contains("FIELD_ADDED"), &out)?;
            let (status, out) = run(&["diff", &old, &old])?;
            want(status == 0 && out.is_empty(), &out)?;
            let (status, out) = run(&["diff", &old, &new, "--json"])?;
            let told: serde_json::Value = serde_json::from_str(&out)?;
            want(status == 1 && told[0]["breaks_forward"] == false, &out)
        }),
        Trial::test("program::folders_and_imports_are_found", || {
            let files = Files::new("folders")?;
            files.write("old/p/v1/m.proto", OLD)?;
            files.write("new/p/v1/m.proto", "syntax = \"proto3\"; package p.v1; import \"p/v1/n.proto\"; message M { int32 a = 1; N b = 2; }")?;
            files.write(
                "new/p/v1/n.proto",
                "syntax = \"proto3\"; package p.v1; message N { int32 x = 1; }",
            )?;
            for inner in ["", "/p/v1", "/p/v1/m.proto"] {
                let (old, new) = (
                    files.path(&format!("old{inner}")),
                    files.path(&format!("new{inner}")),
                );
                let (status, out) = run(&["check", &old, &new])?;
                want(
                    status == 1 && out.contains("M.b: was string and is p.v1.N"),
                    &out,
                )?;
            }
            Ok(())
        }),
        Trial::test("program::what_cannot_be_read_ends_with_two", || {
            let files = Files::new("unreadable")?;
            let good = files.write("good.proto", OLD)?;
            let bad = files.write("bad.proto", "syntax = \"proto3\"; message M { nothing }")?;
            let avro = files.write("other.avsc", "\"int\"")?;
            for (new, told) in [
                (&*bad, "bad.proto"),
                (&*avro, "Avro"),
                ("not-there.proto", "not-there.proto"),
            ] {
                let (status, out) = run(&["check", &good, new])?;
                want(status == 2 && out.contains(told), &out)?;
            }
            Ok(())
        }),
    ]
}

fn what_is_registered_is_printed() -> Result<(), Failed> {
    let files = Files::new("registered")?;
    let file = files.write("order.proto", OLD)?;
    let runtime = Runtime::new()?;
    let registry = runtime.block_on(StandIn::start());
    let (url, user) = (registry.url(), "basic.auth.user.info=alice:hunter2");
    let (status, out) = run(&["register", "-r", &url, "-X", user, "orders-value", &file])?;
    want(status == 0 && out == "1\n", &out)?;
    let (status, out) = run(&["register", "-r", &url, "orders-value", &file])?;
    want(status == 0 && out == "1\n", &out)?;
    for asked in [
        &["orders-value"][..],
        &["orders-value", "1"],
        &["--id", "1"],
    ] {
        let (status, out) = run(&[&["get", "-r", &url][..], asked].concat())?;
        want(status == 0 && out == format!("{OLD}\n"), &out)?;
    }
    let (status, out) = run(&["get", "-r", &url, "orders-value", "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&out)?;
    want(
        status == 0
            && told["id"] == 1
            && told["subject"] == "orders-value"
            && told["schemaType"] == "PROTOBUF"
            && told["schema"] == OLD,
        &out,
    )?;
    let other = files.write("line.proto", ADDED)?;
    let named = "order.proto:orders-value:1";
    let arguments = [
        "register",
        "-r",
        &url,
        "lines-value",
        &other,
        "--reference",
        named,
    ];
    let (status, out) = run(&arguments)?;
    want(status == 0 && out == "2\n", &out)?;
    let requests = registry.requests();
    want(
        requests[0].contains("authorization: Basic YWxpY2U6aHVudGVyMg=="),
        &requests[0],
    )?;
    want(
        requests
            .iter()
            .any(|it| it.contains(r#""subject":"orders-value""#)),
        "no reference",
    )
}

fn what_the_registry_refuses() -> Result<(), Failed> {
    let files = Files::new("refused")?;
    let file = files.write("order.proto", OLD)?;
    let text = files.write("order.txt", OLD)?;
    let runtime = Runtime::new()?;
    let registry = runtime.block_on(StandIn::start());
    let url = registry.url();
    for (arguments, told) in [
        (&["get", "-r", &url, "nothing-value"][..], "404"),
        (&["get", "-r", &url, "--id", "77"], "404"),
        (&["get", "-r", &url], "SUBJECT"),
        (
            &["register", "-r", &url, "orders-value", "not-there.avsc"],
            "not-there.avsc",
        ),
        (&["register", "-r", &url, "orders-value", &text], ".avsc"),
        (
            &["register", "-r", &url, "s", &file, "--reference", "a:b"],
            "NAME:SUBJECT:VERSION",
        ),
        (
            &["register", "-r", &url, "-X", "hunter2", "s", &file],
            "NAME=VALUE",
        ),
    ] {
        let (status, out) = run(arguments)?;
        want(status != 0 && out.contains(told), &out)?;
    }
    registry.set(Mood::Down(409));
    let (status, out) = run(&["register", "-r", &url, "orders-value", &file])?;
    want(status != 0 && out.contains("409"), &out)
}

fn want(holds: bool, out: &str) -> Result<(), Failed> {
    match holds {
        true => Ok(()),
        false => Err(format!("it printed: {out}").into()),
    }
}

/// The exit status, and what was printed on either output.
fn run(arguments: &[&str]) -> Result<(i32, String), Failed> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pat-events"));
    let output = program.arg("schema").args(arguments).output()?;
    let out = [output.stdout, output.stderr].concat();
    let status = output.status.code().ok_or("no exit status")?;
    Ok((status, String::from_utf8(out)?))
}

/// A folder of the test's own, which goes with it.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Result<Files, Failed> {
        let name = format!("schemas-{test}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder)?;
        Ok(Files(folder))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, text: &str) -> Result<String, Failed> {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().ok_or("a folder")?)?;
        fs::write(&path, text)?;
        Ok(self.path(name))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
