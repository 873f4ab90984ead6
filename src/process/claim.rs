//! A server's word on which process leads a session, and what makes it believable.

use crate::error::{Error, Result};
use crate::process::cookie::Cookie;
use crate::process::handle::{ProcessHandle, reader};
use crate::process::identity::Ticks;
use crate::process::pump::Pump;
use crate::process::rule::Mark;
use crate::process::scan::examine;
use crate::process::tree;
use crate::process::variable::SessionVariable;

/// What a session's processes carry in their environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marked {
    pub(crate) cookie: Option<Cookie>,
    pub(crate) variable: Option<SessionVariable>,
}

impl From<Option<Cookie>> for Marked {
    fn from(cookie: Option<Cookie>) -> Self {
        Self { cookie, variable: None }
    }
}

/// Takes hold of the process that a server calls a session's leader.
///
/// Believed if it started after the request (`since`; not asked of a session that was made by other means) and
/// carries the session's cookie or the server's own variable, or descends from the server. Its user and kernel session are the rule's to judge.
///
/// # Errors
///
/// [`Error::is_refused`] if it is not believed, with the reason; otherwise that it could not be looked at.
pub(crate) fn accept_leader(
    pid: u32,
    server: Option<u32>,
    marked: &Marked,
    since: Option<Ticks>,
) -> Result<ProcessHandle> {
    let mut reader = reader()?;
    let unmarked = Mark { variable: marked.variable.clone(), ..Mark::of(marked.cookie, 0) };
    let (handle, evidence, summary) = examine(&mut reader, pid, &unmarked).map_err(|cause| {
        Error::os(format!("take hold of process {pid}, the session's leader by the server's word"), "", cause)
    })?;
    let refuse = |why: &str| Err(Error::refused(format!("the server calls {summary} the session's leader, but {why}")));
    if since.is_some_and(|since| evidence.identity.started < since) {
        return refuse("it started before the session was asked for");
    }
    let carries = evidence.has_variable || marked.cookie.is_some_and(|cookie| evidence.cookies.contains(&cookie));
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    /// A server's child and grandchild, both with this cookie; they end when it is dropped.
    struct Session {
        child: Child,
        below: u32,
    }

    impl Session {
        fn start(cookie: Cookie) -> Self {
            let mut command = Command::new("sh");
            // What runs in the background gets no standard input, so it is passed on by another number. The id is told
            // by the program itself: in the middle of an exec there is no environment to read.
            command.args(["-c", "exec 3<&0; sh -c 'echo $$; read line' <&3 & wait"]).env(cookie.name(), cookie.value());
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            Self { child, below: line.trim().parse().unwrap() }
        }
    }

    impl Drop for Session {
        fn drop(&mut self) {
            drop(self.child.stdin.take());
            self.child.wait().unwrap();
        }
    }

    #[track_caller]
    fn refused(result: Result<ProcessHandle>, why: &str) {
        let error = result.unwrap_err();
        assert!(error.is_refused() && error.to_string().contains(why), "{error}");
    }

    #[test]
    fn what_carries_the_cookie_or_descends_from_the_server_is_believed() {
        let cookie = Cookie::new();
        let session = Session::start(cookie);
        let own = std::process::id();
        for pid in [session.child.id(), session.below] {
            assert_eq!(accept_leader(pid, None, &Some(cookie).into(), None).unwrap().pid(), pid);
            assert_eq!(accept_leader(pid, Some(own), &Marked::default(), None).unwrap().pid(), pid);
        }
    }

    #[test]
    fn what_neither_carries_the_cookie_nor_descends_from_the_server_is_refused() {
        let session = Session::start(Cookie::new());
        let pid = session.child.id();
        let other = Session::start(Cookie::new());
        refused(accept_leader(pid, Some(other.child.id()), &Some(Cookie::new()).into(), None), "neither carries");
        // Its own child is no server of it.
        refused(accept_leader(pid, Some(session.below), &Some(Cookie::new()).into(), None), "neither carries");
        refused(accept_leader(pid, None, &Some(Cookie::new()).into(), None), "names no server");
        refused(accept_leader(pid, None, &Marked::default(), None), "names no server");
    }

    #[test]
    fn what_started_before_the_request_is_refused_although_it_carries_the_cookie() {
        let cookie = Cookie::new();
        let session = Session::start(cookie);
        let pid = session.child.id();
        let started = ProcessHandle::open(pid).unwrap().identity().started;
        assert!(accept_leader(pid, Some(std::process::id()), &Some(cookie).into(), Some(started)).is_ok());
        let late = accept_leader(pid, Some(std::process::id()), &Some(cookie).into(), Some(started + 1));
        refused(late, "started before the session was asked for");
    }

    /// Whatever the server is: all descend from process 1.
    #[test]
    fn this_process_and_those_that_started_it_are_refused() {
        for pid in [std::process::id(), std::os::unix::process::parent_id()] {
            refused(accept_leader(pid, Some(1), &Marked::default(), None), "this process or one that started it");
        }
    }

    #[test]
    fn the_servers_own_variable_is_believed_and_another_is_not() {
        let (name, id) = ("SERVER_ID", "9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d");
        let mut child = Command::new("cat").env(name, id).stdin(Stdio::piped()).spawn().unwrap();
        let marked = |id: &str| Marked { cookie: None, variable: SessionVariable::new(name, id) };
        // In the middle of its exec it carries nothing.
        let start = std::time::Instant::now();
        let believed = loop {
            match accept_leader(child.id(), None, &marked(id), None) {
                Err(cause) if cause.is_refused() && start.elapsed().as_secs() < 20 => std::thread::yield_now(),
                told => break told,
            }
        };
        let another = accept_leader(child.id(), None, &marked(&id.replace("9b", "9c")), None);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(believed.is_ok(), "{believed:?}");
        refused(another, "names no server");
    }

    /// What started us is anybody's server: it has started much besides.
    #[test]
    fn to_descend_from_one_that_this_process_descends_from_proves_nothing() {
        let session = Session::start(Cookie::new());
        for server in [1, std::os::unix::process::parent_id()] {
            for pid in [session.child.id(), session.below] {
                refused(accept_leader(pid, Some(server), &Marked::default(), None), "neither carries");
            }
        }
    }
}
