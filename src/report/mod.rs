//! What a person reads, and what a program reads, of what was found: functions of data.
//!
//! ```text
//!  Timeline ─► timeline, a chart; json ─► timeline_file        what lives ─► largest
//!  LeakReport ─► text (with advice), json        passing = what a level makes of it        console = is there colour?
//! ```

pub(crate) mod advice;
pub(crate) mod console;
pub(crate) mod hunt;
pub(crate) mod json;
pub(crate) mod largest;
pub(crate) mod passing;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod timeline;
pub(crate) mod timeline_file;
mod timeline_series;

pub use console::Color;
pub use passing::AssertNoLeaks;
