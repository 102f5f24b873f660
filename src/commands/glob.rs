//! Glob patterns, as in `KEYS` and `SCAN … MATCH`: `*`, `?`, `[a-z]`, `[^a-z]`, and `\` to escape any of these.
//!
//! Time is bounded by the product of the two lengths, and nothing recurses: matching backtracks only to the last star,
//! because every other element matches exactly one byte. As in Redis, nothing matches a pattern in which more than
//! `MAX_STARS` stars have to be looked behind.

/// Maximum number of stars in a pattern that matches anything. Neighbours count as one, and those at its end do not.
const MAX_STARS: usize = 1000;

/// Whether `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Position in the pattern behind the last star, and the first byte of the text not yet taken by that star.
    let mut star: Option<(usize, usize)> = None;
    let mut stars = 0;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += pattern[p..].iter().take_while(|&&b| b == b'*').count();
            star = Some((p, t));
            if p == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            continue;
        }
        if let Some(next) = element(pattern, p, text[t]) {
            (p, t) = (next, t + 1);
        } else if let Some((after, taken)) = star {
            (p, t) = (after, taken + 1);
            star = Some((after, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Whether a pattern matches every text.
pub fn is_everything(pattern: &[u8]) -> bool {
    pattern == b"*"
}

/// Matches the element of `pattern` at `at` against `byte`. Returns where the next element begins, `None` if it does
/// not match.
fn element(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        own => (own == byte).then_some(at + 1),
    }
}

/// Matches `byte` against the class whose first byte (after the bracket) is at `at`. Returns where the next element
/// begins, `None` if it does not match. An unclosed class ends with the pattern.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                at += 3;
            }
            [own, ..] => {
                found |= *own == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_fit_as_in_redis() {
        let fit = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbbc"),
            ("a*b*c", "aXbYbZc"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("[\\]]", "]"),
            ("\\*", "*"),
            ("a\\", "a\\"),
            ("[^]", "x"),
            ("[abc", "c"),
            ("**", "x"),
        ] {
            assert!(fit(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("?", ""),
            ("a", "ab"),
            ("h[^e]llo", "hello"),
            ("[]", "x"),
            ("\\*", "x"),
            ("a*c", "ab"),
            ("[a-c]", "d"),
        ] {
            assert!(!fit(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_too_many_stars_matches_nothing() {
        let fits = |stars: usize, end: &str| {
            let pattern = [&b"*?".repeat(stars)[..], end.as_bytes()].concat();
            matches(&pattern, &[b'a'; 3 * MAX_STARS])
        };
        assert!(fits(MAX_STARS, "") && fits(MAX_STARS, "**") && fits(MAX_STARS, "a"));
        assert!(!fits(MAX_STARS + 1, "") && !fits(MAX_STARS, "*a"));
        // Where the text ends before, it fits; and neighbours are one.
        assert!(matches(&[&b"a*".repeat(MAX_STARS)[..], b"**"].concat(), &[b'a'; MAX_STARS]));
        assert!(matches(&[&[b'*'; 3 * MAX_STARS][..], b"a"].concat(), b"a"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let text = [b'a'; 2_000];
        let mut pattern = b"a*".repeat(500);
        pattern.push(b'b');
        assert!(!matches(&pattern, &text));
    }
}
