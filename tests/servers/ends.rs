//! How a server ends: with everything that it has started, and nothing that it has not.

use crate::seen::{kill, lives, soon};
use crate::{script, serving, whole_home};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use termleash::block_on;
use termleash::process::KillAction;
use termleash::server::ServerGuard;

const SHORT: Duration = Duration::from_millis(400);

#[test]
fn a_server_that_ignores_term_is_killed_at_the_end_of_its_grace_and_its_children_with_it() {
    let text = "trap '' TERM HUP; setsid sleep 1000 & echo child $!; sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & \
                echo child $!; echo ready; while :; do sleep 1; done";
    let server = script(text).ready_line("ready").grace(SHORT).start_blocking().unwrap();
    let children = numbers(&server.log().text(), "child ");
    let (pid, begin) = (server.pid(), Instant::now());
    let end = server.close_blocking().unwrap();
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(end.status().unwrap().signal(), Some(9));
    assert!(children.len() == 2 && children.iter().all(|child| !lives(*child)) && !lives(pid));
    let to_leader: Vec<KillAction> =
        end.steps().iter().filter(|step| step.pid == Some(pid)).map(|step| step.action).collect();
    assert_eq!(to_leader, [KillAction::Terminated, KillAction::Killed], "TERM once, and no HUP");
}

/// A daemon reads its configuration again at HUP, and a second TERM makes many give up their orderly end.
#[test]
fn a_server_that_takes_its_time_gets_one_term_and_nothing_else() {
    let text =
        "trap 'echo hup' HUP; trap 'echo term; sleep 0.5; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let server = script(text).ready_line("ready").grace(Duration::from_secs(20)).start_blocking().unwrap();
    let end = server.close_blocking().unwrap();
    assert_eq!(end.log().text(), "ready\nterm\n");
    assert_eq!(end.status().unwrap().code(), Some(7));
}

#[test]
fn a_server_that_died_is_an_error_unless_the_test_has_waited_for_it() {
    let text = "echo ready; until [ -e $HOME/end ]; do sleep 0.01; done; echo out of memory; exit 9";
    let server = script(text).ready_line("ready").start_blocking().unwrap();
    let home = server.home().to_owned();
    std::fs::write(home.join("end"), "").unwrap();
    soon("its end", || !server.is_alive());
    let error = server.close_blocking().unwrap_err();
    let said = error.to_string();
    assert!(error.is_server_ended() && said.contains("died during the test: by exit status 9"), "{said}");
    assert!(said.contains("  | out of memory") && !whole_home(&home).exists(), "{said}");

    let server = script(text).ready_line("ready").start_blocking().unwrap();
    std::fs::write(server.home().join("end"), "").unwrap();
    let status = block_on(server.wait_for_exit()).unwrap();
    assert_eq!(status.code(), Some(9));
    assert_eq!(server.close_blocking().unwrap().status(), Some(status));
}

#[test]
fn whoever_waits_for_its_log_is_told_that_its_guard_has_ended_it() {
    let server = script("echo ready; exec sleep 1000").ready_line("ready").start_blocking().unwrap();
    let other = (*server).clone();
    let waits = std::thread::spawn(move || block_on(other.wait_for_log("never")));
    server.close_blocking().unwrap();
    let said = waits.join().unwrap().unwrap_err().to_string();
    assert!(said.contains("cause of death: ended: its guard has closed it"), "{said}");
    assert!(!said.contains("by somebody unknown"), "{said}");
}

#[test]
fn what_a_dead_server_has_started_is_ended_all_the_same() {
    let text = "setsid sleep 1000 & echo child $!; echo ready; kill -9 $$";
    let server = script(text).ready_line("ready").start_blocking();
    // It may have died before it was seen to be ready.
    let (children, error) = match server {
        Ok(server) => {
            soon("its end", || !server.is_alive());
            (numbers(&server.log().text(), "child "), server.close_blocking().unwrap_err())
        }
        Err(error) => (numbers(&error.to_string(), "child "), error),
    };
    assert!(error.to_string().contains("signal 9 (SIGKILL)"), "{error}");
    assert!(!lives(children[0]));
}

/// In a kernel session of its own and with a cleared environment nothing proves whose it is.
#[test]
fn an_unmarked_child_gets_no_signal_and_is_an_error_if_it_has_the_servers_port() {
    let server = serving("lose the port to an unmarked child").start_blocking().unwrap();
    // It has its port, and so is ready, before it says the number.
    block_on(server.wait_for_log("child ")).unwrap();
    let child = numbers(&server.log().text(), "child ")[0];
    let home = server.home().to_owned();
    let said = refused_for(&server, child);
    assert!(said.contains(&format!("pid {child} `sleep 1000`")), "{said}");
    assert!(said.contains("a socket that it listened with") && lives(child), "{said}");
    assert!(whole_home(&home).exists(), "it is kept for who lives");
    ends_without(child, server);
}

/// What the server's end says that an unmarked child prevents, once that runs its own program.
fn refused_for(server: &ServerGuard, child: u32) -> String {
    soon("the child's own program", || {
        std::fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"))
    });
    let error = block_on((**server).close()).unwrap_err();
    assert!(error.is_survived(), "{error}");
    error.to_string()
}

/// Once more, now that the child is gone: the server has died by our first try.
fn ends_without(child: u32, server: ServerGuard) {
    kill(child);
    soon("its end", || !lives(child));
    let home = server.home().to_owned();
    let _ = server.close_blocking();
    assert!(!whole_home(&home).exists());
}

/// It descends from the server when that is ended, and carries no mark.
#[test]
fn an_unmarked_child_with_a_file_of_the_servers_gets_no_signal_and_is_an_error() {
    let text = "exec 3>\"$HOME/held\"; setsid env -i sleep 1000 & echo child $!; exec 3>&-; echo ready; wait";
    let server = script(text).ready_line("ready").start_blocking().unwrap();
    let child = numbers(&server.log().text(), "child ")[0];
    let home = server.home().to_owned();
    let said = refused_for(&server, child);
    assert!(said.contains("without its mark, so that it got no signal"), "{said}");
    assert!(said.contains("its file `") && lives(child) && whole_home(&home).exists(), "{said}");
    ends_without(child, server);
}

#[test]
fn a_stranger_with_a_file_of_the_servers_is_named_and_lives() {
    let server = script("echo ready; exec sleep 1000").ready_line("ready").start_blocking().unwrap();
    let path = server.home().join("file");
    std::fs::write(&path, "x").unwrap();
    let mut stranger = Command::new("sleep").arg("1000").stdin(std::fs::File::open(&path).unwrap()).spawn().unwrap();
    let end = server.close_blocking().unwrap();
    let lives = lives(stranger.id());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(lives);
    let [holder] = end.holders() else { panic!("{end:?}") };
    assert_eq!(holder.process().identity.pid(), stranger.id());
    assert!(holder.what().contains("home/file"), "{}", holder.what());
}

#[test]
fn a_bystander_with_the_same_program_lives() {
    let mut bystander =
        Command::new("sh").args(["-c", "echo ready; exec sleep 1000"]).stdout(Stdio::null()).spawn().unwrap();
    let servers: Vec<_> =
        (0..5).map(|_| script("echo ready; exec sleep 1000").ready_line("ready").start_blocking().unwrap()).collect();
    for server in servers {
        server.close_blocking().unwrap();
    }
    let is_alive = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(is_alive);
}

#[test]
fn a_dropped_guard_ends_its_server_also_in_a_runtime_and_in_a_panic() {
    let mut pids = Vec::new();
    let server = script("exec sleep 1000").start_blocking().unwrap();
    pids.push((server.pid(), server.home().to_owned()));
    drop(server);
    block_on(async {
        let server = script("exec sleep 1000").start().await.unwrap();
        pids.push((server.pid(), server.home().to_owned()));
    });
    let panicked = std::thread::spawn(|| {
        let server = script("exec sleep 1000").start_blocking().unwrap();
        std::panic::resume_unwind(Box::new((server.pid(), server.home().to_owned())));
    });
    let payload = panicked.join().unwrap_err();
    pids.push(*payload.downcast().unwrap());
    for (pid, home) in pids {
        soon("its end", || !lives(pid) && !whole_home(&home).exists());
    }
}

#[test]
fn a_wait_for_its_log_ends_with_its_text_its_end_or_its_time() {
    let text = "echo a; sleep 0.2; echo b; until [ -e $HOME/end ]; do sleep 0.01; done; exit 1";
    let server = script(text).start_blocking().unwrap();
    block_on(server.wait_for_log("b")).unwrap();
    std::fs::write(server.home().join("end"), "").unwrap();
    let error = block_on(server.wait_for_log("c")).unwrap_err();
    assert!(
        error.is_server_ended() && error.to_string().contains("before it printed \"c\": by exit status 1"),
        "{error}"
    );
    drop(server);
}

#[test]
fn the_log_of_ten_servers_that_end_at_once_is_complete() {
    for _ in 0..10 {
        let server = script("trap 'echo the last word; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        let server = server.ready_line("ready").start_blocking().unwrap();
        let end = server.close_blocking().unwrap();
        assert!(end.log().text().ends_with("the last word\n"), "{end:?}");
        assert!(end.status().unwrap().success());
    }
}

fn numbers(text: &str, before: &str) -> Vec<u32> {
    text.split(before).skip(1).filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}
