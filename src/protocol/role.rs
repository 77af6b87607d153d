/// An end of a connection (RFC 6455 §1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Receives masked frames, sends unmasked ones (§5.1), and closes the TCP connection first (§7.1.1).
    #[default]
    Server,
    /// Receives unmasked frames, sends masked ones, and waits for the server to close the TCP connection.
    Client,
}
