use crate::emitter::Sealed;
use crate::http::{HttpServer, IntoChain};

/// What a [`TestClient`](super::TestClient) can test: an [`HttpServer`], or the handlers that
/// [`HttpServer::new`] takes.
///
/// `M` distinguishes the kinds; the compiler infers `M`. This trait is sealed: only this crate
/// implements it.
#[diagnostic::on_unimplemented(
    message = "a test client cannot serve this",
    label = "give an `HttpServer`, or the handlers that `HttpServer::new` takes",
    note = "pass the handlers through `HttpServer::new(..)` first to see which of them does not fit"
)]
pub trait IntoTestServer<M> {
    #[doc(hidden)]
    fn into_test_server(self, _: Sealed) -> HttpServer;
}

/// The markers that distinguish the kinds.
#[doc(hidden)]
mod kind {
    use std::marker::PhantomData;

    #[derive(Debug)]
    pub enum Server {}
    #[derive(Debug)]
    pub struct Handlers<M>(PhantomData<M>);
}

impl IntoTestServer<kind::Server> for HttpServer {
    fn into_test_server(self, _: Sealed) -> HttpServer {
        self
    }
}

impl IntoTestServer<kind::Server> for &HttpServer {
    fn into_test_server(self, _: Sealed) -> HttpServer {
        self.clone()
    }
}

impl<H: IntoChain<M>, M> IntoTestServer<kind::Handlers<M>> for H {
    fn into_test_server(self, _: Sealed) -> HttpServer {
        HttpServer::new(self)
    }
}
