use std::io::{Read, Write};

use rustls::ServerConnection;
use rustls::client::UnbufferedClientConnection;

use super::*;

fn client(ends: &Ends) -> Handshake<UnbufferedClientConnection> {
    let name = ServerName::try_from("localhost").unwrap();
    Handshake::new(UnbufferedClientConnection::new(ends.client.clone(), name).unwrap())
}

/// A server that sends `first` with its last message of the handshake, in TLS 1.3 before that of the client.
fn server(ends: &Ends, first: &[u8]) -> ServerConnection {
    let mut config = ServerConfig::clone(&ends.server);
    config.send_half_rtt_data = true;
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    server.writer().write_all(first).unwrap();
    server
}

/// Gives the server these bytes, and returns its answer.
fn exchange(server: &mut ServerConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).unwrap();
        server.process_new_packets().unwrap();
    }
    while server.wants_write() {
        server.write_tls(&mut answer).unwrap();
    }
    answer
}

fn read_by(server: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = [0; 100];
    let count = server.reader().read(&mut bytes).unwrap();
    bytes[..count].to_vec()
}

/// RFC 8446 section 5.1, from the client's end: the server's messages are cut anywhere, and data follows them at once.
#[test]
fn the_handshake_of_a_client_cut_at_every_byte_succeeds() {
    for ends in Ends::each() {
        let mut cut = 0;
        loop {
            let (mut client, mut server) = (client(&ends), server(&ends, b"first"));
            let mut sent = client.receive(b"").unwrap();
            let mut length = 0;
            for _ in 0..3 {
                let bytes = exchange(&mut server, &sent);
                length = length.max(bytes.len());
                let (before, after) = bytes.split_at(cut.min(bytes.len()));
                sent = client.receive(before).unwrap();
                sent.extend(client.receive(after).unwrap());
            }
            assert!(!server.is_handshaking(), "cut at {cut}");
            let Established { mut sealer, mut opener, mut plaintext, peer } = client.finish();
            assert_eq!(peer.certificates.len(), 1);
            assert_eq!(plaintext, b"first", "cut at {cut}");
            exchange(&mut server, &sealed(&mut sealer, b"question"));
            assert_eq!(read_by(&mut server), b"question");
            server.writer().write_all(b"answer").unwrap();
            let answer = exchange(&mut server, b"");
            assert!(read(&mut opener, &answer, &mut plaintext).is_none());
            assert_eq!(plaintext, b"firstanswer");
            cut += 1;
            if cut > length {
                break;
            }
        }
    }
}

#[test]
fn the_handshake_of_a_client_byte_by_byte_succeeds() {
    for ends in Ends::each() {
        let (mut client, mut server) = (client(&ends), server(&ends, b""));
        let mut sent = client.receive(b"").unwrap();
        for _ in 0..3 {
            let bytes = exchange(&mut server, &sent);
            sent = bytes.iter().flat_map(|byte| client.receive(&[*byte]).unwrap()).collect();
        }
        assert!(!server.is_handshaking());
        let Established { mut sealer, mut opener, mut plaintext, .. } = client.finish();
        exchange(&mut server, &sealed(&mut sealer, b"question"));
        assert_eq!(read_by(&mut server), b"question");
        // A new key of the server (RFC 8446 section 4.6.3), and its end.
        let _ = server.refresh_traffic_keys();
        server.writer().write_all(b"answer").unwrap();
        server.send_close_notify();
        let mut end = None;
        for byte in exchange(&mut server, b"") {
            assert!(end.is_none());
            end = read(&mut opener, &[byte], &mut plaintext);
        }
        assert!(matches!(end, Some(End::Closed)), "{end:?}");
        assert_eq!(plaintext, b"answer");
    }
}

/// A bit that is wrong anywhere in the server's first flight: an error, and no panic.
#[test]
fn a_bit_that_is_wrong_anywhere_in_the_servers_flight_fails_the_handshake() {
    let ends = Ends::of(&rustls::version::TLS12);
    for place in 0.. {
        let (mut client, mut server) = (client(&ends), server(&ends, b""));
        let sent = client.receive(b"").unwrap();
        let mut bytes = exchange(&mut server, &sent);
        let Some(byte) = bytes.get_mut(place) else { break };
        *byte ^= 0x40;
        // The certificate is not looked at here, and of a length more is waited for.
        let _ = client.receive(&bytes);
    }
}
