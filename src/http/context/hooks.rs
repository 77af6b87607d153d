use std::fmt;
use std::sync::Arc;

use crate::emitter::drop_each;
use crate::http::HttpError;
use crate::http::message::{Response, ServerRequest};

/// A closure of the app's among the options.
pub(crate) struct Hook<F: ?Sized>(Option<Arc<F>>);

/// The closure that makes error pages.
pub(crate) type ErrorPage = Hook<dyn Fn(&HttpError, Response) -> Response + Send + Sync>;

/// The closure that sets the body limit of a request.
pub(crate) type BodyLimit = Hook<dyn Fn(&ServerRequest) -> usize + Send + Sync>;

impl<F: ?Sized> Hook<F> {
    pub(crate) fn new(closure: Arc<F>) -> Hook<F> {
        Hook(Some(closure))
    }

    /// The closure. It is there as long as the hook is.
    pub(crate) fn get(&self) -> Option<&F> {
        self.0.as_deref()
    }
}

impl<F: ?Sized> Clone for Hook<F> {
    fn clone(&self) -> Hook<F> {
        Hook(self.0.clone())
    }
}

impl<F: ?Sized> Drop for Hook<F> {
    fn drop(&mut self) {
        drop_each(self.0.take());
    }
}

impl<F: ?Sized> fmt::Debug for Hook<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a closure")
    }
}
