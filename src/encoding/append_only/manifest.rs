//! Manifests of append-only directories.
//!
//! Each line of a manifest is a file, in words: `file appendonly.aof.1.base.rdb seq 1 type b`. The type is `b` for the
//! base, of which there is one at most, `i` for what was appended since, in the order in which it was, and `h` for what
//! Redis will delete. Redis writes a name in quotes where it must, and may add words that come in pairs.

use crate::encoding::resp::{Args, inline};

/// Names of the files that a manifest lists, in the order in which they are to be read, except those that Redis will
/// delete.
///
/// # Errors
/// In words, with the line, if the bytes are no manifest or list no file.
pub fn listed(manifest: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (mut base, mut appended) = (None, Vec::new());
    for (line, number) in manifest.split(|byte| *byte == b'\n').zip(1..) {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let (name, kind) =
            file_and_type(line).ok_or_else(|| format!("line {number}: this is not a file with a type"))?;
        match kind[..] {
            [b'b'] if base.is_none() => base = Some(name),
            [b'b'] => return Err(format!("line {number}: this is the second base")),
            [b'i'] => appended.push(name),
            [b'h'] => {}
            _ => return Err(format!("line {number}: this type of file is not known")),
        }
    }
    let files: Vec<_> = base.into_iter().chain(appended).collect();
    if files.is_empty() { Err("no file is listed".to_owned()) } else { Ok(files) }
}

/// The name and the type of the file on a line; `None` if it lacks one, or the name leads out of the directory.
fn file_and_type(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut words, mut spans) = (Vec::new(), Vec::new());
    inline::split(line, &mut words, &mut spans).ok()?;
    let words: Vec<_> = Args::new(&words, &spans).from(0).collect();
    let value = |key: &[u8]| {
        let mut pairs = words.as_chunks::<2>().0.iter();
        pairs.find(|pair| pair[0].eq_ignore_ascii_case(key)).map(|pair| pair[1].to_vec())
    };
    let name = value(b"file").filter(|name| !name.is_empty() && !name.contains(&b'/'))?;
    Some((name, value(b"type")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_comes_first_and_what_is_history_does_not_count() {
        let manifest = b"# a remark\nfile a.1.incr.aof seq 1 type i\nfile \"a b.rdb\" seq 1 type b startoffset 7\n\
                         file old.aof seq 1 type h\r\nfile a.2.incr.aof seq 2 type i\n";
        let names = listed(manifest).unwrap();
        assert_eq!(names, [&b"a b.rdb"[..], b"a.1.incr.aof", b"a.2.incr.aof"]);
        for (bad, why) in [
            (&b""[..], "no file is listed"),
            (b"file a type h\n", "no file is listed"),
            (b"file a type b\nfile b type b\n", "line 2: this is the second base"),
            (b"file a type x\n", "line 1: this type of file is not known"),
            (b"file ../a type b\n", "line 1: this is not a file with a type"),
            (b"file \"a type b\n", "line 1: this is not a file with a type"),
            (b"seq 1 type b\n", "line 1: this is not a file with a type"),
        ] {
            assert_eq!(listed(bad).unwrap_err(), why);
        }
    }
}
