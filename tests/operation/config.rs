//! `config.toml` documents every setting and shows its default; whatever is wrong with a configuration is said with key
//! and line, and ends the program with 78.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Output};

use rollbook::config::{Config, Origin, Sources};
use toml::Table;

const FILE: &str = include_str!("../../config.toml");

fn rollbook(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollbook"));
    command.current_dir(dir).env_clear().args(arguments).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_file_shows_the_defaults() {
    let file = Some(("config.toml".into(), FILE.to_owned()));
    let loaded = Sources { file, ..Sources::default() }.load().unwrap();
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn the_file_has_every_setting_each_with_a_comment() {
    let all = Table::try_from(Config::default()).unwrap();
    let shown: Table = FILE.parse().unwrap();
    for (table, keys) in &all {
        for key in keys.as_table().unwrap().keys() {
            assert!(shown[table].get(key).is_some(), "config.toml lacks {table}.{key}");
        }
    }
    // A setting stands below its comment, or below another one that shares it.
    let mut commented = false;
    for (number, line) in FILE.lines().enumerate() {
        match line {
            "" => commented = false,
            _ if line.starts_with('#') => commented = true,
            _ if line.starts_with('[') => {}
            _ => assert!(commented, "config.toml:{}: {line:?} has no comment", number + 1),
        }
    }
}

#[test]
fn every_setting_can_be_set_by_environment_and_argument() {
    let shown: Table = FILE.parse().unwrap();
    for (table, keys) in &shown {
        for (key, value) in keys.as_table().unwrap() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let name = format!("ROLLBOOK_{}__{}", table.to_uppercase(), key.to_uppercase());
            let environment = vec![(name, text.clone())];
            let arguments = vec![format!("{table}.{key}={text}")];
            for sources in [Sources { environment, ..Sources::default() }, Sources { arguments, ..Sources::default() }]
            {
                assert_eq!(sources.load().unwrap().config, Config::default(), "{table}.{key}={text}");
            }
        }
    }
}

#[test]
fn every_setting_refuses_a_value_that_it_cannot_mean() {
    let shown: Table = FILE.parse().unwrap();
    for (table, keys) in &shown {
        for key in keys.as_table().unwrap().keys() {
            let text = format!("[{table}]\n{key} = {{ a = 1 }}\n");
            let error = Sources { file: Some(("c".into(), text)), ..Sources::default() }.load().unwrap_err();
            assert!(error.to_string().starts_with(&format!("c:2: {table}.{key}: ")), "{error}");
        }
    }
}

/// Prints its seed; `ROLLBOOK_TEST_SEED` replays it.
#[test]
fn no_file_makes_loading_panic() {
    const PIECES: [&str; 18] =
        ["[", "]]", "=", "\"", "\n", "\r\n", "#", ".", "{", "}", "é", "\0", "9", "-", "server", "_", "'''", "\\"];
    let seed = std::env::var("ROLLBOOK_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("ROLLBOOK_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2000 {
        let mut text = FILE.to_owned();
        for _ in 0..random.usize(1..4) {
            let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
            let from = places[random.usize(..places.len())];
            let far = from + random.usize(..8);
            let to = places.iter().copied().find(|at| *at >= far).unwrap_or(text.len());
            text.replace_range(from..to, PIECES[random.usize(..PIECES.len())]);
        }
        let lines = text.lines().count() + 1;
        if let Err(error) = (Sources { file: Some(("c".into(), text)), ..Sources::default() }).load() {
            for problem in error.0 {
                let placed = match problem.origin {
                    Origin::File(_, line) => (1..=lines).contains(&line),
                    // A setting that was lost may contradict one that was changed.
                    ref origin => *origin == Origin::Default,
                };
                assert!(placed, "{problem}");
            }
        }
    }
}

#[test]
fn check_says_that_all_is_well_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), FILE).unwrap();
    let output = rollbook(dir.path(), &["serve", "--check"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_key_and_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("my.toml"), "[server]\nprot = 1\n\n[log]\nbuffers = 1.5\n").unwrap();
    let output = rollbook(dir.path(), &["serve", "--check", "--config", "my.toml", "--set", "data.partitions=3"]);
    assert_eq!(output.status.code(), Some(78));
    let lines: Vec<_> = stderr(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("rollbook: my.toml:2: server.prot: unknown field `prot`"), "{}", lines[0]);
    assert!(lines[1].starts_with("rollbook: my.toml:5: log.buffers: "), "{}", lines[1]);
    assert!(lines[2].starts_with("rollbook: --set data.partitions: data.partitions: 3 is not a power"), "{}", lines[2]);
}

#[test]
fn an_unusable_directory_is_an_error_of_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    std::fs::write(dir.path().join("config.toml"), "[data]\ndir = \"file/data\"\n").unwrap();
    let output = rollbook(dir.path(), &["serve", "--check"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).starts_with("rollbook: config.toml:2: data.dir: "), "{}", stderr(&output));
}

#[test]
fn an_address_that_is_not_of_this_machine_is_an_error_of_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let output = rollbook(dir.path(), &["serve", "--check", "--set", "server.bind=192.0.2.1"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).starts_with("rollbook: --set server.bind: server.bind: 192.0.2.1 "), "{}", stderr(&output));
}

#[test]
fn addresses_that_take_each_others_port_are_an_error_of_their_setting() {
    let dir = tempfile::tempdir().unwrap();
    for (bind, why) in [
        ("[\"127.0.0.1\", \"::1\", \"127.0.0.1\"]", "names 127.0.0.1 twice"),
        ("[\"127.0.0.1\", \"0.0.0.0\"]", "127.0.0.1 and 0.0.0.0 overlap: "),
        ("[\"::\", \"0.0.0.0\", \"::1\"]", ":: and ::1 overlap: "),
    ] {
        std::fs::write(dir.path().join("config.toml"), format!("[server]\nbind = {bind}\n")).unwrap();
        let output = rollbook(dir.path(), &["serve", "--check"]);
        assert_eq!(output.status.code(), Some(78), "{bind}");
        let said = stderr(&output);
        assert!(said.starts_with(&format!("rollbook: config.toml:2: server.bind: {why}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_that_is_named_must_exist_and_the_usual_one_need_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(rollbook(dir.path(), &["serve", "--check"]).status.success());
    let output = rollbook(dir.path(), &["serve", "--check", "--config", "missing.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).starts_with("rollbook: missing.toml: can't be read"), "{}", stderr(&output));
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_64() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["sreve"][..], &["serve", "--port", "1"], &[]] {
        assert_eq!(rollbook(dir.path(), arguments).status.code(), Some(64), "{arguments:?}");
    }
    assert!(rollbook(dir.path(), &["--help"]).status.success());
    assert!(rollbook(dir.path(), &["--version"]).status.success());
}
