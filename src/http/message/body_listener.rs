use super::body_writer::{BodyWriter, EVENTS};
use crate::emitter::{
    BoxError, EachTime, ListenerError, ListenerId, ListenerOutput, Once, Rank, Sealed, expect_fit, listeners_of,
};

/// A closure that can listen to the events of a [`BodyStream`](crate::BodyStream) or a [`BodyWriter`].
///
/// The closure is `||`, or `|writer: &BodyWriter|` with the type written, and returns nothing, a
/// `bool` or a `Result`. A closure for [`on`](BodyWriter::on) may change its captures (`FnMut`). A
/// closure for [`once`](BodyWriter::once) may consume its captures (`FnOnce`).
///
/// `M` distinguishes the forms, and `Calls` the closures for `on` and for `once`. The compiler
/// infers both.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this closure cannot listen to the events of a body stream",
    label = "not a listener",
    note = "`||` or `|writer: &BodyWriter|`, with the type written",
    note = "it is `Send + 'static`, and returns nothing, a `bool` or a `Result`: end it with `;` otherwise"
)]
pub trait IntoBodyListener<M, Calls = EachTime> {
    #[doc(hidden)]
    fn into_body_listener(self, _: Sealed) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static;
}

/// The markers that tell the forms of closures apart.
#[doc(hidden)]
pub(super) mod form {
    #[derive(Debug)]
    pub enum Plain {}
    #[derive(Debug)]
    pub enum WithWriter {}
}
use form::{Plain, WithWriter};

impl<F, R> IntoBodyListener<Plain> for F
where
    F: FnMut() -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(mut self, _: Sealed) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        move |_| self().into_result()
    }
}

impl<F, R> IntoBodyListener<WithWriter> for F
where
    F: FnMut(&BodyWriter) -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(mut self, _: Sealed) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        move |writer| self(writer).into_result()
    }
}

impl<F, R> IntoBodyListener<Plain, Once> for F
where
    F: FnOnce() -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(self, _: Sealed) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        let mut listener = Some(self);
        move |_| listener.take().map_or(Ok(()), |listener| listener().into_result())
    }
}

impl<F, R> IntoBodyListener<WithWriter, Once> for F
where
    F: FnOnce(&BodyWriter) -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(self, _: Sealed) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        let mut listener = Some(self);
        move |writer| listener.take().map_or(Ok(()), |listener| listener(writer).into_result())
    }
}

/// # Listeners
///
/// The events are `drain`, `shutdown` and `close`. If the stream is already closed, `close` does
/// not fire again, and a new listener is dropped at once.
impl BodyWriter {
    /// Calls `listener` for every future `event`. Returns the id for
    /// [`remove_listener`](BodyWriter::remove_listener).
    ///
    /// `listener`: `||`, as in ReactPHP, or `|writer: &BodyWriter|`.
    ///
    /// # Panics
    /// If there is no such event. The message lists all events.
    #[track_caller]
    pub fn on<M>(&self, event: &str, listener: impl IntoBodyListener<M>) -> ListenerId {
        expect_fit(self.try_on(event, listener))
    }

    /// Calls `listener` for the next `event` only, after all `on` listeners. The closure may be
    /// `FnOnce`.
    ///
    /// # Panics
    /// If there is no such event. The message lists all events.
    #[track_caller]
    pub fn once<M>(&self, event: &str, listener: impl IntoBodyListener<M, Once>) -> ListenerId {
        expect_fit(self.try_once(event, listener))
    }

    /// Like [`on`](Self::on), but returns the error instead of panicking.
    ///
    /// # Errors
    /// [`ListenerError::UnknownEvent`] if there is no such event.
    pub fn try_on<M>(&self, event: &str, listener: impl IntoBodyListener<M>) -> Result<ListenerId, ListenerError> {
        self.add_listener(event, Rank::On, listener.into_body_listener(Sealed))
    }

    /// Like [`once`](Self::once), but returns the error instead of panicking.
    ///
    /// # Errors
    /// [`ListenerError::UnknownEvent`] if there is no such event.
    pub fn try_once<M>(&self, event: &str, listener: impl IntoBodyListener<M, Once>) -> Result<ListenerId, ListenerError> {
        self.add_listener(event, Rank::Once, listener.into_body_listener(Sealed))
    }

    listeners_of! { EVENTS, &BodyWriter, |writer| Some(&writer.inner.events.listeners) }
}
