//! A profile as a file that dhat's viewer opens: version 2 of the JSON format of Valgrind's DHAT, as `dh_view.js` reads it.
//!
//! - `fs` of a program point are indices into `ftbl`, the innermost function first. The viewer puts entry 0, the root, before them
//!   itself, and refuses two points with the same `fs`.
//! - With `bklt`, the lifetimes of blocks are known, and every point needs its most (`mb`, `mbk`), what it had at the peak of all (`gb`,
//!   `gbk`) and at the end (`eb`, `ebk`). Without `bkacc` there are no accesses.

use crate::error::{Error, Result};
use crate::probe::heap::named::{HeapFrame, HeapProfile};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    dhat_file_version: u32,
    mode: &'a str,
    verb: &'a str,
    bklt: bool,
    bkacc: bool,
    tu: &'a str,
    #[serde(rename = "Mtu")]
    mtu: &'a str,
    /// A block that lives less long than this is short-lived.
    tuth: u64,
    cmd: &'a str,
    pid: u32,
    tg: u128,
    te: u128,
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

#[derive(Serialize)]
struct Point {
    tb: u64,
    tbk: u64,
    tl: u128,
    mb: u64,
    mbk: u64,
    gb: u64,
    gbk: u64,
    eb: u64,
    ebk: u64,
    fs: Vec<usize>,
}

impl HeapProfile {
    /// The text of a file that dhat's viewer opens: version 2 of the format of Valgrind's DHAT.
    #[must_use]
    pub fn to_dhat(&self) -> String {
        text(self, &command(), std::process::id())
    }

    /// Writes that file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_dhat(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.to_dhat()).map_err(|cause| {
            Error::os(format!("write the heap profile `{}`", path.display()), "its directory must be there", cause)
        })
    }
}

fn command() -> String {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn text(profile: &HeapProfile, command: &str, pid: u32) -> String {
    let mut table = vec!["[root]".to_owned()];
    let mut known: HashMap<&HeapFrame, usize> = HashMap::new();
    let mut number = |frame| {
        *known.entry(frame).or_insert_with(|| {
            table.push(line(frame));
            table.len() - 1
        })
    };
    let points = profile.sites.iter().map(|site| Point {
        tb: site.total.bytes,
        tbk: site.total.blocks,
        tl: site.lifetimes.as_micros(),
        mb: site.max.bytes,
        mbk: site.max.blocks,
        gb: site.at_peak.bytes,
        gbk: site.at_peak.blocks,
        eb: site.curr.bytes,
        ebk: site.curr.blocks,
        fs: site.stack.iter().map(&mut number).collect(),
    });
    let pps = points.collect();
    let file = File {
        dhat_file_version: 2,
        mode: "rust-heap",
        verb: "Allocated",
        bklt: true,
        bkacc: false,
        tu: "µs",
        mtu: "s",
        tuth: 10,
        cmd: command,
        pid,
        tg: profile.peak_at.as_micros(),
        te: profile.took.as_micros(),
        pps,
        ftbl: table,
    };
    serde_json::to_string(&file).expect("numbers and strings are JSON")
}

/// `0x4f: function (file:1:2)`, as dhat writes it.
fn line(frame: &HeapFrame) -> String {
    let function = frame.function.as_deref().unwrap_or("???");
    let place = frame.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    format!("{:#x}: {function}{place}", frame.address)
}
