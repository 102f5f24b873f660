//! `rollbook doctor`: runs the preflight and prints one line per finding.

use std::io::{self, Write};

use super::arguments::Doctor;
use super::preflight::{Finding, Report, Verdict};
use super::{Exit, Failure, preflight};

/// Prints the preflight's findings. Fails where `serve` would.
///
/// # Errors
///
/// Returns the problems of the configuration and the preflight.
pub fn run(arguments: &Doctor) -> Result<(), Failure> {
    let loaded = arguments.configuration.load()?;
    // `serve` raises the limits too, so they must not be reported as low here.
    preflight::raise_limits();
    let report = preflight::everything(&loaded);
    print(&report, arguments.json, &mut io::stdout().lock())
        .map_err(|e| Failure::new(Exit::Io, format_args!("standard output: {e}")))?;
    report.verdict()
}

fn print(report: &Report, json: bool, out: &mut impl Write) -> io::Result<()> {
    for finding in &report.findings {
        if json { writeln!(out, "{}", to_json(finding)) } else { writeln!(out, "{}", to_text(finding)) }?;
    }
    out.flush()
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fine => "ok",
        Verdict::Note => "note",
        Verdict::Blocker(_) => "FAIL",
    }
}

fn to_text(finding: &Finding) -> String {
    format!("{:<5} {:<16} {}", name(finding.verdict), finding.subject, finding.text)
}

fn to_json(finding: &Finding) -> serde_json::Value {
    let exit = match finding.verdict {
        Verdict::Blocker(exit) => Some(exit as u8),
        _ => None,
    };
    serde_json::json!({
        "verdict": name(finding.verdict).to_ascii_lowercase(),
        "subject": finding.subject,
        "text": finding.text,
        "exit": exit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_lines_of_text_or_json() {
        let report = Report::from_iter([Finding::fine("kernel", "Linux 6.1"), Finding::missing("port", "taken")]);
        let printed = |json| {
            let mut out = Vec::new();
            print(&report, json, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(printed(false), "ok    kernel           Linux 6.1\nFAIL  port             taken\n");
        let last: serde_json::Value = serde_json::from_str(printed(true).lines().last().unwrap()).unwrap();
        assert_eq!(last["exit"], 69);
    }
}
