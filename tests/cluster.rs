//! Groups across several nodes: the conformance suite of message buses, run on `LocalBus`.

mod support;

#[path = "cluster/accounting.rs"]
mod accounting;
#[path = "cluster/conformance.rs"]
mod conformance;
#[path = "cluster/nodes.rs"]
mod nodes;

use nodes::{Bus, Faults};
use react_websocket::cluster::{LocalBackplane, LocalBus, Subject};

impl Bus for LocalBus {
    type Node = LocalBackplane;

    fn start() -> LocalBus {
        LocalBus::new()
    }

    fn node(&self, prefix: &str) -> LocalBackplane {
        LocalBus::node(self, prefix)
    }

    fn inject(&self, prefix: &str, subject: Subject<'_>, message: &[u8]) {
        LocalBus::inject(self, prefix, subject, message.to_vec());
    }
}

impl Faults for LocalBackplane {
    fn cut(&self) {
        LocalBackplane::cut(self);
    }

    fn heal(&self) {
        LocalBackplane::heal(self);
    }

    fn lose(&self, messages: u64) {
        LocalBackplane::lose(self, messages);
    }

    fn repeat(&self, messages: u64) {
        LocalBackplane::repeat(self, messages);
    }

    fn subscriptions(&self) -> Vec<String> {
        LocalBackplane::subscriptions(self)
    }
}

conformance!(LocalBus);
