//! Frames in, frames and events out: messages, violations of the protocol, pings and pongs (RFC 6455 sections 5, 6 and 8).

mod support;

use std::time::Duration;

use react_websocket::options::ControlRate;
use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::wire::{SIZES, beginning, describe, exchange, exchange_with, header, obey, server};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

// Messages (RFC 6455 sections 5.2, 5.4 and 5.6).

/// The three forms of a payload length (RFC 6455 section 5.2).
#[tokio::test(start_paused = true)]
async fn messages_of_all_lengths_are_echoed_as_they_are() {
    let log = Log::default();
    let http = websockets({
        let log = log.clone();
        move |connection| {
            log.watch(connection);
            connection.on("text", obey);
            connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        }
    });
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20] {
        for (first, byte, name) in [(0x81, b'a', "text"), (0x82, 0xFF, "binary")] {
            let payload = vec![byte; length];
            let expected = match length {
                0..=125 => vec![first, length as u8],
                126..=0xFFFF => [&[first, 126], &(length as u16).to_be_bytes()[..]].concat(),
                _ => [&[first, 127], &(length as u64).to_be_bytes()[..]].concat(),
            };
            let expected = [expected, payload.clone()].concat();
            let sent = frame(first, &payload);
            for size in [usize::MAX, 100_000, 1_000] {
                let (mut peer, serving) = Peer::open_in_memory(&http).await;
                for piece in sent.chunks(size) {
                    peer.send(piece).await;
                    settle().await;
                }
                assert!(peer.exactly(expected.len()).await == expected, "{name} of {length} in pieces of {size}");
                drop(peer);
                serving.await;
                let event = if first == 0x81 { format!("text {}", "a".repeat(length)) } else { format!("binary {length}") };
                let events: Vec<String> = log.take().into_iter().filter(|event| event != "drain").collect();
                assert!(events == [event, "close 1006 ".to_owned()], "{name} of {length} in pieces of {size}");
            }
        }
    }
}

/// A name, what is sent, the frames that come back, and the events.
type Case = (&'static str, Vec<u8>, &'static [&'static str], &'static [&'static str]);

/// Fragmentation, with control frames in between (RFC 6455 section 5.4).
#[tokio::test(start_paused = true)]
async fn messages_are_delivered_in_wire_order_however_the_bytes_are_cut() {
    let cases: Vec<Case> = vec![
        (
            "three messages",
            [text("a"), frame(0x82, [1, 2]), text("c")].concat(),
            &["text a", "binary 2", "text c"],
            &["text a", "binary 2", "text c"],
        ),
        ("an empty text", text(""), &["text "], &["text "]),
        ("an empty binary", frame(0x82, ""), &["binary 0"], &["binary 0"]),
        ("an empty text in two fragments", [frame(0x01, ""), frame(0x80, "")].concat(), &["text "], &["text "]),
        (
            "fragments, some of them empty",
            [frame(0x01, "a"), frame(0x00, ""), frame(0x00, "b"), frame(0x80, "c"), text("d")].concat(),
            &["text abc", "text d"],
            &["text abc", "text d"],
        ),
        ("binary fragments", [frame(0x02, [1]), frame(0x80, [2])].concat(), &["binary 2"], &["binary 2"]),
        (
            "control frames between fragments",
            [frame(0x01, "a"), frame(0x89, "p"), frame(0x00, "b"), frame(0x8A, "q"), frame(0x89, ""), frame(0x80, "c")]
                .concat(),
            &["pong p", "pong ", "text abc"],
            &["ping 1", "pong 1", "ping 0", "text abc"],
        ),
        (
            "a character cut by fragments",
            [frame(0x01, b"\xe2"), frame(0x89, ""), frame(0x00, b"\x82"), frame(0x80, b"\xac")].concat(),
            &["pong ", "text €"],
            &["ping 0", "text €"],
        ),
        ("a byte order mark and a NUL", text("\u{feff}\0"), &["text \u{feff}\0"], &["text \u{feff}\0"]),
        (
            "the first and last characters of each length",
            text("\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"),
            &["text \u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"],
            &["text \u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}"],
        ),
    ];
    for (case, bytes, frames, events) in cases {
        for size in SIZES {
            exchange(&bytes, size).await.assert_open(frames, events, &format!("{case} in pieces of {size}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_messages_may_come_in_one_segment() {
    let many: Vec<String> = (0..1000).map(|n| format!("text {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let bytes: Vec<u8> = (0..1000).flat_map(|n| text(n.to_string())).collect();
    exchange(&bytes, usize::MAX).await.assert_open(&many, &many, "a thousand");
    // Also if the last thing in it is a fault, or a Close.
    let failed = exchange([&bytes[..], &[0xFF]].concat(), usize::MAX).await;
    failed.assert_failed(1002, &many, &many, "a thousand and a fault");
    let closed = exchange([bytes, close(1000, "")].concat(), usize::MAX).await;
    assert_eq!(closed.frames, [&many[..], &["Close 1000"]].concat());
    assert_eq!(closed.events, [&many[..], &["end", "close 1000 "]].concat());
}

#[tokio::test(start_paused = true)]
async fn bytes_after_a_large_message_are_not_lost() {
    let large = frame(0x82, vec![7; 300_000]);
    for size in [usize::MAX, 100_000, 65_536, 1_000] {
        let good = [&large[..], &text("a"), &large, &text("b"), &text("c")].concat();
        let frames = ["binary 300000", "text a", "binary 300000", "text b", "text c"];
        let mut transcript = exchange(&good, size).await;
        transcript.events.retain(|event| event != "drain");
        transcript.assert_open(&frames, &frames, &format!("in pieces of {size}"));
        let bad = [&large[..], &text("a"), &[0xFF], &text("b")].concat();
        let mut transcript = exchange(&bad, size).await;
        transcript.events.retain(|event| event != "drain");
        transcript.assert_failed(1002, &frames[..2], &frames[..2], &format!("in pieces of {size}"));
    }
}

/// UTF-8 (RFC 6455 section 8.1).
#[tokio::test]
async fn large_text_is_text_whichever_pieces_it_comes_in() {
    let words = format!("a{}", "語".repeat(200_000));
    for size in [usize::MAX, 100_000, 65_536, 10_001] {
        let bytes = [text(&words), text("next")].concat();
        let (http, _log) = server(WebSocketOptions::new());
        let (address, listening) = listen_with(http);
        let mut peer = Peer::open(address).await;
        for piece in bytes.chunks(size) {
            peer.send(piece).await;
            settle().await;
        }
        assert!(peer.text().await == words && peer.text().await == "next", "in pieces of {size}");
        drop(peer);
        listening.close().await;
    }
}

#[tokio::test]
async fn all_of_it_holds_over_a_socket() {
    let (http, log) = server(WebSocketOptions::new());
    let (address, listening) = listen_with(http);
    let mut peer = Peer::open(address).await;
    let large = vec![7; 1 << 20];
    let fragments = [frame(0x01, "a"), frame(0x89, "p"), frame(0x80, "b")].concat();
    peer.send([text("one"), text(""), fragments, frame(0x82, &large), frame(0x8A, "q")].concat()).await;
    assert_eq!((peer.text().await, peer.text().await), ("one".into(), "".into()));
    assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 10, payload: b"p".to_vec() }));
    assert_eq!(peer.text().await, "ab");
    assert!(peer.frame().await == Some(Frame { fin: true, opcode: 2, payload: large }));
    peer.send(beginning(0x81, 1_000, b"\xff")).await;
    assert_eq!(peer.closed().await.0, Some(1007));
    assert!(peer.ended().await);
    drop(peer);
    listening.close().await;
    let mut events = log.take();
    events.retain(|event| event != "drain");
    let failed = ["error 1007 text is not UTF-8", "close 1007 text is not UTF-8"];
    assert_eq!(events, [&["text one", "text ", "ping 1", "text ab", "binary 1048576", "pong 1"][..], &failed].concat());
}

// Violations of the protocol (RFC 6455 section 7.1.7).

/// Each ends with the byte that breaks the rule, as far as it shows before the payload.
fn broken_rules() -> Vec<(&'static str, u16, Vec<u8>)> {
    let mut cases = vec![
        ("RSV1", 1002, vec![0xC1]),
        ("RSV2", 1002, vec![0xA1]),
        ("RSV3", 1002, vec![0x91]),
        ("RSV1 in a ping", 1002, vec![0xC9]),
        ("RSV1 in a continuation", 1002, [frame(0x01, "a"), vec![0xC0]].concat()),
        ("a fragmented ping", 1002, vec![0x09]),
        ("a fragmented pong", 1002, vec![0x0A]),
        ("a fragmented Close", 1002, vec![0x08]),
        ("a fragmented ping inside a message", 1002, [frame(0x01, "a"), vec![0x09]].concat()),
        ("an unmasked text", 1002, vec![0x81, 0x01]),
        ("an unmasked empty text", 1002, vec![0x81, 0x00]),
        ("an unmasked ping", 1002, vec![0x89, 0x00]),
        ("an unmasked Close", 1002, vec![0x88, 0x00]),
        ("an unmasked continuation", 1002, [frame(0x01, "a"), vec![0x80, 0x01]].concat()),
        ("a ping of 126", 1002, vec![0x89, 0xFE]),
        ("a pong with a length of 64 bits", 1002, vec![0x8A, 0xFF]),
        ("a Close of 126", 1002, vec![0x88, 0xFE]),
        ("0 in 16 bits", 1002, vec![0x81, 0xFE, 0, 0]),
        ("125 in 16 bits", 1002, vec![0x82, 0xFE, 0, 125]),
        ("0 in 64 bits", 1002, vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("65,535 in 64 bits", 1002, vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
        ("a length with the top bit", 1002, vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("a length of all ones", 1002, vec![0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("a stray continuation", 1002, header(0x80, 5)),
        ("a stray continuation without an end", 1002, header(0x00, 5)),
        ("an empty stray continuation", 1002, header(0x80, 0)),
        ("a text inside a message", 1002, [frame(0x01, "a"), header(0x81, 5)].concat()),
        ("a fragment of another text inside a message", 1002, [frame(0x01, "a"), header(0x01, 5)].concat()),
        ("a binary inside a text", 1002, [frame(0x01, "a"), frame(0x89, ""), header(0x82, 5)].concat()),
        ("a text inside an empty fragment's message", 1002, [frame(0x02, ""), header(0x81, 0)].concat()),
        ("half a close code", 1002, frame(0x88, [3])),
        ("a reason that is not UTF-8", 1007, frame(0x88, b"\x03\xe8\xff")),
        ("a reason that ends in a character", 1007, frame(0x88, b"\x03\xe8\xe2\x82")),
        ("a text that ends in a character", 1007, frame(0x81, b"ok\xe2\x82")),
        ("a fragmented text that ends in a character", 1007, [frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat()),
        ("a character that a fragment breaks", 1007, [frame(0x01, b"\xe2"), beginning(0x00, 9, b"a")].concat()),
        ("a frame of 1 MiB and a byte", 1009, header(0x82, (1 << 20) + 1)),
        ("a text of 1 MiB and a byte", 1009, header(0x81, (1 << 20) + 1)),
        ("a fragment of 1 MiB and a byte", 1009, header(0x02, (1 << 20) + 1)),
        ("a frame of 2^63 - 1", 1009, header(0x82, u64::MAX >> 1)),
        ("a message of 1 MiB and a byte", 1009, [frame(0x02, vec![0; 1 << 20]), header(0x80, 1)].concat()),
        ("4,097 fragments", 1008, [frame(0x02, ""), frame(0x00, "").repeat(4095), header(0x80, 0)].concat()),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(("a reserved opcode", 1002, vec![0x80 | opcode]));
        cases.push(("a fragment with a reserved opcode", 1002, vec![opcode]));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(("a close code that must not be sent", 1002, close(code, "no")));
    }
    for text in [
        &b"\xff"[..],
        b"\x80",
        b"\xc0",
        b"\xc1",
        b"\xc3\x28",
        b"\xe0\x80",
        b"\xe0\x9f",
        b"\xe2\x28",
        b"\xe2\x82\x28",
        b"\xed\xa0",
        b"\xf0\x80",
        b"\xf0\x8f",
        b"\xf4\x90",
        b"\xf5",
        b"\xf8",
        b"a long way \xf0\x9f\x98\x80 and then \xbf",
    ] {
        cases.push(("an impossible byte in a frame under way", 1007, beginning(0x81, 1_000, text)));
        cases.push(("an impossible byte in a large frame under way", 1007, beginning(0x81, 100_000, text)));
        // That much has come that the rest is read straight into the message's buffer.
        let much = ["語".repeat(30_000).as_bytes(), text].concat();
        cases.push(("an impossible byte far behind in a large frame under way", 1007, beginning(0x81, 1 << 20, &much)));
        let in_fragment = [frame(0x01, "ok"), frame(0x89, ""), beginning(0x00, 1_000, text)].concat();
        cases.push(("an impossible byte in a fragment under way", 1007, in_fragment));
    }
    cases
}

/// Failing the connection (RFC 6455 section 7.1.7): framing (section 5.2), masking (5.1), fragments
/// (5.4), control frames (5.5) and UTF-8 (8.1).
#[tokio::test(start_paused = true)]
async fn a_broken_rule_ends_the_connection_with_its_code() {
    for (rule, code, bytes) in broken_rules() {
        let has_ping = bytes.windows(6).any(|frame| *frame == *self::frame(0x89, ""));
        let (frames, events): (&[_], &[_]) = if has_ping {
            (&["text before", "pong "], &["text before", "ping 0"])
        } else {
            (&["text before"], &["text before"])
        };
        let broken = [text("before"), bytes].concat();
        let followed = [&broken[..], &text("after"), &frame(0x89, ""), &close(1000, "")].concat();
        // Those that take long in the smallest pieces are cut into larger ones.
        let small = if broken.len() < 10_000 { 1 } else { 5_001 };
        for (bytes, size) in [(&broken, usize::MAX), (&broken, small), (&followed, usize::MAX), (&followed, small)] {
            let case = format!("{rule} {:x?} in pieces of {size}", &bytes[..bytes.len().min(40)]);
            exchange(bytes, size).await.assert_failed(code, frames, events, &case);
        }
    }
}

/// Fragmentation (RFC 6455 section 5.4).
#[tokio::test(start_paused = true)]
async fn a_continuation_after_its_message_is_stray() {
    for size in SIZES {
        let transcript = exchange([frame(0x01, "a"), frame(0x80, "b"), header(0x80, 0)].concat(), size).await;
        transcript.assert_failed(1002, &["text ab"], &["text ab"], &format!("in pieces of {size}"));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_wrong_as_long_as_it_may_still_become_right() {
    for (first, length, payload) in [
        (0x81, 1_000, &b"\xf4\x8f\xbf"[..]),
        (0x81, 1_000, b"\xed\x9f"),
        (0x81, 1_000, b"\xe0\xa0"),
        (0x01, 3, b"ok\xe2"),
        (0x82, 1 << 20, b"\xff"),
    ] {
        for size in SIZES {
            let case = format!("{payload:x?} in pieces of {size}");
            exchange(beginning(first, length, payload), size).await.assert_open(&[], &[], &case);
        }
    }
}

/// Limits of an implementation (RFC 6455 section 10.4).
#[tokio::test(start_paused = true)]
async fn limits_hold_at_the_bound_and_fail_one_above_it() {
    let default = WebSocketOptions::new;
    let sizes = || default().max_message_size(10).max_frame_size(5);
    let fragments = |count: usize, payload: &[u8]| {
        [frame(0x02, payload), frame(0x00, payload).repeat(count - 2), frame(0x80, payload)].concat()
    };
    for (options, good, echoed) in [
        (default(), fragments(4096, &[0; 256]), "binary 1048576"),
        (default(), fragments(4096, b""), "binary 0"),
        (default(), frame(0x82, vec![0; 1 << 20]), "binary 1048576"),
        (sizes(), text("12345"), "text 12345"),
        (sizes(), [frame(0x01, "12345"), frame(0x80, "67890")].concat(), "text 1234567890"),
        (sizes(), [frame(0x01, "12345"), frame(0x00, "67890"), frame(0x80, "")].concat(), "text 1234567890"),
        (default().max_message_size(3), text("123"), "text 123"),
        (default().max_message_size(3), text("€"), "text €"),
        (default().max_message_size(0), text(""), "text "),
        (default().max_fragments(1), text("a"), "text a"),
        (default().max_fragments(3), fragments(3, b"a"), "binary 3"),
        (default().max_fragments(3), fragments(3, b""), "binary 0"),
        // A message's count ends with it, and control frames do not count.
        (default().max_fragments(2), [fragments(2, b""), frame(0x02, "a"), frame(0x80, "")].concat(), "binary 1"),
        (default().max_fragments(2), [frame(0x02, "a"), frame(0x8A, "").repeat(5), frame(0x80, "")].concat(), "binary 1"),
        (default().max_message_size(1), frame(0x8A, [0; 125]), ""),
    ] {
        for size in [usize::MAX, if good.len() < 1_000 { 1 } else { 1_001 }] {
            let mut transcript = exchange_with(options.clone(), &good, size).await;
            transcript.events.retain(|event| event != "drain" && !event.starts_with("pong"));
            let frames: Vec<&str> = transcript.frames.last().map(String::as_str).into_iter().collect();
            assert_eq!(frames.first().copied().unwrap_or(""), echoed);
            assert_eq!(transcript.events.last().unwrap(), "close 1006 ", "{options:?}");
        }
    }
    for (options, code, bad) in [
        (sizes(), 1009, header(0x81, 6)),
        (sizes(), 1009, header(0x01, 6)),
        (sizes(), 1009, [frame(0x01, "12345"), frame(0x00, "67890"), header(0x80, 1)].concat()),
        (sizes(), 1009, [frame(0x01, "1234"), frame(0x00, "5678"), header(0x00, 3)].concat()),
        (default().max_message_size(3), 1009, header(0x81, 4)),
        (default().max_message_size(0), 1009, header(0x81, 1)),
        (default().max_fragments(1), 1008, [frame(0x01, "a"), header(0x80, 1)].concat()),
        (default().max_fragments(3), 1008, [frame(0x02, ""), frame(0x00, "").repeat(2), header(0x00, 0)].concat()),
        (default().max_fragments(3), 1008, [frame(0x02, ""), frame(0x00, "").repeat(2), header(0x80, 9)].concat()),
    ] {
        for size in [usize::MAX, 1] {
            let transcript = exchange_with(options.clone(), &bad, size).await;
            transcript.assert_failed(code, &[], &[], &format!("{bad:x?} with {options:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_no_fragments_rejects_every_message_even_an_empty_one() {
    for message in [text(""), frame(0x82, ""), text("a")] {
        for size in [usize::MAX, 1] {
            // Behind a frame that is accepted, as the first takes another way.
            let bytes = [frame(0x8A, ""), message.clone()].concat();
            let transcript = exchange_with(WebSocketOptions::new().max_fragments(0), &bytes, size).await;
            transcript.assert_failed(1008, &[], &["pong 0"], &format!("{message:x?}"));
        }
    }
}

/// Failing the connection (RFC 6455 section 7.1.7).
#[tokio::test(start_paused = true)]
async fn after_a_fault_the_peer_is_not_waited_for_longer_than_the_close_timeout() {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    let start = Instant::now();
    peer.send([0xFF]).await;
    assert_eq!(peer.closed().await.0, Some(1002));
    assert!(peer.ended().await);
    // It goes on for ever.
    while peer.stream.write_all(&text("more")).await.is_ok() {
        sleep(Duration::from_millis(100)).await;
    }
    serving.await;
    let took = start.elapsed().as_millis();
    assert!((10_000..10_300).contains(&took), "{took}");
    let events = log.take();
    assert!(events[0].starts_with("error 1002 ") && events[1].starts_with("close 1002 "), "{events:?}");
    assert_eq!(events.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_take_our_close_is_cut_after_the_write_timeout() {
    // Whether it takes what comes before our Close is for the write timeout: an error, unless there is one already.
    for (last, frames) in
        [(vec![0xFF], &["error 1002", "close 1002"][..]), (close(4001, "bye"), &["end", "error 1006", "close 1006"])]
    {
        let (http, log) = server(WebSocketOptions::new());
        let (mut peer, serving) = Peer::serve_with_capacity(&http, 200);
        peer.shake_hands().await;
        peer.send([text("x".repeat(1_000)), last].concat()).await;
        settle().await;
        let start = Instant::now();
        let events = log.take();
        assert!(events.len() == 2 && events[1].starts_with(frames[0]), "{events:?}");
        serving.await;
        let took = start.elapsed().as_millis();
        assert!((29_900..30_100).contains(&took), "{took}");
        let events = log.take();
        assert!(events.iter().map(|event| event.split_at(10).0).eq(frames[1..].iter().copied()), "{events:?}");
    }
}

#[tokio::test]
async fn a_peer_that_continues_to_send_still_receives_the_close_with_its_reason() {
    let (http, log) = server(WebSocketOptions::new());
    let (address, listening) = listen_with(http);
    let mut peer = Peer::open(address).await;
    // Closing a socket that has not been read to its end would be a reset, which takes the Close away.
    peer.send([text("before"), vec![0xFF]].concat()).await;
    peer.send(vec![0; 4 << 20]).await;
    assert_eq!(peer.text().await, "before");
    assert_eq!(peer.closed().await.0, Some(1002));
    assert!(peer.ended().await);
    drop(peer);
    listening.close().await;
    assert_eq!(log.take().len(), 3);
}

// Pings and pongs (RFC 6455 sections 5.5.2 and 5.5.3).

/// Ping and Pong (RFC 6455 sections 5.5.2 and 5.5.3).
#[tokio::test(start_paused = true)]
async fn pings_are_answered_with_their_payload_and_pongs_are_emitted() {
    let longest = "p".repeat(125);
    for size in SIZES {
        let bytes = [frame(0x89, ""), frame(0x89, &longest), frame(0x8A, "unasked"), frame(0x8A, "")].concat();
        let pong = format!("pong {longest}");
        let events = ["ping 0", "ping 125", "pong 7", "pong 0"];
        exchange(bytes, size).await.assert_open(&["pong ", &pong], &events, &format!("in pieces of {size}"));
    }
}

#[tokio::test(start_paused = true)]
async fn without_auto_pong_the_app_answers() {
    let bytes = [frame(0x89, "p"), text("a"), frame(0x89, "q")].concat();
    for size in SIZES {
        let transcript = exchange_with(WebSocketOptions::new().auto_pong(false), &bytes, size).await;
        transcript.assert_open(&["text a"], &["ping 1", "text a", "ping 1"], &format!("in pieces of {size}"));
    }
    let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().auto_pong(false));
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("ping", move |payload: &[u8]| connection.pong([b"re: ", payload].concat()));
    });
    let (mut peer, _serving) = Peer::open_in_memory(&HttpServer::new((websocket, router))).await;
    peer.send(frame(0x89, "p")).await;
    assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 10, payload: b"re: p".to_vec() }));
}

#[tokio::test(start_paused = true)]
async fn the_pong_leaves_before_what_a_ping_listener_writes() {
    let http = websockets(|connection| {
        connection.on("ping", move || connection.write("pinged"));
    });
    let (mut peer, _serving) = Peer::open_in_memory(&http).await;
    peer.send(frame(0x89, "p")).await;
    assert_eq!(peer.frame().await.unwrap().opcode, 10);
    assert_eq!(peer.text().await, "pinged");
}

/// Ping (RFC 6455 section 5.5.2).
#[tokio::test(start_paused = true)]
async fn each_of_many_pings_is_answered_in_order() {
    let bytes: Vec<u8> = (0..10_000).flat_map(|n| frame(0x89, n.to_string())).collect();
    let pongs: Vec<String> = (0..10_000).map(|n| format!("pong {n}")).collect();
    for size in [usize::MAX, 10_001] {
        let transcript = exchange_with(WebSocketOptions::new().control_rate(None), &bytes, size).await;
        assert!(transcript.frames == pongs, "{} pongs in pieces of {size}", transcript.frames.len());
        assert_eq!(transcript.events.len(), 10_001);
    }
}

/// An endpoint may answer only the most recent Ping (RFC 6455 section 5.5.3).
#[tokio::test(start_paused = true)]
async fn while_the_peer_does_not_read_only_the_latest_pong_waits() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        noted.watch(connection);
        connection.on("text", obey);
    });
    let (mut peer, _serving) = Peer::serve_with_capacity(&http, 200);
    peer.shake_hands().await;
    // The echo fills what is in flight, and more of it waits.
    let stopper = "x".repeat(1_000);
    peer.send(text(&stopper)).await;
    settle().await;
    for n in 0..100 {
        peer.send(frame(0x89, n.to_string())).await;
        settle().await;
    }
    assert_eq!(log.take().len(), 101, "all are told");
    assert_eq!(peer.text().await, stopper);
    assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 10, payload: b"99".to_vec() }));
    // Then they are answered one by one again.
    peer.send([frame(0x89, "a"), frame(0x89, "b"), text("c")].concat()).await;
    assert_eq!((peer.frame().await.unwrap().payload, peer.frame().await.unwrap().payload), (b"a".into(), b"b".into()));
    assert_eq!(peer.text().await, "c");
}

#[tokio::test(start_paused = true)]
async fn pings_have_a_burst_and_a_rate_and_pongs_have_none() {
    // (options, pings one by one, milliseconds, pings then, how many are answered in all, whether it fails)
    let rate = |burst, per_second| WebSocketOptions::new().control_rate(ControlRate { burst, per_second });
    for (options, first, wait, then, answered, fails) in [
        (WebSocketOptions::new(), 200, 0, 0, 200, false),
        (WebSocketOptions::new(), 201, 0, 0, 200, true),
        (WebSocketOptions::new(), 200, 1_000, 100, 300, false),
        (WebSocketOptions::new(), 200, 1_000, 102, 301, true),
        (WebSocketOptions::new(), 200, 60_000, 200, 400, false),
        (WebSocketOptions::new(), 200, 60_000, 201, 400, true),
        (rate(2, 1), 2, 1_000, 1, 3, false),
        (rate(2, 1), 3, 0, 0, 2, true),
        (WebSocketOptions::new().control_rate(None), 1_000, 0, 1_000, 2_000, false),
    ] {
        for (first_byte, name) in [(0x89, "ping"), (0x8A, "pong")] {
            let (http, log) = server(options.clone().ping_interval(None));
            let (mut peer, serving) = Peer::open_in_memory(&http).await;
            let (answered, fails) = if name == "ping" { (answered, fails) } else { (first + then, false) };
            for (count, wait) in [(first, wait), (then, 0)] {
                for _ in 0..count {
                    peer.send(frame(first_byte, "")).await;
                    // Without time, in which more would be allowed.
                    for _ in 0..5 {
                        tokio::task::yield_now().await;
                    }
                }
                sleep(Duration::from_millis(wait)).await;
            }
            let _ = peer.stream.write_all(&text("after")).await;
            settle().await;
            peer.stream.shutdown().await.unwrap();
            let frames = describe(&peer.rest().await);
            drop(peer);
            serving.await;
            let case = format!("{first} {name}s, {then} after {wait} ms, {options:?}");
            let events = log.take();
            let told = events.iter().filter(|event| event.starts_with(name)).count();
            // The clock counts whole milliseconds, so that one frame more may be in time.
            assert!(told.abs_diff(answered) <= usize::from(wait == 1_000 && fails), "{told} of {answered}: {case}");
            let pongs = frames.iter().filter(|frame| *frame == "pong ").count();
            assert_eq!(pongs, if name == "ping" { told } else { 0 }, "{case}");
            assert_eq!(frames.iter().any(|frame| frame == "text after"), !fails, "{case}");
            assert_eq!(frames.last().is_some_and(|frame| frame.starts_with("Close 1008 ")), fails, "{case}");
            let [.., error, close] = &events[..] else { panic!("{events:?}") };
            assert_eq!((error.starts_with("error 1008 "), close.starts_with("close 1008 ")), (fails, fails), "{case}");
        }
    }
}

/// The payload of a control frame has at most 125 bytes (RFC 6455 section 5.5).
#[tokio::test(start_paused = true)]
async fn a_ping_of_more_than_125_bytes_is_not_sent() {
    let http = websockets(|connection| {
        assert!(connection.ping([b'p'; 125]) && !connection.ping([b'p'; 126]));
        assert!(connection.pong([b'q'; 125]) && !connection.pong([b'q'; 126]));
    });
    let (mut peer, _serving) = Peer::open_in_memory(&http).await;
    assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 9, payload: vec![b'p'; 125] }));
    assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 10, payload: vec![b'q'; 125] }));
    settle().await;
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, b"");
}
