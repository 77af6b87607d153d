//! Which certificate a client gets (SNI, RFC 6066 section 3).

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::sync::thread_local;

thread_local! {
    /// The name that the client asked for, whose message this thread processes. rustls's unbuffered
    /// connection does not return it.
    static NAME: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// Returns the name that was asked for since the last call.
pub(super) fn take_name() -> Option<Box<str>> {
    NAME.try_with(Cell::take).ok().flatten()
}

/// Notes the name that a client asks for.
#[derive(Debug)]
pub(super) struct NotesName(pub(super) Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for NotesName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(Box::from);
        let _ = NAME.try_with(|slot| slot.set(name));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

/// The certificates of a server, by the names that clients ask for.
pub(super) struct Certificates {
    /// For clients that ask for no name, or for another one.
    pub(super) default: Arc<CertifiedKey>,
    /// In lower case. A wildcard stands as `*.example.com`.
    pub(super) by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn of(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, domain) = name.split_once('.')?;
            self.by_name.get(&format!("*.{domain}"))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = if self.by_name.is_empty() { None } else { hello.server_name().and_then(|name| self.of(name)) };
        Some(named.unwrap_or(&self.default).clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
