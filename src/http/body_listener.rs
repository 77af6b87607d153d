use super::body_writer::BodyWriter;
use crate::emitter::{BoxError, EachTime, ListenerOutput, Once};

/// A closure that can listen to the events of a [`BodyStream`](crate::BodyStream) or a [`BodyWriter`].
///
/// It is `||`, or `|writer: &BodyWriter|` with the type written, and returns nothing, a `bool` or a `Result`. One for
/// [`on`](BodyWriter::on) may change what it captures (`FnMut`), one for [`once`](BodyWriter::once) may give it away
/// (`FnOnce`).
///
/// `M` tells the forms apart, and `Calls` those for `on` and for `once`; the compiler infers them.
#[diagnostic::on_unimplemented(
    message = "this closure cannot listen to the events of a body stream",
    label = "not a listener",
    note = "`||` or `|writer: &BodyWriter|`, with the type written",
    note = "it is `Send + 'static`, and returns nothing, a `bool` or a `Result`: end it with `;` otherwise"
)]
pub trait IntoBodyListener<M, Calls = EachTime> {
    #[doc(hidden)]
    fn into_body_listener(self) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static;
}

/// The markers that tell the forms of closures apart.
#[doc(hidden)]
pub(super) mod form {
    pub enum Plain {}
    pub enum WithWriter {}
}
use form::{Plain, WithWriter};

impl<F, R> IntoBodyListener<Plain> for F
where
    F: FnMut() -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(mut self) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        move |_| self().into_result()
    }
}

impl<F, R> IntoBodyListener<WithWriter> for F
where
    F: FnMut(&BodyWriter) -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(mut self) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        move |writer| self(writer).into_result()
    }
}

impl<F, R> IntoBodyListener<Plain, Once> for F
where
    F: FnOnce() -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(self) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        let mut listener = Some(self);
        move |_| listener.take().map_or(Ok(()), |listener| listener().into_result())
    }
}

impl<F, R> IntoBodyListener<WithWriter, Once> for F
where
    F: FnOnce(&BodyWriter) -> R + Send + 'static,
    R: ListenerOutput,
{
    fn into_body_listener(self) -> impl FnMut(&BodyWriter) -> Result<(), BoxError> + Send + 'static {
        let mut listener = Some(self);
        move |writer| listener.take().map_or(Ok(()), |listener| listener(writer).into_result())
    }
}
