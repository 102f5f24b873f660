//! Edits and frames: encoded, verified, sealed with their checksum, and read again.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod setup;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rollbook::encoding::edit::{Change, Edit, EncodedEdits, FieldsBuffer, split};
use rollbook::encoding::frame::{FRAME_HEADER, Frame, FrameHeader};
use rollbook::encoding::slot::slot_of;
use rollbook::ids::{CoreId, Db, DirectoryId, Epoch, Lsn, PartitionId, StreamId};
use setup::{VALUE, key};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ID: DirectoryId = DirectoryId([7; 16]);

/// An edit of the key of `n`.
fn edit(n: usize, change: Change<'static>) -> Edit<'static> {
    let key = key(n);
    Edit::Key { db: Db(0), slot: slot_of(key.as_bytes()), key: key.into_bytes().into(), change }
}

fn put(n: usize) -> Edit<'static> {
    edit(n, Change::PutString { value: vec![b'v'; VALUE].into(), expire_at: None })
}

fn set_fields(n: usize) -> Edit<'static> {
    let mut fields = FieldsBuffer::default();
    fields.push(b"state", b"running");
    fields.push(b"progress", b"17");
    let fields = fields.fields();
    let (names, values): (Vec<_>, Vec<_>) = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).unzip();
    let mut owned = rollbook::encoding::edit::Fields::default();
    names.iter().zip(&values).for_each(|(name, value)| owned.push(name, value));
    edit(n, Change::SetFields(owned))
}

fn encode_and_verify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("edit");
    group.throughput(Throughput::Elements(1));
    for (name, edit) in [("string of 100 bytes", put(1)), ("two fields", set_fields(1))] {
        let mut encoded = EncodedEdits::new();
        group.bench_function(format!("encode: {name}"), |bencher| {
            bencher.iter(|| {
                encoded.clear();
                encoded.push(PartitionId(3), black_box(&edit));
                encoded.as_bytes().len()
            });
        });
        let bytes = split(encoded.as_bytes()).next().unwrap().unwrap();
        group.bench_function(format!("verify and decode: {name}"), |bencher| {
            bencher.iter(|| black_box(Edit::decode(black_box(bytes)).unwrap()));
        });
    }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for count in [1, 32, 1000] {
        let mut edits = EncodedEdits::new();
        (0..count).for_each(|n| edits.push(PartitionId(3), &put(n)));
        let header = FrameHeader {
            body_len: edits.as_bytes().len() as u32,
            count: edits.count(),
            stream: StreamId::new(Epoch(1), CoreId(0)),
            seal: false,
            segment: Lsn(1),
            first: Lsn(1),
            synced: Lsn(0),
            durable: Lsn(0),
        };
        let mut frame = vec![0; header.padded_len()];
        frame[FRAME_HEADER..FRAME_HEADER + edits.as_bytes().len()].copy_from_slice(edits.as_bytes());
        group.throughput(Throughput::Bytes(header.len() as u64));
        group.bench_function(format!("seal with {count} edits"), |bencher| {
            bencher.iter(|| header.write(ID, black_box(&mut frame)));
        });
        group.bench_function(format!("check and decode {count} edits"), |bencher| {
            bencher.iter(|| {
                let frame = Frame::parse(ID, black_box(&frame)).unwrap();
                frame.edits().for_each(|edit| drop(black_box(Edit::decode(edit.unwrap().1).unwrap())));
            });
        });
    }
}

criterion_group! { name = benches; config = setup::criterion(); targets = encode_and_verify, frames }
criterion_main!(benches);
