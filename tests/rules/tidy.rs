//! The house rules, kept by a test: which layer may use which, what is confined to which files, how long things may be.
//!
//! A rule is broken by code outside of comments, texts and unit tests, unless it says otherwise. An exception for
//! length is a comment, `// tidy: long, because …`, on one of the first lines of the file or right above the function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer may use itself and those before it.
const LAYERS: [&str; 16] = [
    "ids",
    "time",
    "config",
    "auth",
    "encoding",
    "store",
    "commands",
    "storage",
    "partition",
    "runtime",
    "replication",
    "engine",
    "net",
    "bench",
    "cli",
    "simulation",
];

/// Words that may stand only in files whose path begins with one of these.
const CONFINED: [(&str, &[&str]); 13] = [
    // Each of these files exists for its `unsafe`, or for the system calls that need it.
    (
        "unsafe",
        &[
            "src/cli/preflight/ring.rs",
            "src/runtime/alarm.rs",
            "src/runtime/buffers.rs",
            "src/net/session/usage.rs",
            "src/runtime/ring.rs",
            "src/net/server.rs",
            "src/storage/log/commit_ring.rs",
            "src/storage/log/flock.rs",
            "src/store/prefetch.rs",
            "src/store/table/record.rs",
            "src/store/value/hash/expiring/table.rs",
            "src/store/value/sorted_set/members.rs",
            "tests/harness/disk_shutdown.rs",
            "tests/operation/preflight.rs",
        ],
    ),
    // Time comes in from outside; these are the outside.
    (
        "Instant::now",
        &[
            "src/storage/",
            "src/runtime/",
            "src/engine/",
            "src/net/",
            "src/replication/",
            "src/bench/",
            "src/cli/",
            "tests/",
            "benches/",
        ],
    ),
    ("SystemTime::now", &["src/time.rs", "src/replication/", "src/bench/", "src/cli/", "tests/", "benches/"]),
    // The pure layers do not wait, and do no I/O.
    (
        "await",
        &[
            "src/storage/",
            "src/partition/",
            "src/runtime/",
            "src/engine/",
            "src/net/",
            "src/simulation/",
            "src/bench/",
            "src/cli/",
            "tests/",
            "benches/",
        ],
    ),
    (
        "std::fs",
        &[
            "src/config/load.rs",
            "src/storage/",
            "src/net/session/usage.rs",
            "src/replication/",
            "src/bench/",
            "src/cli/",
            "tests/",
            "benches/",
            "build.rs",
        ],
    ),
    ("glommio", &["src/storage/", "src/partition/", "src/runtime/", "src/net/", "src/bench/", "src/cli/", "benches/"]),
    ("socket2", &["src/net/", "src/replication/", "src/bench/", "src/cli/", "tests/", "benches/"]),
    // A library does not talk to the terminal.
    ("println!", &["src/cli/", "tests/", "benches/", "build.rs"]),
    ("process::exit", &["src/cli/"]),
    // A core's loop does the core's work (see `net/server.rs`); a task beside it does little and then awaits the
    // executor. One that yields to itself keeps the executor from its rings, so that the loop sleeps through what is
    // ready.
    ("spawn_local", &["src/storage/log/direct.rs", "src/storage/log/live_tests.rs"]),
    ("yield_now", &["src/runtime/alarm.rs", "src/net/server.rs", "benches/"]),
    ("yield_if_needed", &[]),
    ("yield_task_queue_now", &[]),
];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

const LONGEST_LINE: usize = 120;
const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 70;
const EXCUSE: &str = "// tidy: long, because ";

/// A source file.
pub(super) struct Source {
    /// From the repository's root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
    /// The text without comments and the content of literals; lines stay where they are.
    pub(super) code: String,
}

impl Source {
    /// The code up to the unit tests, which stand last or in a file of that name.
    pub(super) fn outside_tests(&self) -> &str {
        if self.path.starts_with("src/") && self.path.ends_with("/tests.rs") {
            return "";
        }
        self.code.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default()
    }

    fn layer(&self) -> Option<usize> {
        let name = self.path.strip_prefix("src/")?.split(['/', '.']).next()?;
        LAYERS.iter().position(|layer| *layer == name)
    }
}

pub(super) fn sources() -> Vec<Source> {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map_or(PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let mut paths = vec![root.join("build.rs")];
    ["src", "tests", "benches"].iter().for_each(|dir| collect(&root.join(dir), &mut paths));
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        Source { path, code: code(&text), text }
    };
    paths.iter().map(read).collect()
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.ends_with("tests/fuzz/target") {
                continue;
            }
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// `text` with comments and the content of literals blanked out.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = token(rest, code.chars().next_back());
        let length = if length == 0 { first.len_utf8() } else { length };
        let (this, after) = rest.split_at(length);
        code.extend(this.chars().map(|c| if keep || c == '\n' { c } else { ' ' }));
        rest = after;
    }
    code
}

/// Length of what `text` begins with, and whether it is code.
fn token(text: &str, before: Option<char>) -> (usize, bool) {
    let to = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with("//") {
        return (text.find('\n').unwrap_or(text.len()), false);
    }
    if text.starts_with("/*") {
        return (to("*/", 2), false);
    }
    let raw = text.strip_prefix("br").or(text.strip_prefix('r')).filter(|_| !in_word);
    if let Some(fence) = raw.map(|raw| raw.len() - raw.trim_start_matches('#').len())
        && raw.is_some_and(|raw| raw[fence..].starts_with('"'))
    {
        let open = text.len() - raw.map_or(0, str::len) + fence + 1;
        return (to(&format!("\"{}", "#".repeat(fence)), open), false);
    }
    match text.as_bytes()[0] {
        b'"' => (quoted(text, b'"'), false),
        // A lifetime has no second quote where a character has it.
        b'\'' if text[1..].starts_with('\\') || text[1..].chars().nth(1) == Some('\'') => (quoted(text, b'\''), false),
        _ => (0, true),
    }
}

/// Length of the literal that `text` begins with, up to its closing quote.
fn quoted(text: &str, quote: u8) -> usize {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Numbers (from 1) of the lines of `code` in which `word` stands by itself.
fn lines_with<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bounded = |line: &str, at: usize| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        !line[..at].ends_with(part) && (word.ends_with('!') || !line[at + word.len()..].starts_with(part))
    };
    let lines = code.lines().enumerate();
    lines.filter(move |(_, line)| line.match_indices(word).any(|(at, _)| bounded(line, at))).map(|(at, _)| at + 1)
}

/// Fails with all violations of a rule.
fn assert_none(violations: impl Iterator<Item = String>, rule: &str) {
    let violations: Vec<_> = violations.collect();
    assert!(violations.is_empty(), "{rule}:\n{}", violations.join("\n"));
}

#[test]
fn layers_use_only_those_before_them() {
    let sources = sources();
    let violations = sources.iter().filter_map(|source| Some((source, source.layer()?))).flat_map(|(source, own)| {
        LAYERS[own + 1..].iter().flat_map(move |layer| {
            let uses = [format!("crate::{layer}"), format!("rollbook::{layer}")];
            let lines: Vec<_> =
                uses.iter().flat_map(|path| lines_with(&source.code, path).collect::<Vec<_>>()).collect();
            lines.into_iter().map(move |line| format!("{}:{line}: uses {layer}", source.path))
        })
    });
    assert_none(violations, "a layer may use only itself and those before it");
    // The check above sees paths, so paths must be spelled out.
    let grouped = sources.iter().flat_map(|source| {
        let lines: Vec<_> = lines_with(&source.code, "use crate::{").collect();
        lines.into_iter().map(|line| format!("{}:{line}", source.path))
    });
    assert_none(grouped, "`use crate::{…}` hides which layers are used: one `use` for each");
}

#[test]
fn every_module_begins_with_what_it_is() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none(silent.map(|source| source.path), "the first line of a file is `//! …`");
}

#[test]
fn lines_are_not_long() {
    let sources = sources();
    let long = sources.iter().flat_map(|source| {
        let lines = source.text.lines().zip(source.code.lines()).zip(1..).filter_map(|((line, code), number)| {
            // Rows of tables and lines with literals are as long as what they say.
            let is_comment = line.trim_start().starts_with("//") && !line.contains("/ | ") && !line.contains("! | ");
            let is_code = !code.trim().is_empty() && !line.contains('"');
            let columns = if is_comment || is_code { line.chars().count() } else { 0 };
            (columns > LONGEST_LINE).then(|| format!("{}:{number}: {columns} columns", source.path))
        });
        lines.collect::<Vec<_>>()
    });
    assert_none(long, "a line has at most 120 columns");
}

#[test]
fn names_say_something() {
    let empty =
        sources().into_iter().filter(|source| source.path.split(['/', '.']).any(|part| EMPTY_NAMES.contains(&part)));
    assert_none(empty.map(|source| source.path), "a name says what is in a file");
}

#[test]
fn files_are_short_or_say_why_not() {
    let long = sources().into_iter().filter(|source| {
        let excused = source.text.lines().take(20).any(|line| line.starts_with(EXCUSE));
        source.text.lines().count() > LONGEST_FILE && !excused
    });
    let named = long.map(|source| format!("{}: {} lines", source.path, source.text.lines().count()));
    assert_none(named, "a file has at most 500 lines, or a reason");
}

#[test]
fn functions_are_short_or_say_why_not() {
    let sources = sources();
    let long = sources.iter().flat_map(|source| {
        let text: Vec<_> = source.text.lines().collect();
        let excused = move |first: usize| {
            let above = text[..first].iter().rev().map(|line| line.trim_start());
            let mut above = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
            above.any(|line| line.starts_with(EXCUSE))
        };
        let functions = functions(&source.code).into_iter();
        let long = functions.filter(move |(first, length)| *length > LONGEST_FUNCTION && !excused(*first));
        long.map(|(first, length)| format!("{}:{}: {length} lines", source.path, first + 1))
    });
    assert_none(long, "a function has at most 70 lines, or a reason");
}

/// First line (from 0) and number of lines of each function; relies on the formatter's indentation.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<_> = code.lines().collect();
    let begin = lines_with(code, "fn").map(|number| number - 1);
    let begin = begin.filter(|at| {
        let before = lines[*at].trim_start().split("fn ").next().unwrap_or_default();
        before.split(' ').all(|word| {
            matches!(word, "" | "pub" | "const" | "async" | "unsafe" | "extern")
                || word.starts_with("pub(")
                || word == "super)"
        })
    });
    begin
        .filter_map(|first| {
            let indent = lines[first].len() - lines[first].trim_start().len();
            if lines[first].ends_with(['}', ';']) {
                return Some((first, 1));
            }
            let closes = |line: &&str| {
                line.len() > indent && line[..indent].trim().is_empty() && line[indent..].starts_with('}')
            };
            let length = lines[first..].iter().position(closes)? + 1;
            Some((first, length))
        })
        .collect()
}

#[test]
fn what_is_confined_stays_where_it_belongs() {
    let sources = sources();
    let escaped = CONFINED.iter().flat_map(|(word, homes)| {
        let elsewhere = sources.iter().filter(|source| !homes.iter().any(|home| source.path.starts_with(home)));
        elsewhere.flat_map(move |source| {
            // No test is a reason for `unsafe` in a file that is not there for it.
            let code = if *word == "unsafe" { &source.code } else { source.outside_tests() };
            let lines: Vec<_> = lines_with(code, word).collect();
            lines.into_iter().map(move |line| format!("{}:{line}: {word}", source.path))
        })
    });
    assert_none(escaped, "some things belong into few files; see CONFINED in tests/rules/tidy.rs");
}

#[test]
fn files_that_may_be_unsafe_are() {
    let sources = sources();
    let listed = CONFINED.iter().find(|(word, _)| *word == "unsafe").map(|(_, files)| files.iter()).unwrap();
    let tame = listed.filter(|file| {
        !sources.iter().any(|source| source.path == **file && lines_with(&source.code, "unsafe").next().is_some())
    });
    assert_none(tame.map(|file| (*file).to_owned()), "no `unsafe` in there, or no such file; remove it from CONFINED");
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    let sources = sources();
    let silent = sources.iter().flat_map(|source| {
        let text: Vec<_> = source.text.lines().collect();
        let explained = move |number: usize| {
            // On the line itself, or in the comment above the statement, whose first lines may lie between.
            let above = text[..number].iter().rev().take(12);
            let mut above = above.take_while(|line| !line.trim().is_empty());
            above.any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
        };
        let lines: Vec<_> = lines_with(&source.code, "unsafe").filter(|number| !explained(*number)).collect();
        lines.into_iter().map(|line| format!("{}:{line}", source.path))
    });
    assert_none(silent, "`unsafe` bears a `SAFETY:` line");
}

#[test]
fn the_rules_see_code_and_nothing_else() {
    let text = "a // b\n\"c \\\" d\" 'e' '\\'' f::<'g>() r#\"h \" i\"# /* j\n k */ br\"l\" m\n";
    let seen: String = code(text).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(seen, "a f::<'g>() m");
    assert_eq!(code(text).lines().count(), text.lines().count());
    let two = "impl A {\n    pub(super) fn a(\n    ) {\n        {\n        }\n    }\n\n    fn b() {}\n}\n";
    assert_eq!(functions(two), [(1, 5), (7, 1)]);
    assert_eq!(lines_with("unsafe_op\nan unsafe {\nunsafe", "unsafe").collect::<Vec<_>>(), [2, 3]);
}
