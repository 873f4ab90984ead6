//! A client is called by a process that has hardly a descriptor left.

use crate::children;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::AsRawFd as _;
use termleash::SessionBackend as _;
use termleash::session::{CommandApi, CommandBackend};

/// From too few descriptors to enough, one by one: at one of the steps there are just those that come before the last.
#[test]
fn a_client_is_reaped_however_many_descriptors_are_left() {
    if let Some(ran) = children::alone(&[]) {
        ran.passed();
        return;
    }
    termleash::block_on(async {
        let api = CommandApi::new("sh").list(["-c", "echo 1; echo 2"]).fields(0, None, None);
        let backend = CommandBackend::new(api);
        // What is opened once is open.
        backend.list().await.unwrap();
        let lowest = std::fs::File::open("/dev/null").unwrap();
        let first = u64::try_from(lowest.as_raw_fd()).unwrap();
        drop(lowest);
        let before = getrlimit(Resource::Nofile);
        let mut listed = Vec::new();
        for limit in first..first + 20 {
            setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
            let answer = backend.list().await;
            setrlimit(Resource::Nofile, before).unwrap();
            let children = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
            assert_eq!(children.unwrap_err(), rustix::io::Errno::CHILD, "a client was not reaped: {answer:?}");
            listed.push(answer.is_ok_and(|ids| ids.len() == 2));
        }
        assert!(!listed[0] && listed[19] && listed.is_sorted(), "{listed:?}");
    });
}
