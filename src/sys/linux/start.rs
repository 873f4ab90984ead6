//! What this process started with: the same is given to whatever runs a test again.

#![expect(unsafe_code, reason = "a variable can be removed safely only while there is one thread, before main")]

use super::spawn::c_string;
use once_cell::sync::OnceCell;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Calls a function before `main`, in every program that this crate is linked into.
///
/// An entry of `.init_array` (the System V gABI): libc calls it when relocations are done and its own parts are ready, on
/// the only thread that there is.
macro_rules! at_start {
    ($function:path) => {
        #[used]
        #[allow(unsafe_code, reason = "a section by name; what stands in it has the type that libc calls")]
        #[unsafe(link_section = ".init_array")]
        static AT_START: extern "C" fn() = {
            extern "C" fn call() {
                $function();
            }
            call
        };
    };
}
pub(crate) use at_start;

static DIRECTORY: OnceCell<PathBuf> = OnceCell::new();
static INHERITED: OnceCell<Vec<RawFd>> = OnceCell::new();

/// Notes what may change later. To be called before `main`.
pub(crate) fn note_start() {
    if let Ok(directory) = std::env::current_dir() {
        let _ = DIRECTORY.set(directory);
    }
    if let Ok(listing) = std::fs::read_dir("/proc/self/fd") {
        let names = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
        let numbers: Vec<RawFd> = names.filter(|fd| *fd > 2).collect();
        // Without the listing's own, which is closed by now.
        // SAFETY: F_GETFD on any number is harmless.
        let is_open = |fd: &RawFd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0;
        let _ = INHERITED.set(numbers.into_iter().filter(is_open).collect());
    }
}

/// The directory that this process started in.
pub(crate) fn start_directory() -> Option<&'static PathBuf> {
    DIRECTORY.get()
}

/// The descriptors from 3 on that this process was started with, whether open now or not.
pub(crate) fn inherited_descriptors() -> &'static [RawFd] {
    INHERITED.get().map_or(&[], Vec::as_slice)
}

/// The environment that this process was started with, without some variables: /proc/self/environ, which changes of the
/// environment do not reach.
pub(crate) fn start_environment(without: &[&str]) -> io::Result<Vec<CString>> {
    let block = read("/proc/self/environ")?;
    let is_wanted = |entry: &&[u8]| {
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
        !entry.is_empty() && without.iter().all(|unwanted| unwanted.as_bytes() != name)
    };
    let entries = block.split(|byte| *byte == 0).filter(is_wanted);
    Ok(entries.filter_map(|entry| CString::new(entry).ok()).collect())
}

/// The arguments that this process was started with, its own name first: std has none before main on musl.
pub(crate) fn start_arguments() -> io::Result<Vec<OsString>> {
    let line = read("/proc/self/cmdline")?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    Ok(line.split(|byte| *byte == 0).map(|argument| OsString::from_vec(argument.to_vec())).collect())
}

/// A file of /proc, which says that its size is 0: std would begin with a few bytes, and read ten times.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(16 << 10);
    File::open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// A variable as an entry of an environment.
pub(crate) fn variable(name: &str, value: impl AsRef<OsStr>) -> CString {
    let mut entry = OsString::from(name);
    entry.push("=");
    entry.push(value);
    c_string(entry).unwrap_or_default()
}

/// Takes a variable out of the environment, for this process and what it starts. Before `main` only.
pub(crate) fn remove_variable(name: &str) {
    // SAFETY: there is one thread.
    unsafe { std::env::remove_var(name) };
}

/// The process that traces this one, if one does: a debugger or strace.
pub(crate) fn tracer() -> Option<u32> {
    let status = read("/proc/self/status").ok()?;
    let tracer = String::from_utf8_lossy(&status)
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?
        .trim()
        .parse()
        .ok()?;
    (tracer != 0).then_some(tracer)
}
