//! The reading half of a connection: a byte stream comes in, frames (without their four-byte length) go out.
//!
//! Short frames are read many at a time and copied out; a long one is read straight into a buffer of its own, which comes from the pool and
//! grows only as bytes arrive, so that no length from the wire is trusted before its bytes are there.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::FramePool;
use super::peer::not_kafka;
use crate::kafka::{Error, ErrorKind, Result};

/// How much is read at once while it is not known what comes.
const CHUNK_BYTES: usize = 16 << 10;

/// How much a long frame's buffer has room for at first, when the pool has none.
const FIRST_BYTES: usize = 256 << 10;

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub(super) struct FrameReader {
    pool: FramePool,
    max_frame_bytes: usize,
    /// What was read and not yet given out. Never grows beyond [`CHUNK_BYTES`].
    chunk: BytesMut,
    /// The long frame that is being read, and its whole length.
    long: Option<(BytesMut, usize)>,
    /// Whether a frame was returned before: a first frame that makes no sense shows a peer that is no broker.
    seen_frame: bool,
}

impl FrameReader {
    /// A reader that accepts frames of at most `max_frame_bytes`.
    pub fn new(pool: FramePool, max_frame_bytes: usize) -> Self {
        Self {
            pool,
            max_frame_bytes,
            chunk: BytesMut::with_capacity(CHUNK_BYTES),
            long: None,
            seen_frame: false,
        }
    }

    /// The next frame. `None` when the stream ended between frames. Keeps what it has read when it is not ready: nothing is lost by
    /// polling again later.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
    ) -> Poll<Result<Option<Bytes>>> {
        self.poll_announced_frame(cx, stream, &mut |_| ())
    }

    /// As [`poll_frame`](Self::poll_frame); `announced` is told before a long frame is read how much memory it takes: its length, or that of
    /// the pooled buffer that it is read into.
    pub fn poll_announced_frame(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
        announced: &mut dyn FnMut(usize),
    ) -> Poll<Result<Option<Bytes>>> {
        loop {
            let begun = self.long.is_some();
            if let Some(frame) = self.take_frame()? {
                self.seen_frame = true;
                return Poll::Ready(Ok(Some(frame)));
            }
            if let (false, Some((buffer, len))) = (begun, &self.long) {
                announced(buffer.capacity().max(FramePool::room_for(*len)));
            }
            let read = match &mut self.long {
                Some((buffer, len)) => {
                    if buffer.len() == buffer.capacity() {
                        grow(buffer, *len);
                    }
                    let missing = *len - buffer.len();
                    ready!(poll_read_into(cx, stream, buffer, missing))
                }
                None => {
                    let room = CHUNK_BYTES - self.chunk.len();
                    self.chunk.reserve(room);
                    ready!(poll_read_into(cx, stream, &mut self.chunk, room))
                }
            };
            match read {
                Ok(0) => return Poll::Ready(self.ended()),
                Ok(_) => {}
                Err(error) => {
                    let message = "reading from the connection failed";
                    return Poll::Ready(Err(
                        Error::new(ErrorKind::Disconnected, message).because(error)
                    ));
                }
            }
        }
    }

    /// A frame out of what was read, if a whole one is there. Starts a long frame when its beginning is.
    fn take_frame(&mut self) -> Result<Option<Bytes>> {
        if let Some((buffer, len)) = &self.long {
            if buffer.len() < *len {
                return Ok(None);
            }
            return Ok(self.long.take().map(|(buffer, _)| buffer.freeze()));
        }
        let Some(prefix) = self.chunk.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = self.checked_len(*prefix)?;
        if self.chunk.len() >= 4 + len {
            let frame = Bytes::copy_from_slice(&self.chunk[4..4 + len]);
            self.chunk.advance(4 + len);
            return Ok(Some(frame));
        }
        if 4 + len > CHUNK_BYTES {
            let mut buffer = self.pool.take(len, FIRST_BYTES);
            buffer.put_slice(&self.chunk[4..]);
            self.chunk.clear();
            self.long = Some((buffer, len));
        }
        Ok(None)
    }

    fn checked_len(&self, prefix: [u8; 4]) -> Result<usize> {
        if !self.seen_frame
            && let Some(error) = not_kafka(&self.chunk)
        {
            return Err(error);
        }
        let declared = i32::from_be_bytes(prefix);
        match usize::try_from(declared) {
            Ok(len) if len < 4 => Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "the peer announced a frame of {len} bytes, too short for a correlation id"
                ),
            )),
            Ok(len) if len <= self.max_frame_bytes => Ok(len),
            _ => Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "the peer announced a frame of {declared} bytes; accepted are up to {} (receive.message.max.bytes)",
                    self.max_frame_bytes
                ),
            )),
        }
    }

    fn ended(&self) -> Result<Option<Bytes>> {
        let (have, of) = match &self.long {
            Some((buffer, len)) => (buffer.len(), Some(*len)),
            None => (self.chunk.len(), None),
        };
        match of {
            None if have == 0 => Ok(None),
            None => Err(Error::new(
                ErrorKind::Disconnected,
                format!("the connection ended {have} bytes into a frame"),
            )),
            Some(len) => Err(Error::new(
                ErrorKind::Disconnected,
                format!("the connection ended {have} bytes into a frame of {len} bytes"),
            )),
        }
    }
}

/// Makes a full buffer of a frame of `len` bytes twice as large, and no larger than the frame needs: `BytesMut` itself would go on doubling.
/// The memory of a `Vec` is extended where it is, if it can be: old and new need not be there together.
fn grow(buffer: &mut BytesMut, len: usize) {
    let twice = (2 * buffer.len()).max(FIRST_BYTES);
    let capacity = if twice < len {
        twice
    } else {
        FramePool::room_for(len)
    };
    let mut bytes = Vec::from(std::mem::take(buffer));
    bytes.reserve_exact(capacity.saturating_sub(bytes.len()));
    *buffer = BytesMut::from(Bytes::from(bytes));
}

/// Reads at most `limit` bytes onto the end of `buffer`, within its capacity.
fn poll_read_into(
    cx: &mut Context<'_>,
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    buffer: &mut BytesMut,
    limit: usize,
) -> Poll<std::io::Result<usize>> {
    // The future has no state of its own, so re-creating it for each poll loses nothing.
    let mut target = buffer.limit(limit);
    pin!(stream.read_buf(&mut target)).poll(cx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    async fn frames_of(bytes: Vec<u8>, at_once: usize, max: usize) -> (Vec<Bytes>, Result<()>) {
        let (mut near, mut far) = tokio::io::duplex(at_once);
        let mut reader = FrameReader::new(FramePool::default(), max);
        let writing = tokio::spawn(async move {
            // A reader that gives up leaves us with a broken pipe: that is its right.
            let _ = far.write_all(&bytes).await;
        });
        let mut frames = Vec::new();
        let end = loop {
            match poll_fn(|cx| reader.poll_frame(cx, &mut near)).await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(near);
        writing.await.expect("no panic");
        (frames, end)
    }

    fn framed(len: usize, byte: u8) -> Vec<u8> {
        let mut bytes = (len as u32).to_be_bytes().to_vec();
        bytes.resize(4 + len, byte);
        bytes
    }

    #[tokio::test]
    async fn frames_come_out_whole_however_the_bytes_arrive() {
        let lens = [
            4,
            5,
            100,
            CHUNK_BYTES - 4,
            CHUNK_BYTES - 3,
            3 * FIRST_BYTES,
            4,
            70_000,
        ];
        let bytes: Vec<u8> = lens
            .iter()
            .enumerate()
            .flat_map(|(i, len)| framed(*len, i as u8))
            .collect();
        for at_once in [1_000, 4_096, 1 << 20] {
            let (frames, end) = frames_of(bytes.clone(), at_once, 1 << 20).await;
            end.expect("a clean end");
            assert_eq!(frames.len(), lens.len());
            for (i, frame) in frames.iter().enumerate() {
                assert_eq!(frame.len(), lens[i]);
                assert!(frame.iter().all(|byte| *byte == i as u8));
            }
        }
    }

    #[tokio::test]
    async fn a_truncated_frame_is_an_error() {
        for len in [100, 100_000] {
            let mut bytes = framed(len, 1);
            bytes.pop();
            let (frames, end) = frames_of(bytes, 1 << 20, 1 << 20).await;
            assert!(frames.is_empty());
            let error = end.expect_err("a truncated frame");
            assert_eq!(error.kind(), ErrorKind::Disconnected);
            assert!(error.to_string().contains("bytes into a frame"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_absurd_length_is_refused_before_anything_is_allocated() {
        for declared in [i32::MAX, -1, i32::MIN, 0, 3, (1 << 20) + 1] {
            let mut bytes = framed(10, 1);
            bytes.extend(declared.to_be_bytes());
            let (frames, end) = frames_of(bytes, 1 << 20, 1 << 20).await;
            assert_eq!(frames.len(), 1);
            let error = end.expect_err("an absurd length");
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains("frame of"), "{error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_give_frames_or_an_error_and_bounded_memory(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20_000),
            small in proptest::bool::ANY,
        ) {
            let mut bytes = bytes;
            if small && bytes.len() > 2 {
                // Lengths that are likely to be accepted.
                (bytes[0], bytes[1]) = (0, 0);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let total = bytes.len();
            let (frames, _) = runtime.block_on(frames_of(bytes, 1 << 12, 1 << 16));
            assert!(frames.iter().map(|frame| frame.len() + 4).sum::<usize>() <= total);
        }
    }

    #[tokio::test]
    async fn memory_follows_the_bytes_that_came_not_the_length_that_was_announced() {
        let (mut near, mut far) = tokio::io::duplex(1 << 10);
        let mut reader = FrameReader::new(FramePool::default(), i32::MAX as usize);
        let mut bytes = (i32::MAX).to_be_bytes().to_vec();
        bytes.extend([0; 100]);
        far.write_all(&bytes).await.expect("room");
        drop(far);
        let error = poll_fn(|cx| reader.poll_frame(cx, &mut near)).await;
        assert!(error.is_err());
        let (buffer, _) = reader.long.expect("a frame begun");
        assert!(buffer.capacity() <= 2 * FIRST_BYTES);
    }
}
