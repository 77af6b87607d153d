use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::event::Args;

/// Owned text, cheap to clone. It is what a listener takes that wants to keep a message, or to work on it asynchronously.
///
/// That of a message up to 1 KiB shares 2 KiB with its neighbours, so that no message is allocated for: who keeps a short one for
/// long makes it its own, by `Text::from(text.as_str())` or as a `String`. So does [`Bytes`](crate::Bytes), whose own copy is
/// [`Bytes::copy_from_slice`].
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(ByteString);

/// A text or a binary message: what the event `message` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
}

/// Owned copies up to this size are cut from a chunk that is used again when its last copy is gone, so that keeping a
/// message for as long as an asynchronous listener takes allocates nothing. A larger one has an allocation of its own.
const POOLED_MAX: usize = 1024;

/// A copy that an app keeps for long holds its whole chunk.
const CHUNK: usize = 2 * POOLED_MAX;

thread_local! {
    static POOL: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

fn pooled(bytes: &[u8]) -> Bytes {
    if bytes.len() > POOLED_MAX {
        return Bytes::copy_from_slice(bytes);
    }
    // When a thread ends its pool may be gone already.
    let pooled = POOL.try_with(|pool| {
        let mut pool = pool.try_borrow_mut().ok()?;
        if pool.capacity() < bytes.len() {
            // Takes back the whole chunk if no copy of it is left, else makes a new one.
            pool.reserve(CHUNK);
        }
        pool.extend_from_slice(bytes);
        Some(pool.split().freeze())
    });
    pooled.ok().flatten().unwrap_or_else(|| Bytes::copy_from_slice(bytes))
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text's bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }

    pub(super) fn pooled(text: &str) -> Text {
        // Checking a short text a second time is cheaper than allocating it; a long one is allocated anyhow.
        match text.len() {
            0..=POOLED_MAX => Text(ByteString::try_from(pooled(text.as_bytes())).unwrap_or_default()),
            _ => text.into(),
        }
    }
}

impl Message {
    /// The payload, whichever it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_str().as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    pub(super) fn pooled(bytes: &[u8]) -> Bytes {
        pooled(bytes)
    }

    pub(super) fn from_args(args: Args<'_>) -> Message {
        match args {
            Args::Text(text) => Message::Text(Text::pooled(text)),
            Args::Bytes(bytes) => Message::Binary(pooled(bytes)),
            _ => Message::Binary(Bytes::new()),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(text.into())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.as_str().to_owned()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
