use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::hyper::upgrade::{self, OnUpgrade};
use bytes::{Buf, Bytes};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::Body;
use tokio::time::timeout;
use tower_service::Service;

use super::response_body::{ResponseBody, into_http};
use super::upgrade::finish;
use crate::emitter::{Contained, EventNames, contain, listener_methods};
use crate::http::{Closing, HttpError, HttpOptions, HttpServer, Phase, Response, ServerRequest, Shutdowns, spawn_upgraded};
use crate::runtime::stream::canonical;
use crate::websocket::WebSocketMiddleware;

const EVENTS: EventNames = EventNames {
    object: "a WebSocketService",
    names: &["error"],
    aliases: &[],
    hints: &[(&["connection"], "listen to it on the WebSocketMiddleware")],
};

/// A [`WebSocketMiddleware`] as a tower service: see [`WebSocketMiddleware::into_service`].
///
/// A clone is the same service: [`close`](WebSocketService::close) of one clone closes the connections of all clones.
#[must_use = "a service does nothing until a server calls it"]
#[derive(Clone)]
pub struct WebSocketService {
    shutdowns: Arc<Shutdowns>,
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    websocket: WebSocketMiddleware,
    /// The chain that answers: the middleware, and the router of requests that it passes on.
    server: HttpServer,
    remote_address: Option<RemoteAddress>,
    grace: Duration,
    spread: Duration,
}

type RemoteAddress = Arc<Contained<Box<dyn Fn(&Parts) -> Option<SocketAddr> + Send + Sync>>>;

/// # Inside axum and other tower servers
impl WebSocketMiddleware {
    /// Makes a tower service of this middleware, for a route of axum or of another server on hyper 1.
    ///
    /// The service answers a handshake as the middleware does in an [`HttpServer`](crate::HttpServer). The options and the
    /// `with_verify` closure apply. The `connection` listeners run before the 101 response is sent. A listener can
    /// [reject](crate::WebSocketConnection::reject) the handshake with any response. The connections share listeners, counters
    /// and groups with all other clones of the middleware.
    ///
    /// If the client does not read the 101 within [`handshake_timeout`](crate::WebSocketOptions::handshake_timeout), if it
    /// disconnects before, or if hyper fails to upgrade the connection, the connection closes with 1006. Bytes that hyper
    /// has read behind the handshake are delivered first; hyper's `max_buf_size` limits them, not this crate.
    ///
    /// Other requests get these responses:
    ///
    /// | Request | Response |
    /// |---|---|
    /// | not for a [path](WebSocketMiddleware::with_path) of the middleware | 404 |
    /// | no handshake, or a handshake that [lost the upgrade](crate::stats::WebSocketStats::not_upgraded) on the way | 426 with `Upgrade: websocket` (RFC 9110 section 15.5.22) |
    /// | a handshake of HTTP/2 (RFC 8441), which is not supported | 501 |
    /// | any, after [`close`](WebSocketService::close) | 503 |
    ///
    /// The [`ServerRequest`] has the extensions of hyper's request as an
    /// [attribute](ServerRequest::attribute) of the type `http::Extensions`.
    ///
    /// ```
    /// use react_websocket::{ServerRequest, WebSocketMiddleware};
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// let websocket = WebSocketMiddleware::new().with_verify(|request: ServerRequest| {
    ///     // An earlier tower layer has inserted it.
    ///     request.attribute::<http::Extensions>()?.get::<User>().cloned()
    /// });
    /// let service = websocket.into_service();
    /// # let _ = service;
    /// ```
    pub fn into_service(self) -> WebSocketService {
        let (websocket, known) = (self.clone(), self.clone());
        let server = HttpServer::new((self, move |request: ServerRequest| not_a_handshake(&known, &request)));
        let HttpOptions { shutdown_grace: grace, shutdown_spread: spread, .. } = HttpOptions::new();
        let settings = Settings { websocket, server, remote_address: None, grace, spread };
        WebSocketService { shutdowns: Arc::default(), settings: Arc::new(settings) }
    }
}

/// Answers a request that the middleware has passed on.
fn not_a_handshake(websocket: &WebSocketMiddleware, request: &ServerRequest) -> Response {
    if !websocket.serves(request) {
        return Response::error_page(StatusCode::NOT_FOUND);
    }
    // RFC 9220 section 3: the status for a protocol that is not supported.
    if *request.method() == Method::CONNECT {
        return Response::error_page(StatusCode::NOT_IMPLEMENTED);
    }
    upgrade_required()
}

fn upgrade_required() -> Response {
    Response::error_page(StatusCode::UPGRADE_REQUIRED).with_header("Upgrade", "websocket")
}

/// Answers a request after the shutdown has begun.
fn is_closing() -> Response {
    Response::error_page(StatusCode::SERVICE_UNAVAILABLE).with_header("Connection", "close")
}

impl WebSocketService {
    /// Sets the closure that returns the client's address, which
    /// [`remote_address`](crate::WebSocketConnection::remote_address) returns. Default: no address.
    ///
    /// The closure gets the request's head. axum has the address in an extension, if the app is served with
    /// `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// use axum::extract::ConnectInfo;
    /// use react_websocket::WebSocketMiddleware;
    /// use std::net::SocketAddr;
    ///
    /// let service = WebSocketMiddleware::new()
    ///     .into_service()
    ///     .remote_address(|request| request.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0));
    /// # let _ = service;
    /// ```
    ///
    /// If the closure panics, the client gets a 500.
    pub fn remote_address(
        self,
        address: impl Fn(&Parts) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> WebSocketService {
        self.with(|settings| settings.remote_address = Some(Arc::new(Contained::new(Box::new(address)))))
    }

    /// Sets the maximum time that a shutdown by [`close`](WebSocketService::close) takes. Default: 10 s. Afterwards the
    /// connections that are still open are dropped.
    pub fn shutdown_grace(self, time: Duration) -> WebSocketService {
        self.with(|settings| settings.grace = time)
    }

    /// Sets the time over which a shutdown spreads the Close frames, so that the clients do not reconnect all at once.
    /// Default: 0 s. It is a part of [`shutdown_grace`](WebSocketService::shutdown_grace).
    pub fn shutdown_spread(self, time: Duration) -> WebSocketService {
        self.with(|settings| settings.spread = time)
    }

    /// Closes all connections of the service with 1001, and refuses new handshakes with 503.
    ///
    /// The shutdown begins at once, also if the returned future is not awaited. The future is ready when no connection
    /// is left, at the latest after [`shutdown_grace`](WebSocketService::shutdown_grace).
    ///
    /// hyper does not count a connection any more after its upgrade. So the graceful shutdown of a server neither closes
    /// WebSockets nor waits for them. Call `close` when the server's shutdown begins, and again when it has ended:
    ///
    /// ```
    /// # use react_websocket::hyper::WebSocketService;
    /// # async fn shut_down(service: WebSocketService, end_of_server: impl Future<Output = ()>) {
    /// service.close();
    /// end_of_server.await;
    /// service.close().await;
    /// # }
    /// ```
    pub fn close(&self) -> Closing {
        Closing::new(self.shutdowns.close(self.settings.grace, self.settings.spread))
    }

    /// Drops all connections at once, and refuses new handshakes with 503. After [`close`](WebSocketService::close),
    /// `terminate` ends the grace period. The future is ready when no connection is left.
    pub fn terminate(&self) -> Closing {
        Closing::new(self.shutdowns.terminate())
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> WebSocketService {
        let mut settings = Arc::unwrap_or_clone(self.settings);
        change(&mut settings);
        WebSocketService { settings: Arc::new(settings), ..self }
    }

    async fn answer<B: Body>(self, mut request: Request<B>) -> http::Response<ResponseBody> {
        let (version, settings) = (request.version(), &self.settings);
        // From here on a shutdown waits for this request.
        let Some(task) = self.shutdowns.track_task(false) else {
            return into_http(is_closing(), version, &settings.server);
        };
        let is_upgradable = request.extensions().get::<OnUpgrade>().is_some();
        let on_upgrade = upgrade::on(&mut request);
        let answered = async {
            match settings.convert(request).await {
                Ok(request) if !is_upgradable && settings.websocket.asks_for_upgrade(&request) => {
                    settings.websocket.not_upgraded("server", &request);
                    upgrade_required()
                }
                Ok(request) => settings.server.handle(request).await,
                Err(page) => page,
            }
        };
        let mut response = tokio::select! {
            biased;
            response = answered => response,
            () = task.shutdown().reached(Phase::Terminated) => is_closing(),
        };
        if let Some(upgrade) = response.upgrade.take() {
            let limit = settings.websocket.options().handshake_timeout;
            spawn_upgraded(finish(task, on_upgrade, upgrade, self.shutdowns.clone(), limit));
        }
        into_http(response, version, &settings.server)
    }
}

/// # Listeners
///
/// The only event is `error`. Its listeners take `&HttpError`. It fires for the failures that an
/// [`HttpServer`](crate::HttpServer) around the middleware reports:
///
/// * A `with_verify` closure or a `connection` listener fails.
/// * A response that refuses a handshake cannot be sent, or its body fails.
/// * The closure of [`remote_address`](WebSocketService::remote_address) panics.
///
/// The `error` event of the middleware fires for each refused handshake.
impl WebSocketService {
    listener_methods! {
        EVENTS,
        FnMut(&HttpError),
        |listener, error: &Arc<HttpError>| listener(error),
        |service| Some(&service.settings.server.events().listeners),
    }
}

impl Settings {
    /// Converts a request of hyper.
    ///
    /// # Errors
    /// The page for the client if that fails.
    async fn convert<B: Body>(&self, request: Request<B>) -> Result<ServerRequest, Response> {
        let (mut parts, body) = request.into_parts();
        let client = match &self.remote_address {
            Some(address) => contain(|| Ok(address(&parts))).map_err(|error| {
                self.server.report(HttpError::Handler(error));
                Response::error_page(StatusCode::INTERNAL_SERVER_ERROR)
            })?,
            None => None,
        };
        let body = match parts.method {
            // The middleware refuses a handshake with a body. Other requests are answered without their body.
            Method::GET => self.beginning(body).await.ok_or_else(|| Response::error_page(StatusCode::BAD_REQUEST))?,
            _ => Bytes::new(),
        };
        let extensions = std::mem::take(&mut parts.extensions);
        Ok(ServerRequest::from_parts(parts, body, client.map(canonical)).with_attribute(extensions))
    }

    /// Returns the first bytes of a body: none if it is empty. `None` if it fails or takes too long.
    async fn beginning<B: Body>(&self, body: B) -> Option<Bytes> {
        let mut body = pin!(body);
        let first = poll_fn(|cx| {
            loop {
                match ready!(body.as_mut().poll_frame(cx)) {
                    None => return Poll::Ready(Some(Bytes::new())),
                    Some(Err(_)) => return Poll::Ready(None),
                    Some(Ok(frame)) => {
                        if let Ok(mut data) = frame.into_data()
                            && data.has_remaining()
                        {
                            return Poll::Ready(Some(data.copy_to_bytes(data.remaining())));
                        }
                    }
                }
            }
        });
        match self.websocket.options().handshake_timeout {
            Some(limit) => timeout(limit, first).await.ok().flatten(),
            None => first.await,
        }
    }
}

impl<B> Service<Request<B>> for WebSocketService
where
    B: Body + Send + 'static,
{
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<ResponseBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// # Panics
    /// The future panics outside of a tokio runtime with time enabled.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl fmt::Debug for WebSocketService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { websocket, grace, spread, .. } = &*self.settings;
        f.debug_struct("WebSocketService")
            .field("websocket", websocket)
            .field("shutdown_grace", grace)
            .field("shutdown_spread", spread)
            .finish_non_exhaustive()
    }
}
