//! A list does what a deque does, and what it knows of itself adds up: random changes against a model. A failure prints
//! its seed; with `ROLLBOOK_SEED` set, only that seed runs.

use std::collections::VecDeque;

use super::chunk::{Chunk, Limit};
use super::chunks::Chunks;
use super::digest::Sum;
use crate::config::Packing;
use crate::encoding::edit::End;

type Model = VecDeque<Vec<u8>>;

fn limit(list_chunk: i32) -> Limit {
    Limit::of(&Packing { list_chunk, ..Packing::default() })
}

#[test]
fn a_limit_of_no_elements_is_one_and_no_size_is_above_64_kib() {
    assert!(limit(0).admits(1, 100) && !limit(0).admits(2, 2));
    assert!(limit(1).admits(1, 100) && !limit(1).admits(2, 2));
    for size in [-5, -6, i32::MIN] {
        assert!(limit(size).admits(1, 60_000) && !limit(size).admits(1, 1 << 16), "{size}");
    }
    assert!(limit(i32::MAX).admits(1000, 4000) && !limit(i32::MAX).admits(10_000, 8 << 10));
}

fn element(random: &mut fastrand::Rng) -> Vec<u8> {
    let len = match random.u8(..100) {
        0 => random.usize(..20_000),
        1..4 => random.usize(200..300),
        _ => random.usize(..20),
    };
    vec![random.u8(..); len]
}

fn end(random: &mut fastrand::Rng) -> End {
    if random.bool() { End::Left } else { End::Right }
}

/// Changes list and model in the same way, at random; `bias` is how much more often elements come than go.
fn change(list: &mut Chunks, model: &mut Model, random: &mut fastrand::Rng, limit: Limit, bias: u8) {
    let len = model.len();
    match random.u8(..10 + bias) {
        0 | 1 if len > 1 => {
            let most = if random.u8(..20) == 0 { len - 1 } else { (len - 1).min(5) };
            let (end, count) = (end(random), random.usize(..=most));
            list.pop(end, count);
            match end {
                End::Left => drop(model.drain(..count)),
                End::Right => model.truncate(len - count),
            }
        }
        2 | 3 if len > 0 => {
            let (index, element) = (random.usize(..len), element(random));
            list.set(index, &element, limit);
            model[index] = element;
        }
        4 | 5 => {
            let (index, element) = (random.usize(..=len), element(random));
            list.insert(index, &element, limit);
            model.insert(index, element);
        }
        6 if len > 1 => {
            let gone: Vec<bool> = match random.u8(..4) {
                0 => (0..len).map(|_| random.u8(..3) == 0).collect(),
                1 => {
                    let (from, count) = (random.usize(..len), random.usize(..len));
                    (0..len).map(|index| (from..from + count).contains(&index)).collect()
                }
                _ => {
                    let only = random.usize(..len);
                    (0..len).map(|index| index == only).collect()
                }
            };
            let indexes: Vec<usize> = (0..len).filter(|index| gone[*index]).collect();
            if indexes.len() < len {
                let ranges = indexes.chunk_by(|one, next| one + 1 == *next).map(|run| run[0]..run[0] + run.len());
                list.remove(ranges, limit);
                let mut index = 0;
                model.retain(|_| {
                    index += 1;
                    !gone[index - 1]
                });
            }
        }
        _ => {
            let (end, element) = (end(random), element(random));
            list.push(end, &element, limit);
            match end {
                End::Left => model.push_front(element),
                End::Right => model.push_back(element),
            }
        }
    }
}

fn check(list: &Chunks, model: &Model, limit: Limit) {
    assert_eq!((list.len(), list.content_len()), (model.len(), model.iter().map(Vec::len).sum()));
    assert!(list.iter_from(0).eq(model.iter().map(|element| &element[..])));
    assert!(list.iter_from(0).rev().eq(model.iter().rev().map(|element| &element[..])));
    for index in (0..model.len()).step_by(1 + model.len() / 10).chain([model.len()]) {
        assert_eq!(list.get(index), model.get(index).map(|element| &element[..]));
        assert!(list.iter_from(index).take(5).eq(model.iter().skip(index).take(5).map(|element| &element[..])));
    }
    assert_eq!(list.sum(), model.iter().fold(Sum::EMPTY, |sum, element| sum.then(Sum::of(element))));
    list.check(limit);
}

#[test]
fn a_list_does_what_a_deque_does() {
    let only = std::env::var("ROLLBOOK_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..60, |seed: u64| seed..seed + 1) {
        println!("ROLLBOOK_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = limit([-1, -2, -5, 1, 3, 100][random.usize(..6)]);
        let (mut list, mut model) = (Chunks::new(), Model::new());
        list.push(End::Right, b"", limit);
        model.push_back(Vec::new());
        for step in 0..3000u32 {
            // It grows large, and shrinks, by turns.
            let bias = if step / 500 % 2 == 0 { 20 } else { 0 };
            change(&mut list, &mut model, &mut random, limit, bias);
            if step % 200 == 199 {
                check(&list, &model, limit);
            }
        }
        check(&list, &model, limit);
        let (mut left, mut memory) = (list.chunks(), list.memory());
        while let Some(freed) = list.give_up() {
            (left, memory) = (left - 1, memory - freed);
        }
        assert_eq!((left, memory), (0, 0));
    }
}

#[test]
fn a_list_of_many_runs_stays_within_its_limits() {
    let limit = limit(1);
    let mut list = Chunks::new();
    let mut model = Model::new();
    for number in 0..3000u32 {
        list.push(End::Right, &number.to_le_bytes(), limit);
        model.push_back(number.to_le_bytes().to_vec());
    }
    check(&list, &model, limit);
    for number in 0..600usize {
        list.insert(700, &number.to_le_bytes(), limit);
        model.insert(700, number.to_le_bytes().to_vec());
    }
    check(&list, &model, limit);
    list.remove([10..1000, 1001..1002, 1500..3400].into_iter(), limit);
    let mut index = 0;
    model.retain(|_| {
        index += 1;
        let index = index - 1;
        !((10..1000).contains(&index) || index == 1001 || (1500..3400).contains(&index))
    });
    check(&list, &model, limit);
    for (end, count) in [(End::Left, 500), (End::Right, 200)] {
        list.pop(end, count);
    }
    model.drain(..500);
    model.truncate(model.len() - 200);
    check(&list, &model, limit);
}

#[test]
fn chunks_stay_well_filled_whatever_happens_in_the_middle() {
    let mut random = fastrand::Rng::with_seed(3);
    let limit = limit(-2);
    let mut list = Chunks::new();
    (0..100_000u32).for_each(|number| list.push(End::Right, &number.to_le_bytes(), limit));
    let full = list.chunks();
    for _ in 0..2_000 {
        list.insert(random.usize(..list.len()), b"more", limit);
    }
    assert!(list.chunks() <= 2 * full + 10, "{} chunks, {full} before", list.chunks());
    let len = list.len();
    list.remove((0..len - 1).step_by(10).map(|index| index..(index + 9).min(len - 1)), limit);
    assert!(list.chunks() <= full / 4, "{} chunks, {full} before", list.chunks());
}

#[test]
fn a_full_list_takes_little_more_memory_than_its_elements() {
    for end in [End::Left, End::Right] {
        let mut list = Chunks::new();
        (0..200_000u32).for_each(|number| list.push(end, format!("job:{number:06}").as_bytes(), limit(-2)));
        let each = list.memory() as f64 / list.len() as f64;
        assert!(each < 10.0 + 2.5, "{each} bytes for each element of 10");
    }
}

#[test]
fn a_chunk_is_split_about_in_the_middle_of_its_bytes() {
    for lengths in
        [&[1, 1][..], &[0, 0, 0, 0], &[9000, 1, 1, 1], &[1, 1, 1, 9000], &[10, 10, 10, 10, 10], &[1, 9000, 1]]
    {
        let mut chunk = Chunk::new();
        for len in lengths {
            let element = vec![7; *len];
            chunk.push(End::Right, &element, Sum::of(&element));
        }
        let (whole, elements) = (chunk.sum(), chunk.len());
        let right = chunk.split();
        assert!(chunk.len() > 0 && right.len() > 0 && chunk.len() + right.len() == elements);
        assert_eq!((chunk.sum().then(right.sum()), chunk.view().sum()), (whole, chunk.sum()));
        let largest = lengths.iter().max().unwrap();
        let difference = chunk.size().bytes.abs_diff(right.size().bytes);
        assert!(difference <= *largest, "{lengths:?} became {} and {} bytes", chunk.size().bytes, right.size().bytes);
    }
}
