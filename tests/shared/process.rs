//! In one test process, which is the run.

use crate::seen::{kill, lives, soon};
use crate::{Around, serving};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use termleash::block_on;
use termleash::server::{ServerGuard, SharedServer};

const IDLE: Duration = Duration::from_millis(300);

fn shared(key: &str) -> SharedServer {
    block_on(ServerGuard::shared(key, serving("serve").idle(IDLE))).unwrap()
}

#[test]
fn who_asks_for_a_key_gets_one_server_which_goes_with_its_last_user() {
    let (first, second) = (shared("a"), shared("a"));
    assert_eq!((first.pid(), first.port()), (second.pid(), second.port()));
    let other = shared("b");
    assert_ne!(first.pid(), other.pid());
    std::net::TcpStream::connect(("127.0.0.1", first.port())).unwrap();
    let around = [Around::of(&first), Around::of(&other)];
    drop((first, other));
    // One user is left.
    std::thread::sleep(3 * IDLE);
    assert!(second.is_alive() && second.check().is_ok());
    drop(second);
    around.iter().for_each(Around::goes);
}

#[test]
fn a_server_stays_for_a_while_when_nobody_uses_it() {
    let first = block_on(ServerGuard::shared("stays", serving("serve").idle(Duration::from_secs(20)))).unwrap();
    let around = Around::of(&first);
    drop(first);
    std::thread::sleep(IDLE);
    let again = block_on(ServerGuard::shared("stays", serving("serve").idle(Duration::from_secs(20)))).unwrap();
    assert_eq!(again.pid(), around.pid);
    kill(around.steward);
    drop(again);
    around.goes();
}

#[test]
fn eight_threads_at_once_get_one_server() {
    let servers: Vec<SharedServer> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| shared("eight"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(servers.iter().all(|server| server.pid() == servers[0].pid()));
    let around = Around::of(&servers[0]);
    drop(servers);
    around.goes();
}

#[test]
fn another_specification_by_the_same_key_is_refused_with_both() {
    let first = shared("two");
    let error = block_on(ServerGuard::shared("two", serving("serve").arg("--other"))).unwrap_err();
    let said = error.to_string();
    assert!(error.is_invalid_input(), "{said}");
    for part in ["shared server `two`", "running: `", "wanted:  `", "process.rs", "--other"] {
        assert!(said.contains(part), "{part:?} is not in it: {said}");
    }
    assert!(first.is_alive());
}

#[test]
fn a_server_that_cannot_start_is_told_to_all_who_wait() {
    let spec = || {
        let text = "sleep 0.2; echo no such database; exit 3";
        ServerGuard::command("sh").args(["-c", text]).without_port().ready_line("never")
    };
    std::thread::scope(|scope| {
        let ask = || block_on(ServerGuard::shared("fails", spec())).unwrap_err();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            let error = thread.join().unwrap();
            let said = error.to_string();
            assert!(
                error.is_server_ended() && said.contains("exit status 3") && said.contains("no such database"),
                "{said}"
            );
            assert!(said.contains("process.rs"), "where it was asked for: {said}");
        }
    });
}

#[test]
fn a_server_that_dies_is_told_to_its_users_and_the_next_one_is_another() {
    let (first, second) = (shared("dies"), shared("dies"));
    let around = Around::of(&first);
    kill(first.pid());
    soon("its end", || !first.is_alive());
    for user in [&first, &second] {
        for _ in 0..2 {
            let error = user.check().unwrap_err();
            let said = error.to_string();
            assert!(
                error.is_server_ended() && said.contains("signal 9 (SIGKILL)") && said.contains("serving"),
                "{said}"
            );
        }
    }
    let third = shared("dies");
    assert_ne!(third.pid(), around.pid);
    around.goes();
    let around = Around::of(&third);
    drop((first, second, third));
    around.goes();
}

#[test]
fn each_user_sees_what_it_has_printed_and_of_a_dead_one_the_end_of_that() {
    let (first, second) = (shared("log"), shared("log"));
    for user in [&first, &second] {
        soon("its log", || user.log().unwrap().text().contains("serving"));
    }
    kill(first.pid());
    soon("its end", || !first.is_alive());
    for user in [&first, &second] {
        for error in [user.log().unwrap_err(), user.check().unwrap_err()] {
            let said = error.to_string();
            assert!(error.is_server_ended() && said.contains("SIGKILL") && said.contains("serving"), "{said}");
        }
    }
}

#[test]
fn a_killed_steward_takes_its_server_along_and_the_next_one_is_another() {
    let first = shared("steward");
    let around = Around::of(&first);
    kill(around.steward);
    around.goes();
    assert!(first.check().unwrap_err().is_server_ended());
    let second = shared("steward");
    assert!(second.is_alive() && second.pid() != around.pid);
}

#[test]
fn a_bystander_with_the_same_program_lives() {
    let program = std::env::current_exe().unwrap();
    let mut bystander = Command::new(program);
    bystander.args(["--exact", "serves", "--nocapture", "--test-threads=1"]).env(crate::program::WHAT, "print much");
    let mut bystander = bystander.stdout(Stdio::null()).spawn().unwrap();
    let server = shared("bystander");
    let around = Around::of(&server);
    drop(server);
    around.goes();
    let is_alive = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(is_alive);
}

#[test]
fn a_key_is_a_short_word() {
    for key in ["", "a b", "a/b", "ä", &"x".repeat(33)] {
        let error = block_on(ServerGuard::shared(key, serving("serve"))).unwrap_err();
        assert!(error.is_invalid_input() && error.to_string().contains("key"), "{error}");
    }
}

/// What is not ended by a test's keeper or a sweep of others' ledgers: it has one of its own, whose owner lives.
#[test]
fn a_sweep_leaves_it_alone() {
    let server = shared("sweep");
    termleash::sweep().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(server.is_alive() && lives(server.pid()) && server.check().is_ok());
}

#[test]
fn joining_a_server_that_runs_takes_no_start() {
    let first = shared("fast");
    let begin = Instant::now();
    let times = 20;
    for _ in 0..times {
        assert_eq!(shared("fast").pid(), first.pid());
    }
    println!("{:?} each", begin.elapsed() / times);
}
