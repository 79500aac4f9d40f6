//! Python with librdkafka's client. In: `python3` with `venv` on the path, and pip's index. Out: a [`Python`] that runs programs of `tests/python`, or the
//! reason why there is none. It is installed once, into `target/kafka`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::guarded::Guarded;
use super::java::{fetch_by, folder};

const PACKAGE: &str = "confluent-kafka==2.16.1";

/// A Python that has confluent-kafka.
#[derive(Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Finds Python, and installs the package if it is not there yet. The error is for a reader: it says what to install.
    pub fn with_librdkafka() -> Result<Python, String> {
        // Trials run side by side.
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = INSTALLING.lock().unwrap_or_else(|e| e.into_inner());
        let home = folder().join(PACKAGE.replace("==", "-").replace('.', "-"));
        fetch_by(&home, |part| {
            let needs = format!("needs Python 3 with venv, and pip to install {PACKAGE}");
            run(
                &needs,
                Command::new("python3").args(["-m", "venv"]).arg(part),
            )?;
            let mut pip = Command::new(part.join("bin/python3"));
            let quiet = [
                "-m",
                "pip",
                "install",
                "-q",
                "--only-binary",
                ":all:",
                PACKAGE,
            ];
            run(&needs, pip.args(quiet))
        })?;
        let program = home.join("bin/python3");
        Ok(Python { program })
    }

    /// Starts `tests/python/{program}.py`, with its output going to this file.
    pub fn start(&self, program: &str, arguments: &[&str], log: &Path) -> io::Result<Guarded> {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let mut sources = folders.map(|it| it.join(format!("tests/python/{program}.py")));
        let source = sources
            .find(|it| it.exists())
            .expect("a program of the tests");
        let source = source.to_string_lossy();
        let arguments: Vec<&str> = [&*source]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        Guarded::start(&self.program.to_string_lossy(), &arguments, log, log)
    }
}

fn run(needs: &str, command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{needs}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("{needs}: {error}")),
    }
}
