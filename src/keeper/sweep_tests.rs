//! What is ended, waited for and removed of a run's sessions, on processes of the test's own.

use super::*;
use crate::ledger::home::Home;
use crate::ledger::record::Parsed;
use crate::ledger::record::tests::samples;
use crate::process::cookie::Cookie;
use crate::process::identity::ProcessIdentity;
use crate::process::tree::own_identity;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const GRACE: Duration = Duration::from_millis(200);

fn open(cookie: Cookie, recipe: Recipe) -> Open {
    Open {
        cookie: Some(cookie),
        leader: None,
        since: sys::now_ticks(),
        label: "sleep".into(),
        made_at: "a.rs:1".into(),
        recipe,
        home: None,
        session: None,
        server: None,
        variable: None,
        is_identified: true,
    }
}

fn unknown() -> Recipe {
    Recipe::Unknown { backend: "Mine".into() }
}

/// A run with this session, whose owner dies at this moment; a creation may take so long.
fn swept(open: Open, create_within: Duration) -> Swept {
    let mut run = Replayed::new(Parsed { records: vec![samples().remove(0)], damaged: 0 }).unwrap();
    run.create_within = create_within;
    run.open.insert(1, open);
    sweep(&run, sys::now_ticks(), GRACE)
}

fn dead() -> ProcessIdentity {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let identity = ProcessHandle::open(child.id()).unwrap().identity();
    drop(child.stdin.take());
    child.wait().unwrap();
    identity
}

/// A server that is made to end a session may start it anew.
#[test]
fn what_a_server_starts_when_it_is_asked_is_ended_too() {
    let (folder, cookie) = (tempfile::tempdir().unwrap(), Cookie::new());
    let path = folder.path().join("pid");
    // Between its fork and its exec a process shows no mark, and this text as its own.
    let started = "sleep 1000 <&- >/dev/null 2>&1 & until grep -q ^sleep /proc/$!/cmdline; do :; done; echo $!";
    let script = format!("{}={} {started} > '{}'", cookie.name(), cookie.value(), path.display());
    let recipe = Recipe::Command {
        program: "sh".into(),
        arguments: vec!["-c".into(), script, "sh".into(), "{id}".into()],
        secret_variable: None,
        id_prefix: None,
        gone_texts: Vec::new(),
        refused_text: None,
        id_variable: None,
        removed_variables: Vec::new(),
    };
    let server = Some(own_identity().unwrap());
    let swept = swept(Open { session: Some("1".into()), server, ..open(cookie, recipe) }, Duration::from_secs(5));
    let pid = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
    assert!(swept.undone.is_empty() && swept.survivors.is_empty(), "{swept:?}");
    assert_eq!(swept.ended.iter().map(|process| process.identity.pid).collect::<Vec<_>>(), [pid]);
    assert!(ProcessHandle::open(pid).is_err());
}

/// It is looked for until it can not be born any more.
#[test]
fn a_session_that_is_born_after_its_owners_death_is_ended() {
    let cookie = Cookie::new();
    let unborn = Open { is_identified: false, ..open(cookie, unknown()) };
    let late = std::thread::spawn(move || {
        pause(Duration::from_millis(300));
        Command::new("sleep").arg("1000").env(cookie.name(), cookie.value()).spawn().unwrap()
    });
    let swept = swept(unborn, Duration::from_millis(1500));
    let mut child = late.join().unwrap();
    let has_ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(has_ended && swept.ended.len() == 1 && swept.undone.is_empty(), "{swept:?}");
}

#[test]
fn a_session_of_which_nothing_came_is_told_and_one_whose_leader_is_gone_is_not() {
    let unborn = Open { is_identified: false, ..open(Cookie::new(), unknown()) };
    let told = swept(unborn, Duration::ZERO);
    assert!(told.undone.len() == 1 && told.undone[0].contains("it was being created"), "{told:?}");
    let gone = swept(Open { leader: Some(dead()), ..open(Cookie::new(), unknown()) }, Duration::ZERO);
    assert!(gone.undone.is_empty(), "{gone:?}");
}

#[test]
fn a_home_goes_with_its_server_and_stays_for_who_is_left_of_it() {
    let cookie = Cookie::new();
    let home = Home::of(cookie);
    home.create(cookie).unwrap();
    let open = |cookie| Open { home: Some(home.clone()), ..open(cookie, Recipe::Own) };
    // By a record that was altered.
    let refused = swept(open(Cookie::new()), Duration::ZERO);
    assert!(refused.undone.len() == 1 && refused.undone[0].contains("was not removed"), "{refused:?}");
    let left = ProcessSummary::unreadable(1, &std::io::Error::other("it lives"));
    remove_home(&open(cookie), &Ending { survivors: vec![left], ..Ending::default() }).unwrap();
    assert!(home.path().exists());
    let swept = swept(open(cookie), Duration::ZERO);
    assert!(swept.undone.is_empty() && !home.path().exists(), "{swept:?}");
}

/// A shell that leads a kernel session, and starts another process in it when it is told to; both are ended with the test.
struct Led {
    leader: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    other: Option<ProcessHandle>,
}

impl Led {
    fn start() -> Self {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", "read line; sleep 1000 <&- >/dev/null 2>&1 & echo $!; read line"]);
        let mut leader = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (leader.stdin.take(), BufReader::new(leader.stdout.take().unwrap()));
        Self { leader, input, output, other: None }
    }

    fn identity(&self) -> ProcessIdentity {
        ProcessHandle::open(self.leader.id()).unwrap().identity()
    }

    fn begin_another(&mut self) {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        self.other = Some(ProcessHandle::open(line.trim().parse().unwrap()).unwrap());
    }

    fn end_leader(&mut self) {
        drop(self.input.take());
        self.leader.wait().unwrap();
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        self.end_leader();
        let Some(other) = self.other.as_ref().filter(|other| other.is_alive()) else { return };
        let pid = rustix::process::Pid::from_raw(other.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

/// Their number may be that of anybody's session by now: when the leader ended nobody has written down.
#[test]
fn who_is_in_the_session_of_a_dead_leader_without_its_cookie_lives() {
    let mut led = Led::start();
    let identity = led.identity();
    led.begin_another();
    led.end_leader();
    let open = Open { since: identity.started, leader: Some(identity), ..open(Cookie::new(), unknown()) };
    let swept = swept(open, Duration::from_secs(5));
    assert!(led.other.as_ref().unwrap().is_alive() && swept.ended.is_empty(), "{swept:?}");
}

/// A record may name anybody's.
#[test]
fn a_leader_that_may_get_no_signal_marks_nobody() {
    let mut led = Led::start();
    let identity = led.identity();
    // It was there before the session was asked for, and what it starts was not.
    let since = identity.started + 1;
    while sys::now_ticks() <= since {
        std::thread::yield_now();
    }
    led.begin_another();
    let open = Open { since, leader: Some(identity), ..open(Cookie::new(), unknown()) };
    let swept = swept(open, Duration::from_secs(5));
    assert!(led.other.as_ref().unwrap().is_alive() && swept.ended.is_empty(), "{swept:?}");
    let [suspect] = &swept.suspects[..] else { panic!("{swept:?}") };
    assert_eq!((suspect.process.identity, suspect.why), (identity, crate::process::rule::Refusal::TooEarly));
}
