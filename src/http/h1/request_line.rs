use http::Version;

/// What of a request decides how it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine {
    pub(crate) is_head: bool,
    pub(crate) version: Version,
    /// The request's `Connection` options.
    pub(crate) connection: ConnectionOptions,
}

impl Default for RequestLine {
    /// What a request is taken for whose line could not be read.
    fn default() -> RequestLine {
        RequestLine { is_head: false, version: Version::HTTP_11, connection: ConnectionOptions::default() }
    }
}

/// The options of `Connection` that matter to a server, from all lines of the field (RFC 9110 §7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

impl ConnectionOptions {
    /// Reads a line of the field.
    pub(crate) fn add(&mut self, line: &[u8]) {
        for option in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}
