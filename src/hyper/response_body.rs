use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{StatusCode, Version};
use http_body::{Body, Frame, SizeHint};

use crate::emitter::BoxError;
use crate::http::{BodyKind, BodyReader, Cut, HttpError, HttpServer, Piece, Response};

/// The body of a response that a [`WebSocketService`](super::WebSocketService) returns.
///
/// The body is empty, bytes, or the [`BodyStream`](crate::BodyStream) of a response that refuses a handshake. The `shutdown`
/// event of such a stream does not fire.
pub struct ResponseBody(Kind);

enum Kind {
    /// `None` if they are sent.
    Bytes(Option<Bytes>),
    Stream(Streamed),
}

struct Streamed {
    reader: BodyReader,
    /// Pieces that the reader has returned, and that hyper has not taken yet.
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the piece that hyper took last.
    taken: usize,
    server: HttpServer,
}

impl ResponseBody {
    fn of(response: Response, server: &HttpServer) -> ResponseBody {
        ResponseBody(match response.body.0 {
            BodyKind::Bytes(bytes) => Kind::Bytes((!bytes.is_empty()).then(|| bytes.clone())),
            BodyKind::Stream(reader) => {
                Kind::Stream(Streamed { reader, pieces: VecDeque::new(), taken: 0, server: server.clone() })
            }
        })
    }
}

impl Streamed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, BoxError>>> {
        // hyper polls for the next piece when it has sent the piece before.
        self.reader.sent(std::mem::take(&mut self.taken));
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.taken = piece.len();
                return Poll::Ready(Some(Ok(piece)));
            }
            match ready!(self.reader.poll_next(cx)) {
                Piece::Bytes(pieces) => self.pieces = pieces,
                Piece::End => return Poll::Ready(None),
                Piece::Cut(cut) => {
                    let error = self.reader.take_error();
                    // An app that closes its stream has asked for this.
                    if cut != Cut::Closed
                        && let Some(error) = error
                    {
                        self.server.report(HttpError::Handler(error));
                    }
                    return Poll::Ready(Some(Err(cut.reason().into())));
                }
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let streamed = match &mut self.0 {
            Kind::Bytes(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(streamed) => streamed,
        };
        let piece = ready!(streamed.poll_piece(cx));
        if !matches!(piece, Some(Ok(_))) {
            self.0 = Kind::Bytes(None);
        }
        Poll::Ready(piece.map(|piece| piece.map(|piece| Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Bytes(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => f.debug_tuple("ResponseBody").field(bytes).finish(),
            Kind::Stream(streamed) => f.debug_tuple("ResponseBody").field(&streamed.reader).finish(),
        }
    }
}

/// Converts a valid response to a response of hyper, for a request of this version.
pub(super) fn into_http(response: Response, version: Version, server: &HttpServer) -> http::Response<ResponseBody> {
    let has_length = matches!(response.body.0, BodyKind::Bytes(_));
    let mut converted = http::Response::new(());
    *converted.status_mut() = response.status;
    let headers = converted.headers_mut();
    for (name, value) in &response.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        // hyper decides about the framing.
        if name == TRANSFER_ENCODING || has_length && name == CONTENT_LENGTH {
            continue;
        }
        // A map is full with 24576 lines, which no client reads.
        let _ = headers.try_append(name, value.clone());
    }
    // RFC 9110 section 7.8: a message with `Upgrade` names it in `Connection`. HTTP/2 has neither (RFC 9113 section 8.2.2).
    if version > Version::HTTP_11 {
        headers.remove(UPGRADE);
        headers.remove(CONNECTION);
    } else if response.status == StatusCode::SWITCHING_PROTOCOLS {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if headers.contains_key(UPGRADE) {
        let closes = headers.contains_key(CONNECTION);
        headers.insert(CONNECTION, HeaderValue::from_static(if closes { "close, upgrade" } else { "upgrade" }));
    }
    converted.map(|()| ResponseBody::of(response, server))
}
