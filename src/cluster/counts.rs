use crate::sync::atomic::{AtomicU64, Ordering};

/// What a node has counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) published: Count,
    pub(crate) unpublished: Count,
    pub(crate) delivered: Count,
    pub(crate) repeated: Count,
    pub(crate) lost: Count,
    pub(crate) refused: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
