//! Promise: data directories of every format that was ever released are read: `tests/golden/` has two of each, one of a
//! server that was killed and one of a server that was stopped, and beside each a text that says what it holds.
//!
//! `cargo test --test all recovery::golden -- --ignored` makes those of the present format anew, with a copy of its
//! schemas; it is run when a format gets a new version, after [`FORMAT`] has been raised. What is there of older
//! formats is never touched again.
//!
//! Each directory has two lives. The first one, on two cores, takes snapshots of some partitions in the middle, and its
//! log goes on after them. The second one, of another number of cores where the server was stopped, adds edits of every
//! kind. Segments are kept without the zeros at their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::harness::{Conn, Content, Dump, Home, Server, verify};

/// The format that is made anew.
const FORMAT: &str = "v1";
/// Size of the segments, the smallest one.
const SEGMENT_BYTES: u64 = 64 << 10;
/// So many that a barrier, which bears the digests of a partition's slots, is small.
const PARTITIONS: u16 = 64;
/// All that is kept of a format, in bytes, at most.
const MOST_BYTES: u64 = 400 << 10;
/// Noon of 1 January 2100.
const FAR: i64 = 4_102_488_000_000;

/// How a golden server ended, which is the name of its directory.
const ENDS: [&str; 2] = ["killed", "stopped"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The directories of all formats, oldest first.
fn formats() -> Vec<PathBuf> {
    let mut formats: Vec<PathBuf> =
        fs::read_dir(golden()).expect("golden data").map(|dir| dir.expect("one").path()).collect();
    formats.sort_by_key(|format| number(format));
    formats
}

fn number(format: &Path) -> u32 {
    let name = format.file_name().and_then(|name| name.to_str()).expect("the name of a format");
    name.strip_prefix('v').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name} is not v1, v2 …"))
}

/// Every file in a directory and all below it.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).expect("list a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { BTreeSet::from([path]) }).collect()
}

/// Whether it is a segment, or one that was prepared to be the next.
fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg" || extension == "tmp")
}

/// Copies the files of a data directory, but for those that hold no data, and segments without the zeros at their ends.
fn keep(data: &Path, target: &Path) {
    for path in files(data) {
        let name = path.strip_prefix(data).expect("a file of the directory");
        if ["reserve", "LOCK"].iter().any(|passing| name == Path::new(passing)) {
            continue;
        }
        let mut bytes = fs::read(&path).expect("read a file");
        if is_segment(&path) {
            assert_eq!(bytes.len() as u64, SEGMENT_BYTES, "{}", path.display());
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).next_multiple_of(4096));
        }
        let target = target.join(name);
        fs::create_dir_all(target.parent().expect("a directory")).expect("create a directory");
        fs::write(target, bytes).expect("write a file");
    }
}

/// Puts a kept data directory into a home.
fn restore(kept: &Path, home: &Home) {
    for path in files(kept) {
        let target = home.data().join(path.strip_prefix(kept).expect("a file of the directory"));
        fs::create_dir_all(target.parent().expect("a directory")).expect("create a directory");
        fs::copy(&path, &target).expect("copy a file");
        if is_segment(&path) {
            let file = OpenOptions::new().write(true).open(&target).expect("open a segment");
            file.set_len(SEGMENT_BYTES).expect("give a segment its zeros back");
        }
    }
}

fn home(cores: u16) -> Home {
    Home::new()
        .set("server.cores", &cores.to_string())
        .set("data.partitions", &PARTITIONS.to_string())
        .set("log.segment_bytes", &SEGMENT_BYTES.to_string())
        .set("log.buffer_bytes", "32768")
        // Few commits, since each fills blocks; WAITAOF asks for them.
        .set("log.flush_interval_ms", "60000")
}

/// What a server holds, as text: a key a line, and below it its fields; a string has one without a name.
fn tell(dump: &Dump) -> String {
    let mut text = String::new();
    for ((db, key), (kind, fields, expiry)) in &dump.0 {
        let until = if *expiry < 0 { "for ever".to_owned() } else { format!("until {expiry}") };
        text += &format!("{db} {} {kind} {until}\n", key.escape_ascii());
        for (field, value) in fields {
            text += &format!("    {} = {}\n", field.escape_ascii(), value.escape_ascii());
        }
    }
    text
}

/// The versions of the files, by kind. In every format the version stands behind eight bytes that say what it is.
fn versions(data: &Path) -> BTreeMap<&'static str, BTreeSet<u32>> {
    let mut versions: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
    for path in files(data) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let kinds = [(name.ends_with(".seg"), "segment"), (name.ends_with(".snap"), "snapshot")];
        let kinds = kinds.into_iter().chain([(["manifest.0", "manifest.1"].contains(&name), "manifest")]);
        for (_, kind) in kinds.filter(|(is, _)| *is) {
            let bytes = fs::read(&path).expect("read a file");
            let version = bytes[8..12].try_into().expect("four bytes");
            versions.entry(kind).or_default().insert(u32::from_le_bytes(version));
        }
    }
    versions
}

#[test]
fn what_older_versions_wrote_is_read() {
    for format in formats() {
        for end in ENDS {
            let kept = format.join(end);
            let expected = fs::read_to_string(kept.join("holds.txt")).expect("what the directory holds");
            let home = home(2);
            restore(&kept.join("data"), &home);
            let verdict = verify(&home.data());
            assert_eq!(verdict.code, Some(0), "{}: {}", kept.display(), verdict.text);
            // The first start may bring it into the form of the present; the second one reads that.
            for start in ["first", "second"] {
                let mut server = home.start();
                let held = tell(&Dump::take(&server));
                let different = held.lines().zip(expected.lines()).find(|(held, expected)| held != expected);
                assert!(held == expected, "{}, {start} start: {different:?}", kept.display());
                server.kill();
            }
        }
    }
}

#[test]
fn the_present_formats_have_golden_data() {
    let home = home(1);
    let mut server = home.start();
    assert_eq!(server.connect().call("SET key value").text(), "OK");
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    assert!(server.terminate().success());
    let newest = formats().pop().expect("a format");
    let how = "raise FORMAT in tests/recovery/golden.rs and make golden data, as it says";
    assert_eq!(versions(&newest), versions(&home.data()), "{} is of other versions: {how}", newest.display());
}

#[test]
fn golden_data_have_all_that_they_are_to_show() {
    for format in formats() {
        for end in ENDS {
            let data = format.join(end).join("data");
            let names: Vec<String> = files(&data).iter().map(|path| path.display().to_string()).collect();
            let has = |part: &str| names.iter().any(|name| name.contains(part));
            for part in ["log/0000000001/00000/", "log/0000000001/00001/", "log/0000000002/00000/", "snapshots/"] {
                assert!(has(part), "{}: nothing in {part}", data.display());
            }
            let holds = fs::read_to_string(format.join(end).join("holds.txt")).expect("what it holds");
            for part in ["0 ", "1 ", "15 ", "    "] {
                assert!(
                    holds.lines().any(|line| line.starts_with(part)),
                    "{}: no line begins with {part:?}",
                    data.display()
                );
            }
            for kind in ["string", "hash", "set", "zset", "list", "stream"] {
                for part in [format!(" {kind} for ever"), format!(" {kind} until ")] {
                    assert!(holds.contains(&part), "{}: no{part}", data.display());
                }
            }
        }
    }
}

/// A client of a server, and what that must hold.
struct Writer {
    conn: Conn,
    holds: Dump,
}

/// A string.
fn string(value: impl AsRef<[u8]>) -> Content {
    ("string".to_owned(), [(Vec::new(), value.as_ref().to_vec())].into(), -1)
}

/// A hash of so many fields.
fn hash(fields: usize, value: &str) -> Content {
    let fields = (0..fields).map(|n| (format!("field:{n}").into_bytes(), format!("{value}:{n}").into_bytes()));
    ("hash".to_owned(), fields.collect(), -1)
}

impl Writer {
    /// Sends a command; `content` is what `key` then holds.
    fn run<A: AsRef<[u8]>>(&mut self, db: u8, command: &[A], key: &str, content: Option<Content>) {
        assert_eq!(self.conn.command(&["SELECT", &db.to_string()]).text(), "OK");
        let reply = self.conn.command(command);
        assert!(!reply.is_error(), "{key}: {reply:?}");
        let at = (db, key.as_bytes().to_vec());
        match content {
            Some(content) => drop(self.holds.0.insert(at, content)),
            None => drop(self.holds.0.remove(&at)),
        }
    }

    /// The same, of words without blanks.
    fn line(&mut self, db: u8, command: &str, key: &str, content: Option<Content>) {
        self.run(db, &command.split(' ').collect::<Vec<_>>(), key, content);
    }

    /// Writes a hash as it is.
    fn hash(&mut self, db: u8, key: &str, content: Content) {
        let fields = content.1.iter().flat_map(|(field, value)| [field.clone(), value.clone()]);
        let command: Vec<Vec<u8>> = [b"HSET".to_vec(), key.as_bytes().to_vec()].into_iter().chain(fields).collect();
        self.run(db, &command, key, Some(content));
    }

    /// Values of some sizes in four databases, and in few of the partitions.
    fn write_first(&mut self) {
        for n in 0..4 {
            let key = format!("early:{n}");
            let db = [0, 1, 15, 0][n];
            match n {
                0 => self.line(db, &format!("SET {key} {n}"), &key, Some(string(n.to_string()))),
                1 => self.run(db, &["SET", &key, &"v".repeat(50)], &key, Some(string("v".repeat(50)))),
                _ => self.hash(db, &key, hash(n, "early")),
            }
        }
        // In one partition, which gets a snapshot.
        self.write_collections("{early:3}");
    }

    /// Hashes that get another name in their slot and go to another database; the second is too large to be packed.
    fn write_moved(&mut self, life: &str) {
        for (fields, value) in [(5, life.to_owned()), (3, life.repeat(20))] {
            let (old, new) = (format!("{{{life}}}{fields}old"), format!("{{{life}}}{fields}"));
            self.hash(0, &old, hash(fields, &value));
            self.line(0, &format!("RENAME {old} {new}"), &new, Some(hash(fields, &value)));
            self.line(0, &format!("MOVE {new} 15"), &new, None);
            self.holds.0.remove(&(0, old.into_bytes()));
            self.holds.0.insert((15, new.into_bytes()), hash(fields, &value));
        }
    }

    /// Edits of every kind that one key can have.
    fn write_later(&mut self, life: &str) {
        let key = |name: &str| format!("{life}:{name}");
        let until = |mut content: Content| {
            content.2 = FAR;
            Some(content)
        };
        let (empty, binary, large) = (key("empty"), key("binary\r\n\0\u{ff}"), key("large"));
        self.run(0, &["SET", &empty, ""], &empty, Some(string("")));
        let bytes: Vec<u8> = (0..=255).collect();
        self.run(0, &[b"SET", binary.as_bytes(), &bytes], &binary, Some(string(&bytes)));
        let value = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(125);
        self.run(1, &["SET", &large, &value], &large, Some(string(&value)));
        for number in [i64::MIN, -1, 0, i64::MAX] {
            let key = key(&format!("number:{number}"));
            self.line(15, &format!("SET {key} {number}"), &key, Some(string(number.to_string())));
        }
        let counter = key("counter");
        (1..=3).for_each(|n| self.line(0, &format!("INCRBY {counter} 5"), &counter, Some(string((5 * n).to_string()))));
        let changed = key("changed");
        self.line(0, &format!("SET {changed} abcdef"), &changed, None);
        self.line(0, &format!("SETRANGE {changed} 8 xyz"), &changed, Some(string("abcdef\0\0xyz")));
        self.line(0, &format!("APPEND {changed} !"), &changed, Some(string("abcdef\0\0xyz!")));
        let lasting = key("lasting");
        self.line(0, &format!("SET {lasting} value PXAT {FAR}"), &lasting, until(string("value")));
        self.line(0, &format!("PERSIST {lasting}"), &lasting, Some(string("value")));
        self.line(0, &format!("PEXPIREAT {lasting} {FAR}"), &lasting, until(string("value")));
        let (packed, table, long) = (key("packed"), key("table"), key("long"));
        self.hash(0, &packed, hash(10, life));
        self.hash(0, &table, hash(130, life));
        self.run(0, &["HSET", &long, "name", &"long".repeat(100)], &long, None);
        self.line(0, &format!("HDEL {long} name"), &long, None);
        let mut fewer = hash(10, life);
        fewer.1.remove(b"field:3".as_slice());
        self.line(0, &format!("HDEL {packed} field:3"), &packed, Some(fewer.clone()));
        fewer.1.insert(b"field:4".to_vec(), b"42".to_vec());
        self.line(0, &format!("HSET {packed} field:4 42"), &packed, Some(fewer.clone()));
        self.line(0, &format!("PEXPIREAT {packed} {FAR}"), &packed, until(fewer));
        // Gone, by command and by time.
        let gone = key("gone");
        self.line(0, &format!("SET {gone} value"), &gone, None);
        self.line(0, &format!("DEL {gone}"), &gone, None);
        self.line(0, &format!("SET {gone} value PX 1"), &gone, None);
        self.line(3, &format!("SET {gone} value"), &gone, None);
        self.line(3, "FLUSHDB", &gone, None);
        self.write_collections(life);
        self.write_moved(life);
        // In partitions that have a snapshot.
        let mut early = self.holds.0[&(0, b"early:3".to_vec())].clone();
        early.1.insert(life.as_bytes().to_vec(), b"value".to_vec());
        self.line(0, &format!("HSET early:3 {life} value"), "early:3", Some(early));
        let (db, removed) = if life == "first" { (1, "early:1") } else { (15, "early:2") };
        self.line(db, &format!("DEL {removed}"), removed, None);
    }
}

/// Commands on hashes whose fields expire, a set, a sorted set, a list and a stream, small and large: every edit that
/// these can have.
const COLLECTIONS: [(&str, &[&str]); 11] = [
    (
        "fields",
        &[
            "HSET KEY one 1 two 2 three 3 four 4",
            "HPEXPIREAT KEY FAR FIELDS 2 one two",
            "HPERSIST KEY FIELDS 1 two",
            "HSETEX KEY PXAT FAR FIELDS 1 five 5",
            "HGETDEL KEY FIELDS 1 three",
        ],
    ),
    ("expiring", &["HSET KEY FIELDS", "HPEXPIREAT KEY FAR FIELDS 2 1 2", "HDEL KEY 2"]),
    ("integers", &["SADD KEY 1 2 300000", "SREM KEY 2"]),
    ("set", &["SADD KEY one 2 three", "SREM KEY one", "PEXPIREAT KEY FAR"]),
    ("members", &["SADD KEY MANY", "SREM KEY 100 101", "SADD KEY more"]),
    ("sorted", &["ZADD KEY 1 one -inf least 2.5 more", "ZINCRBY KEY 3 one", "ZREM KEY more", "PEXPIREAT KEY FAR"]),
    ("scores", &["ZADD KEY SCORED", "ZREMRANGEBYRANK KEY 3 9", "ZREM KEY 100", "ZADD KEY 0.125 100"]),
    (
        "list",
        &[
            "RPUSH KEY a b c d 5 b",
            "LPUSH KEY 0 -1",
            "LPOP KEY",
            "RPOP KEY",
            "LSET KEY 1 A",
            "LINSERT KEY BEFORE c between",
            "LREM KEY 1 b",
            "PEXPIREAT KEY FAR",
        ],
    ),
    ("elements", &["RPUSH KEY MANY", "LTRIM KEY 5 -5", "LSET KEY 50 fifty", "LREM KEY 1 60"]),
    (
        "stream",
        &[
            "XADD KEY 1-1 name value second value",
            "XADD KEY 2-0 name value",
            "XADD KEY 2-1 other value",
            "XADD KEY 5-0 name last",
            "XGROUP CREATE KEY group 0",
            "XGROUP CREATE KEY gone 0",
            "XGROUP DESTROY KEY gone",
            "XREADGROUP GROUP group reader COUNT 3 STREAMS KEY >",
            "XGROUP CREATECONSUMER KEY group idle",
            "XGROUP CREATECONSUMER KEY group gone",
            "XGROUP DELCONSUMER KEY group gone",
            "XCLAIM KEY group idle 0 2-0",
            "XACK KEY group 1-1",
            "XDEL KEY 2-1",
            "PEXPIREAT KEY FAR",
        ],
    ),
    (
        "events",
        &["XADD KEY 1-0 EVENT", "XADD KEY 2-0 EVENT", "XADD KEY 3-0 EVENT", "XTRIM KEY MAXLEN 2", "XSETID KEY 9-9"],
    ),
];

impl Writer {
    fn write_collections(&mut self, life: &str) {
        for (name, lines) in COLLECTIONS {
            let key = format!("{life}:{name}");
            for line in lines {
                let words = line.split(' ').flat_map(|word| match word {
                    "KEY" => vec![key.clone()],
                    "FAR" => vec![FAR.to_string()],
                    "MANY" => (0..140).map(|n| n.to_string()).chain(["text".to_owned()]).collect(),
                    "FIELDS" if line.starts_with("HSET ") => (0..280).map(|n| n.to_string()).collect(),
                    "SCORED" => (0..280).map(|n| (n / 2 * (n % 2 + 1)).to_string()).collect(),
                    "EVENT" => vec!["name".to_owned(), "value".repeat(100)],
                    _ => vec![word.to_owned()],
                });
                self.run(2, &words.collect::<Vec<_>>(), &key, None);
            }
            self.holds.add(&mut self.conn, 2, &[key.into_bytes()]);
        }
    }
}

#[test]
#[ignore = "makes the golden data of the present format anew"]
fn make_golden_data() {
    let format = golden().join(FORMAT);
    let _ = fs::remove_dir_all(&format);
    for end in ENDS {
        let mut home = home(2);
        let stop = |mut server: Server, writer: &mut Writer| {
            assert_eq!(writer.conn.call("WAITAOF 1 0 60000").items()[0].int(), 1);
            match end {
                "killed" => server.kill(),
                _ => assert!(server.terminate().success()),
            }
        };
        let server = home.start();
        let mut writer = Writer { conn: server.connect(), holds: Dump::default() };
        writer.write_first();
        assert_eq!(writer.conn.call("SAVE").text(), "OK");
        writer.write_later("first");
        stop(server, &mut writer);
        if end == "stopped" {
            home.change("server.cores", "1");
        }
        let server = home.start();
        writer.conn = server.connect();
        writer.write_later("second");
        if end == "stopped" {
            // On one core only.
            writer.line(4, "SET swapped value", "swapped", None);
            writer.line(0, "SWAPDB 4 5", "", None);
            writer.holds.0.insert((5, b"swapped".to_vec()), string("value"));
        }
        writer.holds.assert_same(&Dump::take(&server));
        stop(server, &mut writer);
        keep(&home.data(), &format.join(end).join("data"));
        fs::write(format.join(end).join("holds.txt"), tell(&writer.holds)).expect("write what it holds");
    }
    let schemas = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schema"));
    fs::create_dir_all(format.join("schema")).expect("create a directory");
    for schema in schemas.iter().filter(|path| path.extension().is_some_and(|extension| extension == "fbs")) {
        fs::copy(schema, format.join("schema").join(schema.file_name().expect("a name"))).expect("copy a schema");
    }
    let bytes: u64 = files(&format).iter().map(|path| path.metadata().expect("a file").len()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes are too many to keep");
}
