//! Sessions that a test ends by code of its own.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use termleash::SessionTestHelper;
use termleash::session::{BoxError, FakeBackend};

fn helper() -> SessionTestHelper {
    SessionTestHelper::new(FakeBackend::new())
}

#[tokio::test]
async fn the_closure_ends_it_and_the_outcome_says_whose_word_that_is() {
    let helper = helper();
    let ended = Arc::new(Mutex::new(Vec::new()));
    for id in ["a", "b", "a"] {
        let ended = Arc::clone(&ended);
        helper
            .track_with(id, move |id| {
                ended.lock().unwrap().push(id.to_string());
                async { Ok(()) }
            })
            .unwrap();
    }
    assert_eq!(helper.tracked_count(), 2);
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert_eq!(
        (ended.lock().unwrap().as_slice(), helper.tracked_count()),
        (["a".to_owned(), "b".into()].as_slice(), 0)
    );
    for outcome in report.outcomes() {
        assert_eq!(outcome.notes(), ["its end is proven by the word of the test's closure only"]);
    }
    assert!(helper.track_with("../a", |_| async { Ok(()) }).unwrap_err().is_invalid_input());
}

#[tokio::test]
async fn one_that_fails_or_panics_is_called_again_by_the_next_kill() {
    let helper = helper();
    let calls = Arc::new(AtomicU32::new(0));
    let of_closure = Arc::clone(&calls);
    let end = move |_| {
        let call = of_closure.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => Err("not now".into()),
                1 => panic!("a closure's own panic"),
                _ => Ok::<(), BoxError>(()),
            }
        }
    };
    helper.track_with("a", end).unwrap();
    for why in ["not now", "it panicked: a closure's own panic"] {
        let error = helper.kill_tracked_sessions().await.unwrap_err();
        assert!(error.is_survived() && error.to_string().contains(why), "{error}");
    }
    helper.kill_tracked_sessions().await.unwrap();
    assert_eq!((calls.load(Ordering::SeqCst), helper.tracked_count()), (3, 0));
}

#[test]
fn a_leader_that_lives_is_no_end_and_gets_no_signal_of_ours() {
    let blocking = helper().blocking();
    let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let (pid, child) = (child.id(), Arc::new(Mutex::new(child)));
    let calls = Arc::new(AtomicU32::new(0));
    let of_closure = (Arc::clone(&child), Arc::clone(&calls));
    let end = move |_| {
        let (child, calls) = of_closure.clone();
        async move {
            // The first time it lies.
            if calls.fetch_add(1, Ordering::SeqCst) > 0 {
                child.lock().unwrap().kill()?;
                child.lock().unwrap().wait()?;
            }
            Ok(())
        }
    };
    blocking.track_with_leader("a", pid, end).unwrap();
    let error = blocking.kill_tracked_sessions().unwrap_err();
    assert!(error.is_survived() && child.lock().unwrap().try_wait().unwrap().is_none(), "{error}");
    blocking.kill_tracked_sessions().unwrap();
    let gone = blocking.track_with_leader("b", pid, |_| async { Ok(()) }).unwrap_err();
    assert!(gone.to_string().contains("cannot be session `b`'s leader"), "{gone}");
    let ourselves = blocking.track_with_leader("b", std::process::id(), |_| async { Ok(()) }).unwrap_err();
    assert!(ourselves.is_invalid_input(), "{ourselves}");
}
