//! Systems other than Linux: the same names, and every answer is "unsupported".
//!
//! The types that would stand for a descriptor are empty, so the code on top of them is compiled and cannot run.
//! The poller still waits and can be interrupted, since deadlines are needed everywhere.

mod descriptor;
mod files;
mod isolation;
mod loopback;
mod own;
mod poller;
mod process;
mod pty;
mod refusal;

pub(crate) use descriptor::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
pub(crate) use files::{
    create_directory, create_in, device_numbers, facts_of, facts_of_link, file_facts, names_in, number_of,
    open_directory, open_in, remove_in,
};
pub(crate) use isolation::{
    Channel, Launch, adopt, adopt_orphans, at_start, close_all_but, close_standard_input, create_shared, drain,
    ends_of_children, exit_now, fill_standard_descriptors, flush_c_output, inherited_descriptors, is_terminal,
    keep_from_children, map_shared, note_start, null, parent_pid, pipe, read_now, read_shared, reap_any,
    redirect_number, remove_variable, set_own_name, spawn_into, spawn_leader, spawn_with_outputs, start_arguments,
    start_directory, start_environment, survive_broken_pipes, tracer, variable, wait_for, when_ended, write_to,
};
pub(crate) use loopback::{
    accept_now, answers_tcp, answers_unix, connect_to_name, listen_at_name, peer_of, remove_tree, take_name,
};
#[cfg(feature = "pty")]
pub(crate) use own::restore_data_limit_of;
pub(crate) use own::{
    boot_id, connected_socket, count_descriptors, count_threads, data_bytes, data_limit, describe_socket,
    descriptor_limits, has_children, heap_bytes, is_main_thread, list_descriptors, listening_sockets, lower_data_limit,
    monotonic, now_ticks, own_pid, own_processor_time, own_thread, own_uid, peak_bytes, pid_in_proc,
    raise_descriptor_limit, refuses_to_map, resident_bytes, restore_data_limit, restore_descriptor_limit, session_of,
    specimens, stat_descriptor, ticks_in, trim_heap, waiting_call,
};
pub(crate) use poller::{Pollable, Poller};
pub(crate) use process::{CgroupDir, Controlling, LastPid, Pidfd, ProcDir, ProcReader, processor_time_of, reap_child};
pub(crate) use pty::{Master, Peer, c_string, is_executable, spawn_on_terminal};

/// True where sessions can be spawned, pinned and proven dead by this crate itself.
pub(crate) const IS_COMPLETE: bool = false;
