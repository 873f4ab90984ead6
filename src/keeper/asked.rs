//! Whether whoever is at the other end of a connection is the server that is to be asked: between the look at a server's
//! process and a request at its port the server may have closed that port, and a stranger may have it.

use crate::process::dead::{Held, held};
use crate::process::handle::reader;
use crate::process::identity::ProcessIdentity;
use crate::process::listening::{all, connected, of_server, reaches};
use crate::sys::{self, ProcReader, SocketOwner};
use std::net::{SocketAddr, TcpStream};

/// Lets a connection pass whose other end is the server's own, by the kernel's word.
///
/// # Errors
///
/// Why nothing must be sent by it.
pub(crate) fn is_the_server(stream: &TcpStream, server: ProcessIdentity) -> Result<(), String> {
    let refused = |why: String| format!("nothing was sent: {why}");
    let (mut reader, place, owners) = other_end(stream).map_err(refused)?;
    let owned = of_server(&mut reader, server.pid());
    // After the look, so that what was looked at was this process's.
    let is_it = matches!(held(server), Held::It(_)) && owners.iter().all(|owner| owned.contains(&owner.inode));
    if is_it && !owners.is_empty() {
        return Ok(());
    }
    let pid = server.pid();
    let why = format!("who answers at {place} is not seen to be the server that made the session, pid {pid}");
    Err(refused(why + "; it may have given its port back, or another user's process answers for it"))
}

/// The same of a server that nobody has named: a secret goes to a process of this user, or of root, and nobody else's.
///
/// # Errors
///
/// As [`is_the_server`].
pub(crate) fn may_have_a_secret(stream: &TcpStream) -> Result<(), String> {
    let refused = |why: String| format!("the secret was not sent: {why}");
    let (_, place, owners) = other_end(stream).map_err(refused)?;
    let is_trusted = |owner: &SocketOwner| [sys::own_uid(), 0].contains(&owner.user);
    if !owners.is_empty() && owners.iter().all(is_trusted) {
        return Ok(());
    }
    Err(refused(format!("which process the server is was not known, and who answers at {place} is another user's")))
}

/// All who may have the other end. A connection that nobody has accepted yet waits in the queue of a socket that listened
/// before and after it was looked at, so that it is one of those that are listed first.
fn other_end(stream: &TcpStream) -> Result<(ProcReader, SocketAddr, Vec<SocketOwner>), String> {
    let cannot = |cause: &dyn std::fmt::Display| format!("who answers cannot be looked up: {cause}");
    let mut reader = reader().map_err(|cause| cannot(&cause))?;
    let (near, far) = match (stream.local_addr(), stream.peer_addr()) {
        (Ok(near), Ok(far)) => (near, far),
        (Err(cause), _) | (_, Err(cause)) => return Err(cannot(&cause)),
    };
    let listening = all(&mut reader).map_err(|cause| cannot(&cause))?;
    let owners = match connected(&mut reader, far, near).map_err(|cause| cannot(&cause))? {
        Some(owner) if owner.inode != 0 => vec![owner],
        Some(_) => {
            let there = listening.into_iter().filter(|one| one.port == far.port() && reaches(one.address, far.ip()));
            there.map(|one| one.owner).collect()
        }
        None => Vec::new(),
    };
    Ok((reader, far, owners))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::backoff::soon;
    use crate::process::handle::{ProcessHandle, read_stat};
    use crate::process::tree::own_identity;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};

    fn child(command: &[&str], input: Stdio) -> (Ends, ProcessIdentity) {
        let child = Command::new(command[0]).args(&command[1..]).stdin(input).spawn().unwrap();
        let identity = ProcessHandle::open(child.id()).unwrap().identity();
        (Ends(child), identity)
    }

    /// Killed and reaped however its test ends.
    struct Ends(Child);

    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// In the queue first, accepted then.
    #[test]
    fn a_connection_is_to_whoever_has_its_other_end() {
        let own = own_identity().unwrap();
        let (_stranger, theirs) = child(&["cat"], Stdio::piped());
        for host in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let port = listener.local_addr().unwrap().port();
            let to = if host.starts_with('[') { "::1" } else { "127.0.0.1" };
            let client = TcpStream::connect((to, port)).unwrap();
            let look = |server: ProcessIdentity| is_the_server(&client, server);
            assert_eq!(look(own), Ok(()), "{host}");
            assert!(look(theirs).unwrap_err().contains("is not seen to be the server"), "{host}");
            let accepted = listener.accept().unwrap().0;
            // Who listens is no matter any more.
            drop(listener);
            assert_eq!((look(own), may_have_a_secret(&client)), (Ok(()), Ok(())), "{host}");
            assert!(look(theirs).is_err(), "{host}");
            let before = ProcessIdentity { started: own.started - 1, ..own };
            assert!(look(before).is_err(), "its number is another's by now");
            drop(accepted);
        }
    }

    /// The listener stands as the input of another process.
    #[test]
    fn a_worker_of_the_server_answers_for_it_and_a_program_in_its_terminal_does_not() {
        let own = own_identity().unwrap();
        for (program, is_its) in [("env", true), ("setsid", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (worker, theirs) = child(&[program, "sleep", "1000"], OwnedFd::from(listener).into());
            let session = || read_stat(&mut reader().unwrap(), worker.0.id()).unwrap().session;
            // A child that another test starts has the listener, too, until its exec.
            soon(program, || (session() == worker.0.id()) != is_its && is_the_server(&client, own).is_ok() == is_its);
            assert_eq!(is_the_server(&client, theirs), Ok(()), "{program}");
        }
    }
}
