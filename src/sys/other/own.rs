//! What this process has and is.

use super::refusal::unsupported;
use crate::sys::{FileStat, Listening, SocketNames, SocketOwner, Specimen};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) fn now_ticks() -> u64 {
    0
}

/// There is no other process to compare it with.
pub(crate) fn monotonic() -> Duration {
    Duration::ZERO
}

pub(crate) fn own_processor_time() -> Option<Duration> {
    None
}

pub(crate) fn ticks_in(_duration: Duration) -> u64 {
    0
}

pub(crate) fn boot_id() -> io::Result<u128> {
    unsupported()
}

pub(crate) fn pid_in_proc() -> io::Result<u32> {
    unsupported()
}

pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

pub(crate) fn own_uid() -> u32 {
    0
}

pub(crate) fn session_of(_pid: u32) -> Option<u32> {
    None
}

pub(crate) fn descriptor_limits() -> io::Result<(u64, u64)> {
    unsupported()
}

pub(crate) fn raise_descriptor_limit(_wanted: u64) -> io::Result<u64> {
    unsupported()
}

pub(crate) fn restore_descriptor_limit(_pid: u32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn data_bytes() -> io::Result<u64> {
    unsupported()
}

pub(crate) fn data_limit() -> u64 {
    u64::MAX
}

pub(crate) fn lower_data_limit(_bytes: u64) -> io::Result<()> {
    unsupported()
}

pub(crate) fn restore_data_limit() -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "pty")]
pub(crate) fn restore_data_limit_of(_pid: u32) -> io::Result<()> {
    Ok(())
}

pub(crate) fn refuses_to_map(_bytes: u64) -> bool {
    false
}

pub(crate) fn stat_descriptor(_number: i32) -> io::Result<Option<FileStat>> {
    unsupported()
}

pub(crate) fn count_descriptors() -> io::Result<Option<usize>> {
    unsupported()
}

pub(crate) fn count_threads() -> io::Result<usize> {
    unsupported()
}

pub(crate) fn list_descriptors() -> io::Result<Vec<i32>> {
    unsupported()
}

pub(crate) fn describe_socket(_number: i32) -> Option<SocketNames> {
    None
}

pub(crate) fn listening_sockets() -> io::Result<Vec<Listening>> {
    unsupported()
}

pub(crate) fn connected_socket(_local: SocketAddr, _remote: SocketAddr) -> io::Result<Option<SocketOwner>> {
    unsupported()
}

pub(crate) fn specimens() -> io::Result<Vec<Specimen>> {
    unsupported()
}

pub(crate) fn has_children() -> io::Result<bool> {
    unsupported()
}

pub(crate) fn resident_bytes() -> io::Result<u64> {
    unsupported()
}

pub(crate) fn peak_bytes() -> io::Result<u64> {
    unsupported()
}

pub(crate) fn heap_bytes() -> Option<u64> {
    None
}

pub(crate) fn trim_heap() -> bool {
    false
}

pub(crate) fn own_thread() -> u32 {
    0
}

pub(crate) fn is_main_thread() -> bool {
    false
}

/// Nothing says in which call a thread is.
pub(crate) fn waiting_call(_number: i64) -> Option<(&'static str, bool)> {
    None
}
