use std::io;

/// A signal of the operating system.
///
/// On systems without signals, [`Signal::INT`] is Ctrl-C, and
/// [`Loop::add_signal`](crate::Loop::add_signal) returns an error for all other signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// `SIGHUP`: by convention, the process should read its configuration again.
    pub const HUP: Signal = Signal(1);
    /// `SIGINT`: Ctrl-C.
    pub const INT: Signal = Signal(2);
    /// `SIGQUIT`: Ctrl-\.
    pub const QUIT: Signal = Signal(3);
    /// `SIGTERM`: a service manager sends it to end a service.
    pub const TERM: Signal = Signal(15);

    /// Creates the signal with this number.
    pub const fn from_raw(number: i32) -> Signal {
        Signal(number)
    }

    /// Returns the signal's number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// The signals of one kind that the process receives.
#[cfg(unix)]
pub(super) struct Signals(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    pub(super) fn new(signal: Signal) -> io::Result<Signals> {
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(signal.0)).map(Signals)
    }

    pub(super) async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new(signal: Signal) -> io::Result<Signals> {
        if signal == Signal::INT { Ok(Signals) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    pub(super) async fn next(&mut self) -> Option<()> {
        tokio::signal::ctrl_c().await.ok()
    }
}
