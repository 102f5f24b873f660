//! Logging: events are written to standard error as text or JSON, by a thread of their own.
//!
//! A separate thread is needed because a core must never wait for a full pipe or a slow journal. The queue to the
//! thread is bounded; events that do not fit are dropped, counted, and the count is logged later.

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

/// Maximum number of events waiting to be written.
const QUEUE: usize = 4096;
/// Maximum time that the end of the program waits for the remaining events.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Delay before the end of the program tries a full queue again.
const PATIENCE: Duration = Duration::from_millis(10);

/// Starts logging for the whole process with these settings. Only the first call has an effect.
///
/// Dropping the guard writes all events logged before, unless standard error is stuck.
pub fn start(settings: &Logging) -> Guard {
    let (queue, events) = sync_channel(QUEUE);
    let writer = Writer { queue, missed: Arc::new(AtomicU64::new(0)) };
    let (queue, missed) = (writer.queue.clone(), writer.missed.clone());
    // If the thread cannot be started, nothing is logged; that is no reason to end the program.
    let spawned = std::thread::Builder::new().name("logging".into()).spawn(move || write(&events, &missed));
    if let Err(e) = spawned {
        eprintln!("rollbook: can't start the logging thread, going on without a log: {e}");
    }
    // Setting the subscriber fails only if there already is one. It also receives the events of crates that use `log`,
    // as glommio does.
    let (subscriber, dial) = subscriber(settings, writer, io::stderr().is_terminal());
    let _ = subscriber.try_init();
    Guard { queue, dial }
}

/// Changes the log level while the process runs.
#[derive(Clone)]
pub struct Dial(reload::Handle<Targets, Registry>);

impl Dial {
    /// Sets the log level: events less severe than `level` are no longer logged.
    pub fn set(&self, level: Level) {
        // Fails only if logging has ended, which happens only with the process.
        let _ = self.0.reload(targets(level));
    }
}

/// Keeps logging alive; when dropped, waits until the last events are written.
#[must_use = "dropping it ends the wait for the last events"]
pub struct Guard {
    queue: SyncSender<Message>,
    dial: Dial,
}

impl Guard {
    /// The dial that changes the log level.
    pub fn dial(&self) -> Dial {
        self.dial.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, wait) = mpsc::channel();
        for _ in 0..LAST_WORDS.as_millis() / PATIENCE.as_millis() {
            // A full queue is retried rather than waited for: the wait might never end.
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

/// Writes events until the process ends.
fn write(events: &Receiver<Message>, missed: &AtomicU64) {
    // Locked per event only, so that a panicking thread can write its message in between.
    let mut out = io::stderr();
    while let Ok(message) = events.recv() {
        // If standard error is closed, events are lost; there is nowhere to report that.
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

/// Passes each event to the logging thread.
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

/// Which events are logged at this level.
fn targets(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // From other crates, only warnings and errors.
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

    /// Output that logging with these settings produces while `events` runs.
    fn logged(level: Level, format: LogFormat, events: impl FnOnce()) -> String {
        logged_while(level, format, |_| events())
    }

    /// Output that logging with these settings produces while `events`, which may change the level, runs.
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
