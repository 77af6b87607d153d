//! Bodies from readers and streams, and writers as an [`AsyncWrite`].

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::body_stream::BodyStream;
use super::body_writer::{BodyWriter, SOFT_LIMIT};
use crate::emitter::BoxError;

/// Number of bytes that are read from a reader at once.
const READ: usize = 16 * 1024;

impl BodyStream {
    /// Creates a body from a reader. A task reads from `reader`, not faster than the client
    /// receives the body.
    ///
    /// At the end of the reader the body ends. If the reader fails, the body is cut off, and the
    /// server's `error` event has the error. When the client disconnects, the reader is dropped.
    ///
    /// ```
    /// use react_websocket::{BodyStream, Response, ServerRequest};
    ///
    /// let _router = async |_request: ServerRequest| {
    ///     let file = tokio::fs::File::open("report.pdf").await?;
    ///     let length = file.metadata().await?.len().to_string();
    ///     let body = BodyStream::from_reader(file);
    ///     Ok::<_, std::io::Error>(Response::new(200).with_header("Content-Length", length).with_body(body))
    /// };
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn from_reader(reader: impl AsyncRead + Send + 'static) -> BodyStream {
        BodyStream::from_task(async move |writer| {
            let mut reader = pin!(reader);
            let mut bytes = vec![0; READ];
            loop {
                let length = reader.read(&mut bytes).await?;
                if length == 0 || !writer.send(bytes.get(..length).unwrap_or_default()).await {
                    return Ok(());
                }
            }
        })
    }

    /// Creates a body from the pieces of a stream. A task polls `stream`, not faster than the
    /// client receives the body.
    ///
    /// At the end of the stream the body ends. If the stream returns an `Err`, the body is cut off,
    /// and the server's `error` event has the error. When the client disconnects, the stream is
    /// dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn from_stream<T, E>(stream: impl Stream<Item = Result<T, E>> + Send + 'static) -> BodyStream
    where
        T: AsRef<[u8]> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        BodyStream::from_task(async move |writer| {
            let mut stream = pin!(stream);
            while let Some(piece) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
                if !writer.send(piece.map_err(Into::into)?).await {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Runs `write` in a task until it returns or the stream is over.
    fn from_task<F>(write: impl FnOnce(BodyWriter) -> F) -> BodyStream
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let stream = BodyStream::new();
        let writer = stream.writer();
        let writing = write(stream.writer());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                written = writing => match written {
                    Ok(()) => writer.end(),
                    Err(error) => writer.fail(error),
                },
                () = writer.over() => {}
            }
        });
        stream
    }
}

/// Writes wait until fewer than 64 KiB are unsent, like [`send`](BodyWriter::send). `flush` does not
/// wait, and `shutdown` [ends](BodyWriter::end) the body. After the end a write fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
impl AsyncWrite for BodyWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx));
        // At most 64 KiB, so that a writer alone never reaches the hard limit.
        let bytes = bytes.get(..SOFT_LIMIT).unwrap_or(bytes);
        match self.accept(bytes) {
            Some(_) => Poll::Ready(Ok(bytes.len())),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}
