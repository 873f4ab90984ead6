//! What a person reads, and what a program reads, of what was found: functions of data.
//!
//! ```text
//!  LeakReport ─► text (with advice), json        assert = the panic with the text        console = is there colour?
//! ```

pub(crate) mod advice;
pub(crate) mod assert;
pub(crate) mod console;
pub(crate) mod hunt;
pub(crate) mod json;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub use assert::{AssertNoLeaks, assert};
pub use console::Color;
