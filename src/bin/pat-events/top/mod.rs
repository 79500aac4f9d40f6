//! `pat-events top`: what goes on in a cluster, live. In: a cluster. Out: a screen with rates, lags, latencies and errors, until q or Ctrl-C.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `sample` | what the brokers say at one moment |
//! | `view` | what follows from two of them: rates, lags |
//! | `screen` | how that is drawn |
//! | `picture` | its picture in the README |

#[cfg(test)]
mod picture;
mod sample;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use pat_events::kafka::Client;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::time::{Instant, interval, sleep};

use crate::Outcome;
use crate::cluster::Cluster;
use sample::Sampler;
use view::View;

/// How often keys are looked for.
const KEYS_EVERY: Duration = Duration::from_millis(50);
/// The screen of `--once`.
const COLUMNS: u16 = 132;
const LINES: u16 = 40;

/// Show what goes on in a cluster, live: rates by topic, lag by group and partition, latencies, errors. Ends with q.
///
/// Nothing is read but positions: it takes what a client takes that only looks.
#[derive(Args)]
pub struct Top {
    #[command(flatten)]
    cluster: Cluster,
    /// Show these topics only; may be given several times. Without it, all but those that brokers keep for themselves.
    #[arg(short, long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Show the lag of these groups; may be given several times. Without it, all that the brokers list.
    #[arg(short, long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Seconds from one look to the next.
    #[arg(short, long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
    /// Print one screen as text, after two looks, and end.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub async fn run(&self) -> Outcome {
        let client = Client::connect(self.cluster.config(&[])?);
        let client = self.cluster.explained(client).await?;
        let mut sampler = Sampler::new(client, self.topics.clone(), self.groups.clone());
        let mut view = View::default();
        let every = Duration::from_secs(self.every);
        if self.once {
            view.update(sampler.sample().await);
            sleep(every).await;
            view.update(sampler.sample().await);
            print!("{}", text_of(&view)?);
            return Ok(());
        }
        if !io::stdout().is_terminal() {
            return Err(
                "the standard output is no terminal: --once prints a screen as text".into(),
            );
        }
        let mut terminal = ratatui::try_init()?;
        let watched = watch(&mut terminal, &mut sampler, &mut view, every).await;
        ratatui::try_restore()?;
        watched
    }
}

/// Draws until somebody has seen enough.
async fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    sampler: &mut Sampler,
    view: &mut View,
    every: Duration,
) -> Outcome {
    let mut keys = interval(KEYS_EVERY);
    let mut next = Instant::now();
    loop {
        terminal.draw(|frame| screen::draw(frame, view))?;
        let wait = async {
            loop {
                keys.tick().await;
                match key_pressed()? {
                    Some(Key::Quit) => return Outcome::Ok(true),
                    Some(Key::Other) => return Ok(false),
                    None if Instant::now() >= next => return Ok(false),
                    None => {}
                }
            }
        };
        if wait.await? {
            return Ok(());
        }
        if Instant::now() >= next {
            next = Instant::now() + every;
            // Whoever wants to leave does not wait for a broker.
            let looked = async {
                loop {
                    sleep(KEYS_EVERY).await;
                    if matches!(key_pressed(), Ok(Some(Key::Quit)) | Err(_)) {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                sample = sampler.sample() => view.update(sample),
                () = looked => return Ok(()),
            }
        }
    }
}

enum Key {
    Quit,
    /// Or the terminal has another size.
    Other,
}

fn key_pressed() -> io::Result<Option<Key>> {
    if !event::poll(Duration::ZERO)? {
        return Ok(None);
    }
    Ok(Some(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Release => Key::Other,
        Event::Key(key) => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
            _ => Key::Other,
        },
        _ => Key::Other,
    }))
}

/// A screen as text, without colours.
fn text_of(view: &View) -> Outcome<String> {
    let mut terminal = Terminal::new(TestBackend::new(COLUMNS, LINES))?;
    terminal.draw(|frame| screen::draw(frame, view))?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for line in buffer.content.chunks(usize::from(COLUMNS)) {
        let line: String = line.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}
