//! Whom a steward takes for a user, and for how long.

use super::*;
use crate::process::tree::own_identity;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

fn start() -> StewardStart {
    let owner = own_identity().unwrap();
    let name = format!("termleash-test/{}", uuid::Uuid::new_v4().simple());
    StewardStart { name, key: "k".into(), spec: json!(1), made_at: "a.rs:1".into(), owner, idle: Duration::ZERO }
}

/// As it is told to users.
fn ready() -> FromSteward {
    let server = own_identity().unwrap();
    FromSteward::Ready(Reached { port: None, url: None, server, home: "/x".into(), runtime: "/x".into() })
}

fn log() -> Output {
    Output::of_text("it listens\n".into(), 0)
}

/// One that has just connected, and its end of the line.
fn guest() -> (Guest, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    (Guest { channel: Some(ours), since: Instant::now(), user: None }, theirs)
}

fn joins(theirs: &Channel, spec: Value, user: ProcessIdentity) {
    tell(theirs, &FromUser::Join { spec, shown: "server".into(), made_at: "b.rs:2".into(), user }).unwrap();
}

fn heard(theirs: &mut Channel) -> Option<FromSteward> {
    hear(theirs, Some(Duration::ZERO)).ok().flatten()
}

#[test]
fn a_user_is_who_it_says_and_stays_until_it_releases_the_server() {
    let (begin, ready) = (start(), ready());
    let (mut guest, mut theirs) = guest();
    assert!(guest.heed(&begin, &ready, log) && guest.user.is_none() && heard(&mut theirs).is_none());
    joins(&theirs, json!(1), own_identity().unwrap());
    assert!(guest.heed(&begin, &ready, log) && guest.user.is_some());
    assert!(matches!(heard(&mut theirs), Some(FromSteward::Ready(_))));
    tell(&theirs, &FromUser::Release).unwrap();
    assert!(!guest.heed(&begin, &ready, log));
}

#[test]
fn the_log_is_for_users() {
    let (mut stranger, mut theirs) = guest();
    tell(&theirs, &FromUser::AskLog).unwrap();
    assert!(!stranger.heed(&start(), &ready(), log) && heard(&mut theirs).is_none());
    let (mut user, mut theirs) = guest();
    joins(&theirs, json!(1), own_identity().unwrap());
    tell(&theirs, &FromUser::AskLog).unwrap();
    assert!(user.heed(&start(), &ready(), log));
    assert!(matches!(heard(&mut theirs), Some(FromSteward::Ready(_))));
    assert!(matches!(heard(&mut theirs), Some(FromSteward::Log { text, .. }) if text == "it listens\n"));
}

/// As one does that was stopped between its questions and the answers.
#[test]
fn a_user_that_asks_again_and_again_and_reads_nothing_stops_nobody() {
    let much = || Output::of_text("x".repeat(64 << 10), 0);
    let (mut user, mut theirs) = guest();
    joins(&theirs, json!(1), own_identity().unwrap());
    (0..20).for_each(|_| tell(&theirs, &FromUser::AskLog).unwrap());
    let (done, is_done) = std::sync::mpsc::channel();
    let heeds = std::thread::spawn(move || {
        let stays = user.heed(&start(), &ready(), much);
        done.send(stays).unwrap();
        user
    });
    assert!(is_done.recv_timeout(Duration::from_secs(20)).unwrap());
    let mut user = heeds.join().unwrap();
    assert!(matches!(heard(&mut theirs), Some(FromSteward::Ready(_))));
    assert!(matches!(heard(&mut theirs), Some(FromSteward::Log { .. })));
    while heard(&mut theirs).is_some() {}
    // It has read all, and is answered again.
    tell(&theirs, &FromUser::AskLog).unwrap();
    assert!(user.heed(&start(), &ready(), much));
    assert!(matches!(heard(&mut theirs), Some(FromSteward::Log { .. })));
}

/// Its end would be waited for.
#[test]
fn who_is_another_than_it_says_is_no_user() {
    let own = own_identity().unwrap();
    let before = ProcessIdentity { started: own.started - 1, ..own };
    let parent = ProcessHandle::open(std::os::unix::process::parent_id()).unwrap().identity();
    for user in [before, parent] {
        let (mut guest, mut theirs) = guest();
        joins(&theirs, json!(1), user);
        assert!(!guest.heed(&start(), &ready(), log) && guest.user.is_none());
        assert!(heard(&mut theirs).is_none());
    }
}

#[test]
fn who_means_another_server_is_told_and_is_no_user() {
    let (mut guest, mut theirs) = guest();
    joins(&theirs, json!(2), own_identity().unwrap());
    assert!(!guest.heed(&start(), &ready(), log) && guest.user.is_none());
    let Some(FromSteward::Refused { text }) = heard(&mut theirs) else { panic!("it is refused") };
    assert!(text.contains("a.rs:1") && text.contains("b.rs:2"), "{text}");
}

/// Before it could be answered: its process lives on.
#[test]
fn who_has_given_up_is_no_user() {
    let (mut guest, theirs) = guest();
    joins(&theirs, json!(1), own_identity().unwrap());
    drop(theirs);
    assert!(!guest.heed(&start(), &ready(), log) && guest.user.is_none());
}

/// Somebody may have closed what is not its own.
#[test]
fn a_user_whose_line_is_closed_is_one_until_its_process_ends() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let (mut guest, theirs) = guest();
    drop(theirs);
    guest.user = Some(Pidfd::open(child.id()).unwrap());
    assert!(guest.heed(&start(), &ready(), log) && guest.heed(&start(), &ready(), log));
    drop(child.stdin.take());
    // It has ended, and nobody has waited for it.
    while guest.heed(&start(), &ready(), log) {
        std::thread::yield_now();
    }
    child.wait().unwrap();
}

#[test]
fn who_says_nothing_or_hangs_up_before_it_has_joined_is_forgotten() {
    let (mut silent, _theirs) = guest();
    assert!(silent.heed(&start(), &ready(), log));
    silent.since = Instant::now().checked_sub(JOINS_WITHIN).unwrap();
    assert!(!silent.heed(&start(), &ready(), log));
    let (mut gone, theirs) = guest();
    drop(theirs);
    assert!(!gone.heed(&start(), &ready(), log));
}

/// What a thread does is another user's after it has become that one: in a process of its own, which the kernel hides from then
/// on. `None` where only root could try it.
pub(crate) fn as_another_user<T: Send>(test: &str, act: impl FnOnce() -> T + Send) -> Option<T> {
    if sys::own_uid() != 0 {
        return None;
    }
    if std::env::var_os("TEST_ALONE").is_none() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        let told = again.args(["--exact", test]).env("TEST_ALONE", "1").output().unwrap();
        let text = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success() && text.contains("1 passed"), "{text}");
        return None;
    }
    let nobody = rustix::process::Uid::from_raw(65_534);
    let act = || {
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(act).join().ok())
}

#[test]
fn another_users_process_is_no_guest() {
    let begin = start();
    let listener = sys::listen_at_name(begin.name.as_bytes()).unwrap().unwrap();
    let connect = || sys::connect_to_name(begin.name.as_bytes()).unwrap().unwrap();
    let theirs = as_another_user("server::steward::tests::another_users_process_is_no_guest", connect);
    let ours = connect();
    let owner = held(begin.owner).unwrap();
    let mut steward = Steward { begin: &begin, listener, owner, guests: Vec::new(), idle_since: Instant::now() };
    steward.take_in();
    assert_eq!(steward.guests.len(), 1);
    drop((ours, theirs));
}
