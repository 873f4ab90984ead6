//! Linux: thin shims over rustix, and over libc for what rustix lacks.

mod cgroup;
mod clock;
mod files;
mod limit;
mod own;
mod poller;
mod process;
mod procfs;
mod pty;
mod socket;
mod spawn;
mod specimen;

pub(crate) use cgroup::CgroupDir;
pub(crate) use clock::now_ticks;
pub(crate) use files::{create_directory, create_in, file_facts, names_in, open_directory, open_in, remove_in};
pub(crate) use limit::{raise_descriptor_limit, restore_descriptor_limit};
pub(crate) use own::{
    count_descriptors, has_children, heap_bytes, is_main_thread, list_descriptors, own_thread, peak_bytes,
    resident_bytes, stat_descriptor, trim_heap,
};
pub(crate) use poller::Poller;
pub(crate) use process::{Pidfd, is_executable, own_pid, own_uid, session_of};
pub(crate) use procfs::{ProcReader, boot_id, pid_in_proc};
pub(crate) use pty::{Master, Peer};
pub(crate) use socket::describe_socket;
pub(crate) use spawn::{c_string, spawn_on_terminal};
pub(crate) use specimen::specimens;
/// What the poller can wait for.
pub(crate) use std::os::fd::AsFd as Pollable;

/// True where sessions can be spawned, pinned and proven dead by this crate itself.
pub(crate) const IS_COMPLETE: bool = true;
