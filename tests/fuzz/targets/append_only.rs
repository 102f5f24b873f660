//! The commands of an append-only file are the same wherever its bytes are cut, each is what its own bytes say, and a
//! file that was cut has the same first commands and no damage that it did not have before; a manifest lists files of
//! its own directory or is refused.
//!
//! Input: one byte that chooses what is read, one for the cuts, then the file or the manifest.

use std::convert::Infallible;

use rollbook::encoding::append_only::manifest::listed;
use rollbook::encoding::append_only::{Damage, Reader};

/// Reads the file or manifest.
pub fn run(data: &[u8]) {
    let Some((&[kind, cuts], bytes)) = data.split_first_chunk::<2>() else { return };
    match kind % 4 {
        0..=2 => commands(bytes, cuts),
        _ => manifest(bytes),
    }
}

/// Commands in words, each with its position and size.
type Commands = Vec<(Vec<Vec<u8>>, usize, usize)>;

fn commands(bytes: &[u8], cuts: u8) {
    let whole = read(&[bytes]);
    assert_eq!(whole, read(&super::pieces(bytes, cuts)), "the cuts made a difference");
    let (commands, understood, damage) = whole;
    let mut last = 0;
    for (words, position, size) in &commands {
        assert!(*position >= last && position + size <= understood, "a command in another's place");
        last = position + size;
        let alone = read(&[&bytes[*position..last]]);
        assert_eq!(alone, (vec![(words.clone(), 0, *size)], *size, None), "its own bytes say something else");
    }
    let (first, _, damage_of_first) = read(&[&bytes[..usize::from(cuts).min(bytes.len())]]);
    assert!(commands.starts_with(&first), "a file that was cut has other commands");
    assert!(damage.is_some() || damage_of_first.is_none(), "a file was damaged by being cut");
}

/// All commands in the pieces, how many bytes were understood, and why no more.
fn read(pieces: &[&[u8]]) -> (Commands, usize, Option<Damage>) {
    let (mut reader, mut held, mut commands, mut position) = (Reader::default(), Vec::new(), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let Ok(read) = reader.read(&held, |args, place| {
                let words = args.from(0).map(<[u8]>::to_vec).collect();
                commands.push((words, position + place.start, place.len()));
                Ok::<_, Infallible>(())
            });
            position += read.bytes;
            held.drain(..read.bytes);
            if read.damage.is_some() {
                return (commands, position, read.damage);
            }
            if read.bytes == 0 {
                break;
            }
        }
    }
    (commands, position, None)
}

fn manifest(bytes: &[u8]) {
    if let Ok(names) = listed(bytes) {
        assert!(!names.is_empty() && names.len() <= 1 + bytes.iter().filter(|byte| **byte == b'\n').count());
        assert!(names.iter().all(|name| !name.is_empty() && !name.contains(&b'/')), "a name leads elsewhere");
    }
}
