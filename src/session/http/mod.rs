//! Sessions on a server that speaks HTTP and JSON.
//!
//! ```text
//!  api: routes and fields, a value ─► talk: one request, its answer as JSON ─► backend: the five methods
//! ```

pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod backend;
pub(crate) mod named;
pub(crate) mod talk;
