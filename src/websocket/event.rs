//! The events of a connection: their names, what their listeners are called with, and which closures fit.

use bytes::Bytes;

use super::connection::WebSocketConnection;
use super::error::ConnectionError;
use super::message::{Message, Text};
use crate::emitter::{
    Asynchronous, BoxError, EventNames, Events, Listener, ListenerError, Outcome, Synchronous, output_of,
};

pub(super) const NAMES: EventNames = EventNames {
    object: "a WebSocketConnection",
    names: &["text", "binary", "message", "ping", "pong", "drain", "end", "error", "close"],
    aliases: &[],
};
pub(super) const TEXT: u8 = 0;
pub(super) const BINARY: u8 = 1;
pub(super) const MESSAGE: u8 = 2;
pub(super) const PING: u8 = 3;
pub(super) const PONG: u8 = 4;
pub(super) const DRAIN: u8 = 5;
pub(super) const END: u8 = 6;
pub(super) const ERROR: u8 = 7;
pub(super) const CLOSE: u8 = 8;

/// The events of a connection, to the emitter.
pub(crate) enum ConnectionEvents {}

impl Events for ConnectionEvents {
    type Subject = WebSocketConnection;
    type Args<'a> = Args<'a>;
}

/// What the listeners of an event are called with. It borrows from where the bytes arrived.
#[derive(Clone, Copy)]
pub(crate) enum Args<'a> {
    Nothing,
    Text(&'a str),
    Bytes(&'a [u8]),
    Failed(&'a ConnectionError),
    Closed(u16, &'a str),
}

/// What a closure takes, besides the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Nothing,
    Text,
    Bytes,
    Message,
    /// A reason and perhaps a code, or the error itself.
    Failure,
    /// A code and perhaps a reason.
    Close,
}

impl Shape {
    fn describe(self) -> &'static str {
        match self {
            Shape::Nothing => "()",
            Shape::Text => "(&str)",
            Shape::Bytes => "(&[u8])",
            Shape::Message => "(Message)",
            Shape::Failure => "(Option<&str>, Option<u16>) or (&ConnectionError)",
            Shape::Close => "(u16, &str)",
        }
    }
}

const fn shape_of(event: u8) -> Shape {
    match event {
        TEXT => Shape::Text,
        BINARY | PING | PONG => Shape::Bytes,
        MESSAGE => Shape::Message,
        ERROR => Shape::Failure,
        CLOSE => Shape::Close,
        _ => Shape::Nothing,
    }
}

/// A closure made into a listener. The event it is for has still to be checked.
pub struct ConnectionListener {
    shape: Shape,
    listener: Box<dyn Listener<ConnectionEvents>>,
}

impl ConnectionListener {
    /// The listener, if it fits the event.
    pub(super) fn fit(self, event: u8) -> Result<Box<dyn Listener<ConnectionEvents>>, ListenerError> {
        let expected = shape_of(event);
        if self.shape == Shape::Nothing || self.shape == expected {
            return Ok(self.listener);
        }
        Err(ListenerError::WrongSignature {
            event: NAMES.names.get(usize::from(event)).copied().unwrap_or_default(),
            expected: expected.describe(),
            found: self.shape.describe(),
        })
    }
}

/// A closure that can listen to an event of a [`WebSocketConnection`]. `M` tells the shapes apart; nobody writes it.
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
/// Each may take the connection first: `&WebSocketConnection`, or for an asynchronous one that takes what it owns,
/// `WebSocketConnection`. An asynchronous closure is cloned for each call, so what it captures is `Clone`, which handles,
/// `Arc`s and senders are.
#[diagnostic::on_unimplemented(
    message = "this closure does not fit any event of a connection",
    label = "not a listener",
    note = "text: `|text: &str|`; binary, ping, pong: `|bytes: &[u8]|`; message: `|message: Message|`",
    note = "close: `|code: u16, reason: &str|`; error: `|reason: Option<&str>, code: Option<u16>|`; any event: `||`",
    note = "asynchronous: `async |text: &str| ..` or `|text: Text| async move {{ .. }}`; captures have to be `Clone`",
    note = "each may take `connection: &WebSocketConnection` first, and returns nothing, a `bool` or a `Result`: end it with `;` otherwise",
    note = "write the types of the arguments: an event's name cannot tell the compiler (or use `on_text(|text| ..)`)"
)]
pub trait IntoListener<M> {
    #[doc(hidden)]
    fn into_listener(self) -> ConnectionListener;
}

/// The markers that tell the shapes of closures apart.
#[doc(hidden)]
pub(super) mod shape {
    use std::marker::PhantomData;

    pub struct Sync<A>(PhantomData<A>);
    pub struct Async<A>(PhantomData<A>);
    /// An asynchronous closure that borrows its argument.
    pub struct Borrowing<A: ?Sized>(PhantomData<A>);
    /// Takes the connection too, by reference or by value.
    pub struct With<M>(PhantomData<M>);
    pub struct Owning<M>(PhantomData<M>);

    pub enum Nothing {}
    pub enum Str {}
    pub enum OwnedText {}
    pub enum Slice {}
    pub enum OwnedBytes {}
    pub enum AnyMessage {}
    pub enum Reason {}
    pub enum ReasonAndCode {}
    pub enum Error {}
    pub enum Code {}
    pub enum CodeAndReason {}
}
use shape::{Async, Borrowing, Owning, Sync, With};

fn now<F>(shape: Shape, closure: F) -> ConnectionListener
where
    F: for<'a> FnMut(&WebSocketConnection, Args<'a>) -> Result<(), BoxError> + Send + 'static,
{
    ConnectionListener { shape, listener: Box::new(Synchronous(closure)) }
}

fn later<F, Fut>(shape: Shape, closure: F) -> ConnectionListener
where
    F: for<'a> FnMut(&WebSocketConnection, Args<'a>) -> Option<Fut> + Send + 'static,
    Fut: Future<Output: Outcome> + Send + 'static,
{
    ConnectionListener { shape, listener: Box::new(Asynchronous::new(closure)) }
}

/// Closures that are done when they return: their marker, the shape, their arguments, and where those come from.
macro_rules! synchronous {
    ($marker:ident: $shape:ident ($($arg:ty),*) <- $pattern:pat => ($($value:expr),*)) => {
        impl<F, R> IntoListener<Sync<shape::$marker>> for F
        where
            F: FnMut($($arg),*) -> R + Send + 'static,
            R: Outcome,
        {
            fn into_listener(mut self) -> ConnectionListener {
                now(Shape::$shape, move |_: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => self($($value),*).outcome(),
                    #[allow(unreachable_patterns, reason = "`||` takes anything")]
                    _ => Ok(()),
                })
            }
        }

        impl<F, R> IntoListener<With<Sync<shape::$marker>>> for F
        where
            F: FnMut(&WebSocketConnection $(, $arg)*) -> R + Send + 'static,
            R: Outcome,
        {
            fn into_listener(mut self) -> ConnectionListener {
                now(Shape::$shape, move |connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => self(connection $(, $value)*).outcome(),
                    #[allow(unreachable_patterns, reason = "`||` takes anything")]
                    _ => Ok(()),
                })
            }
        }

        impl<F, R> IntoListener<Owning<Sync<shape::$marker>>> for F
        where
            F: FnMut(WebSocketConnection $(, $arg)*) -> R + Send + 'static,
            R: Outcome,
        {
            fn into_listener(mut self) -> ConnectionListener {
                now(Shape::$shape, move |connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => self(*connection $(, $value)*).outcome(),
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
synchronous!(AnyMessage: Message (Message) <- args @ (Args::Text(_) | Args::Bytes(_)) => (Message::from_args(args)));

/// Closures that return a future of what they own.
///
/// `AsyncFn` is what rules out a closure that changes what it captured, which could not be kept between calls; the clone,
/// whose captures the future owns, is what lets it live in its place beside the closure.
macro_rules! asynchronous {
    ($marker:ident: $shape:ident ($($arg:ty),*) <- $pattern:pat => ($($value:expr),*)) => {
        impl<F, Fut, R> IntoListener<Async<shape::$marker>> for F
        where
            F: AsyncFn($($arg),*) -> R + FnOnce($($arg),*) -> Fut + Clone + Send + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: Outcome,
        {
            fn into_listener(self) -> ConnectionListener {
                later(Shape::$shape, move |_: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => Some((self.clone())($($value),*)),
                    #[allow(unreachable_patterns, reason = "`||` takes anything")]
                    _ => None,
                })
            }
        }

        impl<F, Fut, R> IntoListener<Owning<Async<shape::$marker>>> for F
        where
            F: AsyncFn(WebSocketConnection $(, $arg)*) -> R
                + FnOnce(WebSocketConnection $(, $arg)*) -> Fut + Clone + Send + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: Outcome,
        {
            fn into_listener(self) -> ConnectionListener {
                later(Shape::$shape, move |connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => Some((self.clone())(*connection $(, $value)*)),
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
asynchronous!(AnyMessage: Message (Message) <- args @ (Args::Text(_) | Args::Bytes(_)) => (Message::from_args(args)));
asynchronous!(Error: Failure (ConnectionError) <- Args::Failed(error) => (error.clone()));
asynchronous!(Code: Close (u16) <- Args::Closed(code, _) => (code));
asynchronous!(CodeAndReason: Close (u16, Text) <- Args::Closed(code, reason) => (code, Text::from(reason)));

/// An asynchronous closure that borrows what it is called with: `async |text: &str| { … }`. Spelled like this, the future,
/// whose type is another one for each lifetime, can be required to be `Send`.
#[doc(hidden)]
pub trait BorrowingCall<'a, A: ?Sized + 'a>: FnOnce(&'a A) -> Self::Running {
    type Running: Future<Output = Self::Returned> + Send + 'a;
    type Returned: Outcome;
}

impl<'a, A, F, Fut> BorrowingCall<'a, A> for F
where
    A: ?Sized + 'a,
    F: FnOnce(&'a A) -> Fut,
    Fut: Future<Output: Outcome> + Send + 'a,
{
    type Running = Fut;
    type Returned = Fut::Output;
}

/// The same with the connection first.
#[doc(hidden)]
pub trait BorrowingCallWith<'a, A: ?Sized + 'a>: FnOnce(&'a WebSocketConnection, &'a A) -> Self::Running {
    type Running: Future<Output = Self::Returned> + Send + 'a;
    type Returned: Outcome;
}

impl<'a, A, F, Fut> BorrowingCallWith<'a, A> for F
where
    A: ?Sized + 'a,
    F: FnOnce(&'a WebSocketConnection, &'a A) -> Fut,
    Fut: Future<Output: Outcome> + Send + 'a,
{
    type Running = Fut;
    type Returned = Fut::Output;
}

macro_rules! borrowing {
    ($borrowed:ty, $owned:ty: $shape:ident <- $pattern:pat => $value:expr) => {
        impl<F, R> IntoListener<Borrowing<$borrowed>> for F
        where
            F: AsyncFn(&$borrowed) -> R + for<'a> BorrowingCall<'a, $borrowed> + Clone + Send + 'static,
            R: Outcome,
        {
            fn into_listener(self) -> ConnectionListener {
                /// The future owns the closure and what it borrows.
                async fn call<F>(closure: F, owned: $owned) -> Result<(), BoxError>
                where
                    F: for<'a> BorrowingCall<'a, $borrowed>,
                {
                    output_of!(closure(&owned)).outcome()
                }
                later(Shape::$shape, move |_: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => Some(call(self.clone(), $value)),
                    _ => None,
                })
            }
        }

        impl<F, R> IntoListener<With<Borrowing<$borrowed>>> for F
        where
            F: AsyncFn(&WebSocketConnection, &$borrowed) -> R
                + for<'a> BorrowingCallWith<'a, $borrowed>
                + Clone
                + Send
                + 'static,
            R: Outcome,
        {
            fn into_listener(self) -> ConnectionListener {
                async fn call<F>(closure: F, connection: WebSocketConnection, owned: $owned) -> Result<(), BoxError>
                where
                    F: for<'a> BorrowingCallWith<'a, $borrowed>,
                {
                    output_of!(closure(&connection, &owned)).outcome()
                }
                later(Shape::$shape, move |connection: &WebSocketConnection, args: Args<'_>| match args {
                    $pattern => Some(call(self.clone(), *connection, $value)),
                    _ => None,
                })
            }
        }
    };
}

borrowing!(str, Text: Text <- Args::Text(text) => Text::pooled(text));
borrowing!([u8], Bytes: Bytes <- Args::Bytes(bytes) => Message::pooled(bytes));
