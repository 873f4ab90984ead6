//! What the event sink hears: there is one per process, so in a binary of its own.

#![cfg(target_os = "linux")]

#[path = "it/checked.rs"]
mod checked;

use checked::checked_blocking;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use termleash::event::{self, Event};
use termleash::session::{FakeBackend, Fault};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, block_on};

static HEARD: Mutex<Vec<Event>> = Mutex::new(Vec::new());

/// Sets the sink, once for all tests of this binary.
fn listen() {
    static IS_SET: OnceLock<()> = OnceLock::new();
    IS_SET.get_or_init(|| event::listen(|event| HEARD.lock().push(event.clone())).unwrap());
}

/// What was heard of one session, by the name that no other test's has.
fn heard_of(name: &str) -> Vec<Event> {
    let names = format!("`{name}`");
    let is_of = |event: &&Event| match event {
        Event::Created { id, .. } | Event::Gone { id, .. } => id == name,
        // Beside other tests the leak check tells of their sessions, too.
        Event::Warning { text, .. } => text.contains(&names) && !text.starts_with("leak check"),
        _ => false,
    };
    HEARD.lock().iter().filter(is_of).cloned().collect()
}

fn warnings_of(name: &str) -> Vec<String> {
    heard_of(name).iter().filter(|event| matches!(event, Event::Warning { .. })).map(ToString::to_string).collect()
}

fn sleeping() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

#[test]
fn there_is_one_sink_for_the_process() {
    checked_blocking(|| {
        listen();
        let error = event::listen(|_| ()).unwrap_err();
        assert!(error.is_invalid_input() && error.to_string().contains("set already"), "{error}");
    });
}

#[test]
fn a_session_is_told_of_when_it_is_created_and_when_its_end_is_proven() {
    checked_blocking(|| {
        listen();
        let helper = SessionTestHelper::new(PtyBackend::new()).blocking();
        let session = helper.create_tracked_session(sleeping()).unwrap();
        let line = line!() - 1;
        let id = session.id().to_string();
        let [Event::Created { at, .. }] = heard_of(&id)[..] else { panic!("{:?}", heard_of(&id)) };
        assert_eq!((at.file(), at.line()), (file!(), line));
        session.close().unwrap();
        let events = heard_of(&id);
        assert!(matches!(events[..], [Event::Created { .. }, Event::Gone { .. }]), "{events:?}");
        assert_eq!(events[1].to_string(), format!("session `{id}` is gone"));
        assert!(events[0].to_string().starts_with(&format!("created session `{id}` at tests/events.rs:{line}")));
    });
}

#[test]
fn a_forgotten_session_is_told_of_while_unwinding_as_the_panic_cannot() {
    checked_blocking(|| {
        listen();
        let id = Mutex::new(String::new());
        let payload = catch_unwind(AssertUnwindSafe(|| {
            let helper = SessionTestHelper::new(PtyBackend::new());
            *id.lock() = block_on(helper.create_tracked_session(sleeping())).unwrap().keep().id().to_string();
            panic!("the test's own failure");
        }));
        assert_eq!(payload.unwrap_err().downcast_ref::<&str>(), Some(&"the test's own failure"));
        let id = id.into_inner();
        let [warning] = &warnings_of(&id)[..] else { panic!("{:?}", heard_of(&id)) };
        assert!(warning.contains("dropped while these sessions were alive") && warning.contains("tests/events.rs:"));
        assert!(warning.contains("kill_tracked_sessions().await"), "{warning}");
        assert!(matches!(heard_of(&id)[..], [Event::Created { .. }, Event::Gone { .. }, Event::Warning { .. }]));
    });
}

#[test]
fn a_forgotten_session_is_told_of_by_panic_and_event_with_the_same_words() {
    checked_blocking(|| {
        listen();
        let helper = SessionTestHelper::new(PtyBackend::new());
        let id = block_on(helper.create_tracked_session(sleeping())).unwrap().keep().id().to_string();
        let payload = catch_unwind(AssertUnwindSafe(|| drop(helper))).unwrap_err();
        assert_eq!(warnings_of(&id)[..], [payload.downcast_ref::<String>().unwrap().clone()]);
    });
}

#[test]
fn a_dropped_guard_whose_session_ends_is_no_warning() {
    checked_blocking(|| {
        listen();
        let helper = SessionTestHelper::new(PtyBackend::new());
        let session = block_on(helper.create_tracked_session(sleeping())).unwrap();
        let id = session.id().to_string();
        drop(session);
        drop(helper);
        assert!(matches!(heard_of(&id)[..], [Event::Created { .. }, Event::Gone { .. }]), "{:?}", heard_of(&id));
    });
}

/// What a dropped guard could not do is not hidden: the helper's end tells.
#[test]
fn a_dropped_guard_whose_session_does_not_end_is_told_of_by_the_helpers_end() {
    checked_blocking(|| {
        listen();
        let fake = FakeBackend::new().fault(Fault::IgnoresKill);
        let helper = SessionTestHelper::new(fake.clone());
        let session = block_on(helper.create_tracked_session("bash")).unwrap();
        let id = session.id().clone();
        drop(session);
        let told = catch_unwind(AssertUnwindSafe(|| drop(helper))).expect_err("it is not hidden");
        assert!(told.downcast_ref::<String>().unwrap().contains("not proven to be gone"));
        // The thread that the drop has left behind asks until its deadline, unless the session ends.
        fake.exit(&id, 0);
        assert_eq!(warnings_of(id.as_str()).len(), 1, "{:?}", heard_of(id.as_str()));
    });
}
