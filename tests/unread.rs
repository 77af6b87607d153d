//! Bytes that a read does not bring though they have arrived: a short read is no proof that there is no more.
#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;

use react_websocket::WebSocketOptions;
use support::*;
use tokio::time::{sleep, timeout};

/// RFC 9293 §3.8.5: urgent data. A read stops at its mark, and what follows is not announced again.
#[tokio::test]
async fn bytes_after_urgent_data_are_delivered_when_the_peer_is_checked() {
    for options in [
        WebSocketOptions::new().ping_interval(Duration::from_millis(100)).pong_timeout(Duration::from_millis(200)),
        WebSocketOptions::new().ping_interval(None).idle_timeout(Duration::from_millis(200)),
    ] {
        let Pair { connection, peer, log } = Pair::over_tcp(options).await;
        connection.on("text", move |text: &str| {
            if text == "second" {
                connection.close()
            }
        });
        let socket = socket2::SockRef::from(&peer.stream);
        // In one segment.
        socket.set_tcp_cork(true).unwrap();
        socket.send(&text("first")).unwrap();
        socket.send_out_of_band(b"!").unwrap();
        socket.send(&text("second")).unwrap();
        socket.set_tcp_cork(false).unwrap();
        let delivered = async {
            let mut all = Vec::new();
            while !all.contains(&"text second".to_owned()) {
                sleep(Duration::from_millis(5)).await;
                all.extend(log.take());
            }
            all
        };
        let all = timeout(Duration::from_secs(10), delivered).await.expect("it is delivered");
        assert_eq!(all, ["text first", "text second"]);
        assert!(!connection.is_writable());
    }
}
