//! Before `main`: whether this process is to be a keeper, a body, or what it seems to be.

use crate::event::memory::{Shared, WORDS};
use crate::event::recorder::record_in;
use crate::keeper::patience::{Patience, TICK};
use crate::keeper::{beside, orphaned, over};
use crate::ledger::client::{self, become_body};
use crate::ledger::message::{BODY, KEEPER, STEWARD, Start, StewardStart, Welcome, hear};
use crate::ledger::steward::ask_by;
use crate::process::stat::Stat;
use crate::report::console::uncaptured;
use crate::server::steward;
use crate::settings;
use crate::sys::{self, Channel, Pidfd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

sys::at_start!(divert);

/// The first message was sent before this process was started, or while it was. For a keeper, time in which the test process is
/// stopped does not count.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// In a program that is neither it costs two looks at the environment and what `note_start` notes.
fn divert() {
    // Whatever its value: whoever is started as a keeper and ran the tests instead would start keepers without end.
    if settings::is_set(KEEPER) {
        // What unwinds out of here would abort, with a message of its own; the runner sees a dead keeper either way.
        let has_kept = catch_unwind(AssertUnwindSafe(|| keep(settings::channel(KEEPER)))).unwrap_or(false);
        // Somebody may have set the variable by hand, and must not read success where no test has run.
        sys::exit_now(if has_kept { 0 } else { 101 });
    }
    if settings::is_set(STEWARD) {
        let has_held = catch_unwind(AssertUnwindSafe(|| hold_a_server(settings::channel(STEWARD)))).unwrap_or(false);
        sys::exit_now(if has_held { 0 } else { 101 });
    }
    if let Some(number) = settings::channel(BODY) {
        sys::remove_variable(BODY);
        begin_body(number);
    }
    // A body starts no other.
    if client::body().is_none() {
        sys::note_start();
    }
}

/// False if nobody has said what is to be kept.
fn keep(number: Option<i32>) -> bool {
    sys::set_own_name("termleash-keep");
    // What its standard error goes to may have ended, as in `cargo test 2>&1 | head`.
    sys::survive_broken_pipes();
    let _ = sys::fill_standard_descriptors();
    let Some((number, fd)) = number.and_then(|number| Some((number, sys::adopt(number).ok()?))) else {
        uncaptured(&format!("termleash: the variable {KEEPER} is the library's own: remove it from the environment\n"));
        return false;
    };
    let mut runner = Channel::over(fd);
    let Some(start) = first_of(&mut runner, FIRST_MESSAGE, sys::parent_pid) else { return false };
    // Before anything else is opened: what others happened to have open in the test process would live as long as this.
    let passed = start.body.iter().flat_map(|body| body.outputs.all());
    let kept: Vec<i32> = start.inherited.iter().copied().chain(passed).chain([number]).collect();
    sys::close_all_but(&kept);
    match start.body {
        Some(_) => over::keep(start, runner),
        None => {
            // It would stand between the test process and its end of file.
            drop(runner);
            beside::keep(&start);
        }
    }
    true
}

/// What a test process says that may be stopped before it has said it.
fn first_of(runner: &mut Channel, limit: Duration, pid_of_runner: impl Fn() -> u32) -> Option<Start> {
    let mut patience = Patience::new();
    while !patience.has_used(limit) {
        match hear(runner, Some(TICK)) {
            Ok(Some(start)) => return Some(start),
            Ok(None) => patience.tick_unless(|| is_stopped(pid_of_runner())),
            // It is dead.
            Err(_) => return None,
        }
    }
    None
}

/// By a descriptor that is closed again: what the rest of the crate looks by stays open, and what is open here is closed when the first
/// message has come.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    Stat::parse(&stat).is_some_and(|stat| stat.is_stopped())
}

/// The steward of a shared server. False if nobody has said which.
fn hold_a_server(number: Option<i32>) -> bool {
    sys::set_own_name("termleash-serve");
    sys::survive_broken_pipes();
    let _ = sys::fill_standard_descriptors();
    let Some(fd) = number.and_then(|number| sys::adopt(number).ok()) else { return false };
    let Ok(Some(start)) = hear::<StewardStart>(&mut Channel::over(fd), Some(FIRST_MESSAGE)) else { return false };
    // What others happened to have open in the test process would live as long as this.
    sys::close_all_but(&[]);
    let _ = sys::close_standard_input();
    // What its keeper starts with again.
    sys::note_start();
    steward::hold(&start);
    true
}

/// A variable that somebody handed on by accident finds no channel behind its number, or not a keeper as its parent; then
/// this is no body.
fn begin_body(number: i32) {
    let Ok(fd) = sys::adopt(number) else { return };
    let mut keeper = Channel::over(fd);
    let Ok(Some(welcome)) = hear::<Welcome>(&mut keeper, Some(FIRST_MESSAGE)) else { return };
    for number in welcome.outputs.all() {
        let _ = sys::keep_from_children(number);
    }
    remember_the_timeline(welcome.outputs.timeline);
    let pid = welcome.keeper.pid();
    // The program was started by a name that says nothing.
    if let Some(name) = std::env::current_exe().ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned)) {
        sys::set_own_name(&name);
    }
    let held = Pidfd::open(pid);
    orphaned::set_channel(keeper);
    ask_by(orphaned::ask_for_steward);
    become_body(welcome);
    match held {
        // Asked for after it is held: if it is our parent still, it is the one.
        Ok(held) if sys::parent_pid() == pid => {
            if sys::when_ended(held, orphaned::end).is_err() {
                orphaned::end();
            }
        }
        _ => orphaned::end(),
    }
}

/// Has what happens in this body written where its runner finds it. Its descriptor is closed: no test shall see it.
fn remember_the_timeline(number: i32) {
    // Where there is none, a body that dies takes its timeline with it.
    if let Ok((words, is_ours)) = sys::adopt(number).and_then(|memory| sys::map_shared(memory, WORDS)) {
        record_in(Shared { words, is_ours });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::ledger::message::{LedgerAt, tell};
    use crate::process::tree::own_identity;
    use crate::sys::Signal;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_millis(300);

    fn start() -> Start {
        Start {
            run: uuid::Uuid::nil(),
            name: "a_test".into(),
            ledger: LedgerAt::Nowhere { why: String::new() },
            runner: own_identity().unwrap(),
            grace: LIMIT,
            create_within: LIMIT,
            keeps: false,
            inherited: Vec::new(),
            body: None,
        }
    }

    #[test]
    fn a_keeper_waits_for_its_first_word_as_long_as_its_runner_is_stopped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (pid, held) = (child.id(), crate::sys::Pidfd::open(child.id()).unwrap());
        held.signal(Signal::Stop).unwrap();
        crate::backoff::soon("the stop", || is_stopped(pid));
        let (ours, mut theirs) = Channel::pair().unwrap();
        let told = std::thread::spawn(move || {
            let told = first_of(&mut theirs, LIMIT, || pid);
            (told.map(|start| start.name), theirs)
        });
        crate::backoff::pause(3 * LIMIT);
        tell(&ours, &start()).unwrap();
        let (told, mut theirs) = told.join().unwrap();
        assert_eq!(told.as_deref(), Some("a_test"));
        // One that goes on and says nothing has given it up, and so has one that is dead.
        held.signal(Signal::Cont).unwrap();
        crate::backoff::soon("the end of the stop", || !is_stopped(pid));
        let begin = Instant::now();
        assert!(first_of(&mut theirs, LIMIT, || pid).is_none() && begin.elapsed() >= LIMIT);
        drop(ours);
        assert!(first_of(&mut theirs, Duration::MAX, || pid).is_none());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
