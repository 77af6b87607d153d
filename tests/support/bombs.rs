//! Values that panic when they are dropped.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};

/// Counts the bombs that exist.
#[derive(Clone, Default)]
pub struct Bombs(Arc<AtomicUsize>);

impl Bombs {
    pub fn new() -> Bombs {
        // Their panics are expected, and not printed.
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if panic.payload().downcast_ref::<&str>() != Some(&"a bomb") {
                    report(panic);
                }
            }));
        });
        Bombs::default()
    }

    pub fn one(&self) -> Bomb {
        self.0.fetch_add(1, Ordering::Relaxed);
        Bomb(self.0.clone())
    }

    pub fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Panics when it is dropped, also while another panic unwinds.
pub struct Bomb(Arc<AtomicUsize>);

impl Clone for Bomb {
    fn clone(&self) -> Bomb {
        self.0.fetch_add(1, Ordering::Relaxed);
        Bomb(self.0.clone())
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        std::panic::panic_any("a bomb");
    }
}

impl fmt::Debug for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bomb")
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bomb")
    }
}

impl Error for Bomb {}

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"a bomb"
    }
}
