//! Handlers: their failures, the chain of middlewares, and the values of a `ServerRequest`.

mod support;

use std::sync::{Arc, Mutex};

use react_websocket::errors::{BoxError, FormError, HttpError, report};
use react_websocket::handlers::{Middleware, Next, ResponseFuture};
use react_websocket::options::TrustedProxies;
use react_websocket::request::Form;
use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware};
use support::http::{
    CLOSED, GET, OPEN, Said, TOO_MANY, errors, ok, ok_with, page, say, seconds, shown, soon, tell, telling,
};
use support::{HANDSHAKE, Log, Peer, listen_with, router, settle, websockets};
use tokio::io::DuplexStream;
use tokio::time::sleep;

// Handlers and their failures.

#[derive(Debug, thiserror::Error)]
#[error("out of coffee")]
struct OutOfCoffee;

fn fail() -> Result<Response, OutOfCoffee> {
    Err(OutOfCoffee)
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_a_500_and_an_error_event_and_the_end_of_the_connection() {
    let panics = |_: ServerRequest| -> Response { panic!("out of coffee") };
    let panics_later = |_: ServerRequest| async {
        sleep(seconds(1)).await;
        if true {
            panic!("out of {}", "coffee");
        }
        Response::new(200)
    };
    let fails_later = |_: ServerRequest| async {
        sleep(seconds(1)).await;
        Err::<Response, BoxError>("out of coffee".into())
    };
    for (http, end) in [
        (HttpServer::new(|_: ServerRequest| fail()), 0.0),
        (HttpServer::new(|_: ServerRequest| async { fail() }), 0.0),
        (HttpServer::new(|_: ServerRequest| Err::<Response, _>("out of coffee")), 0.0),
        (HttpServer::new(fails_later), 1.0),
        (HttpServer::new(panics), 0.0),
        (HttpServer::new(panics_later), 1.0),
        (HttpServer::new((|request, next: Next| next.run(request), panics)), 0.0),
        (HttpServer::new((|request, next: Next| async { next.run(request).await }, panics_later)), 1.0),
        (HttpServer::new((|_: ServerRequest, _: Next| fail(), tell)), 0.0),
    ] {
        let log = errors(&http);
        let text = page("500 Internal Server Error");
        assert_eq!(say(&http, GET).await, Said { text: text.clone(), end });
        let text_1_0 = text.replace("HTTP/1.1", "HTTP/1.0").replace("Connection: close\n", "");
        let said = say(&http, "GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(said.text.replace("Connection: close\n", ""), text_1_0);
        assert_eq!(said.end, end);
        let head = text.replace("Error 500: Internal Server Error", "");
        assert_eq!(say(&http, GET.replace("GET", "HEAD")).await, Said { text: head, end });
        assert_eq!(log.take(), ["the request handler failed: out of coffee"; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_event_has_the_handlers_error() {
    let http = HttpServer::new(|_: ServerRequest| fail());
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error: &HttpError| {
        let HttpError::Handler(source) = error else { panic!("{error}") };
        assert!(source.is::<OutOfCoffee>());
        assert_eq!(std::error::Error::source(error).unwrap().to_string(), "out of coffee");
        assert_eq!(error.status().unwrap(), 500);
        noting.add("heard");
    });
    say(&http, GET).await;
    assert_eq!(log.take(), ["heard"]);
}

#[tokio::test(start_paused = true)]
async fn listeners_of_error_are_called_in_order_and_cannot_do_harm() {
    let http = HttpServer::new(|request: ServerRequest| match request.path() {
        "/" => Ok(Response::plaintext("fine")),
        path => Err(path.to_owned()),
    });
    let log = Log::default();
    http.on("error", |_| panic!("a listener of errors"));
    let (noting, server) = (log.clone(), http.clone());
    http.on("error", move |error| {
        noting.add(format_args!("first {}", report(error)));
        // One that is added meanwhile is called from the next time on.
        let noting = noting.clone();
        server.on("error", move |error| noting.add(format_args!("later {}", report(error))));
    });
    let noting = log.clone();
    let second = http.on("error", move |error| noting.add(format_args!("second {}", report(error))));
    say(&http, GET.replace(" / ", " /a ")).await;
    let failed = "the request handler failed: ";
    assert_eq!(log.take(), [format!("first {failed}/a"), format!("second {failed}/a")]);
    http.remove_listener(second);
    say(&http, GET.replace(" / ", " /b ")).await;
    assert_eq!(log.take(), [format!("first {failed}/b"), format!("later {failed}/b")]);
    assert_eq!(say(&http, GET).await.text, ok("fine"));
    assert_eq!(log.take(), [""; 0]);
    let unknown = http.try_on("text", |_| {}).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no event \"text\" on an HttpServer; its events are error");
}

#[tokio::test(start_paused = true)]
async fn clones_and_other_options_keep_the_listeners() {
    let http = telling();
    let log = errors(&http);
    say(&http.clone(), "\0").await;
    say(&http.with_options(HttpOptions::new()), "\0").await;
    assert_eq!(log.take(), ["malformed request line"; 2]);
}

#[tokio::test(start_paused = true)]
async fn routers_may_be_synchronous_or_not_and_return_a_result_or_not() {
    async fn asynchronous(request: ServerRequest) -> Response {
        tell(request)
    }
    async fn fallible(request: ServerRequest) -> Result<Response, std::io::Error> {
        Ok(tell(request))
    }
    for http in [
        HttpServer::new(tell),
        HttpServer::new((tell,)),
        HttpServer::new(|request: ServerRequest| tell(request)),
        HttpServer::new(asynchronous),
        HttpServer::new(fallible),
        HttpServer::new(|request: ServerRequest| Ok::<_, BoxError>(tell(request))),
        HttpServer::new(|request: ServerRequest| async move { tell(request) }),
        HttpServer::new(async |request: ServerRequest| tell(request)),
        HttpServer::new(|request: ServerRequest| async move {
            sleep(seconds(1)).await;
            Ok::<_, &'static str>(tell(request))
        }),
        HttpServer::new(|request: ServerRequest| ResponseFuture::from(tell(request))),
        HttpServer::new(|request: ServerRequest| ResponseFuture::new(async { tell(request) })),
    ] {
        assert_eq!(say(&http, GET).await.text, ok("GET / "));
    }
}

// The chain of middlewares.

/// A middleware as a type of its own.
struct Stamp(&'static str);

impl Middleware for Stamp {
    fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture {
        if request.path() == "/stamp" {
            return Response::plaintext(self.0).into();
        }
        let stamp = self.0;
        ResponseFuture::new(async move { next.run(request).await.with_added_header("X-Stamp", stamp) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_middleware_that_is_last_is_followed_by_a_404() {
    let not_found = page("404 Not Found").replace("Connection: close\n", "");
    for http in [
        HttpServer::new(WebSocketMiddleware::new()),
        HttpServer::new((WebSocketMiddleware::new(),)),
        HttpServer::new((|request, next: Next| next.run(request), WebSocketMiddleware::new())),
    ] {
        let log = errors(&http);
        assert_eq!(say(&http, GET).await, Said { text: not_found.clone(), end: OPEN });
        assert_eq!(log.take(), [""; 0], "nothing has failed");
        let (_peer, _serving) = Peer::open_in_memory(&http).await;
    }
    let http = HttpServer::new(Stamp("a"));
    let stamped = not_found.replace("text/plain\n", "text/plain\nX-Stamp: a\n");
    assert_eq!(say(&http, GET).await.text, stamped);
    assert_eq!(say(&http, GET.replace(" / ", " /stamp ")).await.text, ok("a"));
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_down_the_chain_in_order_and_the_response_back_up() {
    let log = Log::default();
    let layer = |name: &'static str| {
        let log = log.clone();
        move |request: ServerRequest, next: Next| {
            let log = log.clone();
            log.add(format_args!("{name} in"));
            async move {
                let response = next.run(request).await;
                log.add(format_args!("{name} out"));
                response.with_added_header("X-Way", name)
            }
        }
    };
    let noting = log.clone();
    let routing = move |request: ServerRequest| {
        noting.add("router");
        tell(request)
    };
    let http = HttpServer::new((layer("a"), Stamp("s"), layer("b"), routing));
    let way = "X-Way: b\nX-Stamp: s\nX-Way: a\n";
    let text = ok_with(&format!("Content-Type: text/plain; charset=utf-8\n{way}"), "", "GET / ");
    assert_eq!(say(&http, GET).await.text, text);
    assert_eq!(log.take(), ["a in", "b in", "router", "b out", "a out"]);
}

#[tokio::test(start_paused = true)]
async fn a_chain_has_up_to_twelve_links() {
    macro_rules! link {
        ($name:literal) => {
            |request: ServerRequest, next: Next| async move { next.run(request).await.with_added_header("X-Link", $name) }
        };
    }
    let http = HttpServer::new((
        link!("1"),
        link!("2"),
        link!("3"),
        link!("4"),
        link!("5"),
        link!("6"),
        link!("7"),
        link!("8"),
        link!("9"),
        link!("10"),
        link!("11"),
        router,
    ));
    let said = say(&http, GET).await.text;
    let links: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("X-Link: ")).collect();
    assert_eq!(links.join(" "), "11 10 9 8 7 6 5 4 3 2 1");
}

#[tokio::test(start_paused = true)]
async fn a_middleware_may_answer_by_itself_or_change_what_comes_back() {
    let gate = |request: ServerRequest, next: Next| match request.header("X-Key") {
        Some("open") => next.run(request),
        Some("break") => panic!("broken"),
        _ => Response::new(401).with_header("WWW-Authenticate", "X-Key").into(),
    };
    let polish = |request: ServerRequest, next: Next| async move {
        let response = next.run(request).await;
        match response.status() {
            // A router that returned `Err` shows as its 500.
            500 => Response::plaintext("sorry").with_status(503),
            _ => {
                assert_eq!(response.header("CONTENT-TYPE"), Some("text/plain; charset=utf-8"));
                response.with_status(203).with_header("Content-Type", "text/html").with_body("<p>")
            }
        }
    };
    let http = HttpServer::new((gate, polish, |request: ServerRequest| match request.path() {
        "/" => Ok(Response::plaintext("plain")),
        _ => fail(),
    }));
    for (request, status, body) in [
        (GET.to_owned(), "401 Unauthorized\nWWW-Authenticate: X-Key\n", ""),
        (
            GET.replace("\r\n\r\n", "\r\nX-Key: break\r\n\r\n"),
            "500 Internal Server Error\n",
            "Error 500: Internal Server Error",
        ),
        (
            GET.replace("\r\n\r\n", "\r\nX-Key: open\r\n\r\n"),
            "203 Non Authoritative Information\nContent-Type: text/html\n",
            "<p>",
        ),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX-Key: open\r\n\r\n".into(), "503 Service Unavailable\n", "sorry"),
    ] {
        let said = say(&http, request).await.text;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
        assert!(said.ends_with(&format!("\n\n{body}")), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn attributes_go_down_the_chain_by_their_type() {
    #[derive(Debug, PartialEq)]
    struct User(&'static str);
    let first = |request: ServerRequest, next: Next| {
        assert_eq!(request.attribute::<User>(), None);
        let mine = request.clone();
        let answer = next.run(request.with_attribute(User("ann")).with_attribute(7_u32));
        assert_eq!(mine.attribute::<User>(), None, "the request of this middleware is as it was");
        answer
    };
    let second = |request: ServerRequest, next: Next| {
        assert_eq!(request.attribute(), Some(&User("ann")));
        next.run(request.with_attribute(User("bob")))
    };
    let http = HttpServer::new((first, second, |request: ServerRequest| {
        let (user, number) = (request.attribute::<User>().unwrap(), request.attribute::<u32>().unwrap());
        Response::plaintext(format!("{} {number} {:?}", user.0, request.attribute::<u64>()))
    }));
    assert_eq!(say(&http, GET).await.text, ok("bob 7 None"));
}

// The values of a request.

/// What a router makes of one request.
async fn ask<T: Send + 'static>(request: impl AsRef<[u8]>, look: impl Fn(ServerRequest) -> T + Send + Sync + 'static) -> T {
    let found = Arc::new(Mutex::new(None));
    let keep = found.clone();
    let http = HttpServer::new(move |request: ServerRequest| {
        *keep.lock().unwrap() = Some(look(request));
        Response::new(204)
    });
    let (mut peer, _) = Peer::serve(&http);
    assert_eq!(peer.ask(request).await.status(), 204);
    found.lock().unwrap().take().unwrap()
}

/// A request with a body.
fn post(content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test(start_paused = true)]
async fn a_request_has_its_line_and_headers() {
    let request =
        "PATCH /a%20b/%C3%A9?x=1&y=%20 HTTP/1.1\r\nHost: example.com:80\r\nX-One: 1\r\nx-two:  2 \r\nX-TWO: 3\r\n\r\n";
    ask(request, |request| {
        assert_eq!((request.method().as_str(), request.version()), ("PATCH", http::Version::HTTP_11));
        assert_eq!(request.target(), "/a%20b/%C3%A9?x=1&y=%20");
        assert_eq!((request.uri().path(), request.uri().query()), ("/a%20b/%C3%A9", Some("x=1&y=%20")));
        assert_eq!(request.path(), "/a%20b/%C3%A9");
        assert_eq!(request.header("host"), Some("example.com:80"));
        assert_eq!((request.header("X-Two"), request.header("x-none")), (Some("2"), None));
        let both: Vec<_> = request.headers().get_all("x-two").iter().collect();
        assert_eq!(both, ["2", "3"]);
        assert_eq!((request.body().len(), request.remote_address(), request.local_address()), (0, None, None));
    })
    .await;
    let version = ask("GET / HTTP/1.0\r\n\r\n", |request| request.version()).await;
    assert_eq!(version, http::Version::HTTP_10);
}

/// The four forms of a request target (RFC 9112 section 3.2).
#[tokio::test(start_paused = true)]
async fn each_form_of_the_target_has_its_uri() {
    for (line, target, uri, path, query) in [
        ("GET /é?ü HTTP/1.1", "/é?ü", "/%C3%A9?%C3%BC", "/%C3%A9", Some("%C3%BC")),
        ("GET /a?b=c?d HTTP/1.1", "/a?b=c?d", "/a?b=c?d", "/a", Some("b=c?d")),
        ("GET http://b:8/c?d HTTP/1.1", "http://b:8/c?d", "http://b:8/c?d", "/c", Some("d")),
        ("GET http://b HTTP/1.1", "http://b", "http://b/", "/", None),
        ("OPTIONS * HTTP/1.1", "*", "*", "", None),
    ] {
        ask(format!("{line}\r\nHost: a\r\n\r\n"), move |request| {
            assert_eq!((request.target(), request.uri().to_string().as_str()), (target, uri));
            assert_eq!((request.path(), request.uri().query()), (path, query));
            assert_eq!(request.header("Host"), Some("a"), "whatever the target says");
        })
        .await;
    }
}

/// A field value may have bytes above 127 (`obs-text`, RFC 9110 section 5.5).
#[tokio::test(start_paused = true)]
async fn header_values_may_be_any_bytes() {
    ask("GET / HTTP/1.1\r\nHost: a\r\nX-A: é\r\nX-B: a\tb\r\nX-C:\r\n\r\n", |request| {
        assert_eq!(request.headers().get("X-A").unwrap().as_bytes(), "é".as_bytes());
        assert_eq!((request.header("X-A"), request.header("X-B")), (Some("é"), Some("a\tb")));
        assert_eq!(request.header("X-C"), Some(""));
    })
    .await;
}

/// The query (RFC 3986 section 3.4) and `Cookie` (RFC 6265 section 4.2).
#[tokio::test(start_paused = true)]
async fn query_and_cookies_are_decoded() {
    let request = "GET /?a=1&b=x+y%21&a=2&%C3%A9=%C3%BC&empty=&flag&&c=d=e HTTP/1.1\r\nHost: a\r\n\
        Cookie: a=1; b=%20x;c = y ; none; d=e=f\r\nCookie: a=2; g=\r\n\r\n";
    ask(request, |request| {
        let query = request.query_params();
        let found = ["a", "b", "é", "empty", "flag", "c", "none"].map(|name| query.get(name));
        assert_eq!(found, [Some("2"), Some("x y!"), Some("ü"), Some(""), Some(""), Some("d=e"), None]);
        let all: Vec<_> = query.iter().take(3).collect();
        assert_eq!((all, query.len(), query.is_empty()), (vec![("a", "1"), ("b", "x y!"), ("a", "2")], 7, false));
        let cookies = request.cookie_params();
        let found = ["a", "b", "c", "d", "g", "none"].map(|name| cookies.get(name));
        assert_eq!(found, [Some("1"), Some(" x"), Some("y"), Some("e=f"), Some(""), None]);
    })
    .await;
    ask(GET, |request| assert!(request.query_params().is_empty() && request.cookie_params().is_empty())).await;
}

/// `multipart/form-data` (RFC 7578), and `application/x-www-form-urlencoded`.
#[tokio::test(start_paused = true)]
async fn forms_are_parsed() {
    ask(post("application/x-www-form-urlencoded", "a=1&b=%C3%A9+x&a=2"), |request| {
        let form = request.parsed_body().unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (Some("2"), Some("é x"), None));
        assert_eq!((form.fields().len(), form.files().len()), (3, 0));
    })
    .await;
    let body = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XX\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        line\r\n--X\r\n--XX--\r\n";
    ask(post("multipart/form-data; boundary=XX", body), |request| {
        let form = request.parsed_body().unwrap();
        assert_eq!((form.get("a"), form.get("f")), (Some("one"), None));
        let [file] = form.files() else { panic!("{form:?}") };
        assert_eq!((file.field.as_str(), file.file_name.as_str()), ("f", "a b.txt"));
        assert_eq!((file.content_type.as_deref(), &file.content[..]), (Some("text/plain"), &b"line\r\n--X"[..]));
    })
    .await;
    for (content_type, body, expected) in [
        ("text/plain", "a=1", Ok(Form::default())),
        ("multipart/form-data", "--XX\r\n", Err(FormError::Boundary { length: 0, limit: 70 })),
        ("multipart/form-data; boundary=XX", "--XX\r\na", Err(FormError::UnfinishedPart { part: 1 })),
    ] {
        ask(post(content_type, body), move |request| {
            assert_eq!(request.parsed_body(), expected);
            assert!(!request.body().is_empty(), "the bytes are there all the same");
        })
        .await;
    }
}

/// A malformed form is the client's fault, whatever type the router's error has.
#[tokio::test(start_paused = true)]
async fn a_router_that_returns_the_error_of_a_form_answers_with_400() {
    fn by_its_type(request: ServerRequest) -> Result<Response, FormError> {
        Ok(Response::plaintext(request.parsed_body()?.get("a").unwrap_or("nothing")))
    }
    async fn boxed(request: ServerRequest) -> Result<Response, BoxError> {
        Ok(Response::plaintext(request.parsed_body()?.get("a").unwrap_or("nothing")))
    }
    for http in [HttpServer::new(by_its_type), HttpServer::new(boxed)] {
        let log = errors(&http);
        let said = say(&http, post("multipart/form-data; boundary=XX", "--XX\r\na")).await;
        assert_eq!(said, Said { text: page("400 Bad Request"), end: CLOSED });
        assert_eq!(log.take(), ["malformed form: part 1 has no end"]);
        assert_eq!(http.stats().errors.get("form"), Some(&1));
        let good = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XX--";
        assert_eq!(say(&http, post("multipart/form-data; boundary=XX", good)).await.text, ok("1"));
    }
}

/// Malformed JSON is the client's fault, as a malformed form is.
#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn a_router_that_returns_the_error_of_json_answers_with_400() {
    async fn sum(request: ServerRequest) -> Result<Response, BoxError> {
        let numbers: Vec<u32> = request.json()?;
        Ok(Response::plaintext(numbers.iter().sum::<u32>().to_string()))
    }
    let http = HttpServer::new(sum);
    let log = errors(&http);
    for (body, reason) in [
        ("[1, 2", "EOF while parsing a list at line 1 column 5"),
        ("[-1]", "invalid value: integer `-1`, expected u32 at line 1 column 3"),
        ("", "EOF while parsing a value at line 1 column 0"),
    ] {
        let said = say(&http, post("application/json", body)).await;
        assert_eq!(said, Said { text: page("400 Bad Request"), end: CLOSED }, "{body:?}");
        assert_eq!(log.take(), [format!("malformed JSON in the request body: {reason}")]);
    }
    assert_eq!(http.stats().errors.get("json"), Some(&3));
    assert_eq!(say(&http, post("application/json", "[1, 2]")).await.text, ok("3"));
}

#[tokio::test]
async fn a_request_has_both_addresses() {
    let http = HttpServer::new(|request: ServerRequest| {
        Response::plaintext(format!("{:?} {:?}", request.remote_address(), request.local_address()))
    });
    let (address, _listening) = listen_with(http.clone());
    let mut peer = Peer::connect(address).await;
    let mine = peer.stream.local_addr().unwrap();
    assert_eq!(soon(peer.ask(GET)).await.text(), format!("Some({mine}) Some({address})"));
    let (client, server) = tokio::io::duplex(1000);
    let _serving = http.serve_with_addresses(server, Some(mine), Some(address));
    assert_eq!(soon(Peer::new(client).ask(GET)).await.text(), format!("Some({mine}) Some({address})"));
}

/// A server that tells whom each request is from, and who sent it.
fn behind(proxies: Option<TrustedProxies>) -> HttpServer {
    let router = |request: ServerRequest| {
        Response::plaintext(format!("{:?} {:?}", request.remote_address(), request.peer_address()))
    };
    HttpServer::new(router).with_options(HttpOptions::new().trusted_proxies(proxies))
}

/// A client with this address, if it has one.
fn peer_from(http: &HttpServer, address: &str) -> Peer<DuplexStream> {
    let (client, server) = tokio::io::duplex(10_000);
    drop(http.serve_with_addresses(server, address.parse().ok(), None));
    Peer::new(client)
}

fn forwarded_for(client: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nForwarded: for=6.6.6.6\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_gives_the_address_of_each_request() {
    let http = behind(Some(TrustedProxies::x_forwarded_for(["192.0.2.0/24"])));
    let mut proxy = peer_from(&http, "192.0.2.1:1");
    for (request, client) in [
        (forwarded_for("198.51.100.1:5"), "198.51.100.1:5"),
        // A proxy uses its connections for many clients.
        (forwarded_for("7.7.7.7, 198.51.100.2"), "198.51.100.2:0"),
        (GET.to_owned(), "192.0.2.1:1"),
    ] {
        assert_eq!(proxy.ask(request).await.text(), format!("Some({client}) Some(192.0.2.1:1)"));
    }
}

#[tokio::test(start_paused = true)]
async fn untrusted_peers_cannot_set_the_address_of_a_request() {
    let trusting = behind(Some(TrustedProxies::x_forwarded_for(["192.0.2.0/24"])));
    for (http, address, told) in [
        (&trusting, "198.51.100.1:1", "Some(198.51.100.1:1) Some(198.51.100.1:1)"),
        (&behind(None), "192.0.2.1:1", "Some(192.0.2.1:1) Some(192.0.2.1:1)"),
        // Of a stream without an address nothing is known.
        (&trusting, "", "None None"),
    ] {
        assert_eq!(peer_from(http, address).ask(forwarded_for("198.51.100.9")).await.text(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_the_address_that_a_trusted_proxy_reports() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        let peer = connection.request().and_then(|request| request.peer_address());
        noted.add(format_args!("{:?} {peer:?}", connection.remote_address()));
        let noted = noted.clone();
        connection.on("close", move |connection: &WebSocketConnection| {
            noted.add(format_args!("{:?}", connection.remote_address()))
        });
    });
    let http = http.with_options(HttpOptions::new().trusted_proxies(TrustedProxies::forwarded(["192.0.2.1"])));
    let mut proxy = peer_from(&http, "192.0.2.1:1");
    let handshake = HANDSHAKE.replace("\r\n\r\n", "\r\nForwarded: for=\"[2001:db8::1]:80\"\r\n\r\n");
    assert_eq!(proxy.ask(handshake).await.status(), 101);
    drop(proxy);
    settle().await;
    assert_eq!(log.take(), ["Some([2001:db8::1]:80) Some(192.0.2.1:1)", "Some([2001:db8::1]:80)"]);
}

#[tokio::test(start_paused = true)]
async fn trusted_proxies_may_open_any_number_of_connections() {
    let options = HttpOptions::new().max_connections_per_ip(1);
    let http = telling().with_options(options.trusted_proxies(TrustedProxies::x_forwarded_for(["192.0.2.1"])));
    let mut open = Vec::new();
    for address in ["192.0.2.1:1", "192.0.2.1:2", "[::ffff:192.0.2.1]:3", "192.0.2.2:1"] {
        let mut peer = peer_from(&http, address);
        assert_eq!(peer.ask(GET).await.status(), 200, "{address}");
        open.push(peer);
    }
    assert_eq!(shown(&peer_from(&http, "192.0.2.2:2").rest().await), TOO_MANY, "others may not");
}
