//! Which closures fit where: every form that an app may write compiles, without a hint for the compiler, and is called.

mod support;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use react_websocket::errors::report;
use react_websocket::handlers::{IntoChain, Middleware, Next, ResponseFuture, middleware, router};
use react_websocket::listeners::{IntoListener, IntoMiddlewareListener, IntoVerifier};
use react_websocket::{
    HttpServer, Message, Response, ServerRequest, Text, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::{HANDSHAKE, Pair, Peer, text};

/// What real programs capture: shared, and asked asynchronously.
struct App {
    name: &'static str,
}

impl App {
    async fn ask(&self, request: &ServerRequest) -> String {
        tokio::task::yield_now().await;
        format!("{} {}", self.name, request.path())
    }
}

fn app() -> Arc<App> {
    Arc::new(App { name: "app" })
}

/// What a chain answers to two requests, one after the other: a closure has to serve more than one.
async fn twice<M>(handlers: impl IntoChain<M>) -> [String; 2] {
    let http = HttpServer::new(handlers);
    let mut told = [String::new(), String::new()];
    for (told, path) in told.iter_mut().zip(["/a", "/b"]) {
        let (mut peer, _) = Peer::serve(&http);
        let answer = peer.ask(format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")).await;
        *told = format!("{} {}", answer.status(), answer.text());
    }
    told
}

macro_rules! assert_answers {
    ($($handlers:expr => $a:literal, $b:literal;)+) => {$(
        assert_eq!(twice($handlers).await, [$a, $b], "{}", stringify!($handlers));
    )+};
}

fn plain(request: ServerRequest) -> Response {
    Response::plaintext(request.path().to_owned())
}

async fn asynchronous(request: ServerRequest) -> Response {
    tokio::task::yield_now().await;
    plain(request)
}

fn fallible(request: ServerRequest) -> io::Result<Response> {
    Ok(plain(request))
}

async fn later_fallible(request: ServerRequest) -> Result<Response, Response> {
    Ok(plain(request))
}

#[tokio::test]
async fn routers_are_closures_and_functions_of_every_form() {
    let (app, name, calls) = (app(), "name".to_owned(), AtomicU32::new(0));
    let pointer: fn(ServerRequest) -> Response = plain;
    assert_answers! {
        plain => "200 /a", "200 /b";
        asynchronous => "200 /a", "200 /b";
        fallible => "200 /a", "200 /b";
        later_fallible => "200 /a", "200 /b";
        pointer => "200 /a", "200 /b";
        |request: ServerRequest| plain(request) => "200 /a", "200 /b";
        |request: ServerRequest| async move { plain(request) } => "200 /a", "200 /b";
        |request: ServerRequest| Box::pin(async move { plain(request) }) => "200 /a", "200 /b";
        async |request: ServerRequest| plain(request) => "200 /a", "200 /b";
        {
            let app = app.clone();
            async move |request: ServerRequest| Response::plaintext(app.ask(&request).await)
        } => "200 app /a", "200 app /b";
        {
            let name = name.clone();
            async move |request: ServerRequest| Response::plaintext(format!("{name} {}", request.path()))
        } => "200 name /a", "200 name /b";
        {
            let app = app.clone();
            move |request: ServerRequest| {
                let app = app.clone();
                async move { Response::plaintext(app.ask(&request).await) }
            }
        } => "200 app /a", "200 app /b";
        {
            let app = app.clone();
            async move |request: ServerRequest| -> Result<Response, io::Error> {
                if request.path() == "/b" {
                    return Err(io::Error::other("no b"));
                }
                Ok(Response::plaintext(app.ask(&request).await))
            }
        } => "200 app /a", "500 Error 500: Internal Server Error";
        // A closure that is not asynchronous is not cloned, so it may capture values without `Clone`.
        move |_: ServerRequest| Response::plaintext(calls.fetch_add(1, Ordering::Relaxed).to_string()) => "200 0", "200 1";
        |request: ServerRequest| -> Result<Response, Response> {
            if request.path() == "/b" { Err(Response::plaintext("no b").with_status(404)) } else { Ok(plain(request)) }
        } => "200 /a", "404 no b";
        |request: ServerRequest| async move {
            if request.path() == "/b" { Err(Response::plaintext("no b").with_status(404)) } else { Ok(plain(request)) }
        } => "200 /a", "404 no b";
        |request: ServerRequest| ResponseFuture::from(plain(request)) => "200 /a", "200 /b";
        |request: ServerRequest| ResponseFuture::new(async move { plain(request) }) => "200 /a", "200 /b";
        |request: ServerRequest| -> Result<ResponseFuture, io::Error> { Ok(plain(request).into()) } => "200 /a", "200 /b";
        async |request: ServerRequest| ResponseFuture::new(async move { plain(request) }) => "200 /a", "200 /b";
        |_: ServerRequest| unimplemented!() => "500 Error 500: Internal Server Error", "500 Error 500: Internal Server Error";
        async |_: ServerRequest| unimplemented!() => "500 Error 500: Internal Server Error", "500 Error 500: Internal Server Error";
    }
}

fn pass(request: ServerRequest, next: Next) -> ResponseFuture {
    next.run(request)
}

async fn pass_later(request: ServerRequest, next: Next) -> Response {
    next.run(request).await
}

#[tokio::test]
async fn middlewares_are_closures_and_functions_of_every_form() {
    let (app, name, seen) = (app(), "name".to_owned(), Mutex::new(Vec::new()));
    let with_name = |response: Response, name: String| {
        let before = String::from_utf8(response.body().as_bytes().unwrap().to_vec()).unwrap();
        response.with_body(format!("{before} by {name}"))
    };
    assert_answers! {
        (pass, plain) => "200 /a", "200 /b";
        (pass_later, plain) => "200 /a", "200 /b";
        (|request: ServerRequest, next: Next| next.run(request), plain) => "200 /a", "200 /b";
        (|request: ServerRequest, _: Next| plain(request), plain) => "200 /a", "200 /b";
        (|request: ServerRequest, next: Next| async move { next.run(request).await }, plain) => "200 /a", "200 /b";
        (async |request: ServerRequest, next: Next| next.run(request).await, plain) => "200 /a", "200 /b";
        ({
            let app = app.clone();
            async move |request: ServerRequest, next: Next| {
                let name = app.ask(&request).await;
                with_name(next.run(request).await, name)
            }
        }, plain) => "200 /a by app /a", "200 /b by app /b";
        ({
            let name = name.clone();
            async move |request: ServerRequest, next: Next| with_name(next.run(request).await, name.to_uppercase())
        }, plain) => "200 /a by NAME", "200 /b by NAME";
        ({
            let app = app.clone();
            move |request: ServerRequest, next: Next| {
                let app = app.clone();
                async move {
                    let name = app.ask(&request).await;
                    Ok::<_, io::Error>(with_name(next.run(request).await, name))
                }
            }
        }, plain) => "200 /a by app /a", "200 /b by app /b";
        (move |request: ServerRequest, next: Next| {
            let mut seen = seen.lock().unwrap();
            seen.push(request.path().to_owned());
            if seen.len() > 1 { return Response::plaintext(seen.join(", ")).into(); }
            next.run(request)
        }, plain) => "200 /a", "200 /a, /b";
        (|request: ServerRequest, next: Next| {
            if request.path() == "/b" { return Err(Response::plaintext("no b").with_status(403)); }
            Ok(next.run(request))
        }, plain) => "200 /a", "403 no b";
        (|request: ServerRequest, next: Next| {
            if request.path() == "/b" { return Err("no b"); }
            Ok(next.run(request))
        }, plain) => "200 /a", "500 Error 500: Internal Server Error";
    }
}

/// A chain is often made by configuration: parts that may be missing, and of which there are any number.
#[tokio::test]
async fn a_chain_can_be_made_at_run_time() {
    let stamp = |name: &'static str| {
        move |request: ServerRequest, next: Next| async move {
            let response = next.run(request).await;
            let before = String::from_utf8(response.body().as_bytes().unwrap().to_vec()).unwrap();
            response.with_body(format!("{before}{name}"))
        }
    };
    struct Never;
    impl Middleware for Never {
        fn handle(&self, _: ServerRequest, _: Next) -> ResponseFuture {
            Response::plaintext("never").into()
        }
    }
    let any = |count: usize| (0..count).map(|_| middleware(stamp("+"))).collect::<Vec<Box<dyn Middleware>>>();
    let with_router = |mut list: Vec<Box<dyn Middleware>>| {
        list.push(router(plain));
        list
    };
    let shared: Arc<dyn Middleware> = Arc::new(Never);
    assert_answers! {
        (Some(stamp("+")), plain) => "200 /a+", "200 /b+";
        (None::<Never>, stamp("-"), plain) => "200 /a-", "200 /b-";
        (None::<Box<dyn Middleware>>, plain) => "200 /a", "200 /b";
        (Some(Never), plain) => "200 never", "200 never";
        (middleware(stamp("1")), stamp("2"), plain) => "200 /a21", "200 /b21";
        (shared.clone(), plain) => "200 never", "200 never";
        (any(0), plain) => "200 /a", "200 /b";
        (stamp("1"), any(3), stamp("2"), plain) => "200 /a2+++1", "200 /b2+++1";
        (vec![stamp("1"), stamp("2")], plain) => "200 /a21", "200 /b21";
        (vec![shared.clone()], plain) => "200 never", "200 never";
        with_router(any(20)) => "200 /a++++++++++++++++++++", "200 /b++++++++++++++++++++";
        any(1) => "404 Error 404: Not Found+", "404 Error 404: Not Found+";
        Vec::<Box<dyn Middleware>>::new() => "404 Error 404: Not Found", "404 Error 404: Not Found";
        (router(plain),) => "200 /a", "200 /b";
        router(plain) => "200 /a", "200 /b";
        shared => "200 never", "200 never";
    }
}

/// ReactPHP lets an exception pass through the middlewares before it, which may catch it. Here each sees the 500 page.
#[tokio::test]
async fn a_middleware_sees_the_page_of_a_panic_behind_it() {
    let cors =
        async |request: ServerRequest, next: Next| next.run(request).await.with_header("Access-Control-Allow-Origin", "*");
    let at_once = |_: ServerRequest| -> Response { panic!("at once") };
    let later = async |_: ServerRequest| -> Response {
        tokio::task::yield_now().await;
        panic!("later")
    };
    let middle = |_: ServerRequest, _: Next| -> Response { panic!("in the middle") };
    let servers = [
        (HttpServer::new((cors, at_once)), "at once"),
        (HttpServer::new((cors, later)), "later"),
        (HttpServer::new((cors, middle, plain)), "in the middle"),
        (HttpServer::new((cors, pass, pass_later, later)), "later"),
    ];
    for (http, message) in servers {
        let (tell, told) = std::sync::mpsc::channel();
        http.on("error", move |error| tell.send(report(error).to_string()).is_ok());
        let (mut peer, _) = Peer::serve(&http);
        let answer = peer.ask("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await;
        assert_eq!((answer.status(), answer.header("Access-Control-Allow-Origin")), (500, Some("*")));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [format!("the request handler failed: {message}")]);
    }
}

/// An app's future may panic when it is dropped. The panic harms no other code: here after the
/// future's end, and when its client has left.
#[tokio::test(start_paused = true)]
async fn a_future_that_panics_when_it_is_dropped_is_contained() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let http = HttpServer::new(|request: ServerRequest| {
        let captured = PanicsWhenDropped;
        async move {
            if request.path() == "/waits" {
                std::future::pending::<()>().await;
            }
            std::mem::forget(captured);
            ResponseFuture::new(std::future::poll_fn({
                let captured = PanicsWhenDropped;
                move |_| {
                    let _captured = &captured;
                    std::task::Poll::Ready(Response::plaintext("done"))
                }
            }))
        }
    });
    support::count_panics();
    let (mut peer, serving) = Peer::serve(&http);
    assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await.text(), "done");
    peer.send("GET /waits HTTP/1.1\r\nHost: example.com\r\n\r\n").await;
    support::settle().await;
    drop(peer);
    serving.await;
    assert_eq!(support::panics(), 2, "one for each");
}

/// What two clients are answered by a server whose `connection` listener is this one, registered in both ways: at each event,
/// and where it may be, for once.
async fn greets<M>(listener: impl IntoMiddlewareListener<M>) -> [String; 2] {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", listener);
    greetings(websocket).await
}

async fn greetings(websocket: WebSocketMiddleware) -> [String; 2] {
    let http = HttpServer::new((websocket, plain));
    let mut told = [String::new(), String::new()];
    for told in &mut told {
        let (mut peer, _serving) = Peer::serve(&http);
        let answer = peer.ask(HANDSHAKE).await;
        *told = match answer.status() {
            101 => peer.text().await,
            status => status.to_string(),
        };
    }
    told
}

fn greet(connection: WebSocketConnection) -> bool {
    connection.write("hello")
}

async fn greet_later(connection: WebSocketConnection) -> io::Result<()> {
    tokio::task::yield_now().await;
    connection.write("hello");
    Ok(())
}

#[tokio::test]
async fn listeners_of_the_middleware_are_closures_and_functions_of_every_form() {
    let (app, name, calls) = (app(), "name".to_owned(), AtomicU32::new(0));
    macro_rules! assert_greets {
        ($($listener:expr => $a:literal, $b:literal;)+) => {$(
            assert_eq!(greets($listener).await, [$a, $b], "{}", stringify!($listener));
        )+};
    }
    assert_greets! {
        greet => "hello", "hello";
        greet_later => "hello", "hello";
        |connection: WebSocketConnection| { connection.write("hello"); } => "hello", "hello";
        |connection: WebSocketConnection| connection.write("hello") => "hello", "hello";
        |connection| { greet(connection); } => "hello", "hello";
        |connection: WebSocketConnection| async move { connection.write("hello") } => "hello", "hello";
        async |connection: WebSocketConnection| connection.write("hello") => "hello", "hello";
        async |connection| greet_later(connection).await => "hello", "hello";
        {
            let app = app.clone();
            async move |connection: WebSocketConnection| {
                let greeting = app.ask(&connection.request().unwrap()).await;
                connection.write(greeting)
            }
        } => "app /", "app /";
        {
            let name = name.clone();
            async move |connection: WebSocketConnection| connection.write(&name)
        } => "name", "name";
        {
            let app = app.clone();
            move |connection: WebSocketConnection| {
                let app = app.clone();
                async move { connection.write(app.ask(&connection.request().unwrap()).await) }
            }
        } => "app /", "app /";
        async move |_: WebSocketConnection| Err::<(), _>("no") => "500", "500";
        |_: WebSocketConnection| async { Err::<(), _>(io::Error::other("no")) } => "500", "500";
        |_: WebSocketConnection| Err::<(), _>("no") => "500", "500";
        |_| panic!("no") => "500", "500";
        async |_| panic!("no") => "500", "500";
        // A closure that is not asynchronous is not cloned, so it may capture values without `Clone`.
        move |connection: WebSocketConnection| connection.write(calls.fetch_add(1, Ordering::Relaxed).to_string())
            => "0", "1";
    }
}

#[tokio::test]
async fn a_listener_for_once_may_give_away_what_it_captures() {
    struct NotClone(String);
    let takes = |NotClone(name): NotClone, connection: WebSocketConnection| connection.write(name);
    let (captured, later, borrowed) = (NotClone("a".into()), NotClone("b".into()), NotClone("c".into()));
    let servers = [(); 3].map(|()| WebSocketMiddleware::new());
    servers[0].once("connection", move |connection| takes(captured, connection));
    servers[1].once("connection", move |connection: WebSocketConnection| async move { takes(later, connection) });
    servers[2].once("connection", async move |connection| connection.write(&borrowed.0));
    let mut told = Vec::new();
    for websocket in servers {
        websocket.on("connection", |connection: WebSocketConnection| connection.write("on"));
        let again = websocket.clone();
        assert_eq!(websocket.listener_count("connection"), 2);
        let http = HttpServer::new((websocket, plain));
        let (mut peer, _serving) = Peer::open_in_memory(&http).await;
        told.push([peer.text().await, peer.text().await]);
        assert_eq!(again.listener_count("connection"), 1);
        let (mut peer, _serving) = Peer::open_in_memory(&http).await;
        assert_eq!(peer.text().await, "on");
        again.write_all("nothing before this");
        assert_eq!(peer.text().await, "nothing before this");
    }
    assert_eq!(told, [["on", "a"], ["on", "b"], ["on", "c"]]);
}

#[derive(Debug, PartialEq)]
struct User(&'static str);

/// The results for a client with a good token and for one with a bad token: the status, or the user
/// of its connection.
async fn verified<M>(verify: impl IntoVerifier<M>) -> [String; 2] {
    let websocket = WebSocketMiddleware::new().with_verify(verify);
    websocket.on("connection", |connection: WebSocketConnection| match connection.get::<User>() {
        Some(user) => connection.write(user.0),
        None => connection.write("nobody"),
    });
    let http = HttpServer::new((websocket, plain));
    let mut told = [String::new(), String::new()];
    for (told, token) in told.iter_mut().zip(["good", "bad"]) {
        let (mut peer, _serving) = Peer::serve(&http);
        let answer = peer.ask(HANDSHAKE.replace("GET /", &format!("GET /?token={token}"))).await;
        *told = match answer.status() {
            101 => peer.text().await,
            status => status.to_string(),
        };
    }
    told
}

fn token(request: &ServerRequest) -> Option<String> {
    request.query_params().get("token").map(str::to_owned)
}

fn is_good(request: ServerRequest) -> bool {
    token(&request).is_some_and(|token| token == "good")
}

fn find(request: ServerRequest) -> Option<User> {
    is_good(request).then_some(User("ann"))
}

impl App {
    async fn find(&self, request: ServerRequest) -> io::Result<Option<User>> {
        tokio::task::yield_now().await;
        Ok(find(request))
    }
}

/// Node's `verifyClient`; its value is what a PHP app keeps in a dynamic property.
#[tokio::test]
async fn closures_of_every_form_verify_a_handshake_and_may_attach_values() {
    let (app, name, calls) = (app(), "good".to_owned(), AtomicU32::new(0));
    macro_rules! assert_verified {
        ($($verify:expr => $good:literal, $bad:literal;)+) => {$(
            assert_eq!(verified($verify).await, [$good, $bad], "{}", stringify!($verify));
        )+};
    }
    let refused = || Response::plaintext("Log in first").with_status(401);
    assert_verified! {
        is_good => "nobody", "403";
        find => "ann", "403";
        |request: ServerRequest| is_good(request) => "nobody", "403";
        |request: ServerRequest| Some(is_good(request)) => "nobody", "403";
        |request: ServerRequest| is_good(request).then_some(()) => "nobody", "403";
        |request: ServerRequest| Ok::<bool, io::Error>(is_good(request)) => "nobody", "403";
        |request: ServerRequest| Ok::<bool, Response>(is_good(request)) => "nobody", "403";
        |request: ServerRequest| if is_good(request) { Ok(()) } else { Err("no") } => "nobody", "500";
        move |request: ServerRequest| if is_good(request) { Ok(()) } else { Err(refused()) } => "nobody", "401";
        move |request: ServerRequest| find(request).ok_or_else(refused) => "ann", "401";
        |request: ServerRequest| find(request).ok_or("no") => "ann", "500";
        |request: ServerRequest| -> Result<User, io::Error> { find(request).ok_or_else(|| io::Error::other("no")) }
            => "ann", "500";
        |request: ServerRequest| async move { is_good(request) } => "nobody", "403";
        |request: ServerRequest| async move { find(request) } => "ann", "403";
        async |request: ServerRequest| find(request) => "ann", "403";
        {
            let app = app.clone();
            async move |request: ServerRequest| app.find(request).await.unwrap_or(None)
        } => "ann", "403";
        {
            let app = app.clone();
            async move |request: ServerRequest| {
                app.find(request).await.map_err(|_| Response::new(503))?.ok_or_else(refused)
            }
        } => "ann", "401";
        {
            let name = name.clone();
            async move |request: ServerRequest| token(&request).is_some_and(|token| token == name)
        } => "nobody", "403";
        {
            let app = app.clone();
            move |request: ServerRequest| {
                let app = app.clone();
                async move { app.find(request).await?.ok_or(io::Error::other("no")) }
            }
        } => "ann", "500";
        |_: ServerRequest| unimplemented!() => "500", "500";
        async |_: ServerRequest| unimplemented!() => "500", "500";
        move |_: ServerRequest| calls.fetch_add(1, Ordering::Relaxed) == 0 => "nobody", "403";
    }
}

#[tokio::test]
async fn attached_values_are_found_by_their_type() {
    let websocket = WebSocketMiddleware::new().with_verify(|_: ServerRequest| Ok::<_, Response>(Arc::new(User("ann"))));
    let (tell, told) = std::sync::mpsc::channel();
    websocket.on("connection", move |connection: WebSocketConnection| {
        tell.send((connection.get::<Arc<User>>(), connection.get::<User>(), connection.get::<bool>())).is_ok()
    });
    Peer::open_in_memory(&HttpServer::new((websocket, plain))).await;
    assert_eq!(told.recv().unwrap(), (Some(Arc::new(Arc::new(User("ann")))), None, None));
}

/// What comes back for two messages, if `event` has this listener.
async fn echoes<M>(event: &str, listener: impl IntoListener<M>) -> [String; 2] {
    let Pair { connection, mut peer, .. } = Pair::in_memory(WebSocketOptions::new()).await;
    connection.on(event, listener);
    let mut told = [String::new(), String::new()];
    for (told, sent) in told.iter_mut().zip(["a", "b"]) {
        peer.send(text(sent)).await;
        *told = peer.text().await;
    }
    told
}

fn echo(connection: &WebSocketConnection, text: &str) -> bool {
    connection.write(text)
}

async fn echo_later(connection: WebSocketConnection, text: Text) -> io::Result<()> {
    tokio::task::yield_now().await;
    connection.write(text);
    Ok(())
}

async fn echo_borrowed(connection: &WebSocketConnection, text: &str) {
    tokio::task::yield_now().await;
    connection.write(text);
}

async fn echo_message(connection: WebSocketConnection, message: Message) -> bool {
    connection.write_message(&message)
}

impl App {
    async fn reply(&self, text: &str) -> String {
        tokio::task::yield_now().await;
        format!("{} {text}", self.name)
    }
}

#[tokio::test(start_paused = true)]
async fn listeners_of_a_connection_are_closures_and_functions_of_every_form() {
    let (app, name) = (app(), "name".to_owned());
    macro_rules! assert_echoes {
        ($($event:literal, $listener:expr => $a:literal, $b:literal;)+) => {$(
            assert_eq!(echoes($event, $listener).await, [$a, $b], "{}", stringify!($listener));
        )+};
    }
    type C = WebSocketConnection;
    assert_echoes! {
        "text", echo => "a", "b";
        "text", echo_later => "a", "b";
        "text", echo_borrowed => "a", "b";
        "message", echo_message => "a", "b";
        "text", |c: &C, text: &str| c.write(text) => "a", "b";
        "text", |c: C, text: Text| async move { c.write(text) } => "a", "b";
        "text", async |c: &C, text: &str| c.write(text) => "a", "b";
        "text", {
            let app = app.clone();
            async move |c: &C, text: &str| c.write(app.reply(text).await)
        } => "app a", "app b";
        "text", {
            let app = app.clone();
            async move |c: C, text: Text| c.write(app.reply(&text).await)
        } => "app a", "app b";
        "text", {
            let name = name.clone();
            async move |c: C, text: Text| c.write(format!("{name} {text}"))
        } => "name a", "name b";
        "text", {
            let app = app.clone();
            move |c: C, text: Text| {
                let app = app.clone();
                async move {
                    c.write(app.reply(&text).await);
                    Ok::<_, io::Error>(())
                }
            }
        } => "app a", "app b";
        "text", {
            let mut count = 0;
            move |c: &C, text: &str| {
                count += 1;
                c.write(format!("{text} {count}"))
            }
        } => "a 1", "b 2";
        "message", {
            let app = app.clone();
            async move |c: C, message: Message| c.write(app.reply(message.as_text().unwrap()).await)
        } => "app a", "app b";
    }
}
