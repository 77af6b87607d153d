//! WebSockets inside axum, hyper and other tower servers, and tower services as routers.
//!
//! [`into_service`](crate::WebSocketMiddleware::into_service) makes a tower service of a middleware. The service upgrades
//! the handshakes that hyper has received, and the connections have the events, limits and timeouts of the middleware:
//!
//! ```
//! use react_websocket::{WebSocketConnection, WebSocketMiddleware};
//!
//! let websocket = WebSocketMiddleware::new();
//! websocket.on("connection", |connection: WebSocketConnection| {
//!     connection.on("text", move |text: &str| connection.write(text));
//! });
//! let app: axum::Router = axum::Router::new().route_service("/ws", websocket.clone().into_service());
//! # let _ = app;
//! ```
//!
//! [`tower_router`] makes a router of a tower service, for an [`HttpServer`](crate::HttpServer) of this crate.
//!
//! The guide `docs/axum.md` has more, and the package `examples/axum` is a whole server.

mod response_body;
mod router;
mod service;
mod upgrade;

pub use response_body::ResponseBody;
pub use router::{TowerRouter, tower_router};
pub use service::WebSocketService;
