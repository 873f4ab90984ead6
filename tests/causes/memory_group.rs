//! A memory control group of a test's own, of either version.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use termleash::process::death::OomCounters;

/// What is in it may use so much.
pub(crate) const LIMIT: u64 = 48 << 20;

static MADE: AtomicU32 = AtomicU32::new(0);

/// Removed on drop, when nobody is in it any more.
pub(crate) struct MemoryGroup {
    directory: PathBuf,
}

impl MemoryGroup {
    /// Below the group that accounts for this process.
    ///
    /// # Errors
    ///
    /// Why there can be none here, in words.
    pub(crate) fn make() -> Result<Self, String> {
        let own = OomCounters::own();
        let file = own.group().ok_or("no memory controller of cgroups can be seen here")?.file();
        let above = file.parent().ok_or("a counter without a directory")?;
        let name = format!("causes-of-death-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let group = Self { directory: above.join(name) };
        fs::create_dir(&group.directory).map_err(|cause| format!("{}: {cause}", group.directory.display()))?;
        let names: [&str; 2] = match file.ends_with("memory.oom_control") {
            true => ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"],
            false => ["memory.max", "memory.swap.max"],
        };
        group.write(names[0], &LIMIT.to_string())?;
        // Not everywhere is swap accounted; version 2 counts it beside memory.
        let swap = if names[1] == "memory.swap.max" { 0 } else { LIMIT };
        let _ = group.write(names[1], &swap.to_string());
        Ok(group)
    }

    fn write(&self, name: &str, value: &str) -> Result<(), String> {
        let file = self.directory.join(name);
        // A file that is not there must not be made, which the kernel refuses, too.
        fs::write(&file, value).map_err(|cause| format!("{}: {cause}", file.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let start = Instant::now();
        // One that has died is counted for a moment longer.
        while fs::remove_dir(&self.directory).is_err() && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
