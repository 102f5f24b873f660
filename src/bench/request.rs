//! Writes requests directly into a connection's output buffer.
//!
//! A [`Template`] contains the constant parts of a request, with all lengths already computed; writing a request is a
//! copy and a few digits. All numbers in keys have [`DIGITS`] digits, so that lengths are known in advance.

/// Number of digits of every number in a key.
pub const DIGITS: usize = 12;
/// Upper bound (exclusive) of numbers in keys.
pub const KEYS_MAX: u64 = 10u64.pow(DIGITS as u32);

/// All pairs of decimal digits, so that numbers are formatted two digits at a time.
static PAIRS: [[u8; 2]; 100] = pairs();

const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
}

/// Formats `number` with [`DIGITS`] digits; higher digits are cut off.
#[inline]
pub fn digits(number: u64) -> [u8; DIGITS] {
    let mut text = [0; DIGITS];
    let (high, low) = ((number / 1_000_000) as u32 % 1_000_000, (number % 1_000_000) as u32);
    for (half, place) in [(high, 0), (low, 6)] {
        text[place..place + 2].copy_from_slice(&PAIRS[(half / 10_000) as usize]);
        text[place + 2..place + 4].copy_from_slice(&PAIRS[(half / 100 % 100) as usize]);
        text[place + 4..place + 6].copy_from_slice(&PAIRS[(half % 100) as usize]);
    }
    text
}

/// Appends `bytes` as an argument.
pub fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    decimal(out, bytes.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends `number` as an argument.
pub fn number(out: &mut Vec<u8>, number: u64) {
    argument(out, itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `number` in decimal.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a whole request.
pub fn request(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    begin(out, arguments, 0);
}

/// Appends a request up to its last `more` arguments, which the caller must append.
pub fn begin(out: &mut Vec<u8>, arguments: &[&[u8]], more: usize) {
    out.push(b'*');
    decimal(out, (arguments.len() + more) as u64);
    out.extend_from_slice(b"\r\n");
    arguments.iter().for_each(|bytes| argument(out, bytes));
}

/// The beginning of a request, with placeholders that are filled in each time.
#[derive(Clone, Debug)]
pub struct Template<const HOLES: usize> {
    bytes: Vec<u8>,
    holes: [usize; HOLES],
}

impl<const HOLES: usize> Template<HOLES> {
    /// Makes a template of a request with these first arguments; the caller appends `more` further arguments. Each `#`
    /// is a placeholder for a number of [`DIGITS`] digits.
    pub fn new(arguments: &[&str], more: usize) -> Self {
        let mut bytes = vec![b'*'];
        decimal(&mut bytes, (arguments.len() + more) as u64);
        bytes.extend_from_slice(b"\r\n");
        Self::after(bytes, arguments)
    }

    /// Makes a template of arguments only, to follow a request that was begun with [`Self::new`].
    pub fn rest(arguments: &[&str]) -> Self {
        Self::after(Vec::new(), arguments)
    }

    fn after(mut bytes: Vec<u8>, arguments: &[&str]) -> Self {
        let hole = "#".repeat(DIGITS);
        let mut holes = [0; HOLES];
        let mut found = 0;
        for text in arguments {
            let start = bytes.len();
            argument(&mut bytes, text.replace('#', &hole).as_bytes());
            let mut from = start;
            while let Some(at) = memchr::memmem::find(&bytes[from..], hole.as_bytes()) {
                if let Some(place) = holes.get_mut(found) {
                    *place = from + at;
                }
                found += 1;
                from += at + DIGITS;
            }
        }
        debug_assert_eq!(found, HOLES, "as many places as numbers");
        Self { bytes, holes }
    }

    /// Appends the template with these numbers filled in.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, numbers: [u64; HOLES]) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for (place, number) in self.holes.iter().zip(numbers) {
            out[start + place..start + place + DIGITS].copy_from_slice(&digits(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_twelve_digits() {
        for number in [0, 7, 99, 100, 123_456, 999_999, 1_000_000, 123_456_789_012, KEYS_MAX - 1] {
            assert_eq!(std::str::from_utf8(&digits(number)).unwrap(), format!("{number:012}"));
        }
    }

    #[test]
    fn a_template_is_a_request_with_numbers_in_it() {
        let template = Template::<2>::new(&["HSET", "{d#}/f#"], 2);
        let mut out = b"before".to_vec();
        template.write(&mut out, [42, 7]);
        argument(&mut out, b"field");
        number(&mut out, 17);
        let expected = "before*4\r\n$4\r\nHSET\r\n$29\r\n{d000000000042}/f000000000007\r\n$5\r\nfield\r\n$2\r\n17\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        request(&mut out, &[b"GET", b"a"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    }
}
