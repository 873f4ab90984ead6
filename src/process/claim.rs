//! A server's word on which process leads a session, and what makes it believable.

use crate::error::{Error, Result};
use crate::process::cookie::Cookie;
use crate::process::handle::{ProcessHandle, reader};
use crate::process::identity::Ticks;
use crate::process::pump::Pump;
use crate::process::rule::Mark;
use crate::process::scan::examine;
use crate::process::tree;

/// Takes hold of the process that a server calls a session's leader.
///
/// Believed if it started after the request (`since`; not asked of a session that was made by other means) and
/// carries the session's cookie, or descends from the server. Its user and kernel session are the rule's to judge.
///
/// # Errors
///
/// [`Error::is_refused`] if it is not believed, with the reason; otherwise that it could not be looked at.
pub(crate) fn accept_leader(
    pid: u32,
    server: Option<u32>,
    cookie: Option<Cookie>,
    since: Option<Ticks>,
) -> Result<ProcessHandle> {
    let mut reader = reader()?;
    let unmarked = Mark { cookie, leader: None, leader_ended: None, since: 0, until: None, cgroup: None };
    let (handle, evidence, summary) = examine(&mut reader, pid, &unmarked).map_err(|cause| {
        Error::os(format!("take hold of process {pid}, the session's leader by the server's word"), "", cause)
    })?;
    let refuse = |why: &str| Err(Error::refused(format!("the server calls {summary} the session's leader, but {why}")));
    if since.is_some_and(|since| evidence.identity.started < since) {
        return refuse("it started before the session was asked for");
    }
    let carries = cookie.is_some_and(|cookie| evidence.cookies.contains(&cookie));
    let ourselves = tree::ourselves(&mut reader)?;
    if pid == ourselves.identity.pid || ourselves.ancestors.contains(&pid) {
        return refuse("that is this process or one that started it");
    }
    // Everything descends from process 1, and much from what we descend from: only its own child is then the server's.
    let is_everybodys = |server: u32| server == 1 || ourselves.ancestors.contains(&server);
    let descends = server.is_some_and(|server| {
        let above = tree::ancestors(&mut reader, pid);
        if is_everybodys(server) { server != 1 && above.first() == Some(&server) } else { above.contains(&server) }
    });
    if !carries && !descends {
        return refuse(match server {
            Some(_) => "it neither carries the session's cookie nor descends from the server",
            None => {
                "it does not carry the session's cookie, and the backend names no server that it could descend from"
            }
        });
    }
    // Watched from here on: when it ended must be known by the time that its number is somebody else's.
    handle
        .watch(Pump::get()?)
        .map_err(|cause| Error::os(format!("wait for process {pid}"), "raise `ulimit -n`", cause))?;
    if handle.is_alive() { Ok(handle) } else { refuse("it has ended") }
}
