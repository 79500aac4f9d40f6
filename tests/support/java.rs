//! The JDK and Kafka's jars. In: `java` and `mvn` on the path. Out: a [`Jdk`] that runs Kafka's classes and single-file
//! Java programs, or the reason why there is none. Maven fetches the jars once, into `target/kafka`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::guarded::Guarded;

/// The Kafka that the tests run against.
pub const KAFKA_VERSION: &str = "4.4.0";
const OLDEST_JDK: u32 = 17;

/// A usable JDK with Kafka's jars.
#[derive(Debug)]
pub struct Jdk {
    class_path: String,
}

impl Jdk {
    /// Finds the JDK and Maven, and fetches the jars if they are not there yet. The error is for a reader: it says what to install.
    pub fn find() -> Result<Jdk, String> {
        let version = java_version().ok_or("needs a JDK 17 or newer: no `java` here")?;
        if version < OLDEST_JDK {
            return Err(format!("needs a JDK 17 or newer: `java` is {version}"));
        }
        let kafka = [
            ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
            ("org.slf4j", "slf4j-simple", "1.7.36"),
        ];
        Ok(Jdk {
            class_path: jars(&format!("jars-{KAFKA_VERSION}"), &kafka)?,
        })
    }

    // The tests of the protocol crate need no more than Kafka's.
    #[allow(dead_code)]
    /// This JDK with these artifacts of Maven (group, name, version), kept in a folder of this name, before Kafka's jars.
    pub fn with(&self, name: &str, artifacts: &[(&str, &str, &str)]) -> Result<Jdk, String> {
        let more = jars(name, artifacts)?;
        Ok(Jdk {
            class_path: format!("{more}:{}", self.class_path),
        })
    }

    // Plugins of brokers are of the tests against Kafka alone.
    #[allow(dead_code)]
    /// This JDK with the classes of `tests/java/{program}.java`, compiled, before Kafka's jars.
    pub fn with_compiled(&self, program: &str) -> Result<Jdk, String> {
        let classes = folder().join(format!("classes-{program}"));
        let compiled = Command::new("javac")
            .args(["-cp", &self.class_path, "-d"])
            .arg(&classes)
            .arg(source(program)?)
            .output()
            .map_err(|error| format!("javac: {error}"))?;
        match compiled.status.success() {
            true => Ok(Jdk {
                class_path: format!("{}:{}", classes.display(), self.class_path),
            }),
            false => Err(String::from_utf8_lossy(&compiled.stderr).into_owned()),
        }
    }

    /// The command line of a main class: flags of the JVM, class path, class, arguments.
    pub fn command(&self, flags: &[&str], class: &str, arguments: &[&str]) -> Vec<OsString> {
        let quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
        let fixed = [
            quiet,
            // None runs for long enough to win back what the optimizing compiler takes.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            "-cp",
            &self.class_path,
        ];
        flags
            .iter()
            .chain(&fixed)
            .chain([&class])
            .chain(arguments)
            .map(OsString::from)
            .collect()
    }

    // Members of groups are of the tests against Kafka alone.
    #[allow(dead_code)]
    /// Starts `tests/java/{program}.java`, with its output going to this file.
    pub fn start(&self, program: &str, arguments: &[&str], log: &Path) -> Result<Guarded, String> {
        let command = self.command(&["-Xmx256m"], &source(program)?, arguments);
        Guarded::start("java", &command, log, log).map_err(|e| format!("java: {e}"))
    }

    /// Runs `tests/java/{program}.java` to its end and returns what it printed; its errors become the test's.
    pub fn run(
        &self,
        program: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String, String> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = format!(
            "{program}-{}-{}",
            std::process::id(),
            RUNS.fetch_add(1, Ordering::Relaxed)
        );
        let (output, errors) = (
            folder().join(format!("{run}.out")),
            folder().join(format!("{run}.err")),
        );
        let source = source(program)?;
        let command = self.command(&["-Xmx256m"], &source, arguments);
        let started = Guarded::start("java", &command, &output, &errors);
        let status = started.map_err(|e| format!("java: {e}"))?.wait(limit);
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        match status {
            Some(status) if status.success() => {
                let printed = text(&output);
                let _ = fs::remove_file(&output);
                let _ = fs::remove_file(&errors);
                Ok(printed)
            }
            Some(status) => Err(format!("{program}.java: {status}: {}", text(&errors))),
            None => Err(format!(
                "{program}.java did not end in {limit:?}: {}",
                text(&errors)
            )),
        }
    }
}

/// The Java program of this name: in `tests/java` of the package under test, or of a folder around it.
fn source(program: &str) -> Result<String, String> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut sources = folders.map(|folder| folder.join(format!("tests/java/{program}.java")));
    let source = sources.find(|source| source.exists());
    let source = source.ok_or_else(|| format!("there is no tests/java/{program}.java"))?;
    Ok(source.to_string_lossy().into_owned())
}

/// Where jars, brokers' logs and Java's output go: `target/kafka`.
pub fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.parent().unwrap_or(target).join("kafka");
    fs::create_dir_all(&folder).expect("target/kafka can be created");
    folder
}

/// The JDK's feature number, from the first quoted version that it prints: `17.0.15` is 17, `1.8.0_392` is 1.
fn java_version() -> Option<u32> {
    let output = Command::new("java").arg("-version").output().ok()?;
    version_in(&String::from_utf8_lossy(&output.stderr))
}

/// The feature number in what `java -version` prints.
pub fn version_in(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    quoted
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The class path of these artifacts and all that they need, in `target/kafka/{name}`: fetched when they are not there yet.
fn jars(name: &str, artifacts: &[(&str, &str, &str)]) -> Result<String, String> {
    let jars = folder().join(name);
    let dependencies: String = artifacts
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
            )
        })
        .collect();
    let pom = folder().join(format!("{name}.xml"));
    let text = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>{name}</artifactId><version>1</version>\
         <dependencies>{dependencies}</dependencies></project>\n",
    );
    fs::write(&pom, text).map_err(|e| format!("{}: {e}", pom.display()))?;
    let pom = pom.to_string_lossy();
    fetch(
        &jars,
        "dependency:copy-dependencies",
        &["-f".to_string(), pom.into_owned()],
    )?;
    Ok(format!("{}/*", jars.display()))
}

/// Lets Maven fetch what `goal` with `options` names, with checksums held, into a folder that gets its name when it is whole; nothing when it
/// is there.
pub fn fetch(into: &Path, goal: &str, options: &[String]) -> Result<(), String> {
    fetch_by(into, |part| {
        let output = Command::new("mvn")
            .args(["-q", "-B", "-C", goal])
            .args(options)
            .arg(format!("-DoutputDirectory={}", part.display()))
            .output()
            .map_err(|e| format!("needs Maven to fetch {}: `mvn`: {e}", into.display()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "Maven could not fetch {}: {}",
                into.display(),
                String::from_utf8_lossy(&output.stdout)
            )),
        }
    })
}

/// Lets `fill` create a folder and what is in it, which gets its name when it is whole; nothing when it is there.
pub fn fetch_by(into: &Path, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    if into.is_dir() {
        return Ok(());
    }
    let part = into.with_extension(format!("part-{}", std::process::id()));
    if let Err(error) = fill(&part) {
        let _ = fs::remove_dir_all(&part);
        return Err(error);
    }
    match fs::rename(&part, into) {
        Err(e) if !into.is_dir() => Err(format!("{}: {e}", into.display())),
        // Another test process was faster; both fetched the same.
        Err(_) => fs::remove_dir_all(&part).map_err(|e| e.to_string()),
        Ok(()) => Ok(()),
    }
}
