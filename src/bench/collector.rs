//! Merges the measurements of all threads, piece by piece.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use super::recorder::{Piece, Tally, histogram};
use super::result::{Event, EventKind, Interval, Latency, Operation, Totals};

/// Summarizes a histogram of nanoseconds for the report.
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
    if histogram.is_empty() {
        return Latency::default();
    }
    Latency {
        count: histogram.len(),
        min: micros(histogram.min()),
        mean: histogram.mean() / 1000.0,
        deviation: histogram.stdev() / 1000.0,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        p9999: at(0.9999),
        max: micros(histogram.max()),
        histogram: encode(histogram),
    }
}

/// Encodes a histogram as in HdrHistogram's logs.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Serializing a histogram of this size into memory does not fail. If it did, only the histogram would be missing.
    let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    if written.is_ok() { STANDARD.encode(bytes) } else { String::new() }
}

/// A piece of the timeline that some threads have not delivered yet.
struct Merging {
    due: Histogram<u64>,
    requests: u64,
    errors: u64,
    bytes: u64,
}

impl Default for Merging {
    fn default() -> Self {
        Self { due: histogram(), requests: 0, errors: 0, bytes: 0 }
    }
}

/// Merged measurements of all threads.
pub struct Collector {
    operations: Vec<Tally>,
    /// Per thread, the first piece that it has not delivered.
    delivered: Vec<usize>,
    merging: BTreeMap<usize, Merging>,
    /// Length of a piece in seconds.
    piece: f64,
    timeline: Vec<Interval>,
    histograms: Vec<String>,
    totals: Totals,
    events: Vec<Event>,
    /// Number of threads without any connection, and (`down_since`) the time since which there is at least one such
    /// thread.
    down: usize,
    down_since: f64,
    first_error: Option<String>,
}

/// Results of a run, or of one part of it.
pub struct Collected {
    /// Totals over all requests.
    pub totals: Totals,
    /// Latency from when requests were due.
    pub latency: Latency,
    /// Latency from when requests were sent.
    pub uncorrected: Latency,
    /// Results per kind of operation.
    pub operations: Vec<Operation>,
    /// The timeline, piece by piece.
    pub timeline: Vec<Interval>,
    /// Encoded histogram of each piece of the timeline.
    pub timeline_histograms: Vec<String>,
    /// Events such as lost connections.
    pub events: Vec<Event>,
    /// The first error that the server replied.
    pub first_error: Option<String>,
}

impl Collector {
    /// Makes a collector for so many threads and operations; `piece` is the length of a piece in seconds.
    pub fn new(threads: usize, operations: usize, open: bool, piece: f64) -> Self {
        Self {
            operations: Piece::new(0, operations, open).tallies,
            delivered: vec![0; threads],
            merging: BTreeMap::new(),
            piece,
            timeline: Vec::new(),
            histograms: Vec::new(),
            totals: Totals::default(),
            events: Vec::new(),
            down: 0,
            down_since: 0.0,
            first_error: None,
        }
    }

    /// Merges a piece from a thread. Calls `complete` for each interval of the timeline that is now complete.
    pub fn take(&mut self, piece: &Piece, complete: impl FnMut(&Interval)) {
        let totals = &mut self.totals;
        totals.sent_bytes += piece.sent_bytes;
        totals.received_bytes += piece.received_bytes;
        totals.commands += piece.commands;
        totals.lost += piece.lost;
        totals.unanswered += piece.unanswered;
        let merging = self.merging.entry(piece.index).or_default();
        merging.bytes += piece.sent_bytes + piece.received_bytes;
        for (all, tally) in self.operations.iter_mut().zip(&piece.tallies).filter(|(_, tally)| tally.requests > 0) {
            totals.requests += tally.requests;
            totals.errors += tally.errors;
            merging.requests += tally.requests;
            merging.errors += tally.errors;
            all.requests += tally.requests;
            all.errors += tally.errors;
            add(&mut all.due, &tally.due);
            add(&mut merging.due, &tally.due);
            if let (Some(all), Some(sent)) = (&mut all.sent, &tally.sent) {
                add(all, sent);
            }
        }
        self.delivered[piece.core] = piece.index + 1;
        let complete_before = self.delivered.iter().copied().min().unwrap_or(0);
        self.complete(complete_before, complete);
    }

    /// Moves the pieces before `end` to the timeline. A piece that no thread delivered had no replies.
    fn complete(&mut self, end: usize, mut tell: impl FnMut(&Interval)) {
        for index in self.timeline.len()..end {
            let Merging { due, requests, errors, bytes } = self.merging.remove(&index).unwrap_or_default();
            let at = |quantile: f64| due.value_at_quantile(quantile) as f64 / 1000.0;
            let interval = Interval {
                start: index as f64 * self.piece,
                seconds: self.piece,
                requests,
                errors,
                bytes,
                p50: at(0.5),
                p99: at(0.99),
                p999: at(0.999),
                max: due.max() as f64 / 1000.0,
            };
            tell(&interval);
            self.timeline.push(interval);
            self.histograms.push(if requests > 0 { encode(&due) } else { String::new() });
        }
    }

    /// A thread lost its last connection, `at` seconds after the measured part began.
    pub fn lost(&mut self, at: f64) {
        self.down += 1;
        if self.down == 1 {
            self.down_since = at;
            let text = "all connections were lost".to_owned();
            self.events.push(Event { at, kind: EventKind::Lost, text });
        }
    }

    /// A thread that had lost all connections has one again, `at` seconds after the measured part began.
    pub fn back(&mut self, at: f64) {
        self.down = self.down.saturating_sub(1);
        if self.down == 0 {
            let downtime = at - self.down_since;
            self.totals.downtime_seconds += downtime;
            let text = format!("the server was back after {downtime:.3} s");
            self.events.push(Event { at, kind: EventKind::Back, text });
        }
    }

    /// Records an error that the server replied.
    pub fn error(&mut self, text: String) {
        self.first_error.get_or_insert(text);
    }

    /// Returns the results after `seconds` of measuring.
    pub fn finish(mut self, names: &[&str], seconds: f64, complete: impl FnMut(&Interval)) -> Collected {
        let end = self.merging.last_key_value().map_or(self.timeline.len(), |(index, _)| index + 1);
        self.complete(end, complete);
        self.trim(seconds);
        if self.down > 0 {
            self.totals.downtime_seconds += (seconds - self.down_since).max(0.0);
        }
        self.totals.seconds = seconds;
        self.totals.rate = if seconds > 0.0 { self.totals.requests as f64 / seconds } else { 0.0 };
        let (mut due, mut sent) = (histogram(), histogram());
        for tally in &self.operations {
            add(&mut due, &tally.due);
            add(&mut sent, tally.sent.as_ref().unwrap_or(&tally.due));
        }
        let used = names.iter().zip(&self.operations).filter(|(_, tally)| tally.requests > 0);
        let operation = |(name, tally): (&&str, &Tally)| Operation {
            name: (*name).to_owned(),
            requests: tally.requests,
            errors: tally.errors,
            latency: latency(&tally.due),
        };
        Collected {
            totals: self.totals,
            latency: latency(&due),
            uncorrected: latency(&sent),
            operations: used.map(operation).collect(),
            timeline: self.timeline,
            timeline_histograms: self.histograms,
            events: self.events,
            first_error: self.first_error,
        }
    }

    /// Shortens the last interval to the end of the run, and drops an empty one after the end.
    fn trim(&mut self, seconds: f64) {
        while self.timeline.last().is_some_and(|last| last.requests == 0 && last.start >= seconds - 1e-3) {
            self.timeline.pop();
            self.histograms.pop();
        }
        if let Some(last) = self.timeline.last_mut()
            && last.start < seconds
        {
            last.seconds = last.seconds.min(seconds - last.start);
        }
    }
}

fn add(all: &mut Histogram<u64>, one: &Histogram<u64>) {
    // All histograms have the same bounds, so adding cannot fail.
    let _ = all.add(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(core: usize, index: usize, requests: u64) -> Piece {
        let mut piece = Piece::new(core, 1, true);
        piece.index = index;
        piece.tallies[0].due.record_n(2_000, requests).unwrap();
        piece.tallies[0].sent.as_mut().unwrap().record_n(1_000, requests).unwrap();
        piece.tallies[0].requests = requests;
        piece
    }

    #[test]
    fn an_interval_is_complete_when_all_threads_have_delivered_it_and_gaps_are_empty_ones() {
        let mut collector = Collector::new(2, 1, true, 0.5);
        let mut seen = Vec::new();
        for piece in [piece(0, 0, 10), piece(0, 1, 20), piece(1, 0, 1), piece(1, 3, 2), piece(0, 3, 5)] {
            collector.take(&piece, |interval| seen.push(interval.requests));
        }
        assert_eq!(seen, [11, 20, 0, 7]);
        let found = collector.finish(&["set"], 2.0, |_| ());
        assert_eq!((found.totals.requests, found.totals.rate, found.timeline.len()), (38, 19.0, 4));
        assert_eq!((found.latency.p50.round(), found.uncorrected.p50.round()), (2.0, 1.0));
        assert_eq!(found.operations[0].latency.count, 38);
        assert_eq!((found.timeline_histograms.len(), found.timeline_histograms[2].as_str()), (4, ""));
    }

    #[test]
    fn the_server_is_lost_with_the_first_thread_and_back_with_the_last() {
        let mut collector = Collector::new(2, 1, false, 1.0);
        collector.lost(1.0);
        collector.lost(1.5);
        collector.back(2.0);
        collector.back(3.0);
        collector.lost(4.0);
        let found = collector.finish(&["set"], 5.0, |_| ());
        assert_eq!(found.totals.downtime_seconds, 3.0);
        let kinds: Vec<_> = found.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Lost, EventKind::Back, EventKind::Lost]);
    }

    #[test]
    fn a_histogram_is_encoded_as_other_tools_read_it() {
        let mut one = histogram();
        one.record_n(123_456, 3).unwrap();
        let bytes = STANDARD.decode(latency(&one).histogram).unwrap();
        let read: Histogram<u64> =
            hdrhistogram::serialization::Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!((read.len(), read.equivalent(read.max(), 123_456)), (3, true));
    }
}
