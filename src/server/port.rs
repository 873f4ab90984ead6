//! A port that nobody else of ours gets meanwhile.
//!
//! A bound socket that is held until the server binds the port works only if both set SO_REUSEADDR, so the port itself is free
//! when the server is started; what is held is a *name* for it, which the kernel gives to one process at a time and takes back
//! at its death. It is no file, so there is none to remove, and it is as wide as ports are: one network namespace, all users.

use crate::error::{Error, Result};
use crate::sys;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::RangeInclusive;
use uuid::Uuid;

/// How many ports are tried, on a machine where nearly all are taken.
const MOST_TRIES: usize = 200;
/// Below are those of well-known services, which tests of others may use by number.
const FIRST: u16 = 10_000;
/// Where it cannot be read which ports the kernel gives to connections (ip(7), `ip_local_port_range`), its default.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// The port of a server that has one.
///
/// # Panics
///
/// With the server's name if it has none.
#[track_caller]
pub(crate) fn expected(port: Option<u16>, name: impl FnOnce() -> String) -> u16 {
    match port {
        Some(port) => port,
        None => panic!("{} was started `without_port()`", name()),
    }
}

/// Where a server is reached by HTTP.
pub(crate) fn url(port: u16) -> String {
    format!("http://{}:{port}", Ipv4Addr::LOCALHOST)
}

/// A port for as long as it is held.
pub(crate) struct Lease {
    port: u16,
    _name: sys::OwnedFd,
}

impl Lease {
    /// # Errors
    ///
    /// If none is free.
    pub(crate) fn take() -> Result<Self> {
        let ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let ephemeral = ephemeral.ok().and_then(|text| range(&text)).unwrap_or(EPHEMERAL);
        let candidates = candidates(&ephemeral);
        let fail = |cause: io::Error| {
            Error::os("lease a port for a server", "close some sockets, or raise `ulimit -n`", cause)
        };
        if candidates.is_empty() {
            return Err(Error::refused("the kernel gives all ports to connections: see ip_local_port_range in ip(7)"));
        }
        // Where to begin: two processes that begin at once shall not meet.
        let mut at = Uuid::new_v4().as_u64_pair().1 as usize;
        for _ in 0..MOST_TRIES.min(candidates.len()) {
            at = (at + 1) % candidates.len();
            let port = candidates[at];
            if let Some(name) = sys::take_name(format!("termleash-port-{port}").as_bytes()).map_err(fail)?
                && is_free(port).map_err(fail)?
            {
                return Ok(Self { port, _name: name });
            }
        }
        Err(Error::refused(format!("{MOST_TRIES} ports were tried for a server, and all of them are in use")))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Nobody listens there on the loopback or on all addresses. Where there is no IPv6, nobody does.
fn is_free(port: u16) -> io::Result<bool> {
    for bound in [TcpListener::bind((Ipv4Addr::LOCALHOST, port)), TcpListener::bind((Ipv6Addr::LOCALHOST, port))] {
        match bound {
            Ok(_) => {}
            Err(cause) => match cause.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => return Ok(false),
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {}
                _ if cause.raw_os_error() == Some(NO_SUCH_FAMILY) => {}
                _ => return Err(cause),
            },
        }
    }
    Ok(true)
}

/// Linux's `EAFNOSUPPORT`.
const NO_SUCH_FAMILY: i32 = 97;

/// Two numbers with a tab between them.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_ascii_whitespace().map(str::parse);
    Some(ends.next()?.ok()?..=ends.next()?.ok()?)
}

/// Neither privileged nor given to connections; where that leaves too few, those that are privileged nowhere.
fn candidates(ephemeral: &RangeInclusive<u16>) -> Vec<u16> {
    let outside = |first: u16| (first..=u16::MAX).filter(|port| !ephemeral.contains(port)).collect::<Vec<u16>>();
    let usual = outside(FIRST);
    if usual.len() >= MOST_TRIES { usual } else { outside(1024) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    //! What is closed here ends somewhat later where another test starts a child at that moment: that has it, too, until its
    //! exec.

    use super::*;
    use crate::backoff::soon;
    use std::collections::HashSet;

    #[test]
    fn a_port_is_outside_of_what_connections_get_and_nobody_gets_it_twice() {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let ephemeral = range(&text).unwrap();
        let leases: Vec<Lease> = (0..40).map(|_| Lease::take().unwrap()).collect();
        let ports: HashSet<u16> = leases.iter().map(Lease::port).collect();
        assert_eq!(ports.len(), leases.len());
        assert!(ports.iter().all(|port| *port >= 1024 && !ephemeral.contains(port)), "{ports:?}");
        let port = leases[0].port();
        let name = || sys::take_name(format!("termleash-port-{port}").as_bytes()).unwrap();
        assert!(name().is_none());
        drop(leases);
        soon("its end", || name().is_some());
    }

    #[test]
    fn a_port_that_somebody_listens_at_is_not_free() {
        for listener in [TcpListener::bind("127.0.0.1:0"), TcpListener::bind("[::1]:0")].into_iter().flatten() {
            let port = listener.local_addr().unwrap().port();
            assert!(!is_free(port).unwrap());
            drop(listener);
            soon("its end", || is_free(port).unwrap());
        }
    }

    #[test]
    fn what_connections_get_is_read_as_the_kernel_writes_it() {
        assert_eq!(range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(range("x"), None);
        assert!(candidates(&(1024..=65_535)).is_empty());
        assert_eq!(candidates(&(10_000..=65_535)).first(), Some(&1024));
        assert_eq!(candidates(&EPHEMERAL).first(), Some(&FIRST));
    }
}
