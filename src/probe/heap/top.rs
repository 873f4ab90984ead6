//! What a failing test says of where its heap is: the call sites that matter most, and a file with all of them.

use crate::probe::heap::file::write_for;
use crate::probe::heap::named::{HeapProfile, HeapSite};
use crate::probe::heap::sampling::profile_so_far;
use crate::probe::heap::stats::is_counted;
use crate::sys::stack::CAN_NAME;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;

/// So many call sites are named.
const TOLD: usize = 5;

/// The call sites that hold the most of the heap, or have grown most, for a report, and where all of them are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeapTop {
    /// Five at most, the most bytes first.
    pub sites: Vec<HeapSite>,
    /// True if they are those that have grown most in the rounds of a hunt, by so much; else those that hold the most, of what was made
    /// since the [`HeapSampling`](crate::leak::HeapSampling) began.
    pub is_growth: bool,
    /// One block in so many bytes was looked at, as [`HeapProfile::every`] says; 0 where none was.
    pub every: u64,
    /// The file with all sites, since the sampling began. `None` where nothing fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<HeapFile>,
}

/// The file of a [`HeapTop`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HeapFile {
    /// Its path. It is a file of this failure alone, in `TERMLEASH_PROFILES`; by default in `tmp` of cargo's target directory, or in the
    /// directory for temporary files.
    Written(String),
    /// Why there is none, and what to do for one.
    Missing(String),
}

/// What is known of where the heap comes from; since an earlier profile only what has come since. With the name of a test that fails, a
/// file is written for it.
pub(crate) fn top_sites(since: Option<&HeapProfile>, failed: Option<&str>) -> HeapTop {
    let Some(now) = profile_so_far() else {
        let file = failed.map(|_| HeapFile::Missing(how_to_look().into()));
        return HeapTop { sites: Vec::new(), is_growth: false, every: 0, file };
    };
    let grown = since.map(|earlier| now.since(earlier));
    let top = grown.as_ref().unwrap_or(&now).top(TOLD).filter(|site| site.curr.bytes > 0);
    let file = failed.map(|test| match write_for(test, &now) {
        Ok(path) => HeapFile::Written(path.display().to_string()),
        Err(cause) => HeapFile::Missing(cause.to_string()),
    });
    HeapTop { sites: top.cloned().collect(), is_growth: since.is_some(), every: now.every, file }
}

/// What is missing for it, all at once.
fn how_to_look() -> &'static str {
    match (is_counted(), CAN_NAME) {
        (true, true) => {
            "call sites are not sampled: write `let _sampling = termleash::leak::HeapSampling::start(64 << 10)?;` before the work"
        }
        (true, false) => {
            "call sites are not sampled: add the feature `sites` of termleash in Cargo.toml, and write \
             `let _sampling = termleash::leak::HeapSampling::start(64 << 10)?;` before the work"
        }
        (false, _) => {
            "the global allocator does not say who has made what: write `#[global_allocator] static HEAP: termleash::leak::CountingAlloc = \
             termleash::leak::CountingAlloc::new();`, add the feature `sites` of termleash in Cargo.toml, and write \
             `let _sampling = termleash::leak::HeapSampling::start(64 << 10)?;` before the work"
        }
    }
}

/// Lines that end with one each.
impl fmt::Display for HeapTop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.sites.is_empty() {
            f.write_str(if self.is_growth { "where the heap has grown most" } else { "what holds the heap" })?;
            if self.every > 1 {
                write!(f, ", estimated from one block in {}", ByteSize(self.every).display().iec())?;
            }
            writeln!(f, ":")?;
        }
        for site in &self.sites {
            site.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        self.file.iter().try_for_each(|file| writeln!(f, "{file}"))
    }
}

impl fmt::Display for HeapFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(path) => {
                write!(f, "heap profile: {path}, open it with dhat's viewer (dh_view.html of valgrind)")
            }
            Self::Missing(why) => write!(f, "heap profile: none, {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_looks_it_is_said_how_to() {
        // These tests have the system's allocator.
        let text = top_sites(None, Some("a_test")).to_string();
        assert!(text.starts_with("heap profile: none, the global allocator does not say"), "{text}");
        for part in ["#[global_allocator]", "feature `sites`", "HeapSampling::start(64 << 10)", "\n"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(top_sites(None, None).to_string(), "");
    }
}
