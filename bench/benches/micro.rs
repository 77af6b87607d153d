//! The pieces of the hot path one by one, through the crate's public API.
//!
//! usage: cargo bench -p react-websocket-bench --bench micro
#![forbid(unsafe_code)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use react_websocket::EventEmitter;
use react_websocket::protocol::frame::{self, FrameHeader};
use react_websocket::protocol::{BufferPool, Connection, Event, Limits, MaskKey, Opcode};
use std::hint::black_box;

criterion_group!(benches, header, unmask, text, burst, encode, broadcast, dispatch);
criterion_main!(benches);

fn header(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header");
    for size in [20, 1024, 65536] {
        let frame = masked(Opcode::Binary, &vec![0; size]);
        group.bench_function(format!("of {size} bytes"), |bencher| {
            bencher.iter(|| FrameHeader::decode(black_box(&frame)));
        });
    }
    group.finish();
}

fn unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for size in [20, 1024, 65536] {
        let mut payload = vec![b'a'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} bytes"), |bencher| {
            bencher.iter(|| MaskKey::new([1, 2, 3, 4]).apply(black_box(&mut payload)));
        });
    }
    group.finish();
}

/// A text message that comes whole: header, limits, unmasking, UTF-8.
fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive text");
    let ascii = "a".repeat(64 * 1024);
    let mut other: String = "日本語のテキスト、Ünïcödé и кириллица ".chars().cycle().take(40_000).collect();
    while other.len() > ascii.len() {
        other.pop();
    }
    for (name, text) in [("20 bytes, ASCII", &ascii[..20]), ("64 KiB, ASCII", &ascii), ("64 KiB, not ASCII", &other)] {
        let mut bytes = masked(Opcode::Text, text.as_bytes());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| receive_all(bencher, &mut bytes, 1));
    }
    group.finish();
}

fn burst(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive burst of 32");
    for (name, opcode) in [("text, 20 bytes", Opcode::Text), ("binary, 20 bytes", Opcode::Binary)] {
        let mut bytes = masked(opcode, &[b'a'; 20]).repeat(32);
        group.throughput(Throughput::Elements(32));
        group.bench_function(name, |bencher| receive_all(bencher, &mut bytes, 32));
    }
    group.finish();
}

fn receive_all(bencher: &mut criterion::Bencher<'_>, bytes: &mut [u8], messages: usize) {
    let (mut connection, limits, mut pool) = (Connection::default(), Limits::default(), BufferPool::default());
    bencher.iter(|| {
        let mut input = black_box(&mut *bytes);
        let mut count = 0;
        while let Ok(Some(event)) = connection.receive(&mut input, &limits, &mut pool) {
            count += usize::from(matches!(black_box(event), Event::Text(_) | Event::Binary(_)));
        }
        assert_eq!(count, messages);
    });
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for size in [20, 1024] {
        let payload = vec![b'a'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} bytes"), |bencher| {
            let mut out = Vec::with_capacity(2 * 1024);
            bencher.iter(|| {
                out.clear();
                frame::encode(black_box(&mut out), true, Opcode::Text, black_box(&payload));
            });
        });
    }
    group.finish();
}

/// What a turn's broadcasts cost once, whoever many members there are: each is encoded behind the others.
fn broadcast(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broadcast encode");
    for (messages, size) in [(16, 100), (4, 4096)] {
        let payload = vec![b'a'; size];
        group.throughput(Throughput::Elements(messages));
        group.bench_function(format!("{messages} of {size} bytes"), |bencher| {
            let mut log = Vec::with_capacity(32 * 1024);
            bencher.iter(|| {
                log.clear();
                for _ in 0..messages {
                    frame::encode(black_box(&mut log), true, Opcode::Text, black_box(&payload));
                }
            });
        });
    }
    group.finish();
}

fn dispatch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("emit");
    for listeners in [1, 4] {
        let emitter = EventEmitter::new();
        for _ in 0..listeners {
            emitter.on("data", |number: &u64| {
                black_box(*number);
            });
        }
        group.bench_function(format!("to {listeners}"), |bencher| bencher.iter(|| emitter.emit("data", black_box(7))));
    }
    group.finish();
}

/// A client's frame, masked with zeros: unmasking costs the same, and what is received in place can be received again.
fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, true, opcode, payload);
    let header = bytes.len() - payload.len();
    bytes[1] |= 0x80;
    bytes.splice(header..header, [0; 4]);
    bytes
}
