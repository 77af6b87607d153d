use super::accepted::Accepted;
use super::connection::Connection;
use super::frame::HEADER_MAX;
use super::{MaskKey, Opcode};

/// A scanner that finds pings in bytes that cannot be [received](Connection::receive) yet, because
/// the app still handles an earlier message. So the peer's pings can be answered earlier.
///
/// The scanner reads frame headers and stores no frames. A scan ends at a frame that violates a
/// rule; the connection reports the error later.
#[derive(Debug)]
pub struct PingScanner {
    header: [u8; HEADER_MAX],
    header_length: usize,
    accepted: Accepted,
    /// Payload bytes of the present frame that have not arrived.
    remaining: u64,
    /// The payload of the present frame, if it is a ping.
    ping: Option<(MaskKey, Vec<u8>)>,
    over: bool,
    frames: usize,
    /// The number of these frames that are not control frames.
    data_frames: usize,
}

impl PingScanner {
    /// Creates a scanner for the bytes that follow the received bytes of the connection.
    pub fn new(connection: &Connection) -> PingScanner {
        let (header, remaining) = connection.position();
        let mut scanner = PingScanner {
            header: [0; HEADER_MAX],
            header_length: 0,
            accepted: connection.accepted(),
            remaining,
            ping: None,
            over: connection.is_over() || connection.is_in_close(),
            frames: 0,
            data_frames: 0,
        };
        for byte in header {
            scanner.add_to_header(*byte);
        }
        scanner
    }

    /// Returns the number of frames that have begun in the scanned bytes.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Returns the number of these frames that are part of a message.
    pub fn data_frames(&self) -> usize {
        self.data_frames
    }

    /// Scans the bytes after the bytes of the last call, and calls `ping` with the payload of each
    /// complete ping.
    pub fn scan(&mut self, bytes: &[u8], mut ping: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while !self.over {
            if self.remaining > 0 || self.ping.is_some() {
                let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rest.len());
                let (payload, after) = rest.split_at_checked(length).unwrap_or_default();
                rest = after;
                self.remaining = self.remaining.saturating_sub(length as u64);
                if let Some((_, so_far)) = &mut self.ping {
                    so_far.extend_from_slice(payload);
                }
                if self.remaining > 0 {
                    return;
                }
                if let Some((mut mask, mut payload)) = self.ping.take() {
                    mask.apply(&mut payload);
                    ping(&payload);
                }
                continue;
            }
            let Some((byte, after)) = rest.split_first() else { return };
            rest = after;
            self.add_to_header(*byte);
        }
    }

    fn add_to_header(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.header_length) {
            *place = byte;
            self.header_length = self.header_length.saturating_add(1);
        }
        match self.accepted.decode(self.header.get(..self.header_length).unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(header)) if header.opcode != Opcode::Close => {
                self.header_length = 0;
                self.frames = self.frames.saturating_add(1);
                self.data_frames = self.data_frames.saturating_add(usize::from(!header.opcode.is_control()));
                self.remaining = header.payload_length;
                self.ping = (header.opcode == Opcode::Ping).then(|| (header.mask, Vec::new()));
            }
            // No frame after it counts.
            _ => self.over = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BufferPool, Limits};

    /// A text, a ping "hi", a text of 300, a ping without payload, a Close, a ping too late.
    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0x81, 0x81, 1, 2, 3, 4, 0];
        bytes.extend([0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
        bytes.extend([0x81, 0xFE, 1, 44, 0, 0, 0, 0]);
        bytes.extend([b'a'; 300]);
        bytes.extend([0x89, 0x80, 1, 2, 3, 4, 0x88, 0x80, 1, 2, 3, 4, 0x89, 0x80, 1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn pings_are_found_wherever_the_connection_stands_and_however_the_bytes_come() {
        let bytes = bytes();
        for start in 0..bytes.len() {
            let mut connection = Connection::default();
            let mut first = bytes[..start].to_vec();
            let mut input = &mut first[..];
            let mut received = 0;
            while let Ok(Some(event)) = connection.receive(&mut input, &Limits::default(), &mut BufferPool::default()) {
                received += usize::from(matches!(event, crate::protocol::Event::Ping(_)));
            }
            for size in [1, 5, 1000] {
                let mut scanner = PingScanner::new(&connection);
                let mut pings = Vec::new();
                bytes[start..].chunks(size).for_each(|piece| scanner.scan(piece, |ping| pings.push(ping.to_vec())));
                let all = [b"hi".to_vec(), vec![]];
                // The connection answers a ping whose header it has received.
                assert!(all[received..].ends_with(&pings), "{pings:?} from {start}");
                if start == 0 {
                    assert_eq!(pings, all);
                    assert_eq!((scanner.frames(), scanner.data_frames()), (4, 2));
                }
            }
        }
    }

    #[test]
    fn control_frames_are_no_data_frames() {
        let mut scanner = PingScanner::new(&Connection::default());
        scanner.scan(&[[0x81, 0x80, 0, 0, 0, 0], [0x89, 0x80, 0, 0, 0, 0], [0x8A, 0x80, 0, 0, 0, 0]].concat(), |_| {});
        assert_eq!((scanner.frames(), scanner.data_frames()), (3, 1));
    }

    #[test]
    fn a_scan_ends_at_what_is_no_frame() {
        let mut scanner = PingScanner::new(&Connection::default());
        scanner.scan(&[0xFF, 0x89, 0x80, 1, 2, 3, 4], |_| panic!("not a ping"));
    }
}
