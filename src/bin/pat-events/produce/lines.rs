//! The lines of a file or of the standard input. In: what is to be read, and the most bytes that a line may have. Out: the lines, several
//! at a time.
//!
//! A thread of its own reads: somebody who types, or a pipe that is silent, holds nothing else up, and a signal is heard meanwhile.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;

use crate::Outcome;

/// About how many bytes of lines are handed over together.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks wait at the most.
const MOST_CHUNKS: usize = 16;

/// Lines as they come.
#[derive(Debug)]
pub struct Lines(mpsc::Receiver<Result<Chunk, String>>);

/// Some lines that follow one another.
#[derive(Debug, Default)]
pub struct Chunk {
    text: Vec<u8>,
    /// Where in the text each line ends.
    ends: Vec<usize>,
}

impl Chunk {
    /// The lines, without what ends them.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.text[start..*end])
    }
}

impl Lines {
    /// Begins to read `path`, or the standard input. Reading stops at a line of more than `most` bytes.
    pub fn of(path: Option<&Path>, most: usize) -> Outcome<Lines> {
        let input: Box<dyn Read + Send> = match path {
            Some(path) => {
                Box::new(File::open(path).map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => Box::new(io::stdin()),
        };
        Ok(Lines::read(input, most))
    }

    fn read(input: impl Read + Send + 'static, most: usize) -> Lines {
        let (sender, receiver) = mpsc::channel(MOST_CHUNKS);
        std::thread::spawn(move || {
            let mut reader = Reader {
                input: BufReader::with_capacity(CHUNK_BYTES, input),
                most,
                number: 0,
            };
            loop {
                let (chunk, error) = match reader.chunk() {
                    Ok(chunk) if chunk.ends.is_empty() => return,
                    Ok(chunk) => (chunk, None),
                    Err((before, error)) => (before, Some(error)),
                };
                // When nobody takes them any more, there is nothing left to do.
                if !chunk.ends.is_empty() && sender.blocking_send(Ok(chunk)).is_err() {
                    return;
                }
                if let Some(error) = error {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
        });
        Lines(receiver)
    }

    /// The next lines; none at the end. Fails with what is wrong with the line that follows. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Chunk, String>> {
        self.0.recv().await
    }
}

struct Reader<R> {
    input: BufReader<R>,
    most: usize,
    number: u64,
}

impl<R: Read> Reader<R> {
    /// The next lines, as many as there are without waiting; those before an error come with it.
    fn chunk(&mut self) -> Result<Chunk, (Chunk, String)> {
        let mut chunk = Chunk::default();
        loop {
            match self.line(&mut chunk.text) {
                Ok(true) => chunk.ends.push(chunk.text.len()),
                Ok(false) => return Ok(chunk),
                Err(error) => return Err((chunk, error)),
            }
            if chunk.text.len() >= CHUNK_BYTES || !self.input.buffer().contains(&b'\n') {
                return Ok(chunk);
            }
        }
    }

    /// Appends the next line; false at the end.
    fn line(&mut self, text: &mut Vec<u8>) -> Result<bool, String> {
        self.number += 1;
        let (number, most, start) = (self.number, self.most, text.len());
        // One more for what ends it.
        let mut limited = self.input.by_ref().take(most as u64 + 1);
        let read = limited.read_until(b'\n', text);
        read.map_err(|error| format!("line {number}: {error}"))?;
        if text.len() == start {
            return Ok(false);
        }
        if text.last() == Some(&b'\n') {
            text.pop();
        } else if text.len() - start > most {
            return Err(format!(
                "line {number} is longer than {most} bytes, and a record must not be: see max.request.size"
            ));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &'static [u8], most: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let mut lines = Lines::read(text, most);
        let mut read = Vec::new();
        while let Some(next) = lines.next().await {
            match next {
                Ok(chunk) => read.extend(chunk.lines().map(<[u8]>::to_vec)),
                Err(error) => return (read, Some(error)),
            }
        }
        (read, None)
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
    async fn a_line_that_is_too_long_ends_reading_after_those_before_it() {
        for text in [&b"one\ntwo\nthree\nfour\n"[..], b"one\ntwo\nthree"] {
            let (read, error) = read(text, 4).await;
            assert_eq!(read, [b"one", b"two"]);
            assert!(error.is_some_and(|error| error.starts_with("line 3 is longer than 4 bytes")));
        }
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_read_no_further_than_its_limit() {
        struct Endless(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'x');
                self.0
                    .fetch_add(buffer.len(), std::sync::atomic::Ordering::Relaxed);
                Ok(buffer.len())
            }
        }
        let read = std::sync::Arc::default();
        let mut lines = Lines::read(Endless(std::sync::Arc::clone(&read)), 1 << 20);
        assert!(lines.next().await.expect("an end").is_err());
        let read = read.load(std::sync::atomic::Ordering::Relaxed);
        assert!(read <= (1 << 20) + 2 * CHUNK_BYTES, "{read} bytes");
    }
}
