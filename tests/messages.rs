//! Messages as values: what they are made of, and that they can be sent on; names of headers that are made at run time.

mod support;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use react_websocket::{
    Bytes, GroupManager, HttpServer, Message, Response, ServerRequest, Text, WebSocketMiddleware, WebSocketOptions,
};
use support::{Frame, Pair, Peer, frame, text};

fn received(opcode: u8, payload: impl AsRef<[u8]>) -> Option<Frame> {
    Some(Frame { fin: true, opcode, payload: payload.as_ref().to_vec() })
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_as_what_it_is() {
    let Pair { connection, mut peer, .. } = Pair::in_memory(WebSocketOptions::new()).await;
    connection.on("message", move |message: Message| connection.write_message(&message));
    peer.send([text("grüß"), frame(0x82, [0xFF, 0])].concat()).await;
    assert_eq!(peer.frame().await, received(1, "grüß"));
    assert_eq!(peer.frame().await, received(2, [0xFF, 0]));
    for message in ["a".into(), String::from("a").into(), Text::from("a").into()] {
        assert!(connection.write_message(&message));
        assert_eq!(peer.frame().await, received(1, "a"));
    }
    for message in [Message::from(Bytes::from_static(b"a")), vec![b'a'].into()] {
        assert!(connection.write_message(&message));
        assert_eq!(peer.frame().await, received(2, "a"));
    }
    connection.close();
    assert!(!connection.write_message(&"late".into()));
}

#[tokio::test(start_paused = true)]
async fn a_group_sends_messages_as_what_they_are() {
    let groups = GroupManager::new();
    let mut a = Pair::in_memory(WebSocketOptions::new()).await;
    let mut b = Pair::in_memory(WebSocketOptions::new()).await;
    groups.join("g", a.connection).unwrap();
    let group = groups.join("g", b.connection).unwrap();
    group.write_message(&"all".into());
    group.write_message_except(a.connection, &Message::from(vec![1, 2]));
    assert_eq!(a.peer.frame().await, received(1, "all"));
    assert_eq!(b.peer.frame().await, received(1, "all"));
    assert_eq!(b.peer.frame().await, received(2, [1, 2]));
    group.write_message(&"more".into());
    assert_eq!(a.peer.frame().await, received(1, "more"), "the exception got nothing");
}

#[test]
fn a_message_gives_its_text_and_its_bytes() {
    let (text, binary) = (Message::from("é"), Message::from("é".as_bytes().to_vec()));
    assert_eq!((text.as_text(), binary.as_text()), (Some("é"), None));
    assert_eq!((text.as_bytes(), binary.as_bytes()), ("é".as_bytes(), "é".as_bytes()));
    assert_ne!(text, binary);
}

/// What `String` does, as far as it has to do with other strings.
#[test]
fn a_text_is_compared_made_and_found_as_a_string_is() {
    let text = Text::from("a");
    let (string, cow) = (String::from("a"), Cow::Borrowed("a"));
    assert!(text == *"a" && text == "a" && text == string && text == cow);
    assert!(*"a" == text && "a" == text && string == text && cow == text);
    let (b, owned) = ("b", String::from("b"));
    assert_eq!([text == *b, text == b, text == owned, *b == text, b == text, owned == text], [false; 6]);
    let made = [
        Text::from(&string),
        Text::from(string.clone()),
        Text::from(cow),
        "a".parse().unwrap(),
        Box::<str>::from("a").into(),
    ];
    assert!(made.iter().all(|made| *made == text));
    assert_eq!((String::from(text.clone()), Bytes::from(text.clone())), ("a".to_owned(), Bytes::from_static(b"a")));
    assert!(HashSet::from([text.clone()]).contains("a"));
    assert_eq!(BTreeMap::from([(text, 1)]).get("a"), Some(&1));
}

/// RFC 6455 §5.6: text is UTF-8, whatever it is made of.
#[test]
fn a_text_is_made_of_bytes_that_are_utf_8() {
    let bytes = Bytes::from("grüß".to_owned());
    let text = Text::try_from(bytes.clone()).unwrap();
    assert_eq!(text, "grüß");
    assert_eq!(text.as_str().as_ptr(), bytes.as_ptr(), "not copied");
    assert!(Text::try_from(Bytes::from_static(b"gr\xFC\xDF")).is_err());
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn a_value_is_sent_as_json() {
    let groups = GroupManager::new();
    let mut a = Pair::in_memory(WebSocketOptions::new()).await;
    let mut b = Pair::in_memory(WebSocketOptions::new()).await;
    groups.join("g", a.connection).unwrap();
    let group = groups.join("g", b.connection).unwrap();
    let value = BTreeMap::from([("name", Some("Jürgen")), ("none", None)]);
    assert!(a.connection.write_json(&value).unwrap());
    group.write_json(&[1, 2]).unwrap();
    group.write_json_except(a.connection, "b").unwrap();
    for expected in [r#"{"name":"Jürgen","none":null}"#, "[1,2]"] {
        assert_eq!(a.peer.text().await, expected);
    }
    for expected in ["[1,2]", "\"b\""] {
        assert_eq!(b.peer.text().await, expected);
    }
    // What cannot be JSON is the app's mistake, of which it is told; nothing is sent.
    let not_json = std::collections::HashMap::from([([1, 2], 3)]);
    assert!(a.connection.write_json(&not_json).is_err() && group.write_json(&not_json).is_err());
    assert!(group.write_json_except(a.connection, &not_json).is_err());
    a.connection.write("next");
    assert_eq!(a.peer.text().await, "next");
    // `false`, as `write` answers, and no error.
    a.connection.close();
    assert!(!a.connection.write_json("late").unwrap());
}

#[cfg(feature = "json")]
#[test]
fn a_text_is_json_as_a_string_is() {
    let text = Text::from("\"grüß\"");
    let json = serde_json::to_string(&text).unwrap();
    assert_eq!(json, r#""\"grüß\"""#);
    assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
    assert!(serde_json::from_str::<Text>("1").is_err());
}

/// ReactPHP's `withHeader`, whose names are any strings.
#[tokio::test(start_paused = true)]
async fn a_header_may_have_a_name_that_is_made_at_run_time() {
    let http = HttpServer::new((WebSocketMiddleware::new(), |request: ServerRequest| {
        let params = request.query_params();
        let (name, owned) = (params.get("name").unwrap(), String::from("X-Owned"));
        let response = Response::new(204).with_header(name, "1").with_header(&owned, "2");
        response.with_added_header(owned, "3").with_header(react_websocket::types::HeaderName::from_static("x-typed"), "4")
    }));
    let (mut peer, _serving) = Peer::serve(&http);
    let answer = peer.ask("GET /?name=X-Asked HTTP/1.1\r\nHost: example.com\r\n\r\n").await;
    assert_eq!(answer.header_names()[..4], ["X-Asked", "X-Owned", "X-Owned", "x-typed"]);
}
