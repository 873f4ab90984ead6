//! Runs of many tests, each in a process of its own: below one test process, and as cargo-nextest runs them.

use crate::book::{BOOK, Book, HOLDS, cargo, hold, is_member, lines, parent, word};
use crate::children;
use crate::seen::{kill, lives, soon};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use termleash::server::ServerGuard;

/// One whose server is never ready: what its run's end meets is a start.
#[test]
fn waits_for_ever() {
    let Some(book) = std::env::var_os(BOOK) else { return };
    let text = format!("echo $$ $PPID 0 $HOME >> '{}'; exec sleep 1000", book.display());
    let spec = ServerGuard::command("sh").args(["-c", &text]).without_port().ready_line("never");
    termleash::test(async |_| {
        let _server = ServerGuard::shared("never", spec.ready_within(Duration::from_secs(100))).await?;
        Ok(())
    });
}

#[test]
fn a_run_that_is_killed_while_its_server_starts_leaves_none() {
    let book = Book::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "members::waits_for_ever"]).envs(book.variables("0")).env_remove("NEXTEST_RUN_ID");
    let mut owner = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    soon("its server", || lines(&book.path()).len() == 1);
    owner.kill().unwrap();
    owner.wait().unwrap();
    book.is_gone();
}

fn member() {
    if is_member() {
        termleash::test(async |_| hold().await);
    }
}

macro_rules! members {
    ($($name:ident)*) => { $(#[test] fn $name() { member(); })* };
}
members! { member_1 member_2 member_3 member_4 member_5 member_6 member_7 member_8 }

/// As nextest starts one.
fn nextest(book: &Book, test: &str, holds: &str, run: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("members::{test}"), "--nocapture"]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.envs(book.variables(holds)).envs([("NEXTEST", "1"), ("NEXTEST_RUN_ID", run)]);
    command.env("NEXTEST_EXECUTION_MODE", "process-per-test").spawn().unwrap()
}

#[test]
fn tests_of_one_test_process_share_a_server() {
    for threads in ["1", "8"] {
        let book = Book::new();
        let variables = book.variables("100");
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let ran = children::binary(&["members::member_", &format!("--test-threads={threads}")], &variables);
        assert!(ran.status.success() && ran.text.contains("8 passed"), "{}", ran.text);
        book.all_had_one(8);
    }
}

/// As a person starts them, and everything that a run has is gone with it: nobody waits for a user who comes late.
#[test]
fn tests_of_a_real_run_of_cargo_test_share_a_server() {
    let book = Book::new();
    let ran = cargo(&book, &["test", "--test", "one", "--", "members::member_", "--test-threads=8"]);
    assert!(ran.status.success() && ran.text.contains("8 passed"), "{}", ran.text);
    book.all_had_one(8);
}

/// Their parent is this process, as nextest's is.
#[test]
fn tests_of_a_run_of_nextest_share_a_server() {
    let book = Book::new();
    let run = format!("11111111-1111-4111-8111-{:012}", std::process::id());
    let members: Vec<Child> = (1..=8).map(|at| nextest(&book, &format!("member_{at}"), "200", &run)).collect();
    for mut member in members {
        assert!(member.wait().unwrap().success(), "{:?}", lines(&book.path()));
    }
    // One that comes when the others have ended, and the server has not.
    assert!(nextest(&book, "member_1", "0", &run).wait().unwrap().success());
    book.all_had_one(9);
}

#[test]
fn a_run_that_is_killed_leaves_no_server() {
    // As nextest, whose test outlives it here.
    if let Some(run) = std::env::var_os("TEST_NEXTEST") {
        let book = PathBuf::from(std::env::var_os("TEST_PLACE").unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "members::member_1"]).env_remove("TEST_NEXTEST").env("NEXTEST_RUN_ID", run);
        command.env(BOOK, book.join("book")).env("TERMLEASH_LEDGER", book.join("ledger")).env(HOLDS, "100000");
        let mut member = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        member.wait().unwrap();
        return;
    }
    for is_nextest in [true, false] {
        let book = Book::new();
        let run = format!("22222222-1111-4111-8111-{:012}", std::process::id());
        let mut owner = if is_nextest {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "members::a_run_that_is_killed_leaves_no_server", "--nocapture"]);
            command
                .env("TEST_NEXTEST", &run)
                .env("TEST_PLACE", book.directory.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        } else {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "members::member_1"]).envs(book.variables("100000")).env_remove("NEXTEST_RUN_ID");
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        soon("its server", || lines(&book.path()).len() == 1);
        let line = lines(&book.path()).remove(0);
        assert!(lives(word(&line, 0)));
        // The body, which has a runner that lives here.
        let keeper = parent(word(&line, 2)).unwrap();
        let runner = parent(keeper).unwrap();
        owner.kill().unwrap();
        owner.wait().unwrap();
        soon("the end of server and steward", || !lives(word(&line, 0)) && !lives(word(&line, 1)));
        if is_nextest {
            assert!(lives(runner));
            kill(runner);
        }
        book.is_gone();
    }
}

#[test]
fn a_user_that_is_killed_uses_it_no_more_and_the_others_do() {
    let book = Book { idle: Duration::from_millis(400), ..Book::new() };
    let run = format!("33333333-1111-4111-8111-{:012}", std::process::id());
    let mut killed = nextest(&book, "member_1", "100000", &run);
    let mut other = nextest(&book, "member_2", "3000", &run);
    soon("both", || lines(&book.path()).len() == 2);
    let line = lines(&book.path()).remove(0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    soon("its body's end", || lines(&book.path()).iter().any(|line| !lives(word(line, 2))));
    // Longer than it would stay without a user.
    std::thread::sleep(Duration::from_millis(800));
    assert!(lives(word(&line, 0)));
    assert!(other.wait().unwrap().success());
    book.all_had_one(2);
}
