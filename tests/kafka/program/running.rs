//! A run of the program: started, typed to, signalled, waited for; and what it printed.

use super::*;

pub const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// A run of the program that is still going on; dropping it ends it.
pub struct Program {
    child: Child,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    pub fn start(arguments: &[&str]) -> Program {
        let mut child = commands::start(arguments);
        let (output, errors) = (Arc::default(), Arc::default());
        let readers = vec![
            gather(child.stdout.take().expect("piped"), Arc::clone(&output)),
            gather(child.stderr.take().expect("piped"), Arc::clone(&errors)),
        ];
        Program {
            child,
            output,
            errors,
            readers,
        }
    }

    pub fn types(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Waits until this is among what it prints.
    pub async fn prints(&self, text: &str) {
        contains(&self.output, text).await;
    }

    /// Waits until this is among what it says of errors.
    pub async fn says(&self, text: &str) {
        contains(&self.errors, text).await;
    }

    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.is_ok_and(|kill| kill.success()));
    }

    /// Waits until it ends by itself.
    pub async fn end(mut self) -> Ended {
        let deadline = Instant::now() + ENDS_WITHIN;
        let mut status = None;
        while status.is_none() && Instant::now() < deadline {
            status = self.child.try_wait().expect("a child");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = self.child.kill();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let text = |text: &Mutex<String>| text.lock().expect("no panic").clone();
        Ended {
            status: status.and_then(|status| status.code()),
            output: text(&self.output),
            errors: text(&self.errors),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn gather(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..read]);
            into.lock().expect("no panic").push_str(&text);
        }
    })
}

pub async fn contains(so_far: &Mutex<String>, text: &str) {
    let deadline = Instant::now() + ENDS_WITHIN;
    while !so_far.lock().expect("no panic").contains(text) {
        assert!(Instant::now() < deadline, "no {text:?} in {so_far:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` when it did not end by itself.
    pub status: Option<i32>,
    pub output: String,
    pub errors: String,
}

/// Runs the program to its good end, with `input` as the file that it reads, and returns what it printed.
pub fn run(arguments: &[&str], input: Option<&str>) -> String {
    let ended = end_of(&[], arguments, input);
    assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
    ended.output
}

/// As [`run`], for a run that is to fail; returns what it says of that.
pub fn fails(arguments: &[&str], input: Option<&str>) -> String {
    let ended = end_of(&[], arguments, input);
    assert_eq!(ended.status, Some(1), "{arguments:?}: {ended:?}");
    ended.errors
}

/// Runs the program to its end, in the environment of this process and these variables.
pub fn end_of(variables: &[(&str, &str)], arguments: &[&str], input: Option<&str>) -> Ended {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let file = |kind| folder().join(format!("program-{}-{number}.{kind}", std::process::id()));
    let (output, errors, lines) = (file("out"), file("err"), file("in"));
    let variables = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let mut command: Vec<OsString> = variables.map(OsString::from).collect();
    command.push(env!("CARGO_BIN_EXE_pat-events").into());
    command.extend(arguments.iter().map(OsString::from));
    if let Some(input) = input {
        fs::write(&lines, input).expect("the input can be written");
        command.push(lines.clone().into());
    }
    let program = Guarded::start("env", &command, &output, &errors);
    let status = program.expect("it starts").wait(ENDS_WITHIN);
    let [output, errors] = [output, errors].map(|path| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text
    });
    let _ = fs::remove_file(lines);
    Ended {
        status: status.and_then(|status| status.code()),
        output,
        errors,
    }
}
