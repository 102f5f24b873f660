//! Events go to standard error, as text or JSON, by way of a thread of their own.
//!
//! The thread is there because a core must never wait for a full pipe or a slow journal. Its queue is bounded; what does not
//! fit is counted and said later, never waited for.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{Level, LogFormat, Logging};

/// Events that may wait to be written.
const QUEUE: usize = 4096;
/// How long the end of the program may wait for them.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long it waits before it tries a full queue again.
const PATIENCE: Duration = Duration::from_millis(10);

/// Starts logging for the whole process, as `settings` say; the first call counts.
///
/// What is logged until the guard is dropped has been written when its drop returns, unless standard error is stuck.
pub fn start(settings: &Logging) -> Guard {
    let (queue, events) = sync_channel(QUEUE);
    let writer = Writer { queue, missed: Arc::new(AtomicU64::new(0)) };
    let (queue, missed) = (writer.queue.clone(), writer.missed.clone());
    // Without the thread nothing would be written; logging is then not worth ending the program for.
    let spawned = std::thread::Builder::new().name("logging".into()).spawn(move || write(&events, &missed));
    if let Err(e) = spawned {
        eprintln!("rollbook: can't start the logging thread, going on without a log: {e}");
    }
    // It fails only if somebody else came first. It also takes in what crates log that use `log`, as glommio does.
    let (subscriber, dial) = subscriber(settings, writer, io::stderr().is_terminal());
    let _ = subscriber.try_init();
    Guard { queue, dial }
}

/// Sets the level while the process runs.
#[derive(Clone)]
pub struct Dial(reload::Handle<Targets, Registry>);

impl Dial {
    /// From now on events below `level` are not logged.
    pub fn set(&self, level: Level) {
        // It fails only if logging has ended, which it does with the process.
        let _ = self.0.reload(targets(level));
    }
}

/// Sees to it that the last events are written.
#[must_use = "dropping it ends the wait for the last events"]
pub struct Guard {
    queue: SyncSender<Message>,
    dial: Dial,
}

impl Guard {
    /// What sets the level.
    pub fn dial(&self) -> Dial {
        self.dial.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, wait) = mpsc::channel();
        for _ in 0..LAST_WORDS.as_millis() / PATIENCE.as_millis() {
            // A full queue is only tried again: who waits for it may wait for ever.
            if self.queue.try_send(Message::Done(done.clone())).is_ok() {
                let _ = wait.recv_timeout(LAST_WORDS);
                return;
            }
            std::thread::sleep(PATIENCE);
        }
    }
}

enum Message {
    Event(Vec<u8>),
    Done(mpsc::Sender<()>),
}

/// Writes until the process ends.
fn write(events: &Receiver<Message>, missed: &AtomicU64) {
    // Locked for each event only, so that a panicking thread gets its own message out.
    let mut out = io::stderr();
    while let Ok(message) = events.recv() {
        // A closed standard error is no reason to end; there is nowhere to say so either.
        match message {
            Message::Event(line) => drop(out.write_all(&line)),
            Message::Done(done) => drop(done.send(())),
        }
        match missed.swap(0, Ordering::Relaxed) {
            0 => {}
            count => drop(writeln!(out, "rollbook: {count} events were not logged: standard error is too slow")),
        }
    }
}

/// Hands each event to the thread.
#[derive(Clone)]
struct Writer {
    queue: SyncSender<Message>,
    missed: Arc<AtomicU64>,
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Event(line.to_vec())).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Which events are logged.
fn targets(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Of other crates only what may need somebody.
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("rollbook", level)
}

fn subscriber<W>(settings: &Logging, writer: W, colours: bool) -> (Box<dyn Subscriber + Send + Sync>, Dial)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (targets, handle) = reload::Layer::new(targets(settings.level));
    let layer = fmt::layer().with_writer(writer);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match settings.format {
        LogFormat::Text => {
            let layer = layer.with_ansi(colours).with_target(false);
            Box::new(Registry::default().with(targets).with(layer))
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(Registry::default().with(targets).with(layer))
        }
    };
    (subscriber, Dial(handle))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written with these settings while `events` runs.
    fn logged(level: Level, format: LogFormat, events: impl FnOnce()) -> String {
        logged_while(level, format, |_| events())
    }

    /// What is written with these settings while `events`, which may change the level, runs.
    fn logged_while(level: Level, format: LogFormat, events: impl FnOnce(&Dial)) -> String {
        let (queue, written) = sync_channel(16);
        let writer = Writer { queue, missed: Arc::default() };
        let (subscriber, dial) = subscriber(&Logging { level, format }, writer, false);
        tracing::subscriber::with_default(subscriber, || events(&dial));
        let lines = written.try_iter().map(|message| match message {
            Message::Event(line) => String::from_utf8(line).unwrap(),
            Message::Done(_) => unreachable!(),
        });
        lines.collect()
    }

    fn events() {
        tracing::info!(target: "rollbook::net", port = 6380, "serving");
        tracing::debug!(target: "rollbook::net", "considered");
        tracing::info!(target: "glommio", "chatter");
        tracing::warn!(target: "glommio", "trouble");
    }

    #[test]
    fn the_level_is_that_of_our_own_events_and_others_must_matter() {
        let text = logged(Level::Info, LogFormat::Text, events);
        assert!(text.contains("serving port=6380") && text.contains("trouble"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(logged(Level::Error, LogFormat::Text, events), "");
        assert_eq!(logged(Level::Debug, LogFormat::Text, events).lines().count(), 3);
    }

    #[test]
    fn the_level_can_be_changed_while_events_come() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = |levels: &[Level]| {
                let (first, later) = levels.split_first().unwrap();
                let text = logged_while(*first, format, |dial| {
                    events();
                    for level in later {
                        dial.set(*level);
                        events();
                    }
                });
                text.lines().count()
            };
            assert_eq!(lines(&[Level::Info, Level::Debug]), 2 + 3);
            assert_eq!(lines(&[Level::Debug, Level::Error, Level::Debug]), 3 + 3);
            assert_eq!(lines(&[Level::Error, Level::Warn, Level::Info]), 1 + 2);
        }
    }

    #[test]
    fn json_events_are_flat_objects_in_a_line() {
        let text = logged(Level::Info, LogFormat::Json, events);
        let event: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((event["message"].as_str(), event["port"].as_u64()), (Some("serving"), Some(6380)));
    }
}
