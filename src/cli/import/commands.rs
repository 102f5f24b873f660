//! The commands of an append-only file.
//!
//! SELECT chooses the database of what follows. What stands between MULTI and EXEC was done at once; here it is sent
//! when EXEC has been read, so that a file that ends within a transaction costs all of that transaction, as in Redis.

use std::io::Read;

use super::input::Input;
use super::sender::Sender;
use super::summary::Summary;
use crate::cli::Failure;
use crate::encoding::append_only::{LARGEST, Reader};
use crate::encoding::resp::Args;

/// Sends the commands up to the end of the file; `moved` hears how far that is. The last of several files may end
/// within a command or transaction, which is left out and reported.
///
/// # Errors
/// If the file cannot be read or is damaged, or the connection is lost.
pub(super) fn send(
    input: &mut Input,
    is_last: bool,
    sender: &mut Sender,
    summary: &mut Summary,
    moved: impl Fn(u64),
) -> Result<(), Failure> {
    sender.begin_commands()?;
    let mut commands = Commands::default();
    // Position of the transaction that is being read.
    let mut transaction = None;
    while commands.next(input, |args, request, position| {
        let is = |name: &[u8]| args.at(0).eq_ignore_ascii_case(name);
        if is(b"MULTI") {
            transaction = Some(position);
            sender.hold();
            Ok(())
        } else if is(b"EXEC") {
            transaction = None;
            sender.release(summary)
        } else if is(b"SELECT") {
            sender.select_word(args.get(1).unwrap_or_default(), summary)
        } else {
            sender.command(args, request, summary)
        }
    })? {
        moved(input.position());
    }
    let left_out = input.bytes().max(input.position()) - transaction.unwrap_or(input.position());
    if left_out == 0 {
        return Ok(());
    }
    let within = if transaction.is_some() { "transaction" } else { "command" };
    if !is_last {
        return Err(input.damaged(format_args!("the file ends within a {within}, but others follow")));
    }
    sender.drop_held();
    summary.cut =
        Some(format!("{} ends within a {within}: its last {left_out} bytes were left out", input.path().display()));
    Ok(())
}

/// Reads commands.
#[derive(Default)]
struct Commands {
    reader: Reader,
}

impl Commands {
    /// Calls `visit` with some commands: their arguments, their bytes, and their positions in the file. Returns whether
    /// there were any; if not, all commands that are whole have been visited.
    fn next(
        &mut self,
        input: &mut Input<impl Read>,
        mut visit: impl FnMut(Args<'_>, &[u8], u64) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        loop {
            let (held, position) = (input.held(), input.position());
            let read = self.reader.read(held, |args, place| {
                let start = position + place.start as u64;
                visit(args, &held[place], start)
            })?;
            input.take(read.bytes);
            if let Some(damage) = read.damage {
                return Err(input.damaged(damage));
            }
            if read.bytes > 0 {
                return Ok(true);
            }
            if !input.fill(LARGEST)? {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::input::BUFFER;
    use super::*;
    use crate::bench::request::request;

    fn read(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Result<u64, Failure>) {
        let mut input = Input::new(Path::new("file"), bytes, bytes.len() as u64);
        let (mut commands, mut seen) = (Commands::default(), Vec::new());
        let ended = loop {
            let next = commands.next(&mut input, |args, raw, position| {
                assert_eq!(&bytes[position as usize..][..raw.len()], raw);
                seen.push(args.from(0).map(<[u8]>::to_vec).collect());
                Ok(())
            });
            match next {
                Ok(true) => {}
                Ok(false) => break Ok(input.position()),
                Err(failure) => break Err(failure),
            }
        };
        (seen, ended)
    }

    #[test]
    fn commands_of_any_size_are_read_whole_and_remarks_are_not() {
        let mut file = b"#TS:1700000000\r\n".to_vec();
        let long = vec![b'x'; 3 * BUFFER];
        let mut all = Vec::new();
        for at in 0..3000 {
            let number = at.to_string();
            let words: [&[u8]; 3] = [b"SET", number.as_bytes(), if at == 1500 { &long } else { b"\r\n*" }];
            request(&mut file, &words);
            all.push(words.map(<[u8]>::to_vec).to_vec());
            if at % 700 == 0 {
                file.extend_from_slice(b"#TS:1700000001\r\n");
            }
        }
        let (seen, ended) = read(&file);
        assert!(seen == all);
        assert_eq!(ended, Ok(file.len() as u64));
        let (seen, ended) = read(&file[..file.len() - 1]);
        assert!(seen == all[..2999]);
        assert!(ended.unwrap() < file.len() as u64 - 10);
    }

    #[test]
    fn what_is_no_command_is_damage() {
        let mut good = Vec::new();
        request(&mut good, &[b"PING"]);
        for bad in [&b"PING\r\n"[..], b"\r\n", b"*0\r\n", b"*1\r\n:5\r\n", b"*x\r\n", b"\0\0\0\0\n"] {
            let (seen, ended) = read(&[&good, bad, &good].concat());
            assert_eq!(seen.len(), 1);
            let failure = ended.unwrap_err().to_string();
            assert!(failure.contains("at byte 14:"), "{failure}");
        }
    }
}
