//! Descriptors that stay open.

use super::scene::{brief, connection, new_eventfd, pty, runtime};
use super::{Body, Case, Expected, Setting};
use Body::{Once, Task};
use rustix::event::epoll;
use rustix::fs::{MemfdFlags, inotify, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use termleash::leak::Kind;

pub(super) const CASES: &[Case] = &[
    Case::leaks(
        "a_file_is_forgotten",
        "mem::forget, or into_raw_fd without from_raw_fd",
        Kind::Device,
        Once(|_| std::mem::forget(File::open("/dev/null").unwrap())),
    ),
    Case::leaks(
        "a_file_stays_open_after_its_unlink",
        "a log of a session whose directory is gone",
        Kind::File,
        Once(|scene| scene.keep(tempfile::tempfile().unwrap())),
    ),
    Case::leaks(
        "a_directory_of_descriptors_stays_open",
        "T7: it looks like the detector's own",
        Kind::Directory,
        Once(|scene| scene.keep(std::fs::read_dir("/proc/self/fd").unwrap())),
    ),
    Case::leaks(
        "a_descriptor_far_above_the_others_stays",
        "T8: numbers as shells and wrappers use them",
        Kind::Device,
        Once(|scene| scene.keep(rustix::io::fcntl_dupfd_cloexec(&scene.victim, 251).unwrap())),
    ),
    Case::leaks(
        "a_clone_of_the_writer_holds_the_master",
        "T10: the router keeps `master.try_clone_writer()` after the session's end",
        Kind::PtyMaster,
        Once(|scene| {
            let (master, _slave) = pty();
            scene.keep(master.try_clone().unwrap());
        }),
    ),
    Case::leaks(
        "the_slave_stays_open",
        "`pair.slave` is not dropped after the spawn, so the reader never sees the end",
        Kind::PtySlave,
        Once(|scene| {
            let (_master, slave) = pty();
            scene.keep(slave);
        }),
    ),
    Case::leaks(
        "a_connection_stays_half_closed",
        "CLOSE_WAIT: the client has gone, and the server's side is not closed",
        Kind::Socket,
        Once(|scene| {
            let (client, mut served) = connection();
            drop(client);
            assert_eq!(served.read(&mut [0]).unwrap(), 0);
            scene.keep(served);
        }),
    ),
    Case::leaks(
        "a_listener_stays",
        "the server was stopped without its control socket",
        Kind::Socket,
        Once(|scene| scene.keep(TcpListener::bind("127.0.0.1:0").unwrap())),
    ),
    Case::leaks(
        "one_end_of_a_socket_pair_stays",
        "T6: of two ends each has an inode of its own",
        Kind::Socket,
        Once(|scene| scene.keep(UnixStream::pair().unwrap().0)),
    ),
    Case::leaks(
        "the_writing_end_of_a_pipe_stays",
        "T6: both ends share one inode; whoever reads waits for ever",
        Kind::Pipe,
        Once(|scene| scene.keep(std::io::pipe().unwrap().1)),
    ),
    Case::leaks(
        "an_epoll_with_a_registration_stays",
        "an event loop that was not deregistered",
        Kind::Epoll,
        Once(|scene| {
            let event_loop = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            epoll::add(&event_loop, &reader, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
            drop((reader, writer));
            scene.keep(event_loop);
        }),
    ),
    Case::leaks(
        "a_runtime_is_forgotten",
        "T3: a runtime in a static, or leaked to get a `'static` handle",
        Kind::Epoll,
        Once(|scene| scene.keep(runtime())),
    ),
    Case::leaks(
        "an_eventfd_stays",
        "a waker that outlives its loop",
        Kind::Eventfd,
        Once(|scene| scene.keep(new_eventfd())),
    ),
    Case::leaks(
        "a_timer_of_the_kernel_stays",
        "a time-out that was not cancelled",
        Kind::Timerfd,
        Once(|scene| scene.keep(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap())),
    ),
    Case::leaks(
        "a_watch_of_files_stays",
        "a reload of the configuration that was not unwatched",
        Kind::Inotify,
        Once(|scene| scene.keep(inotify::init(inotify::CreateFlags::CLOEXEC).unwrap())),
    ),
    Case::leaks(
        "anonymous_memory_stays",
        "a screen that was shared with a renderer",
        Kind::Memfd,
        Once(|scene| scene.keep(memfd_create("screen", MemfdFlags::CLOEXEC).unwrap())),
    ),
    Case::leaks(
        "a_reference_to_a_dead_process_stays",
        "T4: a pidfd whose process was reaped",
        Kind::Pidfd,
        Once(|scene| {
            let mut child = brief().spawn().unwrap();
            let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
            scene.keep(pidfd_open(pid, PidfdFlags::empty()).unwrap());
            child.wait().unwrap();
        }),
    ),
    Case::leaks(
        "a_dead_child_of_tokio_is_not_awaited",
        "T4: the `Child` in a map, with its pidfd, and nobody awaits it",
        Kind::Pidfd,
        Task(|scene| {
            Box::pin(async {
                let child = tokio::process::Command::from(brief()).spawn().unwrap();
                super::scene::until_dead(child.id().unwrap());
                scene.keep(child);
            })
        }),
    ),
    Case::leaks(
        "a_socket_of_a_task_stays",
        "a connection task that waits for a peer that never speaks",
        Kind::Socket,
        Task(|scene| {
            Box::pin(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                scene.keep(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                let (mut served, _) = listener.accept().await.unwrap();
                tokio::spawn(async move { tokio::io::copy(&mut served, &mut tokio::io::sink()).await });
            })
        }),
    ),
    Case::new(
        "a_descriptor_is_closed_and_its_number_taken",
        "T5: closed twice, and the second time it was somebody else's",
        Expected::Replaced(Kind::Device),
        Once(|scene| {
            let zero = File::open("/dev/zero").unwrap();
            rustix::io::dup2(&zero, &mut scene.victim).unwrap();
        }),
    ),
    Case::new(
        "a_file_takes_the_number_of_an_eventfd",
        "T5: closed twice, another kind",
        Expected::Replaced(Kind::File),
        Once(|scene| rustix::io::dup2(tempfile::tempfile().unwrap(), &mut scene.counter).unwrap()),
    ),
    Case::new(
        "an_eventfd_takes_the_number_of_another",
        "T6: every eventfd has the same inode",
        Expected::Replaced(Kind::Eventfd),
        Once(|scene| rustix::io::dup2(new_eventfd(), &mut scene.counter).unwrap()),
    )
    .in_setting(Setting::Paranoid),
];
