//! The lines of files or of the standard input, or files as a whole. In: what is to be read, what ends a line, and the most bytes that a line may have. Out:
//! the lines, several at a time.
//!
//! A thread of its own reads: somebody who types, or a pipe that is silent, holds nothing else up, and a signal is heard meanwhile.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

/// About how many bytes of lines are handed over together.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks wait at the most.
const MOST_CHUNKS: usize = 16;
/// How many records without input are handed over together.
const WITHOUT_INPUT: usize = 1_024;
/// The name that stands for the standard input.
const STDIN: &str = "-";

/// Lines as they come.
#[derive(Debug)]
pub struct Lines(mpsc::Receiver<Result<Chunk, String>>);

/// How files become records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// A record for each line, which ends with these bytes.
    By(Vec<u8>),
    /// A record for each file.
    Whole,
}

/// Some lines that follow one another.
#[derive(Debug, Default)]
pub struct Chunk {
    text: Vec<u8>,
    /// Where in the text each line ends.
    ends: Vec<usize>,
    /// The file that they are of, where there are several.
    file: Option<Arc<str>>,
    /// The number of the first.
    first: u64,
    is_whole: bool,
}

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: Option<Arc<str>>,
    /// `None` for a whole file.
    line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, &self.file) {
            (Some(line), None) => write!(f, "line {line}"),
            (Some(line), Some(file)) => write!(f, "line {line} of {file}"),
            (None, Some(file)) => f.write_str(file),
            (None, None) => f.write_str("the input"),
        }
    }
}

impl Chunk {
    /// The lines, without what ends them, and where they are from.
    pub fn lines(&self) -> impl Iterator<Item = (Place, &[u8])> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let lines = starts.zip(&self.ends).zip(self.first..);
        lines.map(|((start, end), number)| {
            let place = Place {
                file: self.file.clone(),
                line: (!self.is_whole).then_some(number),
            };
            (place, &self.text[start..*end])
        })
    }
}

impl Lines {
    /// Begins to read these files one after the other, or the standard input where there are none. Reading stops at a line of more than `most` bytes.
    pub fn of(paths: &[PathBuf], split: Split, most: usize) -> Lines {
        let mut paths = paths.to_vec();
        if paths.is_empty() {
            paths.push(PathBuf::from(STDIN));
        }
        let is_named = paths.len() > 1;
        Lines::start(move |sender| {
            for path in &paths {
                let name: Arc<str> = path.display().to_string().into();
                let file = (is_named || split == Split::Whole).then(|| Arc::clone(&name));
                let read = open(path).and_then(|input| {
                    let reader = Reader::new(input, file, &split, most);
                    reader.hand_over(sender)
                });
                match read {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => return drop(sender.blocking_send(Err(error))),
                }
            }
        })
    }

    /// Empty lines without an end, for records that are made of nothing.
    pub fn without_input() -> Lines {
        Lines::start(|sender| {
            for first in (1..).step_by(WITHOUT_INPUT) {
                let chunk = Chunk {
                    ends: vec![0; WITHOUT_INPUT],
                    first,
                    ..Chunk::default()
                };
                if sender.blocking_send(Ok(chunk)).is_err() {
                    return;
                }
            }
        })
    }

    fn start(read: impl FnOnce(&mpsc::Sender<Result<Chunk, String>>) + Send + 'static) -> Lines {
        let (sender, receiver) = mpsc::channel(MOST_CHUNKS);
        std::thread::spawn(move || read(&sender));
        Lines(receiver)
    }

    /// The next lines; none at the end. Fails with what is wrong with the line that follows. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Chunk, String>> {
        self.0.recv().await
    }
}

fn open(path: &Path) -> Result<Box<dyn Read>, String> {
    if path == Path::new(STDIN) {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

struct Reader<R> {
    input: BufReader<R>,
    file: Option<Arc<str>>,
    /// What ends a line; `None` reads all of it.
    delimiter: Option<Vec<u8>>,
    most: usize,
    number: u64,
}

impl<R: Read> Reader<R> {
    fn new(input: R, file: Option<Arc<str>>, split: &Split, most: usize) -> Self {
        Reader {
            input: BufReader::with_capacity(CHUNK_BYTES, input),
            file,
            delimiter: match split {
                Split::By(delimiter) => Some(delimiter.clone()),
                Split::Whole => None,
            },
            most,
            number: 0,
        }
    }

    /// Hands over everything. Returns false when nobody takes it any more.
    fn hand_over(mut self, sender: &mpsc::Sender<Result<Chunk, String>>) -> Result<bool, String> {
        if self.delimiter.is_none() {
            let chunk = self.whole()?;
            return Ok(sender.blocking_send(Ok(chunk)).is_ok());
        }
        loop {
            let (chunk, error) = match self.chunk() {
                Ok(chunk) if chunk.ends.is_empty() => return Ok(true),
                Ok(chunk) => (chunk, None),
                Err((before, error)) => (before, Some(error)),
            };
            if !chunk.ends.is_empty() && sender.blocking_send(Ok(chunk)).is_err() {
                return Ok(false);
            }
            if let Some(error) = error {
                return Err(error);
            }
        }
    }

    /// Everything there is, as one record.
    fn whole(&mut self) -> Result<Chunk, String> {
        let mut text = Vec::new();
        let read = self
            .input
            .by_ref()
            .take(self.most as u64 + 1)
            .read_to_end(&mut text);
        let place = self.file.as_deref().unwrap_or("the input");
        read.map_err(|error| format!("{place}: {error}"))?;
        if text.len() > self.most {
            return Err(format!("{place} {}", too_long(self.most)));
        }
        Ok(Chunk {
            ends: vec![text.len()],
            text,
            file: self.file.clone(),
            first: 1,
            is_whole: true,
        })
    }

    /// The next lines, as many as there are without waiting; those before an error come with it.
    fn chunk(&mut self) -> Result<Chunk, (Chunk, String)> {
        let mut chunk = Chunk {
            file: self.file.clone(),
            first: self.number + 1,
            ..Chunk::default()
        };
        loop {
            match self.line(&mut chunk.text) {
                Ok(true) => chunk.ends.push(chunk.text.len()),
                Ok(false) => return Ok(chunk),
                Err(error) => return Err((chunk, error)),
            }
            if chunk.text.len() >= CHUNK_BYTES || !self.has_line() {
                return Ok(chunk);
            }
        }
    }

    /// Whether a whole line has been read ahead.
    fn has_line(&self) -> bool {
        let delimiter = self.delimiter.as_deref().unwrap_or_default();
        let buffer = self.input.buffer();
        match delimiter {
            [byte] => buffer.contains(byte),
            _ => buffer
                .windows(delimiter.len().max(1))
                .any(|it| it == delimiter),
        }
    }

    /// Appends the next line; false at the end.
    fn line(&mut self, text: &mut Vec<u8>) -> Result<bool, String> {
        self.number += 1;
        let place = Place {
            file: self.file.clone(),
            line: Some(self.number),
        };
        let (most, start) = (self.most, text.len());
        let delimiter = self.delimiter.as_deref().unwrap_or_default();
        let last = delimiter.last().copied().unwrap_or(b'\n');
        loop {
            // What ends it may come on top.
            let left = (most + delimiter.len()).saturating_sub(text.len() - start);
            let mut limited = self.input.by_ref().take(left as u64);
            let read = limited.read_until(last, text);
            let read = read.map_err(|error| format!("{place}: {error}"))?;
            if text[start..].ends_with(delimiter) {
                text.truncate(text.len() - delimiter.len());
                return Ok(true);
            }
            if text.len() - start > most {
                return Err(format!("{place} {}", too_long(most)));
            }
            if read == 0 {
                return Ok(text.len() > start);
            }
        }
    }
}

fn too_long(most: usize) -> String {
    format!("is longer than {most} bytes, and a record must not be: see max.request.size")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn read_from(input: impl Read + Send + 'static, delimiter: &[u8], most: usize) -> Lines {
        let split = Split::By(delimiter.to_vec());
        Lines::start(move |sender| {
            let reader = Reader::new(input, None, &split, most);
            if let Err(error) = reader.hand_over(sender) {
                let _ = sender.blocking_send(Err(error));
            }
        })
    }

    async fn all(mut lines: Lines) -> (Vec<Vec<u8>>, Option<String>) {
        let mut read = Vec::new();
        while let Some(next) = lines.next().await {
            match next {
                Ok(chunk) => read.extend(chunk.lines().map(|(_, line)| line.to_vec())),
                Err(error) => return (read, Some(error)),
            }
        }
        (read, None)
    }

    async fn read(text: &'static [u8], most: usize) -> (Vec<Vec<u8>>, Option<String>) {
        all(read_from(text, b"\n", most)).await
    }

    #[tokio::test]
    async fn lines_come_as_they_are_the_last_with_or_without_an_end() {
        let lines = |lines: &[&[u8]]| (lines.iter().map(|line| line.to_vec()).collect(), None);
        assert_eq!(read(b"a\n\nb\r\n", 10).await, lines(&[b"a", b"", b"b\r"]));
        assert_eq!(read(b"a\nb", 10).await, lines(&[b"a", b"b"]));
        assert_eq!(read(b"", 10).await, lines(&[]));
        assert_eq!(read(b"\n", 10).await, lines(&[b""]));
        assert_eq!(read(b"1234\n1234", 4).await, lines(&[b"1234", b"1234"]));
    }

    #[tokio::test]
    async fn lines_end_with_whatever_bytes_are_said() {
        let by =
            |text: &'static [u8], delimiter: &'static [u8]| all(read_from(text, delimiter, 10));
        let lines = |lines: &[&[u8]]| (lines.iter().map(|line| line.to_vec()).collect(), None);
        assert_eq!(by(b"a;b\n;c", b";").await, lines(&[b"a", b"b\n", b"c"]));
        assert_eq!(by(b"a\0b\0", b"\0").await, lines(&[b"a", b"b"]));
        assert_eq!(by(b"a::b:c::", b"::").await, lines(&[b"a", b"b:c"]));
        assert_eq!(by(b"a:::b", b"::").await, lines(&[b"a", b":b"]));
        assert_eq!(by(b"a:", b"::").await, lines(&[b"a:"]));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_ends_reading_after_those_before_it() {
        for text in [&b"one\ntwo\nthree\nfour\n"[..], b"one\ntwo\nthree"] {
            let (read, error) = read(text, 4).await;
            assert_eq!(read, [b"one", b"two"]);
            assert!(error.is_some_and(|error| error.starts_with("line 3 is longer than 4 bytes")));
        }
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_read_no_further_than_its_limit() {
        struct Endless(Arc<AtomicUsize>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                self.0.fetch_add(buffer.len(), Ordering::Relaxed);
                Ok(buffer.len())
            }
        }
        let read = Arc::default();
        let mut lines = read_from(Endless(Arc::clone(&read)), b"\n", 1 << 20);
        assert!(lines.next().await.expect("an end").is_err());
        let read = read.load(Ordering::Relaxed);
        assert!(read <= (1 << 20) + 2 * CHUNK_BYTES, "{read} bytes");
    }

    #[tokio::test]
    async fn files_come_one_after_the_other_by_lines_or_as_a_whole() {
        let folder = std::env::temp_dir().join(crate::unique::unique_name("pat-events-lines"));
        std::fs::create_dir(&folder).expect("a folder");
        let paths = ["a", "b"].map(|name| folder.join(name));
        for (path, text) in paths.iter().zip(["1\n2\n", "3\n"]) {
            std::fs::write(path, text).expect("written");
        }
        let lines = all(Lines::of(&paths, Split::By(b"\n".to_vec()), 10)).await;
        let whole = all(Lines::of(&paths, Split::Whole, 10)).await;
        let too_long = all(Lines::of(&paths, Split::Whole, 3)).await;
        let missing = all(Lines::of(&[folder.join("c")], Split::Whole, 3)).await;
        let mut placed = Lines::of(&paths, Split::By(b"\n".to_vec()), 10);
        let (mut places, mut number) = (Vec::new(), 0);
        while let Some(Ok(chunk)) = placed.next().await {
            places.extend(chunk.lines().map(|(place, _)| place.to_string()));
            number += 1;
        }
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(
            lines,
            (vec![b"1".to_vec(), b"2".to_vec(), b"3".to_vec()], None)
        );
        assert_eq!(whole, (vec![b"1\n2\n".to_vec(), b"3\n".to_vec()], None));
        assert!(
            too_long
                .1
                .is_some_and(|error| error.contains("/a is longer than 3 bytes"))
        );
        assert!(missing.1.is_some_and(|error| error.contains("/c: ")));
        assert!(
            places[0].starts_with("line 1 of ") && places[2].ends_with("/b"),
            "{places:?}"
        );
        assert!(number >= 2);
    }
}
