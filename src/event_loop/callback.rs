//! The closures that the loop calls.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::emitter::{BoxError, IntoListenerFuture, ListenerCall, ListenerOutput, contain, drop_each};
use crate::runtime::trace;
use crate::runtime::turn::Turn;

/// A closure that the loop calls repeatedly with an `A`.
/// [`Loop::add_periodic_timer`](crate::Loop::add_periodic_timer) and
/// [`Loop::add_signal`](crate::Loop::add_signal) take it.
///
/// | closure | for |
/// |---|---|
/// | `\|\| …`, `\|timer: Timer\| …`, `\|signal: Signal\| …` | synchronous; may change its captures |
/// | `async \|\| …`, `async move \|\| …`, `\|\| async move { … }` | asynchronous; cloned for each call, so its captures must be `Clone` |
/// | `async move \|timer: Timer\| …`, `async move \|signal: Signal\| …` | asynchronous, with the argument |
///
/// All closures return `()`, a `bool`, or a `Result`. `M` distinguishes the forms; the compiler
/// infers `M`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this closure cannot be called again and again by the loop",
    label = "not a callback of the loop",
    note = "synchronous: `|| ..`, `|timer: Timer| ..`, `|signal: Signal| ..`",
    note = "asynchronous: `async move || ..` or `|| async move {{ .. }}`; captures have to be `Clone`, and are not changed",
    note = "it is `Send + 'static`, takes no argument or the one with its type written, and returns nothing, a `bool` or a `Result`: end it with `;` otherwise"
)]
pub trait IntoCallback<A, M> {
    #[doc(hidden)]
    fn into_callback(self, argument: A) -> Callback;
}

/// A closure that the loop calls once with an `A`. [`Loop::add_timer`](crate::Loop::add_timer)
/// takes it.
///
/// The closure takes nothing or the [`Timer`](crate::Timer), and may be synchronous or
/// asynchronous. It returns `()`, a `bool`, a `Result`, or a future of one of these. `M`
/// distinguishes the forms; the compiler infers `M`.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this closure cannot be called by the loop",
    label = "not a callback of the loop",
    note = "synchronous: `|| ..` or `|timer: Timer| ..`; asynchronous: `async move || ..` or `|| async move {{ .. }}`",
    note = "it is `Send + 'static`, and returns nothing, a `bool`, a `Result`, or a future of one of these: end it with `;` otherwise"
)]
pub trait IntoOnceCallback<A, M> {
    #[doc(hidden)]
    fn into_once_callback(self, argument: A) -> Callback;
}

/// A closure with its argument.
#[allow(missing_debug_implementations, reason = "an app cannot name it")]
pub struct Callback(Box<dyn FnMut() -> ListenerCall + Send>);

/// The markers that tell the forms of closures apart.
#[doc(hidden)]
pub(super) mod form {
    use std::marker::PhantomData;

    #[derive(Debug)]
    pub struct Plain<K>(PhantomData<K>);
    #[derive(Debug)]
    pub struct WithArgument<K>(PhantomData<K>);
    #[derive(Debug)]
    pub enum Synchronous {}
    #[derive(Debug)]
    pub enum Asynchronous {}
}
use form::{Asynchronous, Plain, Synchronous, WithArgument};

impl Callback {
    fn new(call: impl FnMut() -> ListenerCall + Send + 'static) -> Callback {
        Callback(Box::new(call))
    }

    fn once(call: impl FnOnce() -> ListenerCall + Send + 'static) -> Callback {
        let mut call = Some(call);
        Callback::new(move || call.take().map_or(ListenerCall::Done(Ok(())), |call| call()))
    }

    /// Calls the closure. See [`call`].
    pub(super) fn call(&mut self) -> Option<Running> {
        call(&mut self.0)
    }
}

impl<A, F, R> IntoCallback<A, Plain<Synchronous>> for F
where
    F: FnMut() -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_callback(mut self, _argument: A) -> Callback {
        Callback::new(move || ListenerCall::Done(self().into_result()))
    }
}

impl<A, F, R> IntoCallback<A, WithArgument<Synchronous>> for F
where
    A: Copy + Send + 'static,
    F: FnMut(A) -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_callback(mut self, argument: A) -> Callback {
        Callback::new(move || ListenerCall::Done(self(argument).into_result()))
    }
}

// `AsyncFn` rules out a closure that changes its captures. The future owns the clone.
impl<A, F, Fut, R> IntoCallback<A, Plain<Asynchronous>> for F
where
    F: AsyncFn() -> R + FnOnce() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: ListenerOutput,
{
    fn into_callback(self, _argument: A) -> Callback {
        Callback::new(move || (self.clone())().into_call())
    }
}

impl<A, F, Fut, R> IntoCallback<A, WithArgument<Asynchronous>> for F
where
    A: Copy + Send + 'static,
    F: AsyncFn(A) -> R + FnOnce(A) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: ListenerOutput,
{
    fn into_callback(self, argument: A) -> Callback {
        Callback::new(move || (self.clone())(argument).into_call())
    }
}

impl<A, F, R, K> IntoOnceCallback<A, Plain<K>> for F
where
    F: FnOnce() -> R + Send + 'static,
    R: IntoListenerFuture<K>,
{
    fn into_once_callback(self, _argument: A) -> Callback {
        Callback::once(move || self().into_call())
    }
}

impl<A, F, R, K> IntoOnceCallback<A, WithArgument<K>> for F
where
    A: Copy + Send + 'static,
    F: FnOnce(A) -> R + Send + 'static,
    R: IntoListenerFuture<K>,
{
    fn into_once_callback(self, argument: A) -> Callback {
        Callback::once(move || self(argument).into_call())
    }
}

/// The rest of an asynchronous call.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Calls a closure in a turn of its own. If the closure is asynchronous it runs up to its first
/// `await`, and what is left of the call is returned.
pub(super) fn call(callback: impl FnOnce() -> ListenerCall) -> Option<Running> {
    let _turn = Turn::begin();
    // The panic hook has reported a panic already.
    match contain(|| Ok(callback())).ok()? {
        ListenerCall::Done(result) => {
            report(result);
            None
        }
        ListenerCall::Later(mut running) => {
            // The task that continues the call polls it with its own waker.
            let is_pending = poll(&mut running, &mut Context::from_waker(Waker::noop())).is_pending();
            let (rest, over) = if is_pending { (Some(running), None) } else { (None, Some(running)) };
            drop_each(over);
            rest
        }
    }
}

/// Continues an asynchronous call to its end.
pub(super) async fn go_on(mut running: Running) {
    std::future::poll_fn(|cx| {
        let _turn = Turn::begin();
        poll(&mut running, cx)
    })
    .await;
    drop_each([running]);
}

fn poll(running: &mut Running, cx: &mut Context<'_>) -> Poll<()> {
    match contain(|| Ok(running.as_mut().poll(cx))) {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(result)) => report(result),
        Err(_) => {}
    }
    Poll::Ready(())
}

fn report(result: Result<(), BoxError>) {
    if let Err(error) = result {
        trace::callback_failed(&*error);
        drop_each([error]);
    }
}
