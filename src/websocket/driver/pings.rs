use crate::protocol::{ControlRate, ProtocolError};
use crate::websocket::driver::Driver;

/// Maximum number of pings above the rate that may pile up while reading is paused or a listener is
/// slow. A peer within the default rate sends them in 100 s.
const PILE_MAX: u32 = 10_000;

/// The answers to pings.
impl Driver {
    /// Answers a ping (RFC 6455 §5.5.2). `false` if the peer exceeds its rate, which fails the
    /// connection.
    ///
    /// A peer is not responsible for pings that pile up while nothing is read. One pong answers all
    /// of them that exceed the rate: the answer to the last (§5.5.3).
    pub(crate) fn answer_ping(&mut self, payload: &[u8]) -> bool {
        let was_answered = self.backlog.was_answered();
        let has_piled_up = std::mem::replace(&mut self.progress.pings_pile_up, true);
        let excess = self.shared.options.control_rate.filter(|rate| {
            let now = self.permit.clock().millis();
            self.rare.get_or_insert_default().pings.take(now, rate.burst, rate.per_second).is_err()
        });
        if let Some(ControlRate { burst, per_second }) = excess {
            let rare = self.rare.get_or_insert_default();
            rare.piled_up = if has_piled_up { rare.piled_up.saturating_add(1) } else { PILE_MAX };
            if rare.piled_up >= PILE_MAX {
                self.connection().fail(ProtocolError::TooManyPings { burst, per_second }.into());
                return false;
            }
        }
        if !was_answered && self.shared.options.auto_pong {
            self.connection().answer_ping(payload, excess.is_some());
        }
        true
    }

    /// Answers the pings that have piled up, once all received bytes have been read.
    #[inline(never)]
    pub(crate) fn answer_piled_up_pings(&mut self) {
        if self.rare.as_mut().is_some_and(|rare| std::mem::take(&mut rare.piled_up) > 0) {
            self.connection().answer_pings_so_far();
        }
    }
}
