/// The limits of a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Bytes in the request line, without its CR LF.
    pub(crate) request_line: usize,
    /// Bytes from the request line up to and including the empty line.
    pub(crate) head: usize,
    /// Header lines.
    pub(crate) headers: usize,
}

/// Maximum number of buffered bytes of responses at which a connection answers the next pipelined request. At or above it,
/// the connection sends the buffer first.
pub(crate) const BUFFERED_MAX: usize = 64 * 1024;

/// The soft limit of open files, less what the rest of the program may need.
#[cfg(unix)]
pub(super) fn default_max_connections() -> Option<usize> {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let files = usize::try_from(files).ok()?;
    let reserve = (files / 20).max(64);
    (files > 2 * reserve).then(|| files - reserve)
}

#[cfg(not(unix))]
pub(super) fn default_max_connections() -> Option<usize> {
    None
}
