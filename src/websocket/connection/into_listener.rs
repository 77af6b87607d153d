//! Which closures can listen to the events of a connection.

use bytes::Bytes;

use crate::emitter::{
    Asynchronous, BoxError, ClonedForEachCallSoUseArc, Contained, EachTime, ListenerOutput, Once, Synchronous, output_of,
};
use crate::websocket::error::ConnectionError;
use crate::websocket::message::{Message, Text};
use crate::websocket::state::event::{Args, ConnectionListener, Shape};
use crate::websocket::state::handle::WebSocketConnection;

/// A closure that can listen to an event of a [`WebSocketConnection`].
///
/// | event | synchronous | asynchronous |
/// |---|---|---|
/// | any | `\|\|` | `async \|\|`, `\|\| async { … }` |
/// | `text` | `\|text: &str\|`, `\|text: Text\|` | `async \|text: &str\|`, `\|text: Text\| async move { … }` |
/// | `binary`, `ping`, `pong` | `\|bytes: &[u8]\|`, `\|bytes: Bytes\|` | `async \|bytes: &[u8]\|`, `\|bytes: Bytes\| async move { … }` |
/// | `message` | `\|message: Message\|` | `\|message: Message\| async move { … }` |
/// | `error` | `\|reason: Option<&str>, code: Option<u16>\|`, `\|reason: Option<&str>\|`, `\|error: &ConnectionError\|` | `\|error: ConnectionError\| async move { … }` |
/// | `close` | `\|code: u16, reason: &str\|`, `\|code: u16\|` | `\|code: u16, reason: Text\| async move { … }` |
///
/// Each closure may take the connection as an additional first argument. Its type is
/// `&WebSocketConnection`. In an asynchronous closure with owned arguments it is
/// `WebSocketConnection`.
///
/// A synchronous closure may change its captures (`FnMut`). An asynchronous closure is cloned for
/// each call, so its captures must be `Clone`: for example handles, senders, and values in an
/// `Arc`. A closure for [`once`](WebSocketConnection::once) may consume its captures (`FnOnce`),
/// and is not cloned.
///
/// `M` distinguishes the kinds of closures, and `Calls` the closures for `on` and for `once`. The
/// compiler infers both.
///
/// This trait is sealed: only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "this closure does not fit any event of a connection",
    label = "not a listener",
    note = "text: `|text: &str|`; binary, ping, pong: `|bytes: &[u8]|`; message: `|message: Message|`",
    note = "close: `|code: u16, reason: &str|`; error: `|reason: Option<&str>, code: Option<u16>|` or `|error: &ConnectionError|`",
    note = "any event: `||`",
    note = "asynchronous: `async move |text: &str| ..` or `|text: Text| async move {{ .. }}`",
    note = "an asynchronous closure is cloned for each call: wrap what cannot be cloned in an `Arc`",
    note = "each may take `connection: &WebSocketConnection` first, and returns nothing, a `bool` or a `Result`: end it with `;` otherwise",
    note = "write the types of the arguments: an event's name cannot tell the compiler (or use `on_text(|text| ..)`)"
)]
pub trait IntoListener<M, Calls = EachTime> {
    #[doc(hidden)]
    fn into_listener(self) -> ConnectionListener;
}

/// The markers that tell the kinds of closures apart.
#[doc(hidden)]
pub(crate) mod kind {
    use std::marker::PhantomData;

    #[derive(Debug)]
    pub struct Sync<A>(PhantomData<A>);
    #[derive(Debug)]
    pub struct Async<A>(PhantomData<A>);
    /// An asynchronous closure that borrows its argument.
    #[derive(Debug)]
    pub struct Borrowing<A: ?Sized>(PhantomData<A>);
    /// Takes the connection too, by reference or by value.
    #[derive(Debug)]
    pub struct With<M>(PhantomData<M>);
    #[derive(Debug)]
    pub struct Owning<M>(PhantomData<M>);

    #[derive(Debug)]
    pub enum Nothing {}
    #[derive(Debug)]
    pub enum Str {}
    #[derive(Debug)]
    pub enum OwnedText {}
    #[derive(Debug)]
    pub enum Slice {}
    #[derive(Debug)]
    pub enum OwnedBytes {}
    #[derive(Debug)]
    pub enum AnyMessage {}
    #[derive(Debug)]
    pub enum Reason {}
    #[derive(Debug)]
    pub enum ReasonAndCode {}
    #[derive(Debug)]
    pub enum Error {}
    #[derive(Debug)]
    pub enum Code {}
    #[derive(Debug)]
    pub enum CodeAndReason {}
}
use kind::{Async, Borrowing, Owning, Sync, With};

fn now<F>(shape: Shape, closure: F) -> ConnectionListener
where
    F: for<'a> FnMut(&WebSocketConnection, Args<'a>) -> Result<(), BoxError> + Send + 'static,
{
    ConnectionListener { shape, listener: Contained::new(Box::new(Synchronous(closure))) }
}

fn later<F, Fut>(shape: Shape, closure: F) -> ConnectionListener
where
    F: for<'a> FnMut(&WebSocketConnection, Args<'a>) -> Option<Fut> + Send + 'static,
    Fut: Future<Output: ListenerOutput> + Send + 'static,
{
    ConnectionListener { shape, listener: Contained::new(Box::new(Asynchronous::new(closure))) }
}

/// Closures that are done when they return: their marker, the shape, their arguments, and where those come from.
macro_rules! synchronous {
    ($marker:ident: $shape:ident ($($arg:ty),*) <- $pattern:pat => ($($value:expr),*)) => {
        synchronous!(Sync<kind::$marker>, $shape ($($arg),*) <- _connection, $pattern => ($($value),*));
        synchronous!(
            With<Sync<kind::$marker>>,
            $shape (&WebSocketConnection $(, $arg)*) <- connection, $pattern => (connection $(, $value)*)
        );
        synchronous!(
            Owning<Sync<kind::$marker>>,
            $shape (WebSocketConnection $(, $arg)*) <- connection, $pattern => (*connection $(, $value)*)
        );
    };
    ($marker:ty, $shape:ident ($($arg:ty),*) <- $connection:ident, $pattern:pat => ($($value:expr),*)) => {
        impl<F, R> IntoListener<$marker> for F
        where
            F: FnMut($($arg),*) -> R + Send + 'static,
            R: ListenerOutput,
        {
            fn into_listener(mut self) -> ConnectionListener {
                now(Shape::$shape, move |$connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => self($($value),*).into_result(),
                    #[allow(unreachable_patterns, reason = "`||` takes anything")]
                    _ => Ok(()),
                })
            }
        }

        impl<F, R> IntoListener<$marker, Once> for F
        where
            F: FnOnce($($arg),*) -> R + Send + 'static,
            R: ListenerOutput,
        {
            fn into_listener(self) -> ConnectionListener {
                let mut closure = Some(self);
                now(Shape::$shape, move |$connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => closure.take().map_or(Ok(()), |closure| closure($($value),*).into_result()),
                    #[allow(unreachable_patterns, reason = "`||` takes anything")]
                    _ => Ok(()),
                })
            }
        }
    };
}

synchronous!(Nothing: Nothing () <- _ => ());
synchronous!(Str: Text (&str) <- Args::Text(text) => (text));
synchronous!(OwnedText: Text (Text) <- Args::Text(text) => (Text::pooled(text)));
synchronous!(Slice: Bytes (&[u8]) <- Args::Bytes(bytes) => (bytes));
synchronous!(OwnedBytes: Bytes (Bytes) <- Args::Bytes(bytes) => (Message::pooled(bytes)));
synchronous!(Reason: Failure (Option<&str>) <- Args::Failed(error) => (Some(error.reason().as_ref())));
synchronous!(ReasonAndCode: Failure (Option<&str>, Option<u16>) <- Args::Failed(error) => (Some(error.reason().as_ref()), Some(error.close_code())));
synchronous!(Error: Failure (&ConnectionError) <- Args::Failed(error) => (error));
synchronous!(Code: Close (u16) <- Args::Closed(code, _) => (code));
synchronous!(CodeAndReason: Close (u16, &str) <- Args::Closed(code, reason) => (code, reason));
synchronous!(AnyMessage: Message (Message) <- args @ (Args::Text(_) | Args::Bytes(_)) => (args.to_message()));

/// Closures that return a future of what they own.
///
/// `AsyncFn` rules out a closure that changes what it captured, since such changes could not be
/// kept between calls. The future owns the captures of the clone, so it can be kept beside the
/// closure.
macro_rules! asynchronous {
    ($marker:ident: $shape:ident ($($arg:ty),*) <- $pattern:pat => ($($value:expr),*)) => {
        asynchronous!(Async<kind::$marker>, $shape ($($arg),*) <- _connection, $pattern => ($($value),*));
        asynchronous!(
            Owning<Async<kind::$marker>>,
            $shape (WebSocketConnection $(, $arg)*) <- connection, $pattern => (*connection $(, $value)*)
        );
    };
    ($marker:ty, $shape:ident ($($arg:ty),*) <- $connection:ident, $pattern:pat => ($($value:expr),*)) => {
        impl<F, Fut, R> IntoListener<$marker> for F
        where
            F: AsyncFn($($arg),*) -> R + FnOnce($($arg),*) -> Fut + ClonedForEachCallSoUseArc + Send + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: ListenerOutput,
        {
            fn into_listener(self) -> ConnectionListener {
                later(Shape::$shape, move |$connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => Some((self.clone())($($value),*)),
                    #[allow(unreachable_patterns, reason = "`||` takes anything")]
                    _ => None,
                })
            }
        }

        impl<F, Fut, R> IntoListener<$marker, Once> for F
        where
            F: FnOnce($($arg),*) -> Fut + Send + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: ListenerOutput,
        {
            fn into_listener(self) -> ConnectionListener {
                let mut closure = Some(self);
                later(Shape::$shape, move |$connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => closure.take().map(|closure| closure($($value),*)),
                    #[allow(unreachable_patterns, reason = "`||` takes anything")]
                    _ => None,
                })
            }
        }
    };
}

asynchronous!(Nothing: Nothing () <- _ => ());
asynchronous!(OwnedText: Text (Text) <- Args::Text(text) => (Text::pooled(text)));
asynchronous!(OwnedBytes: Bytes (Bytes) <- Args::Bytes(bytes) => (Message::pooled(bytes)));
asynchronous!(AnyMessage: Message (Message) <- args @ (Args::Text(_) | Args::Bytes(_)) => (args.to_message()));
asynchronous!(Error: Failure (ConnectionError) <- Args::Failed(error) => (error.clone()));
asynchronous!(Code: Close (u16) <- Args::Closed(code, _) => (code));
asynchronous!(CodeAndReason: Close (u16, Text) <- Args::Closed(code, reason) => (code, Text::from(reason)));

/// An asynchronous closure that borrows its argument: `async |text: &str| { … }`. The type of its
/// future differs for each lifetime. In this form the future can be required to be `Send`.
#[doc(hidden)]
pub trait BorrowingCall<'a, A: ?Sized + 'a>: FnOnce(&'a A) -> Self::Running {
    type Running: Future<Output = Self::Returned> + Send + 'a;
    type Returned: ListenerOutput;
}

impl<'a, A, F, Fut> BorrowingCall<'a, A> for F
where
    A: ?Sized + 'a,
    F: FnOnce(&'a A) -> Fut,
    Fut: Future<Output: ListenerOutput> + Send + 'a,
{
    type Running = Fut;
    type Returned = Fut::Output;
}

/// Like [`BorrowingCall`], with the connection as the first argument.
#[doc(hidden)]
pub trait BorrowingCallWith<'a, A: ?Sized + 'a>: FnOnce(&'a WebSocketConnection, &'a A) -> Self::Running {
    type Running: Future<Output = Self::Returned> + Send + 'a;
    type Returned: ListenerOutput;
}

impl<'a, A, F, Fut> BorrowingCallWith<'a, A> for F
where
    A: ?Sized + 'a,
    F: FnOnce(&'a WebSocketConnection, &'a A) -> Fut,
    Fut: Future<Output: ListenerOutput> + Send + 'a,
{
    type Running = Fut;
    type Returned = Fut::Output;
}

/// A future that owns the closure and what it borrows.
async fn call<A, F>(closure: F, owned: impl AsRef<A>) -> Result<(), BoxError>
where
    A: ?Sized,
    F: for<'a> BorrowingCall<'a, A>,
{
    output_of!(closure(owned.as_ref())).into_result()
}

async fn call_with<A, F>(closure: F, connection: WebSocketConnection, owned: impl AsRef<A>) -> Result<(), BoxError>
where
    A: ?Sized,
    F: for<'a> BorrowingCallWith<'a, A>,
{
    output_of!(closure(&connection, owned.as_ref())).into_result()
}

macro_rules! borrowing {
    ($borrowed:ty: $shape:ident <- $pattern:pat => $value:expr) => {
        borrowing!(
            Borrowing<$borrowed>, (&$borrowed), BorrowingCall<'a, $borrowed>,
            $shape <- _connection, $pattern => |closure| call(closure, $value)
        );
        borrowing!(
            With<Borrowing<$borrowed>>, (&WebSocketConnection, &$borrowed), BorrowingCallWith<'a, $borrowed>,
            $shape <- connection, $pattern => |closure| call_with(closure, *connection, $value)
        );
    };
    (
        $marker:ty, ($($arg:ty),*), $bound:path,
        $shape:ident <- $connection:ident, $pattern:pat => |$closure:ident| $call:expr
    ) => {
        impl<F, R> IntoListener<$marker> for F
        where
            F: AsyncFn($($arg),*) -> R + for<'a> $bound + ClonedForEachCallSoUseArc + Send + 'static,
            R: ListenerOutput,
        {
            fn into_listener(self) -> ConnectionListener {
                later(Shape::$shape, move |$connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => {
                        let $closure = self.clone();
                        Some($call)
                    }
                    _ => None,
                })
            }
        }

        impl<F, R> IntoListener<$marker, Once> for F
        where
            F: AsyncFnOnce($($arg),*) -> R + for<'a> $bound + Send + 'static,
            R: ListenerOutput,
        {
            fn into_listener(self) -> ConnectionListener {
                let mut closure = Some(self);
                later(Shape::$shape, move |$connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => closure.take().map(|$closure| $call),
                    _ => None,
                })
            }
        }
    };
}

borrowing!(str: Text <- Args::Text(text) => Text::pooled(text));
borrowing!([u8]: Bytes <- Args::Bytes(bytes) => Message::pooled(bytes));
