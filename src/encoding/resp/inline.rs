//! Inline requests: words on a line, quoted as in `redis-cli`.
//!
//! `"…"` supports `\n \r \t \a \b \xHH`, and `\c` for any other `c`; `'…'` supports only `\'`. A closing quote must be
//! followed by a space or the end of the line.

use super::Span;

/// Reason why a line cannot be split into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InlineError {
    /// A quote is not closed, or text follows directly after a closing quote.
    UnbalancedQuotes,
}

/// Splits `line` into words: appends their bytes to `words` and their positions to `spans`.
pub fn split(line: &[u8], words: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), InlineError> {
    let first = spans.len();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let start = words.len();
        match word(rest, words) {
            Some(after) => rest = after.trim_ascii_start(),
            None => {
                spans.truncate(first);
                return Err(InlineError::UnbalancedQuotes);
            }
        }
        spans.push(Span { start: start as u32, len: (words.len() - start) as u32 });
    }
    Ok(())
}

/// Moves one word to `words` and returns the rest of the line; `None` if the quotes are unbalanced.
fn word<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return Some(rest),
            [c, ..] if c.is_ascii_whitespace() || *c == 0 => return Some(&rest[1..]),
            [b'"', quoted @ ..] => return closed(double_quoted(quoted, words)?),
            [b'\'', quoted @ ..] => return closed(single_quoted(quoted, words)?),
            [c, after @ ..] => {
                words.push(*c);
                rest = after;
            }
        }
    }
}

fn closed(after: &[u8]) -> Option<&[u8]> {
    after.first().is_none_or(u8::is_ascii_whitespace).then_some(after)
}

fn double_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), after)
            }
            [b'\\', escaped, after @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                };
                (byte, after)
            }
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        words.push(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [b'\'', after @ ..] => return Some(after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        words.push(byte);
        rest = after;
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(line: &str) -> Result<Vec<String>, InlineError> {
        let (mut words, mut spans) = (vec![], vec![]);
        split(line.as_bytes(), &mut words, &mut spans)?;
        let word = |s: &Span| String::from_utf8_lossy(&words[s.start as usize..][..s.len as usize]).into_owned();
        Ok(spans.iter().map(word).collect())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words_of("  set  k v ").unwrap(), ["set", "k", "v"]);
        assert_eq!(
            words_of(r#"a "b c" 'd "e' "\x41\n\"" '\'' ab"c""#).unwrap(),
            ["a", "b c", "d \"e", "A\n\"", "'", "abc"]
        );
        assert_eq!(words_of("").unwrap(), Vec::<String>::new());
        assert_eq!(words_of("''").unwrap(), [""]);
        for bad in ["\"", "'a", "\"a\"b", "'a'b", "a\"b", "\"\\"] {
            assert_eq!(words_of(bad), Err(InlineError::UnbalancedQuotes), "{bad}");
        }
    }
}
