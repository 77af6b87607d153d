//! Request bodies that come slowly: from a healthy client they are waited for, from others not.

mod support;

use std::time::Duration;

use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest};
use support::*;
use tokio::io::AsyncWriteExt;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The limits: `body_timeout` (10 s without a byte of the body) and `min_body_rate` (1 KiB a second on average, from 10 s on).
fn posting(options: HttpOptions) -> (HttpServer, Log) {
    let http = HttpServer::new(|request: ServerRequest| Response::plaintext(request.body().len().to_string()));
    let http = http.with_options(options);
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error| noting.add(error));
    (http, log)
}

/// Sends a piece at each interval until the server answers. The answer, and after how long.
async fn drip(http: &HttpServer, head: &str, piece: &[u8], every: Duration, times: usize) -> (Answer, Duration) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let _serving = http.serve(server);
    let (read, mut write) = tokio::io::split(client);
    let start = tokio::time::Instant::now();
    let mut peer = Peer::new(tokio::io::join(read, tokio::io::sink()));
    write.write_all(head.as_bytes()).await.unwrap();
    let piece = piece.to_vec();
    let dripping = tokio::spawn(async move {
        for _ in 0..times {
            tokio::time::sleep(every).await;
            if write.write_all(&piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    });
    let answer = while_time_passes(peer.answer()).await;
    dripping.abort();
    (answer, start.elapsed())
}

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_body_of_eight_kilobytes_a_second_arrives_however_large_it_is() {
    let size = 8 << 20;
    let (http, log) = posting(HttpOptions::new().max_body_size(size));
    let (answer, _) = drip(&http, &post(size), &[b'a'; 8 * 1024], seconds(1), 1024).await;
    assert_eq!((answer.status(), answer.text()), (200, "8388608"));
    assert_eq!(log.take(), [""; 0]);
}

/// The framing of a chunked body does not belong to the body (RFC 9112 section 7.1).
#[tokio::test(start_paused = true)]
async fn extensions_sizes_and_trailers_are_no_progress() {
    for (what, head, piece) in [
        ("an extension", format!("{CHUNKED}3;"), &b"a"[..]),
        ("zeros of a size", CHUNKED.into(), b"0"),
        ("a trailer", format!("{CHUNKED}3\r\nabc\r\n0\r\nX: "), b"a"),
    ] {
        let (http, log) = posting(HttpOptions::new().min_body_rate(None));
        let (answer, after) = drip(&http, &head, piece, seconds(1), 10_000).await;
        assert_eq!((answer.status(), after), (408, seconds(10)), "{what}");
        assert_eq!(log.take(), ["no progress of the request body within 10s"], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_least_rate_can_be_set_and_switched_off() {
    let hundred = [b'a'; 100];
    for (rate, status) in [(Some(105), 408), (Some(99), 200), (None, 200), (Some(0), 200)] {
        let (http, log) = posting(HttpOptions::new().min_body_rate(rate));
        let (answer, _) = drip(&http, &post(60_000), &hundred, seconds(1), 600).await;
        assert_eq!(answer.status(), status, "{rate:?}");
        let told: &[&str] = match status {
            408 => &["request body slower than `min_body_rate` (105 bytes per second)"],
            _ => &[],
        };
        assert_eq!(log.take(), told, "{rate:?}");
    }
    // It is looked at after `body_timeout`, and after 10 s without one.
    for (timeout, end) in [(Some(seconds(3)), 3), (None, 10)] {
        let (http, _) = posting(HttpOptions::new().body_timeout(timeout));
        let (answer, after) = drip(&http, &post(60_000), b"a", seconds(2), 600).await;
        assert_eq!((answer.status(), after.as_secs()), (408, end));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_below_the_least_rate_is_not_waited_for() {
    for (what, head, piece, every) in [
        ("a byte now and then", post(64 * 1024), &b"a"[..], 9),
        ("chunks of a byte", CHUNKED.into(), b"1\r\na\r\n", 9),
        ("100 bytes a second", post(64 * 1024), &[b'a'; 100], 1),
    ] {
        let (http, log) = posting(HttpOptions::new());
        let (answer, after) = drip(&http, &head, piece, seconds(every), 10_000).await;
        assert_eq!(answer.status(), 408, "{what}");
        assert!((seconds(10)..seconds(13)).contains(&after), "{what}: {after:?}");
        assert_eq!(log.take().len(), 1, "{what}");
    }
}
