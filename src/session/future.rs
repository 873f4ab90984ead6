//! A boxed future, as the object-safe forms of this module's traits need it.

use std::pin::Pin;

/// A future that may be sent to another thread, boxed.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
