//! Whom a user takes for the steward of its server, and what that has answered.

use super::*;
use crate::runtime::park_on;
use crate::server::steward::tests::as_another_user;

fn start() -> StewardStart {
    let owner = own_identity().unwrap();
    let name = format!("termleash-test/{}", uuid::Uuid::new_v4().simple());
    let (key, spec, made_at) = ("k".into(), serde_json::Value::Null, "a.rs:1".into());
    StewardStart { name, key, spec, made_at, owner, idle: Duration::ZERO }
}

fn joining(start: &StewardStart, limit: Duration) -> Joining<'_> {
    Joining { start, deadline: after(limit), turn: None, asked: None, is_silent: false }
}

/// Another one has the server by then, or nobody; that one is asked next.
#[test]
fn a_steward_that_ends_or_is_silent_has_not_answered() {
    let (start, long) = (start(), Duration::from_secs(100));
    let ask = |limit, channel| park_on(joining(&start, limit).ask(channel, &FromUser::Release)).unwrap();
    let (near, far) = Channel::pair().unwrap();
    tell(&far, &FromSteward::Died { text: "it was full".into() }).unwrap();
    assert!(ask(long, near).is_none());
    let (near, far) = Channel::pair().unwrap();
    assert!(ask(Duration::from_millis(5), near).is_none());
    drop(far);
    let (near, far) = Channel::pair().unwrap();
    drop(far);
    assert!(ask(long, near).is_none());
    // It ends once it has heard.
    let (near, mut far) = Channel::pair().unwrap();
    let steward = std::thread::spawn(move || drop(hear::<FromUser>(&mut far, None)));
    assert!(ask(long, near).is_none());
    steward.join().unwrap();
    let (near, far) = Channel::pair().unwrap();
    tell(&far, &FromSteward::Failed { text: "no room".into() }).unwrap();
    assert!(matches!(ask(long, near), Some((_, FromSteward::Failed { .. }))));
}

#[test]
fn another_user_at_the_servers_name_is_no_steward() {
    let start = start();
    let name = start.name.as_bytes();
    let listen = || sys::listen_at_name(name).unwrap().unwrap();
    let test = "server::joining::tests::another_user_at_the_servers_name_is_no_steward";
    let Some(_listener) = as_another_user(test, listen) else { return };
    let answer = park_on(joining(&start, Duration::from_secs(100)).answer(|| FromUser::Release));
    let error = answer.map(drop).unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("user 65534 listens"), "{error}");
}

/// By us, who stand for somebody else.
#[test]
fn a_name_that_somebody_else_has_is_told_with_its_holder() {
    let (name, owner) = (format!("termleash-test-squatted-{}", sys::own_pid()), own_identity().unwrap());
    let (spec, made_at) = (serde_json::Value::Null, String::new());
    let start = StewardStart { name, key: "k".into(), spec, made_at, owner, idle: Duration::ZERO };
    let mut joining = Joining {
        start: &start,
        deadline: after(Duration::from_millis(50)),
        turn: None,
        asked: None,
        is_silent: false,
    };
    let turn = sys::take_name(joining.name_of_turn().as_bytes()).unwrap();
    assert!(park_on(joining.answer(|| unreachable!("nobody listens"))).unwrap().is_none());
    assert!(joining.asked.is_none() && turn.is_some());
    let why = joining.why_nobody_answers();
    let holder = format!("/start`, is held by pid {}", sys::own_pid());
    assert!(why.contains("did not ask for one") && why.contains(&holder), "{why}");

    joining.turn = turn;
    assert_eq!(joining.why_nobody_answers(), ": the test process was asked to start one");
    let _squatted = sys::take_name(start.name.as_bytes()).unwrap().unwrap();
    let why = joining.why_nobody_answers();
    assert!(why.contains("was asked to start one; its name, `termleash-test-squatted-"), "{why}");
}

/// A user is one until it says otherwise, or its process ends.
#[test]
fn who_does_not_wait_for_the_answer_gives_the_server_back() {
    let start = start();
    let listener = sys::listen_at_name(start.name.as_bytes()).unwrap().unwrap();
    let steward_hears = || {
        let mut theirs = Channel::over(sys::accept_now(listener.as_fd()).unwrap().unwrap());
        let mut next = || hear::<FromUser>(&mut theirs, Some(Duration::from_secs(20)));
        assert!(matches!(next(), Ok(Some(FromUser::AskLog))));
        assert!(matches!(next(), Ok(Some(FromUser::Release))));
    };
    // Until the deadline, which it says.
    let mut late = joining(&start, Duration::from_millis(50));
    assert!(park_on(late.answer(|| FromUser::AskLog)).unwrap().is_none());
    let why = late.why_nobody_answers();
    assert!(why.contains("one was reached") && why.contains(&format!("is held by pid {}", sys::own_pid())), "{why}");
    steward_hears();
    // And one that is given up halfway.
    let mut joining = joining(&start, Duration::from_secs(100));
    let mut waiting = Box::pin(joining.answer(|| FromUser::AskLog));
    assert!(waiting.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
    drop(waiting);
    steward_hears();
}
