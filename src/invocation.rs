//! A program that talks to a server, run to its end: with a deadline at which it is killed and reaped, and output that is
//! capped. It gets no input, no descriptor of ours and none of our settings.

use crate::aside::aside;
use crate::backoff::{Backoff, pause};
use crate::process::exit::ExitStatus;
use crate::process::pump::after;
use crate::settings::environment_for_clients;
use crate::sys::{self, AsFd, OwnedFd, Pidfd, Signal, c_string};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a client prints beyond this is an error: nothing that it says about a session is longer.
const LONGEST_OUTPUT: usize = 1 << 20;
/// How often it is looked whether anybody still waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// A path, or a name to be looked up in our `PATH`.
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// Changes to our own environment, `None` for a removal.
    pub(crate) variables: Vec<(OsString, Option<OsString>)>,
    pub(crate) timeout: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    /// [`Unknown`](ExitStatus::Unknown) if somebody else in this process has waited for all children.
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Invocation {
    /// Runs it and waits on this thread.
    ///
    /// # Errors
    ///
    /// If it cannot be started, takes too long or prints too much; then it is dead and reaped.
    pub(crate) fn run(&self) -> io::Result<Ran> {
        self.run_until(&AtomicBool::new(false))
    }

    /// The same on a thread of its own; the program is killed if the future is dropped.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and if no thread can be had.
    pub(crate) async fn run_aside(self) -> io::Result<Ran> {
        let is_given_up = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&is_given_up);
        let give_up = move || is_given_up.store(true, Ordering::SeqCst);
        aside("termleash-ask", move || self.run_until(&of_thread), give_up).await?
    }

    fn run_until(&self, is_given_up: &AtomicBool) -> io::Result<Ran> {
        let deadline = after(self.timeout);
        let (mut outputs, child) = self.start()?;
        let mut kept: [Vec<u8>; 2] = Default::default();
        loop {
            if let Some(why) = outputs.take_what_is_there(&mut kept)? {
                return Err(child.end(why));
            }
            if child.pidfd.has_exited().unwrap_or(true) {
                break;
            }
            let now = Instant::now();
            if now >= deadline {
                let within = humantime::format_duration(self.timeout);
                return Err(
                    child.end(io::Error::new(io::ErrorKind::TimedOut, format!("it did not end within {within}")))
                );
            }
            if is_given_up.load(Ordering::SeqCst) {
                return Err(child.end(io::Error::other("nobody waits for it any more")));
            }
            let wait = (deadline - now).min(LOOK_EVERY);
            sys::wait_for(&outputs.waited_for(&child.pidfd), Some(wait))?;
        }
        // Not to the end of file: whoever it has started may hold the other end for ever.
        if let Some(why) = outputs.take_what_is_there(&mut kept)? {
            return Err(child.end(why));
        }
        let status = child.reap();
        let [stdout, stderr] = kept.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Ran { status, stdout, stderr })
    }

    fn start(&self) -> io::Result<(Outputs, Child)> {
        let text = |text: &OsStr| c_string(text).map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause));
        let program = text(&self.program)?;
        let arguments: Vec<CString> = [&self.program]
            .into_iter()
            .chain(&self.arguments)
            .map(|argument| text(argument))
            .collect::<io::Result<_>>()?;
        let mut variables: BTreeMap<OsString, OsString> = environment_for_clients().collect();
        for (name, value) in &self.variables {
            match value {
                Some(value) => variables.insert(name.clone(), value.clone()),
                None => variables.remove(name),
            };
        }
        let entry = |(name, value): (OsString, OsString)| text(&[name, value].join(OsStr::new("=")));
        let environment: Vec<CString> = variables.into_iter().map(entry).collect::<io::Result<_>>()?;
        let ((out, out_end), (err, err_end)) = (sys::pipe()?, sys::pipe()?);
        let pid =
            sys::spawn_with_outputs(&program, &arguments, &environment, None, [out_end.as_fd(), err_end.as_fd()])?;
        // Two numbers for the one that is needed now.
        drop((out_end, err_end));
        // It is our own child, which nobody has reaped.
        match Child::hold(pid) {
            Ok(child) => Ok((Outputs { ends: [Some(out), Some(err)] }, child)),
            Err(cause) => {
                drop((out, err));
                Err(end_unheld(pid, cause, after(self.timeout), Child::hold))
            }
        }
    }
}

/// The ends that we read; `None` for one that has ended.
struct Outputs {
    ends: [Option<OwnedFd>; 2],
}

impl Outputs {
    fn waited_for<'a>(&'a self, child: &'a Pidfd) -> Vec<sys::BorrowedFd<'a>> {
        self.ends.iter().flatten().map(AsFd::as_fd).chain([child.fd()]).collect()
    }

    /// With why no more is to be taken, if it was too much.
    fn take_what_is_there(&mut self, kept: &mut [Vec<u8>; 2]) -> io::Result<Option<io::Error>> {
        let mut buffer = [0; 8 << 10];
        for (slot, kept) in self.ends.iter_mut().zip(kept) {
            while let Some(end) = slot {
                match sys::read_now(end.as_fd(), &mut buffer)? {
                    None => break,
                    Some(0) => *slot = None,
                    Some(count) => kept.extend_from_slice(&buffer[..count]),
                }
                if kept.len() > LONGEST_OUTPUT {
                    let what = format!("it printed more than {LONGEST_OUTPUT} bytes");
                    return Ok(Some(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
            }
        }
        Ok(None)
    }
}

/// Sees to the end of a child that cannot be held, for want of a descriptor: it gets no signal by its bare number, but its end
/// is waited for, and it is killed as soon as it can be held.
fn end_unheld(pid: u32, cause: io::Error, deadline: Instant, hold: impl Fn(u32) -> io::Result<Child>) -> io::Error {
    let said =
        |what: &str| io::Error::new(cause.kind(), format!("the new child {pid} could not be held: {cause}{what}"));
    for time in Backoff::new() {
        // Held it is ended and reaped at once; one that is no child of ours any more was reaped by somebody else.
        if hold(pid).is_ok() || !matches!(sys::reap_child(pid), Ok(None)) {
            return said("; raise `ulimit -n`");
        }
        if Instant::now() >= deadline {
            break;
        }
        pause(time);
    }
    said(", and it has not ended: it was left as it is; raise `ulimit -n`")
}

/// Ended and reaped on every way out.
struct Child {
    pidfd: Pidfd,
}

impl Child {
    fn hold(pid: u32) -> io::Result<Self> {
        Ok(Self { pidfd: Pidfd::open(pid)? })
    }

    fn end(self, why: io::Error) -> io::Error {
        drop(self);
        why
    }

    fn reap(&self) -> ExitStatus {
        self.pidfd.reap().ok().flatten().map_or(ExitStatus::Unknown, ExitStatus::from)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.pidfd.has_exited().is_ok_and(|has| !has) {
            // Our own child, held by its pidfd: nobody else can get this.
            let _ = self.pidfd.signal(Signal::Kill);
            let _ = self.pidfd.wait_for_exit();
        }
        self.reap();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::runtime::park_on;

    const LONG: Duration = Duration::from_secs(30);

    fn shell(script: &str, timeout: Duration) -> Invocation {
        let arguments = ["-c", script].map(OsString::from).to_vec();
        Invocation { program: "sh".into(), arguments, variables: Vec::new(), timeout }
    }

    #[test]
    fn both_outputs_and_the_status_come_back() {
        let ran = shell("echo \"$0 $1\"; echo 'to a person' >&2; exit 3", LONG).run().unwrap();
        let wanted = Ran { status: ExitStatus::Exited(3), stdout: "sh \n".into(), stderr: "to a person\n".into() };
        assert_eq!(ran, wanted);
        // For ever is no longer than a clock counts.
        assert_eq!(park_on(shell("exit 3", Duration::MAX).run_aside()).unwrap().status, ExitStatus::Exited(3));
    }

    #[test]
    fn it_gets_its_variables_no_descriptor_no_input_and_none_of_our_settings() {
        let leaked = io::pipe().unwrap();
        rustix::io::fcntl_setfd(&leaked.0, rustix::io::FdFlags::empty()).unwrap();
        let mut invocation = shell("ls /proc/self/fd | wc -l; cat; env", LONG);
        invocation.variables = vec![("ADDED".into(), Some("a b".into())), ("HOME".into(), None)];
        let ran = invocation.run().unwrap();
        // Those of `ls`: three, and the directory that it reads.
        assert!(ran.stdout.trim_start().starts_with("4\n"), "{}", ran.stdout);
        assert!(ran.stdout.contains("\nADDED=a b\n") && !ran.stdout.contains("\nHOME="), "{}", ran.stdout);
        let is_setting = |line: &str| line.starts_with("NEXTEST_") || line.starts_with("TERMLEASH_");
        let is_setting = |line: &str| is_setting(line) && !line.starts_with("TERMLEASH_S_");
        assert!(!ran.stdout.lines().any(is_setting), "{}", ran.stdout);
    }

    #[test]
    fn one_that_does_not_end_is_killed_and_reaped() {
        let error =
            shell("echo $$ >&2; trap '' HUP TERM; exec sleep 1000", Duration::from_millis(100)).run().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }

    #[test]
    fn one_that_prints_without_end_is_killed_and_reaped() {
        let error = shell("exec cat /dev/zero", LONG).run().unwrap_err();
        assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn what_it_has_started_and_holds_its_output_is_not_waited_for() {
        let started = Instant::now();
        let ran = shell("sleep 60 & echo $!", Duration::from_secs(50)).run().unwrap();
        assert!(started.elapsed() < Duration::from_secs(40));
        let pid = rustix::process::Pid::from_raw(ran.stdout.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn one_that_nobody_awaits_any_more_is_killed() {
        let (mut told, tell) = io::pipe().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&tell));
        let mut waiting = Box::pin(shell(&format!("exec sleep 1000 > {path}"), LONG * 100).run_aside());
        park_on(async {
            let pump = crate::process::pump::Pump::get().unwrap();
            assert!(pump.within(Duration::from_millis(200), &mut waiting).await.is_none());
        });
        drop((waiting, tell));
        // The end of file is its death.
        assert_eq!(io::Read::read(&mut told, &mut [0]).unwrap(), 0);
    }

    fn is_gone(pid: u32) -> bool {
        sys::reap_child(pid).is_err_and(|cause| cause.raw_os_error() == Some(rustix::io::Errno::CHILD.raw_os_error()))
    }

    /// As if no descriptor was left, for a while or for ever.
    #[test]
    fn a_child_that_cannot_be_held_is_ended_as_soon_as_it_can_and_reaped_however_it_ends() {
        let none = || io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let child = |script: &str| std::process::Command::new("sh").args(["-c", script]).spawn().unwrap().id();
        let pid = child("exec sleep 1000");
        let tries = std::cell::Cell::new(0);
        let hold = |pid| {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(none()) } else { Child::hold(pid) }
        };
        let error = end_unheld(pid, none(), Instant::now() + LONG, hold);
        assert!(error.to_string().contains("could not be held") && is_gone(pid), "{error}");

        let pid = child("exit 0");
        let error = end_unheld(pid, none(), Instant::now() + LONG, |_| Err(none()));
        assert!(!error.to_string().contains("has not ended") && is_gone(pid), "{error}");

        let pid = child("exec sleep 1000");
        let error = end_unheld(pid, none(), Instant::now(), |_| Err(none()));
        assert!(error.to_string().contains("has not ended") && !is_gone(pid), "{error}");
        drop(Child::hold(pid).unwrap());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let invocation = Invocation { program: "no-such-program-of-ours".into(), ..shell("", LONG) };
        assert_eq!(invocation.run().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
