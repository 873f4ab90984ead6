//! Whether the process that a server names is the one that answers here: a server in another PID namespace, in a container,
//! names itself by a number that means somebody else here, as do its sessions' leaders.

use crate::process::handle::{read_stat, reader};
use crate::process::listening::{all, of_server, reaches, sockets};
use crate::sys::Listening;
use std::net::SocketAddr;

/// True if who listens at one of these places is that process, one that it has started to work for it, or its parent, which
/// accepts for it; of a process whose descriptors this user may not see, its user is compared instead.
pub(crate) fn answers_at(places: &[SocketAddr], pid: u32) -> bool {
    let Ok(mut reader) = reader() else { return false };
    let (Ok(stat), Ok(all)) = (read_stat(&mut reader, pid), all(&mut reader)) else { return false };
    let mut own = of_server(&mut reader, pid);
    if read_stat(&mut reader, stat.parent).is_ok_and(|parent| parent.session == stat.session) {
        own.extend(sockets(&mut reader, stat.parent));
    }
    let hidden = reader.descriptors(pid).is_err().then(|| reader.owner(pid).ok()).flatten();
    let is_its = |one: &Listening| own.contains(&one.owner.inode) || hidden == Some(one.owner.user);
    places.iter().any(|place| {
        let is_there = |one: &&Listening| one.port == place.port() && reaches(one.address, place.ip());
        let mut there = all.iter().filter(is_there).peekable();
        there.peek().is_some() && there.all(is_its)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    #[test]
    fn who_has_the_port_answers_there_and_whoever_else_has_the_number_does_not() {
        let mut stranger = Command::new("setsid").arg("cat").stdin(Stdio::piped()).spawn().unwrap();
        let start = std::time::Instant::now();
        let leads = || read_stat(&mut reader().unwrap(), stranger.id()).unwrap().session == stranger.id();
        while !leads() && start.elapsed() < std::time::Duration::from_secs(20) {
            std::thread::yield_now();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let own = std::process::id();
        assert!(answers_at(&[place], own) && !answers_at(&[place], stranger.id()));
        assert!(answers_at(&[([192, 0, 2, 1], place.port()).into(), place], own));
        // On another machine nobody here listens.
        assert!(!answers_at(&[([192, 0, 2, 1], place.port()).into()], own));
        drop(listener);
        assert!(!answers_at(&[place], own));
        drop(stranger.stdin.take());
        stranger.wait().unwrap();
    }

    /// A worker of a server whose parent accepts for all of them.
    #[test]
    fn a_parent_answers_for_its_worker() {
        let mut worker = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(answers_at(&[listener.local_addr().unwrap()], worker.id()));
        drop(worker.stdin.take());
        worker.wait().unwrap();
    }
}
