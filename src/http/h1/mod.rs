//! HTTP/1.1 and 1.0 on one connection (RFC 9112). `body`, `encoder`, `parser` and `scanner` are pure.

mod answering;
mod body;
mod connection;
mod date;
mod disconnect;
mod encoder;
mod linger;
mod parser;
mod request_body;
mod request_line;
mod scanner;
mod sending;
mod write_deadline;

#[cfg(feature = "client")]
pub(crate) use body::BodyDecoder;
pub(crate) use connection::Connection;
pub(crate) use encoder::encode_page;
pub(crate) use linger::Linger;
pub(crate) use request_line::RequestLine;
