use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::options::HttpOptions;
use crate::emitter::{Contained, SharedEmitter};
use crate::http::HttpError;
use crate::http::handlers::Chain;
use crate::http::lifecycle::{Admission, Admitted, Pending};
use crate::http::message::Response;
use crate::runtime::trace;

const ERROR: u8 = 0;

/// What all connections of a server share.
pub(crate) struct ServerContext {
    pub(crate) chain: Chain,
    pub(crate) options: HttpOptions,
    pub(crate) admission: Arc<Admission>,
    pub(crate) events: Arc<ServerEvents>,
}

pub(crate) type ServerEvents = SharedEmitter<u8, Arc<HttpError>>;

impl ServerContext {
    /// Lets a connection from `remote` in, if there is room for it.
    pub(crate) fn admit(&self, remote: Option<SocketAddr>) -> Result<(Admitted, Pending), HttpError> {
        self.admission.admit(self.network_of(remote), &self.options.connections)
    }

    /// The network that a connection is counted under, if its address is the client's.
    pub(crate) fn network_of(&self, remote: Option<SocketAddr>) -> Option<IpAddr> {
        remote.and_then(|remote| self.options.network_of(remote.ip()))
    }

    pub(crate) fn emit_error(&self, error: HttpError) {
        self.emit(error, false);
    }

    /// Emits `error`. `is_reported`: it has its line in the log, or its listeners elsewhere.
    pub(crate) fn emit(&self, error: HttpError, is_reported: bool) {
        self.admission.counts.failed(error.cause());
        let events = &self.events;
        let by_app = matches!(error, HttpError::Handler(_));
        if !is_reported {
            trace::request_failed(error.cause(), &error, by_app, by_app && events.listeners.count(&ERROR) > 0);
        }
        events.emit(ERROR, Arc::new(error), |_, error| trace::listener_failed("error", error));
    }

    /// The response that the client is to get for a handler's: an error page if the handler failed or the response cannot be
    /// sent, which emits `error`. Returns whether it is such a page.
    pub(crate) fn finish(&self, response: Response) -> (Response, bool) {
        let mut response = response.checked();
        let (failed, is_reported) = (response.error.take().map(Contained::into_inner), response.is_reported);
        let Some(error) = failed else { return (response, false) };
        let page = self.error_page(&error, response);
        self.emit(error, is_reported);
        (page, true)
    }

    /// The page to send for an error: the app's, if it makes one. `plain`: the page that would be sent.
    pub(crate) fn error_page(&self, error: &HttpError, plain: Response) -> Response {
        let (page, failed) = self.options.page_for(error, plain);
        if let Some(failed) = failed {
            self.emit_error(failed);
        }
        page
    }
}
