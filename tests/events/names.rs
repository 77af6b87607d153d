//! Names and signatures, which are checked when a listener is registered.

use super::*;

/// The message of a panic, and the line that it is said to have come from, if that is in this file.
fn panic_of(call: impl FnOnce()) -> (String, Option<u32>) {
    thread_local! {
        static PLACE: std::cell::Cell<Option<(String, Option<u32>)>> = const { std::cell::Cell::new(None) };
    }
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
            let message = text.unwrap_or_default().to_owned();
            let line = info.location().filter(|place| place.file() == file!()).map(|place| place.line());
            PLACE.set(Some((message, line)));
            before(info);
        }));
    });
    catch_unwind(AssertUnwindSafe(call)).expect_err("a mistake");
    PLACE.take().expect("a panic")
}

/// Checks that a call panics with this message, and that the panic is located at the call.
macro_rules! assert_mistake {
    ($call:expr, $message:expr) => {
        let (message, line) = panic_of(|| {
            let _ = $call;
        });
        assert_eq!(message, $message);
        assert_eq!(line, Some(line!()), "the line of `{}`", stringify!($call));
    };
}

#[tokio::test(start_paused = true)]
#[rustfmt::skip]
async fn an_unknown_name_panics_at_the_callers_line_and_lists_the_valid_ones() {
    let case = open(|_, _| {}).await;
    let c = case.connection;
    let of = "on a WebSocketConnection; its events are text, binary, message, ping, pong, drain, end, error, close";
    assert_mistake!(c.on("txet", |_: &str| {}), format!("there is no event \"txet\" {of}; did you mean \"text\"?"));
    assert_mistake!(c.once("Text", || {}), format!("there is no event \"Text\" {of}; did you mean \"text\"?"));
    assert_mistake!(c.listener_count(""), format!("there is no event \"\" {of}"));
    assert_mistake!(c.remove_all_listeners(Some("data")), format!("there is no event \"data\" {of}; did you mean \"message\"?"));
    assert_eq!(c.try_on("txet", || {}).unwrap_err().to_string(), format!("there is no event \"txet\" {of}; did you mean \"text\"?"));
    assert_eq!(c.try_once("connect", || {}).unwrap_err().to_string(), format!("there is no event \"connect\" {of}; a connection is open when its `WebSocketMiddleware` emits \"connection\""));

    let websocket = WebSocketMiddleware::new();
    let of = "on a WebSocketMiddleware; its events are connection, error";
    assert_mistake!(websocket.on("open", |_| {}), format!("there is no event \"open\" {of}; did you mean \"connection\"?"));
    assert_mistake!(websocket.once("open", |_| {}), format!("there is no event \"open\" {of}; did you mean \"connection\"?"));
    assert_mistake!(websocket.listener_count("text"), format!("there is no event \"text\" {of}; listen to it on the connection, in a listener of \"connection\""));
    assert_mistake!(websocket.remove_all_listeners(Some("")), format!("there is no event \"\" {of}"));
    assert_eq!(websocket.try_on("open", |_| {}).unwrap_err().to_string(), format!("there is no event \"open\" {of}; did you mean \"connection\"?"));

    let http = HttpServer::new(router);
    let message = "there is no event \"request\" on an HttpServer; its events are error; requests go to the router";
    assert_mistake!(http.on("request", |_| {}), message);
    assert_eq!(http.try_on("request", |_| {}).unwrap_err().to_string(), message);

    let body = BodyStream::new();
    let message = "there is no event \"end\" on a BodyStream; its events are drain, shutdown, close; \
        listen to \"close\": it fires once, whether all was sent or not";
    assert_mistake!(body.on("end", || {}), message);
    assert_eq!(body.try_on("end", || {}).unwrap_err().to_string(), message);

    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let message = "there is no event \"connection\" on a SocketServer; its events are error; \
        connections go to the `HttpServer` that listens on the socket";
    assert_mistake!(socket.on("connection", |_| {}), message);
    assert_eq!(socket.try_on("connection", |_| {}).unwrap_err().to_string(), message);

    let groups = GroupManager::new();
    let of = "on a GroupManager; its events are create, destroy";
    assert_mistake!(groups.on("join", |_| {}), format!("there is no event \"join\" {of}; listen to it on the group, in a listener of \"create\""));
    assert_mistake!(groups.once("join", |_| {}), format!("there is no event \"join\" {of}; listen to it on the group, in a listener of \"create\""));
    assert_mistake!(groups.listener_count("join"), format!("there is no event \"join\" {of}; listen to it on the group, in a listener of \"create\""));
    assert_mistake!(groups.remove_all_listeners(Some("join")), format!("there is no event \"join\" {of}; listen to it on the group, in a listener of \"create\""));
    assert_eq!(groups.try_on("join", |_| {}).unwrap_err().to_string(), format!("there is no event \"join\" {of}; listen to it on the group, in a listener of \"create\""));

    let group = groups.join("g", c).unwrap();
    let of = "on a ConnectionGroup; its events are join, leave, drop";
    assert_mistake!(group.on("create", |_| {}), format!("there is no event \"create\" {of}; listen to it on the `GroupManager`"));
    assert_mistake!(group.once("create", |_| {}), format!("there is no event \"create\" {of}; listen to it on the `GroupManager`"));
    assert_mistake!(group.listener_count("create"), format!("there is no event \"create\" {of}; listen to it on the `GroupManager`"));
    assert_mistake!(group.remove_all_listeners(Some("create")), format!("there is no event \"create\" {of}; listen to it on the `GroupManager`"));
    assert_eq!(group.try_on("create", |_| {}).unwrap_err().to_string(), format!("there is no event \"create\" {of}; listen to it on the `GroupManager`"));
}

#[tokio::test(start_paused = true)]
#[rustfmt::skip]
async fn a_closure_that_does_not_fit_the_event_panics_at_the_callers_line_and_names_both() {
    let case = open(|_, _| {}).await;
    let c = case.connection;
    assert_mistake!(c.on("text", |_: &[u8]| {}), "listeners of \"text\" take (&str), this one takes (&[u8]); did you mean \"binary\"?");
    assert_mistake!(c.once("drain", |_: &str| {}), "listeners of \"drain\" take (), this one takes (&str)");
    assert_mistake!(c.on("close", |_: &str| {}), "listeners of \"close\" take (u16, &str), this one takes (&str)");
    assert_eq!(c.listener_count("text") + c.listener_count("drain") + c.listener_count("close"), 0);
    // A connection that has ended checks them too.
    c.terminate();
    case.serving.await;
    assert_mistake!(c.on("ping", |_: &str| {}), "listeners of \"ping\" take (&[u8]), this one takes (&str); did you mean \"text\"?");
    assert_mistake!(c.on("pnig", || {}), "there is no event \"pnig\" on a WebSocketConnection; its events are \
        text, binary, message, ping, pong, drain, end, error, close; did you mean \"ping\"?");
}

#[tokio::test(start_paused = true)]
async fn every_shape_fits_its_own_events_and_no_other() {
    type Register = fn(&WebSocketConnection, &str) -> Result<ListenerId, ListenerError>;
    const FAILURE: &str = "(Option<&str>, Option<u16>) or (&ConnectionError)";
    let events = [
        ("text", "(&str)"),
        ("binary", "(&[u8])"),
        ("message", "(Message)"),
        ("ping", "(&[u8])"),
        ("pong", "(&[u8])"),
        ("drain", "()"),
        ("end", "()"),
        ("error", FAILURE),
        ("close", "(u16, &str)"),
    ];
    let shapes: [(&str, Register); 22] = [
        ("(&str)", |c, event| c.try_on(event, |_: &str| {})),
        ("(&str)", |c, event| c.try_once(event, |_: Text| {})),
        ("(&str)", |c, event| c.try_on(event, |_: &WebSocketConnection, _: &str| {})),
        ("(&str)", |c, event| c.try_on(event, async |_: &str| {})),
        ("(&str)", |c, event| c.try_once(event, async |_: &WebSocketConnection, _: &str| {})),
        ("(&str)", |c, event| c.try_on(event, |_: Text| async {})),
        ("(&[u8])", |c, event| c.try_on(event, |_: &[u8]| {})),
        ("(&[u8])", |c, event| c.try_on(event, |_: Bytes| {})),
        ("(&[u8])", |c, event| c.try_on(event, async |_: &[u8]| {})),
        ("(&[u8])", |c, event| c.try_once(event, |_: WebSocketConnection, _: Bytes| async {})),
        ("(Message)", |c, event| c.try_on(event, |_: Message| {})),
        ("(Message)", |c, event| c.try_on(event, |_: Message| async {})),
        (FAILURE, |c, event| c.try_on(event, |_: Option<&str>| {})),
        (FAILURE, |c, event| c.try_on(event, |_: Option<&str>, _: Option<u16>| {})),
        (FAILURE, |c, event| c.try_on(event, |_: &ConnectionError| {})),
        (FAILURE, |c, event| c.try_on(event, |_: ConnectionError| async {})),
        ("(u16, &str)", |c, event| c.try_on(event, |_: u16| {})),
        ("(u16, &str)", |c, event| c.try_on(event, |_: u16, _: &str| {})),
        ("(u16, &str)", |c, event| c.try_on(event, |_: u16, _: Text| async {})),
        ("any", |c, event| c.try_on(event, || {})),
        ("any", |c, event| c.try_once(event, async || {})),
        ("any", |c, event| c.try_on(event, |_: &WebSocketConnection| {})),
    ];
    let connection = open(|_, _| {}).await.connection;
    for (event, expected) in events {
        let mut fitting = 0;
        for (found, register) in shapes {
            let registered = register(&connection, event);
            if found == expected || found == "any" {
                assert!(registered.is_ok(), "{found} for {event}");
                fitting += 1;
            } else {
                let Err(ListenerError::WrongSignature { event: e, expected: x, found: f, .. }) = registered else {
                    panic!("{found} for {event}: {registered:?}");
                };
                assert_eq!((e, x, f), (event, expected, found));
            }
        }
        assert_eq!(connection.listener_count(event), fitting, "{event}");
    }
}

/// A closure that fits another event was probably meant for that one. `message` is not `text`,
/// since a `&str` cannot hold every message. (Ratchet's `onMessage` gives both as a string.)
#[tokio::test(start_paused = true)]
async fn the_error_for_a_closure_that_fits_another_event_names_that_event() {
    let c = open(|_, _| {}).await.connection;
    let hint = |result: Result<ListenerId, ListenerError>| match result {
        Err(ListenerError::WrongSignature { hint, .. }) => hint,
        other => panic!("{other:?}"),
    };
    let meant = |event: &str| Some(format!("did you mean {event:?}?"));
    assert_eq!(hint(c.try_on("message", |_: &str| {})), meant("text"));
    assert_eq!(hint(c.try_on("message", async |_: &str| {})), meant("text"));
    assert_eq!(hint(c.try_on("message", |_: &[u8]| {})), meant("binary"));
    assert_eq!(hint(c.try_on("text", |_: Message| {})), meant("message"));
    assert_eq!(hint(c.try_once("ping", |_: &str| {})), meant("text"));
    assert_eq!(hint(c.try_on("error", |_: u16, _: &str| {})), meant("close"));
    assert_eq!(hint(c.try_on("close", |_: &ConnectionError| {})), meant("error"));
    assert_eq!(hint(c.try_on("close", |_: &str| {})), None);
    assert_eq!(hint(c.try_on("drain", |_: u16| {})), None);
}

#[tokio::test(start_paused = true)]
async fn aliases_name_the_same_event() {
    let (log, websocket, groups) = (log(), WebSocketMiddleware::new(), GroupManager::new());
    websocket.on("connect", move |_| log.add("connect"));
    websocket.once("connection", move |_| log.add("connection"));
    groups.on("created", move |_| log.add("created"));
    groups.on("create", move |_| log.add("create"));
    groups.on("destroyed", move |_| log.add("destroyed"));
    groups.on("destroy", move |_| log.add("destroy"));
    assert_eq!((websocket.listener_count("connect"), websocket.listener_count("connection")), (2, 2));
    assert_eq!((groups.listener_count("created"), groups.listener_count("destroyed")), (2, 2));
    let (mut peer, serving) = Peer::open_in_memory(&HttpServer::new((websocket.clone(), router))).await;
    groups.join("g", websocket.connections()[0]).unwrap();
    peer.send(close(1000, "")).await;
    serving.await;
    assert_eq!(log.take(), ["connect", "connection", "created", "create", "destroyed", "destroy"]);
    websocket.remove_all_listeners(Some("connect"));
    assert_eq!(websocket.listener_count("connection"), 0);
}
