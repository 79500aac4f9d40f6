//! Compiles the schemas in this folder into Rust, without `protoc`: protox parses them, prost-build writes the code.
//!
//! In: `api/events/v1/*.proto`. Out, in `OUT_DIR`, all included by `src/events/email`: `api.events.v1.rs`, the messages;
//! `redaction.rs`, which clears their personal data; what Avro and JSON need of them (`formats.rs`); and `events.binpb`, the file descriptor set, from which schemas can be compared and
//! registered.

mod formats;
mod redaction;

use std::error::Error;
use std::path::{Path, PathBuf};

/// Relative to the package's root, which is where cargo runs build scripts.
const ROOT: &str = "proto";
const PACKAGE: &str = "api.events.v1";
const FILES: [&str; 8] = [
    "options", "common", "smtp", "content", "checks", "email", "workflow", "tenant",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let out: PathBuf = std::env::var_os("OUT_DIR")
        .ok_or("cargo sets OUT_DIR")?
        .into();
    let files = FILES.map(|name| Path::new(ROOT).join(format!("api/events/v1/{name}.proto")));
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(files)?;
    std::fs::write(
        out.join("events.binpb"),
        compiler.encode_file_descriptor_set(),
    )?;
    std::fs::write(
        out.join("redaction.rs"),
        redaction::of(&compiler.descriptor_pool(), PACKAGE)?,
    )?;
    formats::write(&compiler.descriptor_pool(), PACKAGE, &out)?;
    prost_build::Config::new()
        .enable_type_names()
        .btree_map(["."])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
