//! permessage-deflate without I/O (RFC 7692).
//!
//! No zlib stream belongs to a connection. A thread owns a [`Deflater`] and an [`Inflater`] for all
//! its connections. A connection with context takeover keeps its last bytes as plain bytes, which
//! are the dictionary of its next message. Only the end that sends uses
//! [`Sender`], and only the end that receives uses [`Receiver`].
//!
//! ```
//! use react_websocket::protocol::deflate::{Budget, Deflater, InflateError, Inflater, Preferences, Receiver, Sender, accept};
//! use react_websocket::protocol::Role;
//!
//! let offer = b"permessage-deflate; client_max_window_bits";
//! let agreed = accept([&offer[..]], Preferences::default())?.expect("one offer is acceptable");
//! assert_eq!(agreed.header, "permessage-deflate; client_no_context_takeover");
//!
//! let (mut sender, mut deflater) = (Sender::new(agreed.params.sent_by(Role::Server), &Budget::default()), Deflater::default());
//! let (mut receiver, mut inflater) = (Receiver::new(agreed.params.sent_by(Role::Server)), Inflater::default());
//! for _ in 0..2 {
//!     let packed = sender.compress(&mut deflater, 1, &[b'a'; 99]).expect("it is smaller");
//!     let mut message = Vec::new();
//!     receiver.inflate(&mut inflater, packed, 1024, |piece| Ok::<_, InflateError>(message.extend_from_slice(piece)))?;
//!     assert_eq!(message, [b'a'; 99]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget;
mod deflater;
mod inflater;
mod negotiation;
#[cfg(test)]
mod negotiation_tests;
mod offer;
mod sender;
#[cfg(test)]
mod tests;
mod window;

pub use budget::Budget;
pub(crate) use budget::Share;
pub use deflater::Deflater;
pub(crate) use inflater::PIECE;
pub use inflater::{InflateError, Inflater};
pub use negotiation::{Agreed, AgreedParams, Direction, InvalidResponse, Preferences, accept, check_response, offer};
pub use offer::Malformed;
pub use sender::{Receiver, Sender};
