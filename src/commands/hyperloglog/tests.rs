//! Tests of the commands on HyperLogLogs.

use super::super::testing::Rig;
use super::*;

/// The string that a key holds.
fn value(rig: &mut Rig, key: &str) -> Vec<u8> {
    let reply = rig.run(&[b"GET", key.as_bytes()]);
    let head = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    reply[head..reply.len() - 2].to_vec()
}

#[test]
fn an_estimate_is_close_and_does_not_depend_on_the_form() {
    let mut rig = Rig::new();
    assert_eq!(rig.line("PFCOUNT none"), ":0");
    assert_eq!(rig.line("PFADD empty"), ":1");
    assert_eq!(rig.line("PFADD empty"), ":0");
    assert_eq!(rig.line("PFCOUNT empty"), ":0");
    rig.line("PFADD {t}dense");
    assert_eq!(rig.line("PFDEBUG TODENSE {t}dense"), ":1");
    assert_eq!(rig.line("PFDEBUG TODENSE {t}dense"), ":0");
    let mut added = 0u32;
    for count in [1, 10, 100, 1_000, 10_000, 50_000] {
        while added < count {
            let elements: Vec<String> = (added..count.min(added + 500)).map(|n| format!("element {n}")).collect();
            added += elements.len() as u32;
            for key in ["{t}sparse", "{t}dense"] {
                let mut words: Vec<&[u8]> = vec![b"PFADD", key.as_bytes()];
                words.extend(elements.iter().map(String::as_bytes));
                rig.run(&words);
            }
        }
        let form = if count < 1_000 { "+sparse" } else { "+dense" };
        assert!(count == 1_000 || rig.line("PFDEBUG ENCODING {t}sparse") == form, "{count}");
        let estimate = rig.line("PFCOUNT {t}sparse");
        assert_eq!(rig.line("PFCOUNT {t}dense"), estimate);
        assert_eq!(rig.line("PFCOUNT {t}sparse {t}dense {t}none"), estimate);
        let error = estimate[1..].parse::<f64>().unwrap() / f64::from(count) - 1.0;
        assert!(error.abs() < 0.03, "{estimate} of {count}");
    }
}

#[test]
fn what_was_seen_changes_nothing_and_what_was_not_is_a_small_edit() {
    let mut rig = Rig::new();
    rig.line("PFADD k a b c");
    rig.line("PEXPIRE k 5000");
    assert_eq!(rig.line("PFADD k a b c"), ":0");
    assert!(rig.edits.is_empty());
    assert_eq!(rig.line("PFADD k d"), ":1");
    assert_eq!(rig.line("PTTL k"), ":5000");
    rig.line("PFDEBUG TODENSE k");
    assert_eq!(rig.line("PTTL k"), ":5000");
    for n in 0..200 {
        let element = format!("PFADD k new{n}");
        if rig.line(&element) == ":1" {
            assert!(rig.edits.len() <= 2 && rig.edits.iter().all(|edit| edit.len() < 400), "{:?}", rig.edits);
        }
    }
}

#[test]
fn a_count_is_kept_until_an_element_is_added() {
    let mut rig = Rig::new();
    rig.line("PFADD k a b c");
    rig.line("PFDEBUG TODENSE k");
    assert_eq!(value(&mut rig, "k")[15], 0x80);
    assert_eq!(rig.line("PFCOUNT k"), ":3");
    assert!(matches!(&rig.edits[..], [edit] if edit.contains("WriteString { offset: 8,")), "{:?}", rig.edits);
    assert_eq!(value(&mut rig, "k")[8..16], 3u64.to_le_bytes());
    assert_eq!(rig.line("PFCOUNT k"), ":3");
    assert!(rig.edits.is_empty(), "it is kept already");
    rig.line("PFADD k a b c");
    assert!(rig.edits.is_empty(), "none of them is new");
    rig.line("PFADD k d");
    assert_eq!(value(&mut rig, "k")[15], 0x80);
    rig.line("PFADD other e");
    assert_eq!(rig.line("PFCOUNT k none"), ":4");
    assert!(rig.edits.is_empty(), "a count of several is no one's");
    // What is kept is told, right or wrong.
    rig.run(&[b"SETRANGE", b"k", b"8", &77u64.to_le_bytes()]);
    assert_eq!(rig.line("PFCOUNT k"), ":77");
}

#[test]
fn sparse_registers_are_the_same_however_they_came_about() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20 {
        let mut sketch = Sketch::new();
        let mut registers = Registers::new();
        for _ in 0..random.usize(1..600) {
            // Few registers and values, so that runs are split and joined in every way.
            let (index, value) = (random.usize(..2_000), random.u8(1..4));
            let raised = sketch.raise(index, value, 100_000);
            assert_eq!(raised, registers.0[index] < value, "seed {seed}");
            registers.0[index] = registers.0[index].max(value);
        }
        assert!(!sketch.is_dense() && sketch.check().is_ok(), "seed {seed}");
        let mut read = Registers::new();
        sketch.merge_into(&mut read).unwrap();
        assert!(read == registers, "seed {seed}");
        let mut written = Sketch::new();
        written.put(&registers, false, 100_000);
        let mut read = Registers::new();
        written.merge_into(&mut read).unwrap();
        assert!(read == registers && written.bytes().len() <= sketch.bytes().len(), "seed {seed}");
        sketch.make_dense();
        let mut read = Registers::new();
        sketch.merge_into(&mut read).unwrap();
        assert!(read == registers, "seed {seed}");
    }
}

#[test]
fn a_merge_counts_what_any_has_seen() {
    let mut rig = Rig::new();
    rig.line("PFADD {t}a 1 2 3");
    rig.line("PFADD {t}b 3 4 5");
    assert_eq!(rig.line("PFMERGE {t}d {t}a {t}b {t}none"), "+OK");
    assert_eq!(rig.line("PFCOUNT {t}d"), ":5");
    assert_eq!(rig.line("PFDEBUG ENCODING {t}d"), "+sparse");
    rig.line("PFDEBUG TODENSE {t}b");
    assert_eq!(rig.line("PFMERGE {t}d {t}b"), "+OK");
    assert_eq!(rig.line("PFDEBUG ENCODING {t}d"), "+dense");
    assert_eq!(rig.line("PFCOUNT {t}d"), ":5");
    assert_eq!(rig.line("PFMERGE {t}new"), "+OK");
    assert_eq!(rig.line("PFCOUNT {t}new"), ":0");
    assert_eq!(rig.line("PFDEBUG DECODE {t}new"), "$7 Z:16384");
    assert_eq!(rig.line("PFDEBUG DECODE {t}d"), "-ERR HLL encoding is not sparse");
    assert_eq!(rig.line("PFDEBUG ENCODING none"), "-ERR The specified key does not exist");
    assert_eq!(rig.line("PFDEBUG nonsense {t}d"), "-ERR Unknown PFDEBUG subcommand 'nonsense'");
    assert!(rig.line("PFDEBUG GETREG {t}a").starts_with("*16384 :0 :0"));
}

#[test]
fn what_is_no_hyperloglog_is_refused_and_never_a_panic() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::new();
    rig.line("PFADD {t}good 1 2 3");
    let good = value(&mut rig, "{t}good");
    let commands = [
        "PFADD {t}bad x",
        "PFADD {t}bad y z",
        "PFCOUNT {t}bad",
        "PFCOUNT {t}bad {t}good",
        "PFMERGE {t}good {t}bad",
        "PFMERGE {t}bad {t}good",
        "PFDEBUG GETREG {t}bad",
        "PFDEBUG DECODE {t}bad",
        "PFDEBUG TODENSE {t}bad",
    ];
    for round in 0..400 {
        let len = random.usize(..if round % 2 == 0 { 40 } else { 2_000 });
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        let mut bad = match round % 4 {
            0 => noise,
            // A sparse one whose registers are random bytes.
            1 => [&good[..16], &noise].concat(),
            // A dense one of about the right length.
            2 => [&good[..4], &[0], &good[5..16], &vec![random.u8(..); 12_287 + random.usize(..3)]].concat(),
            _ => good.clone(),
        };
        if round % 4 != 2 && !bad.is_empty() {
            let at = random.usize(..bad.len());
            bad[at] = random.u8(..);
            bad.truncate(random.usize(..=bad.len()).max(at));
        }
        if bad.len() >= 16 && random.bool() {
            bad[15] |= 0x80;
        }
        for command in commands {
            rig.run(&[b"SET", b"{t}bad", &bad]);
            rig.run(&[b"SET", b"{t}good", &good]);
            let reply = rig.line(command);
            let is_refused = reply == "-WRONGTYPE Key is not a valid HyperLogLog string value."
                || reply == "-INVALIDOBJ Corrupted HLL object detected"
                || reply == "-ERR HLL encoding is not sparse";
            assert!(is_refused || !reply.starts_with('-'), "seed {seed}, {command}: {reply}");
            assert!(!is_refused || rig.edits.is_empty(), "seed {seed}, {command}");
        }
    }
    rig.line("HSET {t}h f v");
    for command in ["PFADD {t}h x", "PFCOUNT {t}h", "PFMERGE {t}good {t}h", "PFDEBUG GETREG {t}h"] {
        assert!(rig.line(command).starts_with("-WRONGTYPE Operation"), "{command}");
    }
}

#[test]
fn differences_make_the_new_value_of_the_old() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..500 {
        let mut old: Vec<u8> = vec![0; random.usize(..600)];
        let mut new = [&old[..], &vec![0; random.usize(..3) * random.usize(..100)]].concat();
        for _ in 0..random.usize(..5) {
            if let Some(at) = new.len().checked_sub(1).map(|last| random.usize(..=last)) {
                new[at] = 1;
            }
        }
        for (start, bytes) in differences(&old.clone(), &new) {
            old.resize(old.len().max(start + bytes.len()), 7);
            old[start..start + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(old, new, "seed {seed}");
    }
}
