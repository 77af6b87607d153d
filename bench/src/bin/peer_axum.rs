//! axum, whose WebSocket is tokio-tungstenite's.
//!
//! usage: peer_axum PORT [--mode broadcast] [--style forward] [--workers N]
#![forbid(unsafe_code)]

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::Message;
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use react_websocket_bench::peer::Peer;

fn main() -> std::io::Result<()> {
    Peer::listen(|listener, peer: Peer<Message>| async {
        let upgrade = async move |upgrade: WebSocketUpgrade| upgrade.on_upgrade(move |socket| peer.serve(socket));
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(
            listener,
            Router::new().route("/", any(upgrade)).route("/hello", get(async || "This is a websocket server")),
        )
        .await
    })
}
