//! Random requests: mostly meaningful ones on few keys, so that they meet, and some with what clients get wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use super::grammar::{OF_EIGHT, ONE_CORE, RARE, REQUESTS};
use super::servers::Version;

/// How keys lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All in one slot: every command can be had.
    Together,
    /// All over the slots; no command that needs several keys on one core.
    Apart,
}

/// Number of keys that mostly hold a value of one type.
const KEYS_OF_TYPE: u32 = 5;

/// Makes requests.
pub struct Generator {
    pub random: Rng,
    pub seed: u64,
    pub version: Version,
    /// Grammars of the requests to choose from.
    requests: Vec<&'static str>,
    keys: Keys,
    now_ms: u64,
    /// Time of the newest entry of a stream.
    newest: u64,
}

impl Generator {
    /// Always the same ones for the same seed, but for the times in them.
    pub fn new(seed: u64, keys: Keys, version: Version) -> Self {
        let only = std::env::var("DIFFERENTIAL_ONLY").unwrap_or_default();
        let of_version = if version == Version::Eight { OF_EIGHT } else { &[] };
        let requests = REQUESTS.iter().chain(of_version).copied().filter(|line| line.starts_with(&only)).collect();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        Self { random: Rng::with_seed(seed), seed, version, requests, keys, now_ms, newest: 1 }
    }

    fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.random.usize(..from.len())]
    }

    /// The next request.
    pub fn request(&mut self) -> Vec<Vec<u8>> {
        loop {
            let rare = self.random.u32(..500) == 0;
            let lines = if rare { RARE } else { &self.requests };
            let line = lines[self.random.usize(..lines.len())];
            let name = line.split(' ').next().unwrap_or_default();
            let several = ["ZUNION", "ZINTER", "ZDIFF"].iter().any(|start| line.starts_with(start))
                || (name == "LMPOP" && !line.starts_with("LMPOP 1"))
                || line.contains(" STREAMKEY STREAMKEY ");
            if self.keys == Keys::Apart && (several || ONE_CORE.contains(&name)) {
                continue;
            }
            let mut words = Vec::new();
            for part in line.split(' ') {
                self.part(part, &mut words);
            }
            match self.random.u32(..200) {
                0 => drop(words.pop()),
                1 => words.push(b"nonsense".to_vec()),
                _ => {}
            }
            // Without its count, SPOP takes any one member: the sets would differ from then on.
            if name == "SPOP" && words.len() < 3 {
                continue;
            }
            // Redis 8.2 cuts the index off at 32 bits if the list is packed, and sets another element.
            let is_large = |word: &Vec<u8>| word.len() > 9;
            if name == "LSET" && self.version == Version::Eight && words.get(2).is_some_and(is_large) {
                continue;
            }
            let Some(name) = words.first_mut() else { continue };
            if self.random.u32(..4) == 0 {
                name.make_ascii_lowercase();
            }
            return words;
        }
    }

    fn part(&mut self, part: &str, words: &mut Vec<Vec<u8>>) {
        if let Some(optional) = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
            if self.random.bool() {
                self.part(optional, words);
            }
        } else if part.contains('|') {
            let choices: Vec<&str> = part.split('|').collect();
            let choice = self.pick(&choices);
            self.part(choice, words);
        } else if let Some(repeated) = part.strip_suffix('+') {
            let count = if self.random.u32(..50) == 0 { self.random.usize(1..150) } else { self.random.usize(1..4) };
            for _ in 0..count {
                for letter in repeated.chars() {
                    self.part(&letter.to_string(), words);
                }
            }
        } else if let Some((word, each)) = match part {
            "FIELDLIST" => Some(("FIELDS", "F")),
            "PAIRLIST" => Some(("FIELDS", "FV")),
            "IDLIST" => Some(("IDS", "U")),
            _ => None,
        } {
            self.list(word, each, words);
        } else if part == "REQUEST" {
            words.extend(self.request());
        } else if ["PLACED", "POINT", "LENGTH", "BOX"].contains(&part) {
            self.on_earth(part, words);
        } else if let Some((name, value)) = part.split_once('_').filter(|(_, value)| *value != "RO") {
            self.part(name, words);
            self.part(value, words);
        } else {
            words.push(self.word(part));
        }
    }

    /// A list that begins with a word and its length, which is another one now and then.
    fn list(&mut self, word: &str, each: &str, words: &mut Vec<Vec<u8>>) {
        let count = if self.random.u32(..50) == 0 { self.random.usize(1..150) } else { self.random.usize(1..4) };
        let told = if self.random.u32(..30) == 0 { self.integer() } else { count.to_string().into_bytes() };
        words.extend([word.as_bytes().to_vec(), told]);
        for letter in (0..count).flat_map(|_| each.chars()) {
            self.part(&letter.to_string(), words);
        }
    }

    /// Places and lengths. Each member is at one of two places of its own, so that no two are equally far from a third.
    /// They keep away from the poles and from where the east meets the west: Redis misses places beyond.
    fn on_earth(&mut self, part: &str, words: &mut Vec<Vec<u8>>) {
        let mut number = |least: f64, most: f64| format!("{:.6}", least + (most - least) * self.random.f64());
        match part {
            "PLACED" => {
                let member = self.word("J");
                let mut own = Rng::with_seed(member.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte)));
                let turn = f64::from(self.random.u8(..8) / 7);
                let longitude = own.f64() * 100.0 + 10.0 + turn;
                let latitude = own.f64() * 45.0 + 10.0 - turn;
                words.extend([longitude.to_string().into_bytes(), latitude.to_string().into_bytes(), member]);
            }
            "POINT" => {
                words.extend([number(5.0, 120.0), number(5.0, 55.0)].map(String::into_bytes));
                match self.random.u32(..30) {
                    0 => words.push(self.fraction()),
                    1 => drop(words.pop()),
                    _ => {}
                }
            }
            lengths => {
                let (count, most) = if lengths == "BOX" { (2, 1e6) } else { (1, 3e6) };
                let unit = self.pick(&["m", "km", "ft", "mi", "KM", "Mi", "x"]);
                let metres = match unit.to_ascii_lowercase().as_str() {
                    "km" => 1000.0,
                    "ft" => 0.3048,
                    "mi" => 1609.34,
                    _ => 1.0,
                };
                for _ in 0..count {
                    let length = most / metres / 2f64.powi(self.random.i32(0..12)) * self.random.f64();
                    words.push(format!("{length:.3}").into_bytes());
                }
                words.push(unit.into());
            }
        }
    }

    fn word(&mut self, part: &str) -> Vec<u8> {
        match part {
            "K" => self.key(),
            "L" => self.key_of("l"),
            // Not other keys: of scores that are no places, many would be in one spot.
            "GEOKEY" => {
                let letter = if self.random.u32(..20) == 0 { "stream" } else { "geo" };
                let number = self.random.u32(..3);
                self.named(letter, number)
            }
            "V" => self.value(),
            "F" => {
                let fields = if self.random.u32(..20) == 0 { 300 } else { 8 };
                format!("f{}", self.random.u32(..fields)).into_bytes()
            }
            "E" => match self.random.u32(..10) {
                0 => self.value(),
                1 => self.integer(),
                2 => format!("f{}", self.random.u32(..300)).into_bytes(),
                3 | 4 => format!("e{}", self.random.u32(..8)).into_bytes(),
                _ => self.random.u32(..30).to_string().into_bytes(),
            },
            "N" => self.integer(),
            // What expires while the test runs does so at another instant on each server.
            "X" => match self.integer() {
                short if short.first() != Some(&b'-') && short.len() < 7 => [b"-", &short[..]].concat(),
                other => other,
            },
            "I" => self.random.i64(-12..30).to_string().into_bytes(),
            "R" => self.fraction(),
            "S" => self.random.u64(200..10_000_000).to_string().into_bytes(),
            "M" => self.random.u64(200_000..10_000_000_000).to_string().into_bytes(),
            "A" => (self.now_ms / 1000 + self.random.u64(200..10_000_000)).to_string().into_bytes(),
            "B" => (self.now_ms + self.random.u64(200_000..10_000_000_000)).to_string().into_bytes(),
            "G" => self
                .pick(&["*", "*k*", "?t}*", "{t}k[1-3]*", "*[^1]", "f*", "f?", "f[0-4]", "\\f1", "*1*2*", ""])
                .into(),
            "PLUS" => b"+".to_vec(),
            "H" => [&b"h"[..], &self.key()].concat(),
            "O" => match self.random.u32(..8) {
                0 => self.integer(),
                1 => format!("#{}", self.random.u32(..40)).into_bytes(),
                _ => self.random.u32(..1_000).to_string().into_bytes(),
            },
            "T" => {
                self.pick(&["i1", "u1", "i5", "u8", "i8", "u13", "i16", "u32", "u63", "i64", "i63", "u64", "i0"]).into()
            }
            "D" => self.pick(&["0", "1", "2", "1", "16", "-1", "x"]).into(),
            "Z" | "P" | "J" | "Q" | "W" | "Y" => self.word_of_sorted_set(part),
            other => self.word_of_stream(other),
        }
    }

    fn word_of_sorted_set(&mut self, part: &str) -> Vec<u8> {
        match part {
            "Z" => self.key_of("z"),
            // Nobody promises an order by names among members of different scores, so no other key.
            "P" => {
                let number = self.random.u32(..KEYS_OF_TYPE);
                self.named("p", number)
            }
            "J" => {
                let members = if self.random.u32(..10) == 0 { 400 } else { 30 };
                format!("m{}", self.random.u32(..members)).into_bytes()
            }
            "Q" => self.score(),
            "W" => match self.random.u32(..12) {
                0 => self.pick(&["x", "nan", "(", "(x", "((1"]).into(),
                1..4 => self.pick(&["-inf", "+inf", "(-inf", "inf"]).into(),
                4..7 => format!("({}", self.random.i32(-20..20)).into_bytes(),
                _ => self.random.i32(-20..20).to_string().into_bytes(),
            },
            _ => match self.random.u32(..8) {
                0 => self.pick(&["", "m", "(", "[", "++"]).into(),
                1 | 2 => self.pick(&["-", "+"]).into(),
                3..5 => format!("(m{}", self.random.u32(..30)).into_bytes(),
                _ => format!("[m{}", self.random.u32(..30)).into_bytes(),
            },
        }
    }

    fn word_of_stream(&mut self, part: &str) -> Vec<u8> {
        match part {
            // Few keys hold all streams, so that these grow.
            "STREAMKEY" if self.random.u32(..20) > 0 => match self.keys {
                Keys::Together => format!("{{t}}stream{}", self.random.u32(..3)),
                Keys::Apart => format!("stream{}", self.random.u32(..3)),
            }
            .into_bytes(),
            "STREAMKEY" => self.key(),
            "NEWID" | "NEXTMS" => {
                self.newest += if part == "NEXTMS" { 1 } else { self.random.u64(..3) };
                format!("{}-{}", self.newest, self.random.u32(..3)).into_bytes()
            }
            "U" if self.random.u32(..20) == 0 => {
                self.pick(&["x", "(5", "0-0", "5-*", "01", "", "-", "18446744073709551615-0"]).into()
            }
            "U" => {
                let bits = self.random.u32(1..9);
                let age = self.random.u64(..1 << bits);
                format!("{}-{}", self.newest.saturating_sub(age), self.random.u32(..3)).into_bytes()
            }
            "GROUPNAME" => format!("group{}", self.random.u32(..2)).into_bytes(),
            "CONSUMER" => format!("consumer{}", self.random.u32(..3)).into_bytes(),
            other => other.into(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.random.u32(..24);
        match self.random.u32(..20) {
            0 => self.named("z", number % KEYS_OF_TYPE),
            1 => self.named("l", number % KEYS_OF_TYPE),
            _ => self.named("k", number),
        }
    }

    /// A key that mostly holds a value of the type that the letter stands for.
    fn key_of(&mut self, letter: &str) -> Vec<u8> {
        if self.random.u32(..20) == 0 {
            return self.key();
        }
        let number = self.random.u32(..KEYS_OF_TYPE);
        self.named(letter, number)
    }

    fn named(&self, letter: &str, number: u32) -> Vec<u8> {
        let tag = if self.keys == Keys::Together { "{t}" } else { "" };
        format!("{tag}{letter}{number}").into_bytes()
    }

    fn score(&mut self) -> Vec<u8> {
        match self.random.u32(..12) {
            0 => self.fraction(),
            1 => self.pick(&["inf", "-inf", "x", "", "1e3", "-0.5"]).into(),
            2 => self.random.f64().to_string().into_bytes(),
            3 => self.integer(),
            _ => self.random.i32(-20..20).to_string().into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.u32(..8) {
            0 => Vec::new(),
            1 => self.integer(),
            2 => self.fraction(),
            3 => std::iter::repeat_with(|| self.random.u8(..)).take(10).collect(),
            4 => vec![b'x'; self.random.usize(..200)],
            _ => format!("value {}", self.random.u32(..1000)).into_bytes(),
        }
    }

    fn integer(&mut self) -> Vec<u8> {
        match self.random.u32(..10) {
            0 => self
                .pick(&["9223372036854775807", "-9223372036854775808", "9223372036854775808", "9223372036854775"])
                .into(),
            1 => self.pick(&["", "+1", " 1", "01", "1.0", "x", "-0", "0", "--1", "1 "]).into(),
            2 => self.random.i64(..).to_string().into_bytes(),
            _ => self.random.i64(-1000..1000).to_string().into_bytes(),
        }
    }

    fn fraction(&mut self) -> Vec<u8> {
        match self.random.u32(..10) {
            0 => self
                .pick(&["inf", "-inf", "nan", "1e400", "1e-400", "1e5000", "0x1.8p3", "1e", ".5", "5.", " 1", "1 "])
                .into(),
            1 => format!("{}e{}", self.random.i64(-10_000..10_000), self.random.i32(-25..25)).into_bytes(),
            2 => format!("{}", f64::from_bits(self.random.u64(..) >> 2)).into_bytes(),
            3 => format!("{}", self.random.f64() * 1e15).into_bytes(),
            _ => format!("{}", self.random.i64(-100_000..100_000) as f64 / 1000.0).into_bytes(),
        }
    }
}
