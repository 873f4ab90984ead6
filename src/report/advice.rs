//! What to write instead: one sentence for each kind of finding.

use crate::leak::{GONE, Gauge, Item, Kind, Verdict};

/// What to do about a finding.
pub(crate) fn for_finding(verdict: Verdict, item: &Item) -> &'static str {
    match verdict {
        Verdict::Interfered => {
            "the number was closed by one owner and is used by another: look for a close of a number that was not its own \
             (`from_raw_fd` of a borrowed number), or end the old owner before the test"
        }
        _ => for_kind(item),
    }
}

/// What to do first about what may be another test's.
pub(crate) const SUSPICIOUS: &str = "run the test alone, by `cargo nextest run` or with `--test-threads=1`: another test of this process may have made it";

/// What to do first about what another process has, which others may use.
pub(crate) const SHARED_PROCESS: &str =
    "give the test a server of its own, and say so with `exclusive()`: somebody else may have made it";

/// What to do about what another process has: it may be written in any language.
pub(crate) fn for_process(verdict: Verdict, item: &Item) -> &'static str {
    match item.kind {
        _ if verdict == Verdict::Interfered => for_finding(verdict, item),
        Kind::PtyMaster => {
            "have the server close the master when the session's program has ended, with every copy of it"
        }
        Kind::PtySlave => "have the server close the program's side as soon as it has started it",
        Kind::Process => "have the server end the session's processes, those in kernel sessions of their own too",
        Kind::Zombie => "have the server wait for its children: waitpid(2) at SIGCHLD, or the like of its language",
        Kind::Thread => "have the server end the session's thread: it may block in a read that never ends",
        Kind::Ended | Kind::Session | Kind::Reference => for_kind(item),
        _ => "have the server close it at the session's end",
    }
}

/// What to do about what grows and is no item.
pub(crate) fn for_gauge(gauge: Gauge) -> Option<&'static str> {
    match gauge {
        Gauge::Heap | Gauge::Resident => Some(
            "have `on_leak` write a snapshot of the heap, and take work out of a round until the rise is gone: what was taken out last \
             is it",
        ),
        Gauge::Processor => {
            Some("look for a timer, a poll or a thread that begins with each session and does not stop with it")
        }
        Gauge::Forks => Some("look for a timer that starts a program, `ps` say, and does not stop with its session"),
        Gauge::Records => {
            Some("have the server drop its record of a session that has ended, or ask it to: `discard` of its backend")
        }
        _ => None,
    }
}

fn for_kind(item: &Item) -> &'static str {
    match item.kind {
        Kind::Session => {
            "end it with `session.close().await?`, drop its guard, or end all with `helper.kill_tracked_sessions().await?`"
        }
        Kind::PtyMaster => {
            "a reader or writer made from it holds it too: drop those, and end the thread that blocks in a read of it"
        }
        Kind::PtySlave => {
            "drop the slave as soon as the program has been started: while it is open no end-of-file comes"
        }
        Kind::Pipe => "drop both ends; take a child's `stdin`, `stdout` and `stderr` out of it or wait for the child",
        Kind::Socket if item.state.as_ref().is_some_and(|state| state.contains("CLOSE_WAIT")) => {
            "the other side has closed: read to the end and drop the socket"
        }
        Kind::Socket if item.state.as_deref() == Some("listening") => {
            "stop the server that accepts on it, and wait until its task has ended"
        }
        Kind::Socket => "drop the client or connection, and wait for the task that serves it",
        Kind::Epoll | Kind::Eventfd | Kind::Timerfd | Kind::Signalfd | Kind::Inotify => {
            "an event loop or a runtime holds it: shut that down before the end of the test"
        }
        Kind::Pidfd if item.name == GONE => "drop the `Child` whose process has ended: its reference is still open",
        Kind::Pidfd => {
            "wait for the child: `child.wait().await?`, after `child.kill().await?` if it does not end by itself"
        }
        Kind::Process => "end it and wait for it: `child.kill()?; child.wait()?`",
        Kind::Zombie => "wait for it: `child.wait()?`; a `Child` that is dropped is not waited for",
        Kind::Thread if item.name.starts_with("termleash-") => {
            "this crate still ends a session there whose guard or helper was dropped: close it in the test, and see why it does \
             not end"
        }
        Kind::Thread if is_of_runtime(&item.name) => {
            "shut the runtime down, and give a blocking task an end: one that waits for ever keeps its thread for ever"
        }
        Kind::Thread => "give it a way to stop and join it: `handle.join()`",
        Kind::Ended => {
            "see how it ended and what it printed last; while it is not there nothing of it can be checked, so start a new one"
        }
        Kind::Reference => {
            "something still holds it: a spawned task, a callback, or a cycle of `Arc`s (make one direction a `Weak`)"
        }
        Kind::File | Kind::Directory | Kind::Device | Kind::Memfd | Kind::Descriptor => {
            "drop what holds it; `mem::forget`, `Box::leak`, `into_raw_fd` or a cycle of `Arc`s keeps it open"
        }
    }
}

/// The names that tokio gives its threads, cut to the kernel's 15 bytes.
pub(crate) fn is_of_runtime(name: &str) -> bool {
    name.starts_with("tokio-rt-worker") || name.starts_with("tokio-runtime-w")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_an_item_narrows_what_to_do() {
        let of = |kind, name: &str, state: Option<&str>, which: Option<&str>| {
            let mut item = Item::new(kind, name, None);
            item.state = state.map(str::to_owned);
            item.which = which.map(str::to_owned);
            for_finding(Verdict::Leaked, &item)
        };
        let socket = |state| of(Kind::Socket, "tcp", state, None);
        assert!(socket(Some("CLOSE_WAIT")).contains("the other side has closed"));
        assert!(socket(Some("listening")).contains("stop the server"));
        assert!(socket(None).contains("drop the client"));
        assert!(of(Kind::Pidfd, GONE, None, None).contains("has ended"));
        assert!(of(Kind::Pidfd, "", None, Some("of pid 1")).contains("child.wait()"));
        assert!(of(Kind::Thread, "tokio-rt-worker", None, None).contains("shut the runtime down"));
        assert!(of(Kind::Thread, "mine", None, None).contains("join"));
        assert!(of(Kind::Thread, "termleash-close", None, None).contains("this crate still ends a session"));
    }
}
