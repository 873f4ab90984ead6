//! Descriptors that come and go.

use super::scene::{brief, connection, later, new_eventfd, pty, runtime};
use super::{Body, Case, Expected, Setting};
use Body::{Once, Task};
use rustix::event::epoll;
use rustix::fs::{MemfdFlags, inotify, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use termleash::leak::Kind;

pub(super) const CASES: &[Case] = &[
    Case::clean("nothing_happens", "the usual test", Once(|_| {})),
    Case::clean(
        "files_are_closed",
        "T5: numbers are taken again at once",
        Once(|_| {
            for _ in 0..20 {
                drop((tempfile::tempfile().unwrap(), File::open("/dev/null").unwrap()));
            }
        }),
    ),
    Case::clean(
        "a_file_is_opened_anew_at_its_number",
        "T5: a log that was rotated to the same file",
        Once(|scene| {
            rustix::io::dup2(File::open("/dev/null").unwrap(), &mut scene.victim).unwrap();
        }),
    ),
    Case::clean(
        "descriptors_are_listed",
        "T7: a listing has a descriptor of its own",
        Once(|_| {
            assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() > 3);
        }),
    ),
    Case::clean(
        "a_far_descriptor_is_closed",
        "T8: numbers as shells use them",
        Once(|scene| {
            drop(rustix::io::fcntl_dupfd_cloexec(&scene.victim, 251).unwrap());
        }),
    ),
    Case::clean(
        "a_terminal_is_closed_on_both_sides",
        "T10: the reader has its end of file",
        Once(|_| {
            let (master, slave) = pty();
            let mut duplicate = File::from(master.try_clone().unwrap());
            let reader = thread::spawn(move || std::io::copy(&mut duplicate, &mut std::io::sink()));
            File::from(slave).write_all(b"a line\n").unwrap();
            drop(reader.join().unwrap());
        }),
    ),
    Case::clean(
        "a_connection_is_closed_on_both_sides",
        "no CLOSE_WAIT",
        Once(|_| {
            let (client, mut served) = connection();
            drop(client);
            assert_eq!(served.read(&mut [0]).unwrap(), 0);
        }),
    ),
    Case::clean(
        "pipes_and_pairs_are_closed",
        "T6: ends that share an inode",
        Once(|_| {
            drop((std::io::pipe().unwrap(), UnixStream::pair().unwrap()));
        }),
    ),
    Case::clean(
        "an_event_loop_is_closed",
        "with its registrations",
        Once(|_| {
            let event_loop = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let (reader, _writer) = std::io::pipe().unwrap();
            epoll::add(&event_loop, &reader, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
        }),
    ),
    Case::clean(
        "an_eventfd_counts",
        "T6: what it holds is not what it is",
        Once(|scene| {
            rustix::io::write(&scene.counter, &1_u64.to_ne_bytes()).unwrap();
            drop(new_eventfd());
        }),
    )
    .in_setting(Setting::Paranoid),
    Case::clean(
        "watches_and_memory_are_closed",
        "inotify and memfd",
        Once(|_| {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
            inotify::add_watch(&watch, std::env::temp_dir(), inotify::WatchFlags::CREATE).unwrap();
            drop(memfd_create("screen", MemfdFlags::CLOEXEC).unwrap());
        }),
    ),
    Case::clean(
        "a_reference_to_a_process_is_closed",
        "T4: a pidfd, and its process reaped",
        Once(|_| {
            let mut child = brief().spawn().unwrap();
            let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
            let _reference = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            child.wait().unwrap();
        }),
    ),
    Case::clean(
        "a_runtime_is_made_and_dropped",
        "T3: the first one of a process leaves two sockets",
        Once(|_| {
            runtime().block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }),
    ),
    Case::clean(
        "a_file_is_closed_in_the_background",
        "50 ms later",
        Once(|_| later(50, tempfile::tempfile().unwrap())),
    ),
    Case::clean("a_socket_is_closed_in_the_background", "200 ms later", Once(|_| later(200, connection()))),
    Case::clean(
        "what_was_reported_is_not_reported_again",
        "T22: the next test is not to blame",
        Once(|scene| {
            scene.keep(File::open("/dev/null").unwrap());
            let (sender, receiver) = channel::<()>();
            thread::spawn(move || receiver.recv());
            scene.keep(sender);
            scene.look();
        }),
    ),
    Case::new(
        "a_neighbour_opens_a_file",
        "T1: other tests run in this process",
        Expected::Suspicious(Kind::File),
        Once(|scene| {
            scene.keep(tempfile::tempfile().unwrap());
        }),
    )
    .in_setting(Setting::Shared),
    Case::clean(
        "a_connection_task_ends_with_its_peer",
        "T16: the count of tasks comes late",
        Task(|_| {
            Box::pin(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (mut served, _) = listener.accept().await.unwrap();
                tokio::spawn(async move { tokio::io::copy(&mut served, &mut tokio::io::sink()).await });
                drop(client);
            })
        }),
    ),
];
