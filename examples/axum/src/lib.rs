//! Notes: an axum app with REST routes, and with WebSockets that show each new note at once.
//!
//! | Request | Response |
//! |---|---|
//! | `GET /notes` | all notes, as JSON |
//! | `POST /notes` | adds the note in the body |
//! | WebSocket `/live` | all notes, then each new note; a text message adds a note |

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use react_websocket::hyper::WebSocketService;
use react_websocket::{GroupManager, WebSocketConnection, WebSocketMiddleware};
use tokio::net::TcpListener;

/// The group of all WebSockets.
const LIVE: &str = "live";

/// The state that the routes and the WebSockets share.
#[derive(Clone, Default)]
pub struct App {
    notes: Arc<Mutex<Vec<String>>>,
    groups: GroupManager,
}

impl App {
    /// Adds a note, and sends it to all WebSockets.
    pub fn add(&self, note: &str) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.to_owned());
        self.groups.write(LIVE, note);
    }

    /// Returns all notes.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The WebSockets of the app.
fn websockets(app: &App) -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new().with_group_manager(app.groups.clone());
    let app = app.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        tracing::info!(address = ?connection.remote_address(), "a client watches");
        // The connection joins first, so that it misses no note. It may get a note twice instead.
        connection.set_group(Some(LIVE))?;
        for note in app.notes() {
            connection.write(note);
        }
        let app = app.clone();
        connection.on("text", move |note: &str| app.add(note));
        Ok::<_, react_websocket::errors::GroupError>(())
    });
    websocket
}

/// The routes of the app.
fn router(app: App, websockets: WebSocketService) -> Router {
    Router::new()
        .route("/notes", get(list).post(add))
        .route_service("/live", websockets)
        .layer(from_fn(log))
        .with_state(app)
}

async fn list(State(app): State<App>) -> Json<Vec<String>> {
    Json(app.notes())
}

async fn add(State(app): State<App>, note: String) -> StatusCode {
    app.add(&note);
    StatusCode::CREATED
}

/// Logs each response, also those to handshakes.
async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    tracing::info!(%method, path, status = response.status().as_u16(), "answered");
    response
}

/// Serves the app until `signal` is ready. Then it answers pending requests, closes the WebSockets with 1001, and returns.
///
/// # Errors
/// The error of the listening socket.
pub async fn serve(listener: TcpListener, signal: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let app = App::default();
    let websockets = websockets(&app).into_service().remote_address(|request| {
        let info = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(info.0)
    });
    let router = router(app, websockets.clone());
    let service = websockets.clone();
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            signal.await;
            // Sends the Close frames now. axum's server does not wait for WebSockets.
            service.close();
        })
        .await?;
    websockets.close().await;
    Ok(())
}
