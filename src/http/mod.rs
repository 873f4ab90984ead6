//! One request to a server under test, and its answer: plain HTTP on this machine, with a deadline, leaving nothing.
//!
//! ```text
//!  message: what is asked and answered ─► send: from this thread ─► client: ureq, or `disabled`: "needs the feature `http`"
//!  address: whom a URL means            ├► send_aside: on a thread of its own, awaited, cut off when given up
//!                                       └► send_checked ─► checked: by a connection that was looked at first, without ureq
//! ```

pub(crate) mod address;
#[cfg(feature = "http")]
pub(crate) mod checked;
pub(crate) mod client;
#[cfg(not(feature = "http"))]
pub(crate) mod disabled;
#[cfg(feature = "http")]
pub(crate) mod enabled;
pub(crate) mod message;
pub(crate) mod send;

pub(crate) use message::Check;
pub(crate) use message::{Request, Response};
pub(crate) use send::{send_aside, send_checked};

#[cfg(all(test, feature = "http"))]
mod tests;
