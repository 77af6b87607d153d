//! The format of the messages that the nodes of a cluster send to each other. It does no I/O.
//!
//! | Bytes | Field |
//! |---|---|
//! | 1 | the version of the format, [`VERSION`] |
//! | 1 | the kind. The bit 0x80 says that a member is excluded |
//! | 16 | the id of the sending node |
//! | 1 to 8 | kinds 1 to 4: the number of the [stream](Position) |
//! | 1 to 8 | kinds 1 to 4: the sequence number |
//!
//! | Kind | Body | Then follow |
//! |---|---|---|
//! | 1, 2 | [`Text`](Body::Text), [`Binary`](Body::Binary) | for an excluded member its node (16 bytes) and its number; the payload |
//! | 3 | [`CloseAll`](Body::CloseAll) | the code (2 bytes, big-endian), the reason |
//! | 4 | [`Mark`](Body::Mark) | |
//! | 5 | [`Alive`](Body::Alive) | the number of streams |
//! | 6 | [`Bye`](Body::Bye) | |
//!
//! Numbers have seven bits in each byte, the least significant bits first. The bit 0x80 says that
//! another byte follows. A number has the shortest form, and is less than 2^56. No message has more
//! than one encoding.
//!
//! ```
//! use react_websocket::cluster::NodeId;
//! use react_websocket::cluster::wire::{self, Body, Frame, Position};
//!
//! let at = Position { stream: 1, sequence: 1 };
//! let sent = Frame { node: NodeId::random(), body: Body::Text { at, except: None, text: "hello" } };
//! let bytes = wire::encode(&sent);
//! assert_eq!(wire::parse(&bytes), Ok(sent));
//! ```

use super::id::{MemberId, NodeId};
use crate::protocol::{check_text, close, close_code};

/// The version of the format. A message of any other version is refused.
pub const VERSION: u8 = 1;

/// Maximum number of bytes that a frame has besides its payload.
pub const OVERHEAD_MAX: usize = 2 + 16 + 3 * NUMBER_MAX + 16;

/// Maximum number of bytes of a number.
const NUMBER_MAX: usize = 8;

/// A number is less than this one.
const NUMBER_END: u64 = 1 << (7 * NUMBER_MAX);

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE_ALL: u8 = 3;
const MARK: u8 = 4;
const ALIVE: u8 = 5;
const BYE: u8 = 6;
const EXCEPT: u8 = 0x80;

/// A message of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The node that sent it.
    pub node: NodeId,
    /// The kind of the message and its contents.
    pub body: Body<'a>,
}

/// The place of a message among all messages of its node to the same group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of the stream. A node numbers its streams from 1. When it has not written to a
    /// group for long, it forgets the stream, and the next message begins another one.
    pub stream: u64,
    /// The number of the message in its stream, from 1.
    pub sequence: u64,
}

/// The kind of a message and its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body<'a> {
    /// A text message to the members of a group.
    Text {
        /// Its place.
        at: Position,
        /// A member that does not get it.
        except: Option<MemberId>,
        /// The payload.
        text: &'a str,
    },
    /// A binary message to the members of a group.
    Binary {
        /// Its place.
        at: Position,
        /// A member that does not get it.
        except: Option<MemberId>,
        /// The payload.
        bytes: &'a [u8],
    },
    /// All members of a group are closed. On the control subject: all members of all groups.
    CloseAll {
        /// Its place.
        at: Position,
        /// The code of the Close frame. 1005 stands for a Close frame without a code.
        code: u16,
        /// The reason in the Close frame.
        reason: &'a str,
    },
    /// The place of the last message that the node has sent to the group. It shows whether the last
    /// messages were lost.
    Mark {
        /// The place of the last message.
        at: Position,
    },
    /// The node is up. Each node sends this message at regular intervals.
    Alive {
        /// The number of streams that the node has begun so far.
        streams: u64,
    },
    /// The node leaves the cluster.
    Bye,
}

/// The reason why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The message ends too early.
    #[error("truncated message")]
    Truncated,
    /// Another version of the format.
    #[error("version {0} of the format, this node has version {VERSION}")]
    Version(u8),
    /// An unknown kind.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// The id of a node is 0.
    #[error("node id 0")]
    Node,
    /// A number is 0, too large, or not in its shortest form.
    #[error("malformed number")]
    Number,
    /// A text is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A code that no Close frame can have.
    #[error("invalid close code {0}")]
    CloseCode(u16),
    /// The reason exceeds 123 bytes.
    #[error("a close reason of {0} bytes, the limit is 123")]
    CloseReason(usize),
    /// Bytes follow the message.
    #[error("{0} bytes after the message")]
    Trailing(usize),
}

/// Returns the encoding of a message. Numbers of 2^56 and more are encoded as 2^56 - 1. An excluded
/// member with the number 0, which no connection has, is omitted.
pub fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let (kind, payload) = match frame.body {
        Body::Text { except, text, .. } => (TEXT | flag(except), text.as_bytes()),
        Body::Binary { except, bytes, .. } => (BINARY | flag(except), bytes),
        Body::CloseAll { reason, .. } => (CLOSE_ALL, reason.as_bytes()),
        Body::Mark { .. } => (MARK, &[][..]),
        Body::Alive { .. } => (ALIVE, &[][..]),
        Body::Bye => (BYE, &[][..]),
    };
    let mut out = Vec::with_capacity(OVERHEAD_MAX + payload.len());
    out.extend([VERSION, kind]);
    out.extend(frame.node.to_bytes());
    match frame.body {
        Body::Text { at, except, .. } | Body::Binary { at, except, .. } => {
            push_position(&mut out, at);
            if let Some(member) = except.filter(has_number) {
                out.extend(member.node.to_bytes());
                push_number(&mut out, member.connection);
            }
        }
        Body::CloseAll { at, code, .. } => {
            push_position(&mut out, at);
            out.extend(code.to_be_bytes());
        }
        Body::Mark { at } => push_position(&mut out, at),
        Body::Alive { streams } => push_number(&mut out, streams),
        Body::Bye => {}
    }
    out.extend_from_slice(payload);
    out
}

/// Parses a message. The text of the message is checked, and borrows from `bytes`.
///
/// # Errors
/// If the bytes are not the encoding of a message.
pub fn parse(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let mut rest = Rest(bytes);
    let [version, kind] = rest.array()?;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let can_exclude = matches!(kind & !EXCEPT, TEXT | BINARY);
    if kind & EXCEPT != 0 && !can_exclude {
        return Err(FrameError::Kind(kind));
    }
    let node = rest.node()?;
    let body = match kind & !EXCEPT {
        opcode @ (TEXT | BINARY) => {
            let at = rest.position()?;
            let except = match kind & EXCEPT {
                0 => None,
                _ => Some(MemberId { node: rest.node()?, connection: rest.number_from(1)? }),
            };
            match opcode {
                TEXT => Body::Text { at, except, text: rest.text()? },
                _ => Body::Binary { at, except, bytes: rest.take_all() },
            }
        }
        CLOSE_ALL => {
            let (at, code) = (rest.position()?, u16::from_be_bytes(rest.array()?));
            // 1005 stands for a Close frame without a code.
            if code != close_code::NO_STATUS && !close::is_valid_on_the_wire(code) {
                return Err(FrameError::CloseCode(code));
            }
            let reason = rest.text()?;
            if reason.len() > close::REASON_MAX {
                return Err(FrameError::CloseReason(reason.len()));
            }
            Body::CloseAll { at, code, reason }
        }
        MARK => Body::Mark { at: rest.position()? },
        ALIVE => Body::Alive { streams: rest.number_from(0)? },
        BYE => Body::Bye,
        _ => return Err(FrameError::Kind(kind)),
    };
    if rest.0.is_empty() { Ok(Frame { node, body }) } else { Err(FrameError::Trailing(rest.0.len())) }
}

fn flag(except: Option<MemberId>) -> u8 {
    if except.as_ref().is_some_and(has_number) { EXCEPT } else { 0 }
}

fn has_number(member: &MemberId) -> bool {
    member.connection > 0
}

fn push_position(out: &mut Vec<u8>, at: Position) {
    push_number(out, at.stream);
    push_number(out, at.sequence);
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut number = number.min(NUMBER_END - 1);
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The bytes that are still to be parsed.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(FrameError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn node(&mut self) -> Result<NodeId, FrameError> {
        NodeId::from_bytes(self.array()?).ok_or(FrameError::Node)
    }

    fn number_from(&mut self, least: u64) -> Result<u64, FrameError> {
        let mut number = 0;
        for place in 0..NUMBER_MAX {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || place == 0;
                return if is_shortest && number >= least { Ok(number) } else { Err(FrameError::Number) };
            }
        }
        Err(FrameError::Number)
    }

    fn position(&mut self) -> Result<Position, FrameError> {
        Ok(Position { stream: self.number_from(1)?, sequence: self.number_from(1)? })
    }

    fn text(&mut self) -> Result<&'a str, FrameError> {
        check_text(self.take_all()).map_err(|_| FrameError::Utf8)
    }

    fn take_all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
