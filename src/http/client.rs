//! Which client there is.

#[cfg(not(feature = "http"))]
pub(crate) use crate::http::disabled::Client;
#[cfg(feature = "http")]
pub(crate) use crate::http::enabled::Client;
