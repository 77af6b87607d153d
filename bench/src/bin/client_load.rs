//! The server of `client_echo`: sends messages of 20 bytes to each connection, waits for all the echoes, and sends again.
//!
//! usage: client_load PORT [--connections N] [--depth N] [--messages N] [--kind text|binary]
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use react_websocket_bench::{Arguments, floor};

const PAYLOAD: &[u8; 20] = b"a message of 20 byte";

/// A masked frame with this payload: two bytes, and four of the key.
const ECHO: usize = 2 + 4 + PAYLOAD.len();

fn main() -> io::Result<()> {
    let arguments = Arguments::of(&["connections", "depth", "messages", "kind"]);
    let (connections, depth) = (arguments.value("connections", 1), arguments.value("depth", 1));
    let rounds = arguments.value("messages", 1000) / (connections * depth);
    let first = if arguments.word("kind") == Some("binary") { 0x82 } else { 0x81 };
    let listener = TcpListener::bind(arguments.address())?;
    println!("accepting");
    let mut clients = (0..connections).map(|_| accept(&listener)).collect::<io::Result<Vec<_>>>()?;
    let burst = [&[first, PAYLOAD.len() as u8], &PAYLOAD[..]].concat().repeat(depth);
    let mut echoes = vec![0; ECHO * depth];
    for round in 0..rounds {
        for client in &mut clients {
            client.write_all(&burst)?;
        }
        for client in &mut clients {
            client.read_exact(&mut echoes)?;
            if round == 0 {
                echoes.chunks(ECHO).for_each(|frame| check(frame, first));
            }
        }
    }
    for client in &mut clients {
        client.write_all(&[0x88, 2, 0x03, 0xE8])?;
        client.read_exact(&mut [0; 8])?;
        client.shutdown(Shutdown::Both)?;
    }
    Ok(())
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (mut client, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        let count = client.read(&mut bytes)?;
        head.extend_from_slice(&bytes[..count]);
        if let Some(answer) = floor::answer(&head) {
            client.write_all(&answer)?;
            return Ok(client);
        }
        assert!(count > 0, "a handshake");
    }
}

fn check(frame: &[u8], first: u8) {
    assert_eq!(frame[..2], [first, 0x80 | PAYLOAD.len() as u8]);
    let (key, payload) = frame[2..].split_at(4);
    assert!(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).eq(*PAYLOAD));
}
