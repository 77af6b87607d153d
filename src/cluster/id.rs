use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU128;
use std::str::FromStr;

/// The id of a node of a cluster: of one [`GroupManager`](crate::GroupManager) in one process. It is
/// random, and a restarted process is another node.
///
/// It is written as 32 hexadecimal digits.
///
/// ```
/// use react_websocket::cluster::NodeId;
///
/// let node = NodeId::random();
/// assert_eq!(node.to_string().parse(), Ok(node));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NonZeroU128);

/// The id of a connection in a whole cluster. Other nodes exclude the connection by this id, see
/// [`GroupManager::write_except`](crate::GroupManager::write_except).
///
/// It is written as the node's id, a hyphen, and the connection's number. So a web server can pass
/// it to a worker.
///
/// ```
/// use react_websocket::cluster::{MemberId, NodeId};
///
/// let member = MemberId { node: NodeId::random(), connection: 7 };
/// assert_eq!(member.to_string().parse(), Ok(member));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId {
    /// The node that owns the connection.
    pub node: NodeId,
    /// The number of the connection on its node, see
    /// [`WebSocketConnection::id`](crate::WebSocketConnection::id).
    pub connection: u64,
}

/// A text is not the id of a node or of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed id")]
pub struct ParseIdError(());

impl NodeId {
    /// Creates an id that no other node has.
    pub fn random() -> NodeId {
        // The keys of `RandomState` are random bytes of the operating system.
        let half = || u128::from(RandomState::new().hash_one(()));
        NodeId(NonZeroU128::new(half() << 64 | half()).unwrap_or(NonZeroU128::MIN))
    }

    /// Returns the id with these bytes, or `None` if all bytes are 0.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<NodeId> {
        NonZeroU128::new(u128::from_be_bytes(bytes)).map(NodeId)
    }

    /// Returns the bytes of the id, as they are sent.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<NodeId, ParseIdError> {
        let is_well_formed = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_well_formed);
        number.and_then(NonZeroU128::new).map(NodeId).ok_or(ParseIdError(()))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.node, self.connection)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({self})")
    }
}

impl FromStr for MemberId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<MemberId, ParseIdError> {
        let (node, connection) = text.split_once('-').ok_or(ParseIdError(()))?;
        let number = connection.parse().ok().filter(|number: &u64| number.to_string() == connection);
        Ok(MemberId { node: node.parse()?, connection: number.ok_or(ParseIdError(()))? })
    }
}
