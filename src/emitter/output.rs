use std::error::Error;

/// The error that a listener returns.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A value that a listener may return: `()`, a `bool`, or a `Result`. A `bool` is accepted because
/// `write` returns a `bool`; its value is ignored. An `Err` corresponds to an exception in
/// ReactPHP.
#[diagnostic::on_unimplemented(
    message = "a listener cannot return `{Self}`",
    label = "return `()`, a `bool`, or a `Result<_, E>`",
    note = "end the closure's body with `;` to throw its value away",
    note = "where an asynchronous closure does not fit, listeners are synchronous: give `tokio::spawn` what has to wait"
)]
pub trait ListenerOutput {
    /// Returns `Err` if the listener has failed.
    fn into_result(self) -> Result<(), BoxError>;
}

impl ListenerOutput for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl ListenerOutput for bool {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T, E: Into<BoxError>> ListenerOutput for Result<T, E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map(drop).map_err(Into::into)
    }
}

/// The type of a closure that never returns is `!`, which has no other name.
#[doc(hidden)]
pub trait Returns {
    type Type;
}
impl<T> Returns for fn() -> T {
    type Type = T;
}
pub(crate) type Never = <fn() -> ! as Returns>::Type;
impl ListenerOutput for Never {
    fn into_result(self) -> Result<(), BoxError> {
        self
    }
}
