//! Requests and replies are the same wherever their bytes are cut, within the limits, and survive being written down
//! again.
//!
//! Input: one byte that chooses what is read and under which limits, one that chooses the cuts, then the bytes.

use rollbook::bench::reply::{Answer, Replies};
use rollbook::encoding::resp::{Limits, Partial, ProtocolError, Requests};

/// What authenticated clients may send, here: little, so that it is reached.
const USUAL: Limits = Limits { args: 64, bulk_bytes: 1024, unauthenticated: false };

/// Reads the bytes whole and in pieces.
pub fn run(data: &[u8]) {
    let Some((&[kind, cuts], bytes)) = data.split_first_chunk::<2>() else { return };
    match kind % 4 {
        0 => requests(bytes, cuts, &USUAL),
        1 => requests(bytes, cuts, &Limits::UNAUTHENTICATED),
        _ => replies(bytes, cuts),
    }
}

type Request = Vec<Vec<u8>>;

fn requests(bytes: &[u8], cuts: u8, limits: &Limits) {
    let (whole, error) = read(&[bytes], limits, 512);
    let cut = read(&super::pieces(bytes, cuts), limits, 1 + usize::from(cuts) % 5);
    assert_eq!((&whole, &error), (&cut.0, &cut.1), "the cuts made a difference");
    for request in &whole {
        assert!(!request.is_empty() && request.len() <= limits.args, "{} arguments", request.len());
        assert!(request.iter().all(|argument| argument.len() <= limits.bulk_bytes.max(1024)), "a long argument");
    }
    let written: Vec<u8> = whole.iter().flat_map(encoded).collect();
    assert_eq!(read(&[&written], limits, 512), (whole, None), "what was written was not read");
}

/// All requests in the pieces, and why there are no more.
fn read(pieces: &[&[u8]], limits: &Limits, most: usize) -> (Vec<Request>, Option<ProtocolError>) {
    let (mut parser, mut partial) = (Requests::default(), Partial::default());
    let (mut held, mut requests) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            match parser.parse(&held, &mut partial, limits, most) {
                Ok(0) => break,
                Ok(done) => {
                    for index in 0..parser.len() {
                        requests.push(parser.args(index, &held).from(0).map(<[u8]>::to_vec).collect());
                    }
                    held.drain(..done);
                }
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn encoded(request: &Request) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The load generator's reader of replies.
fn replies(bytes: &[u8], cuts: u8) {
    let (whole, cut) = (answers(&[bytes]), answers(&super::pieces(bytes, cuts)));
    assert_eq!(whole, cut, "the cuts made a difference");
}

/// The texts of errors with the number of good replies before each, and whether the last reply is complete.
type Answers = (Vec<(u32, Vec<u8>)>, bool);

/// What the pieces answer; `None` if they are no replies.
fn answers(pieces: &[&[u8]]) -> Option<Answers> {
    let (mut replies, mut seen, mut good) = (Replies::default(), Vec::new(), 0);
    for piece in pieces {
        let fed = replies.feed(piece, |answer| match answer {
            Answer::Good(count) => good += count,
            Answer::Error(text) => seen.push((std::mem::take(&mut good), text.to_vec())),
        });
        fed.ok()?;
    }
    seen.push((good, Vec::new()));
    Some((seen, replies.is_between()))
}
