use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// Maximum memory of the windows of many connections together.
///
/// A sender whose window does not fit forgets it, which is always legal. The window of a receiver
/// is counted in full when it is agreed on, because a receiver must not forget it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// Creates a budget of `limit` bytes.
    pub fn new(limit: usize) -> Budget {
        Budget(Arc::new(Counter { used: AtomicUsize::new(0), limit }))
    }

    /// Returns the number of bytes in use.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Returns a share of no bytes.
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

impl Default for Budget {
    /// 256 MiB.
    fn default() -> Budget {
        Budget::new(256 << 20)
    }
}

/// A part of a [`Budget`], which dropping it gives back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// Returns whether the share could grow to this number of bytes. If not, it is unchanged.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let counter = &self.budget.0;
        let fits = |used: usize| used.checked_add(more).filter(|used| *used <= counter.limit);
        let has_grown = counter.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if has_grown {
            self.bytes = self.bytes.saturating_add(more);
        }
        has_grown
    }

    pub(crate) fn give_back(&mut self) {
        self.budget.0.used.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fit_into_the_budget_and_give_back_what_they_had() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.grow_to(60) && first.grow_to(60) && first.grow_to(1));
        assert!(!second.grow_to(41) && second.grow_to(40));
        assert_eq!(budget.used(), 100);
        first.give_back();
        assert_eq!(budget.used(), 40);
        assert!(second.grow_to(100) && !first.grow_to(1) && first.grow_to(0));
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
