//! Sessions on a server that is talked to by a program.
//!
//! ```text
//!  api: the program, its arguments and answers, a value ─► template: one line of arguments ─► backend: the five methods
//!                                                               └── follow: what a keeper does with a recipe
//! ```

pub(crate) mod api;
pub(crate) mod backend;
pub(crate) mod follow;
pub(crate) mod template;
