//! Responses to a client's handshake, and what follows them: the same wherever the bytes are cut. A connection is
//! opened exactly if the response has what RFC 6455 section 4.1 requires, by a second, plain reading.
#![no_main]

use std::sync::{Arc, Mutex};

use libfuzzer_sys::fuzz_target;
use react_websocket::WebSocketConnection;
use react_websocket::client::{ConnectError, Connector};
use react_websocket_fuzz::exchange::run;
use react_websocket_fuzz::input::{Cuts, Input};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tungstenite::handshake::derive_accept_key;

/// Stands for the right `Sec-WebSocket-Accept` in the heads of responses.
const ACCEPT: u8 = 0x01;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let offers = input.byte() & 1 != 0;
    let cuts = input.cuts();
    let answer = input.rest();
    let whole = outcome(offers, answer, &Cuts::whole());
    assert_eq!(whole, outcome(offers, answer, &cuts), "cuts make a difference");
    if whole.first().is_some_and(|first| first == "open") {
        check(offers, answer);
    }
});

/// What the app learns.
fn outcome(offers: bool, answer: &[u8], cuts: &Cuts) -> Vec<String> {
    let events = Arc::new(Mutex::new(Vec::new()));
    run(async {
        let (ours, mut theirs) = duplex(1 << 20);
        let seen = events.clone();
        let connector = if offers { Connector::new().subprotocols(["a", "b"]) } else { Connector::new() };
        let connecting = connector.connect_on(ours, "ws://h/", move |connection: WebSocketConnection| {
            let note = move |event: String| seen.lock().unwrap().push(event);
            note("open".to_owned());
            let (text, binary, close) = (note.clone(), note.clone(), note);
            connection.on("text", move |message: &str| text(message.to_owned()));
            connection.on("binary", move |message: &[u8]| binary(format!("{message:?}")));
            connection.on("close", move |code: u16, reason: &str| close(format!("close {code} {reason}")));
        });
        let answering = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                theirs.read_buf(&mut request).await.expect("a request");
            }
            let request = String::from_utf8(request).expect("text");
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let accept = derive_accept_key(key.as_bytes());
            let (heads, after) = answer.split_at(heads_of(answer));
            let parts: Vec<&[u8]> = heads.split(|byte| *byte == ACCEPT).collect();
            let bytes = [&parts.join(accept.as_bytes()), after].concat();
            let (mut rest, mut piece) = (&bytes[..], 0);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.size(piece).min(rest.len()));
                if theirs.write_all(now).await.is_err() {
                    return accept;
                }
                tokio::task::yield_now().await;
                (rest, piece) = (later, piece + 1);
            }
            let _ = theirs.shutdown().await;
            let _ = theirs.read_to_end(&mut Vec::new()).await;
            accept
        };
        let (connected, accept) = tokio::join!(connecting, answering);
        match connected {
            // Reading the rest has waited for the end of the connection.
            Ok(_) => tokio::time::sleep(std::time::Duration::from_secs(60)).await,
            Err(ConnectError::Refused { response }) => {
                events.lock().unwrap().push(format!(
                    "{} {:?} {:?}",
                    response.status(),
                    response.headers(),
                    response.body()
                ));
            }
            Err(error) => events.lock().unwrap().push(format!("{error:?}")),
        }
        // Each connection has another key.
        events.lock().unwrap().iter_mut().for_each(|event| *event = event.replace(&accept, "ACCEPT"));
        assert!(connector.connections().is_empty());
    });
    let events = std::mem::take(&mut *events.lock().unwrap());
    if events.first().is_some_and(|first| first == "open") {
        assert!(events.iter().filter(|event| event.starts_with("close ")).count() >= 1, "{events:?}");
    }
    events
}

/// The length of the interim heads and of the first other head, or of everything if that does not
/// end.
fn heads_of(answer: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let rest = &answer[length..];
        let ends = [&b"\n\n"[..], b"\n\r\n"]
            .map(|end| rest.windows(end.len()).position(|window| window == end).map(|start| start + end.len()));
        let Some(end) = ends.into_iter().flatten().min() else { return answer.len() };
        length += end;
        let status = rest.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if !status.starts_with(b"1") || status.starts_with(b"101") {
            return length;
        }
    }
}

/// RFC 6455 section 4.1, in the plainest way.
fn check(offers: bool, answer: &[u8]) {
    let text: String = answer.iter().map(|byte| char::from(*byte)).collect();
    let mut rest = &text[..];
    let head = loop {
        let end = ["\n\n", "\n\r\n"].iter().filter_map(|end| Some(rest.find(end)? + end.len())).min().expect("an end");
        let (head, after) = rest.split_at(end);
        rest = after;
        // Interim responses come first.
        if head.split(' ').nth(1).is_some_and(|status| status.starts_with("101")) {
            break head;
        }
        assert!(head.split(' ').nth(1).is_some_and(|status| status.starts_with('1')), "{head:?}");
    };
    let all = |name: &str| -> Vec<&str> {
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    };
    assert!(head.starts_with("HTTP/1.1 101"), "{head:?}");
    assert!(matches!(all("upgrade")[..], [value] if value.eq_ignore_ascii_case("websocket")), "{head:?}");
    let options = all("connection").join(",").to_ascii_lowercase();
    assert!(options.split(',').any(|option| option.trim() == "upgrade"), "{head:?}");
    assert_eq!(all("sec-websocket-accept"), ["\u{1}"], "{head:?}");
    assert!(all("sec-websocket-extensions").is_empty(), "{head:?}");
    match all("sec-websocket-protocol")[..] {
        [] => {}
        ["a" | "b"] => assert!(offers, "{head:?}"),
        _ => panic!("{head:?}"),
    }
}
