//! Promise: real metadata, every path of a file system as a hash, goes in by pipeline and is all there after a kill.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::harness::{Conn, Home};

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every path below `/usr`, at most `ROLLBOOK_TEST_PATHS` (20,000) of them, with what `lstat` says.
fn tree() -> BTreeMap<Vec<u8>, Fields> {
    let most = env::var("ROLLBOOK_TEST_PATHS").map_or(20_000, |text| text.parse().expect("a number of paths"));
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::from("/usr")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
            let kind = if metadata.is_dir() { "directory" } else { "other" };
            let fields = [
                ("type", kind.to_owned()),
                ("size", metadata.size().to_string()),
                ("mode", format!("{:o}", metadata.mode())),
                ("owner", format!("{}:{}", metadata.uid(), metadata.gid())),
                ("mtime", format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec())),
            ];
            let fields = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.into_bytes()));
            found.insert(path.as_os_str().as_bytes().to_vec(), fields.into());
            if found.len() == most {
                return found;
            }
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}

fn load(conn: &mut Conn, tree: &BTreeMap<Vec<u8>, Fields>) {
    let commands: Vec<Vec<Vec<u8>>> = tree
        .iter()
        .map(|(path, fields)| {
            let fields = fields.iter().flat_map(|(name, value)| [name.clone(), value.clone()]);
            [b"HSET".to_vec(), path.clone()].into_iter().chain(fields).collect()
        })
        .collect();
    for chunk in commands.chunks(1_000) {
        conn.pipeline(chunk).iter().for_each(|reply| assert_eq!(reply.int(), 5));
    }
}

fn check(conn: &mut Conn, tree: &BTreeMap<Vec<u8>, Fields>) {
    assert_eq!(conn.call("DBSIZE").int(), i64::try_from(tree.len()).expect("a count"));
    let paths: Vec<&Vec<u8>> = tree.keys().collect();
    for chunk in paths.chunks(1_000) {
        let commands: Vec<Vec<&[u8]>> = chunk.iter().map(|path| vec![b"HGETALL".as_slice(), path.as_slice()]).collect();
        for (path, reply) in chunk.iter().zip(conn.pipeline(&commands)) {
            let fields: Fields = reply.pairs().into_iter().collect();
            assert!(fields == tree[*path], "{}: {reply:?}", path.escape_ascii());
        }
    }
}

#[test]
fn a_file_system_is_all_there_after_a_kill() {
    let tree = tree();
    eprintln!("{} paths", tree.len());
    let home = Home::with_node().set("checkpoint.every_edits", "5000");
    let mut server = home.start();
    let mut conn = server.connect();
    load(&mut conn, &tree);
    // One answer for everything that was sent before it.
    let safe = conn.call("WAITAOF 1 0 10000");
    assert_eq!(safe.items()[0].int(), 1, "{safe:?}");
    server.kill();
    let mut server = home.start();
    check(&mut server.connect(), &tree);
    assert_eq!(server.connect().call("SAVE").text(), "OK");
    server.kill();
    let server = home.start();
    check(&mut server.connect(), &tree);
}
