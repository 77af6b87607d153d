use std::borrow::{Borrow, Cow};
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::str::{FromStr, Utf8Error};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::sync::thread_local;

/// Owned text, which is cheap to clone. Use it in listeners that keep a message, or use the message
/// asynchronously.
///
/// The texts of messages of up to 1 KiB share chunks of 2 KiB, so that such messages need no
/// allocation of their own. If you keep a short text for a long time, copy it with
/// `Text::from(text.as_str())` or into a `String`. Otherwise it keeps the whole chunk in memory.
/// [`Bytes`](crate::Bytes) are shared in the same way; copy them with [`Bytes::copy_from_slice`].
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(ByteString);

/// A text or binary message: the argument of the event `message`, and of
/// [`write_message`](crate::WebSocketConnection::write_message).
///
/// ```
/// use react_websocket::{Message, WebSocketConnection};
///
/// fn echo(connection: WebSocketConnection) {
///     connection.on("message", move |message: Message| connection.write_message(&message));
///     connection.write_message(&"hello".into());
///     connection.write_message(&Message::from(vec![1, 2, 3]));
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
}

/// Owned copies of up to this size are cut from a chunk. The chunk is used again when its last copy
/// is dropped, so short-lived copies allocate nothing. A larger copy has an allocation of its own.
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
    /// Returns the text as a `&str`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the bytes of the text, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }

    pub(crate) fn pooled(text: &str) -> Text {
        // Checking a short text a second time is cheaper than allocating it; a long one is allocated anyhow.
        match text.len() {
            0..=POOLED_MAX => Text(ByteString::try_from(pooled(text.as_bytes())).unwrap_or_default()),
            _ => text.into(),
        }
    }
}

impl Message {
    /// Returns the payload of a text or binary message.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_str().as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// Returns the text, or `None` for a binary message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    pub(crate) fn pooled(bytes: &[u8]) -> Bytes {
        pooled(bytes)
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

macro_rules! from {
    ($($from:ty => $into:ty: |$value:ident| $made:expr;)+) => {$(
        impl From<$from> for $into {
            fn from($value: $from) -> $into {
                $made
            }
        }
    )+};
}
from! {
    &str => Text: |text| Text(text.into());
    &String => Text: |text| text.as_str().into();
    String => Text: |text| Text(text.into());
    Box<str> => Text: |text| String::from(text).into();
    Cow<'_, str> => Text: |text| text.into_owned().into();
    Text => String: |text| text.as_str().to_owned();
    Text => Bytes: |text| text.into_bytes();
    &str => Message: |text| Message::Text(text.into());
    String => Message: |text| Message::Text(text.into());
    Text => Message: |text| Message::Text(text);
    Bytes => Message: |bytes| Message::Binary(bytes);
    Vec<u8> => Message: |bytes| Message::Binary(bytes.into());
}

impl TryFrom<Bytes> for Text {
    type Error = Utf8Error;

    /// Checks that the bytes are UTF-8. The bytes are not copied.
    ///
    /// # Errors
    /// The bytes are not UTF-8.
    fn try_from(bytes: Bytes) -> Result<Text, Utf8Error> {
        ByteString::try_from(bytes).map(Text)
    }
}

impl FromStr for Text {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Text, Infallible> {
        Ok(text.into())
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! equal {
    ($($other:ty),+) => {$(
        impl PartialEq<$other> for Text {
            fn eq(&self, other: &$other) -> bool {
                **self == **other
            }
        }

        impl PartialEq<Text> for $other {
            fn eq(&self, other: &Text) -> bool {
                **self == **other
            }
        }
    )+};
}
equal!(&str, String, Cow<'_, str>);

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        *self == **other
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

#[cfg(feature = "json")]
impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

#[cfg(feature = "json")]
impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        String::deserialize(deserializer).map(Text::from)
    }
}
