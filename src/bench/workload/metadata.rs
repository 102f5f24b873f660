//! Workload `metadata`: the namespace of a file system.
//!
//! Operations have the proportions measured on Spotify's HDFS cluster and published with HopsFS (Niazi et al., "HopsFS:
//! Scaling Hierarchical File System Metadata Using NewSQL Databases", FAST 2017, table 1); similar operations are
//! combined:
//!
//! | operation | in HDFS | % | commands |
//! |---|---|---|---|
//! | open | read (getBlockLocations) | 68.73 | `HMGET` of an inode: size, time, blocks |
//! | stat | getFileInfo | 17.00 | `HGETALL` of an inode |
//! | list | listStatus | 9.01 | `HKEYS` of a directory; content summary counted in |
//! | append | addBlock | 1.50 | `HSET` of size, time and blocks |
//! | rename | move | 1.30 | `RENAME` of an inode; `HDEL` and `HSET` in its directory |
//! | create | create file, mkdirs | 1.22 | `HSET` of an inode, `HSET` in its directory |
//! | delete | delete | 0.75 | `DEL` of an inode, `HDEL` in its directory |
//! | attributes | set owner, replication, permissions | 0.49 | `HSET` of attributes |
//!
//! An inode is a hash `{d<dir>}/f<file>`; a directory is a hash `{d<dir>}` that maps names to inodes. The hash tag
//! keeps a directory and its files on one core of the server, because a rename across cores may be refused. `--keys`
//! files are loaded, 100 per directory; they stay. Connections rename and delete only files that they have created
//! themselves, the oldest first.

use std::collections::VecDeque;

use super::super::distribution::Distribution;
use super::super::request::{self, Template};
use super::{About, Issued, Sheet, Stream, Tools, draw};

/// The workload's name.
pub const NAME: &str = "metadata";
/// Number of loaded files per directory.
const FILES: u64 = 100;
/// Cumulated weights of the operations, in hundredths of a percent.
const UPTO: [u32; 8] = [6873, 8573, 9474, 9624, 9754, 9876, 9951, 10_000];
const OPEN: u8 = 0;
const STAT: u8 = 1;
const LIST: u8 = 2;
const APPEND: u8 = 3;
const RENAME: u8 = 4;
const CREATE: u8 = 5;
const DELETE: u8 = 6;
const ATTRIBUTES: u8 = 7;

/// Description of the workload.
pub const ABOUT: About = About {
    name: NAME,
    text: "A file system's namespace: open, stat, list, append, rename, create, delete, attributes in the proportions of Spotify's HDFS \
           (HopsFS, FAST 2017). Inodes and directories are hashes. --values plays no part.",
    operations: &["open", "stat", "list", "append", "rename", "create", "delete", "attributes"],
    distribution: Distribution::Zipfian,
    verifiable: false,
};

/// Templates of the workload's requests.
#[derive(Debug)]
pub struct Metadata {
    directories: u64,
    open: Template<2>,
    stat: Template<2>,
    list: Template<1>,
    append: Template<2>,
    rename: Template<4>,
    unlink: Template<2>,
    link: Template<3>,
    create: Template<3>,
    delete: Template<2>,
    attributes: Template<2>,
}

/// Files that a connection has created and not yet deleted, the oldest first: directory and number.
#[derive(Debug, Default)]
pub struct Own {
    files: VecDeque<(u64, u64)>,
    created: u64,
}

impl Metadata {
    /// Makes the workload with `keys` loaded files.
    pub fn new(keys: u64) -> Self {
        Self {
            directories: keys.div_ceil(FILES),
            open: Template::new(&["HMGET", "{d#}/f#", "size", "mtime", "blocks"], 0),
            stat: Template::new(&["HGETALL", "{d#}/f#"], 0),
            list: Template::new(&["HKEYS", "{d#}"], 0),
            append: Template::new(&["HSET", "{d#}/f#"], 6),
            rename: Template::new(&["RENAME", "{d#}/f#", "{d#}/f#"], 0),
            unlink: Template::new(&["HDEL", "{d#}", "f#"], 0),
            link: Template::new(&["HSET", "{d#}", "f#", "#"], 0),
            create: Template::new(
                &["HSET", "{d#}/f#", "id", "#", "owner", "hdfs", "group", "hdfs", "mode", "0644", "replication", "3"],
                6,
            ),
            delete: Template::new(&["DEL", "{d#}/f#"], 0),
            attributes: Template::new(&["HSET", "{d#}/f#", "owner", "spark", "mode", "0600", "replication", "2"], 0),
        }
    }

    /// Writes the next request.
    pub(super) fn next(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let operation = draw(&mut stream.random, &UPTO);
        let own = matches!(operation, RENAME | DELETE);
        match operation {
            CREATE => self.create_file(tools, stream, sheet),
            // Without files of its own to rename or delete, the connection first creates one.
            _ if own && stream.own.files.is_empty() => self.create_file(tools, stream, sheet),
            RENAME => self.rename_file(tools, stream, sheet),
            DELETE => {
                let (directory, file) = stream.own.files.pop_front().unwrap_or_default();
                self.delete.write(sheet.out, [directory, file]);
                self.unlink.write(sheet.out, [directory, file]);
                Issued::of(DELETE, 2)
            }
            _ => {
                let key = tools.choose(stream) % tools.keys;
                self.use_file(operation, key, stream, sheet)
            }
        }
    }

    fn use_file(&self, operation: u8, key: u64, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let place = [key / FILES, key];
        match operation {
            STAT => self.stat.write(sheet.out, place),
            LIST => self.list.write(sheet.out, [place[0]]),
            APPEND => {
                self.append.write(sheet.out, place);
                content(&mut stream.random, sheet.out);
            }
            ATTRIBUTES => self.attributes.write(sheet.out, place),
            _ => {
                self.open.write(sheet.out, place);
                return Issued::one(OPEN);
            }
        }
        Issued::one(operation)
    }

    fn create_file(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let directory = stream.random.u64(0..self.directories);
        let file = fresh(tools, stream);
        self.make(stream, sheet, directory, file);
        stream.own.files.push_back((directory, file));
        Issued::of(CREATE, 2)
    }

    fn rename_file(&self, tools: &Tools, stream: &mut Stream, sheet: &mut Sheet<'_>) -> Issued {
        let (directory, old) = stream.own.files.pop_front().unwrap_or_default();
        let new = fresh(tools, stream);
        self.rename.write(sheet.out, [directory, old, directory, new]);
        self.unlink.write(sheet.out, [directory, old]);
        self.link.write(sheet.out, [directory, new, old]);
        stream.own.files.push_back((directory, new));
        Issued::of(RENAME, 3)
    }

    fn make(&self, stream: &mut Stream, sheet: &mut Sheet<'_>, directory: u64, file: u64) {
        self.create.write(sheet.out, [directory, file, file]);
        content(&mut stream.random, sheet.out);
        self.link.write(sheet.out, [directory, file, file]);
    }

    /// Writes the request that loads a record.
    pub(super) fn load(&self, stream: &mut Stream, sheet: &mut Sheet<'_>, record: u64) -> Issued {
        self.make(stream, sheet, record / FILES, record);
        Issued::of(CREATE, 2)
    }
}

/// A file number that no connection has used before.
fn fresh(tools: &Tools, stream: &mut Stream) -> u64 {
    let number = tools.keys + stream.connection + stream.own.created * tools.connections;
    stream.own.created += 1;
    number
}

/// Appends size, time and blocks: three fields and their values.
fn content(random: &mut fastrand::Rng, out: &mut Vec<u8>) {
    let blocks = [random.u64(..), random.u64(..)];
    request::argument(out, b"size");
    request::number(out, blocks[0] >> 36);
    request::argument(out, b"mtime");
    request::number(out, 1_700_000_000_000 + (blocks[1] >> 32));
    request::argument(out, b"blocks");
    request::argument(out, format!("{:016x},{:016x}", blocks[0], blocks[1]).as_bytes());
}
