use std::fmt;
use std::sync::Arc;

use super::HttpError;
use super::request::ServerRequest;
use super::response::Response;

/// A closure of the app's among the options.
pub(super) struct Hook<F: ?Sized>(pub(super) Arc<F>);

/// What makes a page of an error.
pub(super) type ErrorPage = Hook<dyn Fn(&HttpError, Response) -> Response + Send + Sync>;

/// What tells how large the body of a request may be.
pub(super) type BodyLimit = Hook<dyn Fn(&ServerRequest) -> usize + Send + Sync>;

impl<F: ?Sized> Clone for Hook<F> {
    fn clone(&self) -> Hook<F> {
        Hook(self.0.clone())
    }
}

impl<F: ?Sized> fmt::Debug for Hook<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a closure")
    }
}
