use crate::emitter::{ClonedForEachCallSoUseArc, ConcurrentClosure, Later, ListenerCall, ListenerOutput, Now, output_of};
use crate::websocket::state::handle::WebSocketConnection;

/// A closure that can listen to an event of a [`WebSocketMiddleware`](crate::WebSocketMiddleware):
/// `|connection: WebSocketConnection|`, synchronous or asynchronous.
///
/// The closure returns nothing, a `bool` or a `Result`. An asynchronous closure is cloned for each
/// call, so its captures must be `Clone`: for example handles, senders, and values in an `Arc`. `M`
/// distinguishes the kinds; the compiler infers `M`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this closure does not fit an event of a `WebSocketMiddleware`",
    label = "not a listener",
    note = "a listener is `|connection: WebSocketConnection| ..` or `async move |connection: WebSocketConnection| ..`",
    note = "a listener that ignores the connection takes it all the same: `|_: WebSocketConnection| ..`",
    note = "it returns nothing, a `bool` or a `Result`: end it with `;` otherwise",
    note = "an asynchronous closure is cloned for each call: wrap what cannot be cloned in an `Arc`"
)]
pub trait IntoMiddlewareListener<M> {
    #[doc(hidden)]
    fn into_listener(self) -> ConcurrentClosure<WebSocketConnection>;
}

impl<F, R> IntoMiddlewareListener<Now> for F
where
    F: Fn(WebSocketConnection) -> R + Send + Sync + 'static,
    R: ListenerOutput,
{
    fn into_listener(self) -> ConcurrentClosure<WebSocketConnection> {
        Box::new(move |connection: WebSocketConnection| ListenerCall::Done(self(connection).into_result()))
    }
}

// Cloned for each call, as a router is, and for the same reason.
impl<F, Fut, R> IntoMiddlewareListener<Later> for F
where
    F: AsyncFn(WebSocketConnection) -> R
        + FnOnce(WebSocketConnection) -> Fut
        + ClonedForEachCallSoUseArc
        + Send
        + Sync
        + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: ListenerOutput,
{
    fn into_listener(self) -> ConcurrentClosure<WebSocketConnection> {
        Box::new(move |connection: WebSocketConnection| {
            let running = (self.clone())(connection);
            ListenerCall::Later(Box::pin(async move { output_of!(running).into_result() }))
        })
    }
}
