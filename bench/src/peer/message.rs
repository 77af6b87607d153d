use axum::extract::ws;
use bytes::Bytes;
use tokio_tungstenite::tungstenite;

/// A crate's message: what the loops have to know of it.
pub trait Message: Clone + Send + 'static {
    /// Text or binary.
    fn is_data(&self) -> bool;
    /// The text, if it is one.
    fn text(&self) -> Option<&str>;
    /// A text message.
    fn new(text: String) -> Self;
}

/// For crates whose messages cannot be cloned, or are only lent.
impl Message for Bytes {
    fn is_data(&self) -> bool {
        true
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self).ok()
    }

    fn new(text: String) -> Bytes {
        text.into()
    }
}

impl Message for tungstenite::Message {
    fn is_data(&self) -> bool {
        self.is_text() || self.is_binary()
    }

    fn text(&self) -> Option<&str> {
        self.to_text().ok()
    }

    fn new(text: String) -> tungstenite::Message {
        tungstenite::Message::text(text)
    }
}

impl Message for ws::Message {
    fn is_data(&self) -> bool {
        matches!(self, ws::Message::Text(_) | ws::Message::Binary(_))
    }

    fn text(&self) -> Option<&str> {
        self.to_text().ok()
    }

    fn new(text: String) -> ws::Message {
        ws::Message::text(text)
    }
}

impl Message for tokio_websockets::Message {
    fn is_data(&self) -> bool {
        self.is_text() || self.is_binary()
    }

    fn text(&self) -> Option<&str> {
        self.as_text()
    }

    fn new(text: String) -> tokio_websockets::Message {
        tokio_websockets::Message::text(text)
    }
}

impl Message for sockudo_ws::Message {
    fn is_data(&self) -> bool {
        self.is_text() || self.is_binary()
    }

    fn text(&self) -> Option<&str> {
        self.as_text()
    }

    fn new(text: String) -> sockudo_ws::Message {
        sockudo_ws::Message::text(text)
    }
}

impl Message for yawc::Frame {
    fn is_data(&self) -> bool {
        matches!(self.opcode(), yawc::OpCode::Text | yawc::OpCode::Binary)
    }

    fn text(&self) -> Option<&str> {
        self.is_utf8().then(|| self.as_str())
    }

    fn new(text: String) -> yawc::Frame {
        yawc::Frame::text(text)
    }
}
