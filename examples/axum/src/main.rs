//! Run it with `cargo run -p react-websocket-axum-example`, connect a WebSocket client to
//! `ws://127.0.0.1:8000/live`, and add notes with `curl -d hello 127.0.0.1:8000/notes`. Ctrl-C ends it.

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().init();
    let listener = TcpListener::bind("127.0.0.1:8000").await?;
    tracing::info!("http://{}/notes", listener.local_addr()?);
    let ctrl_c = async {
        // Without a handler for Ctrl-C the system ends the program.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    };
    react_websocket_axum_example::serve(listener, ctrl_c).await
}
