//! Tables of a report, shown both in a terminal and on a page.

use super::grid::{Cell, Grid, Tone};
use super::units;
use crate::bench::result::{Latency, Report, Step};

/// Column titles of the latency table.
const LATENCIES: [&str; 9] = ["", "requests", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// Table of latencies: all requests, each kind of operation, and uncorrected.
pub fn latencies(report: &Report) -> Grid {
    let mut grid = Grid::numbers("Latency", LATENCIES);
    let row = |name: &str, latency: &Latency| {
        let Latency { mean, p50, p90, p99, p999, p9999, max, .. } = *latency;
        let micros = [mean, p50, p90, p99, p999, p9999, max].map(|micros| units::micros(micros).into());
        [Cell::from(name), units::count(latency.count).into()].into_iter().chain(micros)
    };
    if report.operations.len() > 1 {
        report.operations.iter().for_each(|operation| grid.row(row(&operation.name, &operation.latency)));
    }
    grid.row(row("all", &report.latency));
    if report.plan.mode != "closed" {
        grid.row(row("uncorrected", &report.uncorrected));
    }
    grid
}

/// Table of requests, errors, bytes, and the server's CPU time and memory.
pub fn totals(report: &Report) -> Grid {
    let totals = &report.totals;
    let mut grid = Grid::words("Run");
    grid.fact("requests", format!("{} in {}", units::count(totals.requests), units::seconds(totals.seconds)));
    grid.fact("rate", units::rate(totals.rate));
    grid.fact("errors", bad_unless(totals.errors == 0, units::count(totals.errors)));
    if let Some(error) = &report.first_error {
        grid.fact("first error", bad_unless(false, error.clone()));
    }
    if totals.commands > totals.requests {
        grid.fact("commands", format!("{} in these requests", units::count(totals.commands)));
    }
    if totals.unanswered > 0 {
        let text =
            format!("{} requests that were due had no answer when the run ended", units::count(totals.unanswered));
        grid.fact("unanswered", bad_unless(false, text));
    }
    if totals.lost > 0 {
        grid.fact("lost", format!("{} requests never answered", units::count(totals.lost)));
    }
    if totals.downtime_seconds > 0.0 {
        grid.fact("downtime", bad_unless(false, units::seconds(totals.downtime_seconds)));
    }
    let bytes = totals.sent_bytes.saturating_add(totals.received_bytes);
    let each = bytes.checked_div(totals.requests).unwrap_or(0);
    grid.fact(
        "bytes",
        format!(
            "{} sent, {} received ({each} a request)",
            units::bytes(totals.sent_bytes),
            units::bytes(totals.received_bytes)
        ),
    );
    if let Some(cpu) = report.server.cpu {
        grid.fact("server CPU", cpu_text(cpu.seconds, cpu.micros_per_request));
    }
    if let Some(resident) = report.server.resident_bytes {
        grid.fact("server memory", units::bytes(resident));
    }
    grid.fact("generator CPU", cpu_text(report.generator.seconds, report.generator.micros_per_request));
    if let Some(load) = report.load {
        let rate = units::rate(load.records as f64 / load.seconds);
        grid.fact(
            "loaded before",
            format!("{} records in {} ({rate})", units::count(load.records), units::seconds(load.seconds)),
        );
    }
    grid
}

/// Table of the run's plan.
pub fn plan(report: &Report) -> Grid {
    let plan = &report.plan;
    let mut grid = Grid::words("Configuration");
    grid.fact("workload", plan.workload.as_str());
    grid.fact(
        "mode",
        plan.rate.map_or_else(|| plan.mode.clone(), |rate| format!("{}, {}", plan.mode, units::rate(rate))),
    );
    grid.fact("connections", format!("{}, pipeline of {}", plan.connections, plan.pipeline));
    grid.fact("generator cores", plan.cores.to_string());
    grid.fact(
        "measured",
        format!("{} after {} of warm-up", units::seconds(plan.seconds), units::seconds(plan.warmup_seconds)),
    );
    grid.fact("keys", format!("{}, {}", units::count(plan.keys), plan.distribution));
    grid.fact("values", format!("{} bytes", plan.values));
    grid.fact("seed", plan.seed.to_string());
    if let Some(durability) = &plan.durability {
        grid.fact("durability", durability.as_str());
    }
    grid.fact("command", report.command.join(" "));
    grid
}

/// Table of the server, the generator, the machine and the date.
pub fn setting(report: &Report) -> Grid {
    let (server, machine) = (&report.server, &report.machine);
    let mut grid = Grid::words("Setting");
    let process = server.pid.map_or_else(String::new, |pid| format!(", process {pid}"));
    grid.fact("server", format!("{} {} at {}{process}", server.name, server.version, server.address));
    grid.fact("generator", format!("rollbook {}", report.rollbook));
    grid.fact("machine", format!("{} × {}, {}", machine.cpus, machine.cpu, units::bytes(machine.memory_bytes)));
    grid.fact("kernel", machine.kernel.as_str());
    grid.fact("started", units::date(report.started_unix_ms));
    grid
}

/// Table of events with their times; empty if there were none.
pub fn events(report: &Report) -> Grid {
    let mut grid = Grid::words("Events");
    report.events.iter().for_each(|event| grid.fact(&format!("{:.1} s", event.at), event.text.as_str()));
    grid
}

/// Table of a sweep's steps; empty for other runs.
pub fn sweep(report: &Report) -> Grid {
    let mut grid =
        Grid::numbers("Sweep", ["aimed at", "reached", "p50", "p99", "p99.9", "max", "server CPU", "sustained"]);
    for Step { rate, totals, latency, cpu, sustained } in &report.sweep {
        let micros = [latency.p50, latency.p99, latency.p999, latency.max].map(|micros| units::micros(micros).into());
        let cpu = cpu.map_or_else(|| "–".into(), |cpu| units::micros(cpu.micros_per_request));
        let reached = [Cell::from(units::rate(*rate)), units::rate(totals.rate).into()].into_iter();
        grid.row(reached.chain(micros).chain([cpu.into(), yes_or_no(*sustained)]));
    }
    grid
}

/// Table of the results of `--verify`; empty if the run was not verified.
pub fn verification(report: &Report) -> Grid {
    let mut grid = Grid::words("Verification");
    let Some(found) = &report.verification else { return grid };
    let verdict = if found.passed { Cell::toned("passed", Tone::Good) } else { Cell::toned("FAILED", Tone::Bad) };
    grid.fact("verdict", verdict);
    grid.fact("keys", units::count(found.keys));
    grid.fact(
        "writes",
        format!(
            "{} acknowledged, {} without an answer",
            units::count(found.acknowledged),
            units::count(found.unacknowledged)
        ),
    );
    let within = match found.excuse_seconds {
        seconds if seconds > 0.0 => format!(" (up to {} before a crash)", units::micros(seconds * 1e6)),
        _ => String::new(),
    };
    let (lost, allowed) = (units::count(found.lost), units::count(found.excused));
    let excused = format!("{lost}, of which {allowed} are allowed by the durability{within}");
    grid.fact("acknowledged and lost", bad_unless(found.lost <= found.excused, excused));
    grid.fact("unacknowledged and present", units::count(found.surprising));
    grid.fact("torn", bad_unless(found.torn == 0, units::count(found.torn)));
    found.findings.iter().for_each(|finding| grid.fact("finding", Cell::toned(finding.as_str(), Tone::Bad)));
    grid
}

/// Table of the server's INFO fields that changed during the run, except its uptime.
pub fn info(report: &Report) -> Grid {
    let mut grid =
        Grid { columns: super::grid::Columns::Words, ..Grid::numbers("INFO of the server", ["", "before", "after"]) };
    let (before, after) = (&report.server.info_before, &report.server.info_after);
    for (name, value) in after {
        let old = before.get(name).map_or("", String::as_str);
        if old != value && !name.starts_with("uptime_") {
            grid.row([name.as_str().into(), old.into(), value.as_str().into()]);
        }
    }
    grid
}

/// Cell with the verdict on a step of a sweep.
fn yes_or_no(yes: bool) -> Cell {
    if yes { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Bad) }
}

fn bad_unless(good: bool, text: String) -> Cell {
    Cell::toned(text, if good { Tone::Plain } else { Tone::Bad })
}

fn cpu_text(seconds: f64, micros_per_request: f64) -> String {
    format!("{} a request ({} in all)", units::micros(micros_per_request), units::seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;

    #[test]
    fn what_a_run_does_not_have_is_not_shown() {
        let report = sample::report();
        assert!(sweep(&report).rows.is_empty());
        let closed = Report { verification: None, operations: Vec::new(), events: Vec::new(), ..report };
        assert!(verification(&closed).rows.is_empty() && events(&closed).rows.is_empty());
        let closed =
            Report { plan: crate::bench::result::Plan { mode: "closed".into(), ..closed.plan.clone() }, ..closed };
        assert_eq!(latencies(&closed).rows.len(), 1);
    }

    #[test]
    fn losses_that_were_not_allowed_are_bad_news() {
        let mut report = sample::report();
        let tone = |report: &Report| verification(report).rows[3][1].tone;
        assert_eq!(tone(&report), Tone::Plain);
        report.verification.as_mut().unwrap().lost += 1;
        assert_eq!(tone(&report), Tone::Bad);
    }
}
