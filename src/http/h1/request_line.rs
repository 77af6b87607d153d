use http::{Method, Version};

/// What of a request decides how it is answered.
#[derive(Clone, Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// The request's `Connection` options.
    pub(crate) connection: ConnectionOptions,
}

impl Default for RequestLine {
    /// What a request is taken for whose line could not be read.
    fn default() -> RequestLine {
        RequestLine { method: Method::GET, version: Version::HTTP_11, connection: ConnectionOptions::default() }
    }
}

/// The options of `Connection` that a server heeds, from all lines of the field (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

impl ConnectionOptions {
    pub(crate) fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> ConnectionOptions {
        let mut options = ConnectionOptions::default();
        for option in lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        options
    }
}
