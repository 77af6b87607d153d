use super::output::BoxError;
use super::panics::drop_each;
use super::serial_queue::SerialQueue;
use super::shared::Listeners;

/// Listeners that many tasks share, and the queue of their events. All listeners see the events in
/// one order.
pub(crate) struct SharedEmitter<K, A> {
    pub(crate) listeners: Listeners<K, A>,
    queue: SerialQueue<Emission<K, A>>,
}

struct Emission<K, A> {
    event: K,
    args: A,
    is_last: bool,
}

impl<K, A> Default for SharedEmitter<K, A> {
    fn default() -> Self {
        SharedEmitter { listeners: Listeners::default(), queue: SerialQueue::default() }
    }
}

impl<K: PartialEq, A> SharedEmitter<K, A> {
    /// Calls the listeners of `event` before it returns, unless another emission is under way. The
    /// task of that emission calls them then. `failed` gets the errors and panics of listeners of
    /// all events that this call emits.
    pub(crate) fn emit(&self, event: K, args: A, failed: impl FnMut(&K, BoxError)) {
        self.enqueue(Emission { event, args, is_last: false }, failed);
    }

    /// Like [`emit`](SharedEmitter::emit), for the last event. All listeners are dropped
    /// afterwards, and later ones at once.
    pub(crate) fn emit_last(&self, event: K, args: A, failed: impl FnMut(&K, BoxError)) {
        self.enqueue(Emission { event, args, is_last: true }, failed);
    }

    fn enqueue(&self, emission: Emission<K, A>, mut failed: impl FnMut(&K, BoxError)) {
        self.queue.push(emission);
        self.queue.drain(|Emission { event, args, is_last }| {
            self.listeners.emit(&event, &args, |error| failed(&event, error));
            if is_last {
                self.listeners.end();
            }
            drop_each([args]);
        });
    }
}
