//! HTTP/1.1 and 1.0 on one connection (RFC 9112).

mod body;
mod connection;
mod date;
mod disconnect;
mod encoder;
mod linger;
mod parser;
mod request_body;
mod scanner;
mod sending;
mod write_deadline;

pub(crate) use connection::Connection;
pub(crate) use encoder::RequestLine;
pub(crate) use linger::Linger;
pub(crate) use parser::{Framing, Head, URI_MAX, is_host, parse_target, path_as_requested};
pub(crate) use scanner::{HeadLimits, is_token};
pub(crate) use sending::page;
