use super::budget::Share;

/// The last bytes that one end has sent, the dictionary of its next message (RFC 7692 §7.1.1).
///
/// It is empty until there is something to keep, and grows to at most the agreed size.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    limit: usize,
    /// `None` if the window is small enough to need no budget, as in tests.
    share: Option<Share>,
}

impl Window {
    pub(super) fn new(bits: u8, share: Option<Share>) -> Window {
        Window { bytes: Vec::new(), limit: 1usize.checked_shl(bits.into()).unwrap_or(0), share }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds bytes of a message. Forgets everything if the budget is used up.
    pub(super) fn push(&mut self, message: &[u8]) {
        let message = message.get(message.len().saturating_sub(self.limit)..).unwrap_or_default();
        let needed = self.bytes.len().saturating_add(message.len());
        if needed > self.bytes.capacity() && self.bytes.capacity() < self.limit {
            let capacity = needed.checked_next_power_of_two().map_or(self.limit, |size| size.min(self.limit));
            if self.share.as_mut().is_some_and(|share| !share.grow_to(capacity)) {
                return self.forget();
            }
            self.bytes.reserve_exact(capacity.saturating_sub(self.bytes.len()));
        }
        self.bytes.drain(..needed.saturating_sub(self.limit).min(self.bytes.len()));
        self.bytes.extend_from_slice(message);
    }

    /// Forgets all bytes and frees their memory. The window of a sender may be forgotten at any
    /// time.
    pub(super) fn forget(&mut self) {
        self.bytes = Vec::new();
        if let Some(share) = &mut self.share {
            share.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::deflate::Budget;

    #[test]
    fn a_window_has_the_last_bytes_and_grows_as_it_fills() {
        for lengths in [&[1, 2, 3][..], &[255, 1, 256, 300], &[100; 9], &[1000], &[200, 56, 1]] {
            let mut window = Window::new(8, None);
            let mut all = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                let message: Vec<u8> = (0..*length).map(|at| (at * 7 + number) as u8).collect();
                all.extend_from_slice(&message);
                window.push(&message);
                assert_eq!(window.bytes(), &all[all.len().saturating_sub(256)..], "{lengths:?}");
                assert!(window.capacity() <= all.len().next_power_of_two().min(256), "{}", window.capacity());
            }
        }
    }

    #[test]
    fn a_window_over_the_budget_is_forgotten() {
        let budget = Budget::new(6_000);
        let (mut first, mut second) = (Window::new(12, Some(budget.share())), Window::new(12, Some(budget.share())));
        first.push(&[1; 4096]);
        second.push(&[2; 1000]);
        assert_eq!((first.bytes().len(), second.bytes().len(), budget.used()), (4096, 1000, 4096 + 1024));
        second.push(&[3; 2000]);
        assert_eq!((second.bytes().len(), second.capacity(), budget.used()), (0, 0, 4096));
        second.push(&[4; 1500]);
        assert_eq!((second.bytes().len(), second.capacity()), (0, 0), "2,048 bytes would not fit");
        drop(first);
        second.push(&[4; 1500]);
        assert_eq!((second.bytes(), budget.used()), (&[4; 1500][..], 2048));
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
