//! TLS for URLs that begin with `wss://`.

use super::dial::Deadline;
use super::error::ConnectError;
use super::exchange::Exchange;
use super::url::Url;

#[cfg(feature = "__tls")]
pub(super) use tls::Security;

/// Without TLS every URL with `wss://` is an error.
#[cfg(not(feature = "__tls"))]
pub(super) struct Security;

#[cfg(not(feature = "__tls"))]
impl Security {
    pub(super) fn of(url: &Url) -> Result<Security, ConnectError> {
        if url.is_secure { Err(ConnectError::NoTls) } else { Ok(Security) }
    }

    pub(super) async fn secure(self, exchange: Exchange, _: Deadline) -> Result<Exchange, ConnectError> {
        Ok(exchange)
    }
}

#[cfg(feature = "__tls")]
mod tls {
    use rustls::pki_types::ServerName;

    use super::*;
    use crate::client::error::{ConnectPhase, UrlError};
    use crate::client::url::Host;
    use crate::tls::ClientTls;

    /// The name of the server that TLS has to prove, if there is TLS.
    pub(in crate::client) struct Security<'a>(Option<(ServerName<'static>, &'a ClientTls)>);

    impl<'a> Security<'a> {
        /// # Errors
        /// The host is not one that a certificate can be for (RFC 5890 section 2.3.1). Nothing was sent.
        pub(in crate::client) fn of(url: &Url, tls: &'a ClientTls) -> Result<Security<'a>, ConnectError> {
            if !url.is_secure {
                return Ok(Security(None));
            }
            let name = match &url.host {
                Host::Address(address) => ServerName::from(*address),
                Host::Name(name) => {
                    let invalid = |_| UrlError::Host { host: name.clone() };
                    ServerName::try_from(name.clone()).map_err(invalid)?
                }
            };
            Ok(Security(Some((name, tls))))
        }

        /// Negotiates TLS. `exchange` may have read bytes of the server.
        pub(in crate::client) async fn secure(
            self,
            exchange: Exchange,
            deadline: Deadline,
        ) -> Result<Exchange, ConnectError> {
            let Some((name, tls)) = self.0 else { return Ok(exchange) };
            let Exchange { mut stream, received, .. } = exchange;
            let established = deadline.within(ConnectPhase::Tls, tls.connect(&mut stream, name, received)).await?;
            let established = established.map_err(ConnectError::Tls)?;
            let peer = Some(established.peer.clone());
            Ok(Exchange { peer, ..Exchange::new(stream.with_tls(established)) })
        }
    }
}
