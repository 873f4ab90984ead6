//! A report for programs: JSON with a version.

use crate::error::{Error, Result};
use crate::event::Timeline;
use crate::leak::{HuntReport, LeakReport};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Grows with every change that a reader must know of. New fields and new values do not count.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    content: T,
}

impl LeakReport {
    /// The report as JSON, with its format's `version`, which is 1.
    pub fn to_json(&self) -> String {
        write(self)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// If it is no such JSON, or of a later version.
    pub fn from_json(text: &str) -> Result<Self> {
        read(text, "leak report")
    }
}

impl HuntReport {
    /// The report as JSON, with its format's `version`, which is 1.
    pub fn to_json(&self) -> String {
        write(self)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// If it is no such JSON, or of a later version.
    pub fn from_json(text: &str) -> Result<Self> {
        read(text, "report of a leak hunt")
    }
}

impl Timeline {
    /// The timeline as JSON, with its format's `version`, which is 1.
    pub fn to_json(&self) -> String {
        write(self)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// If it is no such JSON, or of a later version.
    pub fn from_json(text: &str) -> Result<Self> {
        read(text, "timeline")
    }
}

fn write<T: Serialize>(content: &T) -> String {
    let versioned = Versioned { version: VERSION, content };
    serde_json::to_string_pretty(&versioned).expect("plain data always has a JSON form")
}

fn read<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let malformed = |cause: serde_json::Error| Error::invalid(format!("this is no {what} in JSON: {cause}"));
    let Version { version } = serde_json::from_str(text).map_err(malformed)?;
    if version != VERSION {
        return Err(Error::invalid(format!(
            "this {what} has version {version}, and this version of termleash reads {VERSION}: use the termleash that \
             wrote it"
        )));
    }
    let versioned: Versioned<T> = serde_json::from_str(text).map_err(malformed)?;
    Ok(versioned.content)
}
