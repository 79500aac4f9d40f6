//! A real Apicurio Registry on a free loopback port, with its schemas in memory. In: a JDK 21 or newer, and Maven, which fetches the registry
//! once into `target/kafka`. Out: the address of its Confluent-compatible API. It ends with the handle, or with this process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use super::guarded::Guarded;
use super::java::{fetch, fetch_by, folder};
use super::kafka::free_ports;

/// The registry that the tests run against.
pub const APICURIO_VERSION: &str = "3.3.3";
const OLDEST_JDK: u32 = 21;
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The path of the API that Confluent's clients speak.
const API: &str = "/apis/ccompat/v7";

/// A running registry.
#[derive(Debug)]
pub struct Apicurio {
    process: Guarded,
    port: u16,
    log: PathBuf,
    /// For whoever wants to know why it did not start.
    keeps_log: bool,
}

impl Apicurio {
    /// Whether one can be started here, fetched once; the error is for a reader: it says what to install.
    pub fn available() -> Result<(), String> {
        java()?;
        home().map(|_| ())
    }

    /// Starts an empty registry on a free port; returns when it responds.
    pub fn start() -> Result<Apicurio, String> {
        Self::start_on(free_ports(1)[0])
    }

    /// Starts an empty registry on this port: what an earlier one on it knew is forgotten.
    pub fn start_on(port: u16) -> Result<Apicurio, String> {
        let java = java()?;
        let home = home()?;
        let log = folder().join(format!("apicurio-{}-{port}.log", std::process::id()));
        let program = home.join("quarkus-run.jar");
        let command = [
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            "-XX:TieredStopAtLevel=1",
            &format!("-Dquarkus.http.port={port}"),
            "-Dquarkus.http.host=127.0.0.1",
            // It has one more, which cannot be turned off.
            "-Dquarkus.management.host=127.0.0.1",
            "-Dquarkus.management.port=0",
            "-jar",
            &program.to_string_lossy(),
        ];
        let process = Guarded::start(&java.to_string_lossy(), &command, &log, &log);
        let process = process.map_err(|e| format!("{}: {e}", java.display()))?;
        let mut registry = Apicurio {
            process,
            port,
            log,
            keeps_log: true,
        };
        registry.await_ready()?;
        registry.keeps_log = false;
        Ok(registry)
    }

    /// The URL of its Confluent-compatible API: `http://127.0.0.1:…/apis/ccompat/v7`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{API}", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn await_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + READY_WITHIN;
        loop {
            let last = match status(self.port, &format!("{API}/subjects")) {
                Ok(200) => return Ok(()),
                Ok(status) => format!("it responds with status {status}"),
                Err(e) => e.to_string(),
            };
            if self.process.ended().is_some() || Instant::now() > end {
                let log = self.log.display();
                return Err(format!("Apicurio is not ready ({last}); see {log}"));
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Apicurio {
    fn drop(&mut self) {
        if !self.keeps_log && !std::thread::panicking() {
            let _ = fs::remove_file(&self.log);
        }
    }
}

/// The registry, unpacked. By `tar`: Maven cuts names off after 100 letters, and the registry then waits for ever for the classes in these files.
fn home() -> Result<PathBuf, String> {
    let archive = folder().join(format!("apicurio-{APICURIO_VERSION}-archive"));
    let artifact = format!("io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all");
    fetch(
        &archive,
        "dependency:copy",
        &[format!("-Dartifact={artifact}")],
    )?;
    let home = folder().join(format!("apicurio-{APICURIO_VERSION}-unpacked"));
    fetch_by(&home, |part| {
        fs::create_dir_all(part).map_err(|e| format!("{}: {e}", part.display()))?;
        let file = archive.join(format!(
            "apicurio-registry-app-{APICURIO_VERSION}-all.tar.gz"
        ));
        let mut unpack = Command::new("tar");
        unpack.arg("-xzf").arg(file).arg("-C").arg(part);
        let output = unpack.output().map_err(|e| format!("`tar`: {e}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    })?;
    Ok(home)
}

/// The status of the response to a GET.
fn status(port: u16, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut response = Vec::new();
    stream.take(4_096).read_to_end(&mut response)?;
    let text = String::from_utf8_lossy(&response);
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::other("no HTTP"))
}

/// The `java` of a JDK 21 or newer: the one on the path, or one of Debian's folder of them.
fn java() -> Result<PathBuf, String> {
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let installed = installed.map(|jdk| jdk.path().join("bin/java"));
    let mut candidates = std::iter::once(PathBuf::from("java")).chain(installed);
    candidates
        .find(|java| version(java).is_some_and(|version| version >= OLDEST_JDK))
        .ok_or_else(|| "needs a JDK 21 or newer, on the path or in /usr/lib/jvm".to_string())
}

fn version(java: &PathBuf) -> Option<u32> {
    let output = Command::new(java).arg("-version").output().ok()?;
    super::java::version_in(&String::from_utf8_lossy(&output.stderr))
}
