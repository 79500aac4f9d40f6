//! Child processes that cannot outlive the test. In: a command. Out: a handle whose drop is SIGKILL.
//!
//! Each command runs under a small `sh` that holds the read end of a pipe from this process. When the pipe closes,
//! because the handle was dropped or because this process is gone in whatever way, the shell kills the command. The
//! shell is the command's parent, so the id that it kills cannot have been given to another process meanwhile. What is
//! written into the pipe are signals for the command.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
command=$!
{ while read -r signal; do kill -s "$signal" $command; done <&3; kill -9 $command; } 2>/dev/null &
watch=$!
exec 3<&-
wait $command
status=$?
kill $watch
exit $status
"#;

/// A running command; dropping it kills it at once (SIGKILL) and waits until it is gone.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    lifeline: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `program`, with standard output and errors going to these files.
    pub fn start<S: AsRef<OsStr>>(
        program: &str,
        arguments: &[S],
        output: &Path,
        errors: &Path,
    ) -> io::Result<Guarded> {
        let append = |path| File::options().create(true).append(true).open(path);
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guard", program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(append(output)?)
            .stderr(append(errors)?)
            // A group of its own: an interrupt at the terminal reaches the test, whose end the guard then sees.
            .process_group(0)
            .spawn()?;
        let lifeline = shell.stdin.take();
        Ok(Guarded { shell, lifeline })
    }

    // Only the tests against Kafka send signals.
    #[allow(dead_code)]
    /// Sends the command a signal, by its name: `STOP`, `CONT`, `TERM`.
    pub fn signal(&mut self, name: &str) {
        if let Some(lifeline) = &mut self.lifeline {
            // It may have ended.
            let _ = writeln!(lifeline, "{name}");
        }
    }

    /// The exit status, if the command has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Waits until the command ends by itself; `None` when it takes longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            match self.ended() {
                None if Instant::now() < end => sleep(Duration::from_millis(20)),
                ended => return ended,
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.shell.wait();
    }
}
