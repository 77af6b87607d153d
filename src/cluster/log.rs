use super::counts::Counts;

/// The counts that a node has logged so far. A tick logs at most a line of each kind, so nothing that
/// arrives from the bus can fill a disk.
#[derive(Debug, Default)]
pub(crate) struct Log {
    was_down: bool,
    unpublished: u64,
    lost: u64,
    refused: u64,
}

impl Log {
    /// Logs what has changed since the last tick, with the feature `tracing`.
    pub(crate) fn tick(&mut self, counts: &Counts, is_up: bool, silent_nodes: usize) {
        let since = |before: &mut u64, now: u64| now - std::mem::replace(before, now);
        let unpublished = since(&mut self.unpublished, counts.unpublished.get());
        let lost = since(&mut self.lost, counts.lost.get());
        let refused = since(&mut self.refused, counts.refused.get());
        let was_down = std::mem::replace(&mut self.was_down, !is_up);
        #[cfg(feature = "tracing")]
        {
            if was_down == is_up {
                tracing::warn!(target: "react_websocket", is_up, "the message bus has changed its state");
            }
            if unpublished > 0 {
                tracing::warn!(target: "react_websocket", messages = unpublished, "messages were not published");
            }
            if lost > 0 {
                tracing::warn!(target: "react_websocket", messages = lost, "messages of other nodes were lost");
            }
            if refused > 0 {
                tracing::warn!(target: "react_websocket", messages = refused, "messages of the bus were refused");
            }
            if silent_nodes > 0 {
                tracing::warn!(target: "react_websocket", nodes = silent_nodes, "nodes are down");
            }
        }
        #[cfg(not(feature = "tracing"))]
        let _ = (unpublished, lost, refused, was_down, silent_nodes);
    }
}
