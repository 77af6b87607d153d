//! Which of the offered subprotocols is agreed on (RFC 6455 sections 1.9 and 4.2.2). Pure.

use std::fmt;
use std::sync::Arc;

use http::header::SEC_WEBSOCKET_PROTOCOL;

use crate::emitter::{contain, drop_each};
use crate::http::ServerRequest;
use crate::websocket::error::HandshakeError;

/// An app's closure that selects a subprotocol.
#[derive(Clone)]
pub(crate) struct SubprotocolSelector(Arc<Closure>);

struct Closure(Option<Box<Select>>);

type Select = dyn for<'a> Fn(&'a ServerRequest, &'a [&'a str]) -> Option<&'a str> + Send + Sync;

/// Returns the names that the client offered. Names are compared as they are (RFC 6455 section
/// 4.1).
pub(crate) fn offered(request: &ServerRequest) -> impl Iterator<Item = &str> {
    request.header_list(SEC_WEBSOCKET_PROTOCOL.as_str())
}

impl SubprotocolSelector {
    pub(crate) fn new<F>(select: F) -> SubprotocolSelector
    where
        F: for<'a> Fn(&'a ServerRequest, &'a [&'a str]) -> Option<&'a str> + Send + Sync + 'static,
    {
        SubprotocolSelector(Arc::new(Closure(Some(Box::new(select)))))
    }

    pub(crate) fn select(&self, request: &ServerRequest) -> Result<Option<Arc<str>>, HandshakeError> {
        let offered: Vec<&str> = offered(request).collect();
        let Some(select) = self.0.0.as_ref().filter(|_| !offered.is_empty()) else { return Ok(None) };
        let selected = contain(|| Ok(select(request, &offered))).and_then(|selected| match selected {
            // A client fails the connection over a subprotocol that it did not offer (section 4.1).
            Some(name) if !offered.contains(&name) => {
                Err(format!("subprotocol {name:?} was selected, and the client offered {offered:?}").into())
            }
            selected => Ok(selected.map(Arc::from)),
        });
        selected.map_err(|error| HandshakeError::Listener(error.into()))
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        drop_each(self.0.take());
    }
}

impl fmt::Debug for SubprotocolSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubprotocolSelector")
    }
}
