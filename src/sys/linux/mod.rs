//! Linux: thin shims over rustix, and over libc for what rustix lacks.

mod calls;
mod cgroup;
mod channel;
mod clock;
mod controlling;
mod files;
mod launch;
mod limit;
mod loopback;
mod numbers;
mod own;
mod poller;
mod proc_dir;
mod process;
mod procfs;
mod pty;
mod remove;
mod shared_memory;
mod sock_diag;
mod socket;
mod spawn;
mod specimen;
mod start;
mod supervise;
mod vfork;

pub(crate) use calls::waiting_call;
pub(crate) use cgroup::CgroupDir;
pub(crate) use channel::Channel;
pub(crate) use clock::{monotonic, now_ticks, own_processor_time, ticks_in};
pub(crate) use controlling::Controlling;
pub(crate) use files::{
    create_directory, create_in, device_numbers, facts_of, facts_of_link, file_facts, names_in, number_of,
    open_directory, open_in, remove_in,
};
pub(crate) use launch::{Launch, spawn_into, spawn_leader};
#[cfg(feature = "pty")]
pub(crate) use limit::restore_data_limit_of;
pub(crate) use limit::{
    data_limit, descriptor_limits, lower_data_limit, raise_descriptor_limit, refuses_to_map, restore_data_limit,
    restore_descriptor_limit,
};
pub(crate) use loopback::{accept_now, answers_tcp, answers_unix, connect_to_name, listen_at_name, peer_of, take_name};
pub(crate) use numbers::{
    adopt, close_all_but, close_standard_input, fill_standard_descriptors, flush_c_output, is_terminal,
    keep_from_children, null, pipe, redirect_number, write_to,
};
pub(crate) use own::{
    count_descriptors, count_threads, data_bytes, has_children, heap_bytes, is_main_thread, list_descriptors,
    own_thread, peak_bytes, resident_bytes, stat_descriptor, trim_heap,
};
pub(crate) use poller::Poller;
pub(crate) use proc_dir::{ProcDir, processor_time_of};
pub(crate) use process::{Pidfd, is_executable, own_pid, own_uid, reap_child, session_of};
pub(crate) use procfs::{LastPid, ProcReader, boot_id, pid_in_proc};
pub(crate) use pty::{Master, Peer};
pub(crate) use remove::remove_tree;
pub(crate) use shared_memory::{create_shared, map_shared, read_shared};
pub(crate) use sock_diag::{connected_socket, listening_sockets};
pub(crate) use socket::describe_socket;
pub(crate) use spawn::{c_string, spawn_on_terminal, spawn_with_outputs};
pub(crate) use specimen::specimens;
pub(crate) use start::{
    at_start, inherited_descriptors, note_start, remove_variable, start_arguments, start_directory, start_environment,
    tracer, variable,
};
/// What the poller can wait for.
pub(crate) use std::os::fd::AsFd as Pollable;
/// An open descriptor, and a borrowed one.
pub(crate) use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
pub(crate) use supervise::{
    adopt_orphans, drain, ends_of_children, exit_now, parent_pid, read_now, reap_any, set_own_name,
    survive_broken_pipes, wait_for, when_ended,
};

/// True where sessions can be spawned, pinned and proven dead by this crate itself.
pub(crate) const IS_COMPLETE: bool = true;
