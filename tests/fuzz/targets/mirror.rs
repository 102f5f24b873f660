//! Messages between master and checkpoint node arrive wherever their bytes are cut, cost no more memory than what has
//! arrived and one reading ahead, and mean the same when written down again.
//!
//! Input: one byte of flags (lowest bit: the checksums stay as they are), one that chooses the cuts, then messages as
//! they stand on a connection: length, checksum, kind, body.

use rollbook::replication::protocol::codec::Builder;
use rollbook::replication::protocol::wire::{HEADER, Inbox, Kind, WireError, header};
use rollbook::replication::protocol::{BODY_LIMIT, Message};

/// Bodies up to here are let in.
const LIMIT: usize = BODY_LIMIT;

/// Receives the bytes whole and in pieces.
pub fn run(data: &[u8]) {
    let Some((&[flags, cuts], bytes)) = data.split_first_chunk::<2>() else { return };
    let mut bytes = bytes.to_vec();
    if flags % 2 == 0 {
        repair(&mut bytes);
    }
    let whole = received(&[&bytes]);
    assert_eq!(whole, received(&super::pieces(&bytes, cuts)), "the cuts made a difference");
    for (kind, body) in &whole.0 {
        if *kind == Kind::Message {
            message(body);
        }
    }
    let again: Vec<u8> = whole.0.iter().flat_map(|(kind, body)| [&header(*kind, body)[..], body].concat()).collect();
    assert_eq!(received(&[&again]), (whole.0, None), "what was written was not read");
    // A message may also be the whole input, which is shorter and so found sooner.
    message(&bytes);
}

/// All bodies in the pieces, and why there are no more.
fn received(pieces: &[&[u8]]) -> (Vec<(Kind, Vec<u8>)>, Option<WireError>) {
    let (mut inbox, mut bodies, mut come) = (Inbox::default(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let space = inbox.space();
            assert!(space.len() <= 2 * come + (128 << 10), "room for {} bytes after {come}", space.len());
            let count = space.len().min(rest.len());
            come += count;
            space[..count].copy_from_slice(&rest[..count]);
            inbox.filled(count);
            rest = &rest[count..];
            loop {
                match inbox.next(LIMIT) {
                    Ok(Some((kind, body))) => bodies.push((kind, body.to_vec())),
                    Ok(None) => break,
                    Err(error) => return (bodies, Some(error)),
                }
            }
        }
    }
    (bodies, None)
}

fn message(body: &[u8]) {
    let Ok(message) = Message::decode(body) else { return };
    let mut builder = Builder::default();
    let again = message.encode(&mut builder).to_vec();
    assert_eq!(Message::decode(&again).expect("what was written is read"), message);
}

/// Makes the checksums of all messages right.
fn repair(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= HEADER) {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let Some(whole) = rest.get_mut(..HEADER.saturating_add(length)) else { return };
        let crc = crc32fast::hash(&whole[8..]);
        whole[4..8].copy_from_slice(&crc.to_le_bytes());
        at += HEADER + length;
    }
}
