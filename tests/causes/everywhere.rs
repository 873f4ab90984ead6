//! The same deaths of a body, of a session and of a server: each is told with its cause by whoever waits for it.
//!
//! ```text
//!                                     process  body  session  server
//!  abort, panics, assertion, heap     victims  here  here     here
//!  allocation, overflow, instruction  victims  here  here     here
//!  a stranger's SIGKILL               victims  here  here     here
//!  the kernel's kill, node's limit    causes_here: a process, a body (the kernel's), a session, a server
//!  a deadline                         deaths::ends (by the keeper); late: a body, a session, a server
//!  a limit                            beyond, hard_limit; sessions
//!  by us for another reason           sessions; server_faults
//!  the runner gone                    deaths::runners: nobody is left to tell, and everything is ended
//! ```

use crate::children::alone;
use rustix::process::{Signal, getpid, kill_process};
use termleash::server::ServerGuard;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, block_on};

/// How this process is to die.
const KIND: &str = "CAUSES_KIND_HERE";

/// Each kind, and what is said of it.
const CASES: [(&str, &str); 7] = [
    ("abort", "abort, by itself or by somebody's SIGABRT; it printed no reason"),
    ("twice", "abort by a panic during another one in thread `twice`: on its way out (the first was: the first)"),
    ("allocation", "out of memory: an allocation of 1.0 PiB failed"),
    ("overflow", "stack overflow in thread `deep`"),
    ("instruction", "an illegal instruction"),
    ("assertion", "abort by a failed assertion: Assertion `x > 1' failed."),
    ("killed", "signal 9 (SIGKILL) by somebody unknown"),
];

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("on its way out");
    }
}

fn deeper(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { deeper(depth + 1) + room[7] }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "what the macro `assert` of C calls")]
unsafe extern "C" {
    fn __assert_fail(
        text: *const libc::c_char,
        file: *const libc::c_char,
        line: u32,
        function: *const libc::c_char,
    ) -> !;
}

fn in_thread(name: &str, act: impl FnOnce() + Send + 'static) {
    let _ = std::thread::Builder::new().name(name.into()).spawn(act).expect("a thread").join();
}

fn die(kind: &str) {
    match kind {
        "abort" => std::process::abort(),
        "twice" => in_thread("twice", || {
            let _panics = PanicsOnDrop;
            panic!("the first");
        }),
        "allocation" => drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 50))),
        "overflow" => in_thread("deep", || {
            std::hint::black_box(deeper(0));
        }),
        #[expect(unsafe_code, reason = "no safe code has one")]
        // SAFETY: it ends the process, which is the test.
        "instruction" => unsafe {
            #[cfg(target_arch = "x86_64")]
            std::arch::asm!("ud2");
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!("udf #0");
        },
        #[cfg(target_env = "gnu")]
        #[expect(unsafe_code, reason = "what the macro `assert` of C calls")]
        // SAFETY: the texts end with a zero.
        "assertion" => unsafe { __assert_fail(c"x > 1".as_ptr(), c"a.c".as_ptr(), 3, c"main".as_ptr()) },
        // Another C library has other words: glibc's.
        #[cfg(not(target_env = "gnu"))]
        "assertion" => {
            eprintln!("a: a.c:3: main: Assertion `x > 1' failed.");
            std::process::abort();
        }
        _ => kill_process(getpid(), Signal::KILL).expect("it is ourselves"),
    }
    panic!("it lives on");
}

/// The arguments that run this very test again.
fn again() -> [String; 4] {
    let name = std::thread::current().name().expect("libtest names its threads").to_owned();
    ["--exact".into(), name, "--nocapture".into(), "--test-threads=1".into()]
}

/// Each is tried, and dies where it is asked to.
fn each(tries: impl Fn(&str) -> String) {
    if let Ok(kind) = std::env::var(KIND) {
        return die(&kind);
    }
    let wrong: Vec<String> = CASES
        .iter()
        .map(|(kind, expected)| (kind, expected, tries(kind)))
        .filter(|(_, expected, text)| text.matches(*expected).count() != 1)
        .map(|(kind, expected, text)| format!("{kind}: {expected:?} is not in it, once:\n{text}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_session_is_told_with_its_cause() {
    each(|kind| {
        let helper = SessionTestHelper::new(PtyBackend::new());
        let program = std::env::current_exe().expect("this program has a path");
        let spec = SessionSpec::new(program).args(again()).env(KIND, kind).env("RUST_BACKTRACE", "0");
        block_on(async {
            let session = helper.create_tracked_session(spec).await.expect("it starts");
            let death = session.wait_for_death().await.expect("it dies");
            let error = session.wait_for_text("what never comes").await.expect_err("it has died").to_string();
            assert!(error.contains(&death.cause().to_string()), "{death:#}\n{error}");
            session.close().await.expect("it is gone");
            death.to_string()
        })
    });
}

#[test]
fn a_server_is_told_with_its_cause() {
    each(|kind| {
        let program = std::env::current_exe().expect("this program has a path");
        let spec = ServerGuard::command(program).args(again()).env(KIND, kind).env("RUST_BACKTRACE", "0");
        let started = block_on(spec.without_port().ready_line("what never comes").start());
        started.expect_err("it dies").to_string()
    });
}

#[test]
fn a_body_is_told_with_its_cause() {
    if let Ok(kind) = std::env::var(KIND) {
        return termleash::test(async move |_| {
            die(&kind);
            Ok(())
        });
    }
    each(|kind| {
        let ran = alone(&[(KIND, kind)]).expect("this is not the child");
        ran.failed().says_once("cause of death: ");
        let (_, cause) = ran.text.split_once("cause of death: ").expect("it is there");
        cause.to_owned()
    });
}
