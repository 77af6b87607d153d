use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http_body::Frame;
use http_body_util::Full;
use tower_service::Service;

use crate::emitter::BoxError;
use crate::http::{Body, BodyStream, HttpError, Middleware, Next, Response, ResponseFuture, ServerRequest};

/// Makes a router of a tower service, for example of an axum `Router`.
///
/// The service gets each request that the middlewares before it have passed on. For each request the router clones the
/// service, and calls the clone when its `poll_ready` is ready. The request's body is complete, as for all handlers, so
/// [`max_body_size`](crate::HttpOptions::max_body_size) limits it. The request has the [`ServerRequest`] as an extension, with
/// its addresses and attributes.
///
/// Response bodies are streamed, with the backpressure of the client. Trailers are dropped. If a body fails, it is cut off,
/// and the server emits `error`. If the service returns an error or panics, the client gets a 500, and the server emits
/// `error`.
///
/// The service cannot upgrade connections. Put a [`WebSocketMiddleware`](crate::WebSocketMiddleware) before it.
///
/// ```
/// use http_body_util::Full;
/// use react_websocket::hyper::tower_router;
/// use react_websocket::{Bytes, HttpServer, WebSocketMiddleware};
/// use std::convert::Infallible;
/// use std::future::{Ready, ready};
/// use std::task::{Context, Poll};
///
/// #[derive(Clone)]
/// struct Hello;
///
/// impl<B> tower_service::Service<http::Request<B>> for Hello {
///     type Response = http::Response<Full<Bytes>>;
///     type Error = Infallible;
///     type Future = Ready<Result<Self::Response, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, request: http::Request<B>) -> Self::Future {
///         ready(Ok(http::Response::new(Full::from(format!("Hello {}", request.uri().path())))))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let http = HttpServer::new((WebSocketMiddleware::new().with_path("/ws"), tower_router(Hello)));
/// let response = http.handle(http::Request::get("/world").body("").unwrap()).await;
/// assert_eq!(response.body().as_bytes().unwrap(), "Hello /world");
/// # }
/// ```
pub fn tower_router<S>(service: S) -> TowerRouter<S> {
    TowerRouter(service)
}

/// A router made of a tower service: see [`tower_router`].
#[derive(Clone)]
pub struct TowerRouter<S>(S);

impl<S> fmt::Debug for TowerRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TowerRouter").finish_non_exhaustive()
    }
}

impl<S, B> Middleware for TowerRouter<S>
where
    S: Service<http::Request<Full<Bytes>>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn handle(&self, request: ServerRequest, _next: Next) -> ResponseFuture {
        let mut service = self.0.clone();
        ResponseFuture::new(async move {
            let answered = async {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(into_http(request)).await.map_err(Into::into)?;
                let (parts, body) = response.into_parts();
                Ok(http::Response::from_parts(parts, into_body(body).await?).into())
            };
            answered.await.unwrap_or_else(|error| Response::failed(HttpError::returned(error)))
        })
    }
}

fn into_http(request: ServerRequest) -> http::Request<Full<Bytes>> {
    let mut converted = http::Request::new(Full::new(request.body().clone()));
    *converted.method_mut() = request.method().clone();
    *converted.uri_mut() = request.uri().clone();
    *converted.version_mut() = request.version();
    *converted.headers_mut() = request.headers().clone();
    converted.extensions_mut().insert(request);
    converted
}

/// Converts a body. A body that is complete at once becomes bytes, which need no task.
async fn into_body<B>(body: B) -> Result<Body, BoxError>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let first = match poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await {
        Poll::Ready(None) => return Ok(Bytes::new().into()),
        Poll::Ready(Some(frame)) => {
            let data = data_of(frame.map_err(Into::into)?);
            if body.is_end_stream() {
                return Ok(data.unwrap_or_default().into());
            }
            data
        }
        Poll::Pending => None,
    };
    Ok(BodyStream::from_stream(Pieces { first, body }).into())
}

/// Returns the bytes of a frame. Trailers have none.
fn data_of<D: Buf>(frame: Frame<D>) -> Option<Bytes> {
    let mut data = frame.into_data().ok()?;
    Some(data.copy_to_bytes(data.remaining()))
}

/// The pieces of a body.
struct Pieces<B> {
    first: Option<Bytes>,
    body: Pin<Box<B>>,
}

impl<B> Stream for Pieces<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            match ready!(self.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => {
                    if let Some(data) = data_of(frame) {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}
