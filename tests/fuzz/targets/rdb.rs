//! Values and files of Redis are read or refused; where a value ends does not depend on whether it is decoded; what was
//! restored is the same after being dumped and restored again; a file is the same wherever its bytes are cut.
//!
//! Input: one byte that chooses what is read, one for the version or the cuts, then a value (with the byte of its type,
//! without checksum) or a file.

use rollbook::commands::{Context, Scratch, plan};
use rollbook::encoding::edit::Edit;
use rollbook::encoding::rdb::file::{Item, Reader};
use rollbook::encoding::rdb::payload::seal;
use rollbook::encoding::rdb::{Limits, RdbError, measure, read};
use rollbook::encoding::resp::{Args, Protocol, Reply, Span};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{Db, PartitionId};
use rollbook::net::COMMANDS;
use rollbook::store::Store;
use rollbook::time::UnixMillis;

use super::small::{partitions, store, tagged};

/// Little, so that it is reached.
const LIMITS: Limits = Limits { string: 64 << 10, value: 1 << 20 };

/// Reads the value or file.
pub fn run(data: &[u8]) {
    let Some((&[kind, choice], bytes)) = data.split_first_chunk::<2>() else { return };
    match kind % 2 {
        0 => value(bytes, choice.into()),
        _ => file(bytes, choice),
    }
}

fn value(bytes: &[u8], version: u16) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let measured = measure(*kind, rest, version);
    if read(bytes, version, LIMITS).is_ok() {
        assert_eq!(measured, Ok(rest.len()), "it ends elsewhere");
    }
    let mut payload = bytes.to_vec();
    seal(&mut payload, version);
    let key = tagged(b"key");
    let (mut first, mut second) = (store(), store());
    if execute(&mut first, &[b"RESTORE", &key, b"0", &payload]) != b"+OK\r\n" {
        return;
    }
    let reply = execute(&mut first, &[b"DUMP", &key]);
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a bulk string") + 1;
    let dumped = &reply[start..reply.len() - 2];
    assert_eq!(execute(&mut second, &[b"RESTORE", &key, b"0", dumped]), b"+OK\r\n", "what was dumped is refused");
    let partition = PartitionId(0);
    assert_eq!(first.digests(partition), second.digests(partition), "what was dumped is something else");
}

/// Executes a request and returns its reply.
fn execute(store: &mut Store, words: &[&[u8]]) -> Vec<u8> {
    let mut start = 0;
    let span = |word: &&[u8]| {
        start += word.len();
        Span { start: (start - word.len()) as u32, len: word.len() as u32 }
    };
    let spans: Vec<_> = words.iter().map(span).collect();
    let bytes = words.concat();
    let args = Args::new(&bytes, &spans);
    let spec = COMMANDS.registry.resolve(args).expect("a command that exists");
    let context = Context {
        db: Db(0),
        slot: slot_of(words[1]),
        now: UnixMillis::new(1_700_000_000_000),
        random: 1,
        touch: true,
        max_string: LIMITS.string as u64,
        max_reply: 1 << 20,
        partitions: partitions(),
        owned: 0..1,
    };
    let (mut out, mut scratch) = (Vec::new(), Scratch::default());
    let edits: Vec<Edit<'_>> = {
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        plan(spec, store, &context, args, &mut scratch, &mut reply).edits.into_iter().collect()
    };
    edits.iter().for_each(|edit| store.apply(edit).expect("an edit of what was read"));
    out
}

fn file(bytes: &[u8], cuts: u8) {
    let whole = items(&[bytes]);
    assert_eq!(whole, items(&super::pieces(bytes, cuts)), "the cuts made a difference");
}

/// The items of a file, and why there are no more; `None` after its end.
fn items(pieces: &[&[u8]]) -> (Vec<String>, Option<RdbError>) {
    let (mut reader, mut held, mut items) = (Reader::new(LIMITS), Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut done = 0;
        loop {
            match reader.next(&held[done..]) {
                Ok((item, read)) => {
                    assert!(read > 0, "an item of no bytes");
                    done += read;
                    if item == Some(Item::End) {
                        return (items, None);
                    }
                    items.extend(item.map(|item| format!("{item:?}")));
                }
                Err(RdbError::Truncated) => break,
                Err(error) => return (items, Some(error)),
            }
        }
        held.drain(..done);
    }
    (items, Some(RdbError::Truncated))
}
