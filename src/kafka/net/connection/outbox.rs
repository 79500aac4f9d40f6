//! The writing half of a connection: frames come in as segments, bytes go out vectored, many frames to a write.
//!
//! Places in the stream are counted in bytes from its start, so that everyone can tell which frames are out, which are not, and which one
//! is half out.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// The most segments in one write.
const MAX_SLICES: usize = 64;

/// No more frames are taken while so many bytes wait: what is not taken yet can still be withdrawn.
const ENOUGH_BYTES: u64 = 1 << 20;

/// Segments on their way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    segments: VecDeque<Bytes>,
    /// Where in the stream the last segment ends.
    end: u64,
    /// How much of the stream the transport has taken.
    written: u64,
    /// Whether the transport may still hold bytes back.
    unflushed: bool,
}

impl Outbox {
    /// Puts a frame behind the others; says where in the stream it will be.
    pub fn push(&mut self, frame: Vec<Bytes>) -> Range<u64> {
        let start = self.end;
        for segment in frame {
            if !segment.is_empty() {
                self.end += segment.len() as u64;
                self.segments.push_back(segment);
            }
        }
        start..self.end
    }

    /// How much of the stream the transport has taken, in bytes.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether another frame would only wait here.
    pub fn is_full(&self) -> bool {
        self.end - self.written >= ENOUGH_BYTES || self.segments.len() >= MAX_SLICES
    }

    /// Writes until everything is out, or the transport takes no more.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Poll<io::Result<()>> {
        while !self.segments.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                *slice = IoSlice::new(segment);
                count += 1;
            }
            let taken = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..count]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(taken);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Lets go of segments that are out, at once: their owner may be waiting to use the memory again.
    fn advance(&mut self, mut taken: usize) {
        self.written += taken as u64;
        while let Some(segment) = self.segments.front_mut() {
            if taken < segment.len() {
                segment.advance(taken);
                return;
            }
            taken -= segment.len();
            self.segments.pop_front();
        }
    }
}
