//! MEMORY: what memory is used for. MEMORY USAGE, which looks at a key, is a command on data (`commands::object`).

use super::info::{all_have_published, publish_here};
use super::usage::Usage;
use super::{Done, Outcome, Row, Visit, answer_from_registry, help, ok, parent, row};
use crate::commands::object::MEMORY_USAGE;
use crate::commands::registry::row::ANY_TIME;
use crate::commands::registry::{Categories, Flags, Group, Spec};
use crate::encoding::resp::{Args, Reply};

/// What the registry says of these commands, and the function of each.
pub(super) const ROWS: &[Row] = &[parent(
    Spec::new(Group::Server, "memory", -2, "").flags(Flags::NONE, Categories::NONE).about(
        "4.0.0",
        "Depends on the subcommand",
        "Tells what memory is used for",
    ),
    SUBCOMMANDS,
)];

const REPORT: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

const SUBCOMMANDS: &[Row] = &[
    row(
        Spec::new(Group::Server, "memory|doctor", 2, "").flags(Flags::NONE, Categories::NONE).tips(REPORT).about(
            "4.0.0",
            "O(1)",
            "Says in words whether anything about memory needs attention",
        ),
        doctor,
    )
    .part(publish_here),
    help(Spec::new(Group::Server, "memory|help", 2, "").flags(ANY_TIME, Categories::NONE).about(
        "4.0.0",
        "O(1)",
        "Lists the subcommands of MEMORY",
    )),
    row(
        Spec::new(Group::Server, "memory|malloc-stats", 2, "").flags(Flags::NONE, Categories::NONE).tips(REPORT).about(
            "4.0.0",
            "O(1)",
            "Tells what the allocator tells, which is nothing",
        ),
        malloc_stats,
    ),
    row(
        Spec::new(Group::Server, "memory|purge", 2, "")
            .flags(Flags::NONE, Categories::NONE)
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .about("4.0.0", "O(1)", "Does nothing: free memory goes back to the system by itself"),
        |_, _, reply| ok(reply),
    ),
    row(
        Spec::new(Group::Server, "memory|stats", 2, "").flags(Flags::NONE, Categories::NONE).tips(REPORT).about(
            "4.0.0",
            "O(1)",
            "Tells numbers about memory",
        ),
        stats,
    )
    .part(publish_here),
    row(MEMORY_USAGE, answer_from_registry),
];

/// Sizes in bytes, over all cores, and numbers of keys.
struct Sizes {
    data: u64,
    peak: u64,
    resident: u64,
    keys: u64,
    most: Option<u64>,
}

impl Sizes {
    /// The sizes as last published by the cores.
    fn of(visit: &Visit<'_>) -> Self {
        let counts = visit.service.counts();
        let data = counts.iter().map(|core| core.engine.data_bytes).sum();
        Self {
            data,
            peak: counts.iter().map(|core| core.engine.peak_data_bytes).sum::<u64>().max(data),
            resident: Usage::now().resident_bytes,
            keys: counts.iter().flat_map(|core| core.engine.keys).sum(),
            most: visit.settings.max_memory,
        }
    }

    /// What needs attention, a sentence each.
    fn findings(&self) -> Vec<String> {
        const SMALL: u64 = 64 << 20;
        let mut findings = Vec::new();
        if let Some(most) = self.most.filter(|most| self.data > most / 10 * 9) {
            let share = self.data as f64 * 100.0 / most.max(1) as f64;
            findings.push(format!("{share:.0} % of memory.max_bytes is used; at 100 % writes are refused."));
        }
        if self.peak > SMALL && self.peak / 2 > self.data {
            let (peak, data) = (self.peak, self.data);
            findings.push(format!("The data took {peak} bytes once and take {data} now, so much memory may be idle."));
        }
        if self.resident > SMALL && self.resident / 2 > self.data.max(SMALL) {
            let (resident, data) = (self.resident, self.data);
            findings.push(format!("The process takes {resident} bytes of memory for {data} bytes of data."));
        }
        findings
    }
}

/// `MEMORY DOCTOR`
fn doctor(visit: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if !all_have_published(visit) {
        return Ok(Outcome::AfterCounts);
    }
    let findings = Sizes::of(visit).findings();
    let text = if findings.is_empty() { "Nothing about memory needs attention.".into() } else { findings.join("\n") };
    reply.text(&text);
    Ok(Outcome::Answered)
}

/// `MEMORY MALLOC-STATS`
fn malloc_stats(_: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.bulk(b"Stats not supported for the current allocator");
    Ok(Outcome::Answered)
}

/// `MEMORY STATS`
fn stats(visit: &mut Visit<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if !all_have_published(visit) {
        return Ok(Outcome::AfterCounts);
    }
    let sizes = Sizes::of(visit);
    let part = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let numbers = [
        ("peak.allocated", sizes.peak),
        ("total.allocated", sizes.data),
        ("dataset.bytes", sizes.data),
        ("keys.count", sizes.keys),
        ("keys.bytes-per-key", sizes.data / sizes.keys.max(1)),
        ("allocator.resident", sizes.resident),
    ];
    let fractions = [
        ("peak.percentage", 100.0 * part(sizes.data, sizes.peak)),
        ("fragmentation", part(sizes.resident, sizes.data)),
    ];
    reply.map(numbers.len() + fractions.len() + 1);
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.count(number as usize);
    }
    for (name, number) in fractions {
        reply.bulk(name.as_bytes());
        reply.digits(number.to_string().as_bytes());
    }
    reply.bulk(b"fragmentation.bytes");
    reply.int(sizes.resident as i64 - sizes.data as i64);
    Ok(Outcome::Answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_finds_what_needs_attention() {
        let mib = |n: u64| n << 20;
        let sizes = Sizes { data: mib(100), peak: mib(110), resident: mib(120), keys: 1, most: Some(mib(1000)) };
        assert!(sizes.findings().is_empty());
        assert!(Sizes { most: Some(mib(105)), ..sizes }.findings()[0].starts_with("95 % of memory.max_bytes"));
        assert!(Sizes { peak: mib(300), ..sizes }.findings()[0].contains("idle"));
        assert!(Sizes { resident: mib(300), ..sizes }.findings()[0].starts_with("The process takes"));
        // A server with little in it has no troubles.
        assert!(Sizes { data: 1, peak: mib(60), resident: mib(60), keys: 1, most: None }.findings().is_empty());
    }
}
