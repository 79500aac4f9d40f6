//! What ends a command from outside: Ctrl-C, or the signal by which containers and service managers end a program. Both mean the same.

use std::pin::pin;
use std::{fmt, io};

use crate::Outcome;

/// A signal came before something was done.
#[derive(Debug)]
pub struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ended by a signal")
    }
}

impl std::error::Error for Ended {}

/// Waits for `work`, and no longer than until the next signal: it is dropped then.
pub async fn unless_ended<T>(signals: &mut Signals, work: impl Future<Output = T>) -> Outcome<T> {
    tokio::select! {
        biased;
        () = signals.next() => Err(Ended.into()),
        done = work => Ok(done),
    }
}

/// Waits for `work`, which a first signal leaves to end: it is dropped at the next. Returns with it whether a signal came.
pub async fn unless_ended_twice<T>(
    signals: &mut Signals,
    work: impl Future<Output = T>,
) -> Outcome<(T, bool)> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = signals.next() => {}
        done = &mut work => return Ok((done, false)),
    }
    Ok((unless_ended(signals, work).await?, true))
}

/// The signals, from the time of [`Signals::listen`] on: one that comes while nobody waits for it is not lost.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    terminate: (
        tokio::signal::windows::CtrlClose,
        tokio::signal::windows::CtrlShutdown,
    ),
}

#[cfg(unix)]
impl Signals {
    /// Takes signals in from now on: they no longer end the program by themselves.
    pub fn listen() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ];
        Ok(Signals { signals })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
impl Signals {
    /// Takes signals in from now on: they no longer end the program by themselves.
    pub fn listen() -> io::Result<Signals> {
        use tokio::signal::windows::{ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Signals {
            interrupt: ctrl_c()?,
            terminate: (ctrl_close()?, ctrl_shutdown()?),
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) {
        let (close, shutdown) = &mut self.terminate;
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = close.recv() => {}
            _ = shutdown.recv() => {}
        }
    }
}
